//! A small distribution: an origin, the program under test, mirrors that opted in.

use std::path::{Path, PathBuf};

use super::geoip;
use super::namespace::{Namespace, REGISTRY, REGISTRY_SIX};
use super::nginx::{Nginx, Scheme};
use super::origin::{self, Origin};
use super::portolan::Portolan;
use super::postgres::Postgres;
use super::rsync;

/// The one category of the rig.
pub(crate) const CATEGORY: &str = "containers";

/// Where mirrors carry it, below their root.
const PLACE: &str = "pub/containers";

/// Which database the program uses.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    Sqlite,
    Postgres,
}

pub(crate) struct World<'a> {
    pub(crate) namespace: &'a Namespace,
    pub(crate) origin: Origin,
    pub(crate) portolan: Portolan,
    pub(crate) postgres: Option<Postgres>,
}

impl<'a> World<'a> {
    /// An empty origin and a configured program with an empty database and one site.
    pub(crate) fn new(namespace: &'a Namespace, engine: Engine) -> World<'a> {
        World::around(namespace, engine, Origin::start(namespace))
    }

    /// The same around an origin that was made for it.
    pub(crate) fn around(namespace: &'a Namespace, engine: Engine, origin: Origin) -> World<'a> {
        let postgres = (engine == Engine::Postgres).then(|| Postgres::start(namespace));
        let portolan = configure(namespace, postgres.as_ref());
        portolan.done("migrate");
        portolan.done("site add volunteers");
        World { namespace, origin, portolan, postgres }
    }

    /// Exports and scans, as the operator's timer does.
    #[track_caller]
    pub(crate) fn publish(&self) {
        self.portolan.done("export");
        self.portolan.done("scan");
    }

    /// The exported category.
    pub(crate) fn category(&self) -> PathBuf {
        self.portolan.category(CATEGORY)
    }

    /// Starts an empty nginx mirror and opts it in. Its name says its country; `options` are of `host add`.
    pub(crate) fn mirror(&self, name: &str, scheme: Scheme, options: &str) -> Nginx {
        let nginx = Nginx::start(self.namespace, name, scheme);
        let urls = match scheme {
            Scheme::Http => format!("--url http://{name}/{PLACE}"),
            Scheme::Https => format!("--url https://{name}/{PLACE}"),
        };
        self.opt_in(name, &urls, options);
        nginx
    }

    /// Registers a host and its opt-in; what stands at its address is the caller's.
    pub(crate) fn opt_in_https(&self, name: &str, options: &str) {
        self.opt_in(name, &format!("--url https://{name}/{PLACE}"), options);
    }

    fn opt_in(&self, name: &str, urls: &str, options: &str) {
        let country = name[..2].to_uppercase();
        let add = format!("host add {name} --site volunteers --country {country} {options}");
        self.portolan.done(add.trim_end());
        self.portolan.done(&format!("host opt-in {name} {CATEGORY} {urls}"));
    }

    /// Lets a mirror with this root copy the whole category.
    pub(crate) fn fill(&self, root: &Path) {
        rsync::copy(&self.category(), &place(root));
    }

    /// Crawls every mirror once.
    #[track_caller]
    pub(crate) fn crawl(&self) {
        self.portolan.done("crawl --once");
    }

    /// What the last crawl found out about a host: its state in one word, and how many files it holds.
    #[track_caller]
    pub(crate) fn found(&self, host: &str) -> (String, u64) {
        let shown = self.portolan.json(&format!("host show {host}"));
        let category = &shown["categories"][0];
        let state = category["state"].as_str().unwrap_or_else(|| panic!("no state in {shown:#}"));
        (state.to_owned(), category["held"].as_u64().unwrap_or_default())
    }
}

/// Where the category is on a mirror with this root.
pub(crate) fn place(root: &Path) -> PathBuf {
    root.join(PLACE)
}

/// Writes a configuration for `https://registry.test`, its certificate and its country database.
pub(crate) fn configure(namespace: &Namespace, postgres: Option<&Postgres>) -> Portolan {
    let country = namespace.folder.join("country.mmdb");
    geoip::write(&country);
    let identity = namespace.authority.issue(&["registry.test", "direct.registry.test", "six.registry.test"]);
    let (certificate, key) = (identity.certificate.display(), identity.key.display());
    let database = postgres.map_or_else(|| "sqlite:portolan.db".to_owned(), Postgres::url);
    let (origin, country) = (origin::URL, country.display());
    let config = format!(
        r#"[database]
url = "{database}"
[origin]
url = "{origin}"
[tree]
path = "tree"
[[category]]
name = "{CATEGORY}"
repositories = ["*", "*/*"]
tags = ["*"]
[export]
interval = "1s"
[crawl]
interval = "1s"
timeout = "5s"
rate = 1000
lease = "3s"
failures_until_off = 4
allow_networks = ["192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32"]
[serve]
state = "state"
management = "127.0.0.1:0"
[[listen]]
address = "{REGISTRY}:443"
certificate = "{certificate}"
key = "{key}"
[[listen]]
address = "[{REGISTRY_SIX}]:443"
certificate = "{certificate}"
key = "{key}"
[[endpoint]]
host = "direct.registry.test"
direct = true
[fallback]
tree = true
[geoip]
country = "{country}"
"#
    );
    Portolan::new(namespace, &config)
}
