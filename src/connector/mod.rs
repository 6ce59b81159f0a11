//! Outgoing HTTP and rsync, with limits: to mirrors behind the address guard, and to the origin registry.

mod api;
mod ask;
mod authorities;
mod authorizations;
mod blob_body;
mod challenge;
mod config;
mod credentials;
mod error;
pub mod guard;
pub mod host;
mod meter;
pub mod oidc;
mod pace;
pub mod registry;
mod transport;
mod webhook;

#[cfg(test)]
pub(crate) mod testing;

pub use api::{Api, ApiError, Verb};
pub use blob_body::BlobBody;
pub use config::{Config, Password};
pub use error::Error;
pub use guard::Guard;
pub use host::{Connector, Family, Manners, MirrorBody, Outcome, Page, Probed};
pub use meter::{Meter, REQUEST_BYTES};
pub use pace::Pace;
pub use registry::{FetchedManifest, ManifestHead, Registry};
pub use webhook::Webhook;

/// Gives rustls its cryptography. Safe to call more than once; the constructors of this module do.
pub fn install_cryptography() {
    // An error says only that one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
