use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::{Mapping, Reading, country, naming, opt_ins, trimmed, words};
use crate::{
    database::{
        imported::{HostState, Local, OptIn},
        mirrormanager::{HostCategoryRow, HostCategoryUrlRow, HostNetblockRow, HostRow, Rows},
    },
    importer::{
        config::Carried,
        names::{Names, is_name},
    },
    mirror::{Asn, Bandwidth, CategoryName, Country, HostName, HostUrl, Netblock, Place, RsyncUrl},
};

/// A wider network is no host's: MirrorManager lets operators add networks wider than /16 and /32, and means it.
const WIDEST_IPV4: u8 = 8;
const WIDEST_IPV6: u8 = 16;

/// More Mbit/s than this nobody has.
const MOST_BANDWIDTH: u32 = 1_000_000;

/// Rows by the host or opt-in they belong to.
fn by<T>(rows: &[T], of: impl Fn(&T) -> Option<i64>) -> HashMap<i64, Vec<&T>> {
    let mut groups: HashMap<i64, Vec<&T>> = HashMap::new();
    for row in rows {
        if let Some(id) = of(row) {
            groups.entry(id).or_default().push(row);
        }
    }
    groups
}

/// What hosts must not have twice, and what they have.
struct Hosts<'a> {
    rows: &'a Rows,
    names: &'a Names,
    local: &'a Local,
    opt_ins: HashMap<i64, Vec<(&'a HostCategoryRow, &'a [Carried])>>,
    urls: HashMap<i64, Vec<&'a HostCategoryUrlRow>>,
    used_names: HashSet<HostName>,
    /// Names of one site, without case.
    of_site: HashSet<(i64, String)>,
    used_urls: HashMap<HostUrl, i64>,
}

pub(super) fn read_all(
    reading: &mut Reading,
    rows: &Rows,
    mapping: &Mapping,
    names: &Names,
    local: &Local,
    wanted: &BTreeSet<i64>,
) {
    let mut found: HashMap<i64, Vec<_>> = HashMap::new();
    for (row, carried) in opt_ins(rows, mapping) {
        match row.host_id.filter(|id| rows.hosts.iter().any(|it| it.id == *id)) {
            Some(host) => found.entry(host).or_default().push((row, carried)),
            None => reading.skip("host_category", row.id, String::new(), "its host is not there"),
        }
    }
    let mut hosts = Hosts {
        rows,
        names,
        local,
        opt_ins: found,
        urls: by(&rows.host_category_urls, |it| it.host_category_id),
        used_names: HashSet::new(),
        of_site: HashSet::new(),
        used_urls: HashMap::new(),
    };
    for row in rows.hosts.iter().filter(|it| wanted.contains(&it.id)) {
        let what = words(row.name.as_deref());
        match hosts.read(reading, row, &what) {
            Ok(host) => drop(reading.network.hosts.insert(row.id, host)),
            Err(reason) => reading.skip("host", row.id, what, reason),
        }
    }
}

impl Hosts<'_> {
    /// Only what makes a host senseless as a whole is an error.
    fn read(&mut self, reading: &mut Reading, row: &HostRow, what: &str) -> Result<HostState, &'static str> {
        let site = row.site_id.filter(|it| reading.network.sites.contains_key(it));
        let site = site.ok_or("its site is not there, or was skipped")?;
        let (Some(private), Some(user_active), Some(admin_active)) =
            (row.private, row.user_active, row.admin_active)
        else {
            return Err("whether it is private or switched on is NULL");
        };
        if !self.of_site.insert((site, what.to_lowercase())) {
            return Err("its site has another host of this name, but for case");
        }
        let countries_allowed = self.countries_allowed(reading, row, what)?;
        let taken = |it: &_| self.used_names.contains(it) || self.local.hosts.contains(it);
        let name = naming::host(what, row.id, taken).ok_or("no name is left for it")?;
        self.used_names.insert(name.clone());
        let (opt_ins, always_up2date) = self.opt_ins(reading, row.id, what);
        Ok(HostState {
            site,
            name,
            country: stands_in(reading, row, what),
            place: place(reading, row, what),
            asn: asn(reading, row, what),
            asn_clients: row.asn_clients.unwrap_or(true),
            bandwidth: bandwidth(reading, row, what),
            private,
            user_active,
            admin_active,
            comment: words(row.comment.as_deref()),
            always_up2date,
            opt_ins,
            netblocks: self.netblocks(reading, row.id, what),
            peer_asns: self.peer_asns(reading, row.id, what),
            countries_allowed,
        })
    }

    /// A host none of whose countries can be read would serve all countries: it is not taken at all.
    fn countries_allowed(
        &self,
        reading: &mut Reading,
        host: &HostRow,
        what: &str,
    ) -> Result<BTreeSet<Country>, &'static str> {
        let rows = self.rows.host_countries_allowed.iter().filter(|it| it.host_id == Some(host.id));
        let (mut countries, mut has_rows) = (BTreeSet::new(), false);
        for row in rows {
            has_rows = true;
            match country(trimmed(&row.country)) {
                Ok(country) => drop(countries.insert(country)),
                Err(reason) => reading.skip("host_country_allowed", row.id, what.to_owned(), reason),
            }
        }
        if has_rows && countries.is_empty() {
            return Err("it serves some countries only, and none of them can be read");
        }
        Ok(countries)
    }

    /// The opt-ins, and whether all of them are always up to date.
    fn opt_ins(
        &mut self,
        reading: &mut Reading,
        host: i64,
        what: &str,
    ) -> (BTreeMap<CategoryName, OptIn>, bool) {
        let mut opt_ins: BTreeMap<CategoryName, OptIn> = BTreeMap::new();
        let rows = self.opt_ins.remove(&host).unwrap_or_default();
        for (row, carried) in &rows {
            let all: Vec<Carried>;
            let carried = if carried.is_empty() {
                all = self.local.categories.iter().cloned().map(Carried::by_name).collect();
                &all
            } else {
                *carried
            };
            let mut urls = self.urls.remove(&row.id).unwrap_or_default();
            // Of those for rsync a public one is taken, if there is one.
            urls.sort_by_key(|it| it.private == Some(true));
            for url in urls {
                for carried in carried.iter().filter(|it| self.local.categories.contains(it.category())) {
                    if let Err(reason) = self.url(&mut opt_ins, url, carried) {
                        let what = format!("{:?} of {what}", url.url);
                        reading.skip("host_category_url", url.id, what, reason);
                    }
                }
            }
        }
        let without: Vec<_> =
            opt_ins.iter().filter(|it| it.1.urls.is_empty()).map(|it| it.0.clone()).collect();
        for category in without {
            let reason = format!("no URL for clients is left: {category} is not opted in to");
            reading.skip("host_category", rows.first().map_or(0, |it| it.0.id), what.to_owned(), reason);
            opt_ins.remove(&category);
        }
        let always = |it: &&(&HostCategoryRow, &[Carried])| it.0.always_up2date == Some(true);
        let count = rows.iter().filter(always).count();
        if (1..rows.len()).contains(&count) {
            let reason = "only some of its categories are always up to date: it is crawled like others";
            reading.skip("host_category", rows.first().map_or(0, |it| it.0.id), what.to_owned(), reason);
        }
        (opt_ins, count > 0 && count == rows.len())
    }

    fn url(
        &mut self,
        opt_ins: &mut BTreeMap<CategoryName, OptIn>,
        row: &HostCategoryUrlRow,
        carried: &Carried,
    ) -> Result<(), String> {
        let text = row.url.as_deref().ok_or("it is NULL")?;
        let url = carried.url(text);
        if text.starts_with("rsync://") {
            let rsync: RsyncUrl = url.parse().map_err(|it| format!("{it}"))?;
            let known = &mut opt_ins.entry(carried.category().clone()).or_default().rsync;
            *known = known.take().or(Some(rsync));
            return Ok(());
        }
        // For other mirrors, not for clients.
        if row.private != Some(false) {
            return Ok(());
        }
        let url: HostUrl = url.parse().map_err(|it| format!("{it}"))?;
        if let Some(other) = self.local.urls.get(&url) {
            return Err(format!("the host {other}, which was added here, has it"));
        }
        if let Some(other) = self.used_urls.insert(url.clone(), row.id) {
            self.used_urls.insert(url, other);
            return Err(format!("it is the same as the row {other}"));
        }
        opt_ins.entry(carried.category().clone()).or_default().urls.insert(url);
        Ok(())
    }

    fn netblocks(&self, reading: &mut Reading, host: i64, what: &str) -> BTreeMap<Netblock, String> {
        let mut netblocks = BTreeMap::new();
        for row in self.rows.host_netblocks.iter().filter(|it| it.host_id == Some(host)) {
            match self.netblock(host, row) {
                Ok(found) => netblocks.extend(found),
                Err(reason) => {
                    let what = format!("{:?} of {what}", row.netblock);
                    reading.skip("host_netblock", row.id, what, reason);
                }
            }
        }
        netblocks
    }

    /// A network, or the addresses of a name; if it cannot be looked up now, those it had before.
    fn netblock(&self, host: i64, row: &HostNetblockRow) -> Result<Vec<(Netblock, String)>, String> {
        let text = trimmed(&row.netblock);
        let named = |netblocks: &[Netblock]| netblocks.iter().map(|it| (*it, text.to_owned())).collect();
        match self.names.get(text) {
            Some(Ok(found)) => return Ok(named(found)),
            Some(Err(reason)) => {
                let known = self.local.netblocks.get(&(host, text.to_owned()));
                return known.map(|it| named(it)).ok_or_else(|| format!("it has no address: {reason}"));
            }
            None if is_name(text) => return Err("it was not looked up".to_owned()),
            None => {}
        }
        let netblock: Netblock = text.parse().map_err(|it| format!("{it}"))?;
        let network = netblock.network();
        let widest = if network.addr().is_ipv4() { WIDEST_IPV4 } else { WIDEST_IPV6 };
        if network.prefix_len() < widest {
            return Err(format!("{netblock} is wider than /{widest}: it would draw half the world"));
        }
        Ok(vec![(netblock, words(row.name.as_deref()))])
    }

    fn peer_asns(&self, reading: &mut Reading, host: i64, what: &str) -> BTreeMap<Asn, String> {
        let mut peers = BTreeMap::new();
        for row in self.rows.host_peer_asns.iter().filter(|it| it.host_id == Some(host)) {
            match row.asn.and_then(number) {
                Some(asn) => drop(peers.insert(asn, words(row.name.as_deref()))),
                None => {
                    let reason = format!("{:?} is no AS number", row.asn);
                    reading.skip("host_peer_asn", row.id, what.to_owned(), reason);
                }
            }
        }
        peers
    }
}

fn stands_in(reading: &mut Reading, row: &HostRow, what: &str) -> Option<Country> {
    let text = trimmed(&row.country);
    if text.is_empty() {
        return None;
    }
    let read = country(text);
    read.map_err(|it| reading.skip("host", row.id, what.to_owned(), format!("{it}: left out"))).ok()
}

/// AS numbers above 2³¹ stand as negative ones in their column.
fn number(asn: i64) -> Option<Asn> {
    let asn = i32::try_from(asn).map_or(asn, |it| i64::from(it.cast_unsigned()));
    u32::try_from(asn).ok().and_then(Asn::new)
}

fn asn(reading: &mut Reading, row: &HostRow, what: &str) -> Option<Asn> {
    let found = row.asn.filter(|it| *it != 0)?;
    let asn = number(found);
    if asn.is_none() {
        reading.skip("host", row.id, what.to_owned(), format!("{found} is no AS number: left out"));
    }
    asn
}

fn bandwidth(reading: &mut Reading, row: &HostRow, what: &str) -> Option<Bandwidth> {
    let megabits = row.bandwidth_int?;
    let found = u32::try_from(megabits).ok().and_then(|it| Bandwidth::new(it.min(MOST_BANDWIDTH)));
    if found.is_none() {
        reading.skip("host", row.id, what.to_owned(), format!("{megabits} Mbit/s is no bandwidth: left out"));
    }
    found
}

fn place(reading: &mut Reading, row: &HostRow, what: &str) -> Option<Place> {
    let (latitude, longitude) = (row.latitude?, row.longitude?);
    // Adding makes 0 of -0, which databases do not tell apart.
    let place = Place::new(latitude + 0.0, longitude + 0.0).ok();
    if place.is_none() {
        let reason = format!("{latitude},{longitude} is no place: left out");
        reading.skip("host", row.id, what.to_owned(), reason);
    }
    place
}
