//! What the next crawl has to know.

use std::collections::HashMap;

use roaring::RoaringBitmap;

use super::{Findings, Known, Plan, Verdict, unanswered};
use crate::{
    connector::Outcome,
    database::{
        Time,
        crawl::{CrawlBlob, Cycle, Repair},
    },
    mirror::{CrawlState, FileFault, Serial},
};

/// Within this time each file is looked at once, in seconds: 14 and a half days. One cycle may be over early and the
/// next one take its time, so that two looks at a file are at most two cycles apart: 29 days.
pub const CYCLE_SECONDS: i64 = 29 * 12 * 60 * 60;

/// After this time bodies are read anew, in seconds: 30 days.
const BODIES_SECONDS: i64 = 30 * 24 * 60 * 60;

/// What a visit leaves for the next one.
#[derive(Clone, Debug, PartialEq)]
pub struct Memory {
    /// Which files were looked at.
    pub cycle: Cycle,
    /// What is to be repaired, newest first.
    pub repair: Vec<Repair>,
}

impl Memory {
    /// Of a host that gave a damaged canary, after which nothing was asked.
    pub fn caught(known: &Known, now: Time) -> Self {
        let cycle = known.cycle.clone().unwrap_or_else(|| new_cycle(now));
        let caught_at = cycle.caught_at.or(Some(now));
        Self { cycle: Cycle { caught_at, ..cycle }, repair: known.repair.clone() }
    }

    /// Of an opt-in with several URLs: what was looked at under all of them.
    pub fn and(self, other: Self) -> Self {
        let (one, two) = (self.cycle, other.cycle);
        let mut repair = self.repair;
        let known: RoaringBitmap = repair.iter().map(|it| it.number).collect();
        repair.extend(other.repair.into_iter().filter(|it| !known.contains(it.number)));
        repair.sort_by_key(|it| std::cmp::Reverse(it.number));
        let cycle = Cycle {
            started_at: one.started_at.max(two.started_at),
            looked: one.looked & two.looked,
            bodies_since: one.bodies_since.max(two.bodies_since),
            bodies: one.bodies & two.bodies,
            serial: one.serial.min(two.serial),
            caught_at: one.caught_at.or(two.caught_at),
        };
        Self { cycle, repair }
    }
}

impl Plan<'_> {
    /// What the next crawl has to know; `None` when nothing was found out: then what was known stays.
    pub fn memory(&self, findings: &Findings, verdict: &Verdict) -> Option<Memory> {
        let held = verdict.held.as_ref()?;
        let answered: RoaringBitmap = findings
            .heads
            .iter()
            .chain(&findings.bodies)
            .filter_map(|(number, outcome)| unanswered(outcome).is_none().then_some(*number))
            .collect();
        let known = self.known.cycle.clone().unwrap_or_else(|| new_cycle(self.now));
        let is_caught = verdict.state == CrawlState::Lying;
        let caught_at = match known.caught_at {
            None if !is_caught => None,
            Some(_) if !is_caught && self.claimed.is_subset(held) => None,
            since => since.or(Some(self.now)),
        };
        let cycle = Cycle { serial: self.claim.known_serial(), caught_at, ..known };
        let cycle = self.turn_bodies(self.turn_looks(cycle, &answered, held), findings, held);
        Some(Memory { cycle, repair: self.repair(findings, &answered) })
    }

    /// A cycle in which all was looked at ends, and the next one begins.
    fn turn_looks(&self, cycle: Cycle, answered: &RoaringBitmap, held: &RoaringBitmap) -> Cycle {
        let looked = &(&cycle.looked | answered) & &self.newest;
        let wanted = &(&self.claimed | held) & &self.newest;
        if wanted.is_subset(&looked) {
            return Cycle { started_at: self.now, looked: RoaringBitmap::new(), ..cycle };
        }
        Cycle { looked, ..cycle }
    }

    /// Bodies are read anew after 30 days, if by then all were that fit into a day.
    fn turn_bodies(&self, cycle: Cycle, findings: &Findings, held: &RoaringBitmap) -> Cycle {
        let is_right =
            |(number, outcome): (&u32, &Outcome)| (*outcome == Outcome::Present(())).then_some(*number);
        let read: RoaringBitmap = findings.bodies.iter().filter_map(is_right).collect();
        let bodies = &(&cycle.bodies | read) & &self.newest;
        let is_over = self.now.unix_seconds() - cycle.bodies_since.unix_seconds() > BODIES_SECONDS;
        let fits = |it: &CrawlBlob| it.size <= self.allowance.left;
        let is_unread = |it: &CrawlBlob| held.contains(it.number) && !bodies.contains(it.number);
        if is_over && !self.blobs.iter().any(|it| fits(it) && is_unread(it)) {
            return Cycle { bodies_since: self.now, bodies: RoaringBitmap::new(), ..cycle };
        }
        Cycle { bodies, ..cycle }
    }

    /// What was to be repaired and was not seen to be right now, and what was found wrong now; newest first.
    fn repair(&self, findings: &Findings, answered: &RoaringBitmap) -> Vec<Repair> {
        let is_open = |it: &&Repair| match it.fault {
            FileFault::Damaged | FileFault::Broken => !self.is_settled(findings, it.number),
            FileFault::Absent => !answered.contains(it.number) && self.claimed.contains(it.number),
            FileFault::Wrong => !answered.contains(it.number),
        };
        let found = |number: u32| {
            let answers = [findings.bodies.get(&number), findings.heads.get(&number)];
            answers.into_iter().flatten().find_map(|it| self.fault_of(number, it))
        };
        let former: HashMap<u32, &Repair> = self.known.repair.iter().map(|it| (it.number, it)).collect();
        let open = |number: u32| former.get(&number).copied().filter(is_open).cloned();
        self.blobs.iter().filter_map(|it| found(it.number).or_else(|| open(it.number))).collect()
    }

    fn fault_of(&self, number: u32, outcome: &Outcome) -> Option<Repair> {
        let (fault, reason) = match outcome {
            Outcome::Absent if self.claimed.contains(number) => {
                (FileFault::Absent, "it claims to have it, and has not".to_owned())
            }
            Outcome::Damaged(reason) => (FileFault::Damaged, reason.clone()),
            Outcome::Broken(reason) => (FileFault::Broken, reason.clone()),
            Outcome::Wrong(reason) => (FileFault::Wrong, reason.clone()),
            Outcome::Absent | Outcome::Present(()) | Outcome::Unreachable(_) | Outcome::NoRoute(_) => {
                return None;
            }
        };
        Some(Repair { number, fault, reason })
    }
}

fn new_cycle(now: Time) -> Cycle {
    Cycle {
        started_at: now,
        looked: RoaringBitmap::new(),
        bodies_since: now,
        bodies: RoaringBitmap::new(),
        serial: None::<Serial>,
        caught_at: None,
    }
}
