//! Hosts with faults, crawled over loopback into a database.

mod sharing;

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use jiff::SignedDuration;
use roaring::RoaringBitmap;

use super::*;
use crate::{
    connector::testing::{Answer, Request, Server},
    database::{
        Part, Sha256,
        content::{self, CategoryContent, ContentBlob},
        crawl::Holdings,
        host::HostChange,
        host_category,
        testing::{add_host, new_category},
    },
    mirror::{CategoryName, CrawlState, HostCategoryId, HostKind, Reach, Serial, blob_path},
    oci::Digest,
    tree::{CANARY, Head},
};

/// A category with one published state after the other, and hosts.
struct World {
    database: Arc<Database>,
    _folder: tempfile::TempDir,
}

/// Schedules are of the real time.
fn now() -> Time {
    Timestamp::now().into()
}

/// A file of the category: the same bytes for the same number.
fn file(number: u8) -> Vec<u8> {
    format!("file {number} ").repeat(20 + usize::from(number)).into_bytes()
}

/// The files `numbers` and the canary, by path.
fn files(numbers: impl IntoIterator<Item = u8>) -> BTreeMap<String, Vec<u8>> {
    let all = numbers.into_iter().map(file).chain([CANARY.to_vec()]);
    all.map(|it| (blob_path(&Digest::of(&it)), it)).collect()
}

fn path(number: u8) -> String {
    blob_path(&Digest::of(&file(number)))
}

fn serial_line(serial: Serial) -> Vec<u8> {
    let inventory_digest = new_category("x", serial).inventory_digest.into();
    Head { serial, inventory_digest }.render().into_bytes()
}

/// The files of a mirror that has all of a serial.
fn mirror(serial: Serial, numbers: impl IntoIterator<Item = u8>) -> BTreeMap<String, Vec<u8>> {
    let mut files = files(numbers);
    files.insert("zz/serial".into(), serial_line(serial));
    files
}

/// A static web server.
fn serve(files: &BTreeMap<String, Vec<u8>>, request: &Request) -> Answer {
    let Some(body) = request.path.strip_prefix("/m/").and_then(|it| files.get(it)) else {
        return Answer::new(404, b"not here");
    };
    let Some(range) = request.headers.get("range") else { return Answer::new(200, body) };
    if range.contains(',') {
        return Answer::new(200, body);
    }
    let (start, end) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
    let (start, end): (usize, usize) = (start.parse().unwrap(), end.parse().unwrap());
    let content_range = format!("bytes {start}-{end}/{}", body.len());
    Answer::new(206, &body[start..=end]).header("content-range", content_range)
}

/// A mirror whose answers may be spoiled.
async fn start(
    files: BTreeMap<String, Vec<u8>>,
    spoil: impl Fn(&Request, Answer) -> Answer + Send + Sync + 'static,
) -> Server {
    Server::start(move |request| spoil(request, serve(&files, request))).await
}

impl World {
    /// Serial 1 has the files 1 to 5, serial 2 has 2 to 8.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}/test.db", folder.path().display()).parse().unwrap();
        let database = Arc::new(Database::open(&database::Config { url, connections: 4 }));
        database.migrate().unwrap();
        let world = Self { database, _folder: folder };
        world.publish(1, 1..=5);
        world.publish(2, 2..=8);
        world
    }

    fn publish(&self, serial: Serial, numbers: impl IntoIterator<Item = u8>) {
        let blob = |it: &Vec<u8>| ContentBlob {
            digest: Sha256(*Digest::of(it).sha256().unwrap()),
            size: it.len() as u64,
        };
        let blobs = files(numbers).values().map(blob).collect();
        let content = CategoryContent { blobs, ..new_category("fedora", serial) };
        self.database.write(Part::Content, |it| content::replace_category(it, &content, now())).unwrap();
    }

    /// Adds a host that carries the category at these servers.
    fn add(&self, name: &str, servers: &[&Server]) -> HostCategoryId {
        let host = add_host(&self.database, name);
        let urls: Vec<_> = servers.iter().map(|it| format!("{}/m", it.url()).parse().unwrap()).collect();
        let opt_in = |connection: &mut database::Connection| {
            let category = database::category::find(connection, &fedora())?.unwrap();
            host_category::opt_in(connection, host.id, category.id, &urls, now())
        };
        self.database.write(Part::Hosts, opt_in).unwrap().id
    }

    async fn crawl_with(&self, config: Config, hosts: &[&str]) -> Result<Summary, Error> {
        let options = Options {
            embargoed: Vec::new(),
            hosts: hosts.iter().map(|it| it.parse().unwrap()).collect(),
            seed: 1,
            clock: Timestamp::now,
        };
        let (database, crawler) = (self.database.clone(), Crawler::new(config).unwrap());
        // On a task of its own: what `run` needs for its loops.
        tokio::spawn(async move { crawler.run(&database, &options, &Events::default()).await }).await.unwrap()
    }

    async fn crawl(&self) -> Summary {
        self.crawl_with(config(), &[]).await.unwrap()
    }

    fn holdings(&self, name: &str) -> Holdings {
        let find = |connection: &mut database::Connection| {
            let host = database::host::find(connection, &name.parse().unwrap())?.unwrap();
            database::crawl::list_holdings(connection, host.id)
        };
        self.database.read(find).unwrap().remove(0).1
    }

    /// The numbers that the database gave to these files.
    fn numbers(&self, of: impl IntoIterator<Item = u8>) -> RoaringBitmap {
        let truth = self.database.read(|connection| {
            let category = database::category::find(connection, &fedora())?.unwrap();
            database::crawl::load_category(connection, category.id)
        });
        let paths = files(of);
        let blobs = truth.unwrap().blobs.into_iter();
        blobs.filter(|it| paths.contains_key(&blob_path(&it.digest.into()))).map(|it| it.number).collect()
    }

    /// Crawls a host at one server, and compares what the database has of it then.
    #[track_caller]
    fn check(&self, name: &str, state: CrawlState, held: Option<RoaringBitmap>, reason: &str) {
        let holdings = self.holdings(name);
        assert_eq!(holdings.state, state, "{}", holdings.reason);
        assert!(holdings.reason.contains(reason), "{}", holdings.reason);
        assert_eq!(holdings.set().unwrap(), held.unwrap_or_default(), "{}", holdings.reason);
    }
}

/// What an observer was told.
#[derive(Default)]
struct Events(Mutex<Vec<String>>);

impl Observer for Events {
    fn started(&self, hosts: usize) {
        self.0.lock().unwrap().push(format!("{hosts} hosts"));
    }

    fn host_started(&self, host: &HostName) {
        self.0.lock().unwrap().push(format!("{host}?"));
    }

    fn host_finished(&self, summary: &HostSummary) {
        self.0.lock().unwrap().push(format!("{}: {}", summary.name, summary.state));
    }
}

fn fedora() -> CategoryName {
    "fedora".parse().unwrap()
}

fn config() -> Config {
    Config {
        timeout: SignedDuration::from_millis(500),
        rate: 1_000,
        allow_networks: vec!["127.0.0.0/8".parse().unwrap()],
        ..Config::default()
    }
}

fn as_it_is(_: &Request, answer: Answer) -> Answer {
    answer
}

/// One host at one server with these files and faults: what the database has of it after a crawl.
async fn check_one(
    files: BTreeMap<String, Vec<u8>>,
    spoil: impl Fn(&Request, Answer) -> Answer + Send + Sync + 'static,
    state: CrawlState,
    held: impl IntoIterator<Item = u8>,
    reason: &str,
) {
    let (world, server) = (World::new(), start(files, spoil).await);
    world.add("m1", &[&server]);
    let summary = world.crawl().await;
    assert_eq!(summary.hosts[0].state, state, "{summary:#?}");
    let held: Vec<u8> = held.into_iter().collect();
    // The canary is held with the others; nothing is held without it here.
    let held = (!held.is_empty()).then(|| world.numbers(held));
    world.check("m1", state, held, reason);
}

#[tokio::test]
async fn a_good_host_is_up_to_date() {
    let (world, server) = (World::new(), start(mirror(2, 2..=8), as_it_is).await);
    let opt_in = world.add("m1", &[&server]);
    let summary = world.crawl().await;
    world.check("m1", CrawlState::UpToDate, Some(world.numbers(2..=8)), "it shows serial 2, the newest");
    let urls = world.database.read(|it| host_category::list_urls(it, opt_in)).unwrap();
    assert_eq!((urls[0].ipv4_reach, urls[0].ipv6_reach), (Reach::Up, Reach::Unknown));
    assert_eq!(urls[0].reach_reason, None);
    assert_eq!(summary.hosts[0].categories[0].held, Some(8));
    assert!(summary.hosts[0].log[0].starts_with("fedora http://127.0.0.1:"));
    let requests = server.requests();
    let count = |method: &str| requests.iter().filter(|it| it.method == method).count();
    assert_eq!(count("HEAD"), 8);
    assert_eq!(count("GET"), 2 + 3 + 8, "canary and serial, ranges and one with gzip, bodies");
    assert!(requests.iter().all(|it| it.headers["user-agent"].starts_with("portolan/")));
}

#[tokio::test]
async fn of_a_host_that_fetches_what_it_lacks_only_the_canary_is_asked() {
    let (world, server) = (World::new(), start(files([]), as_it_is).await);
    let opt_in = world.add("m1", &[&server]);
    let change = HostChange { kind: Some(HostKind::PullThrough), ..HostChange::default() };
    let edit = |connection: &mut database::Connection| {
        let host = database::host::find(connection, &"m1".parse().unwrap())?.unwrap();
        database::host::update(connection, host.id, &change)
    };
    world.database.write(Part::Hosts, edit).unwrap();
    let summary = world.crawl().await;
    assert_eq!(summary.hosts[0].state, CrawlState::UpToDate, "{summary:#?}");
    assert_eq!(server.requests().len(), 1);
    let urls = world.database.read(|it| host_category::list_urls(it, opt_in)).unwrap();
    assert_eq!(urls[0].ipv4_reach, Reach::Up);
}

#[tokio::test]
async fn a_host_under_embargo_is_left_alone() {
    let (world, server) = (World::new(), start(mirror(2, 2..=8), as_it_is).await);
    world.add("m1", &[&server]);
    let options =
        Options { embargoed: vec!["DE".parse().unwrap()], hosts: Vec::new(), seed: 1, clock: Timestamp::now };
    let crawler = Crawler::new(config()).unwrap();
    let summary = crawler.run(&world.database, &options, &Events::default()).await.unwrap();
    assert!(summary.hosts.is_empty() && server.requests().is_empty());
}

#[tokio::test]
async fn hosts_behind_are_not_lying() {
    check_one(mirror(1, 1..=5), as_it_is, CrawlState::Behind, 2..=5, "not the newest").await;
    check_one(mirror(1, 1..=6), as_it_is, CrawlState::Syncing, 2..=6, "not the newest").await;
    check_one(files(2..=4), as_it_is, CrawlState::Syncing, 2..=4, "the first rsync has not ended").await;
    check_one(BTreeMap::new(), as_it_is, CrawlState::Behind, [], "either the URL is wrong, or").await;
    check_one(mirror(7, 2..=8), as_it_is, CrawlState::Syncing, 2..=8, "serial 7 is not scanned yet").await;
}

#[tokio::test]
async fn a_first_rsync_may_not_have_come_to_the_canary() {
    let mut few = files(2..=4);
    few.retain(|_, bytes| bytes != CANARY);
    let (world, server) = (World::new(), start(few, as_it_is).await);
    let opt_in = world.add("m1", &[&server]);
    world.crawl().await;
    let held = world.numbers(2..=4) - world.numbers([]); // without the canary
    world.check("m1", CrawlState::Syncing, Some(held), "the first rsync has not ended");
    let urls = world.database.read(|it| host_category::list_urls(it, opt_in)).unwrap();
    assert_eq!(urls[0].ipv4_reach, Reach::Down, "not offered before it has the canary");
    assert!(
        urls[0]
            .reach_reason
            .as_ref()
            .unwrap()
            .starts_with("IPv4: it answers, but lacks the blob sha256:44136fa3")
    );
}

#[tokio::test]
async fn lies_are_found_out() {
    let lying = CrawlState::Lying;
    let mut lacks = mirror(2, 2..=8);
    lacks.remove(&path(7));
    let claims = "it claims to have it, and has not";
    check_one(lacks, as_it_is, lying, [2, 3, 4, 5, 6, 8], claims).await;

    let mut size = mirror(2, 2..=8);
    size.get_mut(&path(7)).unwrap().push(b'x');
    let digest = Digest::of(&file(7)).to_string();
    check_one(size, as_it_is, lying, [], &format!("{digest}: it has a file of")).await;

    let mut flipped = mirror(2, 2..=8);
    flipped.get_mut(&path(7)).unwrap()[3] ^= 1;
    check_one(flipped.clone(), as_it_is, lying, [], &format!("{digest}: its bytes have the digest")).await;

    let mut serial = mirror(2, 2..=8);
    serial.insert("zz/serial".into(), b"<html>".to_vec());
    check_one(serial, as_it_is, lying, 2..=8, "is not `SERIAL HEX`").await;
}

#[tokio::test]
async fn servers_that_serve_otherwise_are_found_out() {
    let lying = CrawlState::Lying;
    let gzip = |request: &Request, answer: Answer| match request.path.as_str() {
        it if it.ends_with(&path(7)) => answer.header("content-encoding", "gzip"),
        _ => answer,
    };
    check_one(mirror(2, 2..=8), gzip, lying, [2, 3, 4, 5, 6, 8], "encoded as gzip").await;

    let ignores_range = |request: &Request, answer: Answer| match request.headers.get("range") {
        Some(_) => Answer::new(200, &file(8)),
        None => answer,
    };
    check_one(mirror(2, 2..=8), ignores_range, lying, [], "it ignores Range requests").await;

    let page = |_: &Request, _: Answer| Answer::new(200, b"<html>").header("content-type", "text/html");
    check_one(mirror(2, 2..=8), page, lying, [], "it sends more than 2 bytes").await;

    let endless = |request: &Request, answer: Answer| match request.method.as_str() {
        "GET" if request.path.ends_with(&path(7)) => answer.endless(),
        _ => answer,
    };
    check_one(mirror(2, 2..=8), endless, lying, [], "it sends more than").await;

    let inside = |request: &Request, answer: Answer| match request.path.ends_with(&path(7)) {
        true => Answer::new(302, b"").header("location", "http://10.0.0.1/x"),
        false => answer,
    };
    let reason = "a redirect is not followed: its address 10.0.0.1 is not a public one";
    check_one(mirror(2, 2..=8), inside, lying, [2, 3, 4, 5, 6, 8], reason).await;
}

#[tokio::test]
async fn hosts_that_do_not_answer_are_unreachable() {
    let unreachable = CrawlState::Unreachable;
    let fails = |_: &Request, _: Answer| Answer::new(500, b"");
    check_one(mirror(2, 2..=8), fails, unreachable, [], "it failed with status 500").await;

    let blobs_fail = |request: &Request, answer: Answer| match request.method.as_str() {
        "HEAD" => Answer::new(503, b""),
        _ => answer,
    };
    let reason = "5 requests in a row failed: it failed with status 503";
    check_one(mirror(2, 2..=8), blobs_fail, unreachable, [], reason).await;

    let hangs = |_: &Request, answer: Answer| answer.hang();
    check_one(mirror(2, 2..=8), hangs, unreachable, [], "no answer in time").await;
}

#[tokio::test]
async fn bodies_that_break_off_are_lies_until_they_were_read() {
    let (world, ill) = (World::new(), Arc::new(Mutex::new(true)));
    let spoil = {
        let ill = ill.clone();
        move |request: &Request, answer: Answer| match request.headers.get("range") {
            None if request.path.contains("/blobs/") && !request.path.contains("/44136fa3") => {
                if *ill.lock().unwrap() { answer.cut(10) } else { answer }
            }
            _ => answer,
        }
    };
    let server = start(mirror(2, 2..=8), spoil).await;
    world.add("m1", &[&server]);
    for _ in 0..2 {
        world.crawl().await;
        world.check("m1", CrawlState::Lying, None, "it breaks off after 10 of");
        let repair = left(&world).categories[0].repair.clone();
        assert!(repair.iter().any(|it| it.fault == crate::mirror::FileFault::Broken), "{repair:?}");
    }
    *ill.lock().unwrap() = false;
    world.crawl().await;
    world.check("m1", CrawlState::UpToDate, Some(world.numbers(2..=8)), "");
}

#[tokio::test]
async fn what_is_compressed_for_clients_is_a_fault() {
    let compresses = |request: &Request, answer: Answer| match request.headers.get("accept-encoding") {
        Some(it) if it.contains("gzip") && request.path.contains("/blobs/") => {
            answer.header("content-encoding", "gzip")
        }
        _ => answer,
    };
    let reason = "encoded as gzip to clients that allow it";
    check_one(mirror(2, 2..=8), compresses, CrawlState::Lying, [], reason).await;
}

#[tokio::test]
async fn an_unreachable_host_keeps_what_was_known() {
    let (world, ill) = (World::new(), Arc::new(Mutex::new(false)));
    let spoil = {
        let ill = ill.clone();
        move |_: &Request, answer| if *ill.lock().unwrap() { Answer::new(503, b"") } else { answer }
    };
    let server = start(mirror(2, 2..=8), spoil).await;
    world.add("m1", &[&server]);
    world.crawl().await;
    *ill.lock().unwrap() = true;
    let limit = config().failures_until_off;
    for turn in 1..=limit {
        let summary = world.crawl().await;
        assert_eq!(summary.hosts[0].auto_disabled.is_some(), turn == limit);
        world.check("m1", CrawlState::Unreachable, Some(world.numbers(2..=8)), "503");
    }
    *ill.lock().unwrap() = false;
    assert_eq!(world.crawl().await.hosts[0].auto_disabled, None, "it is crawled though it is off");
    world.check("m1", CrawlState::UpToDate, Some(world.numbers(2..=8)), "");
}

#[tokio::test]
async fn of_several_urls_all_must_hold_it() {
    let world = World::new();
    let (fresh, stale) = (start(mirror(2, 2..=8), as_it_is).await, start(mirror(1, 1..=5), as_it_is).await);
    let dead = start(mirror(2, 2..=8), |_: &Request, _| Answer::new(503, b"")).await;
    world.add("m1", &[&fresh, &dead, &stale]);
    world.crawl().await;
    world.check("m1", CrawlState::Behind, Some(world.numbers(2..=5)), "it shows serial 1");
    assert_eq!(world.holdings("m1").serial, Some(1));
}

#[tokio::test]
async fn one_bad_host_holds_up_no_other() {
    let world = World::new();
    let (good, hangs) = (
        start(mirror(2, 2..=8), as_it_is).await,
        start(mirror(2, 2..=8), |request: &Request, answer: Answer| match request.method.as_str() {
            "HEAD" => answer.hang(),
            _ => answer,
        })
        .await,
    );
    world.add("a-bad", &[&hangs]);
    world.add("b-good", &[&good]);
    let config = Config {
        timeout: SignedDuration::from_secs(20),
        host_timeout: SignedDuration::from_millis(700),
        hosts: 1,
        ..config()
    };
    let start = Instant::now();
    let summary = world.crawl_with(config, &[]).await.unwrap();
    assert!(start.elapsed() < std::time::Duration::from_secs(15));
    assert_eq!(summary.hosts.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["a-bad", "b-good"]);
    world.check("a-bad", CrawlState::Unreachable, None, "the crawl of this host took too long");
    world.check("b-good", CrawlState::UpToDate, Some(world.numbers(2..=8)), "");
}

#[tokio::test]
async fn only_the_named_hosts_are_crawled() {
    let (world, server) = (World::new(), start(mirror(2, 2..=8), as_it_is).await);
    world.add("m1", &[&server]);
    let dead = start(BTreeMap::new(), as_it_is).await;
    world.add("m2", &[&dead]);
    let summary = world.crawl_with(config(), &["m1"]).await.unwrap();
    assert_eq!(summary.hosts.len(), 1);
    assert!(dead.requests().is_empty());
    let error = world.crawl_with(config(), &["m1", "m3"]).await.unwrap_err();
    assert!(error.to_string().starts_with("host m3 is not crawled"), "{error}");
}

#[tokio::test]
async fn private_addresses_are_not_visited() {
    let (world, server) = (World::new(), start(mirror(2, 2..=8), as_it_is).await);
    world.add("m1", &[&server]);
    let config = Config { allow_networks: Vec::new(), ..config() };
    world.crawl_with(config, &[]).await.unwrap();
    assert!(server.requests().is_empty());
    world.check("m1", CrawlState::Unreachable, None, "its address 127.0.0.1 is not a public one");
}

#[tokio::test]
async fn observers_are_told() {
    let (world, server) = (World::new(), start(mirror(2, 2..=8), as_it_is).await);
    world.add("m1", &[&server]);
    let (events, crawler) = (Events::default(), Crawler::new(config()).unwrap());
    let options = Options { hosts: Vec::new(), embargoed: Vec::new(), seed: 1, clock: Timestamp::now };
    crawler.run(&world.database, &options, &events).await.unwrap();
    assert_eq!(*events.0.lock().unwrap(), ["1 hosts", "m1?", "m1: up-to-date"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 6)]
async fn a_host_gets_few_requests_at_once() {
    let world = World::new();
    world.publish(3, 1..=40);
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let spoil = {
        let (now, most) = (now.clone(), most.clone());
        move |_: &Request, answer| {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            // Long enough for more to come in, if there were more.
            std::thread::sleep(std::time::Duration::from_millis(5));
            now.fetch_sub(1, Ordering::SeqCst);
            answer
        }
    };
    let server = start(mirror(3, 1..=40), spoil).await;
    world.add("m1", &[&server]);
    world.crawl().await;
    world.check("m1", CrawlState::UpToDate, Some(world.numbers(1..=40)), "");
    let most = most.load(Ordering::SeqCst);
    assert!(most <= config().connections, "{most} at once");
}

#[tokio::test]
async fn large_categories_are_sampled_until_the_host_is_caught() {
    let world = World::new();
    world.publish(3, 1..=250);
    let (good, bad) =
        (start(mirror(3, 1..=250), as_it_is).await, start(mirror(3, 200..=250), as_it_is).await);
    world.add("good", &[&good]);
    world.add("bad", &[&bad]);
    world.crawl().await;
    world.check(
        "good",
        CrawlState::UpToDate,
        Some(world.numbers(1..=250)),
        "160 of 160 files asked for are there",
    );
    world.check(
        "bad",
        CrawlState::Lying,
        Some(world.numbers(200..=250)),
        "52 of 251 files asked for are there",
    );
}

#[tokio::test]
async fn a_liar_that_falls_silent_is_still_a_liar() {
    let silent = |request: &Request, answer: Answer| match request.path.ends_with(&path(8)) {
        false if request.method == "HEAD" => answer.hang(),
        _ => answer,
    };
    let mut lacks = mirror(2, 2..=8);
    lacks.remove(&path(8));
    check_one(lacks, silent, CrawlState::Lying, [], "it claims to have it, and has not").await;
}

/// What the next crawl will be told of the opt-in.
fn left(world: &World) -> database::crawl::CrawlHost {
    let ids: Vec<_> = world.database.read(database::host::list).unwrap().iter().map(|it| it.id).collect();
    world.database.read(|it| database::crawl::list_hosts(it, &ids)).unwrap().remove(0)
}

#[tokio::test]
async fn a_known_tree_costs_its_share_and_is_counted() {
    let world = World::new();
    world.publish(3, 1..=150);
    let server = start(mirror(3, 1..=150), as_it_is).await;
    world.add("m1", &[&server]);
    // At any time of the day that is enough for the crawls to come.
    let ample = || Config { requests_per_day: 30_000, ..config() };
    world.crawl_with(ample(), &[]).await.unwrap();
    let first = server.requests().len();
    let used = left(&world).used.unwrap();
    assert_eq!((used.requests, first), (first as u64, 2 + 151 + 3 + plan::BODY_LIMIT));
    world.crawl_with(ample(), &[]).await.unwrap();
    world.check(
        "m1",
        CrawlState::UpToDate,
        Some(world.numbers(1..=150)),
        "25 of 25 files asked for are there",
    );
    let second = server.requests().len() - first;
    assert_eq!(second, 2 + plan::SHARE_LEAST + 2 + plan::BODY_LIMIT, "canary, serial, files, ranges, bodies");
    assert_eq!(left(&world).used.unwrap().requests, (first + second) as u64);
    // Somebody who names the host wants all of it looked at.
    world.crawl_with(config(), &["m1"]).await.unwrap();
    world.check("m1", CrawlState::UpToDate, Some(world.numbers(1..=150)), "151 of 151 files asked for");
}

#[tokio::test]
async fn a_day_has_an_end() {
    let (world, server) = (World::new(), start(mirror(2, 2..=8), as_it_is).await);
    world.add("m1", &[&server]);
    let few = || Config { requests_per_day: 100, bytes_per_day: 1_000, ..config() };
    let mut crawls = 0;
    let error = loop {
        let summary = world.crawl_with(few(), &[]).await.unwrap();
        crawls += 1;
        if let Some(error) = summary.hosts.into_iter().next().unwrap().error {
            break error;
        }
        assert!(crawls < 100, "it never ends");
    };
    assert!(error.contains("is used up, until midnight UTC"), "{error}");
    // A quarter of the day's requests: the probes have the others.
    assert!(server.requests().len() <= 25, "{}", server.requests().len());
    world.check("m1", CrawlState::UpToDate, Some(world.numbers(2..=8)), "");
}

#[tokio::test]
async fn what_is_wrong_is_kept_until_it_is_repaired() {
    let world = World::new();
    let files = Arc::new(Mutex::new(mirror(2, 2..=8)));
    let spoil = {
        let files = files.clone();
        move |request: &Request, _: Answer| serve(&files.lock().unwrap(), request)
    };
    let server = start(BTreeMap::new(), spoil).await;
    world.add("m1", &[&server]);
    files.lock().unwrap().remove(&path(4));
    files.lock().unwrap().get_mut(&path(7)).unwrap()[3] ^= 1;
    world.crawl().await;
    world.check("m1", CrawlState::Lying, None, &Digest::of(&file(7)).to_string());
    let faults = |host: database::crawl::CrawlHost| -> Vec<_> {
        host.categories[0].repair.iter().map(|it| it.fault).collect()
    };
    let mut found = faults(left(&world));
    found.sort_by_key(|it| it.as_str());
    assert_eq!(found, [crate::mirror::FileFault::Absent, crate::mirror::FileFault::Damaged]);
    *files.lock().unwrap() = mirror(2, 2..=8);
    world.crawl().await;
    world.check("m1", CrawlState::UpToDate, Some(world.numbers(2..=8)), "");
    assert_eq!(faults(left(&world)), []);
}

#[tokio::test]
async fn how_a_url_answers_is_a_fact_and_no_verdict() {
    let swapped = |request: &Request, answer: Answer| match request.headers.get("range") {
        Some(range) if range.contains(',') => Answer::new(200, b"}{"),
        _ => answer,
    };
    let (world, server) = (World::new(), start(mirror(2, 2..=8), swapped).await);
    world.add("m1", &[&server]);
    world.crawl().await;
    world.check("m1", CrawlState::UpToDate, Some(world.numbers(2..=8)), "two ranges with other bytes");
    let host = left(&world);
    let facts = host.categories[0].facts.values().next().unwrap();
    assert_eq!(facts.multi_range, Some(crate::mirror::MultiRange::Wrong));
    assert_eq!(facts.bytes_per_second, None, "all files are too small");
}

/// Mirrors that would hold a crawl up for ever: each crawl ends by its deadline and says why.
#[tokio::test]
async fn crawls_end_by_their_deadline() {
    type Spoil = fn(&Request, Answer) -> Answer;
    let one_byte_a_second: Spoil = |_, answer| answer.drip();
    let slow_bodies: Spoil = |request, answer| match request.method.as_str() {
        "GET" if request.path.contains("/blobs/") && !request.path.contains("/44136fa3") => answer.drip(),
        _ => answer,
    };
    let slow_heads: Spoil = |request, answer| if request.method == "HEAD" { answer.drip() } else { answer };
    let endless: Spoil = |_, answer| answer.endless();
    let endless_serial: Spoil =
        |request, answer| if request.path.ends_with("zz/serial") { answer.endless() } else { answer };
    let huge_header: Spoil = |_, answer| answer.pad(1 << 30);
    let silent: Spoil = |_, answer| answer.hang();
    for (name, spoil, state, reason) in [
        ("1 byte/s", one_byte_a_second, CrawlState::Unreachable, "no answer in time"),
        ("bodies at 1 byte/s", slow_bodies, CrawlState::Unreachable, "no answer in time"), // not even their heads
        ("heads at 1 byte/s", slow_heads, CrawlState::Unreachable, "took too long"),
        ("an endless body", endless, CrawlState::Lying, "it sends more than 2 bytes"),
        ("an endless serial", endless_serial, CrawlState::Lying, "it sends more than 200 bytes"),
        ("a header of 1 GB", huge_header, CrawlState::Unreachable, "too large"),
        ("silence", silent, CrawlState::Unreachable, "no answer in time"),
    ] {
        let (world, server) = (World::new(), start(mirror(2, 2..=8), spoil).await);
        world.add("m1", &[&server]);
        let timeout = SignedDuration::from_millis(if name.starts_with("heads") { 20_000 } else { 1_000 });
        let config = Config { timeout, host_timeout: SignedDuration::from_secs(3), ..config() };
        let start = Instant::now();
        world.crawl_with(config, &[]).await.unwrap();
        let took = start.elapsed();
        eprintln!("{name}: ended after {took:?}: {}", world.holdings("m1").reason);
        assert!(took < std::time::Duration::from_secs(10), "{name}: {took:?}");
        let holdings = world.holdings("m1");
        assert_eq!(holdings.state, state, "{name}: {}", holdings.reason);
        assert!(holdings.reason.contains(reason), "{name}: {}", holdings.reason);
    }
}
