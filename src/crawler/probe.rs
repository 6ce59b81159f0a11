//! Keeps it known which URLs of mirrors answer, by each address family: the canary of every URL, again and
//! again, on kept connections; often where clients are sent, seldom elsewhere. And looks at the blobs that
//! clients did not get.
//!
//! One process probes at a time, by a row in the database; the others wait to take its place.

mod config;
mod lease;
mod life;
mod lines;
mod suspects;
mod watch;

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use jiff::{SignedDuration, Timestamp};
use tokio::{sync::watch as signal, task::JoinHandle};

use super::{Config, blocking};
use crate::{
    connector::{self, Family, Guard},
    database::{
        self, Database, Time,
        crawl::UrlReach,
        probe::{self, ProbeTarget},
        suspicion::{self, Settled, Suspicion},
    },
    mirror::{Country, HostCategoryUrlId, Reach},
    oci,
};
use lease::Standby;
use lines::{Lines, Way};
use suspects::{Suspects, look};
use watch::{Asked, Pace, Question, Watch};

pub use config::ProbeConfig;

/// A client that was sent to a URL so lately has it asked often.
const IN_USE: SignedDuration = SignedDuration::from_mins(1);

/// How exactly the time of a question is kept.
const TICK: Duration = Duration::from_millis(100);

/// How often the database is told and asked, at most; what went out or came back is told at once.
const EXCHANGE: Duration = Duration::from_secs(1);

/// How often a heartbeat is stored when there is nothing else to store.
const BEAT: Duration = Duration::from_secs(5);

/// How often a waiting process looks whether it may probe, and a failed exchange is tried again.
const RETRY: Duration = Duration::from_secs(2);

/// So many suspicions are looked at at once.
const LOOKS_AT_ONCE: usize = 30;

/// So many suspicions are read from the database at once.
const SUSPICIONS_READ: i64 = 100;

/// Asks the URLs of mirrors whether they answer.
pub struct Prober {
    ipv4: Lines,
    ipv6: Lines,
    pace: Pace,
    at_once: usize,
    /// Hosts in these countries are left alone.
    embargoed: Vec<Country>,
}

/// A prober at work. It goes on until it is stopped.
pub struct Probing {
    stop: signal::Sender<bool>,
    task: JoinHandle<()>,
}

/// What one exchange with the database needs.
struct Report {
    holder: String,
    /// What is to be stored; with `beat` also when there is nothing.
    found: Vec<UrlReach>,
    settled: Vec<Settled>,
    beat: bool,
    /// Of the hosts, as they are known.
    generation: Option<i64>,
    now: Timestamp,
}

/// What it gives.
struct News {
    /// Does another process probe now?
    lost: bool,
    in_use: BTreeSet<HostCategoryUrlId>,
    suspicions: Vec<Suspicion>,
    /// The URLs and their generation, if that is another than was known.
    targets: Option<(i64, Vec<ProbeTarget>)>,
}

impl Prober {
    /// Networks and name are the crawler's; hosts in embargoed countries are left alone. Fails when the HTTP client
    /// cannot be made.
    pub fn new(
        crawl: &Config,
        probe: &ProbeConfig,
        embargoed: Vec<Country>,
    ) -> Result<Self, connector::Error> {
        let guard = Guard::new(crawl.allow_networks.iter().copied());
        let timeout = probe.timeout.unsigned_abs();
        let name = crawl.user_agent();
        let lines = |family| Lines::new(&guard, family, &name, timeout);
        Ok(Self {
            ipv4: lines(Family::Ipv4)?,
            ipv6: lines(Family::Ipv6)?,
            pace: Pace {
                in_use: probe.interval.unsigned_abs(),
                timeout,
                idle: probe.idle_interval.unsigned_abs().max(probe.interval.unsigned_abs()),
            },
            at_once: probe.at_once.max(1),
            embargoed,
        })
    }

    /// Probes, or waits to, in a task of its own. The seed names this process among those that probe.
    pub fn start(self, database: Arc<Database>, seed: u64, clock: fn() -> Timestamp) -> Probing {
        let (stop, stopping) = signal::channel(false);
        let turns = Turns { prober: self, database, seed, clock, started: Instant::now(), stopping };
        Probing { stop, task: tokio::spawn(turns.run()) }
    }

    fn lines(&self, family: Family) -> &Lines {
        if family == Family::Ipv4 { &self.ipv4 } else { &self.ipv6 }
    }
}

impl Probing {
    /// Ends it, and leaves the probing to others.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        let _ = self.task.await;
    }
}

/// A prober with what it needs around it.
struct Turns {
    prober: Prober,
    database: Arc<Database>,
    seed: u64,
    clock: fn() -> Timestamp,
    started: Instant,
    stopping: signal::Receiver<bool>,
}

impl Turns {
    async fn run(self) {
        let mut stopping = self.stopping.clone();
        let turns = async {
            loop {
                self.wait_for_turn().await;
                tracing::info!("this process probes the mirrors now");
                self.probe().await;
                tracing::warn!("another process probes the mirrors now");
            }
        };
        tokio::select! {
            () = turns => {}
            _ = stopping.wait_for(|it| *it) => {}
        }
        let holder = self.holder();
        let released =
            blocking(&self.database, move |it| it.write_log(|it| probe::release(it, &holder))).await;
        if let Err(error) = released {
            tracing::warn!(%error, "other processes will wait before they probe");
        }
    }

    /// Names this process.
    fn holder(&self) -> String {
        format!("{:016x}", self.seed)
    }

    /// Counted from the start: unlike the clock of the machine it never jumps.
    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Ready when this is the process that probes.
    async fn wait_for_turn(&self) {
        let mut standby = Standby::default();
        let mut fault = None;
        loop {
            let found = blocking(&self.database, |it| it.read(probe::find_heartbeat)).await;
            tell_once(&mut fault, found.as_ref().err());
            if let Ok(found) = found
                && standby.may_take_over(&found, self.now())
            {
                let (holder, now) = (self.holder(), Time::from((self.clock)()));
                let take = move |it: &mut database::Connection| probe::take_over(it, &found, &holder, now);
                if blocking(&self.database, move |it| it.write_log(take)).await.unwrap_or(false) {
                    return;
                }
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Probes until another process does.
    async fn probe(&self) {
        let mut watch = Watch::new(self.prober.pace, self.seed);
        let mut suspects = Suspects::default();
        let mut asked: FuturesUnordered<BoxFuture<'_, Way<'_>>> = FuturesUnordered::new();
        let mut looks = FuturesUnordered::new();
        let mut office = Office::new(self);
        let mut tick = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                Some(way) = asked.next() => match way {
                    Way::Asked(question, answer) => self.note(&mut watch, &question, answer),
                    Way::Late(question, began, first) => {
                        watch.note_late(&question, self.now());
                        let lines = self.prober.lines(question.family);
                        asked.push(Box::pin(lines.ask_beside(question, began, first)));
                    }
                },
                Some(settled) = looks.next() => for it in settled {
                    note_look(&mut suspects, it, watch.count_hosts(), self.now());
                },
                result = office.answer() => match office.take_over(result, &mut watch, &mut suspects) {
                    Some(found) => {
                        let new = suspects.take_new(found, self.now(), LOOKS_AT_ONCE - looks.len());
                        looks.extend(new.into_iter().map(|it| self.look(it)));
                    }
                    None => return,
                },
            }
            let room = self.prober.at_once - asked.len();
            for question in watch.take_due(self.now(), room) {
                asked.push(Box::pin(self.prober.lines(question.family).ask(question)));
            }
            office.report(&mut watch, &mut suspects);
        }
    }

    async fn look(&self, suspicion: Suspicion) -> Vec<Settled> {
        let family = if suspicion.ipv4 == Reach::Up { Family::Ipv4 } else { Family::Ipv6 };
        let of = suspicion.clone();
        let others = async {
            let list = move |it: &mut database::Connection| suspicion::list_others(it, &of);
            // That the database does not answer is told by the exchange.
            blocking(&self.database, move |it| it.read(list)).await.unwrap_or_default()
        };
        look(self.prober.lines(family), suspicion, others).await
    }

    fn note(&self, watch: &mut Watch, question: &Question, asked: Asked) {
        let Some(turn) = watch.note(question, asked, self.now()) else { return };
        let last_good_ms = turn.last_good.map(|it| it.as_millis());
        if turn.reach == Reach::Down {
            tracing::warn!(
                host.name = %turn.host,
                url = %question.url,
                family = %question.family,
                reason = turn.reason,
                last_good_ms,
                "a URL does not answer, and is not offered"
            );
        } else {
            tracing::info!(
                host.name = %turn.host,
                url = %question.url,
                family = %question.family,
                reach = %turn.reach,
                "a URL is seen otherwise"
            );
        }
    }
}

fn note_look(suspects: &mut Suspects, settled: Settled, hosts: usize, now: Duration) {
    let Settled { suspicion, fault } = settled.clone();
    let digest = oci::Digest::from(suspicion.digest);
    let is_believed = suspects.note(settled, hosts, now);
    match fault {
        Some(fault) if is_believed => tracing::warn!(
            host.name = %suspicion.host_name,
            url = %suspicion.url,
            %digest,
            reason = fault.reason,
            "a host does not hold what a client wanted there, and is not offered for it"
        ),
        Some(_) => tracing::warn!("bodies of most hosts break off: it may be the network of this machine"),
        None => {
            tracing::debug!(host.name = %suspicion.host_name, %digest, "a client came back; nothing is found")
        }
    }
}

/// The exchange with the database: one at a time, beside the probing, which never waits for it.
struct Office<'a> {
    turns: &'a Turns,
    running: Option<BoxFuture<'static, Result<News, Failed>>>,
    /// When the last one began, and when the last heartbeat was stored.
    last: Option<Duration>,
    last_beat: Option<Duration>,
    /// No exchange before.
    not_before: Duration,
    generation: Option<i64>,
    fault: Option<String>,
}

/// An exchange that failed, and what it did not store.
struct Failed {
    error: database::Error,
    found: Vec<UrlReach>,
    settled: Vec<Settled>,
}

impl<'a> Office<'a> {
    fn new(turns: &'a Turns) -> Self {
        Self {
            turns,
            running: None,
            last: None,
            last_beat: None,
            not_before: Duration::ZERO,
            generation: None,
            fault: None,
        }
    }

    /// Begins an exchange if it is time.
    fn report(&mut self, watch: &mut Watch, suspects: &mut Suspects) {
        let now = self.turns.now();
        let is_over = |since: Option<Duration>, most| since.is_none_or(|it| now.saturating_sub(it) >= most);
        let is_time = is_over(self.last, EXCHANGE) || watch.has_changes() || suspects.has_settled();
        if self.running.is_some() || now < self.not_before || !is_time {
            return;
        }
        let beat = is_over(self.last_beat, BEAT);
        self.last = Some(now);
        self.last_beat = if beat { Some(now) } else { self.last_beat };
        let report = Report {
            holder: self.turns.holder(),
            found: watch.take_changes(),
            settled: suspects.take_settled(),
            beat,
            generation: self.generation,
            now: (self.turns.clock)(),
        };
        let database = self.turns.database.clone();
        self.running = Some(Box::pin(async move { blocking(&database, |it| exchange(it, report)).await }));
    }

    /// What the exchange that runs gave.
    async fn answer(&mut self) -> Result<News, Failed> {
        let result = match &mut self.running {
            Some(running) => running.await,
            None => std::future::pending().await,
        };
        self.running = None;
        result
    }

    /// Takes over what it gave; the suspicions that stand, or `None` when another process probes.
    fn take_over(
        &mut self,
        result: Result<News, Failed>,
        watch: &mut Watch,
        suspects: &mut Suspects,
    ) -> Option<Vec<Suspicion>> {
        tell_once(&mut self.fault, result.as_ref().map_err(|it| &it.error).err());
        let now = self.turns.now();
        match result {
            Ok(news) if news.lost => None,
            Ok(news) => {
                if let Some((generation, mut targets)) = news.targets {
                    self.generation = Some(generation);
                    let embargoed = &self.turns.prober.embargoed;
                    targets.retain(|it| it.country.is_none_or(|it| !embargoed.contains(&it)));
                    watch.replace(targets, now);
                }
                watch.use_only(&news.in_use, now);
                Some(news.suspicions)
            }
            Err(failed) => {
                watch.put_back(&failed.found);
                suspects.put_back(failed.settled);
                self.not_before = now + RETRY;
                self.last_beat = None;
                Some(Vec::new())
            }
        }
    }
}

fn exchange(database: &Database, report: Report) -> Result<News, Failed> {
    let Report { holder, found, settled, beat, generation, now } = report;
    let exchange = || {
        let mut news = News { lost: false, in_use: BTreeSet::new(), suspicions: Vec::new(), targets: None };
        if (beat || !found.is_empty()) && !database.beat(&holder, &found, now.into())? {
            return Ok(News { lost: true, ..news });
        }
        if !settled.is_empty() {
            database.settle(&settled, now.into())?;
        }
        (news.in_use, news.suspicions) = database.read(|it| {
            Ok((probe::list_in_use(it, (now - IN_USE).into())?, suspicion::list(it, SUSPICIONS_READ)?))
        })?;
        let current = database.generations()?.hosts;
        if generation != Some(current) {
            news.targets = Some((current, database.read(probe::list_targets)?));
        }
        Ok(news)
    };
    exchange().map_err(|error| Failed { error, found, settled })
}

/// A fault is logged when it comes and when it goes, not every time.
fn tell_once(known: &mut Option<String>, error: Option<&database::Error>) {
    match (&known, error) {
        (None, Some(error)) => tracing::warn!(%error, "the prober cannot reach the database"),
        (Some(_), None) => tracing::info!("the prober reaches the database again"),
        _ => {}
    }
    *known = error.map(ToString::to_string);
}
