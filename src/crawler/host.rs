//! One crawl of one host: its opt-ins, and of each its URLs.

use std::{collections::HashMap, sync::Arc};

use jiff::Timestamp;
use tokio::time::Instant;

use super::{
    Config,
    plan::Verdict,
    schedule::auto_disabled,
    url::{Probe, TOO_LONG, Visit, Visitor},
};
use crate::{
    database::crawl::{CategoryTruth, CrawlCategory, CrawlHoldings, CrawlHost, CrawlResult, UrlReach},
    mirror::{CategoryId, CrawlState, HostKind, HostUrl, Reach},
};

/// What all hosts are compared with, by category.
pub(super) type Truths = HashMap<CategoryId, Arc<CategoryTruth>>;

/// What one opt-in came to.
struct CategoryResult {
    holdings: CrawlHoldings,
    urls: Vec<UrlReach>,
    log: Vec<String>,
}

/// Crawls a host. Never fails: what goes wrong is what was found out.
pub(super) async fn crawl(
    visitor: &Visitor,
    host: &CrawlHost,
    truths: &Truths,
    seed: u64,
    clock: fn() -> Timestamp,
    config: &Config,
) -> CrawlResult {
    let started_at = clock();
    let deadline = Instant::now() + config.host_timeout.unsigned_abs();
    let mut results = Vec::new();
    for category in &host.categories {
        let Some(truth) = truths.get(&category.category) else { continue };
        results.push(match host.kind {
            HostKind::Static => crawl_category(visitor, category, truth, seed, deadline).await,
            HostKind::PullThrough | HostKind::Cdn => probe_category(visitor, category, deadline).await,
        });
    }
    let states: Vec<CrawlState> = results.iter().map(|it| it.holdings.state).collect();
    let state = worst(&states);
    let log: Vec<String> = results.iter_mut().flat_map(|it| std::mem::take(&mut it.log)).collect();
    CrawlResult {
        host: host.id,
        started_at: started_at.into(),
        duration: clock().duration_since(started_at),
        state,
        auto_disabled: auto_disabled(config, host, state, log.first()),
        log: log.join("\n"),
        urls: results.iter_mut().flat_map(|it| std::mem::take(&mut it.urls)).collect(),
        holdings: results.into_iter().map(|it| it.holdings).collect(),
    }
}

/// Visits all URLs of an opt-in. Clients are sent to any of them, so what counts as held is what all hold
/// that can be reached.
async fn crawl_category(
    visitor: &Visitor,
    category: &CrawlCategory,
    truth: &CategoryTruth,
    seed: u64,
    deadline: Instant,
) -> CategoryResult {
    let mut visits: Vec<(&HostUrl, Visit)> = Vec::new();
    for url in &category.urls {
        visits.push((&url.url, visitor.visit(url, truth, seed, deadline).await));
    }
    let states: Vec<CrawlState> = visits.iter().map(|(_, it)| it.verdict.state).collect();
    let state = worst(&states);
    let log = visits.iter().flat_map(|(url, visit)| log_lines(category, url, &visit.verdict)).collect();
    let reason = visits.iter().find(|(_, it)| it.verdict.state == state);
    let reason = reason.map_or_else(|| "it has no URL".to_owned(), |(_, it)| it.verdict.reasons.join("; "));
    let held = visits.iter().filter_map(|(_, it)| it.verdict.held.clone());
    let holdings = CrawlHoldings {
        host_category: category.host_category,
        serial: visits.iter().filter_map(|(_, it)| it.serial).min(),
        state,
        reason,
        blobs: held.reduce(|one, other| one & other),
    };
    CategoryResult { holdings, urls: visits.into_iter().filter_map(|(_, it)| it.reach).collect(), log }
}

/// Asks only whether the URLs answer: what the host has is the operator's word.
async fn probe_category(visitor: &Visitor, category: &CrawlCategory, deadline: Instant) -> CategoryResult {
    let mut probes = Vec::new();
    for url in &category.urls {
        probes.push((&url.url, visitor.probe(url, deadline).await));
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
    CategoryResult { holdings, urls, log }
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
