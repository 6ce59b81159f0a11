use actix_web::{
    HttpResponse, ResponseError,
    http::{StatusCode, header},
};

use super::peer::PeerError;
use crate::{
    mirrorlist::Missing,
    oci::{ErrorBody, ErrorCode, PathError, ReferenceError},
};

/// Seconds after which a client may ask again for what nobody can serve now.
const RETRY_AFTER: &str = "30";

/// Why a request of the registry API is refused: the body is the specification's.
#[derive(Debug, thiserror::Error)]
pub(super) enum RegistryError {
    /// Neither GET nor HEAD.
    #[error("this registry is read-only")]
    Method,
    /// The path is none of the API's, or its name, tag or digest breaks the grammar.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A trusted proxy is not understood.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// A query parameter cannot be read.
    #[error("the parameter {0}")]
    Query(&'static str),
    /// Neither a mirror nor ourselves can be named.
    #[error("no mirror has this, and the request's Host is no name under which we could serve it")]
    Host,
    /// A redirect was asked for, and no mirror is left to redirect to.
    #[error("no mirror has this")]
    NoMirror,
    /// No such repository.
    #[error("there is no such repository here")]
    NameUnknown,
    /// No such tag or manifest.
    #[error("there is no such manifest here")]
    ManifestUnknown,
    /// No such blob.
    #[error("there is no such blob here")]
    BlobUnknown,
    /// The operators withdrew it for legal reasons.
    #[error("this is not available for legal reasons")]
    Legal,
    /// The client is in a country under embargo.
    #[error("this service is not available in your country for legal reasons")]
    Embargoed,
    /// No host and no fallback has the blob now.
    #[error("no mirror has this blob now, and there is no fallback; try again later")]
    Unavailable,
    /// Our own fault. The text goes to the log, never to the client.
    #[error("{0}")]
    Internal(String),
}

/// Of a repository or manifest.
impl From<Missing> for RegistryError {
    fn from(missing: Missing) -> Self {
        match missing {
            Missing::Repository => Self::NameUnknown,
            Missing::Content | Missing::Withdrawn { legal: false } => Self::ManifestUnknown,
            Missing::Withdrawn { legal: true } => Self::Legal,
        }
    }
}

impl RegistryError {
    /// Of a blob.
    pub(super) fn no_blob(missing: Missing) -> Self {
        match missing.into() {
            Self::ManifestUnknown => Self::BlobUnknown,
            other => other,
        }
    }

    fn code(&self) -> ErrorCode {
        match self {
            Self::Method | Self::Path(PathError::Unknown) | Self::Peer(_) | Self::Query(_) | Self::Host => {
                ErrorCode::Unsupported
            }
            Self::Path(PathError::Name(_)) => ErrorCode::NameInvalid,
            Self::Path(PathError::Digest(_) | PathError::Reference(ReferenceError::Digest(_))) => {
                ErrorCode::DigestInvalid
            }
            Self::Path(PathError::Reference(ReferenceError::Tag(_))) => ErrorCode::TagInvalid,
            Self::NameUnknown => ErrorCode::NameUnknown,
            Self::ManifestUnknown => ErrorCode::ManifestUnknown,
            Self::BlobUnknown | Self::NoMirror => ErrorCode::BlobUnknown,
            Self::Legal | Self::Embargoed => ErrorCode::Denied,
            Self::Unavailable | Self::Internal(_) => ErrorCode::Unknown,
        }
    }
}

impl ResponseError for RegistryError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Path(PathError::Unknown)
            | Self::NameUnknown
            | Self::ManifestUnknown
            | Self::BlobUnknown
            | Self::NoMirror => StatusCode::NOT_FOUND,
            Self::Path(PathError::Name(_) | PathError::Digest(_) | PathError::Reference(_))
            | Self::Peer(_)
            | Self::Query(_)
            | Self::Host => StatusCode::BAD_REQUEST,
            Self::Legal | Self::Embargoed => StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let message = match self {
            Self::Internal(detail) => {
                tracing::error!(%detail, "a request failed by our own fault");
                "something failed here; the operators find it in their log".to_owned()
            }
            other => other.to_string(),
        };
        let mut response = HttpResponse::build(self.status_code());
        response.insert_header(super::registry::API_VERSION);
        match self {
            Self::Method => response.insert_header((header::ALLOW, "GET, HEAD")),
            Self::Unavailable => response.insert_header((header::RETRY_AFTER, RETRY_AFTER)),
            _ => &mut response,
        };
        response.insert_header((header::CACHE_CONTROL, "no-store")).json(ErrorBody::new(self.code(), message))
    }
}
