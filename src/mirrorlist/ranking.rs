use std::{cell::LazyCell, cmp::Ordering, fmt, net::IpAddr};

use serde::Serialize;

use super::{
    client::Client,
    hosts::Candidate,
    load::ALL,
    rows::{HostCategoryRow, HostRow, HostUrlRow},
    snapshot::Snapshot,
};
use crate::mirror::{CategoryId, Country, HostId, HostKind, Point, Reach, Region};

/// Hosts all over the world join a list only while nearer ones are fewer than this.
pub const MINIMUM: usize = 5;

/// What a crawl found counts for so long, in seconds: 7 days.
pub const HOLDINGS_AGE: i64 = 7 * 24 * 60 * 60;

/// So far away, in kilometres, a host weighs half of what it does next door.
const HALVING_DISTANCE: f64 = 1000.0;

/// The share of the clients that new hosts are for in their first 24 hours, whatever bandwidth they say they have.
const FIRST_SHARE: f64 = 0.05;

/// So long it is for no more of them, in seconds: 24 hours.
const FIRST_TIME: i64 = 24 * 60 * 60;

/// After so many seconds without a lie a host is for all clients: 5 days.
const RAMP: i64 = 5 * 24 * 60 * 60;

/// What the score of a host that is too new for a client is raised by: more than the score of any that is not, which is
/// at most 37 for the smallest host, and 21 times that on the other side of the world.
const TOO_NEW: f64 = 1e4;

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
    /// The blob's size, in bytes.
    pub size: u64,
    /// So many hosts are enough.
    pub most: usize,
}

/// A host that a client can be sent to.
#[derive(Clone, Copy, Debug)]
pub struct Offer<'a> {
    /// The host.
    pub host: &'a HostRow,
    /// Its place among all.
    index: u32,
    /// Its opt-in that has the blob.
    pub category: &'a HostCategoryRow,
    /// Where it carries that category.
    pub url: &'a HostUrlRow,
    /// How it came to be near.
    pub class: Class,
    /// Before or after all classes.
    pub turn: Turn,
    /// From client to host in kilometres, where both places are known.
    pub distance: Option<f64>,
    /// The lower, the earlier inside its class. Of a host that is too new for the client it is more than of all others.
    pub score: f64,
}

/// What goes before the classes: hosts of an earlier turn come first, however far away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Turn {
    /// It is known to answer by the client's address family.
    Proven,
    /// So is this one; but more clients are near to it than its bandwidth carries, and this is one of those who
    /// go farther if they can.
    Crowded,
    /// It is known to answer by the other family only. A client with IPv6 alone could not reach it.
    Unproven,
    /// A CDN: paid for, so only when no other host can serve.
    Spill,
}

impl Turn {
    const COUNT: usize = 4;

    fn of(is_proven: bool, is_crowded: bool) -> Self {
        match (is_proven, is_crowded) {
            (true, false) => Self::Proven,
            (true, true) => Self::Crowded,
            (false, _) => Self::Unproven,
        }
    }
}

impl fmt::Display for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Proven => "proven",
            Self::Crowded => "crowded",
            Self::Unproven => "unproven",
            Self::Spill => "spill",
        })
    }
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
    /// It stands in a country that the operators have nothing to do with.
    Embargoed,
    /// The endpoint avoids its site.
    AvoidedSite,
    /// The endpoint names other countries.
    OutsideEndpoint,
    /// The endpoint takes CDNs only.
    NotCdn,
    /// It takes no files of this size.
    TooLarge,
    /// This server has sent to it all that it may today.
    Spent,
    /// It serves a share of the clients, and this one is not among them.
    NotInShare,
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
    /// It does not serve the client's country.
    CountryDenied,
    /// It failed too many clients of the client's country or autonomous system.
    Demoted,
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
            Self::Embargoed => "stands in a country under embargo",
            Self::AvoidedSite => "the endpoint avoids its site",
            Self::OutsideEndpoint => "the endpoint names other countries",
            Self::NotCdn => "the endpoint takes CDNs only",
            Self::TooLarge => "takes no files of this size",
            Self::Spent => "was sent all that it takes in a day",
            Self::NotInShare => "serves a share of the clients, and this one is not among them",
            Self::NotOptedIn => "not opted in to a category that has this",
            Self::NotCrawled => "not crawled yet",
            Self::LacksBlob => "the last crawl did not find this there",
            Self::Outdated => "the last good crawl is more than 7 days ago",
            Self::Scheme => "has no https URL",
            Self::Down => "does not answer by the client's address family",
            Self::Unproven => "was never seen to answer",
            Self::Private => "private, and the client is not in its networks",
            Self::CountryNotAllowed => "serves other countries only",
            Self::CountryDenied => "does not serve the client's country",
            Self::Demoted => "failed too many clients of this country or autonomous system",
            Self::NotNeeded => "far away, and enough nearer hosts were found",
        })
    }
}

/// The hosts that a client can be sent to for a blob, best first; `docs/request-handling.md` has the
/// rules in words. The same question has the same answer.
pub fn rank<'a>(snapshot: &'a Snapshot, client: &Client<'_>, wanted: &Wanted<'_>) -> Vec<Offer<'a>> {
    // A host of which it is not known that it answers by the client's address family is better than
    // none, and worse than any of which it is: a client with IPv6 only could not reach it at all.
    let asked = Asked::new(snapshot, client, wanted);
    let mut turns = Turns::default();
    let crowd = LazyCell::new(|| question(client.network(), "kept"));
    // One place for all new hosts: together they get no more than one would, and between them nothing changes.
    let place = LazyCell::new(|| draw(question(client.network(), "new"), 0) as f64 / DRAWS);
    let question = question(client.network(), wanted.repository);
    for (class, group) in groups(snapshot, client) {
        let proven = turns.count(Turn::Proven);
        if proven >= wanted.most || (class == Class::Global && proven >= MINIMUM) {
            break;
        }
        let mut found = turns.room(wanted.most);
        let mut hurdle = Hurdle::default();
        for candidate in group {
            let drawn = draw(question, candidate.id);
            // Once there are enough of the best, nobody needs others.
            if drawn < hurdle.height(found.worst(Turn::Proven), candidate.bandwidth) {
                continue;
            }
            let is_proven = if client.address.is_ipv4() { candidate.ipv4 } else { candidate.ipv6 };
            let is_crowded = candidate.kept < ALL && class > Class::Asn && !stays(*crowd, candidate);
            let turn = Turn::of(is_proven, is_crowded);
            let worst = found.worst(turn).min(found.worst(Turn::Proven));
            let (mut score, distance) = asked.score(candidate, drawn);
            let earned = ramp(candidate.clean_since, client.at);
            if earned < 1.0 && *place > earned {
                score += TOO_NEW;
            }
            // What leaves a host out of a near class leaves it out of every farther one, too.
            if score <= worst
                && !turns.has(candidate.index)
                && let Some(mut offer) = asked.offer(candidate.index, class)
            {
                (offer.score, offer.distance) = (score, distance);
                if is_crowded && offer.turn == Turn::Proven {
                    offer.turn = Turn::Crowded;
                }
                found.insert(offer);
            }
        }
        turns.append(found);
    }
    let [mut offers, later @ ..] = turns.offers;
    later.into_iter().for_each(|mut it| offers.append(&mut it));
    offers.truncate(wanted.most);
    offers
}

/// Is this one of the clients who stay with a host that has too many? By the client's network alone: one client
/// stays or goes, whatever it asks for.
fn stays(crowd: u64, candidate: &Candidate) -> bool {
    draw(crowd, candidate.id) as f64 / DRAWS * f64::from(ALL) <= f64::from(candidate.kept)
}

/// Offers by their turn, nearer classes first.
#[derive(Default)]
struct Turns<'a> {
    offers: [Vec<Offer<'a>>; Turn::COUNT],
    /// For each host up to the last of them: was it found in a class before?
    has: Vec<bool>,
}

impl<'a> Turns<'a> {
    /// For the hosts of one more class, when so many are wanted in all.
    fn room(&mut self, most: usize) -> Found<'a> {
        let indexes = || self.offers.iter().flatten().map(|it| it.index as usize);
        self.has.resize(indexes().max().map_or(0, |it| it + 1), false);
        indexes().for_each(|it| self.has[it] = true);
        Found(self.offers.each_ref().map(|it| Best::new(most.saturating_sub(it.len()))))
    }

    fn count(&self, turn: Turn) -> usize {
        self.offers[turn as usize].len()
    }

    fn has(&self, index: u32) -> bool {
        self.has.get(index as usize).is_some_and(|it| *it)
    }

    fn append(&mut self, found: Found<'a>) {
        self.offers.iter_mut().zip(found.0).for_each(|(offers, best)| offers.extend(best.sorted()));
    }
}

/// The best hosts of a class, by their turn.
struct Found<'a>([Best<'a>; Turn::COUNT]);

impl<'a> Found<'a> {
    fn insert(&mut self, offer: Offer<'a>) {
        self.0[offer.turn as usize].insert(offer);
    }

    fn worst(&self, turn: Turn) -> f64 {
        self.0[turn as usize].worst
    }
}

/// The best hosts of a class, and no more than are needed.
struct Best<'a> {
    most: usize,
    /// The score that a host has to be better than.
    worst: f64,
    /// Sorted as soon as there are enough: the best come first.
    order: Vec<Entry>,
    offers: Vec<Offer<'a>>,
}

/// What is moved often is small.
struct Entry {
    score: f64,
    host: HostId,
    /// In `offers`.
    place: usize,
}

impl Entry {
    fn order(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then(self.host.cmp(&other.host))
    }
}

impl<'a> Best<'a> {
    fn new(most: usize) -> Self {
        Self { most, worst: f64::INFINITY, order: Vec::new(), offers: Vec::new() }
    }

    fn insert(&mut self, offer: Offer<'a>) {
        let mut own = Entry { score: offer.score, host: offer.host.id, place: self.offers.len() };
        if self.order.len() < self.most {
            self.order.push(own);
            self.offers.push(offer);
            if self.order.len() == self.most {
                self.order.sort_unstable_by(Entry::order);
            }
        } else if let Some(worst) = self.order.pop_if(|it| own.order(it).is_lt()) {
            own.place = worst.place;
            self.offers[own.place] = offer;
            let at = self.order.partition_point(|it| it.order(&own).is_lt());
            self.order.insert(at, own);
        }
        if let Some(last) = self.order.last().filter(|_| self.order.len() == self.most) {
            self.worst = last.score;
        }
    }

    /// In their order.
    fn sorted(mut self) -> impl Iterator<Item = Offer<'a>> {
        self.order.sort_unstable_by(Entry::order);
        self.order.into_iter().map(move |it| self.offers[it.place])
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
    let asked = Asked::new(snapshot, client, wanted);
    let reason = |host| match asked.examine(host) {
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
    let netblocks = if client.by_network { hosts.in_netblocks(client.address) } else { Vec::new() };
    let netblocks = netblocks.into_iter().map(|it| (Class::Netblock, it.as_slice()));
    let asn = client.asn.filter(|_| client.by_network).map(|it| (Class::Asn, hosts.in_asn(it)));
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
    let is_in = |countries: &[Country]| client.country.is_some_and(|it| countries.contains(&it));
    if !host.countries_allowed.is_empty() && !is_in(&host.countries_allowed) {
        return Some(Exclusion::CountryNotAllowed);
    }
    is_in(&host.countries_denied).then_some(Exclusion::CountryDenied)
}

/// A question, with what it has in common for all hosts.
struct Asked<'a, 'q> {
    snapshot: &'a Snapshot,
    client: &'q Client<'q>,
    wanted: &'q Wanted<'q>,
    /// Where the client is.
    point: Option<Point>,
    /// Those that have the blob.
    categories: Vec<CategoryId>,
}

impl<'a, 'q> Asked<'a, 'q> {
    fn new(snapshot: &'a Snapshot, client: &'q Client<'q>, wanted: &'q Wanted<'q>) -> Self {
        let categories = snapshot.content.categories_of(wanted.number);
        Self { snapshot, client, wanted, point: client.place.map(Point::from), categories }
    }

    /// How early the host comes inside its class, and how far away it is.
    fn score(&self, candidate: &Candidate, drawn: u64) -> (f64, Option<f64>) {
        let point = self.snapshot.hosts.point(candidate);
        let distance = self.point.zip(point).map(|(from, to)| from.distance(to));
        let weight = weight(candidate.bandwidth, distance);
        (-(drawn as f64 / DRAWS).ln() / weight, distance)
    }

    /// The host as it is offered, if it can be; its score and distance are still to come.
    fn offer(&self, index: u32, class: Class) -> Option<Offer<'a>> {
        let host = self.snapshot.hosts.list().get(index as usize)?;
        if trim(host, self.client, class).is_some() {
            return None;
        }
        let (category, url) = self.examine(host).ok()?;
        let turn = match host.kind {
            HostKind::Cdn => Turn::Spill,
            _ if reach(url, self.client.address) == Reach::Up => Turn::Proven,
            _ => Turn::Unproven,
        };
        Some(Offer { host, index, category, url, class, turn, distance: None, score: 0.0 })
    }

    /// Can this host serve the blob to this client at all, and under which URL?
    fn examine<'h>(&self, host: &'h HostRow) -> Result<(&'h HostCategoryRow, &'h HostUrlRow), Exclusion> {
        is_switched_on(host)?;
        suits_policy(self.snapshot, host, self.client)?;
        takes(self.snapshot, self.client, self.wanted, host)?;
        let category = self.find_holding(host)?;
        Ok((category, choose_url(category, self.client)?))
    }

    /// The opt-in under which the host was found, not too long ago, to hold the blob.
    /// A host that fetches what it lacks holds all of its categories by the operator's word.
    fn find_holding<'h>(&self, host: &'h HostRow) -> Result<&'h HostCategoryRow, Exclusion> {
        // A category that no longer has the blob says nothing: its mirrors delete it with their next rsync.
        let mut nearest = Exclusion::NotOptedIn;
        for category in host.categories.iter().filter(|it| self.categories.contains(&it.category)) {
            nearest = match self.snapshot.holdings.find(category.id) {
                _ if category.drained => Exclusion::Drained,
                _ if host.kind != HostKind::Static => return Ok(category),
                Some(holding) if !holding.blobs.contains(self.wanted.number) => Exclusion::LacksBlob,
                Some(holding) if self.client.at - holding.crawled_at > HOLDINGS_AGE => Exclusion::Outdated,
                Some(_) => return Ok(category),
                None => Exclusion::NotCrawled,
            };
        }
        Err(nearest)
    }
}

pub(super) fn is_switched_on(host: &HostRow) -> Result<(), Exclusion> {
    match &host.auto_disabled {
        _ if !host.user_active => Err(Exclusion::UserOff),
        _ if !host.admin_active => Err(Exclusion::AdminOff),
        Some(reason) => Err(Exclusion::AutoOff(reason.clone())),
        None if host.drained => Err(Exclusion::Drained),
        None => Ok(()),
    }
}

fn suits_policy(snapshot: &Snapshot, host: &HostRow, client: &Client<'_>) -> Result<(), Exclusion> {
    let policy = client.policy;
    let is_embargoed = |it: Country| policy.embargoed.contains(&it) || snapshot.hosts.is_embargoed(it);
    if host.country.is_some_and(is_embargoed) {
        return Err(Exclusion::Embargoed);
    }
    if policy.avoided_sites.contains(&host.site_name) {
        return Err(Exclusion::AvoidedSite);
    }
    let named = policy.countries.is_empty() || host.country.is_some_and(|it| policy.countries.contains(&it));
    if !named {
        return Err(Exclusion::OutsideEndpoint);
    }
    if policy.cdn_only && host.kind != HostKind::Cdn { Err(Exclusion::NotCdn) } else { Ok(()) }
}

/// Does the host take this file for this client? Its limits are its own or the operator's.
fn takes(
    snapshot: &Snapshot,
    client: &Client<'_>,
    wanted: &Wanted<'_>,
    host: &HostRow,
) -> Result<(), Exclusion> {
    if host.max_file_size.is_some_and(|it| wanted.size > it) {
        return Err(Exclusion::TooLarge);
    }
    if snapshot.spent.contains(&host.id) {
        return Err(Exclusion::Spent);
    }
    let is_in = |region: &Region| match region {
        Region::Country(country) => client.country == Some(*country),
        Region::Asn(asn) => client.asn == Some(*asn),
    };
    if host.demoted.iter().any(is_in) {
        return Err(Exclusion::Demoted);
    }
    // By the client's network alone: one client stays in or out, whatever it asks for.
    let place = || draw(question(client.network(), "share"), host.id.0) as f64 / DRAWS * 100.0;
    let is_in_share = host.client_share >= 100 || place() <= f64::from(host.client_share);
    if is_in_share { Ok(()) } else { Err(Exclusion::NotInShare) }
}

/// HTTPS before HTTP, and a URL that answers by the client's address family before one of which that
/// is not known. One that answers by no family, or not by the client's, is no choice.
fn choose_url<'a>(category: &'a HostCategoryRow, client: &Client<'_>) -> Result<&'a HostUrlRow, Exclusion> {
    let (mut best, mut reason) = (None, Exclusion::Scheme);
    for url in category.urls.iter().filter(|it| client.takes(it.scheme)) {
        let reach = reach(url, client.address);
        let preference = (reach != Reach::Up, url.scheme, url.id);
        if reach == Reach::Down {
            reason = Exclusion::Down;
        } else if url.ipv4 != Reach::Up && url.ipv6 != Reach::Up {
            reason = if reason == Exclusion::Down { reason } else { Exclusion::Unproven };
        } else if best.is_none_or(|(_, least)| preference < least) {
            best = Some((url, preference));
        }
    }
    best.map(|it| it.0).ok_or(reason)
}

fn reach(url: &HostUrlRow, client: IpAddr) -> Reach {
    if client.is_ipv4() { url.ipv4 } else { url.ipv6 }
}

/// What a host's share of its class is measured by: never more than its bandwidth.
fn weight(bandwidth: u32, distance: Option<f64>) -> f64 {
    f64::from(bandwidth) / (1.0 + distance.unwrap_or(0.0) / HALVING_DISTANCE)
}

/// The share of the clients that a host is for: it earns them by days without a lie.
fn ramp(clean_since: i64, at: i64) -> f64 {
    let later = at.saturating_sub(clean_since).clamp(FIRST_TIME, RAMP) - FIRST_TIME;
    FIRST_SHARE + (1.0 - FIRST_SHARE) * later as f64 / (RAMP - FIRST_TIME) as f64
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
