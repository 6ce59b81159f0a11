use std::{
    io::{self, Write as _},
    process::ExitCode,
    sync::Arc,
};

use jiff::Timestamp;

use super::{host, open_database, print, print_result, seed, stopped, table};
use crate::{
    config::Config,
    crawler::{self, Crawler, HostSummary, Observer, Prober, Summary},
    mirror::HostName,
};

#[derive(clap::Args)]
pub(super) struct Options {
    /// Crawl all hosts once, due or not, and end; without it each host is crawled when it is due, and probed all
    /// the time. Hosts that asked to be left alone (Retry-After) are left out
    #[arg(long)]
    once: bool,
    /// Crawl this host once, in any case, and end; may be given several times
    #[arg(long = "host", value_name = "HOST")]
    hosts: Vec<HostName>,
    /// Print what was found as JSON; without --once and --host, one line for each host
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(options: &Options, config: &Config) -> anyhow::Result<ExitCode> {
    let stop = stopped()?;
    let database = Arc::new(open_database(config)?);
    for name in &options.hosts {
        host::find(&database, name)?;
    }
    let crawler =
        Crawler::new(config.crawl.clone())?.with_notices(&config.notice)?.with_statistics(&config.statistics);
    let embargoed = config.serve.embargoed.clone();
    let question = crawler::Options {
        hosts: options.hosts.clone(),
        embargoed: embargoed.clone(),
        seed: seed(),
        clock: Timestamp::now,
    };
    if !options.once && options.hosts.is_empty() {
        let prober = Prober::new(&config.crawl, &config.probe, embargoed)?;
        let probing = prober.start(database.clone(), seed(), Timestamp::now);
        crawler.follow(&database, &question, &Lines { json: options.json }, stop).await;
        tokio::join!(crawler.finish(), probing.stop());
        return Ok(ExitCode::SUCCESS);
    }
    tokio::select! {
        summary = crawler.run(&database, &question, &Lines { json: false }) => {
            print_result(&summary?, options.json, render)?;
        }
        () = stop => crawler.release(&database, &question).await,
    }
    crawler.finish().await;
    Ok(ExitCode::SUCCESS)
}

/// Tells of each host on standard error as it is done, and on standard output if programs want to know.
struct Lines {
    json: bool,
}

impl Observer for Lines {
    fn started(&self, hosts: usize) {
        let _ = writeln!(io::stderr(), "crawling {}", table::count(hosts, "host"));
    }

    fn host_started(&self, _: &HostName) {}

    fn host_finished(&self, summary: &HostSummary) {
        let _ =
            writeln!(io::stderr(), "{}: {} after {} ms", summary.name, summary.state, summary.duration_ms);
        if self.json
            && let Err(error) = serde_json::to_string(summary)
                .map_err(anyhow::Error::from)
                .and_then(|it| print(&format!("{it}\n")))
        {
            tracing::error!("what was found of {} could not be printed: {error:#}", summary.name);
        }
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
