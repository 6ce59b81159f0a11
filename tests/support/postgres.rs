//! A PostgreSQL cluster of one test process: in a temporary folder, on a Unix socket only. It ends and
//! is removed with the process, however that ends. Included by path from unit and integration tests.

#![allow(dead_code, reason = "not all who include it have a cluster of their own, which they stop")]

use std::{
    io::{BufRead, BufReader, Write as _},
    process::{Child, ChildStdout, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

/// Keeps the cluster alive as long as its standard input is open. Says `ready` when it takes connections, and `gone` after
/// the command `stop`, which is as good as a crash.
const SCRIPT: &str = r#"
set -eu
run() {
    if [ "$(id -u)" = 0 ]; then setpriv --reuid=postgres --regid=postgres --clear-groups "$@"; else "$@"; fi
}
cd /
run initdb -D "$1/data" -A trust -U portolan -E UTF8 --locale=C --no-sync >"$1/log" 2>&1 \
    || { cat "$1/log" >&2; exit 1; }
options="-k $1 -c listen_addresses= -c fsync=off -c max_connections=200 -c shared_buffers=32MB"
start() {
    run pg_ctl -D "$1/data" -l "$1/data/server.log" -w -t 30 -o "$options" start >>"$1/log" 2>&1 </dev/null \
        || { cat "$1/data/server.log" >&2; exit 1; }
    echo ready
}
stop() { run pg_ctl -D "$1/data" -m immediate -w stop >>"$1/log" 2>&1 </dev/null || true; }
start "$1"
while read -r command; do
    case "$command" in
        stop) stop "$1"; echo gone ;;
        start) start "$1" ;;
    esac
done
stop "$1"
rm -rf "$1"
"#;

/// A cluster; it ends when this is dropped.
pub(crate) struct Cluster {
    folder: String,
    /// Its standard input stays open as long as this process lives.
    server: Child,
    output: BufReader<ChildStdout>,
}

impl Cluster {
    pub(crate) fn new() -> Self {
        let folder =
            tempfile::Builder::new().prefix("portolan-postgres-").tempdir().expect("a folder").keep();
        let folder = folder.to_str().expect("UTF-8").to_owned();
        if std::fs::metadata("/proc/self").is_ok_and(|it| std::os::unix::fs::MetadataExt::uid(&it) == 0) {
            let status = Command::new("chown").args(["postgres", &folder]).status().expect("chown");
            assert!(status.success(), "there is no user postgres; run tests/setup.sh");
        }
        let path = std::env::var("PATH").unwrap_or_default();
        let mut server = Command::new("setsid")
            .args(["sh", "-c", SCRIPT, "postgres", &folder])
            .env("PATH", format!("/usr/lib/postgresql/15/bin:{path}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        let output = BufReader::new(server.stdout.take().expect("is piped"));
        let mut cluster = Self { folder, server, output };
        cluster.expect("ready");
        cluster
    }

    /// As if its machine lost power: no transaction ends well.
    pub(crate) fn stop(&mut self) {
        self.tell("stop");
        self.expect("gone");
    }

    /// After [`Cluster::stop`].
    pub(crate) fn start(&mut self) {
        self.tell("start");
        self.expect("ready");
    }

    fn tell(&mut self, command: &str) {
        let input = self.server.stdin.as_mut().expect("is piped");
        writeln!(input, "{command}").expect("the cluster's shell");
    }

    #[track_caller]
    fn expect(&mut self, word: &str) {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("its output");
        assert_eq!(line.trim_end(), word, "PostgreSQL 15 did not start; run tests/setup.sh");
    }

    /// The URL of a new, empty database.
    pub(crate) fn new_database(&self) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = &self.folder;
        let status = Command::new("createdb")
            .args(["-h", folder, "-U", "portolan", &name])
            .env("LC_ALL", "C")
            .status()
            .expect("createdb of PostgreSQL; run tests/setup.sh");
        assert!(status.success(), "createdb failed");
        format!("postgres://portolan@/{name}?host={folder}")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.server.stdin.take());
        let _ = self.server.wait();
    }
}

/// The URL of a new, empty database in the cluster of this process.
pub(crate) fn new_database() -> String {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(Cluster::new).new_database()
}
