//! Finds out which host holds what, and stores it. Mirrors are trusted with nothing: what they claim is
//! checked, in part or in full, before a client is sent there.

pub mod budget;
mod claim;
mod config;
mod feedback;
mod host;
mod news;
mod observer;
pub mod plan;
mod probe;
mod schedule;
mod summary;
mod truths;
mod url;
mod visit;

#[cfg(test)]
mod tests;

use std::{future::Future, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use jiff::Timestamp;
use tokio::sync::Semaphore;

use crate::{
    connector,
    database::{
        self, Database, Time,
        crawl::CrawlHost,
        lease::{self, Round, Taking, Which},
        statistics::StatisticsConfig,
    },
    mirror::{Country, HostId, HostName},
    notice,
    teller::{Teller, TellerError},
};
use truths::KnownTruths;
use visit::{Crawl, blocking};

pub use claim::Claim;
pub use config::Config;
pub use observer::Observer;
pub use probe::{ProbeConfig, Prober, Probing};
pub use summary::{CategorySummary, HostSummary, Summary};

/// How often the database is asked for hosts that are due, or that others have given back.
pub const POLL: Duration = Duration::from_secs(1);

/// How long to wait when the database failed.
const DATABASE_PAUSE: Duration = Duration::from_secs(5);

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
    /// Only these hosts, also if they want to be left alone; all others if empty.
    pub hosts: Vec<HostName>,
    /// Countries whose hosts are left alone.
    pub embargoed: Vec<Country>,
    /// Chooses what is looked at of large categories, and names the crawler among others: another one each
    /// time.
    pub seed: u64,
    /// Tells the time.
    pub clock: fn() -> Timestamp,
}

impl Options {
    /// Who we are among all crawlers.
    fn holder(&self) -> String {
        format!("{}-{:016x}", std::process::id(), self.seed)
    }
}

/// Crawls hosts, and shares them with other crawlers of the same database.
pub struct Crawler {
    config: Config,
    visitor: url::Visitor,
    truths: KnownTruths,
    /// A permit for each request that runs.
    requests: Arc<Semaphore>,
    teller: Option<Teller>,
    /// Whom to tell what is about no host.
    operators: Vec<String>,
    statistics: StatisticsConfig,
}

impl Crawler {
    /// Fails when the HTTP client cannot be made.
    pub fn new(config: Config) -> Result<Self, connector::Error> {
        let requests = Arc::new(Semaphore::new(config.requests_at_once.clamp(1, Semaphore::MAX_PERMITS)));
        let visitor = url::Visitor::new(&config)?;
        Ok(Self {
            visitor,
            truths: KnownTruths::default(),
            requests,
            teller: None,
            operators: Vec::new(),
            statistics: StatisticsConfig::default(),
            config,
        })
    }

    /// Tells people what is found, from now on. Needs a running runtime.
    pub fn with_notices(mut self, config: &notice::Config) -> Result<Self, TellerError> {
        self.teller = Teller::start(config, &self.config.user_agent())?;
        self.operators.clone_from(&config.operators);
        Ok(self)
    }

    /// How long statistics are kept, and what budgets there are.
    pub fn with_statistics(self, config: &StatisticsConfig) -> Self {
        Self { statistics: config.clone(), ..self }
    }

    /// Waits a while for notices that are not sent yet.
    pub async fn finish(self) {
        if let Some(teller) = self.teller {
            teller.finish().await;
        }
    }

    /// One round: crawls all hosts that are switched on and opted in to something, due or not, and stores each
    /// as it is done. What another crawler has in the meantime is waited for, and counts if that crawl began
    /// after this round. What goes wrong with one host stops no other.
    pub async fn run(
        &self,
        database: &Arc<Database>,
        options: &Options,
        observer: &dyn Observer,
    ) -> Result<Summary, Error> {
        check_named(database, options).await?;
        let work = Work { crawler: self, database, options, observer };
        let began = (options.clock)().into();
        feedback::judge(self, database, options.clock).await?;
        work.round(began).await
    }

    /// Crawls hosts as they are due, until `stop` is ready. A database that fails is asked again and again.
    /// `options.hosts` is not looked at.
    pub async fn follow(
        &self,
        database: &Arc<Database>,
        options: &Options,
        observer: &dyn Observer,
        stop: impl Future<Output = ()>,
    ) {
        let work = Work { crawler: self, database, options, observer };
        tokio::select! {
            () = work.follow() => {}
            () = feedback::follow(self, database, options.clock) => {}
            () = stop => self.release(database, options).await,
        }
    }

    /// Gives back the hosts of a [`Self::run`] that was broken off. Else they wait for the end of the lease.
    pub async fn release(&self, database: &Arc<Database>, options: &Options) {
        let holder = options.holder();
        let release = move |it: &Database| it.write_log(|connection| lease::release(connection, &holder));
        if let Err(error) = blocking(database, release).await {
            tracing::warn!(%error, "hosts could not be given back; their leases end by themselves");
        }
    }
}

/// What one call of the crawler works with.
struct Work<'a> {
    crawler: &'a Crawler,
    database: &'a Arc<Database>,
    options: &'a Options,
    observer: &'a dyn Observer,
}

impl Work<'_> {
    async fn round(&self, began: Time) -> Result<Summary, Error> {
        let mut running = FuturesUnordered::new();
        let mut summary = Summary::default();
        let mut except: Vec<HostId> = Vec::new();
        let left = self.count_left(began, &except).await?;
        self.observer.started(usize::try_from(left).unwrap_or_default());
        loop {
            let free = self.at_once().saturating_sub(running.len());
            running.extend(self.take_round(began, &except, free).await?.into_iter().map(Crawl::run));
            match running.next().await {
                Some((id, Some(host))) => {
                    // Also one whose result could not be stored: others, or the next round, will come to it.
                    except.push(id);
                    summary.hosts.push(host);
                }
                Some((_, None)) => {}
                None if self.count_left(began, &except).await? == 0 => break,
                None => tokio::time::sleep(POLL).await,
            }
        }
        summary.hosts.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(summary)
    }

    async fn follow(&self) {
        let mut running = FuturesUnordered::new();
        loop {
            let free = self.at_once().saturating_sub(running.len());
            let mut pause = POLL;
            match self.take_due(free).await {
                Ok(crawls) => running.extend(crawls.into_iter().map(Crawl::run)),
                Err(error) => {
                    tracing::error!(%error, "the database does not tell which hosts are due");
                    pause = DATABASE_PAUSE;
                }
            }
            tokio::select! {
                Some(_) = running.next() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    fn at_once(&self) -> usize {
        self.crawler.config.hosts.max(1)
    }

    async fn take_due(&self, limit: usize) -> Result<Vec<Crawl<'_>>, Error> {
        let embargoed = self.options.embargoed.clone();
        let taken = self
            .take(limit, move |connection, taking| lease::take(connection, Which::Due(&embargoed), taking));
        self.prepare(taken.await?).await
    }

    async fn take_round(
        &self,
        began: Time,
        except: &[HostId],
        limit: usize,
    ) -> Result<Vec<Crawl<'_>>, Error> {
        let (Options { hosts, embargoed, .. }, except) = (self.options.clone(), except.to_vec());
        let taken = self.take(limit, move |connection, taking| {
            let round = Round { began, hosts: &hosts, except: &except, embargoed: &embargoed };
            lease::take(connection, Which::Round(round), taking)
        });
        self.prepare(taken.await?).await
    }

    /// Takes at most so many hosts.
    async fn take(
        &self,
        limit: usize,
        take: impl FnOnce(&mut database::Connection, &Taking<'_>) -> database::QueryResult<Vec<CrawlHost>>
        + Send
        + 'static,
    ) -> Result<Vec<CrawlHost>, Error> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let (holder, now) = (self.options.holder(), (self.options.clock)());
        let until = visit::lease_end(now, self.crawler.config.lease);
        let work = move |database: &Database| {
            let taking = Taking { holder: &holder, now: now.into(), until, limit };
            database.write_log(|connection| take(connection, &taking))
        };
        Ok(blocking(self.database, work).await?)
    }

    async fn prepare(&self, hosts: Vec<CrawlHost>) -> Result<Vec<Crawl<'_>>, Error> {
        let truths = self.crawler.truths.load(self.database, &hosts).await?;
        let crawl = |host| Crawl {
            crawler: self.crawler,
            database: self.database,
            options: self.options,
            observer: self.observer,
            holder: self.options.holder(),
            truths: truths.clone(),
            host,
        };
        Ok(hosts.into_iter().map(crawl).collect())
    }

    async fn count_left(&self, began: Time, except: &[HostId]) -> Result<i64, Error> {
        let (Options { hosts, embargoed, .. }, except) = (self.options.clone(), except.to_vec());
        let now = (self.options.clock)().into();
        let count = move |database: &Database| {
            let round = Round { began, hosts: &hosts, except: &except, embargoed: &embargoed };
            database.read(|connection| lease::count_left(connection, &round, now))
        };
        Ok(blocking(self.database, count).await?)
    }
}

async fn check_named(database: &Arc<Database>, options: &Options) -> Result<(), Error> {
    for name in &options.hosts {
        let (named, embargoed) = (name.clone(), options.embargoed.clone());
        let is_active =
            move |it: &Database| it.read(|connection| lease::is_active(connection, &named, &embargoed));
        if !blocking(database, is_active).await? {
            return Err(Error::UnknownHost(name.clone()));
        }
    }
    Ok(())
}
