//! A real mail server that keeps what it gets in a maildir.

use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;

use super::namespace::Namespace;
use super::program::{Program, command};

/// Where it listens.
pub(crate) const ADDRESS: &str = "127.0.0.1:2525";

pub(crate) struct Smtp {
    mails: PathBuf,
    _program: Program,
}

impl Smtp {
    pub(crate) fn start(namespace: &Namespace) -> Smtp {
        let folder = namespace.folder.join("smtp");
        fs::create_dir_all(&folder).expect("the mail server's folder");
        let mails = folder.join("mails");
        let mut server = command("python3");
        server.args(["-m", "aiosmtpd", "--nosetuid", "--listen", ADDRESS]);
        server.arg("--class").arg("aiosmtpd.handlers.Mailbox").arg(&mails);
        let mut program = Program::start("smtp", &folder, server);
        program.wait_until("connection", || TcpStream::connect(ADDRESS).is_ok());
        Smtp { mails, _program: program }
    }

    /// All mails that came, oldest first.
    pub(crate) fn mails(&self) -> Vec<String> {
        let Ok(files) = fs::read_dir(self.mails.join("new")) else { return Vec::new() };
        let mut paths: Vec<_> = files.map(|it| it.expect("an entry").path()).collect();
        paths.sort_by_key(|it| fs::metadata(it).and_then(|it| it.modified()).expect("a file's time"));
        paths.iter().map(|it| fs::read_to_string(it).expect("a mail in UTF-8")).collect()
    }
}
