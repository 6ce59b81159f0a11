//! A PostgreSQL cluster of one test process: in a temporary folder, on a Unix socket only. It ends and
//! is removed with the process, however that ends. Included by path from unit and integration tests.

use std::{
    io::{BufRead, BufReader},
    process::{ChildStdin, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

/// Keeps the cluster alive as long as its standard input is open. Says `ready` when it takes connections.
const SCRIPT: &str = r#"
set -eu
run() {
    if [ "$(id -u)" = 0 ]; then setpriv --reuid=postgres --regid=postgres --clear-groups "$@"; else "$@"; fi
}
cd /
run initdb -D "$1/data" -A trust -U portolan -E UTF8 --locale=C --no-sync >"$1/log" 2>&1 \
    || { cat "$1/log" >&2; exit 1; }
options="-k $1 -c listen_addresses= -c fsync=off -c max_connections=200 -c shared_buffers=32MB"
run pg_ctl -D "$1/data" -l "$1/data/server.log" -w -t 30 -o "$options" start >>"$1/log" 2>&1 </dev/null \
    || { cat "$1/data/server.log" >&2; exit 1; }
echo ready
read -r _ || true
run pg_ctl -D "$1/data" -m immediate -w stop >>"$1/log" 2>&1 </dev/null || true
rm -rf "$1"
"#;

struct Cluster {
    folder: String,
    _alive: ChildStdin,
}

fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        let folder =
            tempfile::Builder::new().prefix("portolan-postgres-").tempdir().expect("a folder").keep();
        let folder = folder.to_str().expect("UTF-8").to_owned();
        if std::fs::metadata("/proc/self").is_ok_and(|it| std::os::unix::fs::MetadataExt::uid(&it) == 0) {
            let status = Command::new("chown").args(["postgres", &folder]).status().expect("chown");
            assert!(status.success(), "there is no user postgres; run tests/setup.sh");
        }
        let path = std::env::var("PATH").unwrap_or_default();
        let mut child = Command::new("setsid")
            .args(["sh", "-c", SCRIPT, "postgres", &folder])
            .env("PATH", format!("/usr/lib/postgresql/15/bin:{path}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("is piped")).read_line(&mut line).expect("its output");
        assert_eq!(line, "ready\n", "PostgreSQL 15 did not start; run tests/setup.sh");
        Cluster { folder, _alive: child.stdin.take().expect("is piped") }
    })
}

/// The URL of a new, empty database.
pub(crate) fn new_database() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("test{}", COUNT.fetch_add(1, Ordering::Relaxed));
    let folder = &cluster().folder;
    let status = Command::new("createdb")
        .args(["-h", folder, "-U", "portolan", &name])
        .env("LC_ALL", "C")
        .status()
        .expect("createdb of PostgreSQL; run tests/setup.sh");
    assert!(status.success(), "createdb failed");
    format!("postgres://portolan@/{name}?host={folder}")
}
