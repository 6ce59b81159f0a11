//! Finds out which host holds what, and stores it. Mirrors are trusted with nothing: what they claim is
//! checked, in part or in full, before a client is sent there.

pub mod budget;
mod claim;
mod config;
mod host;
mod observer;
pub mod plan;
mod summary;
mod url;

#[cfg(test)]
mod tests;

use std::{collections::HashMap, sync::Arc};

use futures_util::{StreamExt, stream};
use jiff::Timestamp;

use crate::{
    connector,
    database::{self, Database, crawl::CrawlHost},
    mirror::{Country, HostName},
};

pub use claim::Claim;
pub use config::Config;
pub use host::FAILURES_UNTIL_OFF;
pub use observer::Observer;
pub use summary::{CategorySummary, HostSummary, Summary};

/// Why nothing could be crawled.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database cannot be read.
    #[error(transparent)]
    Database(#[from] database::Error),
    /// A host was named that is not crawled.
    #[error(
        "host {0} is not crawled: it does not exist, is switched off, stands in an embargoed country, or has opted in to nothing"
    )]
    UnknownHost(HostName),
}

/// One crawl.
#[derive(Clone, Debug)]
pub struct Options {
    /// Only these hosts; all if empty.
    pub hosts: Vec<HostName>,
    /// Countries whose hosts are left alone.
    pub embargoed: Vec<Country>,
    /// Chooses what is looked at of large categories; another one each time.
    pub seed: u64,
    /// Tells the time.
    pub clock: fn() -> Timestamp,
}

/// Crawls hosts.
pub struct Crawler {
    config: Config,
    visitor: url::Visitor,
}

impl Crawler {
    /// Fails when the HTTP client cannot be made.
    pub fn new(config: Config) -> Result<Self, connector::Error> {
        Ok(Self { visitor: url::Visitor::new(&config)?, config })
    }

    /// Crawls all hosts that are switched on and opted in to something, and stores each as it is done. What
    /// goes wrong with one host stops no other.
    pub async fn run(
        &self,
        database: &Arc<Database>,
        options: &Options,
        observer: &dyn Observer,
    ) -> Result<Summary, Error> {
        let hosts = list_hosts(database, options).await?;
        let truths = load_truths(database, &hosts).await?;
        observer.started(hosts.len());
        let crawl = |it| self.crawl_host(database, it, &truths, options, observer);
        let crawled: Vec<_> = hosts.iter().map(crawl).collect();
        let at_once = self.config.hosts.max(1);
        let mut hosts: Vec<HostSummary> = stream::iter(crawled).buffer_unordered(at_once).collect().await;
        hosts.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(Summary { hosts })
    }

    async fn crawl_host(
        &self,
        database: &Arc<Database>,
        host: &CrawlHost,
        truths: &host::Truths,
        options: &Options,
        observer: &dyn Observer,
    ) -> HostSummary {
        observer.host_started(&host.name);
        let Options { seed, clock, ref hosts, .. } = *options;
        let turn = host::Turn { config: &self.config, seed, clock, is_asked_for: !hosts.is_empty() };
        let Some(result) = host::crawl(&self.visitor, host, truths, turn).await else {
            let summary = HostSummary::put_off(host);
            report(&summary);
            observer.host_finished(&summary);
            return summary;
        };
        let mut summary = HostSummary::new(host, &result);
        if let Err(error) = blocking(database, move |it| it.store_crawl(&result)).await {
            summary.error = Some(format!("the result cannot be stored: {error}"));
        }
        report(&summary);
        observer.host_finished(&summary);
        summary
    }
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

async fn list_hosts(database: &Arc<Database>, options: &Options) -> Result<Vec<CrawlHost>, Error> {
    let only = &options.hosts;
    let mut hosts = blocking(database, |it| it.read(database::crawl::list_hosts)).await?;
    hosts.retain(|it| it.country.is_none_or(|it| !options.embargoed.contains(&it)));
    if let Some(unknown) = only.iter().find(|name| hosts.iter().all(|it| it.name != **name)) {
        return Err(Error::UnknownHost(unknown.clone()));
    }
    hosts.retain(|it| only.is_empty() || only.contains(&it.name));
    Ok(hosts)
}

/// What the hosts are compared with. Categories that were never scanned are left out.
async fn load_truths(database: &Arc<Database>, hosts: &[CrawlHost]) -> Result<host::Truths, Error> {
    let mut ids: Vec<_> = hosts.iter().flat_map(|it| &it.categories).map(|it| it.category).collect();
    ids.sort_unstable();
    ids.dedup();
    let load = move |database: &Database| {
        database.read(|connection| {
            let load = |id| Ok((id, Arc::new(database::crawl::load_category(connection, id)?)));
            ids.into_iter().map(load).collect::<Result<HashMap<_, _>, _>>()
        })
    };
    let mut truths = blocking(database, load).await?;
    truths.retain(|_, it| !it.states.is_empty());
    Ok(truths)
}

/// Runs what waits for the database where it holds up nobody.
async fn blocking<T: Send + 'static>(
    database: &Arc<Database>,
    work: impl FnOnce(&Database) -> T + Send + 'static,
) -> T {
    let database = database.clone();
    tokio::task::spawn_blocking(move || work(&database))
        .await
        .expect("the work does not panic and the runtime lives")
}
