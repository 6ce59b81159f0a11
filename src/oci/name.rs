use std::{borrow::Borrow, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The name of a repository: `fedora`, `library/debian`.
///
/// Distribution specification, "Pulling manifests": components of lower-case letters and digits,
/// joined by `.`, `_`, `__` or dashes, separated by `/`; at most 255 characters. So no name holds
/// `..`, a percent sign, a NUL or an empty component.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RepositoryName(String);

/// Why a text is not a repository name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RepositoryNameError {
    /// Longer than 255 characters.
    #[error("a repository name has at most 255 characters")]
    Length,
    /// A component breaks the grammar.
    #[error(
        "a repository name is made of components like `fedora` or `my-app_1`, separated by `/`: \
         lower-case letters and digits, joined by `.`, `_`, `__` or dashes"
    )]
    Component,
}

impl RepositoryName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    let ends_in_words =
        bytes.first().is_some_and(|it| is_word(*it)) && bytes.last().is_some_and(|it| is_word(*it));
    let is_joint = |joint: &[u8]| {
        joint.is_empty() || matches!(joint, b"." | b"_" | b"__") || joint.iter().all(|it| *it == b'-')
    };
    ends_in_words && bytes.split(|byte| is_word(*byte)).all(is_joint)
}

impl FromStr for RepositoryName {
    type Err = RepositoryNameError;

    fn from_str(text: &str) -> Result<Self, RepositoryNameError> {
        if text.len() > 255 {
            return Err(RepositoryNameError::Length);
        }
        if !text.split('/').all(is_component) {
            return Err(RepositoryNameError::Component);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for RepositoryName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for RepositoryName {
    type Error = RepositoryNameError;

    fn try_from(text: String) -> Result<Self, RepositoryNameError> {
        text.parse()
    }
}

impl From<RepositoryName> for String {
    fn from(name: RepositoryName) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_grammar_are_taken() {
        for name in ["fedora", "library/debian", "a.b_c__d---e/0", "blobs/manifests", &"a".repeat(255)] {
            assert_eq!(name.parse::<RepositoryName>().unwrap().as_str(), name);
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for name in [
            "", "/", "a/", "/a", "a//b", "Fedora", "a..b", "..", ".", "a._b", "a___b", "-a", "a-", "_a",
            "a%2fb", "a\0b", "é", "a b", "a:b",
        ] {
            assert_eq!(name.parse::<RepositoryName>(), Err(RepositoryNameError::Component), "{name}");
        }
        assert_eq!("a".repeat(256).parse::<RepositoryName>(), Err(RepositoryNameError::Length));
    }

    proptest::proptest! {
        #[test]
        fn round_trip(name in "[a-z0-9]{1,4}((\\.|_|__|-{1,3})[a-z0-9]{1,4}){0,2}(/[a-z0-9]{1,9}){0,3}") {
            let parsed: RepositoryName = name.parse().unwrap();
            proptest::prop_assert_eq!(parsed.to_string(), name);
        }

        #[test]
        fn nothing_dangerous_gets_through(name in "\\PC{0,40}") {
            if let Ok(parsed) = name.parse::<RepositoryName>() {
                proptest::prop_assert!(!parsed.as_str().contains("..") && parsed.as_str().is_ascii());
            }
        }
    }
}
