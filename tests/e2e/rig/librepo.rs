//! librepo, which dnf reads metalinks with (version 3 only), by its Python binding.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use super::namespace::Namespace;
use super::program::{command, find, finish};

/// librepo looks for one file only, so the document's is renamed on its way.
const FILE: &str = "repomd.xml";

const SCRIPT: &str = r#"
import json, librepo, sys
handle = librepo.Handle()
handle.repotype = librepo.LR_YUMREPO
handle.metalinkurl = "file://" + sys.argv[1]
handle.fetchmirrors = True
handle.destdir = sys.argv[2]
handle.perform(librepo.Result())
print(json.dumps(handle.metalink))
"#;

/// A package of that name is one folder up: base URLs are those of the document.
const DOWNLOAD: &str = r#"
import librepo, sys
document, target, hexadecimal = sys.argv[1:]
handle = librepo.Handle()
handle.repotype = librepo.LR_YUMREPO
handle.metalinkurl = "file://" + document
package = librepo.PackageTarget("../" + hexadecimal, dest=target, checksum_type=librepo.SHA256,
                                checksum=hexadecimal, handle=handle)
librepo.download_packages([package])
if package.err:
    sys.exit(package.err)
"#;

/// Downloads the one file that `document` describes, `sha256-HEX`, and gives its bytes.
#[track_caller]
pub(crate) fn download(namespace: &Namespace, document: &str, name: &str) -> Vec<u8> {
    let folder = tempfile::tempdir_in(&namespace.folder).expect("a folder");
    let file = write(&folder, document, name);
    let target = folder.path().join("target");
    let mut python = command("/usr/bin/python3");
    let hex = name.strip_prefix("sha256-").expect("a digest's name");
    python.args(["-c", DOWNLOAD]).arg(&file).arg(&target).arg(hex);
    finish(python).expect_success();
    fs::read(&target).expect("the downloaded file")
}

/// What librepo reads in `document` about the file `name`: filename, timestamp, size, hashes, urls.
#[track_caller]
pub(crate) fn parse(namespace: &Namespace, document: &str, name: &str) -> Value {
    let folder = tempfile::tempdir_in(&namespace.folder).expect("a folder");
    let file = write(&folder, document, name);
    let mut python = command("/usr/bin/python3");
    python.args(["-c", SCRIPT]).arg(&file).arg(folder.path());
    serde_json::from_str(&finish(python).expect_success()).expect("JSON from librepo")
}

/// Writes the document with the name that librepo looks for.
#[track_caller]
fn write(folder: &tempfile::TempDir, document: &str, name: &str) -> PathBuf {
    let file = folder.path().join("document.metalink");
    let attribute = format!("name=\"{name}\"");
    assert!(document.contains(&attribute), "no file {name} in {document}");
    fs::write(&file, document.replace(&attribute, &format!("name=\"{FILE}\""))).expect("the document's file");
    find("/usr/lib/python3/dist-packages/librepo");
    file
}
