use std::{
    fmt,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{mirror::HostUrl, oci::RepositoryName};

/// `[origin]`: the registry that images are exported from.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The registry's URL, without `/v2/`: `https://registry.internal.example`. HTTPS_PROXY and NO_PROXY
    /// of the environment are followed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub url: Option<HostUrl>,
    /// The user to log in as, by Basic or at the registry's token server; empty: `auth_file`, or none.
    /// The environment variable PORTOLAN_ORIGIN_USERNAME wins.
    pub username: String,
    /// The user's password. Better kept in the environment variable PORTOLAN_ORIGIN_PASSWORD, which wins.
    #[schemars(with = "String")]
    pub password: Password,
    /// A containers auth.json with the login (as `podman login --authfile` writes it; no credential helpers).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_file: Option<PathBuf>,
    /// A PEM file of certificate authorities to trust beside the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// The repositories that globs choose from, when the registry has no _catalog or its list is too long.
    #[schemars(with = "Vec<String>")]
    pub repositories: Vec<RepositoryName>,
    /// How many requests are sent at once: 1 to 100.
    #[schemars(range(min = 1, max = 100))]
    pub connections: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            url: None,
            username: String::new(),
            password: Password::default(),
            auth_file: None,
            ca_file: None,
            repositories: Vec::new(),
            connections: 4,
        }
    }
}

/// A password, which prints as dots.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Password(String);

impl Password {
    /// The password itself, to be sent and never printed.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Password {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "\"\"" } else { "\"…\"" })
    }
}

/// A file that the configuration names. It may be a pipe; longer than `limit` bytes is an error.
pub(super) fn read_limited(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::other(format!("it is longer than {limit} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_an_end_is_refused() {
        let error = read_limited(Path::new("/dev/zero"), 10).unwrap_err().to_string();
        assert_eq!(error, "it is longer than 10 bytes");
        assert_eq!(read_limited(Path::new("/dev/null"), 10).unwrap(), b"");
    }
}
