//! librepo, which dnf reads metalinks with (version 3 only), by its Python binding.

use std::fs;

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

/// What librepo reads in `document` about the file `name`: filename, timestamp, size, hashes, urls.
#[track_caller]
pub(crate) fn parse(namespace: &Namespace, document: &str, name: &str) -> Value {
    let folder = tempfile::tempdir_in(&namespace.folder).expect("a folder");
    let file = folder.path().join("document.metalink");
    let attribute = format!("name=\"{name}\"");
    assert!(document.contains(&attribute), "no file {name} in {document}");
    fs::write(&file, document.replace(&attribute, &format!("name=\"{FILE}\""))).expect("the document's file");
    find("/usr/lib/python3/dist-packages/librepo");
    let mut python = command("/usr/bin/python3");
    python.args(["-c", SCRIPT]).arg(&file).arg(folder.path());
    serde_json::from_str(&finish(python).expect_success()).expect("JSON from librepo")
}
