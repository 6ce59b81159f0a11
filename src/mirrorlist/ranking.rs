use std::{fmt, net::IpAddr};

use serde::Serialize;

use super::{
    client::Client,
    hosts::Candidate,
    rows::{HostCategoryRow, HostRow, HostUrlRow},
    snapshot::Snapshot,
};
use crate::mirror::{Country, Reach, Scheme};

/// Hosts all over the world join a list only while nearer ones are fewer than this.
pub const MINIMUM: usize = 5;

/// What a crawl found counts for so long, in seconds: 7 days.
pub const HOLDINGS_AGE: i64 = 7 * 24 * 60 * 60;

/// So far away, in kilometres, a host weighs half of what it does next door.
const HALVING_DISTANCE: f64 = 1000.0;

/// How a host came to be near a client. Earlier ones go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// The client is in one of its netblocks.
    Netblock,
    /// The client is in its autonomous system, or in a peer's.
    Asn,
    /// Both are in one country.
    Country,
    /// Both are on one continent.
    Continent,
    /// Somewhere in the world.
    Global,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Netblock => "netblock",
            Self::Asn => "asn",
            Self::Country => "country",
            Self::Continent => "continent",
            Self::Global => "global",
        })
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Through which repository: one client stays with one host for a whole image.
    pub repository: &'a str,
    /// The blob's number.
    pub number: u32,
    /// So many hosts are enough.
    pub most: usize,
}

/// A host that a client can be sent to.
#[derive(Clone, Copy, Debug)]
pub struct Offer<'a> {
    /// The host.
    pub host: &'a HostRow,
    /// Its opt-in that has the blob.
    pub category: &'a HostCategoryRow,
    /// Where it carries that category.
    pub url: &'a HostUrlRow,
    /// How it came to be near.
    pub class: Class,
    /// From client to host in kilometres, where both places are known.
    pub distance: Option<f64>,
    /// The lower, the earlier inside its class.
    pub score: f64,
}

/// Why a host is not offered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "reason", content = "detail")]
pub enum Exclusion {
    /// Its own admins switched host or site off.
    UserOff,
    /// The operators switched host or site off.
    AdminOff,
    /// The crawler switched it off.
    AutoOff(String),
    /// Taken out of all answers for a while.
    Drained,
    /// The endpoint avoids its site.
    AvoidedSite,
    /// The endpoint names other countries.
    OutsideEndpoint,
    /// It opted in to no category that has the blob.
    NotOptedIn,
    /// It opted in, and no crawl has looked at it yet.
    NotCrawled,
    /// The last crawl did not find the blob there.
    LacksBlob,
    /// The last crawl that found the blob there is too long ago.
    Outdated,
    /// None of its URLs has a scheme that this client may be sent to.
    Scheme,
    /// Its URL does not answer by the client's address family.
    Down,
    /// Its URL was never seen to answer.
    Unproven,
    /// It is private, and the client is in none of its netblocks and autonomous systems.
    Private,
    /// It serves other countries only.
    CountryNotAllowed,
    /// Enough nearer hosts were found.
    NotNeeded,
}

impl fmt::Display for Exclusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UserOff => "switched off by its admins",
            Self::AdminOff => "switched off by the operators",
            Self::AutoOff(reason) => return write!(f, "switched off by the crawler: {reason}"),
            Self::Drained => "drained",
            Self::AvoidedSite => "the endpoint avoids its site",
            Self::OutsideEndpoint => "the endpoint names other countries",
            Self::NotOptedIn => "not opted in to a category that has this",
            Self::NotCrawled => "not crawled yet",
            Self::LacksBlob => "the last crawl did not find this there",
            Self::Outdated => "the last good crawl is more than 7 days ago",
            Self::Scheme => "has no https URL",
            Self::Down => "does not answer by the client's address family",
            Self::Unproven => "was never seen to answer",
            Self::Private => "private, and the client is not in its networks",
            Self::CountryNotAllowed => "serves other countries only",
            Self::NotNeeded => "far away, and enough nearer hosts were found",
        })
    }
}

/// The hosts that a client can be sent to for a blob, best first; `docs/request-handling.md` has the
/// rules in words. The same question has the same answer.
pub fn rank<'a>(snapshot: &'a Snapshot, client: &Client<'_>, wanted: &Wanted<'_>) -> Vec<Offer<'a>> {
    // A host of which it is not known that it answers by the client's address family is better than
    // none, and worse than any of which it is: a client with IPv6 only could not reach it at all.
    let (mut offers, mut unproven) = (Vec::<Offer<'a>>::new(), Vec::<Offer<'a>>::new());
    let question = question(client.network(), wanted.repository);
    for (class, group) in groups(snapshot, client) {
        if offers.len() >= wanted.most || (class == Class::Global && offers.len() >= MINIMUM) {
            break;
        }
        let mut best = Best::new(wanted.most - offers.len());
        let mut others = Best::new(wanted.most.saturating_sub(unproven.len()));
        let mut hurdles = [Hurdle::default(), Hurdle::default()];
        for candidate in group {
            let drawn = draw(question, candidate.id);
            let is_proven = if client.address.is_ipv4() { candidate.ipv4 } else { candidate.ipv6 };
            let height = if is_proven {
                hurdles[0].height(best.worst(), candidate.bandwidth)
            } else {
                // Once there are enough of the best, nobody needs others.
                hurdles[1].height(others.worst().min(best.worst()), candidate.bandwidth)
            };
            if drawn < height {
                continue;
            }
            let host = &snapshot.hosts.list()[candidate.index as usize];
            // What leaves a host out of a near class leaves it out of every farther one, too.
            let is_taken = || offers.iter().chain(&unproven).any(|it| it.host.id == host.id);
            if trim(host, client, class).is_none()
                && !is_taken()
                && let Ok((category, url)) = examine(snapshot, client, wanted.number, host)
            {
                let list = if reach(url, client.address) == Reach::Up { &mut best } else { &mut others };
                list.insert(Offer::new(candidate, drawn, host, category, url, class, client));
            }
        }
        offers.append(&mut best.offers);
        unproven.append(&mut others.offers);
    }
    offers.append(&mut unproven);
    offers.truncate(wanted.most);
    offers
}

/// The best hosts of a class, in order, and no more than are needed.
struct Best<'a> {
    most: usize,
    offers: Vec<Offer<'a>>,
}

impl<'a> Best<'a> {
    fn new(most: usize) -> Self {
        Self { most, offers: Vec::new() }
    }

    fn insert(&mut self, offer: Offer<'a>) {
        let at = self.offers.partition_point(|it| it.order(&offer).is_lt());
        if at < self.most {
            self.offers.truncate(self.most - 1);
            self.offers.insert(at, offer);
        }
    }

    /// What a host has to be better than.
    fn worst(&self) -> f64 {
        let last = self.offers.last().filter(|_| self.offers.len() >= self.most);
        last.map_or(f64::INFINITY, |it| it.score)
    }
}

/// What a host of some bandwidth must draw to have a good enough score. Groups begin with the greatest
/// bandwidth, and once the best are found they seldom change: nearly all of a large group is passed over by one
/// comparison, and the answer is the same.
#[derive(Default)]
struct Hurdle {
    score: f64,
    bandwidth: u32,
    height: u64,
}

impl Hurdle {
    fn height(&mut self, score: f64, bandwidth: u32) -> u64 {
        if (score, bandwidth) != (self.score, self.bandwidth) {
            // A little lower than exact, for rounding.
            let least = (-score * f64::from(bandwidth)).exp() * (1.0 - 1e-9);
            *self = Self { score, bandwidth, height: (least * DRAWS) as u64 };
        }
        self.height
    }
}

/// The same, and for every host that is not in it the reason.
pub fn explain<'a>(
    snapshot: &'a Snapshot,
    client: &Client<'_>,
    wanted: &Wanted<'_>,
) -> (Vec<Offer<'a>>, Vec<(&'a HostRow, Exclusion)>) {
    let offers = rank(snapshot, client, &Wanted { most: usize::MAX, ..*wanted });
    let is_offered = |host: &HostRow| offers.iter().any(|it| it.host.id == host.id);
    let reason = |host| match examine(snapshot, client, wanted.number, host) {
        Err(reason) => reason,
        Ok(_) => trim(host, client, Class::Global).unwrap_or(Exclusion::NotNeeded),
    };
    let hosts = snapshot.hosts.list().iter().filter(|it| !is_offered(it));
    let left_out = hosts.map(|host| (host, reason(host))).collect();
    (offers, left_out)
}

/// All classes, nearest first, and the hosts in each. A netblock is a class of its own; longer ones go first.
fn groups<'a>(snapshot: &'a Snapshot, client: &Client<'_>) -> impl Iterator<Item = (Class, &'a [Candidate])> {
    let hosts = &*snapshot.hosts;
    let netblocks = hosts.in_netblocks(client.address).into_iter().map(|it| (Class::Netblock, it.as_slice()));
    let asn = client.asn.map(|it| (Class::Asn, hosts.in_asn(it)));
    let country = client.country.map(|it| (Class::Country, hosts.in_country(it)));
    let continent = client.continent.map(|it| (Class::Continent, hosts.in_continent(it)));
    netblocks.chain(asn).chain(country).chain(continent).chain([(Class::Global, hosts.candidates())])
}

/// Why a host does not serve a client that is near in this way only. Its own netblocks and
/// autonomous systems are never trimmed.
fn trim(host: &HostRow, client: &Client<'_>, class: Class) -> Option<Exclusion> {
    if class <= Class::Asn {
        return None;
    }
    if host.private {
        return Some(Exclusion::Private);
    }
    let is_allowed = |country: Country| host.countries_allowed.contains(&country);
    let allowed = host.countries_allowed.is_empty() || client.country.is_some_and(is_allowed);
    (!allowed).then_some(Exclusion::CountryNotAllowed)
}

/// Can this host serve the blob to this client at all, and under which URL?
fn examine<'a>(
    snapshot: &Snapshot,
    client: &Client<'_>,
    number: u32,
    host: &'a HostRow,
) -> Result<(&'a HostCategoryRow, &'a HostUrlRow), Exclusion> {
    is_switched_on(host)?;
    suits_policy(host, client)?;
    let category = find_holding(snapshot, client.at, number, host)?;
    Ok((category, choose_url(category, client)?))
}

fn is_switched_on(host: &HostRow) -> Result<(), Exclusion> {
    match &host.auto_disabled {
        _ if !host.user_active => Err(Exclusion::UserOff),
        _ if !host.admin_active => Err(Exclusion::AdminOff),
        Some(reason) => Err(Exclusion::AutoOff(reason.clone())),
        None if host.drained => Err(Exclusion::Drained),
        None => Ok(()),
    }
}

fn suits_policy(host: &HostRow, client: &Client<'_>) -> Result<(), Exclusion> {
    let policy = client.policy;
    if policy.avoided_sites.contains(&host.site_name) {
        return Err(Exclusion::AvoidedSite);
    }
    let named = policy.countries.is_empty() || host.country.is_some_and(|it| policy.countries.contains(&it));
    if named { Ok(()) } else { Err(Exclusion::OutsideEndpoint) }
}

/// The opt-in under which the host was found, not too long ago, to hold the blob.
fn find_holding<'a>(
    snapshot: &Snapshot,
    at: i64,
    number: u32,
    host: &'a HostRow,
) -> Result<&'a HostCategoryRow, Exclusion> {
    // A category that no longer has the blob says nothing: its mirrors delete it with their next rsync.
    let mut nearest = Exclusion::NotOptedIn;
    for category in host.categories.iter().filter(|it| snapshot.content.category_has(it.category, number)) {
        nearest = match snapshot.holdings.find(category.id) {
            Some(holding) if !holding.blobs.contains(number) => Exclusion::LacksBlob,
            Some(holding) if at - holding.crawled_at > HOLDINGS_AGE => Exclusion::Outdated,
            Some(_) => return Ok(category),
            None => Exclusion::NotCrawled,
        };
    }
    Err(nearest)
}

/// HTTPS before HTTP, and a URL that answers by the client's address family before one of which that
/// is not known. One that answers by no family, or not by the client's, is no choice.
fn choose_url<'a>(category: &'a HostCategoryRow, client: &Client<'_>) -> Result<&'a HostUrlRow, Exclusion> {
    let policy = client.policy;
    let takes_http = !policy.https_only && (client.scheme == Scheme::Http || policy.http_mirrors);
    let suits = |url: &&HostUrlRow| url.scheme == Scheme::Https || takes_http;
    let is_proven = |url: &&HostUrlRow| url.ipv4 == Reach::Up || url.ipv6 == Reach::Up;
    let suited = || category.urls.iter().filter(suits);
    if suited().next().is_none() {
        return Err(Exclusion::Scheme);
    }
    let usable = suited().filter(|url| reach(url, client.address) != Reach::Down && is_proven(url));
    let preference = |url: &&HostUrlRow| (reach(url, client.address) != Reach::Up, url.scheme, url.id);
    usable.min_by_key(preference).ok_or_else(|| {
        let is_down = suited().any(|url| reach(url, client.address) == Reach::Down);
        if is_down { Exclusion::Down } else { Exclusion::Unproven }
    })
}

fn reach(url: &HostUrlRow, client: IpAddr) -> Reach {
    if client.is_ipv4() { url.ipv4 } else { url.ipv6 }
}

impl<'a> Offer<'a> {
    fn new(
        candidate: &Candidate,
        drawn: u64,
        host: &'a HostRow,
        category: &'a HostCategoryRow,
        url: &'a HostUrlRow,
        class: Class,
        client: &Client<'_>,
    ) -> Self {
        let distance = client.place.zip(host.located()).map(|(from, to)| from.distance(to));
        let score = -(drawn as f64 / DRAWS).ln() / weight(candidate.bandwidth, distance);
        Self { host, category, url, class, distance, score }
    }

    fn order(&self, other: &Self) -> std::cmp::Ordering {
        self.score.total_cmp(&other.score).then(self.host.id.cmp(&other.host.id))
    }
}

/// What a host's share of its class is measured by: never more than its bandwidth.
fn weight(bandwidth: u32, distance: Option<f64>) -> f64 {
    f64::from(bandwidth) / (1.0 + distance.unwrap_or(0.0) / HALVING_DISTANCE)
}

/// One number for what the choice depends on, besides the host (FNV-1a, 64 bits).
fn question(network: IpAddr, repository: &str) -> u64 {
    let address = match network {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    let bytes = address.octets().into_iter().chain(repository.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// So many different numbers are drawn: the integers that an f64 holds exactly.
const DRAWS: f64 = (1u64 << 53) as f64;

/// A number from 1 to [`DRAWS`] that is as good as drawn for this question and host, and always the
/// same: rendezvous hashing (Thaler and Ravishankar 1998), mixed by SplitMix64.
fn draw(question: u64, host: i64) -> u64 {
    let mut mixed = question ^ host.cast_unsigned().wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    (mixed >> 11) + 1
}

#[cfg(test)]
mod tests;
