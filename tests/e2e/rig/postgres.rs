//! A private PostgreSQL cluster, reached by a socket in its folder.

use std::fs;
use std::path::{Path, PathBuf};

use super::namespace::Namespace;
use super::program::{Program, command, finish, run};

pub(crate) struct Postgres {
    folder: PathBuf,
    program: Option<Program>,
    /// Settings of the server beside the usual ones.
    settings: Vec<String>,
}

impl Postgres {
    /// Makes a cluster with an empty database `portolan`, owned by the user `portolan`, and starts it.
    pub(crate) fn start(namespace: &Namespace) -> Postgres {
        let folder = namespace.folder.join("postgres");
        fs::create_dir_all(&folder).expect("PostgreSQL's folder");

        run("chown", &["postgres:postgres", folder.to_str().expect("a path in UTF-8")]);
        let mut initdb = as_postgres("initdb");
        initdb.arg("--pgdata").arg(folder.join("data"));
        initdb.args(["--username=portolan", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C"]);
        finish(initdb).expect_success();
        let mut postgres = Postgres { folder, program: None, settings: vec!["listen_addresses=".to_owned()] };
        postgres.start_again();
        postgres.query("postgres", "CREATE DATABASE portolan");
        postgres
    }

    /// A second server that follows this one. From now on a write is acknowledged when both have it.
    pub(crate) fn stand_by(&self, namespace: &Namespace) -> Postgres {
        let folder = namespace.folder.join("standby");
        fs::create_dir_all(&folder).expect("the standby's folder");
        run("chown", &["postgres:postgres", folder.to_str().expect("a path in UTF-8")]);
        let mut copy = as_postgres("pg_basebackup");
        copy.arg("--host").arg(&self.folder).arg("--pgdata").arg(folder.join("data"));
        copy.args(["--username=portolan", "--write-recovery-conf", "--checkpoint=fast", "--no-sync"]);
        finish(copy).expect_success();
        let mut standby = Postgres { folder, program: None, settings: self.settings.clone() };
        standby.start_again();
        self.query("postgres", "ALTER SYSTEM SET synchronous_standby_names = '*'");
        self.query("postgres", "SELECT pg_reload_conf()");
        standby
    }

    /// What `[database] url` says of two servers, of which one takes writes.
    pub(crate) fn url_with(&self, other: &Postgres) -> String {
        format!("{},{}&target_session_attrs=read-write", self.url(), other.folder.display())
    }

    /// Ends it as if its machine had died.
    pub(crate) fn kill(&mut self) {
        if let Some(mut program) = self.program.take() {
            program.stop_by("KILL");
        }
    }

    /// Lets a standby take writes.
    pub(crate) fn promote(&self) {
        assert_eq!(self.query("postgres", "SELECT pg_promote()").trim(), "t");
    }

    /// What `[database] url` says.
    pub(crate) fn url(&self) -> String {
        format!("postgres://portolan@/portolan?host={}", self.folder.display())
    }

    /// The same for another role, which logs in without a password.
    pub(crate) fn url_of(&self, role: &str) -> String {
        format!("postgres://{role}@/portolan?host={}", self.folder.display())
    }

    /// Stops the cluster and closes every connection to it.
    pub(crate) fn stop(&mut self) {
        if let Some(mut program) = self.program.take() {
            program.stop_by("INT");
        }
    }

    pub(crate) fn start_again(&mut self) {
        let mut server = as_postgres("postgres");
        server.arg("-D").arg(self.folder.join("data")).arg("-k").arg(&self.folder);
        server.args(["-c", "fsync=off"]);
        for setting in &self.settings {
            server.args(["-c", setting]);
        }
        let mut program = Program::start("postgres", &self.folder, server);
        program.wait_until("answer to a query", || {
            psql(&self.folder, "portolan", "postgres", &["--command", "SELECT 1"]).is_some()
        });
        self.program = Some(program);
    }

    /// From now on it also listens at this name's address, by TLS only.
    #[cfg(feature = "pg-tls")]
    pub(crate) fn listen_with_tls(&mut self, name: &str, identity: &super::ca::Identity) {
        self.stop();
        let data = self.folder.join("data");
        for (from, to) in [(&identity.certificate, "server.crt"), (&identity.key, "server.key")] {
            fs::copy(from, data.join(to)).expect("PostgreSQL's certificate");
            let to = data.join(to);
            run("chown", &["postgres:postgres", to.to_str().expect("a path in UTF-8")]);
            run("chmod", &["600", to.to_str().expect("a path in UTF-8")]);
        }
        fs::write(data.join("pg_hba.conf"), "local all all trust\nhostssl all all 0.0.0.0/0 trust\n")
            .expect("who may connect");
        self.settings = vec![format!("listen_addresses={name}"), "ssl=on".to_owned()];
        self.start_again();
    }

    /// Asks one question of a database and gives the answer as `psql` prints it, without heads.
    pub(crate) fn query(&self, database: &str, sql: &str) -> String {
        let asked = psql(&self.folder, "portolan", database, &["--command", sql]);
        asked.unwrap_or_else(|| panic!("{sql} failed"))
    }

    /// Runs a file of psql's commands, and gives what they print.
    pub(crate) fn run_file(&self, database: &str, file: &Path) -> String {
        let file = file.to_str().expect("a path in UTF-8");
        let ran = psql(&self.folder, "portolan", database, &["--file", file]);
        ran.unwrap_or_else(|| panic!("{file} failed\n{}", self.log()))
    }

    /// May a role do this?
    pub(crate) fn may(&self, role: &str, database: &str, sql: &str) -> bool {
        psql(&self.folder, role, database, &["--command", sql]).is_some()
    }

    /// All that the cluster has logged since its last start.
    pub(crate) fn log(&self) -> String {
        self.program.as_ref().expect("it runs").log()
    }
}

fn psql(folder: &Path, role: &str, database: &str, what: &[&str]) -> Option<String> {
    let mut psql = command("psql");
    psql.arg("--host").arg(folder).args(["--no-psqlrc", "--tuples-only", "--no-align"]);
    psql.args(["--username", role, "--dbname", database]).args(what);
    let finished = finish(psql);
    finished.success().then_some(finished.stdout)
}

/// A program of the newest PostgreSQL here, as the user `postgres`: it refuses to run as root.
fn as_postgres(name: &str) -> std::process::Command {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest =
        versions.map(|version| version.path().join("bin").join(name)).filter(|path| path.exists()).max();
    let path = newest.unwrap_or_else(|| panic!("PostgreSQL's {name} is missing: run tests/setup.sh as root"));
    let mut setpriv = command("setpriv");
    setpriv.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(path);
    setpriv
}
