//! `portolan import mirrormanager`: sites and hosts from a MirrorManager that runs already.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{self, Write as _},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, bail};
use clap::Subcommand;
use jiff::{SignedDuration, Timestamp};

use super::{news, open_database, print, print_result, render_error, stopped, table};
use crate::{
    config::Config,
    database::{Database, DatabaseUrl},
    importer::{self, Change, Importer, Mapping, Noun, Summary, Verb},
};

/// Between two imports.
const LEAST_WATCH: SignedDuration = SignedDuration::from_secs(1);
const MOST_WATCH: SignedDuration = SignedDuration::from_hours(24);

#[derive(Subcommand)]
pub(super) enum Command {
    /// Take over sites, hosts and their opt-ins from MirrorManager2's database, which is only read
    ///
    /// What was imported is kept as it is there, by every further import, and is read-only here; sites and hosts of
    /// our own stay beside it. Rows that make no sense are skipped and named.
    Mirrormanager(Options),
}

#[derive(clap::Args)]
pub(super) struct Options {
    /// MirrorManager's database, as postgres://USER@HOST/NAME; without it mirrormanager.database_url of the
    /// configuration. A password is better kept there, or in PORTOLAN_MIRRORMANAGER_URL
    #[arg(long, value_name = "URL")]
    database_url: Option<DatabaseUrl>,
    /// Import hosts that opted in to this category of MirrorManager; may be given many times. What of ours they carry by
    /// it says mirrormanager.categories in the configuration: without that all, each in the folder of its name
    #[arg(long = "category", value_name = "NAME")]
    categories: Vec<String>,
    /// Import again and again, so long after each other: 5m
    #[arg(long, value_name = "DURATION", value_parser = watch)]
    watch: Option<SignedDuration>,
    /// Change nothing, and tell what would be changed
    #[arg(long)]
    dry_run: bool,
    /// Let more than half of the imported hosts go, if that is what happened there
    #[arg(long)]
    allow_removal: bool,
    /// Print what was done as JSON; with --watch one line for each import that did something
    #[arg(long)]
    json: bool,
}

fn watch(text: &str) -> Result<SignedDuration, String> {
    let duration: SignedDuration = text.parse().map_err(|_| "a duration has units: 5m".to_owned())?;
    let is_sane = (LEAST_WATCH..=MOST_WATCH).contains(&duration);
    if is_sane { Ok(duration) } else { Err("it can be 1s to 24h".to_owned()) }
}

pub(super) async fn run(command: Command, config: &Config) -> anyhow::Result<ExitCode> {
    let Command::Mirrormanager(options) = command;
    let stop = stopped()?;
    let source = options.database_url.clone().or_else(|| config.mirrormanager.database_url.clone());
    let source = source.context(
        "where is MirrorManager's database? say --database-url, or mirrormanager.database_url in the configuration",
    )?;
    let mapping = mapping(&options.categories, &config.mirrormanager.categories);
    let importer = Importer::new(source, mapping);
    let database = Arc::new(open_database(config)?);
    let how = importer::Options { dry_run: options.dry_run, allow_removal: options.allow_removal };
    let Some(interval) = options.watch else {
        let summary = import(&importer, &database, config, how).await?;
        print_result(&summary, options.json, render)?;
        return Ok(ExitCode::SUCCESS);
    };
    if options.dry_run {
        bail!("--watch imports again and again, --dry-run changes nothing: give one of them");
    }
    tokio::select! {
        () = stop => Ok(ExitCode::SUCCESS),
        outcome = follow(&importer, &database, config, how, interval, |result| tell(result, options.json)) => {
            outcome.map(|()| ExitCode::SUCCESS)
        }
    }
}

/// The categories that are named, with what the configuration says of them; all of its if none is.
fn mapping(named: &[String], configured: &Mapping) -> Mapping {
    if named.is_empty() {
        return configured.clone();
    }
    let carried = |name: &String| (name.clone(), configured.get(name).cloned().unwrap_or_default());
    named.iter().map(carried).collect::<BTreeMap<_, _>>()
}

/// Imports once, and tells whoever wants to know of hosts.
async fn import(
    importer: &Importer,
    database: &Arc<Database>,
    config: &Config,
    options: importer::Options,
) -> anyhow::Result<Summary> {
    news::telling(config, database, async { Ok(importer.run(database, options, Timestamp::now()).await?) })
        .await
}

/// Imports again and again. What fails is told, and tried again at the next turn; it ends when nothing can be told.
pub(super) async fn follow(
    importer: &Importer,
    database: &Arc<Database>,
    config: &Config,
    options: importer::Options,
    interval: SignedDuration,
    tell: impl Fn(anyhow::Result<Summary>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let interval = Duration::try_from(interval).unwrap_or_default().max(Duration::from_secs(1));
    loop {
        tell(import(importer, database, config, options).await)?;
        tokio::time::sleep(interval).await;
    }
}

fn tell(result: anyhow::Result<Summary>, json: bool) -> anyhow::Result<()> {
    match result {
        Ok(summary) if summary.changes.is_empty() => Ok(()),
        Ok(summary) if json => print(&format!("{}\n", serde_json::to_string(&summary)?)),
        Ok(summary) => print(&render(&summary)),
        Err(error) => {
            let _ = writeln!(io::stderr(), "portolan: {}", render_error(&error));
            Ok(())
        }
    }
}

/// What changed, what was skipped, and how much of each.
fn render(summary: &Summary) -> String {
    let mut text = String::new();
    for Change { verb, noun, name, details, .. } in &summary.changes {
        let _ = writeln!(text, "{} {} {name}", verb_word(*verb), noun_word(*noun));
        for detail in details {
            let _ = writeln!(text, "    {}", detail.replace('\n', " "));
        }
    }
    for skipped in &summary.skipped {
        let _ =
            writeln!(text, "skipped {} {} ({}): {}", skipped.table, skipped.id, skipped.what, skipped.reason);
    }
    let would = if summary.dry_run { "nothing was changed; it would be: " } else { "" };
    let Summary { added, changed, gone, skipped, .. } = summary;
    let rows = table::count(skipped.len(), "row");
    let _ = writeln!(text, "{would}{added} added, {changed} changed, {gone} gone; {rows} skipped");
    text
}

fn verb_word(verb: Verb) -> &'static str {
    match verb {
        Verb::Added => "added",
        Verb::Changed => "changed",
        Verb::Gone => "gone",
    }
}

fn noun_word(noun: Noun) -> &'static str {
    match noun {
        Noun::Site => "site",
        Noun::Host => "host",
        Noun::NetblockCountry => "country of the network",
        Noun::CountryContinentRedirect => "continent of",
        Noun::EmbargoedCountry => "embargo on",
        Noun::RepositoryRedirect => "former name",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_categories_carry_what_the_configuration_says() {
        let configured: Mapping =
            [("A".to_owned(), vec!["fedora=.".parse().unwrap()]), ("B".to_owned(), Vec::new())].into();
        assert_eq!(mapping(&[], &configured), configured);
        let some = mapping(&["A".to_owned(), "C".to_owned()], &configured);
        assert_eq!((some["A"].len(), some["C"].len(), some.len()), (1, 0, 2));
    }

    #[test]
    fn it_watches_at_sane_intervals() {
        assert_eq!(watch("5m"), Ok(SignedDuration::from_mins(5)));
        for text in ["", "5", "0s", "25h", "-5m"] {
            assert!(watch(text).is_err(), "{text}");
        }
    }
}
