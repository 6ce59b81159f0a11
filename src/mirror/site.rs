use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use super::is_invisible;

macro_rules! id {
    ($(#[doc = $doc:literal] $name:ident),*) => {$(
        #[doc = $doc]
        /// Rows begin at 1.
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
            rkyv::Archive, rkyv::Serialize, rkyv::Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub i64);
    )*};
}

id! {
    /// The row of a site.
    SiteId,
    /// The row of a host.
    HostId,
    /// The row of a category.
    CategoryId,
    /// The row of a host's opt-in to a category.
    HostCategoryId,
    /// The row of one URL of an opt-in.
    HostCategoryUrlId,
    /// The row of an account.
    AccountId
}

/// Names a site: the organisation that runs hosts. 1 to 100 visible characters, no space at
/// either end.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SiteName(String);

/// Why a text is not a site's name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a site's name has 1 to 100 characters, none of them invisible, and no space at either end")]
pub struct SiteNameError;

impl SiteName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SiteName {
    type Err = SiteNameError;

    fn from_str(text: &str) -> Result<Self, SiteNameError> {
        let length = text.chars().count();
        let valid = (1..=100).contains(&length) && text.trim() == text && !text.contains(is_invisible);
        if valid { Ok(Self(text.to_owned())) } else { Err(SiteNameError) }
    }
}

impl fmt::Display for SiteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for SiteName {
    type Error = SiteNameError;

    fn try_from(text: String) -> Result<Self, SiteNameError> {
        text.parse()
    }
}

impl From<SiteName> for String {
    fn from(name: SiteName) -> Self {
        name.0
    }
}

/// How long a page's address may be, in bytes.
pub const PAGE_LENGTH: usize = 500;

/// Is it the address of a page for people? On the web, without a user, at most [`PAGE_LENGTH`] bytes.
pub fn is_page(text: &str) -> bool {
    let is_web = |it: &Url| matches!(it.scheme(), "https" | "http") && it.username().is_empty();
    let plain = text.len() <= PAGE_LENGTH && !text.contains(|it: char| it.is_control() || it.is_whitespace());
    plain && Url::parse(text).is_ok_and(|it| is_web(&it))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        assert_eq!("Universität X".parse::<SiteName>().unwrap().to_string(), "Universität X");
        for name in ["", " a", "a ", "a\nb", "a\0", "a\u{202e}b", "a\u{200b}b", &"a".repeat(101)] {
            assert_eq!(name.parse::<SiteName>(), Err(SiteNameError), "{name:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn round_trip(name in "\\PC{0,110}") {
            if let Ok(parsed) = name.parse::<SiteName>() {
                proptest::prop_assert_eq!(parsed.to_string(), name);
            }
        }
    }
}
