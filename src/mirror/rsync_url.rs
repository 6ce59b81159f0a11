use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use url::Url;

/// rsync's own port.
const DEFAULT_PORT: u16 = 873;

/// Where the crawler may list a host's folder of a category by rsync: `rsync://mirror.example.org/fedora/containers`.
///
/// Clients never see it. Kept without a slash at the end. A host, maybe a port, a module and a path of letters,
/// digits and `._~+/-`, no component of which begins with `-` or is `..`; no user; at most 500 characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RsyncUrl {
    text: String,
    host: String,
    port: u16,
    path: String,
}

/// Why a text is no URL for rsync.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "an rsync URL looks like rsync://mirror.example.org/module/containers, with plain characters and no user"
)]
pub struct RsyncUrlError;

impl RsyncUrl {
    /// The name or address of the machine; IPv6 in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port of its rsync daemon.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Module and path, without a slash at either end.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl FromStr for RsyncUrl {
    type Err = RsyncUrlError;

    fn from_str(text: &str) -> Result<Self, RsyncUrlError> {
        let rest = text.strip_prefix("rsync://").filter(|_| text.len() <= 500).ok_or(RsyncUrlError)?;
        let (authority, path) = rest.split_once('/').ok_or(RsyncUrlError)?;
        let path = path.trim_end_matches('/');
        let is_plain = |it: u8| it.is_ascii_alphanumeric() || b"._~+-".contains(&it);
        let is_component =
            |it: &str| !it.is_empty() && it.bytes().all(is_plain) && !it.starts_with('-') && it != "..";
        let is_host = |it: u8| it.is_ascii_alphanumeric() || b".-:[]".contains(&it);
        if !authority.bytes().all(is_host) || authority.starts_with('-') || !path.split('/').all(is_component)
        {
            return Err(RsyncUrlError);
        }
        // Read as http, so that every form of an address becomes the usual one.
        let url = Url::parse(&format!("http://{authority}/")).map_err(|_| RsyncUrlError)?;
        let host = url.host_str().filter(|it| !it.is_empty()).ok_or(RsyncUrlError)?.to_owned();
        let has_port = !authority.ends_with(']') && authority.contains(':');
        let port = if has_port { url.port_or_known_default().unwrap_or_default() } else { DEFAULT_PORT };
        let shown_port = if port == DEFAULT_PORT { String::new() } else { format!(":{port}") };
        Ok(Self { text: format!("rsync://{host}{shown_port}/{path}"), host, port, path: path.to_owned() })
    }
}

impl fmt::Display for RsyncUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl TryFrom<String> for RsyncUrl {
    type Error = RsyncUrlError;

    fn try_from(text: String) -> Result<Self, RsyncUrlError> {
        text.parse()
    }
}

impl From<RsyncUrl> for String {
    fn from(url: RsyncUrl) -> Self {
        url.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_kept_in_one_form() {
        #[track_caller]
        fn check(text: &str, kept: &str, host: &str, port: u16, path: &str) {
            let url: RsyncUrl = text.parse().unwrap();
            assert_eq!(
                (url.to_string().as_str(), url.host(), url.port(), url.path()),
                (kept, host, port, path)
            );
            assert_eq!(kept.parse(), Ok(url));
        }
        check("rsync://M.test/a/b/", "rsync://m.test/a/b", "m.test", 873, "a/b");
        check("rsync://m.test:873/a", "rsync://m.test/a", "m.test", 873, "a");
        check("rsync://m.test:80/a", "rsync://m.test:80/a", "m.test", 80, "a");
        check("rsync://[2001:DB8::1]:8873/a", "rsync://[2001:db8::1]:8873/a", "[2001:db8::1]", 8873, "a");
        check("rsync://[2001:db8::1]/a", "rsync://[2001:db8::1]/a", "[2001:db8::1]", 873, "a");
        check("rsync://0x7f.1/a", "rsync://127.0.0.1/a", "127.0.0.1", 873, "a");
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "",
            "https://m.test/a",
            "rsync://m.test",
            "rsync://m.test/",
            "rsync:///a",
            "rsync://m.test/a//b",
            "rsync://m.test/a b",
            "rsync://m.test/a?b",
            "rsync://u@m.test/a",
            "rsync://m.test:x/a",
            "m.test::a",
        ] {
            assert_eq!(text.parse::<RsyncUrl>(), Err(RsyncUrlError), "{text}");
        }
    }
}
