//! Who was just sent where: a client that comes back so soon was failed by the mirror.

use std::{
    hash::{DefaultHasher, Hasher as _},
    net::IpAddr,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::oci::Digest;

/// How the first and further requests for the same download are told apart, and what these cost.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RepeatConfig {
    /// The same download from its beginning within this time is a repeat: 1s to 1h.
    #[schemars(with = "String")]
    #[serde(serialize_with = "jiff::fmt::serde::duration::friendly::compact::required")]
    pub window: SignedDuration,
    /// A download that is resumed within this time after its last request goes to the next mirror: 1s to 24h.
    #[schemars(with = "String")]
    #[serde(serialize_with = "jiff::fmt::serde::duration::friendly::compact::required")]
    pub resume_window: SignedDuration,
    /// Repeats of one address that get the fallback in a minute: 0 to 255. Further ones get the next mirror.
    pub fallbacks_per_address: u8,
    /// Repeats of all addresses that get the fallback, in percent of a minute's answers: 0 to 100.
    #[schemars(range(max = 100))]
    pub fallback_percent: u32,
    /// Repeats of all addresses that always get the fallback in a minute, for a percentage of a few is none:
    /// 0 to 1000000.
    #[schemars(range(max = 1_000_000))]
    pub fallbacks_always: u32,
}

impl Default for RepeatConfig {
    fn default() -> Self {
        Self {
            window: SignedDuration::from_secs(60),
            resume_window: SignedDuration::from_hours(1),
            fallbacks_per_address: 20,
            fallback_percent: 5,
            fallbacks_always: 100,
        }
    }
}

/// Downloads remembered at once (512 KiB). More of them push each other out: lossy, and harmless.
const DOWNLOADS: usize = 1 << 16;

/// Addresses whose fallbacks are counted at once (64 KiB).
const ADDRESSES: usize = 1 << 13;

/// Where a request for a blob begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// No range, or an open one from the first byte.
    Beginning,
    /// An open range from a later byte: the rest of a download that broke.
    Resume,
    /// A range with an end, or several: parallel chunks and lazy pulls. It says nothing of failures.
    Part,
    /// Whatever is asked for, by a client that has tried the mirrors of the metalink and says so.
    LastResort,
}

/// What a client gets this time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The host at this place of its ranking, counted round and round from 0.
    Place(usize),
    /// What never fails: a CDN, our own tree, the origin.
    Fallback,
}

impl Attempt {
    /// The place of the host that failed the client, as far as this attempt tells: the one of the attempt before.
    /// After a fallback it may be one that was not given; so it is a reason to look, and no more.
    pub fn failed_place(self) -> Option<usize> {
        match self {
            Self::Place(place) => place.checked_sub(1),
            // The client began at the first place.
            Self::Fallback => Some(0),
        }
    }
}

/// The memory. Bounded, without locks; two requests at the same moment may count as one.
pub struct Repeats {
    config: RepeatConfig,
    seed: u64,
    downloads: Box<[AtomicU64]>,
    addresses: Box<[AtomicU64]>,
    answers: PerMinute,
    fallbacks: PerMinute,
}

/// What is remembered of a download or an address, in one number.
#[derive(Clone, Copy)]
struct Entry {
    /// Tells those apart that share a place in the table. 24 bits.
    mark: u32,
    /// When it was last seen, Unix seconds; for an address, Unix minutes. 32 bits last until 2106.
    time: u32,
    /// How often it came again.
    count: u8,
}

/// Counts the events of the current minute.
#[derive(Default)]
struct PerMinute(AtomicU64);

impl Repeats {
    /// An empty memory. The seed makes it unknown which downloads share an entry.
    pub fn new(config: RepeatConfig, seed: u64) -> Self {
        let table = |size| (0..size).map(|_| AtomicU64::new(0)).collect();
        Self {
            config,
            seed,
            downloads: table(DOWNLOADS),
            addresses: table(ADDRESSES),
            answers: PerMinute::default(),
            fallbacks: PerMinute::default(),
        }
    }

    /// Decides what this request for a blob gets, and remembers it. `at` is in Unix seconds.
    pub fn attempt(
        &self,
        address: IpAddr,
        user_agent: &[u8],
        digest: &Digest,
        start: Start,
        at: i64,
    ) -> Attempt {
        let now = at as u32;
        self.answers.add(now / 60);
        let window = match start {
            Start::Part => return Attempt::Place(0),
            Start::Beginning | Start::LastResort => self.config.window,
            Start::Resume => self.config.resume_window,
        };
        let key = self.key(address, user_agent, digest);
        let slot = &self.downloads[key as usize % DOWNLOADS];
        let mark = (key >> 40) as u32;
        let before = Entry::read(slot)
            .filter(|it| it.mark == mark && i64::from(now.wrapping_sub(it.time)) < window.as_secs());
        // Round and round, also after so many that the number begins again: 0 is who never came before.
        let count = before.map_or(0, |it| it.count.checked_add(1).unwrap_or(1));
        Entry { mark, time: now, count }.write(slot);
        let failed = start == Start::LastResort || (start == Start::Beginning && count > 0);
        let falls_back = failed && self.spend_fallback(address, now / 60);
        if falls_back { Attempt::Fallback } else { Attempt::Place(usize::from(count)) }
    }

    /// Takes one fallback from the budgets of this minute, if there is one left.
    fn spend_fallback(&self, address: IpAddr, minute: u32) -> bool {
        let share = u64::from(self.answers.count(minute)) * u64::from(self.config.fallback_percent) / 100;
        if u64::from(self.fallbacks.count(minute)) >= share.max(self.config.fallbacks_always.into()) {
            return false;
        }
        let key = self.key(address, b"", &Digest::Sha256([0; 32]));
        let slot = &self.addresses[key as usize % ADDRESSES];
        let mark = (key >> 40) as u32;
        let before = Entry::read(slot).filter(|it| it.mark == mark && it.time == minute);
        let spent = before.map_or(0, |it| it.count);
        if spent >= self.config.fallbacks_per_address {
            return false;
        }
        Entry { mark, time: minute, count: spent + 1 }.write(slot);
        self.fallbacks.add(minute);
        true
    }

    fn key(&self, address: IpAddr, user_agent: &[u8], digest: &Digest) -> u64 {
        // One household or machine has a /64 (RFC 6177) and uses its addresses as it likes.
        let address = match address.to_canonical() {
            IpAddr::V4(v4) => u128::from(v4.to_ipv6_mapped()),
            IpAddr::V6(v6) => u128::from(v6) >> 64 << 64,
        };
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.seed);
        hasher.write(&address.to_be_bytes());
        hasher.write(user_agent);
        hasher.write(digest.sha256().map_or(&[][..], |it| &it[..]));
        hasher.finish()
    }
}

impl Entry {
    fn read(slot: &AtomicU64) -> Option<Self> {
        let bits = slot.load(Relaxed);
        (bits != 0).then_some(Self { mark: (bits >> 40) as u32, time: (bits >> 8) as u32, count: bits as u8 })
    }

    fn write(self, slot: &AtomicU64) {
        slot.store(u64::from(self.mark) << 40 | u64::from(self.time) << 8 | u64::from(self.count), Relaxed);
    }
}

impl PerMinute {
    /// How many there were in this minute.
    fn count(&self, minute: u32) -> u32 {
        let bits = self.0.load(Relaxed);
        if (bits >> 32) as u32 == minute { bits as u32 } else { 0 }
    }

    fn add(&self, minute: u32) {
        let next = u64::from(minute) << 32 | u64::from(self.count(minute).saturating_add(1));
        self.0.store(next, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: i64 = 1_700_000_000;

    struct Rig(Repeats);

    impl Rig {
        fn new() -> Self {
            Self::with(RepeatConfig::default())
        }

        fn with(config: RepeatConfig) -> Self {
            Self(Repeats::new(config, 1))
        }

        fn ask(&self, address: &str, blob: u8, start: Start, at: i64) -> Attempt {
            self.0.attempt(address.parse().unwrap(), b"docker", &Digest::Sha256([blob; 32]), start, AT + at)
        }
    }

    #[test]
    fn an_open_failure_gets_the_fallback_at_once() {
        let rig = Rig::new();
        assert_eq!(rig.ask("192.0.2.1", 1, Start::Beginning, 0), Attempt::Place(0));
        assert_eq!(rig.ask("192.0.2.1", 1, Start::Beginning, 0), Attempt::Fallback);
        assert_eq!(rig.ask("192.0.2.1", 2, Start::Beginning, 0), Attempt::Place(0), "another blob");
        assert_eq!(rig.ask("192.0.2.2", 1, Start::Beginning, 0), Attempt::Place(0), "another client");
    }

    #[test]
    fn the_same_after_a_minute_is_a_new_download() {
        let rig = Rig::new();
        rig.ask("192.0.2.1", 1, Start::Beginning, 0);
        assert_eq!(rig.ask("192.0.2.1", 1, Start::Beginning, 60), Attempt::Place(0));
        assert_eq!(rig.ask("192.0.2.1", 1, Start::Beginning, 119), Attempt::Fallback);
    }

    #[test]
    fn a_resume_goes_to_the_next_host_every_time() {
        let rig = Rig::new();
        assert_eq!(
            rig.ask("192.0.2.1", 1, Start::Resume, 0),
            Attempt::Place(0),
            "its start is not known here"
        );
        let rig = Rig::new();
        rig.ask("192.0.2.1", 1, Start::Beginning, 0);
        assert_eq!(rig.ask("192.0.2.1", 1, Start::Resume, 600), Attempt::Place(1));
        assert_eq!(rig.ask("192.0.2.1", 1, Start::Resume, 1200), Attempt::Place(2));
    }

    #[test]
    fn who_comes_back_names_the_place_before() {
        let places = [Attempt::Place(0), Attempt::Place(1), Attempt::Place(7), Attempt::Fallback];
        assert_eq!(places.map(Attempt::failed_place), [None, Some(0), Some(6), Some(0)]);
    }

    #[test]
    fn parts_never_count() {
        let rig = Rig::new();
        for _ in 0..10 {
            assert_eq!(rig.ask("192.0.2.1", 1, Start::Part, 0), Attempt::Place(0));
        }
        assert_eq!(rig.ask("192.0.2.1", 1, Start::Beginning, 0), Attempt::Place(0));
    }

    #[test]
    fn who_has_tried_all_mirrors_gets_the_fallback_while_its_budget_lasts() {
        let rig = Rig::new();
        for _ in 0..RepeatConfig::default().fallbacks_per_address {
            assert_eq!(rig.ask("192.0.2.1", 1, Start::LastResort, 0), Attempt::Fallback);
        }
        assert!(matches!(rig.ask("192.0.2.1", 1, Start::LastResort, 0), Attempt::Place(1..)));
    }

    #[test]
    fn addresses_of_one_ipv6_network_are_one_client() {
        let rig = Rig::new();
        rig.ask("2001:db8::1", 1, Start::Beginning, 0);
        assert_eq!(rig.ask("2001:db8::2", 1, Start::Beginning, 0), Attempt::Fallback);
        assert_eq!(rig.ask("2001:db8:0:1::2", 1, Start::Beginning, 0), Attempt::Place(0));
    }

    #[test]
    fn a_crowd_behind_one_address_goes_round_the_hosts_instead_of_to_the_fallback() {
        let rig = Rig::new();
        let attempts: Vec<_> = (0..500).map(|_| rig.ask("192.0.2.1", 1, Start::Beginning, 0)).collect();
        let fallbacks = attempts.iter().filter(|it| **it == Attempt::Fallback).count();
        assert_eq!(fallbacks, 20, "at most 5 % of 500");
        assert!(attempts.contains(&Attempt::Place(100)));
    }

    #[test]
    fn many_crowds_get_no_more_than_their_share_of_fallbacks() {
        let rig = Rig::new();
        let crowds = (0u32..2000).map(|it| std::net::Ipv4Addr::from(0x0a00_0000 + it).to_string());
        let ask =
            |address: String| (0..5).map(|_| rig.ask(&address, 1, Start::Beginning, 0)).collect::<Vec<_>>();
        let fallbacks = crowds.flat_map(ask).filter(|it| *it == Attempt::Fallback).count();
        assert!((490..=500).contains(&fallbacks), "{fallbacks} of 10,000 answers");
    }

    #[test]
    fn the_limits_are_settings() {
        let config = RepeatConfig {
            window: SignedDuration::from_secs(5),
            resume_window: SignedDuration::from_secs(9),
            fallbacks_per_address: 1,
            fallback_percent: 0,
            fallbacks_always: 2,
        };
        let rig = Rig::with(config);
        let ask = |address, at| rig.ask(address, 1, Start::Beginning, at);
        assert_eq!([ask("192.0.2.1", 0), ask("192.0.2.1", 4)], [Attempt::Place(0), Attempt::Fallback]);
        assert_eq!(ask("192.0.2.1", 4), Attempt::Place(2), "one fallback for an address");
        assert_eq!(ask("192.0.2.1", 9), Attempt::Place(0), "the window is over");
        assert_eq!(rig.ask("192.0.2.1", 1, Start::Resume, 17), Attempt::Place(1));
        assert_eq!(rig.ask("192.0.2.1", 1, Start::Resume, 26), Attempt::Place(0));
        assert_eq!([ask("192.0.2.2", 27), ask("192.0.2.2", 28)], [Attempt::Place(0), Attempt::Fallback]);
        assert_eq!(
            [ask("192.0.2.3", 28), ask("192.0.2.3", 29)],
            [Attempt::Place(0), Attempt::Place(1)],
            "two in all"
        );
    }
}
