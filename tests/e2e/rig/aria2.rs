//! aria2c: downloads by a metalink document and verifies what it got.

use std::fs;

use super::namespace::Namespace;
use super::program::{command, finish};

/// Downloads the one file that `document`, which has no pieces, describes and gives its bytes.
#[track_caller]
pub(crate) fn download(namespace: &Namespace, document: &[u8]) -> Vec<u8> {
    let (bytes, printed) = run(namespace, document, &["--max-tries=1", "--check-integrity=true"]);
    let verified = printed.contains("Verification finished successfully");
    assert!(verified, "aria2c did not say that it verified: {printed}");
    bytes
}

/// The same by a document with pieces: aria2c verifies each as it comes, and says nothing of it. A mirror that sends a
/// wrong one is asked twice, then the next.
#[track_caller]
pub(crate) fn download_in_pieces(namespace: &Namespace, document: &[u8]) -> Vec<u8> {
    let (bytes, printed) = run(namespace, document, &["--max-tries=2"]);
    assert!(!printed.contains("Checksum error"), "{printed}");
    bytes
}

/// The same with `--check-integrity`. That looks at the file before its first byte has come, and says that it is wrong.
#[track_caller]
pub(crate) fn download_in_pieces_with_check(namespace: &Namespace, document: &[u8]) -> Vec<u8> {
    // aria2c appends.
    let log = tempfile::NamedTempFile::new_in(&namespace.folder).expect("a file for the log");
    let option = format!("--log={}", log.path().display());
    let options = ["--max-tries=1", "--check-integrity=true", "--log-level=info", &option];
    let bytes = run(namespace, document, &options).0;
    let log = fs::read_to_string(log.path()).expect("aria2c's log");
    let (before, after) = log.split_once("\nGET ").expect("a request");
    assert!(
        before.contains("Checksum error detected"),
        "aria2c has changed: docs/clients.md says so: {before}"
    );
    assert!(!after.contains("Checksum error") && after.contains("Good chunk checksum"), "{after}");
    bytes
}

/// The one file, and what aria2c printed.
#[track_caller]
fn run(namespace: &Namespace, document: &[u8], options: &[&str]) -> (Vec<u8>, String) {
    let folder = tempfile::tempdir_in(&namespace.folder).expect("a folder");
    let file = folder.path().join("document.metalink");
    fs::write(&file, document).expect("the document's file");
    let into = folder.path().join("into");
    let mut aria2c = command("aria2c");
    aria2c.arg("--no-conf").args(options).arg("--dir").arg(&into);
    aria2c.arg("--metalink-file").arg(&file);
    let finished = finish(aria2c);
    assert!(finished.success(), "{finished}");
    let files: Vec<_> =
        fs::read_dir(&into).expect("a folder").map(|file| file.expect("an entry").path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    (fs::read(&files[0]).expect("the downloaded file"), finished.stdout)
}
