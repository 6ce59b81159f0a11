use std::{fmt, str::FromStr};

use super::{Asn, Country};

/// Clients that are likely to see a host alike, for they come to it the same way.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    rkyv::Archive,
    rkyv::Serialize,
    rkyv::Deserialize,
)]
pub enum Region {
    /// All in this country.
    Country(Country),
    /// All in the autonomous system of this number.
    Asn(u32),
}

/// A text that names no region.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a region is a country, as DE, or an autonomous system, as AS64500")]
pub struct RegionError;

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Country(country) => f.pad(country.as_str()),
            Self::Asn(number) => f.pad(&format!("AS{number}")),
        }
    }
}

impl FromStr for Region {
    type Err = RegionError;

    fn from_str(text: &str) -> Result<Self, RegionError> {
        if let Ok(country) = text.parse() {
            return Ok(Self::Country(country));
        }
        let asn: Asn = text.parse().ok().filter(|_| text.starts_with("AS")).ok_or(RegionError)?;
        Ok(Self::Asn(asn.number()))
    }
}

impl<'de> serde::Deserialize<'de> for Region {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl serde::Serialize for Region {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_what_it_writes() {
        for text in ["DE", "AS64500", "AS1"] {
            assert_eq!(text.parse::<Region>().unwrap().to_string(), text);
        }
        assert!(matches!("AS".parse(), Ok(Region::Country(_))), "American Samoa");
        for text in ["", "ASX", "64500", "AS-1", "DEU"] {
            assert_eq!(text.parse::<Region>(), Err(RegionError), "{text}");
        }
    }
}
