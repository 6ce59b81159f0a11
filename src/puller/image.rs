//! What a user names: an image, a platform, a place.

use std::{fmt, path::PathBuf, str::FromStr};

use super::registry::RegistryName;
use crate::oci::{Descriptor, Platform, Reference, RepositoryName};

/// An image at a registry: `registry.example.org/fedora:42`, or with a digest; without both, its tag `latest`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageName {
    /// Where it is.
    pub registry: RegistryName,
    /// The repository.
    pub name: RepositoryName,
    /// Tag or digest. A digest wins where both are given.
    pub reference: Reference,
}

/// Why a text names no image.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ImageNameError {
    /// No registry, as in docker's short names.
    #[error(
        "an image is named with its registry, and without https://, as registry.example.org/fedora:latest"
    )]
    Registry,
    /// The repository's name breaks the grammar.
    #[error(transparent)]
    Name(#[from] crate::oci::RepositoryNameError),
    /// Tag or digest breaks the grammar.
    #[error(transparent)]
    Reference(#[from] crate::oci::ReferenceError),
}

impl FromStr for ImageName {
    type Err = ImageNameError;

    fn from_str(text: &str) -> Result<Self, ImageNameError> {
        let (registry, rest) = text.split_once('/').ok_or(ImageNameError::Registry)?;
        let registry = registry.parse().map_err(|_| ImageNameError::Registry)?;
        let (rest, digest) = rest.split_once('@').map_or((rest, None), |(rest, it)| (rest, Some(it)));
        let (name, tag) = rest.split_once(':').map_or((rest, None), |(name, it)| (name, Some(it)));
        let reference = match (digest, tag) {
            (Some(digest), _) => {
                Reference::Digest(digest.parse().map_err(crate::oci::ReferenceError::Digest)?)
            }
            (None, Some(tag)) => tag.parse()?,
            (None, None) => "latest".parse()?,
        };
        Ok(Self { registry, name: name.parse()?, reference })
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if matches!(self.reference, Reference::Digest(_)) { '@' } else { ':' };
        write!(f, "{}/{}{separator}{}", self.registry, self.name, self.reference)
    }
}

/// Which images of a multi-platform image are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Every one, and the index over them.
    All,
    /// One.
    Platform {
        /// `linux`
        os: String,
        /// `arm64`
        architecture: String,
        /// `v8`; none: any.
        variant: Option<String>,
    },
}

/// Why a text names no platform.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a platform is named as linux/arm64 or linux/arm/v7, or `all`")]
pub struct WantedError;

impl FromStr for Wanted {
    type Err = WantedError;

    fn from_str(text: &str) -> Result<Self, WantedError> {
        if text == "all" {
            return Ok(Self::All);
        }
        let parts: Vec<&str> = text.split('/').collect();
        let (os, architecture, variant) = match parts[..] {
            [os, architecture] => (os, architecture, None),
            [os, architecture, variant] => (os, architecture, Some(variant.to_owned())),
            _ => return Err(WantedError),
        };
        if parts.iter().any(|it| it.is_empty()) {
            return Err(WantedError);
        }
        Ok(Self::Platform { os: os.to_owned(), architecture: architecture.to_owned(), variant })
    }
}

impl Default for Wanted {
    /// This machine's.
    fn default() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "x86" => "386",
            "powerpc64" => "ppc64le",
            "loongarch64" => "loong64",
            other => other,
        };
        let os = std::env::consts::OS.to_owned();
        Self::Platform { os, architecture: architecture.to_owned(), variant: None }
    }
}

impl Wanted {
    /// The first entry of an index that fits.
    pub(super) fn find<'a>(&self, manifests: &'a [Descriptor]) -> Option<&'a Descriptor> {
        let Self::Platform { os, architecture, variant } = self else { return None };
        let fits = |it: &Platform| {
            it.os == *os && it.architecture == *architecture && (variant.is_none() || it.variant == *variant)
        };
        manifests.iter().find(|it| it.platform.as_ref().is_some_and(fits))
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Platform { os, architecture, variant } => {
                write!(f, "{os}/{architecture}")?;
                variant.iter().try_for_each(|it| write!(f, "/{it}"))
            }
        }
    }
}

/// Where an image goes: `oci:FOLDER`, or `oci:FOLDER:NAME` to give it another name than its tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// An OCI image layout; made if it is not there.
    pub folder: PathBuf,
    /// The name of the image in it.
    pub name: Option<String>,
}

/// Why a text names no place for an image.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("an image goes to oci:FOLDER or oci:FOLDER:NAME")]
pub struct DestinationError;

impl FromStr for Destination {
    type Err = DestinationError;

    fn from_str(text: &str) -> Result<Self, DestinationError> {
        let rest = text.strip_prefix("oci:").ok_or(DestinationError)?;
        let (folder, name) = rest.split_once(':').map_or((rest, None), |(it, name)| (it, Some(name)));
        if folder.is_empty() || name.is_some_and(str::is_empty) {
            return Err(DestinationError);
        }
        Ok(Self { folder: folder.into(), name: name.map(str::to_owned) })
    }
}

impl ImageName {
    /// What it is called in a layout: by its tag, or nothing.
    pub(super) fn tag(&self) -> Option<String> {
        match &self.reference {
            Reference::Tag(tag) => Some(tag.to_string()),
            Reference::Digest(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Digest;

    #[test]
    fn images_are_named_with_their_registry() {
        #[track_caller]
        fn check(text: &str, expected: &str) {
            assert_eq!(text.parse::<ImageName>().unwrap().to_string(), expected);
        }
        let digest = Digest::of(b"");
        check("registry.test/fedora", "registry.test/fedora:latest");
        check("localhost/a/b:1", "localhost/a/b:1");
        check("127.0.0.1:5000/a:1", "127.0.0.1:5000/a:1");
        check(&format!("r.test/a:1@{digest}"), &format!("r.test/a@{digest}"));
        for text in ["fedora", "fedora:latest", "library/fedora", "u@r.test/a", "/a", "https://r.test/a"] {
            assert_eq!(text.parse::<ImageName>(), Err(ImageNameError::Registry), "{text}");
        }
        assert!("r.test/A".parse::<ImageName>().is_err());
        assert!("r.test/a:".parse::<ImageName>().is_err());
        assert!("r.test/a@sha256:0".parse::<ImageName>().is_err());
    }

    #[test]
    fn platforms_and_places() {
        assert_eq!("linux/arm/v7".parse::<Wanted>().unwrap().to_string(), "linux/arm/v7");
        assert_eq!("all".parse(), Ok(Wanted::All));
        for text in ["", "linux", "linux/", "a/b/c/d"] {
            assert_eq!(text.parse::<Wanted>(), Err(WantedError), "{text}");
        }
        let place: Destination = "oci:/tmp/x:f42".parse().unwrap();
        assert_eq!((place.folder, place.name), ("/tmp/x".into(), Some("f42".to_owned())));
        for text in ["/tmp/x", "dir:/tmp/x", "oci:", "oci:x:"] {
            assert_eq!(text.parse::<Destination>(), Err(DestinationError), "{text}");
        }
    }
}
