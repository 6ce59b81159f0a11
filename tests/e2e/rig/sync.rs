//! A mirror's own script, `deploy/mirror/portolan-sync.sh`, with its settings.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::namespace::Namespace;
use super::program::{Finished, command, finish};

/// As it is shipped.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/mirror/portolan-sync.sh");

pub(crate) struct Sync {
    folder: PathBuf,
}

impl Sync {
    /// Settings with which `categories` come from the rig's rsync server to `destination`.
    pub(crate) fn new(namespace: &Namespace, destination: &Path, categories: &str) -> Sync {
        let folder = namespace.folder.join("sync");
        fs::create_dir_all(&folder).expect("the script's folder");
        let text = format!(
            "# written by a test\nsource = rsync://registry.test/pub/\ndestination={}\ncategories={categories}\n\
             registry=https://registry.test\n\nlog={}\n",
            destination.display(),
            folder.join("log").display(),
        );
        fs::write(folder.join("conf"), text).expect("the script's settings");
        Sync { folder }
    }

    /// Adds lines to the settings; the last of two lines with one key counts.
    pub(crate) fn configure(&self, lines: &str) {
        let path = self.folder.join("conf");
        let text = fs::read_to_string(&path).expect("the script's settings");
        fs::write(path, format!("{text}{lines}\n")).expect("the script's settings");
    }

    /// Reports as `host` with this token.
    pub(crate) fn report(&self, host: &str, token: &str) {
        let path = self.folder.join("token");
        fs::write(&path, format!("{token}\n")).expect("a token's file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("its mode");
        self.configure(&format!("host={host}\ntoken_file={}", path.display()));
    }

    /// Runs it to its end.
    pub(crate) fn run(&self, options: &[&str]) -> Finished {
        finish(self.command(options))
    }

    /// Debian's `sh` is dash: no more than POSIX asks for.
    pub(crate) fn command(&self, options: &[&str]) -> Command {
        let mut sync = command("dash");
        sync.arg(SCRIPT).arg("--config").arg(self.folder.join("conf")).args(options);
        sync
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}
