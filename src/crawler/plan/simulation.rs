//! 30 days of a host in hours, with the real plan and the real budget, and a host instead of a network.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::{
    connector::REQUEST_BYTES,
    crawler::budget::{Budget, Limits, probes_per_day},
    database::{
        Sha256,
        crawl::{CategoryState, HostUse, day_of},
    },
    mirror::CrawlState,
};

const LIMITS: Limits =
    Limits { requests_per_day: 3_000, bytes_per_day: 200_000_000, interval: SignedDuration::from_hours(1) };

/// Hours between two crawls of a large category: what is proven is the same, in less time.
const PAUSE: i64 = 4;

const DAYS: i64 = 31;

/// A category that grows, a host that follows it, and what crawls know of the host.
struct World {
    truth: CategoryTruth,
    present: RoaringBitmap,
    serial: i64,
    known: Known,
    used: Option<HostUse>,
    start: Timestamp,
    /// When each file was last looked at, or came; by number.
    looked_at: BTreeMap<u32, i64>,
    /// The longest that a file had to wait, in hours.
    longest_wait: i64,
    read: BTreeSet<u32>,
    days: Vec<HostUse>,
    /// Hours between two crawls.
    pause: i64,
}

/// Layers of many sizes; one of 300 is larger than a day's share of an hour.
fn size(number: u32) -> u64 {
    match number % 300 {
        0 => 150_000_000,
        1..=20 => 2_000_000,
        of => 1_000 + u64::from(of),
    }
}

impl World {
    fn new(files: u32, pause: i64) -> Self {
        let truth = CategoryTruth { states: Vec::new(), blobs: Vec::new() };
        let mut world = Self {
            truth,
            present: RoaringBitmap::new(),
            serial: 0,
            known: Known::default(),
            used: None,
            start: "2026-11-21T00:10:00Z".parse().unwrap(),
            looked_at: BTreeMap::new(),
            longest_wait: 0,
            read: BTreeSet::new(),
            days: Vec::new(),
            pause,
        };
        world.publish(files, 0);
        world
    }

    /// A serial with so many files more; the host has it at once.
    fn publish(&mut self, files: u32, hour: i64) {
        let first = self.truth.blobs.first().map_or(1, |it| it.number + 1);
        for number in first..first + files {
            let mut digest = [0; 32];
            digest[..8].copy_from_slice(&mix(number.into()).to_be_bytes());
            self.truth.blobs.insert(0, CrawlBlob { number, digest: Sha256(digest), size: size(number) });
            self.looked_at.insert(number, hour);
        }
        self.present = self.truth.blobs.iter().map(|it| it.number).collect();
        self.serial += 1;
        let inventory_digest = Sha256([1; 32]);
        let state = CategoryState { serial: self.serial, inventory_digest, blobs: self.present.clone() };
        self.truth.states.insert(0, state);
        self.truth.states.truncate(2);
    }

    fn answer(&self, number: u32) -> Outcome {
        if self.present.contains(number) { Outcome::Present(()) } else { Outcome::Absent }
    }

    /// One crawl; the state that it found.
    fn crawl(&mut self, hour: i64) -> Option<CrawlState> {
        let now: Time = (self.start + SignedDuration::from_hours(hour)).into();
        let budget = Budget::new(
            &Limits { interval: SignedDuration::from_hours(self.pause), ..LIMITS },
            self.used,
            1,
            now,
        );
        let allowance = budget.allow(0, 0, 1)?;
        let (claim, known) = (Claim::Newest(self.serial), self.known.clone());
        let occasion = Occasion { allowance, seed: hour as u64, is_asked_for: false, now };
        let plan = Plan::new(&self.truth, &claim, &known, occasion);
        let mut findings = Findings::default();
        let mut files = plan.first_files();
        while !files.is_empty() {
            findings.heads.extend(files.iter().map(|it| (it.number, self.answer(it.number))));
            files = plan.further_files(&findings);
        }
        let range = plan.range(&findings, hour % 24 == 0);
        let range_bytes = range.map_or(0, |(_, range)| range.end - range.start);
        findings.range = Some(Outcome::Present(()));
        let bodies = plan.bodies(&findings);
        findings.bodies = bodies.iter().map(|it| (it.number, self.answer(it.number))).collect();
        let verdict = plan.verdict(&findings);
        let memory = plan.memory(&findings, &verdict).unwrap();
        let requests = (OVERHEAD + findings.heads.len() + bodies.len()) as u64;
        let bytes = requests * REQUEST_BYTES + range_bytes + bodies.iter().map(|it| it.size).sum::<u64>();
        self.read.extend(bodies.iter().map(|it| it.number));
        self.spend(day_of(now), requests, bytes);
        for number in findings.heads.keys().chain(findings.bodies.keys()) {
            let before = self.looked_at.insert(*number, hour).unwrap();
            self.longest_wait = self.longest_wait.max(hour - before);
        }
        self.known = Known {
            held: verdict.held.unwrap(),
            cycle: Some(memory.cycle),
            repair: memory.repair,
            demanded: RoaringBitmap::new(),
        };
        Some(verdict.state)
    }

    fn spend(&mut self, day: i64, requests: u64, bytes: u64) {
        let before = self.used.filter(|it| it.day == day).unwrap_or(HostUse { day, requests: 0, bytes: 0 });
        let used = HostUse { day, requests: before.requests + requests, bytes: before.bytes + bytes };
        self.days.retain(|it| it.day != day);
        self.days.push(used);
        self.used = Some(used);
    }

    /// The longest that any file has waited or waits, in hours.
    fn longest_wait(&self, until: i64) -> i64 {
        let waits = self.looked_at.values().map(|it| until - it).max();
        waits.unwrap_or(0).max(self.longest_wait)
    }

    #[track_caller]
    fn check_days(&self) {
        for day in &self.days {
            assert!(day.requests + probes_per_day(1) <= LIMITS.requests_per_day, "{day:?}");
            assert!(day.bytes <= LIMITS.bytes_per_day, "{day:?}");
        }
    }

    fn report(&self, name: &str, hours: i64) {
        let most = |of: fn(&HostUse) -> u64| self.days.iter().map(of).max().unwrap_or(0);
        let mean = self.days.iter().map(|it| it.requests).sum::<u64>() / self.days.len() as u64;
        eprintln!(
            "{name}: {} files, {} bodies read; at most {} requests ({mean} on average; {} probes on top) and \
             {} MB a day; no file waited longer than {} h",
            self.truth.blobs.len(),
            self.read.len(),
            most(|it| it.requests),
            probes_per_day(1),
            most(|it| it.bytes) / 1_000_000,
            self.longest_wait(hours),
        );
    }
}

/// A host that is good all the time: every file is looked at within 30 days, at the price of no day too many.
fn month(name: &str, files: u32, serial_every: i64, files_each: u32, pause: i64) -> World {
    let mut world = World::new(files, pause);
    for hour in 0..DAYS * 24 {
        if hour > 0 && hour % serial_every == 0 {
            world.publish(files_each, hour);
        }
        if hour % pause == 0 {
            assert_eq!(world.crawl(hour), Some(CrawlState::UpToDate), "hour {hour}");
        }
    }
    world.report(name, DAYS * 24);
    world.check_days();
    let waited = world.longest_wait(DAYS * 24);
    assert!(waited <= 30 * 24, "{waited} hours");
    world
}

#[test]
fn every_file_is_looked_at_in_30_days_within_the_budget() {
    let small = month("small", 150, 1_000, 0, 1);
    assert!(small.longest_wait(DAYS * 24) <= 12, "a small tree is through in half a day");
    assert_eq!(small.read.len(), small.truth.blobs.iter().filter(|it| it.size < 200_000_000).count());
    let grows = month("grows", 600, 6, 20, 2);
    assert!(grows.read.contains(&600), "a layer of 150 MB has its turn");
    month("large", 20_000, 48, 100, PAUSE);
}

#[test]
fn a_liar_costs_no_more_and_is_looked_at_to_its_end() {
    let mut world = World::new(1_000, 1);
    let mut states = BTreeMap::new();
    for hour in 0..5 * 24 {
        if hour == 30 {
            world.present.remove_range(900..1_000);
        }
        if hour == 60 {
            world.present.insert_range(900..1_000);
        }
        if let Some(state) = world.crawl(hour) {
            states.insert(hour, state);
        }
        assert!(world.known.held.is_subset(&world.present) || (30..60).contains(&hour), "hour {hour}");
    }
    world.report("liar", 5 * 24);
    world.check_days();
    let first_lie = states.iter().find(|it| *it.1 == CrawlState::Lying).map(|it| *it.0);
    assert!(first_lie.is_some_and(|it| it < 60), "{first_lie:?}");
    assert_eq!(states.last_key_value().unwrap().1, &CrawlState::UpToDate, "it is believed again");
    assert_eq!(world.known.held, world.present);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    /// Whatever comes and goes: no day is overdrawn.
    #[test]
    fn no_day_is_overdrawn(files in 1u32..900, events in proptest::collection::vec((0i64..72, 0u32..400), 0..12)) {
        let mut world = World::new(files, 1);
        for hour in 0..72 {
            for (_, what) in events.iter().filter(|it| it.0 == hour) {
                match what {
                    0..=149 => world.publish(*what, hour),
                    150..=299 => drop(world.present.remove(what - 149)),
                    _ => world.present = world.truth.blobs.iter().map(|it| it.number).collect(),
                }
            }
            world.crawl(hour);
        }
        for day in &world.days {
            prop_assert!(day.requests + probes_per_day(1) <= LIMITS.requests_per_day, "{:?}", day);
            prop_assert!(day.bytes <= LIMITS.bytes_per_day, "{:?}", day);
        }
    }
}
