use url::Url;

use super::{Departure, OidcConfig, OidcError, Person, ProviderError, Return};

/// There is none in this program.
pub enum Provider {}

impl Provider {
    /// `None` if no provider is configured, else an error.
    pub fn new(config: &OidcConfig) -> Result<Option<Self>, OidcError> {
        if config.issuer.is_empty() { Ok(None) } else { Err(OidcError::Feature) }
    }

    /// Never called.
    pub async fn send(&self, _departure: &Departure<'_>) -> Result<Url, ProviderError> {
        match *self {}
    }

    /// Never called.
    pub async fn receive(&self, _back: &Return<'_>) -> Result<Person, ProviderError> {
        match *self {}
    }
}
