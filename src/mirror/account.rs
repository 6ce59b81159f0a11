use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Names an account: 3 to 40 small letters, digits, dots, hyphens and underscores, a letter or digit first.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AccountName(String);

/// Why a text is no account's name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("an account's name has 3 to 40 of a-z, 0-9, `.`, `-` and `_`, a letter or digit first")]
pub struct AccountNameError;

impl AccountName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AccountName {
    type Err = AccountNameError;

    fn from_str(text: &str) -> Result<Self, AccountNameError> {
        let is_plain = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit();
        let valid = (3..=40).contains(&text.len())
            && text.bytes().all(|it| is_plain(it) || b".-_".contains(&it))
            && text.bytes().next().is_some_and(is_plain);
        if valid { Ok(Self(text.to_owned())) } else { Err(AccountNameError) }
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl TryFrom<String> for AccountName {
    type Error = AccountNameError;

    fn try_from(text: String) -> Result<Self, AccountNameError> {
        text.parse()
    }
}

impl From<AccountName> for String {
    fn from(name: AccountName) -> Self {
        name.0
    }
}

/// What an account may do. Each may do all that those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// See what its own sites are, and change nothing.
    Reader,
    /// Keep its own sites and their hosts.
    MirrorAdmin,
    /// Keep everything.
    Operator,
}

/// A word that names no role.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a role is reader, mirror-admin or operator")]
pub struct RoleError;

impl Role {
    /// As it stands on the command line, in the database, in JSON and in tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::MirrorAdmin => "mirror-admin",
            Self::Operator => "operator",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Role {
    type Err = RoleError;

    fn from_str(text: &str) -> Result<Self, RoleError> {
        let all = [Self::Reader, Self::MirrorAdmin, Self::Operator];
        all.into_iter().find(|it| it.as_str() == text).ok_or(RoleError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        for name in ["ann", "a.b-c_d", "0xy", &"a".repeat(40)] {
            assert_eq!(name.parse::<AccountName>().unwrap().as_str(), name);
        }
        for name in ["", "ab", "Ann", "-ab", "an n", "ännä", "an\0n", "a/b/c", &"a".repeat(41)] {
            assert_eq!(name.parse::<AccountName>(), Err(AccountNameError), "{name:?}");
        }
    }

    #[test]
    fn roles_grow() {
        assert!(Role::Reader < Role::MirrorAdmin && Role::MirrorAdmin < Role::Operator);
        for role in [Role::Reader, Role::MirrorAdmin, Role::Operator] {
            assert_eq!(role.to_string().parse(), Ok(role));
        }
        assert_eq!("root".parse::<Role>(), Err(RoleError));
    }
}
