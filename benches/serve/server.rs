//! A server under test: its process, its address and what it has used so far.

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

/// Linux counts processor time in hundredths of a second on every architecture (USER_HZ).
const TICK: Duration = Duration::from_millis(10);

pub(crate) struct Server {
    child: Child,
    pub(crate) url: String,
    /// From the start of the process to the line that says where it listens.
    pub(crate) started: Duration,
    // What it prints must be read by somebody as long as it lives.
    _output: BufReader<ChildStdout>,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// The bare actix-web.
    pub(crate) fn floor() -> Self {
        let mut command = Command::new(env::current_exe().expect("our own path"));
        command.arg("floor");
        Self::start(command)
    }

    /// `portolan serve` in a folder with a saved snapshot and its `portolan.toml`.
    pub(crate) fn portolan(folder: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portolan"));
        command.arg("serve").current_dir(folder);
        Self::start(command)
    }

    fn start(mut command: Command) -> Self {
        let begin = Instant::now();
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the server starts");
        let mut output = BufReader::new(child.stdout.take().expect("its output is ours"));
        let mut line = String::new();
        output.read_line(&mut line).expect("the server's first line");
        let started = begin.elapsed();
        let url = line.trim().strip_prefix("listening on ").expect("where it listens").to_owned();
        Self { child, url, started, _output: output }
    }

    /// Processor time that it has used: user and system, of all its threads (proc_pid_stat(5), fields 14 and 15).
    pub(crate) fn used(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("its /proc");
        let fields = stat.rsplit_once(") ").expect("a name in brackets").1;
        let ticks: u32 = fields.split(' ').skip(11).take(2).map(|it| it.parse::<u32>().expect("ticks")).sum();
        TICK * ticks
    }

    /// Its own memory in bytes: RssAnon of proc_pid_status(5).
    pub(crate) fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("its /proc");
        let line = status.lines().find_map(|it| it.strip_prefix("RssAnon:")).expect("RssAnon");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
    }
}
