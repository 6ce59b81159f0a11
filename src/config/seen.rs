//! What of the configuration operators are shown by the running server: no secret.

use serde_json::{Map, Value};
use url::Url;

use super::Config;
use crate::server::SeenConfig;

/// Texts that are shown as they stand. One that is neither here nor among [`URLS`] is hidden: a new key is a secret until
/// somebody has thought of it. Numbers and truths are no secrets.
const SHOWN: &[&str] = &[
    "accounts.log",
    "accounts.oidc.ca_file",
    "accounts.oidc.client_id",
    "accounts.oidc.client_secret_file",
    "accounts.oidc.groups_claim",
    "accounts.oidc.name",
    "accounts.oidc.name_claim",
    "accounts.oidc.operators",
    "accounts.oidc.scopes",
    "accounts.oidc.timeout",
    "agent.listen",
    "agent.proxy",
    "agent.registries",
    "agent.state",
    "bus.ca_file",
    "bus.certificate",
    "bus.exchange",
    "bus.key",
    "bus.queue",
    "bus.repository",
    "bus.topics",
    "category.exclude_repositories",
    "category.exclude_tags",
    "category.max_age",
    "category.name",
    "category.platforms",
    "category.publish.after",
    "category.repositories",
    "category.signed_by",
    "category.tags",
    "client.allow_networks",
    "client.ca_file",
    "client.signed_by",
    "crawl.allow_networks",
    "crawl.contact",
    "crawl.history",
    "crawl.host_timeout",
    "crawl.interval",
    "crawl.lease",
    "crawl.timeout",
    "endpoint.avoided_sites",
    "endpoint.countries",
    "endpoint.host",
    "export.interval",
    "geoip.asn",
    "geoip.city",
    "geoip.country",
    "hooks.listen",
    "listen.address",
    "listen.certificate",
    "listen.key",
    "log.filter",
    "log.format",
    "mirrormanager.categories",
    "mirrormanager.watch",
    "notice.mail_from",
    "notice.operators",
    "notice.timeout",
    "origin.auth_file",
    "origin.ca_file",
    "origin.repositories",
    "probe.idle_interval",
    "probe.interval",
    "probe.timeout",
    "serve.drain",
    "serve.embargoed",
    "serve.forwarded_header",
    "serve.management",
    "serve.repeat.resume_window",
    "serve.repeat.window",
    "serve.report_max_age",
    "serve.state",
    "serve.trusted_proxies",
    "statistics.days",
    "statistics.hours",
    "tree.keep_former",
    "tree.path",
];

/// Of these, scheme, host and port are shown: a user, a password, a path and a query may be secrets.
const URLS: &[&str] = &[
    "accounts.oidc.issuer",
    "accounts.oidc.public_url",
    "bus.url",
    "database.url",
    "fallback.url",
    "mirrormanager.database_url",
    "notice.mail_server",
    "notice.webhook",
    "origin.url",
];

/// What stands for a text that is not shown.
const HIDDEN: &str = "(hidden)";

impl Config {
    /// What operators may see of it.
    pub fn seen(&self) -> SeenConfig {
        let whole = serde_json::to_value(self).unwrap_or_default();
        let settings = match show("", whole) {
            Value::Object(sections) => sections,
            _ => Map::new(),
        };
        SeenConfig { file: self.file.as_ref().map(|it| it.display().to_string()), settings }
    }
}

/// The value of a key such as `serve.state`, as far as it is shown.
fn show(key: &str, value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let field = |(name, value): (String, Value)| {
                let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                // Names of categories are no keys of ours.
                let key = if key.starts_with("mirrormanager.categories.") {
                    "mirrormanager.categories"
                } else {
                    &key
                };
                (name, show(key, value))
            };
            Value::Object(fields.into_iter().map(field).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(|it| show(key, it)).collect()),
        Value::String(text) if text.is_empty() || SHOWN.contains(&key) => Value::String(text),
        Value::String(text) if URLS.contains(&key) => Value::String(show_url(&text)),
        Value::String(_) => Value::String(HIDDEN.to_owned()),
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
    }
}

fn show_url(text: &str) -> String {
    // The embedded database: a path.
    if text.starts_with("sqlite:") {
        return text.to_owned();
    }
    let Ok(url) = Url::parse(text) else { return HIDDEN.to_owned() };
    let Some(host) = url.host_str().filter(|it| !it.is_empty()) else { return HIDDEN.to_owned() };
    let port = url.port().map(|it| format!(":{it}")).unwrap_or_default();
    let shown = format!("{}://{host}{port}", url.scheme());
    let has_more = text.trim_end_matches('/').len() > shown.len();
    if has_more { format!("{shown}/…") } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every key whose value is a text, or has texts in it.
    fn list_texts(schema: &Value, object: &Value, key: &str, texts: &mut Vec<String>) {
        let object = match object["$ref"].as_str().and_then(|it| it.strip_prefix("#/$defs/")) {
            Some(name) => &schema["$defs"][name],
            None => object,
        };
        for of in ["anyOf", "oneOf", "allOf"] {
            for it in object[of].as_array().into_iter().flatten() {
                list_texts(schema, it, key, texts);
            }
        }
        for inner in
            [&object["items"], &object["additionalProperties"]].into_iter().filter(|it| it.is_object())
        {
            list_texts(schema, inner, key, texts);
        }
        for (name, property) in object["properties"].as_object().into_iter().flatten() {
            let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
            list_texts(schema, property, &key, texts);
        }
        let kind = object["type"].to_string();
        if kind.contains("\"string\"") || object["enum"].is_array() || object["const"].is_string() {
            texts.push(key.to_owned());
        }
    }

    #[test]
    fn of_every_text_it_is_known_whether_it_is_shown() {
        let schema = Config::schema().to_value();
        let mut texts = Vec::new();
        list_texts(&schema, &schema, "", &mut texts);
        texts.sort();
        texts.dedup();
        let secrets = ["hooks.token", "origin.password", "origin.username"];
        let mut known: Vec<_> = [SHOWN, URLS, &secrets].concat().into_iter().map(str::to_owned).collect();
        known.sort();
        assert_eq!(texts, known);
    }

    #[test]
    fn no_secret_is_seen() {
        let text = r#"
            [database]
            url = "postgres://us3cr3t:ps3cr3t@db.example:5433/s3cr3t?sslpassword=s3cr3t&host=x@s3cr3t"
            [origin]
            url = "https://origin.example/s3cr3t"
            username = "s3cr3t"
            password = "s3cr3t"
            [hooks]
            token = "s3cr3t-s3cr3t-s3cr3t"
            [bus]
            url = "amqps://s3cr3t:s3cr3t@bus.example/s3cr3t"
            [notice]
            mail_server = "smtps://s3cr3t:s3cr3t@mail.example"
            webhook = "https://s3cr3t@hook.example/services/s3cr3t?key=s3cr3t"
            [fallback]
            url = "https://cdn.example/s3cr3t"
            [accounts.oidc]
            issuer = "https://id.example/realms/s3cr3t"
            [mirrormanager]
            database_url = "postgres://s3cr3t:s3cr3t@/mm?host=/s3cr3t"
        "#;
        let set = |name: &str| match name {
            "PORTOLAN_ORIGIN_PASSWORD" | "PORTOLAN_HOOKS_TOKEN" => {
                Some("s3cr3t-of-the-environment".to_owned())
            }
            _ => None,
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("portolan.toml");
        std::fs::write(&path, text).unwrap();
        let seen = Config::load(Some(&path), set).unwrap().seen();
        let shown = serde_json::to_string(&seen).unwrap();
        assert!(!shown.contains("s3cr3t"), "{shown}");
        assert_eq!(seen.file.as_deref(), path.to_str());
        let at = |section: &str, key: &str| seen.settings[section][key].as_str().unwrap().to_owned();
        assert_eq!(at("database", "url"), "postgres://db.example:5433/…");
        assert_eq!(at("notice", "mail_server"), "smtps://mail.example/…");
        assert_eq!(at("mirrormanager", "database_url"), HIDDEN);
        assert_eq!((at("origin", "password"), at("serve", "state")), (HIDDEN.to_owned(), "state".to_owned()));
        let usual = Config::default().seen();
        assert_eq!((usual.file, &usual.settings["database"]["url"]), (None, &"sqlite:portolan.db".into()));
        assert_eq!(usual.settings["origin"]["password"], "", "that there is none is told");
    }
}
