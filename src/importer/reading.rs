//! What MirrorManager's rows mean here. Pure. A row that makes no sense is skipped and named, and stops no other.

mod host;
mod naming;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde::Serialize;

use super::{config::Carried, names::Names};
use crate::{
    database::{
        imported::{Local, Network, SiteState},
        mirrormanager::{HostCategoryRow, Rows, SiteRow},
    },
    mirror::{Country, Netblock, is_invisible, is_page},
};

/// Names of MirrorManager's categories, and what hosts carry by them; an empty list is all of ours.
pub type Mapping = BTreeMap<String, Vec<Carried>>;

/// How many characters of free words are taken over.
const WORDS_LENGTH: usize = 1_000;

/// An account's name has at most so many characters.
const USERNAME_LENGTH: usize = 100;

/// A row that was not taken over, or not as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// MirrorManager's table.
    pub table: &'static str,
    /// The row's id there.
    pub id: i64,
    /// What it is, as far as that is known.
    pub what: String,
    /// Why.
    pub reason: String,
}

/// The rows of MirrorManager in our words.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// What is to be here.
    pub(super) network: Network,
    /// What was left out.
    pub(super) skipped: Vec<Skipped>,
}

/// The hosts that an import is about: those that opted in to one of these categories, and those that are here already.
pub(super) fn list_hosts(rows: &Rows, mapping: &Mapping, local: &Local) -> BTreeSet<i64> {
    let opt_ins = opt_ins(rows, mapping).filter_map(|(row, _)| row.host_id);
    let known = rows.hosts.iter().map(|it| it.id).filter(|it| local.imported.contains(it));
    opt_ins.chain(known).collect()
}

/// The opt-ins to these categories, and what hosts carry by them.
fn opt_ins<'a>(
    rows: &'a Rows,
    mapping: &'a Mapping,
) -> impl Iterator<Item = (&'a HostCategoryRow, &'a [Carried])> {
    let named = |id| rows.categories.iter().find(|it| Some(it.id) == id)?.name.as_deref();
    let carried = move |row: &HostCategoryRow| Some(mapping.get(named(row.category_id)?)?.as_slice());
    rows.host_categories.iter().filter_map(move |row| Some((row, carried(row)?)))
}

/// Reads all of it.
pub(super) fn read(rows: &Rows, mapping: &Mapping, names: &Names, local: &Local) -> Reading {
    let mut reading = Reading::default();
    let unknown = mapping.values().flatten().map(Carried::category).collect::<BTreeSet<_>>();
    for category in unknown.into_iter().filter(|it| !local.categories.contains(*it)) {
        let reason = "there is no such category here yet: `portolan scan` makes it".to_owned();
        reading.skip("category", 0, category.to_string(), reason);
    }
    let mut sites = SiteNames { local, used: HashSet::new() };
    let mut accepted = BTreeMap::new();
    let wanted = list_hosts(rows, mapping, local);
    let of_hosts: BTreeSet<i64> =
        rows.hosts.iter().filter(|it| wanted.contains(&it.id)).filter_map(|it| it.site_id).collect();
    for row in rows.sites.iter().filter(|it| of_hosts.contains(&it.id)) {
        if let Some(site) = reading.site(row, rows, &mut sites) {
            accepted.insert(row.id, site);
        }
    }
    reading.network.sites = accepted;
    host::read_all(&mut reading, rows, mapping, names, local, &wanted);
    let hosts = &reading.network.hosts;
    reading.network.sites.retain(|id, _| hosts.values().any(|it| it.site == *id));
    reading.values(rows, local);
    reading
}

/// Names of sites that are given already.
struct SiteNames<'a> {
    local: &'a Local,
    used: HashSet<String>,
}

impl Reading {
    fn skip(&mut self, table: &'static str, id: i64, what: String, reason: impl ToString) {
        let shown = |text: String| text.replace(is_invisible, "\u{fffd}");
        self.skipped.push(Skipped { table, id, what: shown(what), reason: shown(reason.to_string()) });
    }

    fn site(&mut self, row: &SiteRow, rows: &Rows, names: &mut SiteNames<'_>) -> Option<SiteState> {
        let what = words(row.name.as_deref());
        let (Some(private), Some(user_active), Some(admin_active)) =
            (row.private, row.user_active, row.admin_active)
        else {
            self.skip("site", row.id, what, "whether it is private or switched on is NULL");
            return None;
        };
        let local = |it: &_| names.local.sites.contains(it);
        let Some(name) = naming::site(&what, row.id, |it| local(it) || names.used.contains(it.as_str()))
        else {
            self.skip("site", row.id, what, "no name is left for it");
            return None;
        };
        names.used.insert(name.to_string());
        let page = row.org_url.as_deref().map(str::trim).filter(|it| !it.is_empty());
        if let Some(page) = page.filter(|it| !is_page(it)) {
            self.skip(
                "site",
                row.id,
                what.clone(),
                format!("its page {page:?} is no address on the web: left out"),
            );
        }
        let org_url = page.filter(|it| is_page(it)).map(str::to_owned);
        let mut admins = BTreeSet::new();
        for admin in rows.site_admins.iter().filter(|it| it.site_id == Some(row.id)) {
            let username = admin.username.as_deref().map(str::trim).unwrap_or_default();
            let is_plain = (1..=USERNAME_LENGTH).contains(&username.chars().count())
                && !username.contains(|it: char| is_invisible(it) || it.is_whitespace());
            if is_plain {
                admins.insert(username.to_owned());
            } else {
                self.skip("site_admin", admin.id, what.clone(), "it has no usable account name");
            }
        }
        Some(SiteState { name, org_url, private, user_active, admin_active, admins })
    }

    /// What belongs to no host.
    fn values(&mut self, rows: &Rows, local: &Local) {
        for row in &rows.netblock_countries {
            let what = format!("{:?} in {:?}", row.netblock, row.country);
            let netblock = trimmed(&row.netblock).parse::<Netblock>().map_err(|it| it.to_string());
            let read = netblock.and_then(|it| Ok((it, country(trimmed(&row.country))?)));
            let read = read.and_then(|it| unless(local.netblock_countries.contains(&it.0), SET_HERE, it));
            let known = &self.network.netblock_countries;
            match read.and_then(|it| unless(known.contains_key(&it.0), TWICE, it)) {
                Ok((netblock, country)) => drop(self.network.netblock_countries.insert(netblock, country)),
                Err(reason) => self.skip("netblock_country", row.id, what, reason),
            }
        }
        for row in &rows.country_continent_redirects {
            let what = format!("{:?} to {:?}", row.country, row.continent);
            let continent = trimmed(&row.continent).parse().map_err(|it| format!("{it}"));
            let read = continent.and_then(|it| Ok((country(trimmed(&row.country))?, it)));
            let read = read.and_then(|it| unless(local.continent_redirects.contains(&it.0), SET_HERE, it));
            let known = &self.network.continent_redirects;
            match read.and_then(|it| unless(known.contains_key(&it.0), TWICE, it)) {
                Ok((country, continent)) => drop(self.network.continent_redirects.insert(country, continent)),
                Err(reason) => self.skip("country_continent_redirect", row.id, what, reason),
            }
        }
        for row in &rows.embargoed_countries {
            match country(trimmed(&row.country_code)) {
                Ok(country) => drop(self.network.embargoed.insert(country)),
                Err(reason) => {
                    self.skip("embargoed_country", row.id, format!("{:?}", row.country_code), reason)
                }
            }
        }
        for row in &rows.repository_redirects {
            let what = format!("{:?} to {:?}", row.from_repo, row.to_repo);
            let name = |it: &Option<String>| trimmed(it).parse().map_err(|it| format!("{it}"));
            let read = name(&row.from_repo).and_then(|from| Ok((from, name(&row.to_repo)?)));
            let read = read.and_then(|it| unless(it.0 == it.1, "it leads to itself", it));
            let read = read.and_then(|it| unless(local.aliases.contains(&it.0), SET_HERE, it));
            let known = &self.network.aliases;
            match read.and_then(|it| unless(known.contains_key(&it.0), TWICE, it)) {
                Ok((from, to)) => drop(self.network.aliases.insert(from, to)),
                Err(reason) => self.skip("repository_redirect", row.id, what, reason),
            }
        }
    }
}

const SET_HERE: &str = "it was set here, which goes before";
const TWICE: &str = "a row before it says something of the same";

fn unless<T>(refused: bool, reason: &str, value: T) -> Result<T, String> {
    if refused { Err(reason.to_owned()) } else { Ok(value) }
}

fn trimmed(text: &Option<String>) -> &str {
    text.as_deref().unwrap_or_default().trim()
}

/// Free words, in one form: trimmed, without invisible characters but line breaks, and bounded.
fn words(text: Option<&str>) -> String {
    let plain = text.unwrap_or_default().replace("\r\n", "\n");
    let plain: String =
        plain.chars().filter(|it| *it == '\n' || !is_invisible(*it)).take(WORDS_LENGTH).collect();
    plain.trim().to_owned()
}

/// A country that is on the map.
fn country(text: &str) -> Result<Country, String> {
    let country: Country = text.parse().map_err(|_| format!("{text:?} is no country"))?;
    country.continent().map(|_| country).ok_or_else(|| format!("ISO 3166-1 has no country {country}"))
}
