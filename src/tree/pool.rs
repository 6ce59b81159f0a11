//! What the tree has already, category by category and in the pool that they share.

use std::fs;

use super::{Error, INVENTORY_LIMIT, Inventory, State, Tree, disk::read_file};
use crate::{mirror::CategoryName, oci};

impl Tree {
    /// Is this content in the pool, with the right size?
    pub fn has_blob(&self, digest: &oci::Digest, size: u64) -> bool {
        self.blob_size(digest) == Some(size)
    }

    /// The size of content in the pool. Only verified content gets there.
    pub fn blob_size(&self, digest: &oci::Digest) -> Option<u64> {
        fs::metadata(self.pool_path(digest)).ok().map(|it| it.len())
    }

    /// Reads a manifest from the pool, and verifies it anew; `None` if it is not there or has gone bad.
    pub fn read_manifest(&self, digest: &oci::Digest) -> Result<Option<Vec<u8>>, Error> {
        let bytes = read_file(&self.pool_path(digest), oci::MANIFEST_LIMIT as u64)?;
        Ok(bytes.filter(|it| oci::Digest::of(it) == *digest))
    }

    /// What a category held last, as far as it can be read. A killed export may have left
    /// `repositories.json` newer than the inventory; both are true then, for blobs come first.
    pub fn load_state(&self, category: &CategoryName) -> Result<State, Error> {
        fn parse<T: Default + serde::de::DeserializeOwned>(bytes: Option<Vec<u8>>) -> T {
            bytes.and_then(|it| serde_json::from_slice(&it).ok()).unwrap_or_default()
        }
        let repositories = parse(read_file(&self.repositories_path(category), INVENTORY_LIMIT)?);
        let former = parse(read_file(&self.former_path(category), INVENTORY_LIMIT)?);
        let inventory = read_file(&self.inventory_path(category), INVENTORY_LIMIT)?;
        let inventory = inventory.and_then(|it| String::from_utf8(it).ok()?.parse::<Inventory>().ok());
        let (selection, entries) = inventory.map_or_else(Default::default, |it| {
            let entries = it.entries.iter().map(|entry| (entry.digest, (entry.size, entry.kind)));
            (it.selection, entries.collect())
        });
        Ok(State { selection, repositories, entries, former })
    }
}
