use std::{fmt::Write as _, process::ExitCode, sync::Arc};

use anyhow::Context as _;
use indicatif::HumanBytes;
use jiff::Timestamp;
use tokio::sync::watch;

use super::{
    follow::Listening, open_database, plan, print_result, progress::Progress, stopped, table::count,
};
use crate::{
    config::Config,
    exporter::{Exporter, Scope, Summary},
};

#[derive(clap::Args)]
pub(super) struct Options {
    /// Print the summary as JSON
    #[arg(long)]
    json: bool,
    /// Tell what an export would change, as the configuration is now, and change nothing
    #[arg(long)]
    plan: bool,
    /// First read every file of the tree, and bring in again what is not what its name says
    #[arg(long, conflicts_with = "plan")]
    verify: bool,
    /// Go on: export all every `export.interval`, and at once what the origin tells of ([hooks]); scan after
    /// each export, so the database is needed, too
    #[arg(long, conflicts_with_all = ["json", "plan", "verify"])]
    watch: bool,
}

impl Options {
    /// Does it run for long, and log?
    pub(super) fn is_service(&self) -> bool {
        self.watch
    }
}

/// Fails when an image could not be exported, though all others were.
pub(super) async fn run(options: &Options, config: Config) -> anyhow::Result<ExitCode> {
    let exporter = Exporter::new(&config.origin, &config.tree, &config.category)?;
    if options.plan {
        return plan::run(&exporter, options.json).await;
    }
    if options.watch {
        return follow_origin(exporter, config).await;
    }
    let (now, progress) = (Timestamp::now(), Progress::on_standard_error());
    let summary = if options.verify {
        exporter.verify(now, &progress).await?
    } else {
        exporter.run(&Scope::All, now, &progress).await?
    };
    print_result(&summary, options.json, render)?;
    Ok(if summary.is_whole() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Follows the origin until it is stopped.
async fn follow_origin(exporter: Exporter, config: Config) -> anyhow::Result<ExitCode> {
    let stop = stopped()?;
    let database = Arc::new(open_database(&config)?);
    let origin = Listening::new(Some(exporter), config, database)?;
    let (stopper, stopping) = watch::channel(false);
    let following = tokio::spawn(origin.run(stopping));
    if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
        tracing::warn!(%error, "systemd could not be told that we are ready");
    }
    stop.await;
    stopper.send_replace(true);
    following.await.context("following the origin")?;
    Ok(ExitCode::SUCCESS)
}

/// A line for each category, and one for each thing that did not go well.
fn render(summary: &Summary) -> String {
    let mut text = String::new();
    for category in &summary.categories {
        let changed = if category.changed { "changed" } else { "nothing new" };
        let _ = writeln!(
            text,
            "{}: {changed}, serial {}, {}, {} ({} of former tags), {}",
            category.name,
            category.serial,
            count(category.tags, "tag"),
            count(category.files, "file"),
            category.former,
            HumanBytes(category.bytes)
        );
    }
    if let Some(verified) = &summary.verified {
        let (files, damaged) = (count(verified.files, "file"), verified.damaged.len());
        let _ = writeln!(text, "read {files}, {}: {damaged} damaged", HumanBytes(verified.bytes));
        for damage in &verified.damaged {
            let _ = writeln!(text, "damaged, and taken out: {damage}");
        }
    }
    let fetched = &summary.fetched;
    let (manifests, blobs) = (count(fetched.manifests, "manifest"), count(fetched.blobs, "blob"));
    let _ = writeln!(text, "fetched {manifests} and {blobs}, {}", HumanBytes(fetched.bytes));
    for layer in &summary.foreign_layers {
        let _ = writeln!(
            text,
            "left out, for its owner forbids copies: {} of {}:{}",
            layer.digest, layer.repository, layer.tag
        );
    }
    for pattern in &summary.unmatched {
        let _ = writeln!(text, "warning: {pattern}");
    }
    for image in &summary.withdrawn {
        let _ =
            writeln!(text, "left out, for {} is withdrawn: {}:{}", image.digest, image.repository, image.tag);
    }
    for fault in &summary.faults {
        let _ = writeln!(text, "not exported: {fault}");
    }
    for refusal in &summary.refused {
        let _ = writeln!(text, "not exported: {refusal}");
    }
    text
}
