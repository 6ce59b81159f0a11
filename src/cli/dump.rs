use std::{fmt::Write as _, path::PathBuf};

use anyhow::Context as _;

use super::{print_result, table};
use crate::{
    database::{
        Database, Part, Time,
        dump::{self, DumpError, Summary},
    },
    store,
};

#[derive(clap::Args)]
pub(super) struct Options {
    /// The file, JSON line by line; compressed by zstd if its name ends with .zst. It has the hashes of passwords and tokens
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print how many rows of which table as JSON
    #[arg(long)]
    json: bool,
}

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error(transparent)]
    Dump(#[from] DumpError),
    #[error(transparent)]
    Store(#[from] store::Error),
}

pub(super) fn dump(options: &Options, database: &Database) -> anyhow::Result<()> {
    let summary = store::write_private(&options.file, |output| {
        database.attempt_read(|it| dump::write(it, output, now())).map_err(WriteError::from)
    });
    let summary = summary.with_context(|| format!("dumping to {}", options.file.display()))?;
    print_result(&summary, options.json, |it| render(it, "written"))
}

pub(super) fn restore(options: &Options, database: &Database) -> anyhow::Result<()> {
    let mut input = store::read_packed(&options.file)?;
    let parts = [Part::Content, Part::Holdings, Part::Hosts];
    let summary = database.attempt(&parts, |it| dump::restore(it, &mut *input, now()));
    let summary = summary.with_context(|| format!("restoring {}", options.file.display()))?;
    print_result(&summary, options.json, |it| {
        format!("{}now: `portolan scan`, then `portolan crawl`\n", render(it, "restored"))
    })
}

fn render(summary: &Summary, done: &str) -> String {
    let mut text = String::new();
    for (table, rows) in &summary.tables {
        let _ = writeln!(text, "{table}: {rows}");
    }
    let _ = writeln!(
        text,
        "{} {done}",
        table::count(usize::try_from(summary.rows()).unwrap_or(usize::MAX), "row")
    );
    text
}

fn now() -> Time {
    jiff::Timestamp::now().into()
}
