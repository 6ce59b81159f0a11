use std::path::{Path, PathBuf};

use super::Tree;
use crate::{
    mirror::{self, CategoryName},
    oci,
};

/// A blob of every category, so that probes have something to ask for: `{}`.
pub const CANARY: &[u8] = b"{}";

/// The canary's digest.
pub const CANARY_DIGEST: oci::Digest = oci::Digest::Sha256([
    0x44, 0x13, 0x6f, 0xa3, 0x55, 0xb3, 0x67, 0x8a, 0x11, 0x46, 0xad, 0x16, 0xf7, 0xe8, 0x64, 0x9e, 0x94,
    0xfb, 0x4f, 0xc2, 0x1f, 0xe7, 0x7e, 0x83, 0x10, 0xc0, 0x60, 0xf6, 0x1c, 0xaa, 0xff, 0x8a,
]);

/// Where the inventory lies below a category. `zz` is last in rsync's order.
pub const INVENTORY_PATH: &str = "zz/inventory";

/// Where the list of repositories, their tags and digests lies below a category: JSON.
pub const REPOSITORIES_PATH: &str = "repositories.json";

/// Where the serial lies below a category: one line `SERIAL INVENTORY-SHA256-HEX`.
pub const SERIAL_PATH: &str = "zz/serial";

/// The folder of what is outside of every category.
pub(super) const PRIVATE: &str = ".portolan";

/// `sha256/ab/abcd…`
fn fan_out(digest: &oci::Digest) -> String {
    let hex = digest.hex();
    format!("sha256/{}/{hex}", &hex[..2])
}

impl Tree {
    /// The folder of the tree.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of a category.
    pub fn category_path(&self, category: &CategoryName) -> PathBuf {
        self.path.join(category.as_str())
    }

    /// The file of a blob or manifest in a category; `None` for other algorithms than sha256.
    pub fn blob_path(&self, category: &CategoryName, digest: &oci::Digest) -> Option<PathBuf> {
        digest.sha256().map(|_| self.category_path(category).join(mirror::blob_path(digest)))
    }

    /// What is outside of every category, so that rsync never ships it.
    pub(super) fn private_path(&self, name: &str) -> PathBuf {
        self.path.join(PRIVATE).join(name)
    }

    /// The file of a blob or manifest, whatever categories have it.
    pub fn pool_path(&self, digest: &oci::Digest) -> PathBuf {
        self.private_path("pool").join(fan_out(digest))
    }

    /// The file of a blob's pieces.
    pub(super) fn pieces_path(&self, digest: &oci::Digest) -> PathBuf {
        self.private_path("pieces").join(fan_out(digest))
    }

    pub(super) fn inventory_path(&self, category: &CategoryName) -> PathBuf {
        self.category_path(category).join(INVENTORY_PATH)
    }

    pub(super) fn serial_path(&self, category: &CategoryName) -> PathBuf {
        self.category_path(category).join(SERIAL_PATH)
    }

    pub(super) fn repositories_path(&self, category: &CategoryName) -> PathBuf {
        self.category_path(category).join(REPOSITORIES_PATH)
    }

    pub(super) fn former_path(&self, category: &CategoryName) -> PathBuf {
        self.private_path("former").join(format!("{category}.json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_canary_has_its_digest() {
        assert_eq!(oci::Digest::of(CANARY), CANARY_DIGEST);
    }

    #[test]
    fn only_sha256_has_a_place() {
        let tree = Tree::open(&super::super::Config { path: "tree".into(), ..Default::default() });
        let category = "fedora".parse().unwrap();
        let hex = CANARY_DIGEST.hex();
        let path = tree.blob_path(&category, &CANARY_DIGEST).unwrap();
        assert_eq!(path, Path::new(&format!("tree/fedora/blobs/sha256/44/{hex}")));
        assert_eq!(tree.blob_path(&category, &oci::Digest::Sha512([0; 64])), None);
    }
}
