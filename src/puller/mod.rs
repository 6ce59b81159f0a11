//! The client's side: `portolan pull`, which brings an image from mirrors to disk, and `portolan agent`, which does
//! that for container engines. Trusts the registry that its user has named, over TLS, and no mirror.

pub mod agent;
mod config;
mod download;
mod fetch;
mod image;
mod layout;
mod piece;
mod pull;
mod registry;
mod service;
mod trust;
mod whole;

pub use config::Config;
pub use fetch::FetchError;
pub use image::{Destination, DestinationError, ImageName, ImageNameError, Wanted, WantedError};
pub use layout::LayoutError;
pub use pull::{BLOBS_AT_ONCE, MANIFESTS_LIMIT, Observer, PullError, Pulled, Puller, Summary, Transfer};
pub use registry::{RegistryName, RegistryNameError};
pub use service::ServiceError;
