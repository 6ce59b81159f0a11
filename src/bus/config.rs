use std::{fmt, path::PathBuf};

use serde::{Deserialize, Serialize};

/// `[bus]`: the message bus on which pushes are announced.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BusConfig {
    /// The broker: `amqps://USER:PASSWORD@HOST/%2FVHOST`; with `?auth_mechanism=external` the client's certificate
    /// is the login. Empty: no bus. The environment variable PORTOLAN_BUS_URL wins.
    #[schemars(with = "String")]
    pub url: BusUrl,
    /// The exchange that messages are published to.
    pub exchange: String,
    /// The queue that they wait in. Empty: one with a name of the broker's, of this connection alone. A queue with a
    /// name is made if it is not there, and goes when nobody listens. Some brokers allow only a UUID.
    pub queue: String,
    /// Which topics are heard: `*` is one word, `#` any number, as `org.example.prod.registry.#`.
    pub topics: Vec<String>,
    /// Where in a message's JSON the repository is named, as a JSON pointer (RFC 6901). There is a text or a list of
    /// texts; `:TAG` and `@DIGEST` after the name are ignored.
    pub repository: String,
    /// A PEM file of certificate authorities to trust instead of the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// The client's certificate, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// Its private key, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
}

impl Default for BusConfig {
    fn default() -> Self {
        Self {
            url: BusUrl::default(),
            exchange: "amq.topic".to_owned(),
            queue: String::new(),
            topics: Vec::new(),
            repository: "/repository".to_owned(),
            ca_file: None,
            certificate: None,
            key: None,
        }
    }
}

/// The URL of a broker. It may hold a password, so it is never printed for debugging.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BusUrl(String);

impl BusUrl {
    /// The URL.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for BusUrl {
    fn from(url: String) -> Self {
        Self(url)
    }
}

impl fmt::Debug for BusUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "none" } else { "amqp://***" })
    }
}
