//! Brings images from the origin registry into the tree. Reads no database.

mod error;
mod image;
mod listing;
mod observer;
mod run;
mod selection;
mod summary;
mod transfer;

#[cfg(test)]
mod tests;

pub use error::{Error, ImageError};
pub use image::{CHILDREN_LIMIT, DEPTH_LIMIT, MANIFESTS_LIMIT};
pub use observer::{Observer, Transfer};
pub use run::Exporter;
pub use selection::CategoryConfig;
pub use summary::{
    CategorySummary, Fault, Fetched, ForeignLayer, Refusal, Summary, Unmatched, WithdrawnImage,
};

/// Runs what waits for the disk where it holds up nobody.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("the work does not panic and the runtime lives")
}
