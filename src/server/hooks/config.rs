use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[hooks]`: where the origin registry tells of pushes and deletions.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HooksConfig {
    /// Where notifications are taken, at `/events`. Plain HTTP: an address that others than this machine reach
    /// belongs into a network of your own, or behind a proxy with TLS.
    #[schemars(with = "String")]
    pub listen: SocketAddr,
    /// What the registry must send as `Authorization: Bearer TOKEN`: 16 characters or more. Empty: nothing is
    /// listened on. Better kept in the environment variable PORTOLAN_HOOKS_TOKEN, which wins.
    #[schemars(with = "String")]
    pub token: Token,
}

impl Default for HooksConfig {
    fn default() -> Self {
        Self { listen: (Ipv4Addr::LOCALHOST, 5002).into(), token: Token::default() }
    }
}

/// A token, which prints as dots.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(String);

impl Token {
    /// The token itself, to be compared and never printed.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Token {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "\"\"" } else { "\"…\"" })
    }
}
