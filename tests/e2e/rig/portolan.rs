//! The program under test: the built binary with a configuration of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::namespace::Namespace;
use super::program::{Finished, Program, command, finish};

/// A configured `portolan`; each command works in its folder.
pub(crate) struct Portolan {
    pub(crate) folder: PathBuf,
    /// Goes before the configuration's.
    database: Option<String>,
}

impl Portolan {
    /// Writes `config` as `portolan.toml` into a folder of the world.
    pub(crate) fn new(namespace: &Namespace, config: &str) -> Portolan {
        let folder = namespace.folder.join("portolan");
        fs::create_dir_all(&folder).expect("portolan's folder");
        fs::write(folder.join("portolan.toml"), config).expect("portolan's configuration");
        Portolan { folder, database: None }
    }

    /// One whose configuration is in this folder already.
    pub(crate) fn in_folder(folder: PathBuf) -> Portolan {
        Portolan { folder, database: None }
    }

    /// The same with another database.
    pub(crate) fn other_database(&self, url: &str) -> Portolan {
        Portolan { folder: self.folder.clone(), database: Some(url.to_owned()) }
    }

    /// How long the log of what was started here is.
    pub(crate) fn log_length(&self) -> usize {
        fs::metadata(self.folder.join("portolan.log")).map_or(0, |it| it.len() as usize)
    }

    /// The folder of a category in the exported tree.
    pub(crate) fn category(&self, name: &str) -> PathBuf {
        self.folder.join("tree").join(name)
    }

    /// Runs a command to its end. Words are separated by spaces.
    pub(crate) fn run(&self, line: &str) -> Finished {
        finish(self.command(line))
    }

    /// The same with other variables in the environment.
    pub(crate) fn run_with(&self, line: &str, environment: &[(&str, &str)]) -> Finished {
        let mut command = self.command(line);
        command.envs(environment.iter().copied());
        finish(command)
    }

    /// The same as if no file system had hard links.
    pub(crate) fn run_without_links(&self, line: &str) -> Finished {
        let inner = self.command(line);
        let mut strace = command("strace");
        strace.args([
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            "trace=linkat",
            "-e",
            "inject=linkat:error=EPERM",
        ]);
        strace.arg(inner.get_program()).args(inner.get_args());
        strace.current_dir(&self.folder).env("PORTOLAN_CONFIG", "portolan.toml");
        finish(strace)
    }

    /// Replaces a part of the configuration.
    pub(crate) fn configure(&self, from: &str, to: &str) {
        let path = self.folder.join("portolan.toml");
        let text = fs::read_to_string(&path).expect("the configuration");
        assert!(text.contains(from), "{from} is not in {text}");
        fs::write(path, text.replacen(from, to, 1)).expect("portolan's configuration");
    }

    /// Runs a command that must succeed and gives its standard output.
    #[track_caller]
    pub(crate) fn done(&self, line: &str) -> String {
        self.run(line).expect_success()
    }

    /// Runs a command with `--json`, which must succeed.
    #[track_caller]
    pub(crate) fn json(&self, line: &str) -> serde_json::Value {
        let printed = self.done(&format!("{line} --json"));
        serde_json::from_str(&printed).unwrap_or_else(|e| panic!("portolan {line} --json: {e}\n{printed}"))
    }

    /// Starts a command that is to be killed in its middle.
    pub(crate) fn start(&self, line: &str) -> Program {
        Program::start("portolan", &self.folder, self.command(line))
    }

    /// Starts `serve` and waits until it listens.
    #[track_caller]
    pub(crate) fn serve(&self) -> Serve {
        self.service("serve")
    }

    /// Starts `serve` or `run` and waits until it listens.
    #[track_caller]
    pub(crate) fn service(&self, name: &str) -> Serve {
        self.service_with(name, &[])
    }

    /// The same with other variables in the environment.
    #[track_caller]
    pub(crate) fn service_with(&self, name: &str, environment: &[(&str, &str)]) -> Serve {
        let log = self.folder.join(format!("{name}.log"));
        fs::remove_file(&log).ok();
        let mut command = self.command(name);
        command.envs(environment.iter().copied());
        let mut program = Program::start(name, &self.folder, command);
        program.wait_until("line `management on`", || find_lines(&log, "management on ").len() == 1);
        let management = find_lines(&log, "management on ").remove(0);
        Serve { listening: find_lines(&log, "listening on "), management, program }
    }

    fn command(&self, line: &str) -> Command {
        let mut portolan = command(env!("CARGO_BIN_EXE_portolan"));
        portolan.current_dir(&self.folder).env("PORTOLAN_CONFIG", "portolan.toml").args(line.split(' '));
        portolan.envs(self.database.as_ref().map(|url| ("PORTOLAN_DATABASE_URL", url)));
        portolan
    }
}

/// A running `portolan serve` or `run`.
pub(crate) struct Serve {
    /// Base URLs of the listeners.
    pub(crate) listening: Vec<String>,
    /// Base URL of the management address.
    pub(crate) management: String,
    program: Program,
}

impl Serve {
    /// Asks it to end by SIGTERM, which it must do well.
    #[track_caller]
    pub(crate) fn stop(mut self) {
        let code = self.program.stop_by("TERM");
        assert_eq!(code, Some(0), "serve ended badly\n{}", self.program.log_tail());
    }

    pub(crate) fn log(&self) -> String {
        self.program.log()
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.program.id()
    }
}

/// The rests of the lines in `log` that begin with `start`.
fn find_lines(log: &Path, start: &str) -> Vec<String> {
    let text = fs::read_to_string(log).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().filter_map(|line| line.strip_prefix(start)).map(str::to_owned).collect()
}
