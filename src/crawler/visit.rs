//! One crawl of one host under its lease: renewed while it runs, ended when its result is stored.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};

use super::{
    Crawler, HostSummary, Observer, Options,
    host::{self, Truths, Turn},
    news, schedule,
};
use crate::{
    connector::Pace,
    database::{
        Database, Time,
        crawl::{CrawlEnd, CrawlHost, CrawlResult},
        lease,
    },
    mirror::{CrawlState, HostId},
};

/// A lease is renewed so many times before it would end.
const RENEWALS: u32 = 3;

/// How long to wait before a result is stored again that could not be.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// A host that we have taken.
pub(super) struct Crawl<'a> {
    pub(super) crawler: &'a Crawler,
    pub(super) database: &'a Arc<Database>,
    pub(super) options: &'a Options,
    pub(super) observer: &'a dyn Observer,
    pub(super) holder: String,
    pub(super) truths: Truths,
    pub(super) host: CrawlHost,
}

impl Crawl<'_> {
    /// Crawls and stores; no summary when another crawler has taken the host over.
    pub(super) async fn run(self) -> (HostId, Option<HostSummary>) {
        self.observer.host_started(&self.host.name);
        let summary = self.crawl().await;
        match &summary {
            Some(summary) => {
                report(summary);
                self.observer.host_finished(summary);
            }
            None => tracing::warn!(host.name = %self.host.name, "another crawler has taken the host over"),
        }
        (self.host.id, summary)
    }

    async fn crawl(&self) -> Option<HostSummary> {
        let Options { seed, clock, .. } = *self.options;
        let Crawler { visitor, config, requests, .. } = self.crawler;
        // Another choice with each crawl of the host.
        let seed = seed ^ clock().as_microsecond().unsigned_abs();
        let pace = Arc::new(Pace::new(config.rate, requests.clone()));
        let visitor = visitor.paced(&pace);
        let is_asked_for = !self.options.hosts.is_empty();
        let turn = Turn { config, seed, clock, is_asked_for };
        let result = tokio::select! {
            result = host::crawl(&visitor, &self.host, &self.truths, turn) => result,
            () = self.keep_lease() => return None,
        };
        let Some(result) = result else { return Some(self.put_off().await) };
        let result = Arc::new(result);
        let mut summary = HostSummary::new(&self.host, &result);
        match self.store(&result, pace.retry_after()).await {
            Ok(true) => {
                if let Some(teller) = &self.crawler.teller {
                    news::tell(teller, self.database, &self.host, &result).await;
                }
            }
            Ok(false) => return None,
            Err(error) => summary.error = Some(format!("the result cannot be stored: {error}")),
        }
        Some(summary)
    }

    /// Nothing may be asked of it today: it is looked at again at its next turn.
    async fn put_off(&self) -> HostSummary {
        let (now, host, holder) = ((self.options.clock)(), self.host.id, self.holder.clone());
        let dice = self.options.seed ^ host.0.unsigned_abs();
        let next = schedule::next(&self.crawler.config, self.host.failures, None, now, dice);
        let put_off = move |database: &Database| {
            database.write_log(|connection| lease::put_off(connection, host, &holder, next.at))
        };
        if let Err(error) = blocking(self.database, put_off).await {
            tracing::warn!(%error, "a host could not be given back; its lease ends by itself");
        }
        HostSummary::put_off(&self.host)
    }

    /// Stores the result; a database that is down is waited for as long as the lease is.
    async fn store(
        &self,
        result: &Arc<CrawlResult>,
        retry_after: Option<Duration>,
    ) -> Result<bool, crate::database::Error> {
        let config = &self.crawler.config;
        let started = Instant::now();
        loop {
            let now = (self.options.clock)();
            let failures = if result.state == CrawlState::Unreachable { self.host.failures + 1 } else { 0 };
            let dice =
                self.options.seed ^ now.as_microsecond().unsigned_abs() ^ self.host.id.0.unsigned_abs();
            let next = schedule::next(config, failures, retry_after, now, dice);
            let history_since = now.checked_sub(config.history).unwrap_or(Timestamp::MIN).into();
            let (result, holder) = (result.clone(), self.holder.clone());
            let finish = move |database: &Database| {
                let end = CrawlEnd { holder: &holder, at: now.into(), next, history_since };
                database.finish_crawl(&result, &end)
            };
            match blocking(self.database, finish).await {
                Err(_) if started.elapsed() < config.lease.unsigned_abs() => {
                    tokio::time::sleep(STORE_PAUSE).await;
                }
                outcome => return outcome,
            }
        }
    }

    /// Renews the lease again and again; ends when it is lost.
    async fn keep_lease(&self) {
        let lease = self.crawler.config.lease;
        loop {
            tokio::time::sleep(lease.unsigned_abs() / RENEWALS).await;
            let (host, holder) = (self.host.id, self.holder.clone());
            let until = lease_end((self.options.clock)(), lease);
            let renew = move |database: &Database| {
                database.write_log(|connection| lease::renew(connection, host, &holder, until))
            };
            match blocking(self.database, renew).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => tracing::warn!(%error, "a lease could not be renewed"),
            }
        }
    }
}

/// When a lease ends that is taken or renewed now.
pub(super) fn lease_end(now: Timestamp, lease: SignedDuration) -> Time {
    now.checked_add(lease).unwrap_or(now).into()
}

fn report(summary: &HostSummary) {
    for line in &summary.log {
        tracing::debug!(host.name = %summary.name, "{line}");
    }
    for category in &summary.categories {
        tracing::info!(
            host.name = %summary.name,
            category.name = %category.name,
            state = %category.state,
            held = category.held,
            reason = category.reason,
            "host crawled"
        );
    }
    if let Some(error) = &summary.error {
        tracing::error!(host.name = %summary.name, "{error}");
    }
}

/// Runs what waits for the database where it holds up nobody.
pub(super) async fn blocking<T: Send + 'static>(
    database: &Arc<Database>,
    work: impl FnOnce(&Database) -> T + Send + 'static,
) -> T {
    let database = database.clone();
    tokio::task::spawn_blocking(move || work(&database))
        .await
        .expect("the work does not panic and the runtime lives")
}
