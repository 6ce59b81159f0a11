//! Which files of a host to look at. No IO, clock or dice.

mod memory;
mod verdict;

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use std::{cmp::Reverse, collections::BTreeMap, ops::Range};

use roaring::RoaringBitmap;

use super::{Claim, budget::Allowance};
use crate::{
    connector::Outcome,
    database::{
        Time,
        crawl::{CategoryTruth, CrawlBlob, CrawlCategory, Cycle, Repair},
    },
    mirror::FileFault,
};

pub use memory::{CYCLE_SECONDS, Memory};
pub use verdict::{REASON_LIMIT, Verdict};

/// Categories of at most so many files are looked at in full when something is in doubt.
pub const SMALL_TREE: usize = 200;

/// How many of the newest files that a host claims are looked at when its serial changed; of a new host twice
/// as many.
pub const SAMPLE_NEWEST: usize = 40;

/// How many others of the files that it claims are looked at then, chosen by the seed all over the category; of a
/// new host twice as many.
pub const SAMPLE_SPREAD: usize = 40;

/// The least share of a cycle that a crawl takes, in files.
pub const SHARE_LEAST: usize = 25;

/// How many files that the host does not claim but the newest serial has are looked at, to see whether any came.
pub const PROGRESS_SAMPLE: usize = 10;

/// How many files that clients asked for are looked at first, of a host that tells nothing of what it holds.
pub const DEMAND_LIMIT: usize = 100;

/// How many of them are looked at when some came, newest first, what clients asked for before all others.
pub const ADDED_LIMIT: usize = 500;

/// How many bodies are read at most by one visit.
pub const BODY_LIMIT: usize = 64;

/// How many of them may be such that were read in these 30 days.
pub const AGAIN_LIMIT: usize = 16;

/// Requests of a visit that are none for a file: the canary by both families, the serial, a listing, three for how
/// the URL answers.
pub const OVERHEAD: usize = 7;

/// How many bytes the one Range request asks for, usually.
const RANGE_BYTES: u64 = 16;

/// How many bytes it asks for when the speed is measured.
pub const SPEED_BYTES: u64 = 256 * 1024;

/// What is known of an opt-in from earlier crawls.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The numbers of the files it holds.
    pub held: RoaringBitmap,
    /// Which files were looked at; `None` when there was no crawl before, or under other URLs.
    pub cycle: Option<Cycle>,
    /// What was to be repaired.
    pub repair: Vec<Repair>,
    /// The numbers of the files that clients asked for lately.
    pub demanded: RoaringBitmap,
}

impl From<&CrawlCategory> for Known {
    fn from(category: &CrawlCategory) -> Self {
        let held = category.holdings.as_ref().and_then(|it| it.set());
        Self {
            held: held.unwrap_or_default(),
            cycle: category.cycle.clone(),
            repair: category.repair.clone(),
            demanded: category.demanded.clone(),
        }
    }
}

/// What a host answered about single files, by their numbers.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// To HEAD.
    pub heads: BTreeMap<u32, Outcome>,
    /// To GET, the bytes being compared with the digest.
    pub bodies: BTreeMap<u32, Outcome>,
    /// To a Range request.
    pub range: Option<Outcome>,
    /// Why the host was not asked for more files.
    pub stopped: Option<String>,
}

/// How much is believed of what a host claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doubt {
    /// It was caught: only what was seen since then.
    Caught,
    /// Never crawled under these URLs, or somebody wants it looked at: as far as a large sample confirms it.
    New,
    /// Another serial than last time: as far as a sample confirms it.
    Changed,
    /// All is as it was.
    Calm,
}

/// Compares one host with the newest state of a category.
pub struct Plan<'a> {
    /// Newest first.
    blobs: &'a [CrawlBlob],
    newest: RoaringBitmap,
    claim: &'a Claim,
    /// What the host claims of the newest state: what that state dropped is nobody's lie.
    claimed: RoaringBitmap,
    known: &'a Known,
    doubt: Doubt,
    allowance: Allowance,
    seed: u64,
    now: Time,
}

/// One crawl's view of one host.
#[derive(Clone, Copy, Debug)]
pub struct Occasion {
    /// What it may cost.
    pub allowance: Allowance,
    /// Another one looks at other files of a large category.
    pub seed: u64,
    /// Somebody asked for this host: it is looked at as if it were new.
    pub is_asked_for: bool,
    /// When.
    pub now: Time,
}

impl<'a> Plan<'a> {
    /// Plans a visit.
    pub fn new(truth: &'a CategoryTruth, claim: &'a Claim, known: &'a Known, occasion: Occasion) -> Self {
        let newest: RoaringBitmap = truth.blobs.iter().map(|it| it.number).collect();
        let claimed = match claim {
            Claim::Newest(_) => newest.clone(),
            Claim::Former(_, blobs) | Claim::Listed(_, blobs, _) => blobs & &newest,
            Claim::Nothing(..) | Claim::Broken(_) => RoaringBitmap::new(),
        };
        let doubt = match &known.cycle {
            _ if matches!(claim, Claim::Broken(_)) => Doubt::Caught,
            Some(cycle) if cycle.caught_at.is_some() => Doubt::Caught,
            None => Doubt::New,
            Some(_) if occasion.is_asked_for => Doubt::New,
            Some(cycle) if cycle.serial != claim.known_serial() => Doubt::Changed,
            Some(_) if matches!(claim, Claim::Listed(..)) && !claimed.is_subset(&known.held) => {
                Doubt::Changed
            }
            Some(_) => Doubt::Calm,
        };
        let Occasion { allowance, seed, now, .. } = occasion;
        Self { blobs: &truth.blobs, newest, claim, claimed, known, doubt, allowance, seed, now }
    }

    /// The files to ask for at first, newest first: what was to be repaired, what is in doubt, a share of what was
    /// not looked at in this cycle, and some that the host does not claim.
    pub fn first_files(&self) -> Vec<CrawlBlob> {
        let mut chosen = Chosen::new(self.room());
        let to_repair: RoaringBitmap = self.known.repair.iter().map(|it| it.number).collect();
        chosen.add(self.blobs.iter().filter(|it| to_repair.contains(it.number)));
        if self.is_whole() {
            chosen.add(self.blobs.iter());
            return chosen.into_files();
        }
        match self.doubt {
            Doubt::New => self.sample(&mut chosen, 2),
            Doubt::Changed => self.sample(&mut chosen, 1),
            Doubt::Caught | Doubt::Calm => {
                let unseen = &self.claimed - &self.known.held;
                chosen.add(self.blobs.iter().filter(|it| unseen.contains(it.number)));
            }
        }
        chosen.add(self.demanded().into_iter().take(DEMAND_LIMIT));
        chosen.add(self.share());
        chosen.add(spread(&self.unclaimed_in_rsync_order(), PROGRESS_SAMPLE, self.seed));
        chosen.into_files()
    }

    /// The files to ask for after the first answers, newest first. They showed a lie: all others, for then only what
    /// is confirmed counts. Or that files are arriving: those that the host does not claim.
    pub fn further_files(&self, findings: &Findings) -> Vec<CrawlBlob> {
        let is_new = |it: &&CrawlBlob| !findings.heads.contains_key(&it.number);
        if self.is_caught(findings) {
            let mut chosen = Chosen::new(rooms(self.allowance.doubt).saturating_sub(findings.heads.len()));
            chosen.add(self.blobs.iter().filter(is_new));
            return chosen.into_files();
        }
        let unclaimed = &self.newest - self.believed();
        let is_arriving = |(number, outcome): (&u32, &Outcome)| {
            *outcome == Outcome::Present(()) && unclaimed.contains(*number)
        };
        if self.is_whole() || !findings.heads.iter().any(is_arriving) {
            return Vec::new();
        }
        let asked = findings.heads.keys().filter(|it| unclaimed.contains(**it)).count();
        let room = rooms(self.allowance.doubt).saturating_sub(findings.heads.len());
        let mut chosen = Chosen::new(room.min(ADDED_LIMIT.saturating_sub(asked)));
        chosen.add(self.demanded().into_iter().filter(is_new));
        chosen.add(self.blobs.iter().filter(is_new).filter(|it| unclaimed.contains(it.number)));
        chosen.into_files()
    }

    /// The file and the bytes of it to ask for by Range, the largest that is there: few, or so many that their speed
    /// says something.
    pub fn range(&self, findings: &Findings, for_speed: bool) -> Option<(CrawlBlob, Range<u64>)> {
        let held = self.held(findings);
        let present = self.blobs.iter().filter(|it| it.size >= 2 && held.contains(it.number));
        let bytes = if for_speed { SPEED_BYTES.min(self.allowance.left) } else { RANGE_BYTES };
        present.max_by_key(|it| it.size).map(|it| (*it, 1..it.size.min(1 + bytes.max(1))))
    }

    /// The files whose bytes to read: first those that were damaged; once a day one that is too large for any other
    /// hour; then of those that were not read in these 30 days the newest for one half of the bytes, and others in
    /// turn; at last, for fewer bytes, some again by the seed.
    pub fn bodies(&self, findings: &Findings) -> Vec<CrawlBlob> {
        let held = self.held(findings);
        let unread = &held - self.bodies_read();
        let Allowance { bytes, again, left, is_fresh, .. } = self.allowance;
        let room = self.requests().saturating_sub(OVERHEAD + findings.heads.len());
        let mut bodies = Bodies { chosen: Chosen::new(room.min(BODY_LIMIT)), spent: 0 };
        let damaged = self.damaged();
        let lacks =
            |it: &&CrawlBlob| findings.heads.get(&it.number).is_some_and(|of| *of != Outcome::Present(()));
        bodies.add(
            self.blobs.iter().filter(|it| damaged.contains(it.number) && !lacks(it)),
            left,
            usize::MAX,
        );
        let of = |set: &RoaringBitmap| -> Vec<&CrawlBlob> {
            self.blobs.iter().filter(|it| set.contains(it.number)).collect()
        };
        let mut newest_first = of(&unread);
        if is_fresh {
            let is_large = |it: &&CrawlBlob| it.size > bytes && it.size <= left;
            bodies.add(newest_first.iter().copied().find(is_large), left, 1);
        }
        bodies.add(newest_first.iter().copied(), bytes / 2, BODY_LIMIT / 2);
        newest_first.sort_by_key(|it| mix(it.number.into()));
        bodies.add(newest_first, bytes, usize::MAX);
        let mut others = of(&(held - unread));
        others.sort_by_key(|it| mix(self.seed ^ u64::from(it.number)));
        let again = left.min(bodies.spent.saturating_add(again));
        bodies.add(others, again, AGAIN_LIMIT);
        bodies.chosen.files
    }

    /// The newest files that the host claims, and others from all over the category.
    fn sample(&self, chosen: &mut Chosen, times: usize) {
        let claimed: Vec<_> = self.blobs.iter().filter(|it| self.claimed.contains(it.number)).collect();
        let (newest, others) = claimed.split_at((times * SAMPLE_NEWEST).min(claimed.len()));
        chosen.add(newest.iter().copied());
        chosen.add(spread(others, times * SAMPLE_SPREAD, self.seed));
    }

    /// This crawl's share of the files that were not looked at in the cycle. Their order is the same in each cycle,
    /// so that none waits longer than one.
    fn share(&self) -> Vec<&'a CrawlBlob> {
        let Some(cycle) = &self.known.cycle else { return Vec::new() };
        let believed = self.believed();
        let mut unseen: Vec<_> = self
            .blobs
            .iter()
            .filter(|it| believed.contains(it.number) && !cycle.looked.contains(it.number))
            .collect();
        let elapsed = self.now.unix_seconds() - cycle.started_at.unix_seconds();
        let crawls_left = (CYCLE_SECONDS - elapsed).max(0) / self.allowance.interval.max(1);
        let crawls_left = usize::try_from(crawls_left).unwrap_or(0).max(1);
        let share = unseen.len().div_ceil(crawls_left).max(SHARE_LEAST);
        unseen.sort_by_key(|it| mix(it.number.into()));
        unseen.truncate(share);
        unseen
    }

    /// Where a host tells nothing of what it holds, what clients asked for is looked for first, newest first.
    fn demanded(&self) -> Vec<&'a CrawlBlob> {
        if !matches!(self.claim, Claim::Nothing(..)) {
            return Vec::new();
        }
        let unseen = &self.known.demanded - &self.known.held;
        self.blobs.iter().filter(|it| unseen.contains(it.number)).collect()
    }

    /// rsync sends files in the order of their paths, which is that of their digests.
    fn unclaimed_in_rsync_order(&self) -> Vec<&'a CrawlBlob> {
        let believed = self.believed();
        let mut unclaimed: Vec<_> = self.blobs.iter().filter(|it| !believed.contains(it.number)).collect();
        unclaimed.sort_by_key(|it| it.digest);
        unclaimed
    }

    /// What counts as held if nothing speaks against it.
    fn believed(&self) -> RoaringBitmap {
        &(&self.claimed | &self.known.held) & &self.newest
    }

    /// Are all files looked at by this visit?
    fn is_whole(&self) -> bool {
        self.doubt != Doubt::Calm && self.blobs.len() <= SMALL_TREE.min(self.room())
    }

    /// How many requests this visit may make.
    fn requests(&self) -> usize {
        if self.doubt == Doubt::Calm { self.allowance.calm } else { self.allowance.doubt }
    }

    /// How many HEAD requests this visit may make at first.
    fn room(&self) -> usize {
        rooms(self.requests())
    }

    /// The files that had wrong bytes or did not come to their end: until they were read again nothing is believed.
    fn damaged(&self) -> RoaringBitmap {
        let is_damaged = |it: &&Repair| matches!(it.fault, FileFault::Damaged | FileFault::Broken);
        let damaged = self.known.repair.iter().filter(is_damaged);
        damaged.map(|it| it.number).filter(|it| self.newest.contains(*it)).collect()
    }

    /// The files whose bodies were read in these 30 days.
    fn bodies_read(&self) -> RoaringBitmap {
        self.known.cycle.as_ref().map(|it| it.bodies.clone()).unwrap_or_default()
    }
}

/// What of a visit's requests may be HEAD requests: a quarter is for bodies.
fn rooms(requests: usize) -> usize {
    (requests.saturating_sub(OVERHEAD) * 3).div_ceil(4)
}

/// Files in the order of their choice, none twice, so many at most.
struct Chosen {
    files: Vec<CrawlBlob>,
    numbers: RoaringBitmap,
    room: usize,
}

impl Chosen {
    fn new(room: usize) -> Self {
        Self { files: Vec::new(), numbers: RoaringBitmap::new(), room }
    }

    fn add<'a>(&mut self, files: impl IntoIterator<Item = &'a CrawlBlob>) {
        for file in files {
            if self.files.len() >= self.room {
                return;
            }
            if self.numbers.insert(file.number) {
                self.files.push(*file);
            }
        }
    }

    /// Newest first.
    fn into_files(mut self) -> Vec<CrawlBlob> {
        self.files.sort_by_key(|it| Reverse(it.number));
        self.files
    }
}

/// Files whose bodies are read, of so many bytes together.
struct Bodies {
    chosen: Chosen,
    spent: u64,
}

impl Bodies {
    /// Adds at most `count` of these files, as far as all together have at most `bytes`.
    fn add<'a>(&mut self, files: impl IntoIterator<Item = &'a CrawlBlob>, bytes: u64, count: usize) {
        let mut left = count;
        for file in files {
            let before = self.chosen.files.len();
            if left == 0 || before >= self.chosen.room {
                return;
            }
            if file.size > bytes.saturating_sub(self.spent) {
                continue;
            }
            self.chosen.add([file]);
            if self.chosen.files.len() > before {
                self.spent += file.size;
                left -= 1;
            }
        }
    }
}

/// Why a question had no answer.
pub(super) fn unanswered(outcome: &Outcome) -> Option<&str> {
    match outcome {
        Outcome::Unreachable(reason) | Outcome::NoRoute(reason) => Some(reason),
        Outcome::Present(())
        | Outcome::Absent
        | Outcome::Damaged(_)
        | Outcome::Broken(_)
        | Outcome::Wrong(_) => None,
    }
}

/// One file of each of `parts` equal parts.
fn spread<'a>(files: &[&'a CrawlBlob], parts: usize, seed: u64) -> Vec<&'a CrawlBlob> {
    let parts = parts.min(files.len());
    let choose = |part: usize| {
        let (start, end) = (part * files.len() / parts, (part + 1) * files.len() / parts);
        let at = mix(seed ^ part as u64) % (end - start) as u64;
        files[start + at as usize]
    };
    (0..parts).map(choose).collect()
}

/// SplitMix64's finaliser: spreads numbers that are close to each other.
fn mix(seed: u64) -> u64 {
    let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
