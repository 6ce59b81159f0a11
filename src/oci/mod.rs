//! The nouns of the OCI distribution and image specifications, as values that cannot be wrong.

mod digest;
mod error;
mod image_config;
mod manifest;
mod name;
mod path;
mod platform;
mod reference;
mod signature;

pub use digest::{Digest, DigestError, Verifier};
pub use error::{ErrorBody, ErrorCode};
pub use image_config::ImageConfig;
pub use manifest::{Descriptor, MANIFEST_LIMIT, Manifest, ManifestError, MediaType};
pub use name::{RepositoryName, RepositoryNameError};
pub use path::{DistributionPath, PathError};
pub use platform::{Platform, PlatformError};
pub use reference::{Reference, ReferenceError, Tag, TagError};
pub use signature::{PublicKey, PublicKeyError, Signature, SignatureError};
