//! aria2c: downloads by a metalink document and verifies what it got.

use std::fs;

use super::namespace::Namespace;
use super::program::{command, finish};

/// Downloads the one file that `document`, which has no pieces, describes and gives its bytes.
#[track_caller]
pub(crate) fn download(namespace: &Namespace, document: &[u8]) -> Vec<u8> {
    let (bytes, printed) = run(namespace, document, "--max-tries=1");
    let verified = printed.contains("Verification finished successfully");
    assert!(verified, "aria2c did not say that it verified: {printed}");
    bytes
}

/// The same by a document with pieces: aria2c verifies each as it comes, and says nothing of it. A mirror that sends a
/// wrong one is asked twice, then the next.
#[track_caller]
pub(crate) fn download_in_pieces(namespace: &Namespace, document: &[u8]) -> Vec<u8> {
    run(namespace, document, "--max-tries=2").0
}

/// The one file, and what aria2c printed.
#[track_caller]
fn run(namespace: &Namespace, document: &[u8], tries: &str) -> (Vec<u8>, String) {
    let folder = tempfile::tempdir_in(&namespace.folder).expect("a folder");
    let file = folder.path().join("document.metalink");
    fs::write(&file, document).expect("the document's file");
    let into = folder.path().join("into");
    let mut aria2c = command("aria2c");
    aria2c.args(["--no-conf", "--check-integrity=true", tries]).arg("--dir").arg(&into);
    aria2c.arg("--metalink-file").arg(&file);
    let finished = finish(aria2c);
    assert!(finished.success(), "{finished}");
    let files: Vec<_> =
        fs::read_dir(&into).expect("a folder").map(|file| file.expect("an entry").path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    (fs::read(&files[0]).expect("the downloaded file"), finished.stdout)
}
