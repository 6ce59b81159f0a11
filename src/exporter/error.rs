use std::path::PathBuf;

use crate::{connector, mirror::CategoryName, oci, tree};

use super::image::{CHILDREN_LIMIT, DEPTH_LIMIT, MANIFESTS_LIMIT};
use crate::oci::MANIFEST_LIMIT;

/// Why nothing could be exported. The tree is then as it was.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The origin registry cannot be asked.
    #[error("the origin registry: {0}")]
    Origin(#[from] connector::Error),
    /// The tree cannot be read or written.
    #[error("the tree: {0}")]
    Tree(#[from] tree::Error),
    /// No category is configured.
    #[error("no category is configured; add a [[category]] with a name and repositories")]
    NoCategory,
    /// Two categories have one name.
    #[error("category {0} is configured twice")]
    Twice(CategoryName),
    /// A category has the name of the one that is made of all others.
    #[error("category all is made of all others, for tree.all is set; give the configured one another name")]
    All,
    /// A pattern that cannot be read.
    #[error("category {category}: the pattern `{pattern}` cannot be read: {reason}")]
    Pattern {
        /// The category.
        category: CategoryName,
        /// As it stands in the configuration.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A public key that cannot be used.
    #[error("the key {}: {reason}", path.display())]
    Key {
        /// Its file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// Why one image could not be exported. The others still are.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The origin did not give it.
    #[error(transparent)]
    Origin(#[from] connector::Error),
    /// It is not what its manifest says, or the tree cannot take it.
    #[error(transparent)]
    Tree(#[from] tree::Error),
    /// A manifest of it cannot be served.
    #[error("manifest {digest}: {source}")]
    Manifest {
        /// The manifest.
        digest: oci::Digest,
        /// Why not.
        source: oci::ManifestError,
    },
    /// A configuration that tells neither age nor platform.
    #[error("configuration {digest} cannot be read: {source}")]
    Config {
        /// The configuration.
        digest: oci::Digest,
        /// Why not.
        source: serde_json::Error,
    },
    /// A configuration or signature that is too long to be looked at.
    #[error("{digest} has {size} bytes; what is looked into may have {MANIFEST_LIMIT}")]
    TooLong {
        /// The blob.
        digest: oci::Digest,
        /// In bytes.
        size: u64,
    },
    /// Indexes in indexes without end.
    #[error("its indexes are nested more than {DEPTH_LIMIT} deep, at {0}")]
    Depth(oci::Digest),
    /// An index with too many manifests.
    #[error("index {digest} has {count} manifests, more than {CHILDREN_LIMIT}")]
    Children {
        /// The index.
        digest: oci::Digest,
        /// How many it names.
        count: usize,
    },
    /// An image with too many manifests.
    #[error("it has more than {MANIFESTS_LIMIT} manifests")]
    Manifests,
    /// The tree has lost a part.
    #[error("{0} is missing in the tree")]
    Missing(oci::Digest),
}
