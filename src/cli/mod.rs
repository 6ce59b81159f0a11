//! The command line. One file a command; each says what it prints to people and to programs.

mod account;
mod agent;
mod argument;
mod by_hand;
mod category;
mod changes;
mod config;
mod content;
mod country;
mod crawl;
mod demo;
mod dump;
mod explain;
mod export;
mod follow;
mod host;
mod import;
mod imported;
mod netblock;
mod news;
mod plan;
mod progress;
mod pull;
mod remote;
mod run;
mod scan;
mod serve;
mod site;
mod statistics;
mod suggestion;
mod table;

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use table::{Answer, Noun};

use crate::{
    config::{Config, DEFAULT_FILE, LogFormat},
    database::{Database, DatabaseUrl},
    tree::Tree,
};

/// Serves container images through a distribution's volunteer mirrors.
#[derive(Parser)]
#[command(name = "portolan", version, max_term_width = 100)]
struct Cli {
    /// The configuration; without it ./portolan.toml, if there is one, else the defaults
    #[arg(long, value_name = "FILE", env = "PORTOLAN_CONFIG", global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Copy images from the origin registry into the static tree
    Export(export::Options),
    /// Take the tree over into the database
    Scan(scan::Options),
    /// Look at every mirror: which holds what, and does it answer?
    ///
    /// The exit code is 0 when the crawl ran, also when a host is unreachable or lies: the table and the JSON
    /// tell the state of each.
    Crawl(crawl::Options),
    /// Answer container clients from the snapshot
    Serve,
    /// Export, scan, crawl and serve in one process
    Run,
    /// The organisations that run mirrors
    Site(remote::Noun<site::Command>),
    /// The mirrors: add, edit, opt in and out, and see why one is not offered
    Host(remote::Noun<host::Command>),
    /// The networks whose clients a host serves first
    Netblock(remote::Noun<netblock::Command>),
    /// What mirrors can opt in to
    Category(Noun<category::Command>),
    /// Who may sign in at the desk, and keep which sites
    Account(remote::Noun<account::Command>),
    /// Content that is not to be answered: withdraw it everywhere, or publish a tag at once
    Content(remote::Noun<content::Command>),
    /// Countries of networks, and continents of countries, over GeoIP and the map
    Country(Noun<country::Command>),
    /// Take over what another program knows of mirrors
    #[command(subcommand)]
    Import(import::Command),
    /// Say which mirrors a client gets for an image, and why not the others
    Explain(explain::Options),
    /// What clients were answered, and from where: by day, by mirror, by country
    Statistics(statistics::Options),
    /// Bring an image from the mirrors to disk, whatever some of them do
    ///
    /// Exit codes: 0: the image is there, every byte verified. 1: something failed, as the message says. 2: wrong
    /// arguments. 3: the registry has no such image, or none for the platform. 4: no source was left that sends the
    /// right bytes. 5: no key of `signed_by` in [client] has signed it. 130: interrupted by Ctrl-C. After 1, 4 and 130
    /// the next pull goes on from what has come.
    Pull(pull::Options),
    /// Let the container engines of this machine pull through all mirrors, whatever some of them do
    ///
    /// Runs until it is stopped. `portolan agent setup` says how engines are told to ask it.
    Agent(agent::Options),
    /// Show all of it on this machine, with nothing installed: a registry, three mirrors and ourselves
    Demo(demo::Options),
    /// Bring the database's tables up to date
    Migrate,
    /// Write what people typed, and what was counted, into a file: a backup for any database
    Dump(dump::Options),
    /// Fill a new database with what a dump has; a scan and a crawl bring the rest
    Restore(dump::Options),
    /// Print or check the configuration
    #[command(subcommand)]
    Config(config::Command),
}

/// Runs the program. The exit code is 0, or 1 when something failed, or 2 for wrong arguments.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match execute(cli) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(io::stderr(), "portolan: {}", render_error(&error));
            ExitCode::FAILURE
        }
    }
}

/// The error and its causes in one line. A cause that its effect has told already is not told again.
fn render_error(error: &anyhow::Error) -> String {
    error.chain().skip(1).fold(error.to_string(), |text, cause| {
        let cause = cause.to_string();
        if text.contains(&cause) { text } else { format!("{text}: {cause}") }
    })
}

fn execute(cli: Cli) -> anyhow::Result<ExitCode> {
    if let Command::Config(command) = cli.command {
        return config::run(&command, cli.config.as_deref());
    }
    let config = Config::load(cli.config.as_deref(), |name| std::env::var(name).ok())?;
    start_log(&config, is_service(&cli.command))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.context("starting the threads")?;
    runtime.block_on(dispatch(cli.command, config))
}

/// Does it run for long, and log?
fn is_service(command: &Command) -> bool {
    match command {
        Command::Serve | Command::Run => true,
        Command::Agent(options) => options.is_service(),
        Command::Export(options) => options.is_service(),
        _ => false,
    }
}

async fn dispatch(command: Command, config: Config) -> anyhow::Result<ExitCode> {
    match command {
        Command::Export(options) => export::run(&options, config).await,
        Command::Scan(options) => scan::run(&options, &config),
        Command::Crawl(options) => crawl::run(&options, &config).await,
        Command::Serve => serve::run(config).await,
        Command::Run => run::run(config).await,
        Command::Site(noun) => match noun.place.open(&config)? {
            Some(server) => told(remote::site::answer(noun.command, &server).await, noun.json),
            None => on_hosts(&config, noun.json, |it| site::answer(noun.command, it)).await,
        },
        Command::Host(noun) => match noun.place.open(&config)? {
            Some(server) => told(remote::host::answer(noun.command, &server).await, noun.json),
            None => on_hosts(&config, noun.json, |it| host::answer(noun.command, it)).await,
        },
        Command::Netblock(noun) => match noun.place.open(&config)? {
            Some(server) => told(remote::netblock::answer(noun.command, &server).await, noun.json),
            None => on_hosts(&config, noun.json, |it| netblock::answer(noun.command, it)).await,
        },
        Command::Category(noun) => {
            let rules = serve::publish_rules(&config);
            told(category::answer(noun.command, &open_database(&config)?, &rules), noun.json)
        }
        Command::Account(noun) => match noun.place.open(&config)? {
            Some(server) => told(remote::account::answer(noun.command, &server).await, noun.json),
            None => told(account::answer(noun.command, &open_database(&config)?), noun.json),
        },
        Command::Content(noun) => match noun.place.open(&config)? {
            Some(server) => told(remote::content::answer(noun.command, &server).await, noun.json),
            None => {
                let (database, tree) = (open_database(&config)?, Tree::open(&config.tree));
                told(content::answer(noun.command, &database, &tree), noun.json)
            }
        },
        Command::Country(noun) => told(country::answer(noun.command, &open_database(&config)?), noun.json),
        Command::Import(command) => import::run(command, &config).await,
        Command::Explain(options) => explain::run(&options, &config),
        Command::Statistics(options) => done(statistics::run(&options, &config, &open_database(&config)?)),
        Command::Pull(options) => pull::run(&options, &config).await,
        Command::Agent(options) => agent::run(options, &config).await,
        Command::Demo(options) => demo::run(options).await.map(|()| ExitCode::SUCCESS),
        Command::Migrate => migrate(&config),
        Command::Dump(options) => done(dump::dump(&options, &open_database(&config)?)),
        Command::Restore(options) => done(dump::restore(&options, &open_database(&config)?)),
        Command::Config(_) => Ok(ExitCode::SUCCESS),
    }
}

/// Works on hosts in the database, and tells the webhook what became of them.
async fn on_hosts(
    config: &Config,
    json: bool,
    work: impl FnOnce(&Database) -> anyhow::Result<Answer>,
) -> anyhow::Result<ExitCode> {
    let database = open_database(config)?;
    told(news::telling(config, &database, async { work(&database) }).await, json)
}

/// Prints an answer.
fn told(answer: anyhow::Result<Answer>, json: bool) -> anyhow::Result<ExitCode> {
    done(answer?.print(json))
}

fn done(result: anyhow::Result<()>) -> anyhow::Result<ExitCode> {
    result.map(|()| ExitCode::SUCCESS)
}

fn migrate(config: &Config) -> anyhow::Result<ExitCode> {
    let ran = Database::open(&config.database).migrate()?;
    if ran.is_empty() {
        print("the database is up to date\n")?;
    }
    for name in ran {
        print(&format!("{name}\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The configured database, ready for use: an SQLite file is made and migrated, a PostgreSQL never. A new
/// file is told of: in the wrong folder it is not the one that was meant.
fn open_database(config: &Config) -> anyhow::Result<Database> {
    let database = Database::open(&config.database);
    let new = match database.url() {
        DatabaseUrl::Sqlite(path) if !path.exists() => Some(path),
        DatabaseUrl::Sqlite(_) | DatabaseUrl::Postgres(_) => None,
    };
    database.prepare()?;
    if let Some(path) = new {
        let path = std::path::absolute(path).context("the path of the database")?;
        let hint = match config.file {
            Some(_) => String::new(),
            None => format!(" (no {DEFAULT_FILE} here: defaults are used)"),
        };
        let _ = writeln!(io::stderr(), "made a new database: {}{hint}", path.display());
    }
    Ok(database)
}

/// Services log as they are told to; other commands only what goes wrong, for they print themselves.
fn start_log(config: &Config, is_service: bool) -> anyhow::Result<()> {
    let filter = if is_service { log_filter(config)? } else { EnvFilter::new("warn") };
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match config.log.format {
        LogFormat::Json => log.json().flatten_event(true).init(),
        LogFormat::Text => log.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).init(),
    }
    Ok(())
}

/// What of the log services write.
fn log_filter(config: &Config) -> anyhow::Result<EnvFilter> {
    EnvFilter::try_new(&config.log.filter).context("log.filter in the configuration")
}

/// Writes a result to standard output.
fn print(text: &str) -> anyhow::Result<()> {
    write_result(&mut io::stdout().lock(), text).context("writing the result")
}

/// A reader that goes away early (`| head`) is no error.
fn write_result(output: &mut impl io::Write, text: &str) -> io::Result<()> {
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome,
    }
}

/// Prints a result: for programs as JSON, else as `render` tells it.
fn print_result<T: serde::Serialize>(
    value: &T,
    json: bool,
    render: impl FnOnce(&T) -> String,
) -> anyhow::Result<()> {
    if json { print_json(value) } else { print(&render(value)) }
}

/// Prints something for programs.
fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    print(&format!("{}\n", serde_json::to_string_pretty(value)?))
}

/// Ready when the process is told to stop, by SIGTERM or Ctrl-C. It listens from the call on, so that
/// whoever saw us start can also stop us well.
fn stopped() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// A number that nobody can foresee.
fn seed() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(std::process::id())
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io};

    use clap::CommandFactory as _;

    #[test]
    fn a_full_disk_is_an_error_and_a_reader_that_left_is_none() {
        let mut full = File::options().write(true).open("/dev/full").unwrap();
        let error = super::write_result(&mut full, "result").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        let (reader, mut writer) = io::pipe().unwrap();
        drop(reader);
        super::write_result(&mut writer, "result").unwrap();
    }

    #[test]
    fn a_cause_is_told_once() {
        let error =
            anyhow::anyhow!("no such file").context("cannot read x: no such file").context("starting");
        assert_eq!(super::render_error(&error), "starting: cannot read x: no such file");
    }

    #[test]
    fn the_command_line_is_sound() {
        super::Cli::command().debug_assert();
    }
}
