//! podman with a storage of its own.

use std::path::PathBuf;
use std::process::Command;

use super::namespace::Namespace;
use super::program::{Finished, finish};
use super::root::Root;

pub(crate) struct Podman {
    root: Root,
    folder: PathBuf,
}

impl Podman {
    pub(crate) fn new(namespace: &Namespace) -> Podman {
        Podman::of(&Root::Machine, namespace.folder.join("podman"))
    }

    /// A podman of `root` whose storage is in `folder`.
    pub(crate) fn of(root: &Root, folder: PathBuf) -> Podman {
        Podman { root: root.clone(), folder }
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
        finish(self.command(arguments))
    }

    /// A command of `podman` with these arguments.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut podman = self.root.command("podman");
        podman.arg("--root").arg(self.folder.join("storage")).arg("--runroot").arg(self.folder.join("run"));
        podman.arg("--tmpdir").arg(self.folder.join("tmp"));
        podman
            .args(["--storage-driver=vfs", "--events-backend=none", "--cgroup-manager=cgroupfs"])
            .args(arguments);
        podman
    }
}
