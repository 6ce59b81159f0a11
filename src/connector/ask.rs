use reqwest::{Method, StatusCode};
use url::Url;

use super::{Error, error::advice};
use crate::oci::RepositoryName;

/// One request to the origin or its token server.
pub(super) struct Ask<'a> {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) repository: Option<&'a RepositoryName>,
    /// First byte wanted.
    pub(super) offset: u64,
}

impl Ask<'_> {
    /// Docker's token specification, "Requesting a Token".
    pub(super) fn scope(&self) -> String {
        self.repository
            .map_or_else(|| "registry:catalog:*".to_owned(), |name| format!("repository:{name}:pull"))
    }

    pub(super) fn method(&self) -> &'static str {
        if self.method == Method::HEAD { "HEAD" } else { "GET" }
    }

    /// The error for an answer with a useless status.
    pub(super) fn refused(&self, status: StatusCode) -> Error {
        self.refused_for(status, advice(status.as_u16()))
    }

    /// The same, when we know better what to do than the status tells.
    pub(super) fn refused_for(&self, status: StatusCode, advice: &'static str) -> Error {
        Error::Status { method: self.method(), url: self.url.to_string(), status: status.as_u16(), advice }
    }
}
