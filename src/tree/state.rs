use std::collections::BTreeMap;

use super::{Entry, Inventory, Kind, Repositories, repositories};
use crate::{
    mirror::{CategoryName, Serial},
    oci,
};

/// Since when content is former, in Unix seconds.
pub type Former = BTreeMap<oci::Digest, i64>;

/// What is to stand in a category.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The category's choice, as one line of JSON.
    pub selection: String,
    /// All tags.
    pub repositories: Repositories,
    /// All files by digest, former ones and the canary included.
    pub entries: BTreeMap<[u8; 32], (u64, Kind)>,
    /// Which of them no tag leads to.
    pub former: Former,
}

impl State {
    pub(super) fn inventory(&self, category: &CategoryName, serial: Serial) -> Inventory {
        let entries = self.entries.iter().map(|(digest, (size, kind))| Entry {
            digest: *digest,
            size: *size,
            kind: *kind,
        });
        Inventory {
            category: category.clone(),
            serial,
            selection: self.selection.clone(),
            repositories_digest: oci::Digest::of(&repositories::render(&self.repositories)),
            entries: entries.collect(),
        }
    }
}
