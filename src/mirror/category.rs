use std::{borrow::Borrow, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::oci::Digest;

/// Where a category carries a blob or manifest, below its folder or URL: `blobs/sha256/ab/HEX`.
///
/// No colon, no dot and no name from the registry is in it, so that every web server, file system and
/// rsync takes it.
pub fn blob_path(digest: &Digest) -> String {
    let hex = digest.hex();
    ["blobs/", digest.algorithm(), "/", &hex[..2], "/", &hex].concat()
}

/// Grows with every published state of a category: `max(previous + 1, Unix seconds)`.
pub type Serial = i64;

/// Names a category: the unit a mirror opts in to, and the folder that carries it.
///
/// 1 to 64 letters, digits, `.`, `_` or `-`, beginning with a letter or digit, so that it is safe as
/// a folder, in a URL and in a shell.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CategoryName(String);

/// Why a text is not a category's name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a category's name is 1 to 64 letters, digits, `.`, `_` or `-`, and begins with a letter or digit")]
pub struct CategoryNameError;

impl CategoryName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CategoryName {
    type Err = CategoryNameError;

    fn from_str(text: &str) -> Result<Self, CategoryNameError> {
        let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let valid = text.len() <= 64
            && text.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
            && text.bytes().all(is_inner);
        if valid { Ok(Self(text.to_owned())) } else { Err(CategoryNameError) }
    }
}

impl fmt::Display for CategoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for CategoryName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for CategoryName {
    type Error = CategoryNameError;

    fn try_from(text: String) -> Result<Self, CategoryNameError> {
        text.parse()
    }
}

impl From<CategoryName> for String {
    fn from(name: CategoryName) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_a_blob() {
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(blob_path(&Digest::of(b"")), format!("blobs/sha256/e3/{hex}"));
    }

    #[test]
    fn names_are_checked() {
        for name in ["fedora", "Fedora-41.x86_64", "0"] {
            assert_eq!(name.parse::<CategoryName>().unwrap().to_string(), name);
        }
        for name in ["", ".", "..", ".portolan", "-a", "a/b", "a b", "é", "a\0", &"a".repeat(65)] {
            assert_eq!(name.parse::<CategoryName>(), Err(CategoryNameError), "{name:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn round_trip(name in "[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}") {
            proptest::prop_assert_eq!(name.parse::<CategoryName>().unwrap().to_string(), name);
        }
    }
}
