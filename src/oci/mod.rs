//! The nouns of the OCI distribution and image specifications, as values that cannot be wrong.

mod digest;
mod error;
mod manifest;
mod name;
mod path;
mod reference;

pub use digest::{Digest, DigestError, Verifier};
pub use error::{ErrorBody, ErrorCode};
pub use manifest::{Descriptor, MANIFEST_LIMIT, Manifest, ManifestError, MediaType, Platform};
pub use name::{RepositoryName, RepositoryNameError};
pub use path::{DistributionPath, PathError};
pub use reference::{Reference, ReferenceError, Tag, TagError};
