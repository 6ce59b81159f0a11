//! The saved snapshot, the bodies of manifests and small blobs, and the pieces of large ones: what lets `serve` start and answer
//! while the database is down.

mod bodies;
mod packed;
mod saved;

pub use bodies::{Bodies, Record};
pub use packed::{read_packed, write_private};
pub use saved::{Part, Saved, Store};

use std::{io, path::PathBuf};

/// Why something could not be saved or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system refused.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// What we were doing.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process keeps its state there.
    #[error("the state folder {} belongs to a `serve` that runs; give this one its own: serve.state", .0.display())]
    Held(PathBuf),
    /// The file is not what was written.
    #[error("{} is refused: {reason}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl Error {
    fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}
