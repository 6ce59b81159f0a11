use std::{io, path::PathBuf};

use super::InventoryError;
use crate::{mirror::CategoryName, oci};

/// Why the tree could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system said no.
    #[error("{}: {source}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// Somebody else exports to this tree.
    #[error("{} is held by another export ({holder}); wait for its end", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// What the holder wrote into it.
        holder: String,
    },
    /// The file system has no hard links.
    #[error("{} has no hard links ({source}); put the tree on a file system that has them, \
         or set tree.hard_links to false, which takes the space of every category once more", path.display())]
    NoHardLinks {
        /// The folder.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// The disk is full, or will be.
    #[error("{}: {needed} bytes are needed, with what comes at the same time, and {free} are free; make room, then run `portolan export` again", path.display())]
    NoSpace {
        /// The folder.
        path: PathBuf,
        /// In bytes.
        needed: u64,
        /// In bytes.
        free: u64,
    },
    /// Bytes that are not what they were asked under.
    #[error("the bytes are not {expected}: they have the digest {found}")]
    WrongBytes {
        /// The digest asked for.
        expected: oci::Digest,
        /// The digest found; boxed, for two digests would make every error large.
        found: Box<oci::Digest>,
    },
    /// More or fewer bytes than a manifest says.
    #[error("{digest} has {found} bytes instead of {size}")]
    WrongSize {
        /// What it is kept under.
        digest: oci::Digest,
        /// By the manifest or the inventory.
        size: u64,
        /// Really; when more were sent, up to where it was noticed.
        found: u64,
    },
    /// Content under another algorithm than sha256.
    #[error("{0} is kept under another algorithm than sha256, which a tree cannot carry")]
    Algorithm(oci::Digest),
    /// The files of a category disagree: an export is under way or was stopped.
    #[error("category {category} is not complete: {reason}; run `portolan export` again")]
    HalfWritten {
        /// The category.
        category: CategoryName,
        /// Which files disagree.
        reason: String,
    },
    /// An inventory that cannot be read.
    #[error("inventory of category {category}: {source}")]
    Inventory {
        /// The category.
        category: CategoryName,
        /// The line and the fault.
        source: InventoryError,
    },
}

impl Error {
    /// For `map_err`: keeps the path that an input or output failed on.
    pub(super) fn at(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        |source| Self::Io { path, source }
    }
}
