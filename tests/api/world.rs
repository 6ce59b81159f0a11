//! A tree, a database with hosts that hold what is in it, and a server that answers from them.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, mpsc},
    thread::JoinHandle,
};

use jiff::{SignedDuration, Timestamp};
use portolan::{
    database::{
        self, Connection, Database, Part, category,
        crawl::{self, CrawlHoldings, CrawlHost, CrawlResult, UrlReach},
        host::{self, Host, HostChange, NewHost},
        host_category, host_netblock,
        site::{self, NewSite},
        snapshot,
    },
    mirror::{CrawlState, HostKind, Reach, SiteId},
    oci::{Digest, MediaType},
    scanner,
    server::{self, Addresses, EndpointConfig, Settings},
    tree::{self, CANARY, Former, Kind, State, Tree, Writer},
};
use roaring::RoaringBitmap;
use tempfile::TempDir;

use crate::{http::Http, postgres};

/// What every story is told on.
pub(crate) const ENGINES: [&str; 2] = ["sqlite", "postgres"];

/// Five that hold all.
pub(crate) const FULL: [&str; 5] = ["a", "b", "c", "d", "e"];

/// Everything that was stored under one digest.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) digest: Digest,
    pub(crate) bytes: Vec<u8>,
}

/// What is in the tree. `fedora` has the tags `41`, `42`, `latest`, `rawhide`; `tools/docker` has `1`.
pub(crate) struct Images {
    /// `latest`, `42` and `rawhide`.
    pub(crate) index: Stored,
    /// `41`, and the first in the index.
    pub(crate) manifest: Stored,
    /// `1` of `tools/docker`.
    pub(crate) docker: Stored,
    /// Its subject is the index.
    pub(crate) signature: Stored,
    /// So is its.
    pub(crate) bill: Stored,
    /// A small layer.
    pub(crate) small: Stored,
    /// A layer that is too large to be answered here.
    pub(crate) large: Stored,
}

/// All of it. What is dropped first stands first.
pub(crate) struct World {
    pub(crate) http: Http,
    pub(crate) server: Server,
    pub(crate) database: Arc<Database>,
    pub(crate) images: Images,
    pub(crate) folder: TempDir,
}

/// Tells a story on each engine.
pub(crate) fn on_both(story: impl Fn(&World)) {
    on_both_with(|_| {}, story);
}

/// The same with other settings.
pub(crate) fn on_both_with(change: impl Fn(&mut Settings), story: impl Fn(&World)) {
    for engine in ENGINES {
        eprintln!("on {engine}");
        story(&World::new(engine, &change));
    }
}

impl World {
    pub(crate) fn new(engine: &str, change: impl Fn(&mut Settings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = match engine {
            "sqlite" => format!("sqlite:{}/test.db", folder.path().display()),
            _ => postgres::new_database(),
        };
        Self::over(&url, folder, change)
    }

    /// Over this database, which is empty.
    pub(crate) fn over(url: &str, folder: TempDir, change: impl Fn(&mut Settings)) -> Self {
        let database = open(url);
        database.migrate().unwrap();
        let images = fill_tree(folder.path());
        let summary = scanner::scan(&tree(folder.path()), &database, 64 * 1024).unwrap();
        assert!(!summary.has_refused(), "{summary:?}");
        add_hosts(&database, &images);
        write_asn_database(&folder.path().join("asn.mmdb"));
        let mut settings = settings(folder.path());
        change(&mut settings);
        let server = Server::start(settings, database.clone()).unwrap();
        let http = Http::new(&server.addresses);
        Self { http, server, database, images, folder }
    }

    /// Changes a host as its admin would.
    pub(crate) fn change_host(&self, name: &str, change: &HostChange) {
        let update = |connection: &mut Connection| {
            let row = host::find(connection, &name.parse().unwrap())?.unwrap();
            host::update(connection, row.id, change)
        };
        self.database.write(Part::Hosts, update).unwrap();
    }

    /// Publishes and scans a new image under a tag of `fedora`; no host holds it.
    pub(crate) fn publish_image(&self, tag: &str) -> Stored {
        let writer = tree(self.folder.path()).lock().unwrap();
        let category = "fedora".parse().unwrap();
        let mut filling = Filling { state: writer.tree().load_state(&category).unwrap(), writer };
        let serial = filling.writer.last_serial().unwrap() + 1;
        let manifest = filling.image(&format!("{tag} at {serial}"), &[], MediaType::OciManifest, "");
        filling.tag("fedora", &[tag], &manifest);
        filling.writer.publish(&category, &filling.state, serial).unwrap();
        let summary = scanner::scan(&tree(self.folder.path()), &self.database, 64 * 1024).unwrap();
        assert!(!summary.has_refused(), "{summary:?}");
        manifest
    }

    /// A crawl finds all there is on a host.
    pub(crate) fn hold_everything(&self, name: &str) {
        let rows = self.database.read(snapshot::load_content).unwrap();
        let ids: Vec<_> = self.database.read(host::list).unwrap().iter().map(|it| it.id).collect();
        let hosts = self.database.read(|it| crawl::list_hosts(it, &ids)).unwrap();
        let host = hosts.into_iter().find(|it| it.name.as_str() == name).unwrap();
        store_crawl(&self.database, &host, &rows.blobs.iter().map(|it| it.number).collect());
    }

    /// The path of a blob of `fedora`.
    pub(crate) fn blob(&self, blob: &Stored) -> String {
        format!("/v2/fedora/blobs/{}", blob.digest)
    }
}

pub(crate) fn open(url: &str) -> Arc<Database> {
    Arc::new(Database::open(&database::Config { url: url.parse().unwrap(), connections: 4 }))
}

fn tree(folder: &Path) -> Tree {
    let config = tree::Config { path: folder.join("tree"), ..tree::Config::default() };
    Tree::open(&config)
}

/// Believes proxies on loopback, so that a test can be any client.
pub(crate) fn settings(folder: &Path) -> Settings {
    let direct = EndpointConfig { host: "direct.test".into(), direct: true, ..Default::default() };
    let listen = "address = \"127.0.0.1:0\"";
    Settings {
        serve: server::Config {
            state: folder.join("state"),
            management: "127.0.0.1:0".parse().unwrap(),
            trusted_proxies: vec!["127.0.0.0/8".parse().unwrap()],
            workers: 2,
            drain: SignedDuration::from_secs(1),
            ..server::Config::default()
        },
        listen: vec![toml::from_str(listen).unwrap()],
        accounts: server::AccountsConfig { sign_in: true, sign_up: true, ..Default::default() },
        endpoints: vec![direct],
        fallback: server::FallbackConfig::default(),
        geoip: portolan::geoip::Config { asn: Some(folder.join("asn.mmdb")), ..Default::default() },
        tree: tree(folder),
        origin: None,
        publish: Default::default(),
        statistics: Default::default(),
        seen: Default::default(),
        seed: 1,
    }
}

/// A category in the making.
struct Filling {
    writer: Writer,
    state: State,
}

impl Filling {
    fn store(&mut self, bytes: &[u8], kind: Kind) -> Stored {
        let digest = Digest::of(bytes);
        self.writer.store(&digest, bytes).unwrap();
        self.state.entries.insert(*digest.sha256().unwrap(), (bytes.len() as u64, kind));
        Stored { digest, bytes: bytes.to_vec() }
    }

    /// An image with a config of its own; `more` goes into its manifest.
    fn image(&mut self, name: &str, layers: &[&Stored], media_type: MediaType, more: &str) -> Stored {
        let config = self.store(format!(r#"{{"name":"{name}"}}"#).as_bytes(), Kind::Blob);
        let layer = |it: &&Stored| {
            let (digest, size) = (it.digest, it.bytes.len());
            format!(r#"{{"mediaType":"l","digest":"{digest}","size":{size}}}"#)
        };
        // The spaces are ours: bytes are kept as they are.
        let manifest = format!(
            r#"{{ "schemaVersion": 2, "config":{{"mediaType":"c","digest":"{}","size":{}}},
                "layers":[{}]{more}}}"#,
            config.digest,
            config.bytes.len(),
            layers.iter().map(layer).collect::<Vec<_>>().join(",")
        );
        self.store(manifest.as_bytes(), Kind::Manifest(media_type))
    }

    fn tag(&mut self, repository: &str, tags: &[&str], manifest: &Stored) {
        let named = self.state.repositories.entry(repository.parse().unwrap()).or_default();
        named.extend(tags.iter().map(|it| (it.parse().unwrap(), manifest.digest)));
    }
}

fn fill_tree(folder: &Path) -> Images {
    let state = State {
        selection: "{}".into(),
        repositories: BTreeMap::new(),
        entries: BTreeMap::new(),
        former: Former::new(),
    };
    let mut filling = Filling { writer: tree(folder).lock().unwrap(), state };
    filling.store(CANARY, Kind::Blob);
    let small = filling.store(b"0123456789 a small layer", Kind::Blob);
    let large: Vec<u8> = (0..300_000u32).flat_map(|it| it.to_le_bytes()).collect();
    let large = filling.store(&large, Kind::Blob);
    let oci = MediaType::OciManifest;
    let manifest = filling.image("amd64", &[&small, &large], oci, "");
    let other = filling.image("arm64", &[&small], oci, "");
    let child = |it: &Stored, architecture: &str| {
        let (digest, size) = (it.digest, it.bytes.len());
        let platform = format!(r#"{{"architecture":"{architecture}","os":"linux"}}"#);
        format!(
            r#"{{"mediaType":"{}","digest":"{digest}","size":{size},"platform":{platform}}}"#,
            oci.as_str()
        )
    };
    let (amd64, arm64) = (child(&manifest, "amd64"), child(&other, "arm64"));
    let index = format!(r#"{{"schemaVersion":2,"manifests":[{amd64}, {arm64}]}}"#);
    let index = filling.store(index.as_bytes(), Kind::Manifest(MediaType::OciIndex));
    let subject = |artifact_type: &str| {
        let (digest, size) = (index.digest, index.bytes.len());
        format!(
            r#","artifactType":"{artifact_type}","subject":{{"mediaType":"m","digest":"{digest}","size":{size}}}"#
        )
    };
    let signature = filling.image("signature", &[], oci, &subject("application/signature"));
    let bill = filling.image("bill", &[], oci, &subject("application/bill"));
    let docker = filling.image("docker", &[&large], MediaType::DockerManifest, "");
    filling.tag("fedora", &["latest", "42", "rawhide"], &index);
    filling.tag("fedora", &["41"], &manifest);
    filling.tag("tools/docker", &["1"], &docker);
    let category = "fedora".parse().unwrap();
    filling.writer.publish(&category, &filling.state, 1_700_000_000).unwrap();
    Images { index, manifest, docker, signature, bill, small, large }
}

/// The public ones of [`FULL`]; `poor`, which lacks the large layer; `secret`, private, in 198.51.100.0/24,
/// 2001:db8:5::/48 and AS 64500 (203.0.113.0/24); `cellar`, in 192.0.2.0/28 and of a private site.
fn add_hosts(database: &Database, images: &Images) {
    let rows = database.read(snapshot::load_content).unwrap();
    let all: RoaringBitmap = rows.blobs.iter().map(|it| it.number).collect();
    let large = rows.blobs.iter().find(|it| it.name() == images.large.digest).unwrap().number;
    let site = add_site(database, "public", false);
    for name in FULL {
        add_host(database, site, name, false, &[], &all);
    }
    add_host(database, site, "poor", false, &[], &(&all - RoaringBitmap::from([large])));
    add_host(database, site, "secret", true, &["198.51.100.0/24", "2001:db8:5::/48"], &all);
    let closed = add_site(database, "closed", true);
    add_host(database, closed, "cellar", false, &["192.0.2.0/28"], &all);
}

fn add_site(database: &Database, name: &str, private: bool) -> SiteId {
    let created_at = Timestamp::now().into();
    let new = NewSite { name: name.parse().unwrap(), org_url: None, private, created_at };
    database.write(Part::Hosts, |it| site::insert(it, &new)).unwrap().id
}

/// A host at `http://NAME.example/m`, and `a` at `https://a.example/m`, as a crawl leaves it.
fn add_host(
    database: &Database,
    site_id: SiteId,
    name: &str,
    private: bool,
    netblocks: &[&str],
    held: &RoaringBitmap,
) {
    let now = Timestamp::now().into();
    let known_for = SignedDuration::from_hours(30 * 24);
    let new = NewHost {
        site_id,
        name: name.parse().unwrap(),
        country: "DE".parse().ok(),
        latitude: None,
        longitude: None,
        asn: if private { "64500".parse().ok() } else { None },
        asn_clients: true,
        bandwidth: None,
        private,
        contacts: String::new(),
        kind: HostKind::Static,
        client_share: None,
        daily_bytes: None,
        max_file_size: None,
        comment: String::new(),
        created_at: (Timestamp::now() - known_for).into(),
    };
    let scheme = if name == "a" { "https" } else { "http" };
    let urls = [format!("{scheme}://{name}.example/m").parse().unwrap()];
    let add = |connection: &mut Connection| {
        let host: Host = host::insert(connection, &new)?;
        let category = category::find(connection, &"fedora".parse().unwrap())?.unwrap();
        host_category::opt_in(connection, host.id, category.id, &urls, now)?;
        for netblock in netblocks {
            host_netblock::insert(connection, host.id, &netblock.parse().unwrap(), "")?;
        }
        Ok(host.id)
    };
    let id = database.write(Part::Hosts, add).unwrap();
    let crawled = database.read(|it| crawl::list_hosts(it, &[id])).unwrap().remove(0);
    store_crawl(database, &crawled, held);
}

fn store_crawl(database: &Database, crawled: &CrawlHost, held: &RoaringBitmap) {
    let now = Timestamp::now().into();
    let opt_in = &crawled.categories[0];
    let state = CrawlState::UpToDate;
    let result = CrawlResult {
        host: crawled.id,
        started_at: now,
        duration: SignedDuration::from_secs(1),
        state,
        log: String::new(),
        auto_disabled: None,
        holdings: vec![CrawlHoldings {
            host_category: opt_in.host_category,
            serial: Some(1_700_000_000),
            state,
            reason: String::new(),
            blobs: Some(held.clone()),
        }],
        urls: vec![UrlReach { url: opt_in.urls[0].id, ipv4: Reach::Up, ipv6: Reach::Up, reason: None }],
        checks: crawl::Checks::default(),
    };
    database.store_crawl(&result).unwrap();
}

fn write_asn_database(file: &Path) {
    let mut writer = mmdb_writer::Writer::new("GeoLite2-ASN");
    let record = BTreeMap::from([("autonomous_system_number", 64500_u32)]);
    let network: ipnet::IpNet = "203.0.113.0/24".parse().unwrap();
    writer.insert(network, &record).unwrap();
    std::fs::write(file, writer.to_bytes().unwrap()).unwrap();
}

/// A server on a thread of its own; stopped on drop.
pub(crate) struct Server {
    pub(crate) addresses: Addresses,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<(), String>>>,
}

impl Server {
    /// Waits until it answers; else why it does not.
    pub(crate) fn start(settings: Settings, database: Arc<Database>) -> Result<Self, String> {
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (sender, receiver) = mpsc::channel();
        let work = move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            let started = move |it: &Addresses| sender.send(it.clone()).unwrap();
            let stopped = async { drop(stopped.await) };
            let serving = server::serve(settings, database, started, stopped);
            runtime.block_on(serving).map_err(|error| error.to_string())
        };
        let thread = std::thread::spawn(work);
        match receiver.recv() {
            Ok(addresses) => Ok(Self { addresses, stop: Some(stop), thread: Some(thread) }),
            Err(_) => Err(thread.join().unwrap().expect_err("it ended before it answered")),
        }
    }

    /// Waits for its end, which it was not told of.
    pub(crate) fn join(mut self) -> Result<(), String> {
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        let Some(thread) = self.thread.take() else { return };
        let ended = thread.join();
        if !std::thread::panicking() {
            ended.unwrap().unwrap();
        }
    }
}
