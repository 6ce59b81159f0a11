use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// What a manifest of an index is made for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Platform {
    /// `amd64`
    pub architecture: String,
    /// `linux`
    pub os: String,
    /// `v8`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Of Windows, mostly.
    #[serde(default, rename = "os.version", skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// Of Windows, mostly.
    #[serde(default, rename = "os.features", skip_serializing_if = "Vec::is_empty")]
    pub os_features: Vec<String>,
}

impl fmt::Display for Platform {
    /// `linux/arm64/v8`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.iter().try_for_each(|variant| write!(f, "/{variant}"))
    }
}

/// Why a text is not a platform.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a platform is written as `linux/amd64` or `linux/arm/v7`")]
pub struct PlatformError;

impl FromStr for Platform {
    type Err = PlatformError;

    /// `OS/ARCHITECTURE` or `OS/ARCHITECTURE/VARIANT`.
    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let mut words = text.split('/').map(str::to_owned);
        let (Some(os), Some(architecture), variant, None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(PlatformError);
        };
        let is_word =
            |it: &String| !it.is_empty() && it.bytes().all(|it| it.is_ascii_graphic() && it != b'*');
        if ![&os, &architecture].into_iter().chain(&variant).all(is_word) {
            return Err(PlatformError);
        }
        Ok(Self { architecture, os, variant, os_version: None, os_features: Vec::new() })
    }
}

impl Platform {
    /// Is `other` this platform? Without a variant every variant is; versions of the system do not count.
    pub fn covers(&self, other: &Self) -> bool {
        (&self.os, &self.architecture) == (&other.os, &other.architecture)
            && (self.variant.is_none() || self.known_variant() == other.known_variant())
    }

    /// What stands in an index for what runs nowhere, as buildx's attestations do.
    pub fn is_unknown(&self) -> bool {
        self.os == "unknown"
    }

    /// The image index specification leaves `v8` of arm64 out, many tools do not.
    fn known_variant(&self) -> Option<&str> {
        let variant = self.variant.as_deref().filter(|it| !it.is_empty());
        variant.or((self.architecture == "arm64").then_some("v8"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_print_as_they_are_read() {
        for text in ["linux/amd64", "linux/arm/v7", "windows/amd64"] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), text);
        }
        for text in ["", "linux", "linux/", "/amd64", "linux/arm/v7/x", "linux/*", "linux/am d64"] {
            assert_eq!(text.parse::<Platform>(), Err(PlatformError), "{text}");
        }
    }

    #[test]
    fn a_platform_covers_its_variants() {
        #[track_caller]
        fn check(chosen: &str, other: &str, covered: bool) {
            let [chosen, other] = [chosen, other].map(|it| it.parse::<Platform>().unwrap());
            assert_eq!(chosen.covers(&other), covered);
        }
        check("linux/amd64", "linux/amd64", true);
        check("linux/amd64", "linux/amd64/v3", true);
        check("linux/amd64/v3", "linux/amd64", false);
        check("linux/amd64", "windows/amd64", false);
        check("linux/arm/v7", "linux/arm/v6", false);
        check("linux/arm64/v8", "linux/arm64", true);
        check("linux/arm64", "linux/arm64/v8", true);
    }
}
