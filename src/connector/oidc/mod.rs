//! A provider of OpenID Connect (Core 1.0), at which people sign in: the authorization code flow with PKCE. What it says is
//! believed only when its signature, its issuer and whom it is for have been checked. Only a program that was built with the
//! feature `oidc` can ask one.

#[cfg(not(feature = "oidc"))]
mod absent;
mod config;
#[cfg(feature = "oidc")]
mod discovery;
mod error;
#[cfg(feature = "oidc")]
mod kept;
#[cfg(feature = "oidc")]
mod key;
#[cfg(feature = "oidc")]
mod provider;
#[cfg(feature = "oidc")]
#[cfg(test)]
mod tests;
#[cfg(feature = "oidc")]
mod token;

#[cfg(not(feature = "oidc"))]
pub use absent::Provider;
pub use config::OidcConfig;
pub use error::{OidcError, ProviderError, TokenError};
#[cfg(feature = "oidc")]
pub use provider::Provider;

/// The path below `public_url` to which the provider sends people back.
pub const CALLBACK: &str = "/sign-in/oidc/callback";

/// What somebody is sent to the provider with.
pub struct Departure<'a> {
    /// Comes back with the browser; nobody else knows it.
    pub state: &'a str,
    /// Comes back in the token.
    pub nonce: &'a str,
    /// The secret of PKCE (RFC 7636), of which only the hash is sent ahead.
    pub verifier: &'a str,
}

/// What somebody comes back from the provider with.
pub struct Return<'a> {
    /// The code that is given for a token, once.
    pub code: &'a str,
    /// The issuer in the address (RFC 9207), if one stands there.
    pub issuer: Option<&'a str>,
    /// Of the departure.
    pub nonce: &'a str,
    /// Of the departure.
    pub verifier: &'a str,
}

/// Who somebody is, as the provider has proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The provider.
    pub issuer: String,
    /// Who it is there. The provider never gives it to another one.
    pub subject: String,
    /// The claim `name_claim`; may change, and may have been another one's.
    pub name: Option<String>,
    /// The claim `groups_claim`.
    pub groups: Vec<String>,
}
