//! A network of volunteers and its clients, from a seed.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use portolan::{
    geoip::{self, GeoIp},
    mirror::{
        CategoryId, Country, HostCategoryId, HostCategoryUrlId, HostId, HostKind, Netblock, Place, Reach,
        Scheme, SiteId,
    },
    mirrorlist::{
        Client, Content, Holdings, Hosts, Location, Policy, Snapshot,
        rows::{
            BlobKind, BlobRow, CategoryRow, ContentRows, HoldingRow, HoldingRows, HostCategoryRow, HostRow,
            HostRows, HostUrlRow, MovedTagRow, RepositoryRow,
        },
    },
};
use roaring::RoaringBitmap;

/// Of a hundred clients: assumed, after who uses Linux where; the rest of the world is left out.
const CLIENTS: [(&str, usize); 24] = [
    ("US", 25),
    ("CN", 9),
    ("DE", 9),
    ("IN", 7),
    ("FR", 5),
    ("GB", 5),
    ("JP", 5),
    ("BR", 5),
    ("NL", 3),
    ("CA", 3),
    ("RU", 3),
    ("KR", 2),
    ("IT", 2),
    ("ES", 2),
    ("PL", 2),
    ("AU", 2),
    ("SE", 2),
    ("SG", 2),
    ("ID", 2),
    ("AR", 1),
    ("ZA", 1),
    ("TR", 1),
    ("VN", 1),
    ("EG", 1),
];

/// Of a hundred hosts: assumed, as volunteers' networks are: many in few countries, and none in some (EG, TR, VN).
const HOSTS: [(&str, usize); 23] = [
    ("US", 26),
    ("DE", 13),
    ("FR", 7),
    ("GB", 5),
    ("CN", 5),
    ("JP", 4),
    ("BR", 4),
    ("NL", 4),
    ("CA", 4),
    ("SE", 3),
    ("PL", 3),
    ("IT", 3),
    ("CZ", 3),
    ("RU", 3),
    ("AU", 2),
    ("KR", 2),
    ("ES", 2),
    ("IN", 2),
    ("ID", 1),
    ("ZA", 1),
    ("AR", 1),
    ("SG", 1),
    ("CH", 1),
];

/// Bandwidths in Mbit/s, the more often the more hosts have it.
const BANDWIDTHS: [u32; 10] = [100, 100, 1_000, 1_000, 1_000, 1_000, 10_000, 10_000, 20_000, 100_000];

/// What ranking counts of a bandwidth at most, as `docs/request-handling.md` says.
const MOST_BANDWIDTH: u32 = 10_000;

/// Sizes of an image's layers, in bytes.
pub(crate) const LAYERS: [u64; 4] = [60_000_000, 25_000_000, 8_000_000, 2_000_000];

/// The seconds of a day, and the day it is: Unix seconds.
pub(crate) const DAY: i64 = 86_400;
pub(crate) const MIDNIGHT: i64 = 1_700_006_400;

/// When the release comes.
pub(crate) const RELEASE: i64 = MIDNIGHT + DAY / 2;

/// SplitMix64: the same numbers for the same seed, everywhere.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    /// Above 0, and 1 at most.
    pub(crate) fn share(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / (1u64 << 53) as f64
    }
}

/// How large a world is, and what is known of places in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) clients: usize,
    pub(crate) hosts: usize,
    pub(crate) seed: u64,
    /// Clients and hosts are placed in their countries; else all stand in the middle, as the embedded database has it.
    pub(crate) with_places: bool,
}

/// Who asks.
pub(crate) struct Person {
    pub(crate) address: Ipv4Addr,
    pub(crate) location: Location,
}

/// Hosts and clients, before anything is known of them.
pub(crate) struct World {
    pub(crate) people: Vec<Person>,
    pub(crate) hosts: Vec<HostRow>,
    /// Of each host.
    netblocks: Vec<Vec<Netblock>>,
    /// Of each person to each host, in kilometres.
    distances: Vec<f32>,
    policy: Policy,
}

/// What is known of the hosts at a moment.
pub(crate) struct Known {
    pub(crate) up: Vec<bool>,
    /// Holds the release.
    pub(crate) synced: Vec<bool>,
    pub(crate) released: bool,
}

impl World {
    pub(crate) fn make(shape: Shape) -> Self {
        let mut dice = Dice(shape.seed);
        let mut addresses = addresses(&mut dice, shape);
        let mut draw = |table: &[(&str, usize)], number: usize, of: usize, dice: &mut Dice| {
            let country = spread(table, number, of);
            let all = addresses.get_mut(&country).expect("every country has addresses");
            // No two have the same: who pulls what another did within a minute would look like a failure.
            let address = all.swap_remove(dice.below(all.len()));
            let place = if shape.with_places { place_in(country, dice) } else { country.place() };
            (address, Location { country: Some(country), place, asn: Some(asn(address)) })
        };
        let people: Vec<Person> = (0..shape.clients)
            .map(|it| draw(&CLIENTS, it, shape.clients, &mut dice))
            .map(|(address, location)| Person { address, location })
            .collect();
        let hosts: Vec<HostRow> = (0..shape.hosts)
            .map(|number| {
                let (address, location) = draw(&HOSTS, number, shape.hosts, &mut dice);
                host(number, address, location, &mut dice)
            })
            .collect();
        let distance = |person: &Person, host: &HostRow| {
            let (from, to) = (person.location.place?, host.located()?);
            Some(from.distance(to) as f32)
        };
        let distances = people
            .iter()
            .flat_map(|person| hosts.iter().map(move |it| distance(person, it).unwrap_or_default()))
            .collect();
        let netblock = |it: &String| it.parse().expect("a netblock");
        let netblocks = hosts.iter().map(|it| it.netblocks.iter().map(netblock).collect()).collect();
        Self { people, hosts, netblocks, distances, policy: Policy::default() }
    }

    pub(crate) fn distance(&self, person: usize, host: usize) -> f64 {
        f64::from(self.distances[person * self.hosts.len() + host])
    }

    /// Is a person in one of a host's netblocks?
    pub(crate) fn is_inside(&self, person: usize, host: usize) -> bool {
        let address = IpAddr::V4(self.people[person].address);
        self.netblocks[host].iter().any(|it| it.network().contains(&address))
    }

    pub(crate) fn known(&self) -> Known {
        let count = self.hosts.len();
        Known { up: vec![true; count], synced: vec![false; count], released: false }
    }

    /// As a server has it.
    pub(crate) fn snapshot(&self, known: &Known, at: i64) -> Snapshot {
        let mut snapshot = Snapshot {
            content: Arc::new(Content::new(content(known.released)).expect("the content is whole")),
            ..Snapshot::default()
        };
        self.refresh(&mut snapshot, known, at);
        snapshot
    }

    /// Brings what is known of the hosts into a snapshot.
    pub(crate) fn refresh(&self, snapshot: &mut Snapshot, known: &Known, at: i64) {
        let holding = |(number, synced): (usize, &bool)| HoldingRow {
            host_category: HostCategoryId(number as i64),
            set: u32::from(*synced),
            crawled_at: at,
        };
        let rows = HoldingRows {
            generation: 1,
            sets: vec![set(1..=former_end()), set(1..=2 * former_end())],
            holdings: known.synced.iter().enumerate().map(holding).collect(),
        };
        snapshot.holdings = Arc::new(Holdings::new(rows).expect("the holdings are whole"));
        let mut hosts = self.hosts.clone();
        for (host, up) in hosts.iter_mut().zip(&known.up) {
            host.categories[0].urls[0].ipv4 = if *up { Reach::Up } else { Reach::Down };
        }
        snapshot.hosts = Arc::new(Hosts::new(HostRows { generation: 1, hosts, ..HostRows::default() }));
    }

    pub(crate) fn client<'a>(&'a self, snapshot: &Snapshot, person: usize, at: i64) -> Client<'a> {
        let person = &self.people[person];
        Client::new(&snapshot.hosts, person.address.into(), person.location, Scheme::Https, at, &self.policy)
    }
}

/// What counts of a host's bandwidth.
pub(crate) fn counted(host: &HostRow) -> f64 {
    f64::from(host.bandwidth.unwrap_or(100).clamp(1, MOST_BANDWIDTH))
}

/// The country at a place of a hundred.
fn spread(table: &[(&str, usize)], number: usize, of: usize) -> Country {
    let all: usize = table.iter().map(|it| it.1).sum();
    let mut place = number * all / of;
    for (country, share) in table {
        if place < *share {
            return country.parse().expect("a country");
        }
        place -= share;
    }
    table[0].0.parse().expect("a country")
}

/// Addresses of each country by the embedded database, drawn from all of IPv4.
fn addresses(dice: &mut Dice, shape: Shape) -> HashMap<Country, Vec<Ipv4Addr>> {
    let geoip = GeoIp::open(&geoip::Config::default()).expect("the database that is built in");
    let mut found: HashMap<Country, Vec<Ipv4Addr>> = HashMap::new();
    // So many that small countries have enough networks, too.
    for _ in 0..shape.clients * 20 + 20_000 {
        let address = Ipv4Addr::from((dice.next() >> 32) as u32);
        let first = address.octets()[0];
        if (1..224).contains(&first)
            && ![10, 127].contains(&first)
            && let Some(country) = geoip.find(address.into()).country
        {
            found.entry(country).or_default().push(address);
        }
    }
    found
}

/// The embedded database knows none: one for each /14.
fn asn(address: Ipv4Addr) -> u32 {
    (u32::from(address) >> 18) + 64_512
}

/// Somewhere around the middle of a country: farther away in large ones.
fn place_in(country: Country, dice: &mut Dice) -> Option<Place> {
    let middle = country.place()?;
    let large = ["US", "CA", "RU", "CN", "BR", "AU", "IN"].contains(&country.as_str());
    let (north, east) = if large { (8.0, 18.0) } else { (2.0, 2.5) };
    let mut around = |middle: f64, most: f64| middle + most * (2.0 * dice.share() - 1.0);
    Place::new(around(middle.latitude(), north), around(middle.longitude(), east)).ok().or(Some(middle))
}

/// One of four wants the clients of its own /16, and one of five has an autonomous system.
fn host(number: usize, address: Ipv4Addr, location: Location, dice: &mut Dice) -> HostRow {
    let netblock =
        (dice.below(4) == 0).then(|| format!("{}/16", Ipv4Addr::from(u32::from(address) >> 16 << 16)));
    let url = HostUrlRow {
        id: HostCategoryUrlId(number as i64),
        url: format!("https://mirror-{number}.example.org/containers"),
        scheme: Scheme::Https,
        ipv4: Reach::Up,
        ipv6: Reach::Unknown,
    };
    let category = HostCategoryRow {
        id: HostCategoryId(number as i64),
        category: CategoryId(1),
        drained: false,
        urls: vec![url],
    };
    HostRow {
        id: HostId(number as i64),
        name: format!("mirror-{number}.example.org"),
        site: SiteId(number as i64),
        site_name: format!("site {number}"),
        country: location.country,
        place: location.place,
        asn: location.asn.filter(|_| dice.below(5) == 0),
        asn_clients: true,
        peer_asns: Vec::new(),
        bandwidth: Some(BANDWIDTHS[dice.below(BANDWIDTHS.len())]),
        private: false,
        user_active: true,
        admin_active: true,
        auto_disabled: None,
        drained: false,
        netblocks: netblock.into_iter().collect(),
        countries_allowed: Vec::new(),
        countries_denied: Vec::new(),
        kind: HostKind::Static,
        client_share: 100,
        daily_bytes: None,
        max_file_size: None,
        clean_since: 0,
        kept: 1_000,
        demoted: Vec::new(),
        categories: vec![category],
    }
}

/// The last number of the former image: its layers, then its manifest.
pub(crate) fn former_end() -> u32 {
    LAYERS.len() as u32 + 1
}

fn set(numbers: impl IntoIterator<Item = u32>) -> Vec<u8> {
    let mut bytes = Vec::new();
    numbers
        .into_iter()
        .collect::<RoaringBitmap>()
        .serialize_into(&mut bytes)
        .expect("memory takes everything");
    bytes
}

/// One tag; its image, and after the release the new one, too.
fn content(released: bool) -> ContentRows {
    let blob = |number: u32| {
        let place = (number as usize - 1) % (LAYERS.len() + 1);
        let (size, kind) =
            LAYERS.get(place).map_or((1_000, BlobKind::OciManifest), |it| (*it, BlobKind::Blob));
        BlobRow { digest: [number as u8; 32], number, size, kind }
    };
    let (former, end) = (former_end(), if released { 2 * former_end() } else { former_end() });
    let moved = MovedTagRow {
        repository: "fedora".to_owned(),
        tag: "latest".to_owned(),
        former: [former as u8; 32],
        moved_at: RELEASE,
        category: CategoryId(1),
        new_blobs: set(former + 1..=end),
    };
    let category =
        CategoryRow { id: CategoryId(1), name: "containers".to_owned(), serial: 1, blobs: set(1..=end) };
    ContentRows {
        generation: 1,
        blobs: (1..=end).map(blob).collect(),
        repositories: vec![RepositoryRow {
            name: "fedora".to_owned(),
            tags: vec![("latest".to_owned(), [end as u8; 32])],
        }],
        referrers: Vec::new(),
        categories: vec![category],
        moved_tags: if released { vec![moved] } else { Vec::new() },
    }
}
