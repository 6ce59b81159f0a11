//! The static tree that mirrors carry: its layout, its inventory, and the order it is written in.

mod all;
mod created;
mod disk;
mod error;
mod inventory;
mod layout;
mod link;
mod new_blob;
mod pieces;
mod pool;
mod read;
mod referrer_list;
mod registry;
mod registry_write;
mod repositories;
mod space;
mod state;
mod verify;
mod withdrawn;
mod write;

use std::path::PathBuf;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

pub use created::Created;
pub use error::Error;
pub use inventory::{Entry, INVENTORY_LIMIT, Inventory, InventoryError, Kind};
pub use layout::{CANARY, CANARY_DIGEST, INVENTORY_PATH, REPOSITORIES_PATH, SERIAL_PATH};
pub use new_blob::NewBlob;
pub use read::{Category, Head};
pub use referrer_list::{is_referrer_list, render_referrer_lists};
pub use repositories::Repositories;
pub use state::{Former, State};
pub use verify::{Damage, Verified};
pub use write::Writer;

/// `[tree]`: the folder that is exported to and that mirrors copy.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The folder.
    pub path: PathBuf,
    /// Has its file system hard links? If not, say `false`: each category then has copies of its own, and takes its
    /// space once more beside the pool below `.portolan`.
    pub hard_links: bool,
    /// Publish one category more, `all`: what is in any category, each file once. In it are a folder
    /// `categories/NAME` and a list `lists/NAME` for each category, so that mirrors which use no hard links can carry
    /// several of them.
    pub all: bool,
    /// How long content stays after no tag leads to it any more, so that pinned digests and slow mirrors
    /// live on: 0s to 87600h (ten years).
    #[schemars(with = "String")]
    #[serde(serialize_with = "jiff::fmt::serde::duration::friendly::compact::required")]
    pub keep_former: SignedDuration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            path: PathBuf::from("tree"),
            hard_links: true,
            all: false,
            keep_former: SignedDuration::from_hours(720),
        }
    }
}

/// A tree, to be read. Export writes to it through [`Tree::lock`].
#[derive(Clone, Debug)]
pub struct Tree {
    path: PathBuf,
    /// Else each category has copies.
    hard_links: bool,
}

impl Tree {
    /// Names the tree; touches nothing.
    pub fn open(config: &Config) -> Self {
        Self { path: config.path.clone(), hard_links: config.hard_links }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_print_as_people_write_them() {
        let printed = toml::to_string(&Config::default()).unwrap();
        assert_eq!(printed, "path = \"tree\"\nhard_links = true\nall = false\nkeep_former = \"720h\"\n");
    }
}
