use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a host comes to have content, and so how we come to know.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    JsonSchema,
    rkyv::Archive,
    rkyv::Serialize,
    rkyv::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum HostKind {
    /// Files that rsync brought: the crawler looks which.
    #[default]
    Static,
    /// Fetches what it lacks when it is asked: has everything, by the operator's word.
    PullThrough,
    /// The same, and paid for by the byte: used when no static host can serve.
    Cdn,
}

/// A word that names no kind of host.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a host is static, pull-through or cdn")]
pub struct HostKindError;

impl HostKind {
    /// As it stands on the command line, in the database, in JSON and in tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::PullThrough => "pull-through",
            Self::Cdn => "cdn",
        }
    }
}

impl fmt::Display for HostKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for HostKind {
    type Err = HostKindError;

    fn from_str(text: &str) -> Result<Self, HostKindError> {
        let all = [Self::Static, Self::PullThrough, Self::Cdn];
        all.into_iter().find(|it| it.as_str() == text).ok_or(HostKindError)
    }
}

/// So many of a hundred clients: 1 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Percent(u8);

/// Why a text is no percentage.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a share is 1 to 100 percent")]
pub struct PercentError;

impl Percent {
    /// `None` outside of 1 to 100.
    pub fn new(number: u8) -> Option<Self> {
        (1..=100).contains(&number).then_some(Self(number))
    }

    /// The number.
    pub fn number(self) -> u8 {
        self.0
    }
}

impl FromStr for Percent {
    type Err = PercentError;

    fn from_str(text: &str) -> Result<Self, PercentError> {
        text.parse().ok().and_then(Self::new).ok_or(PercentError)
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A number of bytes above 0, written with K, M, G or T for each power of 1024: `500M`, `2G`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Bytes(u64);

/// Why a text is no number of bytes.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a number of bytes is above 0 and may end in K, M, G or T: 500M")]
pub struct BytesError;

const UNITS: [(char, u32); 4] = [('T', 40), ('G', 30), ('M', 20), ('K', 10)];

impl Bytes {
    /// `None` for 0 and for more than a signed 64-bit number holds.
    pub fn new(number: u64) -> Option<Self> {
        (number != 0 && i64::try_from(number).is_ok()).then_some(Self(number))
    }

    /// The number.
    pub fn number(self) -> u64 {
        self.0
    }
}

impl FromStr for Bytes {
    type Err = BytesError;

    fn from_str(text: &str) -> Result<Self, BytesError> {
        let split = |(letter, power)| Some((text.strip_suffix(letter)?, 1u64 << power));
        let (digits, factor) = UNITS.into_iter().find_map(split).unwrap_or((text, 1));
        let plain = digits.bytes().all(|it| it.is_ascii_digit());
        let number = digits.parse().ok().filter(|_| plain).and_then(|it: u64| it.checked_mul(factor));
        number.and_then(Self::new).ok_or(BytesError)
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_whole = |it: &(char, u32)| self.0.trailing_zeros() >= it.1;
        match UNITS.into_iter().find(is_whole) {
            Some((letter, power)) => write!(f, "{}{letter}", self.0 >> power),
            None => self.0.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_print_as_they_are_read() {
        for kind in [HostKind::Static, HostKind::PullThrough, HostKind::Cdn] {
            assert_eq!(kind.as_str().parse(), Ok(kind));
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{kind}\""));
        }
        assert_eq!("CDN".parse::<HostKind>(), Err(HostKindError));
    }

    #[test]
    fn numbers_are_checked() {
        assert_eq!("100".parse::<Percent>().unwrap().number(), 100);
        for text in ["", "0", "101", "-1", "5%"] {
            assert_eq!(text.parse::<Percent>(), Err(PercentError), "{text}");
        }
        #[track_caller]
        fn check(text: &str, number: u64) {
            assert_eq!(text.parse(), Ok(Bytes(number)));
        }
        check("1", 1);
        check("500M", 500 << 20);
        check("2T", 2 << 40);
        for text in ["", "0", "K", "0G", "1.5G", "-1", "+1", "1GG", "1KM", "9999999T", "18446744073709551615"]
        {
            assert_eq!(text.parse::<Bytes>(), Err(BytesError), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn byte_counts_round_trip(number in 1u64..=i64::MAX as u64) {
            proptest::prop_assert_eq!(Bytes(number).to_string().parse(), Ok(Bytes(number)));
        }
    }
}
