//! Which files of a host to look at, and what to make of the answers. No IO, clock or dice.

use std::collections::BTreeMap;

use roaring::RoaringBitmap;

use super::Claim;
use crate::{
    connector::Outcome,
    database::crawl::{CategoryTruth, CrawlBlob},
    mirror::CrawlState,
    oci,
    tree::CANARY_DIGEST,
};

#[cfg(test)]
mod tests;

/// Categories of at most so many files are looked at in full, whatever the host claims.
pub const SMALL_TREE: usize = 200;

/// How many of the newest files that a host claims are looked at.
pub const SAMPLE_NEWEST: usize = 40;

/// How many others of the files that it claims are looked at, chosen by the seed all over the category.
pub const SAMPLE_SPREAD: usize = 40;

/// How many files that the host does not claim but the newest serial has are looked at, newest first.
pub const ADDED_LIMIT: usize = 500;

/// How many files of a host that was caught lying are looked at, newest first.
pub const CHECK_LIMIT: usize = 3_000;

/// How many bodies are read at most: half of them the newest, the others chosen by the seed.
pub const BODY_LIMIT: usize = 64;

/// How many single files a verdict names.
pub const REASON_LIMIT: usize = 20;

/// How many bytes the one Range request asks for at most.
const RANGE_BYTES: u64 = 16;

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

/// What to think of a host and a category.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// In one word.
    pub state: CrawlState,
    /// The numbers of the files it holds; `None` when nothing was found out.
    pub held: Option<RoaringBitmap>,
    /// Why, for the host's admin.
    pub reasons: Vec<String>,
}

impl Verdict {
    /// Nothing was found out.
    pub fn unreachable(reason: impl Into<String>) -> Self {
        Self { state: CrawlState::Unreachable, held: None, reasons: vec![reason.into()] }
    }

    /// The host is not to be offered for this category at all.
    pub fn lying(reason: impl Into<String>) -> Self {
        Self { state: CrawlState::Lying, held: Some(RoaringBitmap::new()), reasons: vec![reason.into()] }
    }
}

/// Compares one host with the newest state of a category.
pub struct Plan<'a> {
    /// Newest first.
    blobs: &'a [CrawlBlob],
    newest: RoaringBitmap,
    claim: &'a Claim,
    /// What the host claims of the newest state: what that state dropped is nobody's lie.
    claimed: RoaringBitmap,
    seed: u64,
}

impl<'a> Plan<'a> {
    /// Another seed looks at other files of a large category.
    pub fn new(truth: &'a CategoryTruth, claim: &'a Claim, seed: u64) -> Self {
        let newest: RoaringBitmap = truth.blobs.iter().map(|it| it.number).collect();
        let claimed = match claim {
            Claim::Newest(_) => newest.clone(),
            Claim::Former(_, blobs) => blobs & &newest,
            Claim::Nothing(..) | Claim::Broken(_) => RoaringBitmap::new(),
        };
        Self { blobs: &truth.blobs, newest, claim, claimed, seed }
    }

    /// The files to ask for at first, newest first.
    pub fn first_files(&self) -> Vec<CrawlBlob> {
        if self.is_small() {
            return self.blobs.to_vec();
        }
        let is_claimed = |it: &&CrawlBlob| self.claimed.contains(it.number);
        let (claimed, added): (Vec<_>, Vec<_>) = self.blobs.iter().partition(is_claimed);
        let (newest, others) = claimed.split_at(SAMPLE_NEWEST.min(claimed.len()));
        let chosen = newest.iter().copied().chain(spread(others, self.seed));
        let mut files: Vec<CrawlBlob> = chosen.chain(added.into_iter().take(ADDED_LIMIT)).copied().collect();
        files.sort_by_key(|it| std::cmp::Reverse(it.number));
        files
    }

    /// The files to ask for when the first answers showed a lie, newest first: then only what is
    /// confirmed counts.
    pub fn further_files(&self, findings: &Findings) -> Vec<CrawlBlob> {
        if !self.is_caught(findings) {
            return Vec::new();
        }
        let room = CHECK_LIMIT.saturating_sub(findings.heads.len());
        self.blobs.iter().filter(|it| !findings.heads.contains_key(&it.number)).take(room).copied().collect()
    }

    /// The file and the bytes of it to ask for by Range, the largest that is there.
    pub fn range(&self, findings: &Findings) -> Option<(CrawlBlob, std::ops::Range<u64>)> {
        let confirmed = self.confirmed(findings);
        let present = self.blobs.iter().filter(|it| it.size >= 2 && confirmed.contains(it.number));
        present.max_by_key(|it| it.size).map(|it| (*it, 1..it.size.min(1 + RANGE_BYTES)))
    }

    /// The files whose bytes to read, of at most `budget` bytes together: the newest for one half of it,
    /// then those that the seed chooses.
    pub fn bodies(&self, findings: &Findings, budget: u64) -> Vec<CrawlBlob> {
        let confirmed = self.confirmed(findings);
        let is_there = |it: &&CrawlBlob| confirmed.contains(it.number);
        let mut files: Vec<CrawlBlob> = self.blobs.iter().filter(is_there).copied().collect();
        let mut chosen: Vec<CrawlBlob> = Vec::new();
        let mut spent = 0;
        let mut choose = |file: &CrawlBlob, bytes: u64, count: usize| {
            let fits = chosen.len() < count && file.size <= bytes.saturating_sub(spent);
            if fits && !chosen.contains(file) {
                spent += file.size;
                chosen.push(*file);
            }
        };
        files.iter().for_each(|it| choose(it, budget / 2, BODY_LIMIT / 2));
        files.sort_by_key(|it| mix(self.seed ^ u64::from(it.number)));
        files.iter().for_each(|it| choose(it, budget, BODY_LIMIT));
        chosen
    }

    /// What to make of all answers.
    pub fn verdict(&self, findings: &Findings) -> Verdict {
        if let Some((number, reason)) = first_wrong(&findings.bodies) {
            return Verdict::lying(format!("{}: {reason}", self.digest(number)));
        }
        match &findings.range {
            Some(Outcome::Damaged(reason) | Outcome::Wrong(reason)) => return Verdict::lying(reason.clone()),
            Some(Outcome::Absent) => return Verdict::lying("it has no file for a Range request"),
            _ => {}
        }
        // Whoever was caught does not keep what it lacks by falling silent afterwards.
        if let Some(reason) = silence(findings).filter(|_| !self.is_caught(findings)) {
            return Verdict::unreachable(reason);
        }
        if let Some(reason) = mostly_unanswered(&findings.bodies) {
            let verdict = Verdict::unreachable(format!("bodies do not come: {reason}"));
            return Verdict { held: Some(RoaringBitmap::new()), ..verdict };
        }
        let held = self.held(findings);
        Verdict {
            state: self.state(findings, &held),
            reasons: self.reasons(findings, &held),
            held: Some(held),
        }
    }

    fn held(&self, findings: &Findings) -> RoaringBitmap {
        let confirmed = self.confirmed(findings);
        if self.is_small() || self.is_caught(findings) {
            return confirmed;
        }
        let asked: RoaringBitmap = findings.heads.keys().copied().collect();
        (&self.claimed - asked) | confirmed
    }

    fn state(&self, findings: &Findings, held: &RoaringBitmap) -> CrawlState {
        let added = &self.newest - &self.claimed;
        let canary = self.blobs.iter().find(|it| oci::Digest::from(it.digest) == CANARY_DIGEST);
        let mut arrived = held & added;
        if let Some(canary) = canary {
            arrived.remove(canary.number); // it comes with every serial
        }
        match self.claim {
            _ if self.is_caught(findings) => CrawlState::Lying,
            Claim::Newest(_) if *held == self.newest => CrawlState::UpToDate,
            Claim::Newest(_) => CrawlState::Syncing,
            _ if arrived.is_empty() => CrawlState::Behind,
            _ => CrawlState::Syncing,
        }
    }

    fn reasons(&self, findings: &Findings, held: &RoaringBitmap) -> Vec<String> {
        let asked = findings.heads.len();
        let confirmed = self.confirmed(findings).len();
        let mut reasons = vec![match self.claim {
            Claim::Nothing(None, reason) if confirmed == 0 => format!(
                "{reason}, nor any other file of the category: \
                 either the URL is wrong, or the first rsync has not ended"
            ),
            Claim::Nothing(None, reason) => format!("{reason}: the first rsync has not ended"),
            Claim::Newest(serial) => format!("it shows serial {serial}, the newest"),
            Claim::Former(serial, _) => format!("it shows serial {serial}, not the newest"),
            Claim::Nothing(_, reason) | Claim::Broken(reason) => reason.clone(),
        }];
        let (held, all) = (held.len(), self.blobs.len());
        reasons
            .push(format!("{confirmed} of {asked} files asked for are there, {held} of {all} count as held"));
        let faults: Vec<String> = self.blobs.iter().filter_map(|it| self.fault(findings, it)).collect();
        reasons.extend(faults.iter().take(REASON_LIMIT).cloned());
        if faults.len() > REASON_LIMIT {
            reasons.push(format!("and {} files more", faults.len() - REASON_LIMIT));
        }
        reasons
    }

    /// What is wrong with one file. What is neither there nor claimed is no fault.
    fn fault(&self, findings: &Findings, blob: &CrawlBlob) -> Option<String> {
        let digest = oci::Digest::from(blob.digest);
        let answers = [findings.heads.get(&blob.number), findings.bodies.get(&blob.number)];
        answers.into_iter().flatten().find_map(|it| match it {
            Outcome::Present(()) => None,
            Outcome::Absent if self.claimed.contains(blob.number) => {
                Some(format!("{digest}: it claims to have it, and has not"))
            }
            Outcome::Absent => None,
            Outcome::Damaged(reason)
            | Outcome::Wrong(reason)
            | Outcome::Unreachable(reason)
            | Outcome::NoRoute(reason) => Some(format!("{digest}: {reason}")),
        })
    }

    /// Did it claim what it lacks, or give something other than the file?
    fn is_caught(&self, findings: &Findings) -> bool {
        let lacks_claimed = |(number, outcome): (&u32, &Outcome)| {
            *outcome == Outcome::Absent && self.claimed.contains(*number)
        };
        matches!(self.claim, Claim::Broken(_))
            || first_wrong(&findings.heads).is_some()
            || findings.heads.iter().any(lacks_claimed)
            || findings.bodies.values().any(|it| *it == Outcome::Absent)
    }

    /// The files that answered HEAD, without those whose body did not come.
    fn confirmed(&self, findings: &Findings) -> RoaringBitmap {
        let is_there = |(number, outcome): (&u32, &Outcome)| {
            let body_came = findings.bodies.get(number).is_none_or(|it| *it == Outcome::Present(()));
            (*outcome == Outcome::Present(()) && body_came).then_some(*number)
        };
        findings.heads.iter().filter_map(is_there).collect()
    }

    fn is_small(&self) -> bool {
        self.blobs.len() <= SMALL_TREE
    }

    fn digest(&self, number: u32) -> String {
        let found = self.blobs.iter().find(|it| it.number == number);
        found.map_or_else(|| "a file".into(), |it| oci::Digest::from(it.digest).to_string())
    }
}

fn first_wrong(outcomes: &BTreeMap<u32, Outcome>) -> Option<(u32, &str)> {
    outcomes.iter().find_map(|(number, outcome)| match outcome {
        Outcome::Damaged(reason) | Outcome::Wrong(reason) => Some((*number, reason.as_str())),
        _ => None,
    })
}

/// Why too little was found out to judge.
fn silence(findings: &Findings) -> Option<String> {
    let range = findings.range.as_ref().and_then(unanswered);
    let range = range.map(|reason| format!("a Range request failed: {reason}"));
    findings.stopped.clone().or_else(|| mostly_unanswered(&findings.heads)).or(range)
}

/// Why a host cannot be judged, when most questions had no answer.
fn mostly_unanswered(answers: &BTreeMap<u32, Outcome>) -> Option<String> {
    let mut reasons = answers.values().filter_map(unanswered);
    let count = reasons.clone().count();
    let reason = reasons.next_back()?;
    (2 * count > answers.len()).then(|| format!("{count} of {} requests failed: {reason}", answers.len()))
}

/// Why a question had no answer.
pub(super) fn unanswered(outcome: &Outcome) -> Option<&str> {
    match outcome {
        Outcome::Unreachable(reason) | Outcome::NoRoute(reason) => Some(reason),
        Outcome::Present(()) | Outcome::Absent | Outcome::Damaged(_) | Outcome::Wrong(_) => None,
    }
}

/// One file of each of [`SAMPLE_SPREAD`] equal parts.
fn spread<'a>(files: &[&'a CrawlBlob], seed: u64) -> Vec<&'a CrawlBlob> {
    let parts = SAMPLE_SPREAD.min(files.len());
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
