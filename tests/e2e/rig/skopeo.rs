//! skopeo: copies an image into a folder; keeps no state.

use std::path::PathBuf;

use super::image;
use super::namespace::Namespace;
use super::program::{command, finish};

/// Copies `reference` (registry, repository, tag) and gives the digest of the manifest that came.
#[track_caller]
pub(crate) fn copy(namespace: &Namespace, reference: &str) -> String {
    let folder = tempfile::tempdir_in(&namespace.folder).expect("a folder");
    let mut skopeo = command("skopeo");
    skopeo.args(["--insecure-policy", "copy", "--all"]).arg(format!("docker://{reference}"));
    skopeo.arg(format!("dir:{}", folder.path().display()));
    finish(skopeo).expect_success();
    let manifest: PathBuf = folder.path().join("manifest.json");
    image::digest(&std::fs::read(manifest).expect("the manifest that skopeo wrote"))
}
