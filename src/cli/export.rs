use std::{fmt::Write as _, process::ExitCode};

use indicatif::HumanBytes;
use jiff::Timestamp;

use super::{print_result, progress::Progress, table::count};
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
    print_result(&summary, options.json, render)?;
    Ok(if summary.is_whole() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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
