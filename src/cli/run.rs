use std::{process::ExitCode, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use super::{open_database, seed, serve, stopped};
use crate::{
    config::Config,
    crawler::{self, Crawler, Prober},
    database::Database,
    exporter::{self, Exporter},
    mirror::HostName,
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
    let crawler = Crawler::new(config.crawl.clone())?.with_notices(&config.notice)?;
    let prober = Prober::new(&config.crawl, &config.probe, config.serve.embargoed.clone())?;
    let (stop, stopping) = watch::channel(false);

    let content = tokio::spawn(follow_origin(exporter, config.clone(), database.clone(), stopping.clone()));
    let options = crawler::Options {
        hosts: Vec::new(),
        embargoed: config.serve.embargoed.clone(),
        seed: seed(),
        clock: Timestamp::now,
    };
    let mirrors = tokio::spawn(follow_mirrors(crawler, options, database.clone(), stopping));
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
        log_scan(scan);
        pause(config.export.interval, stopping.clone()).await;
    }
}

/// Crawls hosts as they are due; a scan that brings something new makes them so.
async fn follow_mirrors(
    crawler: Crawler,
    options: crawler::Options,
    database: Arc<Database>,
    stopping: watch::Receiver<bool>,
) {
    crawler.follow(&database, &options, &Quiet, until(stopping)).await;
    crawler.finish().await;
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

fn log_scan(result: Result<Result<scanner::Summary, scanner::Error>, tokio::task::JoinError>) {
    match result {
        Ok(Ok(summary)) => {
            for category in &summary.categories {
                if let Outcome::Refused { reason } = &category.outcome {
                    tracing::warn!(category = %category.name, reason, "a category was not scanned");
                }
            }
            let changed = summary.categories.iter().filter(|it| it.outcome != Outcome::Unchanged).count();
            tracing::info!(changed, "scanned");
        }
        Ok(Err(error)) => tracing::error!(%error, "the scan failed"),
        Err(error) => tracing::error!(%error, "the scan ended early"),
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
