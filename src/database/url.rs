use std::{fmt, path::PathBuf, str::FromStr};

use serde::{Deserialize, Serialize};

/// Where the database is, and which engine it is.
///
/// `sqlite:PATH`, `sqlite://PATH`, `postgres://…` or `postgresql://…`. Printed as it was written;
/// [`fmt::Debug`] hides a password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub enum DatabaseUrl {
    /// The embedded database: a file of ours.
    Sqlite(PathBuf),
    /// A server.
    Postgres(PostgresUrl),
}

/// A URL as PostgreSQL's own library takes it (PostgreSQL manual, "Connection URIs").
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl(String);

/// Why a text is no database's URL.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DatabaseUrlError {
    /// Neither `sqlite:` nor `postgres://`.
    #[error("a database's URL is sqlite:PATH or postgres://USER:PASSWORD@HOST/NAME")]
    Form,
    /// `sqlite:` alone.
    #[error("the database's URL lacks the path of the file: sqlite:PATH")]
    Path,
    /// Nothing that URLs may hold.
    #[error("the database's URL holds a control character or a space; write it as %20")]
    Character,
}

impl PostgresUrl {
    /// The URL, password included.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Is the parameter already in the query part?
    pub(super) fn has_parameter(&self, name: &str) -> bool {
        let query = self.0.split_once('?').map_or("", |it| it.1);
        query.split('&').any(|it| it.split('=').next() == Some(name))
    }

    /// Ends in `…` where the password stood, in the user part or in the query.
    fn without_password(&self) -> String {
        let (scheme, rest) = self.0.split_once("://").unwrap_or(("postgres", ""));
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(end);
        let authority = match authority.rsplit_once('@') {
            Some((user, host)) => format!("{}@{host}", hide(user, ':')),
            None => authority.to_owned(),
        };
        let (path, query) = tail.split_once('?').unwrap_or((tail, ""));
        let hidden = query.split('&').map(|it| match it.split_once('=') {
            Some((name @ ("password" | "sslpassword"), _)) => format!("{name}=…"),
            _ => it.to_owned(),
        });
        let query = hidden.collect::<Vec<_>>().join("&");
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{scheme}://{authority}{path}{mark}{query}")
    }
}

fn hide(user: &str, separator: char) -> String {
    user.split_once(separator).map_or_else(|| user.to_owned(), |(name, _)| format!("{name}{separator}…"))
}

impl FromStr for DatabaseUrl {
    type Err = DatabaseUrlError;

    fn from_str(text: &str) -> Result<Self, DatabaseUrlError> {
        if let Some(path) = text.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            // SQLite would take these for an unnamed database of each connection's own.
            if path.is_empty() || path == ":memory:" || path.contains('\0') {
                return Err(DatabaseUrlError::Path);
            }
            return Ok(Self::Sqlite(path.into()));
        }
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err(DatabaseUrlError::Form);
        }
        if text.contains(|it: char| it.is_control() || it.is_whitespace()) {
            return Err(DatabaseUrlError::Character);
        }
        Ok(Self::Postgres(PostgresUrl(text.to_owned())))
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(url) => f.write_str(url.as_str()),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(url) => fmt::Debug::fmt(url, f),
        }
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.without_password())
    }
}

impl TryFrom<String> for DatabaseUrl {
    type Error = DatabaseUrlError;

    fn try_from(text: String) -> Result<Self, DatabaseUrlError> {
        text.parse()
    }
}

impl From<DatabaseUrl> for String {
    fn from(url: DatabaseUrl) -> Self {
        url.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_is_chosen_by_the_scheme() {
        let sqlite = |path: &str| Ok(DatabaseUrl::Sqlite(path.into()));
        assert_eq!("sqlite:portolan.db".parse(), sqlite("portolan.db"));
        assert_eq!("sqlite:///var/lib/portolan.db".parse(), sqlite("/var/lib/portolan.db"));
        for url in ["postgres://u:p@h/n", "postgresql:///n?host=/run/postgresql"] {
            assert_eq!(url.parse::<DatabaseUrl>().unwrap().to_string(), url);
        }
    }

    #[test]
    fn everything_else_is_refused() {
        #[track_caller]
        fn check(text: &str, error: DatabaseUrlError) {
            assert_eq!(text.parse::<DatabaseUrl>(), Err(error), "{text}");
        }
        check("", DatabaseUrlError::Form);
        check("portolan.db", DatabaseUrlError::Form);
        check("postgres:x", DatabaseUrlError::Form);
        check("host=127.0.0.1 dbname=x", DatabaseUrlError::Form);
        check("mysql://h/n", DatabaseUrlError::Form);
        check("sqlite:", DatabaseUrlError::Path);
        check("sqlite://", DatabaseUrlError::Path);
        check("sqlite::memory:", DatabaseUrlError::Path);
        check("postgres://h/a b", DatabaseUrlError::Character);
    }

    #[test]
    fn passwords_are_not_shown() {
        #[track_caller]
        fn check(text: &str, shown: &str) {
            assert_eq!(format!("{:?}", text.parse::<DatabaseUrl>().unwrap()), shown);
        }
        check("postgres://u:secret@h:1/n", "postgres://u:…@h:1/n");
        check("postgres://u:se@cret@h/n", "postgres://u:…@h/n");
        check("postgres://u@h/n", "postgres://u@h/n");
        check("postgres://h/n?password=secret&user=u", "postgres://h/n?password=…&user=u");
        check("postgres://h?host=/run&sslpassword=secret", "postgres://h?host=/run&sslpassword=…");
    }
}
