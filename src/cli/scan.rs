use std::{fmt::Write as _, process::ExitCode};

use super::{open_database, print_result, table::count};
use crate::{
    config::Config,
    scanner::{self, Outcome, Summary},
    tree::Tree,
};

#[derive(clap::Args)]
pub(super) struct Options {
    /// Print the summary as JSON
    #[arg(long)]
    json: bool,
}

/// Fails when a category is half-written, though all others were taken over.
pub(super) fn run(options: &Options, config: &Config) -> anyhow::Result<ExitCode> {
    let database = open_database(config)?;
    let summary = scanner::scan(&Tree::open(&config.tree), &database, config.scan.small_blob_limit)?;
    print_result(&summary, options.json, render)?;
    Ok(if summary.has_refused() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// A line for each category.
fn render(summary: &Summary) -> String {
    let mut text = String::new();
    for category in &summary.categories {
        let _ = write!(text, "{}: ", category.name);
        let _ = match &category.outcome {
            Outcome::Unchanged => writeln!(text, "nothing new"),
            Outcome::Updated { serial, blobs, new_blobs, tags } => {
                let (tags, files) = (count(*tags, "tag"), count(*blobs, "file"));
                writeln!(text, "serial {serial}, {tags}, {files}, {new_blobs} of them new")
            }
            Outcome::Refused { reason } => writeln!(text, "refused, nothing was changed: {reason}"),
            Outcome::Retired => writeln!(text, "retired, its folder is gone"),
        };
    }
    if summary.categories.is_empty() {
        text.push_str("the tree has no category; `[[category]]` in the configuration makes one\n");
    }
    text
}
