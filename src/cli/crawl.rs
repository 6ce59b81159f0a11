use std::{
    io::{self, Write as _},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;

use super::{host, open_database, print_result, seed, stopped, table};
use crate::{
    config::Config,
    crawler::{self, Crawler, HostSummary, Observer, Prober, Summary},
    mirror::HostName,
};

#[derive(clap::Args)]
pub(super) struct Options {
    /// Crawl once and end, instead of crawling again and again and probing all the time
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
    for name in &options.hosts {
        host::find(&database, name)?;
    }
    let crawler = Crawler::new(config.crawl.clone())?;
    let pause = Duration::try_from(config.crawl.interval).unwrap_or_default();
    let once = options.once || !options.hosts.is_empty();
    let probing = match once {
        true => None,
        false => Some(Prober::new(&config.crawl, &config.probe, config.serve.embargoed.clone())?.start(
            database.clone(),
            seed(),
            Timestamp::now,
        )),
    };
    let crawls = async {
        loop {
            let question = crawler::Options {
                hosts: options.hosts.clone(),
                embargoed: config.serve.embargoed.clone(),
                seed: seed(),
                clock: Timestamp::now,
            };
            let summary = crawler.run(&database, &question, &Lines).await?;
            print_result(&summary, options.json, render)?;
            if once {
                return Ok(ExitCode::SUCCESS);
            }
            tokio::time::sleep(pause).await;
        }
    };
    let result = tokio::select! {
        result = crawls => result,
        () = stop => Ok(ExitCode::SUCCESS),
    };
    if let Some(probing) = probing {
        probing.stop().await;
    }
    result
}

/// Tells of each host on standard error as it is done.
struct Lines;

impl Observer for Lines {
    fn started(&self, hosts: usize) {
        let _ = writeln!(io::stderr(), "crawling {}", table::count(hosts, "host"));
    }

    fn host_started(&self, _: &HostName) {}

    fn host_finished(&self, summary: &HostSummary) {
        let _ =
            writeln!(io::stderr(), "{}: {} after {} ms", summary.name, summary.state, summary.duration_ms);
    }
}

/// A table of hosts and what they hold, and the reasons below it.
fn render(summary: &Summary) -> String {
    if summary.hosts.is_empty() {
        return "no host is active and opted in to a category; `portolan host opt-in` changes that\n"
            .to_owned();
    }
    let mut rows = table::list(&["HOST", "CATEGORY", "STATE", "SERIAL", "FOUND", "REASON"]);
    for host in &summary.hosts {
        for category in &host.categories {
            rows.add_row([
                table::cell(&host.name),
                table::cell(&category.name),
                table::state(Some(category.state)),
                table::optional(category.serial),
                table::optional(category.held),
                table::cell(&category.reason),
            ]);
        }
    }
    let faults = summary.hosts.iter().filter_map(|it| Some(format!("{}: {}\n", it.name, it.error.as_ref()?)));
    format!("{rows}\n{}", faults.collect::<String>())
}
