//! Commands through a server's REST API, for who has an account there but not its database: `--server URL`.

pub(super) mod account;
pub(super) mod content;
pub(super) mod host;
pub(super) mod netblock;
pub(super) mod site;

use std::fmt::Display;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::{suggestion, table::Answer};
use crate::{
    config::Config,
    connector::{Api, ApiError, Password, Verb},
    mirror::{HostName, SiteName},
    teller::{HostView, SiteView},
};

/// A noun's command, where it works and how it answers: `portolan host list --server URL --json`.
#[derive(clap::Args)]
pub(super) struct Noun<C: clap::Subcommand> {
    #[command(subcommand)]
    pub(super) command: C,
    #[command(flatten)]
    pub(super) place: Place,
    /// Print JSON, for programs
    #[arg(long, global = true)]
    pub(super) json: bool,
}

/// Where a command works.
#[derive(clap::Args)]
pub(super) struct Place {
    /// Work through the API of this server, not on a database: https://registry.example.org
    #[arg(long, global = true, value_name = "URL")]
    server: Option<String>,
    /// A token of your account there, made at /desk/account. Other users of this machine can read it here, and
    /// not in the environment
    #[arg(long, global = true, value_name = "TOKEN", env = "PORTOLAN_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

/// A server that does what is asked for.
pub(super) struct Remote {
    api: Api,
}

/// What was done.
#[derive(Deserialize)]
struct Done {
    done: String,
    message: String,
    token: Option<String>,
}

impl Place {
    /// `None`: the database is meant.
    pub(super) fn open(self, config: &Config) -> anyhow::Result<Option<Remote>> {
        let Some(server) = self.server else { return Ok(None) };
        let token = self.token.filter(|it| !it.is_empty());
        let missing = "--server needs a token of your account there: make one at /desk/account, and name it by \
                       PORTOLAN_TOKEN in the environment, or by --token";
        let token = token.ok_or_else(|| anyhow::anyhow!(missing))?;
        Ok(Some(Remote { api: Api::new(&server, Password::from(token), config.client.ca_file.as_deref())? }))
    }
}

impl Remote {
    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ApiError> {
        self.api.get(path).await
    }

    async fn list<T: DeserializeOwned>(&self, path: &str) -> Result<Vec<T>, ApiError> {
        self.api.list(path).await
    }

    async fn change(&self, verb: Verb, path: &str, body: impl Serialize) -> anyhow::Result<Done> {
        let body = serde_json::to_value(body)?;
        Ok(self.api.change(verb, path, Some(&body)).await?)
    }

    async fn delete(&self, path: &str) -> Result<Done, ApiError> {
        self.api.change(Verb::Delete, path, None).await
    }

    /// The site of this name, or an error that names those nearest to it.
    async fn find_site(&self, name: &SiteName) -> anyhow::Result<SiteView> {
        match self.list(&by_name("/sites", name.as_str())).await?.pop() {
            Some(site) => Ok(site),
            None => {
                let sites: Vec<SiteView> = self.list("/sites").await?;
                Err(suggestion::unknown("site", name, sites.iter().map(|it| &it.name)))
            }
        }
    }

    /// The host of this name, or an error that names those nearest to it.
    async fn find_host(&self, name: &HostName) -> anyhow::Result<HostView> {
        match self.list(&by_name("/hosts", name.as_str())).await?.pop() {
            Some(host) => Ok(host),
            None => {
                let hosts: Vec<HostView> = self.list("/hosts").await?;
                Err(suggestion::unknown("host", name, hosts.iter().map(|it| &it.name)))
            }
        }
    }
}

impl Done {
    /// Does an operator have to agree first?
    fn waits(&self) -> bool {
        self.done == "waits"
    }

    /// Adds what was done, or that it waits.
    fn tell(&self, answer: Answer, done: impl Display) -> Answer {
        if self.waits() { answer.line(&self.message) } else { answer.line(done) }
    }
}

fn by_name(path: &str, name: &str) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    format!("{path}?{}", query.append_pair("name", name).finish())
}

/// The error for a command that no page and so no API has.
fn only_there(what: &str) -> anyhow::Error {
    anyhow::anyhow!("{what} on the database only: on the server's machine, without --server")
}

/// What options say, as the API takes it: what is not said is left out, and `no_…` says that a value goes.
fn fields(options: &impl Serialize) -> anyhow::Result<Map<String, Value>> {
    let Value::Object(said) = serde_json::to_value(options)? else { return Ok(Map::new()) };
    let mut fields = Map::new();
    for (name, value) in said {
        match (name.strip_prefix("no_"), value) {
            (Some(gone), Value::Bool(true)) => fields.insert(gone.to_owned(), Value::Null),
            (Some(_), _) | (None, Value::Null) => None,
            (None, value) => fields.insert(name, value),
        };
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_are_not_given_say_nothing() {
        let said = serde_json::json!({
            "name": null, "private": false, "country": null, "no_country": true, "place": "1,2", "no_place": false,
        });
        let wanted = serde_json::json!({ "private": false, "country": null, "place": "1,2" });
        assert_eq!(Value::Object(fields(&said).unwrap()), wanted);
    }

    #[test]
    fn names_are_quoted() {
        assert_eq!(by_name("/sites", "a & b/ä"), "/sites?name=a+%26+b%2F%C3%A4");
    }
}
