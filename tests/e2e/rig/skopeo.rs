//! skopeo: copies an image into a folder; keeps no state.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::image;
use super::namespace::Namespace;
use super::program::finish;
use super::root::Root;

/// Copies `reference` (registry, repository, tag) and gives the digest of the manifest that came.
#[track_caller]
pub(crate) fn copy(namespace: &Namespace, reference: &str) -> String {
    let folder = tempfile::tempdir_in(&namespace.folder).expect("a folder");
    finish(copy_command(&Root::Machine, reference, folder.path())).expect_success();
    let manifest: PathBuf = folder.path().join("manifest.json");
    image::digest(&std::fs::read(manifest).expect("the manifest that skopeo wrote"))
}

/// A command of `root`'s skopeo that copies `reference` into `folder`.
pub(crate) fn copy_command(root: &Root, reference: &str, folder: &Path) -> Command {
    copy_from_command(root, &format!("docker://{reference}"), folder)
}

/// The same from any place that skopeo knows, as `oci:FOLDER:NAME`.
pub(crate) fn copy_from_command(root: &Root, place: &str, folder: &Path) -> Command {
    let mut skopeo = root.command("skopeo");
    skopeo.args(["--insecure-policy", "copy", "--all"]).arg(place);
    skopeo.arg(format!("dir:{}", folder.display()));
    skopeo
}
