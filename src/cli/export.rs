use std::{fmt::Write as _, process::ExitCode};

use indicatif::HumanBytes;
use jiff::Timestamp;

use super::{print, print_json, progress::Progress};
use crate::{
    config::Config,
    exporter::{Exporter, Summary},
};

#[derive(clap::Args)]
pub(super) struct Options {
    /// Print the summary as JSON
    #[arg(long)]
    json: bool,
}

/// Fails when an image could not be exported, though all others were.
pub(super) async fn run(options: &Options, config: &Config) -> anyhow::Result<ExitCode> {
    let exporter = Exporter::new(&config.origin, &config.tree, &config.category)?;
    let summary = exporter.run(Timestamp::now(), &Progress::on_standard_error()).await?;
    if options.json {
        print_json(&summary)?;
    } else {
        print(&render(&summary));
    }
    Ok(if summary.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A line for each category, and one for each thing that did not go well.
pub(super) fn render(summary: &Summary) -> String {
    let mut text = String::new();
    for category in &summary.categories {
        let changed = if category.changed { "changed" } else { "nothing new" };
        let _ = writeln!(
            text,
            "{}: {changed}, serial {}, {} tags, {} files ({} of former tags), {}",
            category.name,
            category.serial,
            category.tags,
            category.files,
            category.former,
            HumanBytes(category.bytes)
        );
    }
    let fetched = &summary.fetched;
    let bytes = HumanBytes(fetched.bytes);
    let _ = writeln!(text, "fetched {} manifests and {} blobs, {bytes}", fetched.manifests, fetched.blobs);
    for layer in &summary.foreign_layers {
        let _ = writeln!(
            text,
            "left out, for its owner forbids copies: {} of {}:{}",
            layer.digest, layer.repository, layer.tag
        );
    }
    for fault in &summary.faults {
        let _ = writeln!(text, "not exported: {fault}");
    }
    text
}
