use serde::Serialize;

use crate::{
    database::content::CategoryContent,
    mirror::{CategoryName, Serial},
};

/// What a scan did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Each category of the tree, and each that has gone from it.
    pub categories: Vec<CategorySummary>,
    /// How many blobs were in no category any more.
    pub removed_blobs: usize,
    /// Of how many blobs the pieces were taken over.
    pub cut_blobs: usize,
}

/// What a scan did with a category.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CategorySummary {
    /// The category.
    pub name: CategoryName,
    /// What was done.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What can become of a category.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// The database has this state already.
    Unchanged,
    /// The database has a new state now.
    Updated {
        /// The new state's.
        serial: Serial,
        /// All blobs of the category, manifests among them.
        blobs: usize,
        /// Those that no category had before.
        new_blobs: usize,
        /// All tags.
        tags: usize,
    },
    /// Its files disagree; the database has the state before.
    Refused {
        /// Which files, and how.
        reason: String,
    },
    /// Its folder is gone.
    Retired,
}

impl Outcome {
    pub(super) fn updated(content: &CategoryContent, new_blobs: usize) -> Self {
        let tags = content.repositories.values().map(|it| it.len()).sum();
        Self::Updated { serial: content.serial, blobs: content.blobs.len(), new_blobs, tags }
    }
}

impl Summary {
    /// Was anything refused?
    pub fn has_refused(&self) -> bool {
        self.categories.iter().any(|it| matches!(it.outcome, Outcome::Refused { .. }))
    }
}
