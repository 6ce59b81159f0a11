use std::{process::ExitCode, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, watch};

use super::{open_database, seed, serve, stopped};
use crate::{
    config::Config,
    crawler::{self, Crawler, Prober},
    database::Database,
    exporter::{self, Exporter},
    mirror::{Country, HostName},
    scanner::{self, Outcome},
    server,
    tree::Tree,
};

/// The stages as loops in one process. A stage that fails says so in the log and tries again at its
/// next turn; only a server that cannot serve ends the process.
pub(super) async fn run(config: Config) -> anyhow::Result<ExitCode> {
    let signal = stopped()?;
    let database = Arc::new(open_database(&config)?);
    let exporter = if config.origin.url.is_none() && config.category.is_empty() {
        tracing::warn!(
            "nothing is exported: the configuration has neither url in [origin] nor a [[category]]; \
             what is in the tree already is scanned and served"
        );
        None
    } else {
        Some(Exporter::new(&config.origin, &config.tree, &config.category)?)
    };
    let crawler = Crawler::new(config.crawl.clone())?;
    let prober = Prober::new(&config.crawl, &config.probe, config.serve.embargoed.clone())?;
    let (stop, stopping) = watch::channel(false);
    let scanned = Arc::new(Notify::new());

    let content = tokio::spawn(follow_origin(
        exporter,
        config.clone(),
        database.clone(),
        scanned.clone(),
        stopping.clone(),
    ));
    let mirrors = tokio::spawn(follow_mirrors(
        crawler,
        config.crawl.interval,
        config.serve.embargoed.clone(),
        database.clone(),
        scanned,
        stopping.clone(),
    ));
    let probing = prober.start(database.clone(), seed(), Timestamp::now);
    let served = server::serve(serve::settings(config), database, serve::announce, signal).await;
    stop.send_replace(true);
    let _ = tokio::join!(content, mirrors, probing.stop());
    served?;
    Ok(ExitCode::SUCCESS)
}

/// Exports and scans, again and again.
async fn follow_origin(
    exporter: Option<Exporter>,
    config: Config,
    database: Arc<Database>,
    scanned: Arc<Notify>,
    stopping: watch::Receiver<bool>,
) {
    while !*stopping.borrow() {
        if let Some(exporter) = &exporter {
            let export = exporter.run(Timestamp::now(), &Quiet);
            // An export may be dropped at any moment; the next one goes on where it stood.
            tokio::select! {
                result = export => log_export(result),
                () = until(stopping.clone()) => return,
            }
        }
        let (tree, limit, database) =
            (Tree::open(&config.tree), config.scan.small_blob_limit, database.clone());
        let scan = tokio::task::spawn_blocking(move || scanner::scan(&tree, &database, limit)).await;
        if log_scan(scan) {
            scanned.notify_one();
        }
        pause(config.export.interval, stopping.clone()).await;
    }
}

/// Crawls at its interval, and at once when a scan has brought something new.
async fn follow_mirrors(
    crawler: Crawler,
    interval: SignedDuration,
    embargoed: Vec<Country>,
    database: Arc<Database>,
    scanned: Arc<Notify>,
    stopping: watch::Receiver<bool>,
) {
    while !*stopping.borrow() {
        let options = crawler::Options {
            hosts: Vec::new(),
            embargoed: embargoed.clone(),
            seed: seed(),
            clock: Timestamp::now,
        };
        tokio::select! {
            result = crawler.run(&database, &options, &Quiet) => match result {
                Ok(summary) => tracing::info!(hosts = summary.hosts.len(), "crawled"),
                Err(error) => tracing::error!(%error, "the crawl failed"),
            },
            () = until(stopping.clone()) => return,
        }
        tokio::select! {
            () = pause(interval, stopping.clone()) => {}
            () = scanned.notified() => {}
        }
    }
}

async fn pause(interval: SignedDuration, stopping: watch::Receiver<bool>) {
    // Never a busy loop, whatever the configuration says.
    let interval = Duration::try_from(interval).unwrap_or_default().max(Duration::from_secs(1));
    let _ = tokio::time::timeout(interval, until(stopping)).await;
}

async fn until(mut stopping: watch::Receiver<bool>) {
    let _ = stopping.wait_for(|it| *it).await;
}

fn log_export(result: Result<exporter::Summary, exporter::Error>) {
    match result {
        Ok(summary) => {
            for fault in &summary.faults {
                tracing::warn!(%fault, "an image was not exported");
            }
            for pattern in &summary.unmatched {
                tracing::warn!("{pattern}");
            }
            for refusal in &summary.refused {
                tracing::error!("not exported: {refusal}");
            }
            let changed = summary.categories.iter().filter(|it| it.changed).count();
            tracing::info!(changed, bytes = summary.fetched.bytes, "exported");
        }
        Err(error) => tracing::error!(%error, "the export failed"),
    }
}

/// True when there is something new.
fn log_scan(result: Result<Result<scanner::Summary, scanner::Error>, tokio::task::JoinError>) -> bool {
    match result {
        Ok(Ok(summary)) => {
            for category in &summary.categories {
                if let Outcome::Refused { reason } = &category.outcome {
                    tracing::warn!(category = %category.name, reason, "a category was not scanned");
                }
            }
            let changed = summary.categories.iter().filter(|it| it.outcome != Outcome::Unchanged).count();
            tracing::info!(changed, "scanned");
            changed > 0
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

/// The log has what is to be told.
struct Quiet;

impl exporter::Observer for Quiet {
    fn started(&self, transfer: &exporter::Transfer) {
        tracing::info!(repository = %transfer.repository, digest = %transfer.digest, bytes = transfer.size, "fetching");
    }

    fn advanced(&self, _: &exporter::Transfer, _: u64) {}

    fn finished(&self, _: &exporter::Transfer) {}

    fn note(&self, text: &str) {
        tracing::info!("{text}");
    }
}

impl crawler::Observer for Quiet {
    fn started(&self, _: usize) {}

    fn host_started(&self, _: &HostName) {}

    fn host_finished(&self, summary: &crawler::HostSummary) {
        tracing::info!(host = %summary.name, state = %summary.state, duration_ms = summary.duration_ms, "crawled");
    }
}
