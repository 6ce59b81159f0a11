use std::fmt;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

/// `[notice]`: who is told when a host is switched off or on, or is caught lying, and when a budget is spent. A crawl never waits for it.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The server that takes mails to the contacts of hosts: `smtp://HOST:25` (`?tls=required` for STARTTLS) or
    /// `smtps://USER:PASSWORD@HOST`. Empty: no mails. The environment variable PORTOLAN_MAIL_SERVER wins over
    /// it.
    #[schemars(with = "String")]
    pub mail_server: MailServer,
    /// The sender of the mails, as `Mirrors of Example <mirrors@example.org>`.
    pub mail_from: String,
    /// Whom mails are sent to that are about no single host, as `["mirrors@example.org"]`: at most 10.
    pub operators: Vec<String>,
    /// A URL that gets each notice as JSON by POST. Empty: none.
    pub webhook: String,
    /// How long one mail, or one POST, may take: 1s to 10m.
    #[serde(serialize_with = "jiff::fmt::serde::duration::friendly::compact::required")]
    #[schemars(with = "String")]
    pub timeout: SignedDuration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mail_server: MailServer::default(),
            mail_from: "portolan@localhost".to_owned(),
            operators: Vec::new(),
            webhook: String::new(),
            timeout: SignedDuration::from_secs(30),
        }
    }
}

/// The URL of a mail server. It may hold a password, so it is never printed for debugging.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MailServer(String);

impl MailServer {
    /// The URL.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for MailServer {
    fn from(url: String) -> Self {
        Self(url)
    }
}

impl fmt::Debug for MailServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "none" } else { "smtp://***" })
    }
}
