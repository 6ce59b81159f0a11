use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a token of an account may be used for; never more than the account may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// See what the account sees.
    Read,
    /// Change its sites and hosts.
    Mirrors,
    /// Change the account itself, and make tokens.
    Account,
    /// Do what only operators do.
    Operator,
}

impl Scope {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Read, Self::Mirrors, Self::Account, Self::Operator];

    /// As it stands on the command line, in the database, in JSON and on pages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Mirrors => "mirrors",
            Self::Account => "account",
            Self::Operator => "operator",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Scopes of a token, each once and in order; at least one. Written with spaces between them, as OAuth does (RFC 6749, 3.3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Scope>", into = "Vec<Scope>")]
pub struct Scopes(Vec<Scope>);

/// A text that names no scopes.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("scopes are some of read, mirrors, account and operator")]
pub struct ScopesError;

impl Scopes {
    /// Is it one of them?
    pub fn has(&self, scope: Scope) -> bool {
        self.0.contains(&scope)
    }

    /// The first that the others do not have.
    pub fn find_beyond(&self, others: &Self) -> Option<Scope> {
        self.0.iter().copied().find(|it| !others.has(*it))
    }
}

impl TryFrom<Vec<Scope>> for Scopes {
    type Error = ScopesError;

    fn try_from(mut scopes: Vec<Scope>) -> Result<Self, ScopesError> {
        scopes.sort_unstable();
        scopes.dedup();
        if scopes.is_empty() { Err(ScopesError) } else { Ok(Self(scopes)) }
    }
}

impl From<Scopes> for Vec<Scope> {
    fn from(scopes: Scopes) -> Self {
        scopes.0
    }
}

impl FromStr for Scopes {
    type Err = ScopesError;

    fn from_str(text: &str) -> Result<Self, ScopesError> {
        let scope = |word: &str| Scope::ALL.into_iter().find(|it| it.as_str() == word).ok_or(ScopesError);
        let scopes: Vec<_> = text.split_whitespace().map(scope).collect::<Result<_, _>>()?;
        scopes.try_into()
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<_> = self.0.iter().map(|it| it.as_str()).collect();
        f.pad(&words.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_read_as_they_are_written() {
        let scopes: Scopes = "mirrors  read mirrors".parse().unwrap();
        assert_eq!(scopes.to_string(), "read mirrors");
        assert_eq!(serde_json::to_string(&scopes).unwrap(), r#"["read","mirrors"]"#);
        assert!(scopes.has(Scope::Read) && !scopes.has(Scope::Operator));
        for text in ["", " ", "root", "read,mirrors", "Read"] {
            assert_eq!(text.parse::<Scopes>(), Err(ScopesError), "{text}");
        }
        let all: Scopes = "read mirrors account operator".parse().unwrap();
        assert_eq!((scopes.find_beyond(&all), all.find_beyond(&scopes)), (None, Some(Scope::Account)));
    }
}
