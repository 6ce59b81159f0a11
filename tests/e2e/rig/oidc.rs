//! A certified provider of OpenID Connect, `oidc-provider` of npm, on loopback.

use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

use super::browser::Browser;
use super::namespace::Namespace;
use super::program::{Program, command};

/// What it does.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/rig/oidc.mjs");

/// Where tests/setup.sh has installed it.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/npm");

const PORT: u16 = 9311;

/// Its page comes so soon.
const SHOWN_WITHIN: Duration = Duration::from_secs(20);

pub(crate) struct Oidc {
    secret: PathBuf,
    program: Program,
}

impl Oidc {
    pub(crate) fn start(namespace: &Namespace) -> Oidc {
        let folder = namespace.folder.join("oidc");
        fs::create_dir_all(&folder).expect("the provider's folder");
        let secret = folder.join("secret");
        fs::write(&secret, "not/so+secret\n").expect("the client's secret");
        let mut server = command("node");
        server.arg(SCRIPT).arg(FOLDER).arg(PORT.to_string());
        let mut program = Program::start("oidc", &folder, server);
        program.wait_until("connection (run tests/setup.sh)", || {
            TcpStream::connect(("127.0.0.1", PORT)).is_ok()
        });
        Oidc { secret, program }
    }

    /// How Portolan is told of it.
    pub(crate) fn config(&self) -> String {
        format!(
            "[accounts.oidc]\nissuer = \"http://127.0.0.1:{PORT}\"\npublic_url = \"https://registry.test\"\nclient_id = \"portolan\"\n\
             client_secret_file = \"{}\"\nname = \"Example account\"\nsign_up = true\n",
            self.secret.display()
        )
    }

    /// A page of it.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{PORT}/.well-known/openid-configuration")
    }

    /// Somebody signs in at the page that it shows.
    #[track_caller]
    pub(crate) fn sign_in(&self, browser: &Browser, name: &str) {
        browser.wait_for(SHOWN_WITHIN, "Log in at the provider");
        browser.fill("User", name);
        browser.click("Log in");
    }

    pub(crate) fn kill(&mut self) {
        self.program.kill();
    }
}
