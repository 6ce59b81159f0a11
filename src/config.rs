//! The one configuration file, made of what each module owns.

mod hints;
mod ranges;
mod seen;

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use jiff::SignedDuration;
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use ranges::OutOfRange;

use crate::{
    bus, connector, crawler, database, exporter, geoip, importer, notice, puller, scanner, server, tree,
};

/// The configuration of Portolan: one TOML file in which every key may be left out.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where it was read from; none if there was no file, and all are defaults.
    #[serde(skip)]
    pub file: Option<PathBuf>,
    /// Where everything is kept that people typed and crawls found out.
    pub database: database::Config,
    /// The registry that images are exported from.
    pub origin: connector::Config,
    /// The static tree that mirrors carry.
    pub tree: tree::Config,
    /// What mirrors can opt in to.
    pub category: Vec<exporter::CategoryConfig>,
    /// When `portolan run` and `portolan export --watch` export.
    pub export: ExportConfig,
    /// Where the origin registry tells of pushes and deletions, by docker-distribution's notifications. `portolan
    /// run` and `portolan export --watch` then export that repository within seconds.
    pub hooks: server::hooks::HooksConfig,
    /// A message bus on which pushes are announced, as fedora-messaging (AMQP). `portolan run` and `portolan export
    /// --watch` listen to it, if the program was built with the cargo feature `amqp`.
    pub bus: bus::BusConfig,
    /// How the tree is taken over into the database.
    pub scan: scanner::Config,
    /// How mirrors are looked at.
    pub crawl: crawler::Config,
    /// Who is told when a host is switched off or on, or is caught lying, and when a budget is spent. A crawl never
    /// waits for it.
    pub notice: notice::Config,
    /// How it is kept known which URLs of mirrors answer. `portolan crawl` and `portolan run` do it.
    pub probe: crawler::ProbeConfig,
    /// An instance of MirrorManager whose sites and hosts are imported. It is only read.
    pub mirrormanager: importer::Config,
    /// How requests are answered.
    pub serve: server::Config,
    /// Where requests are answered.
    pub listen: Vec<server::ListenConfig>,
    /// Accounts of mirror admins and operators.
    pub accounts: server::AccountsConfig,
    /// Host names with promises of their own. Whoever pulls by such a name is promised what stands here.
    pub endpoint: Vec<server::EndpointConfig>,
    /// Where blobs come from when no mirror is to serve them: the first that is there.
    pub fallback: server::FallbackConfig,
    /// What is counted of clients' requests: how long it is kept, and how much may come from CDNs and the fallback.
    pub statistics: database::statistics::StatisticsConfig,
    /// Where clients are: MaxMind's databases or others in that format. They are read again when they change.
    pub geoip: geoip::Config,
    /// On the machine of a client: how `portolan pull` and `portolan agent` fetch images.
    pub client: puller::Config,
    /// On the machine of a client: what `portolan agent` stands in for, and where it answers.
    pub agent: puller::agent::AgentConfig,
    /// What is logged.
    pub log: LogConfig,
}

/// When `portolan run` and `portolan export --watch` export.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ExportConfig {
    /// How long they wait between two exports of all: 1s to 720h. With `[hooks]` it is the safety net for what was
    /// not told.
    #[serde(serialize_with = "jiff::fmt::serde::duration::friendly::compact::required")]
    #[schemars(with = "String")]
    pub interval: SignedDuration,
}

impl Default for ExportConfig {
    fn default() -> Self {
        Self { interval: SignedDuration::from_mins(10) }
    }
}

/// What is logged, on standard error.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// `text` for people or `json` for programs.
    pub format: LogFormat,
    /// From which level: `error`, `warn`, `info`, `debug` or `trace`; also by module, as
    /// `warn,portolan::access=info`. Requests are logged as `portolan::access` at `info`.
    pub filter: String,
}

impl Default for LogConfig {
    fn default() -> Self {
        // What the HTTP library says of clients' broken requests is no error of ours.
        Self { format: LogFormat::Text, filter: "info,actix_server=warn,actix_http=off".to_owned() }
    }
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {source}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file holds something that is not expected. The text shows where, and what is.
    #[error("the configuration {} is not understood:\n{text}", path.display())]
    Parse {
        /// Which file.
        path: PathBuf,
        /// Line, column and the names that are expected.
        text: String,
    },
    /// A value is outside of its range.
    #[error("the configuration {}: {source}", path.display())]
    Range {
        /// Which file.
        path: PathBuf,
        /// The key, its value and its range.
        source: OutOfRange,
    },
    /// An environment variable holds something that is not expected.
    #[error("the environment variable {name}: {reason}")]
    Environment {
        /// Which variable.
        name: &'static str,
        /// What is wrong with it. Never the value: it may be secret.
        reason: String,
    },
}

/// The file that is read when none is named.
pub const DEFAULT_FILE: &str = "portolan.toml";

impl Config {
    /// Reads the named file, else [`DEFAULT_FILE`] if there is one; then what `variable` finds in the
    /// environment goes before it.
    pub fn load(
        named: Option<&Path>,
        variable: impl Fn(&'static str) -> Option<String>,
    ) -> Result<Self, Error> {
        let path = named.unwrap_or(Path::new(DEFAULT_FILE));
        let mut config = match fs::read_to_string(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && named.is_none() => Self::default(),
            Err(source) => return Err(Error::Read { path: path.to_owned(), source }),
            Ok(text) => {
                let parsed = Self::parse(&text).map_err(|error| hints::add(error.to_string()));
                let config = parsed.map_err(|text| Error::Parse { path: path.to_owned(), text })?;
                Self { file: Some(path.to_owned()), ..config }
            }
        };
        ranges::check(&config).map_err(|source| Error::Range { path: path.to_owned(), source })?;
        if let Some(url) = variable("PORTOLAN_DATABASE_URL") {
            config.database.url = url.parse().map_err(|error: database::DatabaseUrlError| {
                Error::Environment { name: "PORTOLAN_DATABASE_URL", reason: error.to_string() }
            })?;
        }
        if let Some(url) = variable("PORTOLAN_MIRRORMANAGER_URL") {
            config.mirrormanager.database_url =
                Some(url.parse().map_err(|error: database::DatabaseUrlError| Error::Environment {
                    name: "PORTOLAN_MIRRORMANAGER_URL",
                    reason: error.to_string(),
                })?);
        }
        if let Some(username) = variable("PORTOLAN_ORIGIN_USERNAME") {
            config.origin.username = username;
        }
        if let Some(url) = variable("PORTOLAN_BUS_URL") {
            config.bus.url = url.into();
        }
        if let Some(token) = variable("PORTOLAN_HOOKS_TOKEN") {
            config.hooks.token = token.into();
        }
        if let Some(url) = variable("PORTOLAN_MAIL_SERVER") {
            config.notice.mail_server = url.into();
        }
        if let Some(password) = variable("PORTOLAN_ORIGIN_PASSWORD") {
            config.origin.password = password.into();
        }
        Ok(config)
    }

    fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }

    /// A whole configuration file: every key with its meaning, commented out with its default.
    pub fn example() -> String {
        let schema = Self::schema();
        let values = serde_json::to_value(Self::sample()).unwrap_or_default();
        let mut text = String::from(
            "# The configuration of Portolan. Every key may be left out; what stands behind `#` is the default,\n\
             # or an example where there is none. PORTOLAN_CONFIG or --config names the file.\n",
        );
        for (name, section) in properties(&schema, schema.as_value()) {
            let (value, list) = match &values[name] {
                Value::Array(items) => (items.first().cloned().unwrap_or_default(), true),
                other => (other.clone(), false),
            };
            let inner = if list { &section["items"] } else { section };
            text.push('\n');
            comment(&mut text, section);
            let _ = if list { writeln!(text, "# [[{name}]]") } else { writeln!(text, "[{name}]") };
            write_keys(&mut text, &schema, name, inner, &value);
        }
        text
    }

    /// The shape of the file as JSON Schema.
    pub fn schema() -> Schema {
        schemars::schema_for!(Self)
    }

    /// The defaults, and one of each thing of which there is none by default.
    fn sample() -> Self {
        let category = "name = \"fedora\"\nrepositories = [\"fedora\", \"fedora/*\"]";
        let listen = "address = \"127.0.0.1:5000\"";
        let endpoint = "host = \"eu.registry.example.org\"\ncountries = [\"DE\", \"FR\"]";
        let text = format!("[[category]]\n{category}\n[[listen]]\n{listen}\n[[endpoint]]\n{endpoint}\n");
        Self::parse(&text).unwrap_or_default()
    }
}

/// The keys of a table, then the tables in it.
fn write_keys(text: &mut String, root: &Schema, table: &str, object: &Value, values: &Value) {
    let (tables, keys): (Vec<_>, Vec<_>) =
        properties(root, resolve(root, object)).partition(|(key, _)| values[key.as_str()].is_object());
    for (key, property) in keys {
        comment(text, property);
        let _ = writeln!(text, "# {key} = {}", render(values.get(key)));
    }
    for (key, property) in tables {
        text.push('\n');
        comment(text, property);
        let _ = writeln!(text, "[{table}.{key}]");
        write_keys(text, root, &format!("{table}.{key}"), property, &values[key.as_str()]);
    }
}

/// The properties of an object's schema.
fn properties<'a>(root: &'a Schema, object: &'a Value) -> impl Iterator<Item = (&'a String, &'a Value)> {
    resolve(root, object)["properties"].as_object().into_iter().flatten()
}

/// Follows `$ref` to `#/$defs/NAME`.
fn resolve<'a>(root: &'a Schema, schema: &'a Value) -> &'a Value {
    let name = schema["$ref"].as_str().and_then(|it| it.strip_prefix("#/$defs/"));
    name.map_or(schema, |name| &root.as_value()["$defs"][name])
}

fn comment(text: &mut String, schema: &Value) {
    for line in schema["description"].as_str().unwrap_or_default().lines() {
        let _ = writeln!(text, "{}", format!("# {line}").trim_end());
    }
}

/// A value in TOML; a path or text that is not there by default is shown as `"…"`.
fn render(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "\"…\"".to_owned(),
        // JSON's texts, numbers, truths and lists of them are TOML's as well.
        Some(value) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_may_be_left_out_and_the_example_is_valid() {
        Config::parse("").unwrap();
        Config::parse(&Config::example()).unwrap();
    }

    #[test]
    fn the_example_shows_the_defaults() {
        let keys: String = Config::example()
            .lines()
            .filter_map(|line| {
                let line = line.strip_prefix("# ").unwrap_or(line);
                let is_key = line.split_once(" = ").is_some_and(|it| !it.0.contains([' ', '`']));
                ((is_key && !line.ends_with("\"…\"")) || line.starts_with('[')).then(|| format!("{line}\n"))
            })
            .collect();
        let parsed = Config::parse(&keys).unwrap_or_else(|error| panic!("{error}\n{keys}"));
        let json = |config: &Config| serde_json::to_value(config).unwrap();
        assert_eq!(json(&parsed), json(&Config::sample()));
    }

    #[test]
    fn an_unknown_key_is_refused_with_line_and_names() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("portolan.toml");
        fs::write(&path, "[serve]\nmanagment = \"127.0.0.1:1\"\n").unwrap();
        let error = Config::load(Some(&path), |_| None).unwrap_err().to_string();
        for part in ["portolan.toml", "line 2", "unknown field `managment`", "`management`"] {
            assert!(error.contains(part), "{part} is not in {error}");
        }
        let missing =
            Config::load(Some(&folder.path().join("other.toml")), |_| None).unwrap_err().to_string();
        assert!(missing.contains("other.toml"), "{missing}");
    }

    #[test]
    fn the_environment_goes_before_the_file() {
        let set = |name| match name {
            "PORTOLAN_DATABASE_URL" => Some("postgres://u:secret@db/portolan".to_owned()),
            "PORTOLAN_ORIGIN_USERNAME" => Some("user".to_owned()),
            _ => None,
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("portolan.toml");
        fs::write(&path, "[database]\nurl = \"sqlite:x\"\n").unwrap();
        let config = Config::load(Some(&path), set).unwrap();
        assert!(matches!(config.database.url, database::DatabaseUrl::Postgres(_)));
        assert_eq!(config.origin.username, "user");
        let broken = |name| (name == "PORTOLAN_DATABASE_URL").then(|| "postgres:secret".to_owned());
        let error = Config::load(Some(&path), broken).unwrap_err().to_string();
        assert!(error.contains("PORTOLAN_DATABASE_URL") && !error.contains("secret"), "{error}");
    }

    #[test]
    fn the_schema_in_the_repository_is_that_of_the_types() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/config.schema.json");
        let current = format!("{}\n", serde_json::to_string_pretty(&Config::schema()).unwrap());
        let kept = fs::read_to_string(&path).unwrap_or_default();
        assert!(kept == current, "run `cargo run -- config schema > schema/config.schema.json`");
    }
}
