//! How the running server is set up, and how it is: for operators.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    Desk, Page, Refusal,
    block::{Block, Table, text},
};
use crate::server::{pages::text::duration, status};

/// The running server, and the configuration that it has, without secrets.
#[derive(Serialize, JsonSchema)]
pub(super) struct SettingsView {
    version: &'static str,
    /// The cargo features that it was built with.
    features: Vec<&'static str>,
    /// `up`, or `down` and why.
    database: String,
    /// The parts of the snapshot that it answers from.
    parts: BTreeMap<&'static str, status::Part>,
    probe: status::Probe,
    /// The configuration file; null: there is none, and all are defaults.
    file: Option<String>,
    /// By section, as in the file. Of secrets it is only told that they are there.
    settings: Map<String, Value>,
}

impl SettingsView {
    pub(super) fn new(desk: &Desk<'_>) -> Self {
        let seen = &desk.office.seen;
        let features = [
            ("amqp", cfg!(feature = "amqp")),
            ("oidc", cfg!(feature = "oidc")),
            ("pg-tls", cfg!(feature = "pg-tls")),
        ];
        Self {
            version: env!("CARGO_PKG_VERSION"),
            features: features.into_iter().filter(|it| it.1).map(|it| it.0).collect(),
            database: status::tell_database(desk.current),
            parts: status::parts(desk.current),
            probe: status::Probe::of(desk.current),
            file: seen.file.clone(),
            settings: seen.settings.clone(),
        }
    }
}

/// `GET /desk/settings`
pub(super) fn show(desk: &mut Desk<'_>) -> Result<Page, Refusal> {
    let view = SettingsView::new(desk);
    let mut page = Page::new("Settings");
    let parts =
        view.parts.iter().map(|(name, it)| format!("{name} {}", duration(it.age_seconds.cast_signed())));
    page.add(Block::Facts(vec![
        ("Version", view.version.to_owned()),
        (
            "Built with",
            if view.features.is_empty() { "no features".to_owned() } else { view.features.join(", ") },
        ),
        ("Configuration", view.file.unwrap_or_else(|| "no file: all are defaults".to_owned())),
        ("Database", view.database),
        ("Age of the snapshot", parts.collect::<Vec<_>>().join(", ")),
        ("Prober", view.probe.state.to_owned()),
    ]));
    let mut rows = Vec::new();
    for (section, value) in &view.settings {
        for (number, table) in tables(value).enumerate() {
            let section = if value.is_array() {
                format!("[[{section}]] {}", number + 1)
            } else {
                format!("[{section}]")
            };
            let mut keys = Vec::new();
            list_keys("", table, &mut keys);
            rows.extend(keys.into_iter().map(|(key, value)| vec![text(&section), text(key), text(value)]));
        }
    }
    page.heading("The configuration that this server has");
    page.text(
        "With what the environment says. Secrets are hidden; of a URL only scheme, host and port are shown.",
    );
    page.table(Table { label: "Settings", header: &["Section", "Key", "Value"], rows }, "It is not known.");
    Ok(page)
}

/// A section, or each one of this name.
fn tables(section: &Value) -> impl Iterator<Item = &Value> {
    let (one, many) = match section {
        Value::Array(tables) => (None, tables.as_slice()),
        other => (Some(other), &[][..]),
    };
    one.into_iter().chain(many)
}

/// The keys of a table and of those in it, each with its value as TOML writes it.
fn list_keys(before: &str, table: &Value, keys: &mut Vec<(String, String)>) {
    for (name, value) in table.as_object().into_iter().flatten() {
        let key = if before.is_empty() { name.clone() } else { format!("{before}.{name}") };
        match value {
            Value::Object(_) => list_keys(&key, value, keys),
            Value::Null => {}
            value => keys.push((key, value.to_string())),
        }
    }
}
