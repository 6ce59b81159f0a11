use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
    net::IpAddr,
};

use super::{
    netblocks::NetblockMap,
    rows::{AliasRow, Hash, HostRow, HostRows},
};
use crate::{
    mirror::{Continent, Country, Netblock, Place, Point, Reach},
    oci::RepositoryName,
};

/// The weight of a host whose bandwidth nobody told, in Mbit/s.
const DEFAULT_BANDWIDTH: u32 = 100;

/// No host weighs more than this, in Mbit/s.
const MOST_BANDWIDTH: u32 = 10_000;

/// What of a host's bandwidth counts, in Mbit/s.
pub(super) fn counted_bandwidth(megabits: Option<u32>) -> u32 {
    megabits.unwrap_or(DEFAULT_BANDWIDTH).clamp(1, MOST_BANDWIDTH)
}

/// Who could serve, ready to be asked. The lists begin with the greatest bandwidth.
#[derive(Debug, Default)]
pub struct Hosts {
    rows: HostRows,
    all: Vec<Candidate>,
    /// Where each of the rows stands.
    points: Vec<Option<Point>>,
    by_netblock: NetblockMap<Vec<Candidate>>,
    by_asn: HashMap<u32, Vec<Candidate>>,
    by_country: HashMap<Country, Vec<Candidate>>,
    by_continent: HashMap<Continent, Vec<Candidate>>,
    countries: NetblockMap<Option<Country>>,
    redirects: HashMap<Country, Continent>,
    /// Digests that are not answered any more; whether for legal reasons.
    withdrawn: HashMap<Hash, bool>,
    embargoed: HashSet<Country>,
    /// Former names of repositories: what they are called now, and until when.
    aliases: HashMap<String, (RepositoryName, Option<i64>)>,
}

/// A host, and what it takes to pass it over without a look at its row.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// Its row's id.
    pub id: i64,
    /// Its place in [`Hosts::list`].
    pub index: u32,
    /// What it can send in Mbit/s, as far as that counts; never 0. Nothing makes it weigh more.
    pub bandwidth: u32,
    /// Some URL of it answers by IPv4.
    pub ipv4: bool,
    /// Some URL of it answers by IPv6.
    pub ipv6: bool,
    /// So many of a thousand clients stay with it.
    pub kept: u16,
    /// Since when it told no lie, Unix seconds.
    pub clean_since: i64,
}

impl Hosts {
    /// Builds the indexes. A netblock that cannot be read is passed over: the database's own checks
    /// let none in, and one bad row must not stop all others.
    pub fn new(rows: HostRows) -> Self {
        let mut hosts = Self {
            redirects: rows.continent_redirects.iter().copied().collect(),
            withdrawn: rows.withdrawn.iter().map(|it| (it.digest, it.legal)).collect(),
            embargoed: rows.embargoed.iter().copied().collect(),
            aliases: rows.aliases.iter().filter_map(AliasRow::entry).collect(),
            ..Self::default()
        };
        for (netblock, country) in &rows.netblock_countries {
            if let Ok(netblock) = netblock.parse::<Netblock>() {
                *hosts.countries.entry(netblock.network()) = Some(*country);
            }
        }
        let mut all: Vec<_> = (0..).zip(&rows.hosts).map(|(index, host)| host.candidate(index)).collect();
        all.sort_by_key(|it| Reverse(it.bandwidth));
        for candidate in &all {
            hosts.add(*candidate, &rows.hosts[candidate.index as usize]);
        }
        hosts.all = all;
        hosts.points = rows.hosts.iter().map(|it| it.located().map(Point::from)).collect();
        hosts.rows = rows;
        hosts
    }

    fn add(&mut self, candidate: Candidate, host: &HostRow) {
        for netblock in host.netblocks.iter().filter_map(|it| it.parse::<Netblock>().ok()) {
            self.by_netblock.entry(netblock.network()).push(candidate);
        }
        let own_asn = host.asn.filter(|_| host.asn_clients);
        let peer_asns = host.peer_asns.iter().copied().filter(|it| Some(*it) != own_asn);
        for asn in own_asn.into_iter().chain(peer_asns) {
            self.by_asn.entry(asn).or_default().push(candidate);
        }
        if let Some(country) = host.country {
            self.by_country.entry(country).or_default().push(candidate);
            if let Some(continent) = self.continent(country) {
                self.by_continent.entry(continent).or_default().push(candidate);
            }
        }
    }

    /// What it was built from.
    pub fn rows(&self) -> &HostRows {
        &self.rows
    }

    /// All hosts.
    pub fn list(&self) -> &[HostRow] {
        &self.rows.hosts
    }

    /// All of them again, for ranking.
    pub fn candidates(&self) -> &[Candidate] {
        &self.all
    }

    /// Where a candidate stands.
    pub fn point(&self, candidate: &Candidate) -> Option<&Point> {
        self.points.get(candidate.index as usize)?.as_ref()
    }

    /// Those that want this address's clients first; one list a netblock, longest netblock first.
    pub fn in_netblocks(&self, address: IpAddr) -> Vec<&Vec<Candidate>> {
        self.by_netblock.list(address)
    }

    /// Those that want the clients of this autonomous system first: their own, or a peer.
    pub fn in_asn(&self, asn: u32) -> &[Candidate] {
        self.by_asn.get(&asn).map_or(&[], Vec::as_slice)
    }

    /// Those in this country.
    pub fn in_country(&self, country: Country) -> &[Candidate] {
        self.by_country.get(&country).map_or(&[], Vec::as_slice)
    }

    /// Those in this continent, its redirects included.
    pub fn in_continent(&self, continent: Continent) -> &[Candidate] {
        self.by_continent.get(&continent).map_or(&[], Vec::as_slice)
    }

    /// The country that the operator gave to the address's network.
    pub fn find_country(&self, address: IpAddr) -> Option<Country> {
        self.countries.find(address).copied().flatten()
    }

    /// Is this digest withdrawn? And if so, for legal reasons?
    pub fn find_withdrawn(&self, digest: &Hash) -> Option<bool> {
        self.withdrawn.get(digest).copied()
    }

    /// Is this country under embargo, beside those of the configuration?
    pub fn is_embargoed(&self, country: Country) -> bool {
        self.embargoed.contains(&country)
    }

    /// What the repository of this former name is called now, if it is known by it at this moment, in Unix seconds.
    pub(super) fn find_alias(&self, name: &RepositoryName, at: i64) -> Option<&RepositoryName> {
        let (repository, expires_at) = self.aliases.get(name.as_str())?;
        expires_at.is_none_or(|it| at < it).then_some(repository)
    }

    /// The continent a country counts to: the operator's redirect, else the map's.
    pub fn continent(&self, country: Country) -> Option<Continent> {
        self.redirects.get(&country).copied().or_else(|| country.continent())
    }
}

impl AliasRow {
    /// `None` for what is no repository's name: the database's own checks let none in.
    fn entry(&self) -> Option<(String, (RepositoryName, Option<i64>))> {
        Some((self.alias.clone(), (self.repository.parse().ok()?, self.expires_at)))
    }
}

impl HostRow {
    fn candidate(&self, index: u32) -> Candidate {
        let bandwidth = counted_bandwidth(self.bandwidth);
        let urls = || self.categories.iter().flat_map(|it| &it.urls);
        let (ipv4, ipv6) = (urls().any(|it| it.ipv4 == Reach::Up), urls().any(|it| it.ipv6 == Reach::Up));
        Candidate {
            id: self.id.0,
            index,
            bandwidth,
            ipv4,
            ipv6,
            kept: self.kept,
            clean_since: self.clean_since,
        }
    }

    /// Its own place, else the middle of its country.
    pub fn located(&self) -> Option<Place> {
        self.place.or_else(|| self.country.and_then(Country::place))
    }
}
