//! What to make of a host's answers.

use std::collections::BTreeMap;

use roaring::RoaringBitmap;

use super::{Doubt, Findings, Plan, unanswered};
use crate::{
    connector::Outcome, crawler::Claim, database::crawl::CrawlBlob, mirror::CrawlState, oci,
    tree::CANARY_DIGEST,
};

/// So many other bodies that came to their end stand for one that is too large to be read.
const OTHERS_READ: usize = 3;

/// How many single files a verdict names.
pub const REASON_LIMIT: usize = 20;

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

impl Plan<'_> {
    /// What to make of all answers.
    pub fn verdict(&self, findings: &Findings) -> Verdict {
        if let Some(verdict) = self.damage(findings) {
            return verdict;
        }
        match &findings.range {
            Some(Outcome::Damaged(reason) | Outcome::Broken(reason) | Outcome::Wrong(reason)) => {
                return Verdict::lying(reason.clone());
            }
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

    /// One file with wrong bytes or another size, or that does not come to its end, and nothing is believed; the same
    /// as long as that file has not been read again.
    fn damage(&self, findings: &Findings) -> Option<Verdict> {
        let named = |number: &u32, reason: &str| format!("{}: {reason}", self.digest(*number));
        let bodies = findings.bodies.iter().filter_map(|(number, outcome)| match outcome {
            Outcome::Damaged(reason) | Outcome::Broken(reason) | Outcome::Wrong(reason) => {
                Some(named(number, reason))
            }
            _ => None,
        });
        let heads = findings.heads.iter().filter_map(|(number, outcome)| match outcome {
            Outcome::Damaged(reason) => Some(named(number, reason)),
            _ => None,
        });
        let mut reasons: Vec<String> = bodies.chain(heads).collect();
        let found = reasons.is_empty();
        let unread = self.damaged().into_iter().filter(|it| found && !self.is_settled(findings, *it));
        reasons.extend(
            unread.map(|it| named(&it, "it was damaged or broke off, and was not read to its end since")),
        );
        let first = reasons.first()?.clone();
        let more = reasons.len().saturating_sub(REASON_LIMIT);
        reasons.truncate(REASON_LIMIT);
        if more > 0 {
            reasons.push(format!("and {more} files more"));
        }
        Some(Verdict { reasons, ..Verdict::lying(first) })
    }

    /// Is it known that a file which was damaged or broken is not any more? What is gone does no harm. For one that
    /// is too large to be read on any day others speak.
    pub(super) fn is_settled(&self, findings: &Findings, number: u32) -> bool {
        let came = |it: &&Outcome| **it == Outcome::Present(());
        let is_too_large =
            || self.blobs.iter().any(|it| it.number == number && it.size > self.allowance.largest);
        findings.bodies.get(&number).as_ref().is_some_and(came)
            || findings.heads.get(&number) == Some(&Outcome::Absent)
            || (findings.bodies.values().filter(came).count() >= OTHERS_READ && is_too_large())
    }

    /// What the host holds after these answers.
    pub(super) fn held(&self, findings: &Findings) -> RoaringBitmap {
        let confirmed = self.confirmed(findings);
        if self.is_whole() || (self.is_caught(findings) && self.doubt != Doubt::Caught) {
            return confirmed;
        }
        let believed = match self.doubt {
            Doubt::Caught | Doubt::Calm => self.known.held.clone(),
            Doubt::New | Doubt::Changed if self.goes_on() => self.believed(),
            Doubt::New | Doubt::Changed => self.claimed.clone(),
        };
        let asked: RoaringBitmap = findings.heads.keys().chain(findings.bodies.keys()).copied().collect();
        ((believed & &self.newest) - asked) | confirmed
    }

    /// Does the host show no older serial than before? Then it has not lost what it held.
    fn goes_on(&self) -> bool {
        self.known.cycle.as_ref().is_some_and(|it| it.serial <= self.claim.serial())
    }

    fn state(&self, findings: &Findings, held: &RoaringBitmap) -> CrawlState {
        let added = match self.claim {
            Claim::Listed(..) => self.newest.clone(), // what arrived is what is listed
            _ => &self.newest - &self.claimed,
        };
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
        let confirmed = findings.heads.keys().filter(|it| held.contains(**it)).count();
        let mut reasons = vec![match self.claim {
            Claim::Nothing(None, reason) if held.is_empty() => format!(
                "{reason}, nor any other file of the category: \
                 either the URL is wrong, or the first rsync has not ended"
            ),
            Claim::Nothing(None, reason) => format!("{reason}: the first rsync has not ended"),
            Claim::Newest(serial) => format!("it shows serial {serial}, the newest"),
            Claim::Former(serial, _) => format!("it shows serial {serial}, not the newest"),
            Claim::Nothing(_, reason) | Claim::Broken(reason) => reason.clone(),
            Claim::Listed(_, listed, reason) => format!("{reason}; rsync lists {} files", listed.len()),
        }];
        let (held, all) = (held.len(), self.blobs.len());
        reasons
            .push(format!("{confirmed} of {asked} files asked for are there, {held} of {all} count as held"));
        if self.doubt == Doubt::Caught && !self.is_whole() {
            reasons.push(
                "it was caught lying: it is looked at file by file, and only what was seen counts".into(),
            );
        }
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
            | Outcome::Broken(reason)
            | Outcome::Wrong(reason)
            | Outcome::Unreachable(reason)
            | Outcome::NoRoute(reason) => Some(format!("{digest}: {reason}")),
        })
    }

    /// Did it claim what it lacks, or give something other than the file?
    pub(super) fn is_caught(&self, findings: &Findings) -> bool {
        let is_lie = |(number, outcome): (&u32, &Outcome)| match outcome {
            Outcome::Damaged(_) | Outcome::Broken(_) | Outcome::Wrong(_) => true,
            Outcome::Absent => self.claimed.contains(*number),
            Outcome::Present(()) | Outcome::Unreachable(_) | Outcome::NoRoute(_) => false,
        };
        matches!(self.claim, Claim::Broken(_))
            || findings.heads.iter().any(is_lie)
            || findings.bodies.iter().any(|(number, it)| *it == Outcome::Absent || is_lie((number, it)))
    }

    /// The files that answered HEAD or whose body came, without those whose body did not come.
    fn confirmed(&self, findings: &Findings) -> RoaringBitmap {
        let is_there = |(number, outcome): (&u32, &Outcome)| {
            let body_came = findings.bodies.get(number).is_none_or(|it| *it == Outcome::Present(()));
            (*outcome == Outcome::Present(()) && body_came).then_some(*number)
        };
        findings.heads.iter().chain(&findings.bodies).filter_map(is_there).collect()
    }

    pub(super) fn digest(&self, number: u32) -> String {
        let found = self.blobs.iter().find(|it| it.number == number);
        found.map_or_else(|| "a file".into(), |it| oci::Digest::from(it.digest).to_string())
    }
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
