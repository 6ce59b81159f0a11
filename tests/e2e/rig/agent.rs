//! `portolan agent` on the machine of the clients.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::namespace::Namespace;
use super::program::{Program, command, finish};
use super::root::Root;

/// Where it answers; the default.
pub(crate) const LISTEN: &str = "127.0.0.1:5055";

/// Where it is a proxy; the default.
pub(crate) const PROXY: &str = "http://127.0.0.1:5056";

/// A command that pulls `reference` into `folder` by `portolan pull`, with the agent's configuration.
pub(crate) fn pull_command(world: &Path, reference: &str, folder: &Path) -> Command {
    let mut pull = command(env!("CARGO_BIN_EXE_portolan"));
    pull.env("PORTOLAN_CONFIG", world.join("agent/portolan.toml"));
    pull.args(["pull", reference, "--to"]).arg(format!("oci:{}", folder.display()));
    pull
}

/// Stands in for registry.test.
pub(crate) struct Agent {
    folder: PathBuf,
    program: Program,
}

impl Agent {
    /// Writes its configuration and starts it; the registry need not answer yet.
    pub(crate) fn start(namespace: &Namespace) -> Agent {
        Agent::start_by(namespace, "", |agent| agent)
    }

    /// One that takes only what the key in this file has signed.
    pub(crate) fn start_strict(namespace: &Namespace, key: &Path) -> Agent {
        Agent::start_by(namespace, &format!("signed_by = [{key:?}]\n"), |agent| agent)
    }

    /// The same by another command around it, and with more lines in `[client]`.
    pub(crate) fn start_by(
        namespace: &Namespace,
        client: &str,
        wrap: impl FnOnce(Command) -> Command,
    ) -> Agent {
        let folder = namespace.folder.join("agent");
        fs::create_dir_all(&folder).expect("the agent's folder");
        let networks = r#"["192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"]"#;
        let config = format!(
            "[client]\nallow_networks = {networks}\n{client}[agent]\nregistries = [\"registry.test\"]\nstate = \"state\"\n"
        );
        fs::write(folder.join("portolan.toml"), config).expect("the agent's configuration");
        let mut agent = command(env!("CARGO_BIN_EXE_portolan"));
        agent.arg("agent").current_dir(&folder);
        let mut program = Program::start("agent", &folder, wrap(agent));
        let log = folder.join("agent.log");
        program.wait_until("line `proxy on`", || {
            fs::read_to_string(&log).is_ok_and(|it| it.lines().any(|line| line.starts_with("proxy on ")))
        });
        Agent { folder, program }
    }

    /// Runs `portolan agent setup` and gives what it prints.
    #[track_caller]
    pub(crate) fn set_up(&self, line: &str, root: &Root) -> String {
        let mut setup = command(env!("CARGO_BIN_EXE_portolan"));
        setup.current_dir(&self.folder).args(["agent", "setup"]).args(line.split(' '));
        setup.arg("--root").arg(root.path(""));
        finish(setup).expect_success()
    }

    /// Where its authority is.
    pub(crate) fn state(&self) -> PathBuf {
        self.folder.join("state")
    }

    /// A counter of `/metrics`.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let text = super::http::get(&format!("http://{LISTEN}/metrics"), &[]).text();
        let line = text.lines().find_map(|it| it.strip_prefix(&format!("portolan_agent_{name} ")));
        line.and_then(|it| it.parse().ok()).unwrap_or_else(|| panic!("no {name} in {text}"))
    }

    /// The most memory it has had, in bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        self.program.peak_memory()
    }

    pub(crate) fn log(&self) -> String {
        self.program.log()
    }

    /// Asks it to end by SIGTERM, which it must do well.
    #[track_caller]
    pub(crate) fn stop(mut self) {
        let code = self.program.stop_by("TERM");
        assert_eq!(code, Some(0), "the agent ended badly\n{}", self.program.log_tail());
    }
}
