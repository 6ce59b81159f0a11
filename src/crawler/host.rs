//! One crawl of one host: its opt-ins, and of each its URLs.

use std::{collections::HashMap, sync::Arc};

use jiff::Timestamp;
use tokio::time::Instant;

use super::{
    Config,
    budget::Budget,
    plan::{Known, Memory, Occasion, Verdict},
    schedule::auto_disabled,
    url::{Probe, TOO_LONG, Target, Visit, Visitor},
};
use crate::{
    connector::Meter,
    database::crawl::{
        CategoryTruth, Checks, CrawlCategory, CrawlHoldings, CrawlHost, CrawlResult, OptInChecks, UrlFacts,
        UrlReach,
    },
    mirror::{CategoryId, CrawlState, HostKind, HostUrl, Reach},
};

/// What all hosts are compared with, by category.
pub(super) type Truths = HashMap<CategoryId, Arc<CategoryTruth>>;

/// What one opt-in came to.
struct CategoryResult {
    holdings: CrawlHoldings,
    urls: Vec<UrlReach>,
    log: Vec<String>,
    facts: Vec<UrlFacts>,
    checks: Option<OptInChecks>,
}

/// How hosts are crawled this time.
#[derive(Clone, Copy)]
pub(super) struct Turn<'a> {
    pub(super) config: &'a Config,
    pub(super) seed: u64,
    pub(super) clock: fn() -> Timestamp,
    /// Somebody named the hosts: they are looked at as if they were new.
    pub(super) is_asked_for: bool,
}

/// One crawl of one host, with what it may cost.
struct HostCrawl<'a> {
    visitor: Visitor,
    truths: &'a Truths,
    turn: Turn<'a>,
    budget: Budget,
    meter: Arc<Meter>,
    deadline: Instant,
    /// How many URLs are still to be visited.
    visits_left: usize,
}

/// Crawls a host. Never fails: what goes wrong is what was found out. `None` when the host's budget for today is
/// used up.
pub(super) async fn crawl(
    visitor: &Visitor,
    host: &CrawlHost,
    truths: &Truths,
    turn: Turn<'_>,
) -> Option<CrawlResult> {
    let started_at = (turn.clock)();
    let meter = Arc::<Meter>::default();
    let visits = host.categories.iter().filter(|it| truths.contains_key(&it.category));
    let visits = visits.map(|it| it.urls.len()).sum();
    let mut crawl = HostCrawl {
        visitor: visitor.counted_by(&meter),
        truths,
        turn,
        budget: Budget::new(&turn.config.limits(), host.used, visits, started_at.into()),
        meter,
        deadline: Instant::now() + turn.config.host_timeout.unsigned_abs(),
        visits_left: visits,
    };
    let mut results = Vec::new();
    for category in &host.categories {
        results.extend(match host.kind {
            HostKind::Static => crawl.crawl_category(category).await,
            HostKind::PullThrough | HostKind::Cdn => crawl.probe_category(category).await,
        });
    }
    if results.is_empty() && visits > 0 {
        return None;
    }
    let states: Vec<CrawlState> = results.iter().map(|it| it.holdings.state).collect();
    let state = worst(&states);
    let log: Vec<String> = results.iter_mut().flat_map(|it| std::mem::take(&mut it.log)).collect();
    let facts = results.iter_mut().flat_map(|it| std::mem::take(&mut it.facts)).collect();
    let checks = Checks {
        requests: crawl.meter.requests(),
        bytes: crawl.meter.bytes(),
        facts,
        opt_ins: results.iter_mut().filter_map(|it| it.checks.take()).collect(),
    };
    Some(CrawlResult {
        host: host.id,
        started_at: started_at.into(),
        duration: (turn.clock)().duration_since(started_at),
        state,
        auto_disabled: auto_disabled(turn.config, host, state, log.first()),
        log: log.join("\n"),
        urls: results.iter_mut().flat_map(|it| std::mem::take(&mut it.urls)).collect(),
        holdings: results.into_iter().map(|it| it.holdings).collect(),
        checks,
    })
}

impl HostCrawl<'_> {
    /// Visits all URLs of an opt-in. Clients are sent to any of them, so what counts as held is what all hold
    /// that can be reached. `None` when there is nothing to compare it with, or not enough of today's budget.
    async fn crawl_category(&mut self, category: &CrawlCategory) -> Option<CategoryResult> {
        let truth = self.truths.get(&category.category)?;
        let known = Known::from(category);
        let mut visits: Vec<(&HostUrl, Visit)> = Vec::new();
        for url in &category.urls {
            let now = Instant::now();
            let left = self.deadline.saturating_duration_since(now);
            let target = Target {
                url,
                facts: category.facts.get(&url.id),
                rsync_url: category.rsync_url.as_ref(),
                truth,
                known: &known,
                occasion: self.occasion()?,
                deadline: self.deadline,
                bodies_until: now + left / u32::try_from(self.visits_left).unwrap_or(u32::MAX).max(1),
            };
            visits.push((&url.url, self.visitor.visit(&target).await));
            self.visits_left -= 1;
        }
        Some(CategoryResult::new(category, visits))
    }

    /// Asks only whether the URLs answer: what the host has is the operator's word. `None` as above.
    async fn probe_category(&mut self, category: &CrawlCategory) -> Option<CategoryResult> {
        self.truths.get(&category.category)?;
        let mut probes = Vec::new();
        for url in &category.urls {
            self.occasion()?;
            probes.push((&url.url, self.visitor.probe(url, self.deadline).await));
            self.visits_left -= 1;
        }
        let line = |(url, probe): &(&HostUrl, Probe)| {
            let reason = probe.reach.as_ref().map_or(TOO_LONG, |it| it.reason.as_deref().unwrap_or_default());
            (!reason.is_empty()).then(|| format!("{} {url}: {reason}", category.name))
        };
        let log: Vec<String> = probes.iter().filter_map(line).collect();
        let urls: Vec<_> = probes.into_iter().filter_map(|(_, it)| it.reach).collect();
        let is_up = urls.iter().any(|it| it.ipv4 == Reach::Up || it.ipv6 == Reach::Up);
        let state = if is_up { CrawlState::UpToDate } else { CrawlState::Unreachable };
        let (host_category, reason) = (category.host_category, log.join("; "));
        let holdings = CrawlHoldings { host_category, serial: None, state, reason, blobs: None };
        Some(CategoryResult { holdings, urls, log, facts: Vec::new(), checks: None })
    }

    fn occasion(&self) -> Option<Occasion> {
        let allowance = self.budget.allow(self.meter.requests(), self.meter.bytes(), self.visits_left)?;
        let Turn { seed, clock, is_asked_for, .. } = self.turn;
        Some(Occasion { allowance, seed, is_asked_for, now: clock().into() })
    }
}

impl CategoryResult {
    fn new(category: &CrawlCategory, visits: Vec<(&HostUrl, Visit)>) -> Self {
        let states: Vec<CrawlState> = visits.iter().map(|(_, it)| it.verdict.state).collect();
        let state = worst(&states);
        let log = visits.iter().flat_map(|(url, visit)| log_lines(category, url, &visit.verdict)).collect();
        let reason = visits.iter().find(|(_, it)| it.verdict.state == state);
        let reason =
            reason.map_or_else(|| "it has no URL".to_owned(), |(_, it)| it.verdict.reasons.join("; "));
        let held = visits.iter().filter_map(|(_, it)| it.verdict.held.clone());
        let holdings = CrawlHoldings {
            host_category: category.host_category,
            serial: visits.iter().filter_map(|(_, it)| it.serial).min(),
            state,
            reason,
            blobs: held.reduce(|one, other| one & other),
        };
        let mut result = Self { holdings, urls: Vec::new(), log, facts: Vec::new(), checks: None };
        let mut memory: Option<Memory> = None;
        for (_, visit) in visits {
            result.urls.extend(visit.reach);
            result.facts.extend(visit.facts);
            memory = match (memory, visit.memory) {
                (Some(one), Some(other)) => Some(one.and(other)),
                (one, other) => one.or(other),
            };
        }
        result.checks = memory.map(|it| OptInChecks {
            host_category: category.host_category,
            cycle: it.cycle,
            repair: it.repair,
        });
        result
    }
}

fn log_lines(category: &CrawlCategory, url: &HostUrl, verdict: &Verdict) -> Vec<String> {
    let line = |reason: &String| format!("{} {url}: {}: {reason}", category.name, verdict.state);
    verdict.reasons.iter().map(line).collect()
}

/// The worst of them; unreachable only if all are, for then nothing was found out.
fn worst(states: &[CrawlState]) -> CrawlState {
    let reached = states.iter().filter(|it| **it != CrawlState::Unreachable);
    let badness = |it: &&CrawlState| match it {
        CrawlState::UpToDate => 0,
        CrawlState::Syncing => 1,
        CrawlState::Behind => 2,
        CrawlState::Lying => 3,
        CrawlState::Unreachable => 4,
    };
    reached.max_by_key(badness).copied().unwrap_or(CrawlState::Unreachable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_as_bad_as_its_worst_category() {
        use CrawlState::*;
        assert_eq!(worst(&[UpToDate, Behind, Syncing]), Behind);
        assert_eq!(worst(&[UpToDate, Lying, Unreachable]), Lying);
        assert_eq!(worst(&[UpToDate, Unreachable]), UpToDate);
        assert_eq!(worst(&[Unreachable]), Unreachable);
        assert_eq!(worst(&[]), Unreachable);
    }
}
