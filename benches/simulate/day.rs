//! A day with a release in it, hosts that fail, and crowds.

use std::collections::BTreeSet;

use indicatif::ProgressBar;
use jiff::SignedDuration;
use portolan::{
    mirrorlist::{Gate, Publish, PublishRules, RepeatConfig, Repeats, Snapshot, Start},
    oci::{Digest, Reference, RepositoryName, Tag},
};

use crate::{
    formula::{Asked, Formula, eligible},
    world::{DAY, Dice, LAYERS, MIDNIGHT, RELEASE, World, former_end},
};

/// The seconds of an hour.
const HOUR: i64 = 3_600;

/// Clients of one crowd, all in one minute behind one address.
const CROWD: usize = 500;

/// The bytes of a day are added up in so many parts.
pub(crate) const PARTS: usize = 144;

/// What kind of day it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) formula: Formula,
    pub(crate) seed: u64,
    /// Pulls in a minute, outside of the hour after the release.
    pub(crate) pulls: usize,
    /// So many times as many in that hour.
    pub(crate) rush: usize,
    /// Hosts that fail once, for an hour.
    pub(crate) failing: usize,
    pub(crate) crowds: usize,
    /// The tag is held back until so many hosts hold what is new; without, it is answered at once.
    pub(crate) gate: Option<usize>,
    /// So long after a host went or came the servers know it, in seconds.
    pub(crate) notice: i64,
}

/// Bytes, by who sent them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Bytes {
    pub(crate) mirrors: u64,
    pub(crate) fallback: u64,
    /// Two mirrors failed one after the other: the client gave up.
    pub(crate) failed: u64,
}

/// What became of a day.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) all: Bytes,
    pub(crate) crowds: Bytes,
    pub(crate) parts: Vec<Bytes>,
    /// What was asked for, all in all.
    pub(crate) asked: u64,
    pub(crate) pulls: u64,
    /// Pulls whose layers came from more than one host.
    pub(crate) split: u64,
    /// The most bytes that one host sent in an hour, over what its bandwidth carries in that.
    pub(crate) fullest: f64,
}

impl Bytes {
    pub(crate) fn sum(&self) -> u64 {
        self.mirrors + self.fallback + self.failed
    }

    fn add(&mut self, from: Source, bytes: u64) {
        match from {
            Source::Mirror(_) => self.mirrors += bytes,
            Source::Fallback => self.fallback += bytes,
            Source::Nobody => self.failed += bytes,
        }
    }
}

#[derive(Clone, Copy)]
enum Source {
    Mirror(usize),
    Fallback,
    Nobody,
}

/// Somebody wants the image.
struct Pull {
    at: i64,
    person: usize,
    in_crowd: bool,
}

/// The course of the day: what is so, and what is known of it.
struct Course<'a> {
    world: &'a World,
    plan: Plan,
    /// From when on each host holds the release.
    synced_at: Vec<i64>,
    /// From when on each host fails.
    fails_at: Vec<Option<i64>>,
    /// When something of that becomes known, in order.
    changes: Vec<i64>,
    snapshot: Snapshot,
    rules: PublishRules,
    /// For the former image and the new one.
    eligible: [Vec<usize>; 2],
}

pub(crate) fn run(world: &World, plan: Plan, bar: &ProgressBar) -> Outcome {
    let mut dice = Dice(plan.seed);
    let mut course = Course::new(world, plan, &mut dice);
    let pulls = pulls(world, plan, &mut dice);
    let repeats = Repeats::new(RepeatConfig::default(), plan.seed);
    let mut outcome = Outcome { parts: vec![Bytes::default(); PARTS], ..Outcome::default() };
    let mut sent = vec![[0u64; 24]; world.hosts.len()];
    bar.set_length(pulls.len() as u64);
    for pull in &pulls {
        bar.inc(1);
        course.advance(pull.at);
        let first = course.first_number();
        let mut hosts = BTreeSet::new();
        for (number, size) in (first..).zip(LAYERS) {
            let source = course.fetch(&repeats, pull, number, size, &mut dice);
            outcome.asked += size;
            outcome.all.add(source, size);
            outcome.parts[((pull.at - MIDNIGHT) * PARTS as i64 / DAY) as usize].add(source, size);
            if pull.in_crowd {
                outcome.crowds.add(source, size);
            }
            if let Source::Mirror(host) = source {
                hosts.insert(host);
                sent[host][((pull.at - MIDNIGHT) / HOUR) as usize] += size;
            }
        }
        outcome.pulls += 1;
        outcome.split += u64::from(hosts.len() > 1);
    }
    let full = |host: usize| {
        let carries = f64::from(world.hosts[host].bandwidth.unwrap_or(100)) * 1e6 / 8.0 * HOUR as f64;
        sent[host].iter().max().map_or(0.0, |it| *it as f64 / carries)
    };
    outcome.fullest = (0..world.hosts.len()).map(full).fold(0.0, f64::max);
    outcome
}

/// All of them in the order of time.
fn pulls(world: &World, plan: Plan, dice: &mut Dice) -> Vec<Pull> {
    let mut pulls = Vec::new();
    // In turn, for nobody pulls the same twice within a minute: that would look like a failure.
    let mut people = (0..world.people.len()).cycle();
    for minute in 0..DAY / 60 {
        let begin = MIDNIGHT + minute * 60;
        let is_rush = (RELEASE..RELEASE + HOUR).contains(&begin);
        for _ in 0..if is_rush { plan.pulls * plan.rush } else { plan.pulls } {
            let at = begin + dice.below(60) as i64;
            pulls.extend(people.next().map(|person| Pull { at, person, in_crowd: false }));
        }
    }
    for _ in 0..plan.crowds {
        let (begin, person) =
            (MIDNIGHT + dice.below(DAY as usize - 60) as i64, dice.below(world.people.len()));
        pulls.extend((0..CROWD).map(|_| Pull { at: begin + dice.below(60) as i64, person, in_crowd: true }));
    }
    pulls.sort_by_key(|it| it.at);
    pulls
}

impl<'a> Course<'a> {
    fn new(world: &'a World, plan: Plan, dice: &mut Dice) -> Self {
        let count = world.hosts.len();
        // A host fetches between 5 minutes and 6 hours after the release, and a crawl sees it in whole minutes.
        let synced_at: Vec<i64> = (0..count).map(|_| RELEASE + (5 + dice.below(355) as i64) * 60).collect();
        let mut fails_at = vec![None; count];
        let mut left = plan.failing.min(count);
        while left > 0 {
            let host = dice.below(count);
            if fails_at[host].is_none() {
                fails_at[host] = Some(MIDNIGHT + dice.below((DAY - HOUR) as usize) as i64);
                left -= 1;
            }
        }
        let failures = fails_at.iter().flatten().flat_map(|it| [it + plan.notice, it + HOUR + plan.notice]);
        let mut changes: Vec<i64> = failures.chain(synced_at.iter().copied()).chain([RELEASE]).collect();
        changes.sort_unstable_by_key(|it| std::cmp::Reverse(*it));
        changes.dedup();
        let rule = plan.gate.map(|hosts| Publish {
            hosts: Some(hosts),
            share: None,
            after: SignedDuration::from_hours(6),
        });
        let rules = rule.into_iter().map(|it| ("containers".to_owned(), it)).collect();
        let snapshot = world.snapshot(&world.known(), MIDNIGHT);
        let mut course =
            Self { world, plan, synced_at, fails_at, changes, snapshot, rules, eligible: Default::default() };
        course.refresh(MIDNIGHT);
        course
    }

    /// Brings in what has become known.
    fn advance(&mut self, at: i64) {
        while let Some(change) = self.changes.pop_if(|it| *it <= at) {
            self.refresh(change);
        }
    }

    fn refresh(&mut self, at: i64) {
        let mut known = self.world.known();
        known.released = at >= RELEASE;
        known.synced = self.synced_at.iter().map(|it| at >= *it).collect();
        known.up = (0..known.up.len()).map(|it| !self.fails(it, at - self.plan.notice)).collect();
        let gate = std::mem::take(&mut self.snapshot.gate);
        if at == RELEASE {
            self.snapshot = self.world.snapshot(&known, at);
        } else {
            self.world.refresh(&mut self.snapshot, &known, at);
        }
        self.snapshot.gate = Gate::new(&self.rules, &self.snapshot, &gate, at).into();
        self.eligible = [1, former_end() + 1].map(|it| eligible(self.world, &self.snapshot, it, at));
    }

    fn fails(&self, host: usize, at: i64) -> bool {
        self.fails_at[host].is_some_and(|it| (it..it + HOUR).contains(&at))
    }

    /// The number of the first layer that the tag leads to at this moment.
    fn first_number(&self) -> u32 {
        let name: RepositoryName = "fedora".parse().expect("a name");
        let tag: Tag = "latest".parse().expect("a tag");
        let manifest = self.snapshot.find_manifest(&name, &Reference::Tag(tag)).expect("the tag is there");
        manifest.number - LAYERS.len() as u32
    }

    /// As docker does it: once more from the beginning when a mirror fails, and then no more.
    fn fetch(&self, repeats: &Repeats, pull: &Pull, number: u32, size: u64, dice: &mut Dice) -> Source {
        let address = self.world.people[pull.person].address.into();
        let asked = Asked {
            world: self.world,
            snapshot: &self.snapshot,
            person: pull.person,
            at: pull.at,
            repository: "fedora",
            number,
            size,
            eligible: &self.eligible[usize::from(number > former_end())],
        };
        for _ in 0..2 {
            let digest = Digest::Sha256([number as u8; 32]);
            let attempt = repeats.attempt(address, b"docker", &digest, Start::Beginning, pull.at);
            match asked.answer(self.plan.formula, attempt, dice) {
                None => return Source::Fallback,
                Some(host) if !self.fails(host, pull.at) => return Source::Mirror(host),
                Some(_) => {}
            }
        }
        Source::Nobody
    }
}
