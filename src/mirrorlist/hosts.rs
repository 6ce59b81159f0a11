use std::{collections::HashMap, net::IpAddr};

use super::{
    netblocks::NetblockMap,
    rows::{HostRow, HostRows},
};
use crate::mirror::{Continent, Country, Netblock, Place};

/// Who could serve, ready to be asked. Hosts are named by their index.
#[derive(Debug, Default)]
pub struct Hosts {
    rows: HostRows,
    indices: Vec<u32>,
    by_netblock: NetblockMap<Vec<u32>>,
    by_asn: HashMap<u32, Vec<u32>>,
    by_country: HashMap<Country, Vec<u32>>,
    by_continent: HashMap<Continent, Vec<u32>>,
    countries: NetblockMap<Option<Country>>,
    redirects: HashMap<Country, Continent>,
}

impl Hosts {
    /// Builds the indexes. A netblock that cannot be read is passed over: the database's own checks
    /// let none in, and one bad row must not stop all others.
    pub fn new(rows: HostRows) -> Self {
        let mut hosts =
            Self { redirects: rows.continent_redirects.iter().copied().collect(), ..Self::default() };
        for (netblock, country) in &rows.netblock_countries {
            if let Ok(netblock) = netblock.parse::<Netblock>() {
                *hosts.countries.entry(netblock.network()) = Some(*country);
            }
        }
        for (index, host) in (0u32..).zip(&rows.hosts) {
            hosts.indices.push(index);
            hosts.add(index, host);
        }
        hosts.rows = rows;
        hosts
    }

    fn add(&mut self, index: u32, host: &HostRow) {
        for netblock in host.netblocks.iter().filter_map(|it| it.parse::<Netblock>().ok()) {
            self.by_netblock.entry(netblock.network()).push(index);
        }
        let own_asn = host.asn.filter(|_| host.asn_clients);
        let peer_asns = host.peer_asns.iter().copied().filter(|it| Some(*it) != own_asn);
        for asn in own_asn.into_iter().chain(peer_asns) {
            self.by_asn.entry(asn).or_default().push(index);
        }
        if let Some(country) = host.country {
            self.by_country.entry(country).or_default().push(index);
            if let Some(continent) = self.continent(country) {
                self.by_continent.entry(continent).or_default().push(index);
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

    /// The indices of all hosts.
    pub fn indices(&self) -> &[u32] {
        &self.indices
    }

    /// Those that want this address's clients first; one list a netblock, longest netblock first.
    pub fn in_netblocks(&self, address: IpAddr) -> Vec<&Vec<u32>> {
        self.by_netblock.list(address)
    }

    /// Those that want the clients of this autonomous system first: their own, or a peer.
    pub fn in_asn(&self, asn: u32) -> &[u32] {
        self.by_asn.get(&asn).map_or(&[], Vec::as_slice)
    }

    /// Those in this country.
    pub fn in_country(&self, country: Country) -> &[u32] {
        self.by_country.get(&country).map_or(&[], Vec::as_slice)
    }

    /// Those in this continent, its redirects included.
    pub fn in_continent(&self, continent: Continent) -> &[u32] {
        self.by_continent.get(&continent).map_or(&[], Vec::as_slice)
    }

    /// The country that the operator gave to the address's network.
    pub fn find_country(&self, address: IpAddr) -> Option<Country> {
        self.countries.find(address).copied().flatten()
    }

    /// The continent a country counts to: the operator's redirect, else the map's.
    pub fn continent(&self, country: Country) -> Option<Continent> {
        self.redirects.get(&country).copied().or_else(|| country.continent())
    }
}

impl HostRow {
    /// Its own place, else the middle of its country.
    pub fn located(&self) -> Option<Place> {
        self.place.or_else(|| self.country.and_then(Country::place))
    }
}
