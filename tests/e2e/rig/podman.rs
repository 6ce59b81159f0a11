//! podman with a storage of its own.

use std::path::PathBuf;

use super::namespace::Namespace;
use super::program::{Finished, command, finish};

pub(crate) struct Podman {
    folder: PathBuf,
}

impl Podman {
    pub(crate) fn new(namespace: &Namespace) -> Podman {
        Podman { folder: namespace.folder.join("podman") }
    }

    /// Pulls and gives the digest of the manifest that came.
    #[track_caller]
    pub(crate) fn pull(&self, reference: &str) -> String {
        self.run(&["pull", "--quiet", reference]).expect_success();
        self.run(&["image", "inspect", "--format", "{{.Digest}}", reference])
            .expect_success()
            .trim()
            .to_owned()
    }

    fn run(&self, arguments: &[&str]) -> Finished {
        let mut podman = command("podman");
        podman.arg("--root").arg(self.folder.join("storage")).arg("--runroot").arg(self.folder.join("run"));
        podman.arg("--tmpdir").arg(self.folder.join("tmp"));
        podman
            .args(["--storage-driver=vfs", "--events-backend=none", "--cgroup-manager=cgroupfs"])
            .args(arguments);
        finish(podman)
    }
}
