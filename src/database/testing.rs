//! For tests: every engine, and a few rows.

use super::{
    Config, Connection, Database, Part, Sha256, Time, category,
    content::{self, CategoryContent},
    host::{self, Host, NewHost},
    site::{self, NewSite},
};
use crate::mirror::{CategoryId, HostKind, Serial, SiteId};

#[path = "../../tests/support/postgres.rs"]
mod postgres;

/// Runs a test on an empty database of each engine.
pub(crate) fn on_both_empty(test: impl Fn(&Database)) {
    let folder = tempfile::tempdir().unwrap();
    for url in [format!("sqlite:{}/test.db", folder.path().display()), postgres::new_database()] {
        let database = Database::open(&Config { url: url.parse().unwrap(), connections: 4 });
        test(&database);
    }
}

/// The URL of a new PostgreSQL database that holds what a file of `tests/data` makes.
pub(crate) fn foreign_postgres(statements: &str) -> String {
    let url = postgres::new_database();
    run_psql(&url, statements);
    url
}

/// Runs statements in a PostgreSQL database.
pub(crate) fn run_psql(url: &str, statements: &str) {
    let mut psql = std::process::Command::new("psql");
    psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", statements]);
    let output = psql.output().expect("psql; run tests/setup.sh");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Runs a test on a migrated database of each engine.
pub(crate) fn on_both(test: impl Fn(&Database)) {
    on_both_empty(|database| {
        database.migrate().unwrap();
        test(database);
    });
}

/// The moment at which tests happen.
pub(crate) fn now() -> Time {
    "2026-11-21T12:00:00.123456Z".parse::<jiff::Timestamp>().unwrap().into()
}

pub(crate) fn new_site(name: &str) -> NewSite {
    NewSite { name: name.parse().unwrap(), org_url: None, private: false, created_at: now() }
}

pub(crate) fn new_host(site_id: SiteId, name: &str) -> NewHost {
    NewHost {
        site_id,
        name: name.parse().unwrap(),
        country: "DE".parse().ok(),
        latitude: Some(52.5),
        longitude: Some(13.4),
        asn: "64500".parse().ok(),
        asn_clients: true,
        bandwidth: "1000".parse().ok(),
        private: false,
        contacts: "a@example.org\nb@example.org".into(),
        comment: String::new(),
        created_at: now(),
        kind: HostKind::Static,
        client_share: None,
        daily_bytes: None,
        max_file_size: None,
    }
}

/// A host and its site.
pub(crate) fn add_host(database: &Database, name: &str) -> Host {
    let add = |it: &mut Connection| {
        let site = site::insert(it, &new_site(&format!("site of {name}")))?;
        host::insert(it, &new_host(site.id, name))
    };
    database.write(Part::Hosts, add).unwrap()
}

pub(crate) fn new_category(name: &str, serial: Serial) -> CategoryContent {
    CategoryContent {
        name: name.parse().unwrap(),
        selection: "{}".into(),
        serial,
        inventory_digest: Sha256([u8::try_from(serial % 251).unwrap(); 32]),
        blobs: Vec::new(),
        repositories: Default::default(),
        manifests: Vec::new(),
        referrers: Vec::new(),
        bodies: Vec::new(),
    }
}

/// A category without content.
pub(crate) fn add_category(database: &Database, name: &str, serial: Serial) -> CategoryId {
    let content = new_category(name, serial);
    let add = |it: &mut Connection| {
        content::replace_category(it, &content, now())?;
        category::find(it, &content.name)
    };
    database.write(Part::Content, add).unwrap().unwrap().id
}
