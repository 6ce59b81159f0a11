use std::{
    io::{self, Write as _},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;

use super::{open_database, print, print_json, seed, stopped};
use crate::{
    config::Config,
    crawler::{self, Crawler, HostSummary, Observer, Summary},
    mirror::HostName,
};

#[derive(clap::Args)]
pub(super) struct Options {
    /// Crawl once and end, instead of again and again
    #[arg(long)]
    once: bool,
    /// Only this host; may be given several times. Crawls once
    #[arg(long = "host", value_name = "HOST")]
    hosts: Vec<HostName>,
    /// Print what was found as JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(options: &Options, config: &Config) -> anyhow::Result<ExitCode> {
    let stop = stopped()?;
    let database = Arc::new(open_database(config)?);
    let crawler = Crawler::new(config.crawl.clone())?;
    let pause = Duration::try_from(config.crawl.interval).unwrap_or_default();
    let once = options.once || !options.hosts.is_empty();
    let crawls = async {
        loop {
            let question =
                crawler::Options { hosts: options.hosts.clone(), seed: seed(), clock: Timestamp::now };
            let summary = crawler.run(&database, &question, &Lines).await?;
            if options.json {
                print_json(&summary)?;
            } else {
                print(&render(&summary));
            }
            if once {
                return Ok(ExitCode::SUCCESS);
            }
            tokio::time::sleep(pause).await;
        }
    };
    tokio::select! {
        result = crawls => result,
        () = stop => Ok(ExitCode::SUCCESS),
    }
}

/// Tells of each host on standard error as it is done.
struct Lines;

impl Observer for Lines {
    fn started(&self, hosts: usize) {
        let _ = writeln!(io::stderr(), "crawling {hosts} hosts");
    }

    fn host_started(&self, _: &HostName) {}

    fn host_finished(&self, summary: &HostSummary) {
        let _ =
            writeln!(io::stderr(), "{}: {} after {} ms", summary.name, summary.state, summary.duration_ms);
    }
}

/// A table of hosts and what they hold, and the reasons below it.
pub(super) fn render(summary: &Summary) -> String {
    if summary.hosts.is_empty() {
        return "no host is active and opted in to a category; `portolan host opt-in` changes that\n"
            .to_owned();
    }
    let mut table = comfy_table::Table::new();
    table.load_preset(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["host", "category", "state", "serial", "holds", "reason"]);
    for host in &summary.hosts {
        for category in &host.categories {
            table.add_row([
                host.name.to_string(),
                category.name.to_string(),
                category.state.to_string(),
                category.serial.map(|it| it.to_string()).unwrap_or_default(),
                category.held.map(|it| it.to_string()).unwrap_or_default(),
                category.reason.clone(),
            ]);
        }
    }
    let faults = summary.hosts.iter().filter_map(|it| Some(format!("{}: {}\n", it.name, it.error.as_ref()?)));
    format!("{table}\n{}", faults.collect::<String>())
}
