use std::{collections::BTreeMap, path::Path};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Deserialize;

use super::{Config, Error, Password, config::read_limited};
use crate::oci::RepositoryName;

/// The longest `auth_file` we read, in bytes.
const AUTH_FILE_LIMIT: u64 = 1024 * 1024;

/// A user and a password for the origin.
#[derive(Clone)]
pub(super) struct Login {
    pub(super) username: String,
    pub(super) password: Password,
}

/// Which login fits which repository.
pub(super) struct Credentials {
    /// Of `[origin]`; it wins.
    configured: Option<Login>,
    /// Of `auth_file`, by `host[:port][/namespace]`.
    file: BTreeMap<String, Login>,
}

/// The part of containers' `auth.json` (containers-auth.json(5)) that holds logins.
#[derive(Deserialize)]
struct AuthFile {
    #[serde(default)]
    auths: BTreeMap<String, AuthEntry>,
}

#[derive(Deserialize)]
struct AuthEntry {
    /// Base64 of `user:password`. Entries of a credential helper have none.
    auth: Option<String>,
}

impl Credentials {
    /// From the configuration, and the file that it names.
    pub(super) fn load(config: &Config) -> Result<Self, Error> {
        let configured = (!config.username.is_empty())
            .then(|| Login { username: config.username.clone(), password: config.password.clone() });
        let file = match &config.auth_file {
            Some(path) => read_auth_file(path).map_err(|reason| Error::File {
                option: "auth_file",
                path: path.clone(),
                reason,
            })?,
            None => BTreeMap::new(),
        };
        Ok(Self { configured, file })
    }

    /// The login for a repository on `host` (`name[:port]`): the longest entry that fits.
    pub(super) fn find(&self, host: &str, repository: Option<&RepositoryName>) -> Option<&Login> {
        if self.configured.is_some() {
            return self.configured.as_ref();
        }
        let mut key = repository.map_or_else(|| host.to_owned(), |name| format!("{host}/{name}"));
        loop {
            if let Some(login) = self.file.get(&key) {
                return Some(login);
            }
            key.truncate(key.rfind('/')?);
        }
    }
}

fn read_auth_file(path: &Path) -> Result<BTreeMap<String, Login>, String> {
    let text = read_limited(path, AUTH_FILE_LIMIT).map_err(|error| error.to_string())?;
    parse_auth_file(&text)
}

fn parse_auth_file(text: &[u8]) -> Result<BTreeMap<String, Login>, String> {
    // serde_json would repeat the value in its message; the place is enough.
    let file: AuthFile = serde_json::from_slice(text)
        .map_err(|error| format!("line {}, column {}: not an auth.json", error.line(), error.column()))?;
    let mut logins = BTreeMap::new();
    for (key, entry) in file.auths {
        let Some(auth) = entry.auth else { continue };
        let login =
            decode(&auth).ok_or_else(|| format!("the entry of {key} is not base64 of user:password"))?;
        logins.insert(normal_key(&key).to_owned(), login);
    }
    Ok(logins)
}

fn decode(auth: &str) -> Option<Login> {
    let text = String::from_utf8(BASE64_STANDARD.decode(auth.trim()).ok()?).ok()?;
    let (username, password) = text.split_once(':')?;
    Some(Login { username: username.to_owned(), password: Password::from(password.to_owned()) })
}

/// Docker writes `https://host/v1/`, the others `host/namespace`.
fn normal_key(key: &str) -> &str {
    let key = key.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    key.strip_suffix("/v1").or_else(|| key.strip_suffix("/v2")).unwrap_or(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_entry_that_fits_is_taken() {
        let auth = |user: &str| BASE64_STANDARD.encode(format!("{user}:a:b"));
        let text = format!(
            r#"{{"auths":{{"r.example:5000":{{"auth":"{}"}},"r.example:5000/team":{{"auth":"{}"}},
                "https://old.example/v1/":{{"auth":"{}"}},"helper.example":{{}}}},"credHelpers":{{}}}}"#,
            auth("host"),
            auth("team"),
            auth("old"),
        );
        let credentials =
            Credentials { configured: None, file: parse_auth_file(text.as_bytes()).ok().unwrap() };
        #[track_caller]
        fn check(credentials: &Credentials, host: &str, name: Option<&str>, user: Option<&str>) {
            let name = name.map(|it| it.parse().unwrap());
            let found = credentials.find(host, name.as_ref());
            assert_eq!(found.map(|it| it.username.as_str()), user);
        }
        check(&credentials, "r.example:5000", Some("other/app"), Some("host"));
        check(&credentials, "r.example:5000", Some("team/app"), Some("team"));
        check(&credentials, "r.example:5000", Some("teams"), Some("host"));
        check(&credentials, "r.example:5000", None, Some("host"));
        check(&credentials, "old.example", Some("a"), Some("old"));
        check(&credentials, "r.example", Some("a"), None);
        check(&credentials, "helper.example", None, None);
        assert_eq!(credentials.file["r.example:5000"].password.reveal(), "a:b");
    }

    #[test]
    fn faults_do_not_show_the_password() {
        for text in [r#"{"auths":{"r":{"auth":"c2VjcmV0"}}}"#, r#"{"auths":{"r":{"auth":["c2VjcmV0"]}}}"#] {
            let fault = parse_auth_file(text.as_bytes()).err().unwrap();
            assert!(!fault.contains("c2V") && !fault.contains("secret"), "{fault}");
        }
    }
}
