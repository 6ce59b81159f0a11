use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

/// Names a host of a site: 1 to 100 letters, digits, `.`, `_` or `-`, as a host name has them, unique
/// in the whole database so that a command line needs no more.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostName(String);

/// Why a text is not a host's name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a host's name is 1 to 100 letters, digits, `.`, `_` or `-`, and begins with a letter or digit")]
pub struct HostNameError;

impl HostName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HostName {
    type Err = HostNameError;

    fn from_str(text: &str) -> Result<Self, HostNameError> {
        let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let valid = text.len() <= 100
            && text.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
            && text.bytes().all(is_inner);
        if valid { Ok(Self(text.to_owned())) } else { Err(HostNameError) }
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl TryFrom<String> for HostName {
    type Error = HostNameError;

    fn try_from(text: String) -> Result<Self, HostNameError> {
        text.parse()
    }
}

impl From<HostName> for String {
    fn from(name: HostName) -> Self {
        name.0
    }
}

/// An autonomous system's number, never 0 (RFC 7607).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Asn(u32);

/// Why a text is no autonomous system's number.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("an AS number is 1 to 4294967295, with or without `AS` in front")]
pub struct AsnError;

impl Asn {
    /// The number; `None` for 0.
    pub fn new(number: u32) -> Option<Self> {
        (number != 0).then_some(Self(number))
    }

    /// The number.
    pub fn number(self) -> u32 {
        self.0
    }
}

impl FromStr for Asn {
    type Err = AsnError;

    fn from_str(text: &str) -> Result<Self, AsnError> {
        let digits = text.strip_prefix("AS").unwrap_or(text);
        let plain = !digits.starts_with('+');
        digits.parse().ok().filter(|_| plain).and_then(Self::new).ok_or(AsnError)
    }
}

impl fmt::Display for Asn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a host can send, in Mbit/s: 1 to 1,000,000. More than 10,000 does not win more clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Bandwidth(u32);

/// Why a text is no bandwidth.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a bandwidth is 1 to 1000000 Mbit/s")]
pub struct BandwidthError;

impl Bandwidth {
    /// From Mbit/s; `None` outside the range.
    pub fn new(megabits: u32) -> Option<Self> {
        (1..=1_000_000).contains(&megabits).then_some(Self(megabits))
    }

    /// In Mbit/s.
    pub fn megabits(self) -> u32 {
        self.0
    }
}

impl FromStr for Bandwidth {
    type Err = BandwidthError;

    fn from_str(text: &str) -> Result<Self, BandwidthError> {
        text.parse().ok().and_then(Self::new).ok_or(BandwidthError)
    }
}

impl fmt::Display for Bandwidth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How a URL is fetched.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    rkyv::Archive,
    rkyv::Serialize,
    rkyv::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// With TLS.
    Https,
    /// Without.
    Http,
}

impl Scheme {
    /// `https` or `http`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Http => "http",
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Where a host carries a category: `https://mirror.example.org/containers/fedora`.
///
/// Kept without a slash at the end. HTTP or HTTPS, a host, and a plain path: no user, password,
/// query or fragment, at most 500 characters. What the host's name leads to is checked when it is
/// fetched, for names change.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostUrl {
    text: String,
    scheme: Scheme,
}

/// Why a text is no URL of a host.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum HostUrlError {
    /// Not a URL at all.
    #[error("a URL looks like https://mirror.example.org/containers/fedora")]
    Form,
    /// Neither HTTP nor HTTPS.
    #[error("a mirror's URL begins with https:// or http://")]
    Scheme,
    /// `user:password@`
    #[error("a mirror's URL must not hold a user or a password")]
    Credentials,
    /// `?` or `#`
    #[error("a mirror's URL has neither query nor fragment")]
    Query,
    /// Longer than 500 characters.
    #[error("a mirror's URL has at most 500 characters")]
    Length,
}

impl HostUrl {
    /// The URL as text, without a slash at the end.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host in it, without a dot at its end: with one it is the same host.
    pub fn host(&self) -> String {
        let parsed = Url::parse(&self.text).ok();
        parsed.and_then(|it| it.host_str().map(|it| it.trim_end_matches('.').to_owned())).unwrap_or_default()
    }

    /// HTTP or HTTPS.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }
}

impl FromStr for HostUrl {
    type Err = HostUrlError;

    fn from_str(text: &str) -> Result<Self, HostUrlError> {
        if text.len() > 500 {
            return Err(HostUrlError::Length);
        }
        // The URL parser drops control characters and turns `\` into `/`; we want neither.
        if text.contains(|it: char| it.is_control() || it.is_whitespace() || it == '\\') {
            return Err(HostUrlError::Form);
        }
        let url = Url::parse(text).map_err(|_| HostUrlError::Form)?;
        let scheme = match url.scheme() {
            "https" => Scheme::Https,
            "http" => Scheme::Http,
            _ => return Err(HostUrlError::Scheme),
        };
        if !url.username().is_empty() || url.password().is_some() || text.contains('@') {
            return Err(HostUrlError::Credentials);
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(HostUrlError::Query);
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(HostUrlError::Form);
        }
        Ok(Self { text: url.as_str().trim_end_matches('/').to_owned(), scheme })
    }
}

impl fmt::Display for HostUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl TryFrom<String> for HostUrl {
    type Error = HostUrlError;

    fn try_from(text: String) -> Result<Self, HostUrlError> {
        text.parse()
    }
}

impl From<HostUrl> for String {
    fn from(url: HostUrl) -> Self {
        url.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_kept_in_one_form() {
        #[track_caller]
        fn check(text: &str, kept: &str) {
            assert_eq!(text.parse::<HostUrl>().unwrap().as_str(), kept);
        }
        check("https://m.example.org/fedora/", "https://m.example.org/fedora");
        check("HTTP://M.Example.org:8080", "http://m.example.org:8080");
        check("http://[2001:db8::1]/x", "http://[2001:db8::1]/x");
        check("http://2130706433/", "http://127.0.0.1");
        assert_eq!("http://m/".parse::<HostUrl>().unwrap().scheme(), Scheme::Http);
    }

    #[test]
    fn everything_else_is_refused() {
        #[track_caller]
        fn check(text: &str, error: HostUrlError) {
            assert_eq!(text.parse::<HostUrl>(), Err(error), "{text}");
        }
        check("", HostUrlError::Form);
        check("mirror.example.org/x", HostUrlError::Form);
        check("https://", HostUrlError::Form);
        check("https://m/a b", HostUrlError::Form);
        check("https://m/a\nb", HostUrlError::Form);
        check("https:\\\\m\\x", HostUrlError::Form);
        check("ftp://m/x", HostUrlError::Scheme);
        check("javascript:alert(1)", HostUrlError::Scheme);
        check("rsync://m/x;cmd", HostUrlError::Scheme);
        check("https://u:p@m/x", HostUrlError::Credentials);
        check("https://@m/x", HostUrlError::Credentials);
        check("https://m/x?y", HostUrlError::Query);
        check("https://m/x#y", HostUrlError::Query);
        check(&format!("https://m/{}", "x".repeat(500)), HostUrlError::Length);
    }

    #[test]
    fn numbers_are_checked() {
        assert_eq!("AS64500".parse::<Asn>().unwrap().number(), 64500);
        for text in ["", "0", "AS", "-1", "+1", "4294967296", "x"] {
            assert_eq!(text.parse::<Asn>(), Err(AsnError), "{text}");
        }
        assert_eq!("100".parse::<Bandwidth>().unwrap().megabits(), 100);
        for text in ["0", "1000001", "ten"] {
            assert_eq!(text.parse::<Bandwidth>(), Err(BandwidthError), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn round_trip(url in "https?://[a-z]{1,9}(\\.[a-z]{2,5}){0,2}(:[1-9][0-9]{1,3})?(/[a-z0-9._~-]{1,9}){0,4}/?", number in 1u32..) {
            let parsed: HostUrl = url.parse().unwrap();
            proptest::prop_assert_eq!(parsed.to_string().parse::<HostUrl>(), Ok(parsed));
            proptest::prop_assert_eq!(Asn(number).to_string().parse(), Ok(Asn(number)));
        }

        #[test]
        fn names_and_bandwidths_round_trip(name in "[a-zA-Z0-9][a-zA-Z0-9._-]{0,99}", megabits in 1u32..=1_000_000) {
            proptest::prop_assert_eq!(name.parse::<HostName>().unwrap().to_string(), name);
            proptest::prop_assert_eq!(Bandwidth(megabits).to_string().parse(), Ok(Bandwidth(megabits)));
        }
    }
}
