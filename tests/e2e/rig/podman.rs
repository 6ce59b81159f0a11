//! podman with a storage of its own.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::namespace::Namespace;
use super::program::{Finished, finish};
use super::root::Root;

pub(crate) struct Podman {
    root: Root,
    folder: PathBuf,
    /// Its `storage.conf`, if there is one.
    storage: Option<PathBuf>,
}

impl Podman {
    pub(crate) fn new(namespace: &Namespace) -> Podman {
        Podman::of(&Root::Machine, namespace.folder.join("podman"))
    }

    /// A podman of `root` whose storage is in `folder`.
    pub(crate) fn of(root: &Root, folder: PathBuf) -> Podman {
        Podman { root: root.clone(), folder, storage: None }
    }

    /// The same, set to fetch only what it lacks of layers that are in chunks.
    pub(crate) fn with_partial_images(root: &Root, folder: PathBuf) -> Podman {
        fs::create_dir_all(&folder).expect("podman's folder");
        let storage = folder.join("storage.conf");
        let place = folder.display();
        // Only the overlay driver can do it. A path of more than 50 characters is refused as runroot.
        let name = folder.file_name().expect("a folder's name").display();
        let text = format!(
            "[storage]\ndriver = \"overlay\"\nrunroot = \"/run/podman-{name}\"\ngraphroot = \"{place}/storage\"\n\
             [storage.options]\npull_options = {{enable_partial_images = \"true\"}}\n"
        );
        fs::write(&storage, text).expect("podman's storage.conf");
        Podman { root: root.clone(), folder, storage: Some(storage) }
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

    /// Runs `podman` with these arguments.
    pub(crate) fn run(&self, arguments: &[&str]) -> Finished {
        finish(self.command(arguments))
    }

    /// A command of `podman` with these arguments.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut podman = self.root.command("podman");
        match &self.storage {
            Some(storage) => podman.env("CONTAINERS_STORAGE_CONF", storage),
            None => podman
                .arg("--root")
                .arg(self.folder.join("storage"))
                .arg("--runroot")
                .arg(self.folder.join("run"))
                .arg("--storage-driver=vfs"),
        };
        podman.arg("--tmpdir").arg(self.folder.join("tmp"));
        podman.args(["--events-backend=none", "--cgroup-manager=cgroupfs"]).args(arguments);
        podman
    }
}
