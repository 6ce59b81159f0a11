//! Looks at an exported tree, or a mirror's copy of it, without portolan.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;
use sha2::{Digest, Sha256};

/// The blobs and manifests whose files are in a category's folder (rsync's temporary files left out), sorted.
pub(crate) fn list_digests(category: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let Ok(prefixes) = fs::read_dir(category.join("blobs/sha256")) else { return found };
    for prefix in prefixes {
        for file in fs::read_dir(prefix.expect("an entry").path()).expect("a folder") {
            let name = file.expect("an entry").file_name().into_string().expect("a name in UTF-8");
            if !name.starts_with('.') {
                found.push(format!("sha256:{name}"));
            }
        }
    }
    found.sort();
    found
}

/// Where a digest is below a category's folder or URL.
pub(crate) fn blob_path(digest: &str) -> String {
    let hex = digest.strip_prefix("sha256:").expect("a sha256 digest");
    format!("blobs/sha256/{}/{hex}", &hex[..2])
}

/// What `repositories.json` says: repository, tag, digest.
pub(crate) fn repositories(category: &Path) -> BTreeMap<String, BTreeMap<String, String>> {
    let text = fs::read_to_string(category.join("repositories.json")).expect("repositories.json");
    serde_json::from_str(&text).expect("repositories.json is what the layout says")
}

/// The serial in `zz/serial`, if the category has one yet.
pub(crate) fn serial(category: &Path) -> Option<u64> {
    let line = fs::read_to_string(category.join("zz/serial")).ok()?;
    line.split(' ').next()?.parse().ok()
}

/// Checks all that a mirror relies on: every file is what its name says, the inventory is the one that the serial
/// names, and all that it lists is there. Also true in the middle of an export, which writes these last.
#[track_caller]
pub(crate) fn check(category: &Path) {
    check_content(category);
    let Ok(line) = fs::read_to_string(category.join("zz/serial")) else { return };
    let (_, hash) = line.trim_end().split_once(' ').expect("SERIAL HASH");
    let inventory = fs::read(category.join("zz/inventory")).expect("an inventory");
    let found: String = Sha256::digest(&inventory).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(found, hash, "zz/serial names another inventory");
}

/// What is true at any moment: every file is what its name says, and all that the inventory lists is there.
#[track_caller]
pub(crate) fn check_content(category: &Path) {
    for digest in list_digests(category) {
        let bytes = fs::read(category.join(blob_path(&digest))).expect("a blob");
        assert_eq!(super::image::digest(&bytes), digest, "a file is not what its name says");
    }
    let Ok(inventory) = fs::read(category.join("zz/inventory")) else { return };
    let inventory = String::from_utf8(inventory).expect("an inventory in UTF-8");
    for line in inventory.lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<&str> = line.split(' ').collect();
        let path = category.join(blob_path(&format!("sha256:{}", words[0])));
        let size = fs::metadata(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).len();
        assert_eq!(size.to_string(), words[1], "{}", path.display());
    }
}

/// Every digest that the image `manifest` (with its children, read from `category`) is made of.
pub(crate) fn closure(category: &Path, digest: &str) -> Vec<String> {
    let mut found = vec![digest.to_owned()];
    let bytes = fs::read(category.join(blob_path(digest))).unwrap_or_else(|e| panic!("{digest}: {e}"));
    let manifest: Value = serde_json::from_slice(&bytes).expect("a manifest");
    let list = |key: &str| manifest[key].as_array().cloned().unwrap_or_default();
    for child in list("manifests") {
        found.extend(closure(category, child["digest"].as_str().expect("a digest")));
    }
    let parts = list("layers").into_iter().chain(manifest.get("config").cloned());
    found.extend(parts.map(|part| part["digest"].as_str().expect("a digest").to_owned()));
    found
}
