//! Real programs: found, run to their end, or kept running by a guard.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

/// How long a program may take to answer after its start.
const START: Duration = Duration::from_secs(30);

/// How long a program may take to end after SIGTERM.
const STOP: Duration = Duration::from_secs(15);

/// How long a program which is run to its end may take.
const RUN: Duration = Duration::from_secs(120);

/// What `timeout` ends with when it had to end the program.
const TIMED_OUT: i32 = 124;

/// How much of a log is shown when something fails, in bytes.
const TAIL: usize = 6000;

/// Debian's folders, in the order they are looked at. PATH is not asked: another docker may be first on it.
pub(crate) const FOLDERS: [&str; 2] = ["/usr/sbin", "/usr/bin"];

/// The path of Debian's program `name`.
///
/// # Panics
/// When it is missing: a test never skips.
pub(crate) fn find(name: &str) -> PathBuf {
    if name.starts_with('/') {
        return existing(PathBuf::from(name));
    }
    let found = FOLDERS.iter().map(|folder| Path::new(folder).join(name)).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("{name} is in none of {FOLDERS:?}: run tests/setup.sh as root"))
}

fn existing(path: PathBuf) -> PathBuf {
    assert!(path.exists(), "{} is missing: run tests/setup.sh as root", path.display());
    path
}

/// A command for Debian's program `name`, with nothing of ours in its environment but what it needs.
pub(crate) fn command(name: &str) -> Command {
    let mut command = Command::new(find(name));
    command.env_clear().envs(environment()).stdin(Stdio::null());
    command
}

fn environment() -> [(&'static str, String); 4] {
    let temporary = std::env::temp_dir().to_string_lossy().into_owned();
    [
        ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin".into()),
        ("LC_ALL", "C.UTF-8".into()),
        ("HOME", "/run".into()),
        ("TMPDIR", temporary),
    ]
}

/// Runs a program to its end, which must be a good one, and gives its standard output.
#[track_caller]
pub(crate) fn run(name: &str, arguments: &[&str]) -> String {
    let mut command = command(name);
    command.args(arguments);
    finish(command).expect_success()
}

/// What a program that has ended left behind.
pub(crate) struct Finished {
    pub(crate) line: String,
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    pub(crate) fn success(&self) -> bool {
        self.code == Some(0)
    }

    /// Whether it did not end by itself.
    pub(crate) fn timed_out(&self) -> bool {
        // 137: it did not heed SIGTERM either.
        matches!(self.code, Some(TIMED_OUT | 137))
    }

    /// Standard output of a program that must have succeeded.
    #[track_caller]
    pub(crate) fn expect_success(self) -> String {
        assert!(self.success(), "{self}");
        self.stdout
    }

    /// Both outputs of a program that must have failed by its own decision, not by a panic or a signal.
    #[track_caller]
    pub(crate) fn expect_failure(self) -> String {
        let decided = matches!(self.code, Some(code) if code != 0 && code != 101 && code < 124);
        assert!(decided, "a failure was expected: {self}");
        format!("{}\n{}", self.stdout, self.stderr)
    }
}

impl std::fmt::Display for Finished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Finished { line, code, stdout, stderr } = self;
        write!(f, "{line}\nended with {code:?}\n--- stdout\n{stdout}\n--- stderr\n{stderr}")
    }
}

/// Runs `command` to its end, at most [`RUN`] long.
pub(crate) fn finish(command: Command) -> Finished {
    finish_within(RUN, command)
}

/// Runs `command` to its end, at most so long (whole seconds).
pub(crate) fn finish_within(limit: Duration, command: Command) -> Finished {
    let line = format!("{command:?}");
    let mut bounded = Command::new(find("timeout"));
    bounded
        .arg("--kill-after=5")
        .arg(limit.as_secs().to_string())
        .arg(command.get_program())
        .args(command.get_args());
    bounded.env_clear().stdin(Stdio::null());
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            bounded.env(name, value);
        }
    }
    if let Some(folder) = command.get_current_dir() {
        bounded.current_dir(folder);
    }
    let Output { status, stdout, stderr } = bounded.output().unwrap_or_else(|e| panic!("{line}: {e}"));
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Finished { line, code: status.code(), stdout: text(stdout), stderr: text(stderr) }
}

/// A program that runs until it is stopped or this value is dropped.
pub(crate) struct Program {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts `command`, its outputs in `FOLDER/NAME.log`, as the head of a process group.
    pub(crate) fn start(name: &str, folder: &Path, mut command: Command) -> Program {
        let log = folder.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log).expect("a log file");
        command.stdout(file.try_clone().expect("a second handle")).stderr(file).process_group(0);
        let child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        Program { name: name.to_owned(), child, log }
    }

    /// Waits until `ready` says so. Fails with the log when the program ends or takes too long.
    #[track_caller]
    pub(crate) fn wait_until(&mut self, what: &str, ready: impl FnMut() -> bool) {
        let child = &mut self.child;
        let mut ended = None;
        let mut ready = ready;
        let come = wait_for(START, || {
            ended = child.try_wait().expect("a child can be waited for");
            ended.is_some() || ready()
        });
        if !come || ended.is_some() {
            panic!("{}: no {what} (ended: {ended:?})\n{}", self.name, self.log_tail());
        }
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The most memory it has had, in bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).expect("its status");
        let line = status.lines().find_map(|it| it.strip_prefix("VmHWM:")).expect("a peak");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child can be waited for").is_some()
    }

    /// Everything that the program has printed.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    pub(crate) fn log_tail(&self) -> String {
        let log = self.log();
        let start = log.ceil_char_boundary(log.len().saturating_sub(TAIL));
        format!("--- end of the log of {}\n{}", self.name, &log[start..])
    }

    /// Asks the program to end by `signal` ("TERM", "INT", "QUIT") and waits for it.
    #[track_caller]
    pub(crate) fn stop_by(&mut self, signal: &str) -> Option<i32> {
        signal_process(signal, &self.child.id().to_string()).expect("kill runs");
        let mut status = None;
        let ended = wait_for(STOP, || {
            status = self.child.try_wait().expect("a child can be waited for");
            status.is_some()
        });
        assert!(ended, "{} did not end {STOP:?} after SIG{signal}\n{}", self.name, self.log_tail());
        status.and_then(|status| status.code())
    }

    /// Ends the program and all it has started, at once and without a chance to tidy up.
    pub(crate) fn kill(&mut self) {
        // No expectation here: `drop` calls this while a failed test unwinds.
        if let Ok(None) = self.child.try_wait() {
            signal_process("KILL", &format!("-{}", self.child.id())).ok();
            self.child.wait().ok();
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            println!("{}", self.log_tail());
        }
    }
}

fn signal_process(signal: &str, process: &str) -> std::io::Result<ExitStatus> {
    // The shell's own `kill`: the one of procps takes no process group after `-s`.
    Command::new(find("sh")).args(["-c", &format!("kill -s {signal} -- {process}")]).status()
}

/// Asks `ready` again and again until it is true (and so the answer) or `limit` is over.
pub(crate) fn wait_for(limit: Duration, mut ready: impl FnMut() -> bool) -> bool {
    let started = Instant::now();
    while !ready() {
        if started.elapsed() > limit {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    true
}
