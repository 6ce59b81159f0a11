//! A server under test: its process, its address and what it has used so far.

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use crate::world::{Mode, World};

/// Linux counts processor time in hundredths of a second on every architecture (USER_HZ).
const TICK: Duration = Duration::from_millis(10);

pub(crate) struct Server {
    child: Child,
    pub(crate) url: String,
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
    /// The bare actix-web; with TLS when a folder with `tls.pem` and `tls.key` is named.
    pub(crate) fn floor(tls: Option<&Path>) -> Self {
        let mut command = Command::new(env::current_exe().expect("our own path"));
        Self::start(command.arg("floor").args(tls))
    }

    /// `portolan serve` with a world.
    pub(crate) fn portolan(world: &World, mode: Mode) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portolan"));
        command.arg("--config").arg(world.configure(mode)).arg("serve").current_dir(&world.folder);
        // What is logged goes the way of a real log, but is of no interest here.
        Self::start(command.stderr(if mode == Mode::Logged { Stdio::null() } else { Stdio::inherit() }))
    }

    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the server starts");
        let mut output = BufReader::new(child.stdout.take().expect("its output is ours"));
        let mut line = String::new();
        output.read_line(&mut line).expect("the server's first line");
        let url = line.trim().strip_prefix("listening on ").expect("where it listens").to_owned();
        Self { child, url, _output: output }
    }

    /// Asks once, and waits for the answer to begin.
    pub(crate) fn ask(&self) {
        let address = self.url.strip_prefix("http://").expect("a server without TLS");
        let mut stream = TcpStream::connect(address).expect("it listens");
        stream.write_all(b"GET /v2/ HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("it reads");
        let mut status = [0; 12];
        stream.read_exact(&mut status).expect("it answers");
        assert_eq!(&status, b"HTTP/1.1 200");
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
