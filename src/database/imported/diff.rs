use std::{collections::BTreeMap, fmt::Display};

use serde::Serialize;

use super::{HostState, Network, SiteState};

/// What an import changes here, or would.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// What becomes of it.
    pub verb: Verb,
    /// Of what kind it is.
    pub noun: Noun,
    /// What it is called here.
    pub name: String,
    /// What differs, a line each: `country: DE → FR`, `+ netblock 192.0.2.0/24`.
    pub details: Vec<String>,
    /// It is a host that is gone, or carries nothing any more.
    #[serde(skip)]
    pub(super) left: bool,
}

/// What becomes of a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words say it")]
pub enum Verb {
    Added,
    Changed,
    Gone,
}

/// A kind of thing, by MirrorManager's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the words say it")]
pub enum Noun {
    Site,
    Host,
    NetblockCountry,
    CountryContinentRedirect,
    EmbargoedCountry,
    RepositoryRedirect,
}

impl Change {
    /// Is it a host that is gone, or carries nothing any more?
    pub fn is_host_without_content(&self) -> bool {
        self.left
    }
}

impl Verb {
    fn between(before: bool, after: bool) -> Self {
        match (before, after) {
            (false, _) => Self::Added,
            (true, true) => Self::Changed,
            (true, false) => Self::Gone,
        }
    }
}

/// What stands in a thing, by the words that name it.
type Lines = BTreeMap<String, String>;

/// What has to change so that the first becomes the second.
pub(super) fn compare(before: &Network, after: &Network) -> Vec<Change> {
    let mut changes = Vec::new();
    for (verb, _, from, to, details) in differences(&before.sites, &after.sites, |it, _| site_lines(it)) {
        if let Some(known) = to.or(from) {
            let name = known.name.to_string();
            changes.push(Change { verb, noun: Noun::Site, name, details, left: false });
        }
    }
    let sites = |it: &i64| {
        let site = after.sites.get(it).or_else(|| before.sites.get(it));
        site.map_or_else(|| it.to_string(), |it| it.name.to_string())
    };
    let lines = |it: &HostState, _: &i64| host_lines(it, &sites(&it.site));
    for (verb, _, from, to, details) in differences(&before.hosts, &after.hosts, lines) {
        if let Some(known) = to.or(from) {
            let carries = |it: Option<&HostState>| it.is_some_and(|it| !it.opt_ins.is_empty());
            let left = carries(from) && !carries(to);
            let name = known.name.to_string();
            changes.push(Change { verb, noun: Noun::Host, name, details, left });
        }
    }
    values(&mut changes, Noun::NetblockCountry, &before.netblock_countries, &after.netblock_countries);
    let noun = Noun::CountryContinentRedirect;
    values(&mut changes, noun, &before.continent_redirects, &after.continent_redirects);
    let countries = |of: &Network| of.embargoed.iter().map(|it| (*it, "")).collect::<BTreeMap<_, _>>();
    values(&mut changes, Noun::EmbargoedCountry, &countries(before), &countries(after));
    values(&mut changes, Noun::RepositoryRedirect, &before.aliases, &after.aliases);
    changes
}

type Difference<'a, K, V> = (Verb, &'a K, Option<&'a V>, Option<&'a V>, Vec<String>);

/// The keys whose lines differ. Of what comes or goes as a whole no lines are told.
fn differences<'a, K: Ord, V>(
    before: &'a BTreeMap<K, V>,
    after: &'a BTreeMap<K, V>,
    lines: impl Fn(&V, &K) -> Lines,
) -> Vec<Difference<'a, K, V>> {
    let gone = before.keys().filter(|it| !after.contains_key(it));
    let difference = |key: &'a K| {
        let (from, to) = (before.get(key), after.get(key));
        let details = match (from, to) {
            (Some(from), Some(to)) => differing_lines(&lines(from, key), &lines(to, key)),
            _ => Vec::new(),
        };
        let verb = Verb::between(from.is_some(), to.is_some());
        (verb != Verb::Changed || !details.is_empty()).then_some((verb, key, from, to, details))
    };
    after.keys().chain(gone).filter_map(difference).collect()
}

fn differing_lines(before: &Lines, after: &Lines) -> Vec<String> {
    let mut details = Vec::new();
    for (key, to) in after {
        match before.get(key) {
            None => details.push(format!("+ {key} {to}").trim_end().to_owned()),
            Some(from) if from != to => details.push(format!("{key}: {from} → {to}")),
            Some(_) => {}
        }
    }
    let gone = before.iter().filter(|(key, _)| !after.contains_key(*key));
    details.extend(gone.map(|(key, from)| format!("- {key} {from}").trim_end().to_owned()));
    details
}

fn values<K: Ord + Display, V: Display>(
    changes: &mut Vec<Change>,
    noun: Noun,
    before: &BTreeMap<K, V>,
    after: &BTreeMap<K, V>,
) {
    let line = |it: &V, key: &K| Lines::from([(key.to_string(), it.to_string())]);
    for (verb, key, _, _, details) in differences(before, after, line) {
        changes.push(Change { verb, noun, name: key.to_string(), details, left: false });
    }
}

fn site_lines(site: &SiteState) -> Lines {
    let SiteState { name, org_url, private, user_active, admin_active, admins } = site;
    let mut lines = Lines::new();
    put(&mut lines, "name", name);
    put(&mut lines, "page", org_url.as_deref().unwrap_or("none"));
    put(&mut lines, "private", private);
    put(&mut lines, "user_active", user_active);
    put(&mut lines, "admin_active", admin_active);
    admins.iter().for_each(|it| put(&mut lines, &format!("admin {it}"), ""));
    lines
}

fn host_lines(host: &HostState, site_name: &str) -> Lines {
    let mut lines = Lines::new();
    put(&mut lines, "name", &host.name);
    put(&mut lines, "site", site_name);
    put(&mut lines, "site's id", host.site);
    put(&mut lines, "country", or_none(host.country));
    let place = host.place.map(|it| format!("{},{}", it.latitude(), it.longitude()));
    put(&mut lines, "place", or_none(place));
    put(&mut lines, "asn", or_none(host.asn));
    put(&mut lines, "asn_clients", host.asn_clients);
    put(&mut lines, "bandwidth", or_none(host.bandwidth));
    put(&mut lines, "private", host.private);
    put(&mut lines, "user_active", host.user_active);
    put(&mut lines, "admin_active", host.admin_active);
    put(&mut lines, "comment", format!("{:?}", host.comment));
    put(&mut lines, "always_up2date", host.always_up2date);
    for (category, opt_in) in &host.opt_ins {
        put(&mut lines, &format!("category {category}"), "");
        opt_in.urls.iter().for_each(|it| put(&mut lines, &format!("url {category} {it}"), ""));
        opt_in.rsync.iter().for_each(|it| put(&mut lines, &format!("rsync {category}"), it));
    }
    host.netblocks.iter().for_each(|(it, name)| put(&mut lines, &format!("netblock {it}"), name));
    host.peer_asns.iter().for_each(|(it, name)| put(&mut lines, &format!("peer asn {it}"), name));
    host.countries_allowed.iter().for_each(|it| put(&mut lines, &format!("country allowed {it}"), ""));
    lines
}

fn put(lines: &mut Lines, key: &str, value: impl Display) {
    lines.insert(key.to_owned(), value.to_string());
}

fn or_none(value: Option<impl Display>) -> String {
    value.map_or_else(|| "none".to_owned(), |it| it.to_string())
}
