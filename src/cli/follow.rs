//! The origin followed by one process: all of it every `export.interval`, and what is told of as soon as it is.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};

use super::{changes::Changes, print};
use crate::{
    bus::Bus,
    config::Config,
    database::Database,
    exporter::{self, Exporter, Scope},
    oci::RepositoryName,
    scanner::{self, Outcome},
    server::hooks::Hooks,
    tree::Tree,
};

/// How long the first change waits for more: a push of an image is told of in many events.
const SETTLE: Duration = Duration::from_secs(1);

/// The wait after an export or a scan that failed; it doubles each time, up to `export.interval`.
const RETRY: Duration = Duration::from_secs(5);

/// Exports and scans, again and again.
pub(super) struct Follower {
    /// None: there is nothing to export, but the tree is scanned.
    exporter: Option<Exporter>,
    config: Config,
    database: Arc<Database>,
    changes: Changes,
}

/// A follower that was told where to listen.
pub(super) struct Listening {
    follower: Arc<Follower>,
    hooks: Option<Hooks>,
    bus: Option<Bus>,
}

impl Listening {
    /// Takes the addresses of the configuration, and says so on standard output.
    pub(super) fn new(
        exporter: Option<Exporter>,
        config: Config,
        database: Arc<Database>,
    ) -> anyhow::Result<Self> {
        let hooks = Hooks::bind(&config.hooks)?;
        if let Some(hooks) = &hooks {
            print(&format!("hooks on {}\n", hooks.url().context("the address of [hooks]")?))?;
        }
        let bus = Bus::new(&config.bus)?;
        let changes = Changes::default();
        Ok(Self { follower: Arc::new(Follower { exporter, config, database, changes }), hooks, bus })
    }

    /// Follows until told to stop. What fails is in the log, and is tried again.
    pub(super) async fn run(self, stopping: watch::Receiver<bool>) {
        let Self { follower, hooks, bus } = self;
        let hearing = async {
            let teller = follower.clone();
            if let Some(hooks) = hooks
                && let Err(error) = hooks.serve(move |it| teller.tell(it), until(stopping.clone())).await
            {
                tracing::error!(%error, "notifications are no longer taken; the origin is asked every export.interval");
            }
        };
        let listening = async {
            if let Some(bus) = bus {
                bus.listen(|it| follower.tell(it), until(stopping.clone())).await;
            }
        };
        tokio::join!(follower.follow(stopping.clone()), hearing, listening);
    }
}

impl Follower {
    /// Something has changed in a repository. What no category takes is of no interest.
    fn tell(&self, name: RepositoryName) {
        if self.exporter.as_ref().is_some_and(|it| it.takes(&name)) {
            self.changes.add(Scope::one(name));
        }
    }

    async fn follow(&self, stopping: watch::Receiver<bool>) {
        // Never a busy loop, whatever the configuration says.
        let interval = within_reason(self.config.export.interval);
        let (mut due, mut retry) = (Instant::now(), RETRY);
        loop {
            let scope = tokio::select! {
                () = until(stopping.clone()) => return,
                () = sleep_until(due) => Scope::All,
                scope = self.next_change() => scope,
            };
            if scope == Scope::All {
                self.changes.take(); // all is asked about anyway
                due = Instant::now() + interval;
            }
            // An export may be dropped at any moment; the next one goes on where it stood.
            let is_exported = tokio::select! {
                () = until(stopping.clone()) => return,
                is_exported = self.export(&scope) => is_exported,
            };
            let is_scanned = self.scan().await;
            if scope == Scope::All {
                due = Instant::now() + interval;
            }
            if is_exported && is_scanned {
                retry = RETRY;
                continue;
            }
            self.changes.add(scope);
            tokio::select! {
                () = until(stopping.clone()) => return,
                () = sleep(retry.min(interval)) => retry = (retry * 2).min(interval),
            }
        }
    }

    /// Waits for a change, and for what comes together with it.
    async fn next_change(&self) -> Scope {
        self.changes.wait().await;
        sleep(SETTLE).await;
        self.changes.take().unwrap_or(Scope::All)
    }

    async fn export(&self, scope: &Scope) -> bool {
        let Some(exporter) = &self.exporter else { return true };
        let started = Instant::now();
        match exporter.run(scope, Timestamp::now(), &Log).await {
            Ok(summary) => {
                log_export(&summary, started.elapsed());
                true
            }
            Err(error) => {
                tracing::error!(%error, "the export failed");
                false
            }
        }
    }

    async fn scan(&self) -> bool {
        let (tree, limit) = (Tree::open(&self.config.tree), self.config.scan.small_blob_limit);
        let database = self.database.clone();
        match tokio::task::spawn_blocking(move || scanner::scan(&tree, &database, limit)).await {
            Ok(Ok(summary)) => {
                log_scan(&summary);
                true
            }
            Ok(Err(error)) => {
                tracing::error!(%error, "the scan failed");
                false
            }
            Err(error) => {
                tracing::error!(%error, "the scan ended early");
                false
            }
        }
    }
}

fn within_reason(interval: SignedDuration) -> Duration {
    Duration::try_from(interval).unwrap_or_default().max(Duration::from_secs(1))
}

/// Ready when told to stop.
pub(super) async fn until(mut stopping: watch::Receiver<bool>) {
    let _ = stopping.wait_for(|it| *it).await;
}

fn log_export(summary: &exporter::Summary, duration: Duration) {
    for fault in &summary.faults {
        tracing::warn!(%fault, "an image was not exported");
    }
    for pattern in &summary.unmatched {
        tracing::warn!("{pattern}");
    }
    for refusal in &summary.refused {
        tracing::error!("not exported: {refusal}");
    }
    let (changed, repositories) =
        (summary.categories.iter().filter(|it| it.changed).count(), summary.repositories);
    let duration_ms = duration.as_millis();
    tracing::info!(repositories, changed, bytes = summary.fetched.bytes, duration_ms, "exported");
}

fn log_scan(summary: &scanner::Summary) {
    for category in &summary.categories {
        if let Outcome::Refused { reason } = &category.outcome {
            tracing::warn!(category = %category.name, reason, "a category was not scanned");
        }
    }
    let changed = summary.categories.iter().filter(|it| it.outcome != Outcome::Unchanged).count();
    tracing::info!(changed, "scanned");
}

/// The log has what is to be told.
struct Log;

impl exporter::Observer for Log {
    fn started(&self, transfer: &exporter::Transfer) {
        tracing::info!(repository = %transfer.repository, digest = %transfer.digest, bytes = transfer.size, "fetching");
    }

    fn advanced(&self, _: &exporter::Transfer, _: u64) {}

    fn finished(&self, _: &exporter::Transfer) {}

    fn verified(&self, _: u64, _: u64) {}

    fn note(&self, text: &str) {
        tracing::info!("{text}");
    }
}
