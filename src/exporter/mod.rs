//! Brings images from the origin registry into the tree. Reads no database.

mod age;
mod closure;
mod collect;
mod error;
mod image;
mod keep;
mod listed;
mod listing;
mod observer;
mod origin;
mod plan;
mod promotion;
mod referrers;
mod run;
mod scope;
mod selection;
mod source;
mod summary;
mod survey;
mod transfer;
mod verify;

#[cfg(test)]
mod tests;

pub use error::{Error, ImageError};
pub use image::{CHILDREN_LIMIT, DEPTH_LIMIT, MANIFESTS_LIMIT};
pub use observer::{Observer, Transfer};
pub use plan::{CategoryPlan, Files, Plan};
pub use run::Exporter;
pub use scope::Scope;
pub use selection::CategoryConfig;
pub use summary::{
    CategorySummary, Fault, Fetched, ForeignLayer, Refusal, Summary, Unmatched, WithdrawnImage,
};

/// Runs what waits for the disk where it holds up nobody.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("the work does not panic and the runtime lives")
}
