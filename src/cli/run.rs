use std::{process::ExitCode, sync::Arc};

use jiff::Timestamp;
use tokio::sync::watch;

use super::{
    follow::{Listening, until},
    import, open_database, render_error, seed, serve, stopped,
};
use crate::{
    config::Config,
    crawler::{self, Crawler, Prober},
    database::Database,
    exporter::Exporter,
    importer::{self, Importer},
    mirror::HostName,
    server,
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
    let crawler =
        Crawler::new(config.crawl.clone())?.with_notices(&config.notice)?.with_statistics(&config.statistics);
    let prober = Prober::new(&config.crawl, &config.probe, config.serve.embargoed.clone())?;
    let origin = Listening::new(exporter, config.clone(), database.clone())?;
    let (stop, stopping) = watch::channel(false);

    let content = tokio::spawn(origin.run(stopping.clone()));
    let options = crawler::Options {
        hosts: Vec::new(),
        embargoed: config.serve.embargoed.clone(),
        seed: seed(),
        clock: Timestamp::now,
    };
    let mirrors = tokio::spawn(follow_mirrors(crawler, options, database.clone(), stopping.clone()));
    let network = tokio::spawn(follow_mirrormanager(config.clone(), database.clone(), stopping));
    let probing = prober.start(database.clone(), seed(), Timestamp::now);
    let served = server::serve(serve::settings(config), database, serve::announce, signal).await;
    stop.send_replace(true);
    let _ = tokio::join!(content, mirrors, network, probing.stop());
    served?;
    Ok(ExitCode::SUCCESS)
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

/// Imports from MirrorManager, if there is one.
async fn follow_mirrormanager(config: Config, database: Arc<Database>, stopping: watch::Receiver<bool>) {
    let Some(source) = config.mirrormanager.database_url.clone() else { return };
    let importer = Importer::new(source, config.mirrormanager.categories.clone());
    let interval = config.mirrormanager.watch;
    let tell = |result| {
        log_import(result);
        Ok(())
    };
    tokio::select! {
        _ = import::follow(&importer, &database, &config, importer::Options::default(), interval, tell) => {}
        () = until(stopping) => {}
    }
}

fn log_import(result: anyhow::Result<importer::Summary>) {
    match result {
        Ok(summary) => {
            for change in &summary.changes {
                let importer::Change { verb, noun, name, details, .. } = change;
                tracing::info!(?verb, ?noun, name, ?details, "imported");
            }
            let importer::Summary { added, changed, gone, skipped, .. } = &summary;
            tracing::info!(added, changed, gone, skipped = skipped.len(), "imported from MirrorManager");
        }
        Err(error) => tracing::error!("the import from MirrorManager failed: {}", render_error(&error)),
    }
}

/// The log has what is to be told.
struct Quiet;

impl crawler::Observer for Quiet {
    fn started(&self, _: usize) {}

    fn host_started(&self, _: &HostName) {}

    fn host_finished(&self, summary: &crawler::HostSummary) {
        tracing::info!(host = %summary.name, state = %summary.state, duration_ms = summary.duration_ms, "crawled");
    }
}
