use serde::Serialize;

use crate::{
    mirror::{CategoryName, Serial},
    oci::{Digest, RepositoryName},
    tree::Verified,
};

/// What an export did. As JSON it is what `portolan export --json` prints.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    /// Each configured category that stands in the tree as it is configured.
    pub categories: Vec<CategorySummary>,
    /// Repositories that were looked at.
    pub repositories: usize,
    /// Tags that were looked at.
    pub tags: usize,
    /// What came from the origin.
    pub fetched: Fetched,
    /// Files that were removed from the pool because no category holds them any more.
    pub removed: u64,
    /// What reading the whole tree came to, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verified: Option<Verified>,
    /// Blobs of which pieces were computed anew, for there were none.
    pub cut: u64,
    /// Layers whose owner forbids copies; they are not in the tree.
    pub foreign_layers: Vec<ForeignLayer>,
    /// Images that are not in the tree, for something of them is withdrawn.
    pub withdrawn: Vec<WithdrawnImage>,
    /// What could not be exported. Not empty: the command fails, though all else was exported.
    pub faults: Vec<Fault>,
    /// Categories that would have nothing in them, and were left as they are. Not empty: the command fails.
    pub refused: Vec<Refusal>,
    /// Patterns that fit nothing, beside others of their category that do: a slip, or not there yet.
    pub unmatched: Vec<Unmatched>,
}

impl Summary {
    /// Was everything exported that the configuration asks for?
    pub fn is_whole(&self) -> bool {
        self.faults.is_empty() && self.refused.is_empty()
    }
}

/// What came from the origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Fetched {
    /// Manifests.
    pub manifests: u64,
    /// Layers, configurations and the like.
    pub blobs: u64,
    /// Bytes of these blobs.
    pub bytes: u64,
}

/// What stands in a category now.
#[derive(Clone, Debug, Serialize)]
pub struct CategorySummary {
    /// The category.
    pub name: CategoryName,
    /// Its state's number.
    pub serial: Serial,
    /// Did this export change it?
    pub changed: bool,
    /// Tags in it.
    pub tags: usize,
    /// Files in it, former ones included.
    pub files: usize,
    /// Their sizes, in bytes.
    pub bytes: u64,
    /// Files that no tag leads to any more.
    pub former: usize,
}

/// A layer that was left out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ForeignLayer {
    /// Of the image.
    pub repository: RepositoryName,
    /// Of the image.
    pub tag: String,
    /// The layer.
    pub digest: Digest,
}

/// A category that was not written, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// The category. Its folder, if there is one, is untouched.
    pub category: CategoryName,
    /// For people.
    pub reason: String,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "category {}: {}", self.category, self.reason)
    }
}

/// A pattern that fits nothing at the origin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unmatched {
    /// The category.
    pub category: CategoryName,
    /// `repositories` or `tags`.
    pub key: &'static str,
    /// As it stands in the configuration.
    pub pattern: String,
}

impl std::fmt::Display for Unmatched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { category, key, pattern } = self;
        write!(f, "category {category}: nothing at the origin fits `{pattern}` in `{key}`")
    }
}

/// An image that was left out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct WithdrawnImage {
    /// Of the image.
    pub repository: RepositoryName,
    /// Of the image.
    pub tag: String,
    /// What of it is withdrawn.
    pub digest: Digest,
}

/// What could not be exported, and why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Fault {
    /// As the origin spells it.
    pub repository: String,
    /// As the origin spells it; none if the whole repository failed.
    pub tag: Option<String>,
    /// For people.
    pub reason: String,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Names that break the grammar come from a stranger: escaped, so that none plays with a terminal.
        write!(f, "{}", self.repository.escape_debug())?;
        if let Some(tag) = &self.tag {
            write!(f, ":{}", tag.escape_debug())?;
        }
        write!(f, ": {}", self.reason)
    }
}
