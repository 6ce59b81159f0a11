use std::{path::Path, sync::Arc};

use anyhow::{Context, ensure};
use jiff::Timestamp;
use tempfile::TempDir;

use super::{
    image::{NAME, Registry, own_layer},
    mirrors::{self, Mirror},
};
use crate::{
    cli::progress::Progress,
    connector,
    crawler::{self, Crawler, HostSummary},
    database::{self, Connection, Database, Part, host_category, site::NewSite},
    exporter::{CategoryConfig, Exporter, Scope},
    mirror::HostName,
    scanner,
    server::StandIn,
    tree::{self, Tree},
};

/// Blobs up to this size, in bytes, we serve ourselves: the configurations.
const SMALL_BLOB_LIMIT: u64 = 64 * 1024;

/// Where clients on loopback are said to be.
pub(super) const CLIENTS: (&str, &str) = ("127.0.0.0/8", "DE");

/// A tree, a database and mirrors in a temporary folder, which goes when this is dropped.
pub(super) struct World {
    // Before the folder, so that nothing reads from it any more.
    mirrors: Vec<Mirror>,
    crawled: Vec<HostSummary>,
    database: Arc<Database>,
    tree: tree::Config,
    folder: TempDir,
}

impl World {
    /// Exports version 1, which the stale mirror copies, then version 2, which the other two copy; one of
    /// them gets a flipped byte. Then the crawler looks at all three.
    pub(super) async fn make() -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("portolan-demo-").tempdir()?;
        let tree = tree::Config { path: folder.path().join("tree"), ..tree::Config::default() };
        let url = format!("sqlite:{}", folder.path().join("portolan.db").display()).parse()?;
        let database = Arc::new(Database::open(&database::Config { url, ..database::Config::default() }));
        database.migrate()?;

        let [stale, fresh, broken] = ["stale", "fresh", "broken"].map(|it| folder.path().join(it));
        let category = tree.path.join(NAME);
        publish(1, &tree, &database).await?;
        mirrors::copy(&category, &stale).context("filling the stale mirror")?;
        publish(2, &tree, &database).await?;
        mirrors::copy(&category, &fresh).context("filling the fresh mirror")?;
        mirrors::copy(&category, &broken).context("filling the broken mirror")?;
        mirrors::flip_a_byte(&broken, &own_layer(2)).context("breaking the broken mirror")?;

        let mirrors = vec![
            Mirror::start("fresh", "FR", fresh)?,
            Mirror::start("stale", "DE", stale)?,
            Mirror::start("broken", "DE", broken)?,
        ];
        register(&mirrors, &database)?;
        let crawled = crawl(&mirrors, &database).await?;
        Ok(Self { mirrors, crawled, database, tree, folder })
    }

    /// All that the demo writes is in here.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The database, filled.
    pub(super) fn database(&self) -> &Arc<Database> {
        &self.database
    }

    /// The tree that was exported to.
    pub(super) fn tree(&self) -> &tree::Config {
        &self.tree
    }

    /// The running mirrors.
    pub(super) fn mirrors(&self) -> &[Mirror] {
        &self.mirrors
    }

    /// What the crawler found out about them, in the same order.
    pub(super) fn crawled(&self) -> &[HostSummary] {
        &self.crawled
    }
}

/// Export and scan, from a registry with so many versions.
async fn publish(versions: u64, tree: &tree::Config, database: &Arc<Database>) -> anyhow::Result<()> {
    let registry = Registry::with_versions(versions);
    let origin = StandIn::start(move |path| registry.find(path)).context("starting the origin registry")?;
    let origin = connector::Config { url: Some(origin.url().parse()?), ..connector::Config::default() };
    let all = CategoryConfig::new(NAME.parse()?);
    let category = CategoryConfig { repositories: vec![NAME.to_owned()], ..all };
    let exporter = Exporter::new(&origin, tree, &[category])?;
    let summary = exporter.run(&Scope::All, Timestamp::now(), &Progress::on_standard_error()).await?;
    ensure!(summary.faults.is_empty(), "the export had faults: {:?}", summary.faults);
    let (tree, database) = (Tree::open(tree), Arc::clone(database));
    let scan = move || scanner::scan(&tree, &database, SMALL_BLOB_LIMIT);
    let summary = tokio::task::spawn_blocking(scan).await??;
    ensure!(!summary.has_refused(), "the scan refused the tree: {:?}", summary.categories);
    Ok(())
}

/// Gives each mirror a site and a host, opted in to the category, and the clients a country.
fn register(mirrors: &[Mirror], database: &Database) -> anyhow::Result<()> {
    let now = Timestamp::now().into();
    let (name, network, country) = (NAME.parse()?, CLIENTS.0.parse()?, CLIENTS.1.parse()?);
    let category = database.read(|it| database::category::find(it, &name))?;
    let category = category.context("the scan made no category")?;
    for mirror in mirrors {
        let site =
            NewSite { name: mirror.name.as_str().parse()?, org_url: None, private: false, created_at: now };
        let insert = |connection: &mut Connection| {
            let site = database::site::insert(connection, &site)?;
            let host = database::host::insert(connection, &mirror.host(site.id, now))?;
            host_category::opt_in(connection, host.id, category.id, std::slice::from_ref(&mirror.url), now)
        };
        database.write(Part::Hosts, insert)?;
    }
    database.write(Part::Hosts, |it| database::country::set_netblock_country(it, &network, country))?;
    Ok(())
}

/// What the crawler finds out, in the order of the mirrors.
async fn crawl(mirrors: &[Mirror], database: &Arc<Database>) -> anyhow::Result<Vec<HostSummary>> {
    let config = crawler::Config {
        allow_networks: vec![CLIENTS.0.parse()?],
        rate: 1_000, // on loopback nobody minds
        ..crawler::Config::default()
    };
    let options =
        crawler::Options { hosts: Vec::new(), embargoed: Vec::new(), seed: 1, clock: Timestamp::now };
    let mut summary = Crawler::new(config)?.run(database, &options, &Silence).await?;
    summary.hosts.sort_by_key(|host| mirrors.iter().position(|it| it.name == host.name));
    Ok(summary.hosts)
}

/// Three hosts on loopback are crawled before anybody could read a line.
struct Silence;

impl crawler::Observer for Silence {
    fn started(&self, _: usize) {}
    fn host_started(&self, _: &HostName) {}
    fn host_finished(&self, _: &HostSummary) {}
}
