use std::{fmt, str::FromStr};

use super::{Digest, DigestError, Reference, ReferenceError, RepositoryName, RepositoryNameError};

/// What a request under `/v2/` asks for. Made once from the path; nothing later looks at the URL.
///
/// Distribution specification, "Endpoints" (end-2, 3, 8, 12), and `_catalog`, which the
/// specification reserves. A name may itself have components called `blobs` or `manifests`, so the
/// path is split from the right.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum DistributionPath {
    /// `/v2/`: does this server speak the protocol?
    Ping,
    /// `/v2/_catalog`
    Catalog,
    /// `/v2/NAME/manifests/REFERENCE`
    Manifest {
        /// Whose manifest.
        name: RepositoryName,
        /// Tag or digest.
        reference: Reference,
    },
    /// `/v2/NAME/blobs/DIGEST`
    Blob {
        /// Through which repository.
        name: RepositoryName,
        /// Which blob.
        digest: Digest,
    },
    /// `/v2/NAME/tags/list`
    Tags {
        /// Whose tags.
        name: RepositoryName,
    },
    /// `/v2/NAME/referrers/DIGEST`
    Referrers {
        /// Through which repository.
        name: RepositoryName,
        /// The subject.
        digest: Digest,
    },
}

impl DistributionPath {
    /// The repository, if it is about one.
    pub fn name(&self) -> Option<&RepositoryName> {
        match self {
            Self::Ping | Self::Catalog => None,
            Self::Manifest { name, .. }
            | Self::Blob { name, .. }
            | Self::Tags { name }
            | Self::Referrers { name, .. } => Some(name),
        }
    }

    /// The same of another repository.
    pub fn with_name(self, name: RepositoryName) -> Self {
        match self {
            Self::Ping | Self::Catalog => self,
            Self::Manifest { reference, .. } => Self::Manifest { name, reference },
            Self::Blob { digest, .. } => Self::Blob { name, digest },
            Self::Tags { .. } => Self::Tags { name },
            Self::Referrers { digest, .. } => Self::Referrers { name, digest },
        }
    }
}

/// Why a path is none of the API's.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PathError {
    /// Nothing of the kind is in the API.
    #[error("this path is not part of the registry API")]
    Unknown,
    /// The repository's name breaks the grammar.
    #[error(transparent)]
    Name(#[from] RepositoryNameError),
    /// A manifest was asked by what is neither tag nor digest.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// A blob or subject was asked by what is no digest.
    #[error(transparent)]
    Digest(#[from] DigestError),
}

impl FromStr for DistributionPath {
    type Err = PathError;

    /// Reads the path part of a URL, as it came (percent signs are in no valid path).
    fn from_str(path: &str) -> Result<Self, PathError> {
        let rest = match path.strip_prefix("/v2") {
            Some("" | "/") => return Ok(Self::Ping),
            Some("/_catalog") => return Ok(Self::Catalog),
            Some(rest) => rest.strip_prefix('/').ok_or(PathError::Unknown)?,
            None => return Err(PathError::Unknown),
        };
        let (front, last) = rest.rsplit_once('/').ok_or(PathError::Unknown)?;
        let (name, kind) = front.rsplit_once('/').ok_or(PathError::Unknown)?;
        match (kind, last) {
            ("manifests", _) => Ok(Self::Manifest { name: name.parse()?, reference: last.parse()? }),
            ("blobs", _) => Ok(Self::Blob { name: name.parse()?, digest: last.parse()? }),
            ("referrers", _) => Ok(Self::Referrers { name: name.parse()?, digest: last.parse()? }),
            ("tags", "list") => Ok(Self::Tags { name: name.parse()? }),
            _ => Err(PathError::Unknown),
        }
    }
}

impl fmt::Display for DistributionPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ping => f.write_str("/v2/"),
            Self::Catalog => f.write_str("/v2/_catalog"),
            Self::Manifest { name, reference } => write!(f, "/v2/{name}/manifests/{reference}"),
            Self::Blob { name, digest } => write!(f, "/v2/{name}/blobs/{digest}"),
            Self::Tags { name } => write!(f, "/v2/{name}/tags/list"),
            Self::Referrers { name, digest } => write!(f, "/v2/{name}/referrers/{digest}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_print_as_they_were_read() {
        let digest = Digest::of(b"");
        for path in [
            "/v2/".to_owned(),
            "/v2/_catalog".to_owned(),
            "/v2/fedora/manifests/latest".to_owned(),
            "/v2/blobs/manifests/manifests/manifests/latest".to_owned(),
            format!("/v2/a/b/blobs/{digest}"),
            format!("/v2/a/referrers/{digest}"),
            "/v2/a/tags/list".to_owned(),
        ] {
            assert_eq!(path.parse::<DistributionPath>().unwrap().to_string(), path);
        }
        assert_eq!("/v2".parse(), Ok(DistributionPath::Ping));
    }

    #[test]
    fn everything_else_is_refused() {
        #[track_caller]
        fn check(path: &str, error: PathError) {
            assert_eq!(path.parse::<DistributionPath>(), Err(error), "{path}");
        }
        check("", PathError::Unknown);
        check("/", PathError::Unknown);
        check("/v1/", PathError::Unknown);
        check("/v2foo", PathError::Unknown);
        check("/v2/a", PathError::Unknown);
        check("/v2//", PathError::Unknown);
        check("/v2/a/tags/all", PathError::Unknown);
        check("/v2/a/blobs/uploads/", PathError::Unknown);
        check("/v2/../manifests/latest", PathError::Name(RepositoryNameError::Component));
        check("/v2//manifests/latest", PathError::Name(RepositoryNameError::Component));
        check("/v2/a/manifests/", PathError::Reference(ReferenceError::Tag(super::super::TagError)));
        check("/v2/a/blobs/latest", PathError::Digest(DigestError::Form));
        check(
            "/v2/a/manifests/sha256:0",
            PathError::Reference(ReferenceError::Digest(DigestError::Hash(64))),
        );
    }

    proptest::proptest! {
        #[test]
        fn what_parses_prints_back(path in "/v2/[a-z/_.:0-9-]{0,30}(manifests|blobs|tags|referrers)/[a-z:0-9]{0,80}") {
            if let Ok(parsed) = path.parse::<DistributionPath>() {
                proptest::prop_assert_eq!(parsed.to_string(), path);
            }
        }
    }
}
