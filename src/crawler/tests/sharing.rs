//! Several crawlers, leases, schedules and manners.

use std::time::Duration;

use super::*;
use crate::database::lease::{Schedule, Taking, Which};

/// Never longer than this for anything here.
const SOON: Duration = Duration::from_secs(20);

impl World {
    fn schedule(&self, name: &str) -> Schedule {
        let find = |connection: &mut database::Connection| {
            let host = database::host::find(connection, &name.parse().unwrap())?.unwrap();
            lease::find(connection, host.id)
        };
        self.database.read(find).unwrap().unwrap()
    }

    /// Another crawler takes all hosts that are due, for so many milliseconds.
    fn lend(&self, milliseconds: i64) -> usize {
        let now = Timestamp::now();
        let until = now + SignedDuration::from_millis(milliseconds);
        let taking = Taking { holder: "another", now: now.into(), until: until.into(), limit: 9 };
        self.database.write_log(|it| lease::take(it, Which::Due(&[]), &taking)).unwrap().len()
    }
}

fn options(seed: u64) -> Options {
    Options { hosts: Vec::new(), embargoed: Vec::new(), seed, clock: Timestamp::now }
}

/// Hosts that are crawled at once by two crawlers.
fn few_at_once() -> Config {
    Config { hosts: 2, lease: SignedDuration::from_secs(3), ..config() }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_crawlers_crawl_each_host_once_a_round() {
    let (world, server) = (World::new(), start(mirror(2, 2..=8), as_it_is).await);
    let names: Vec<String> = (0..12).map(|it| format!("m{it:02}")).collect();
    let mut servers = Vec::new();
    for name in &names {
        // Slow enough that one crawler is not through before the other has begun.
        let slow = |_: &Request, answer: Answer| answer.after(Duration::from_millis(10));
        servers.push(start(mirror(2, 2..=8), slow).await);
        world.add(name, &[servers.last().unwrap()]);
    }
    drop(server);
    let crawl = async |seed| {
        let crawler = Crawler::new(few_at_once()).unwrap();
        crawler.run(&world.database, &options(seed), &Events::default()).await.unwrap()
    };
    let (one, other) = tokio::join!(crawl(1), crawl(2));
    let crawled = |it: &Summary| it.hosts.iter().map(|it| it.name.to_string()).collect::<Vec<_>>();
    let mut all = [crawled(&one), crawled(&other)].concat();
    all.sort();
    assert_eq!(all, names);
    assert!(!one.hosts.is_empty() && !other.hosts.is_empty(), "{one:?} {other:?}");
    for name in &names {
        world.check(name, CrawlState::UpToDate, Some(world.numbers(2..=8)), "");
        assert_eq!(world.schedule(name).holder, None);
    }
}

#[tokio::test]
async fn a_round_waits_for_what_another_crawler_has_and_takes_over_what_it_left() {
    let (world, server) = (World::new(), start(mirror(2, 2..=8), as_it_is).await);
    world.add("m1", &[&server]);
    assert_eq!(world.lend(1_500), 1);
    let started = Instant::now();
    assert_eq!(world.crawl().await.hosts.len(), 1);
    assert!((1_400..10_000).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_is_renewed_while_it_is_needed_and_its_loss_is_noticed() {
    let world = World::new();
    let slow = |request: &Request, answer: Answer| {
        let is_serial = request.path.ends_with("zz/serial");
        answer.after(Duration::from_millis(if is_serial { 5_500 } else { 0 }))
    };
    let server = start(mirror(2, 2..=8), slow).await;
    world.add("m1", &[&server]);
    let config =
        Config { lease: SignedDuration::from_secs(2), timeout: SignedDuration::from_secs(9), ..config() };
    let crawler = Crawler::new(config).unwrap();
    let (one, events) = (options(1), Events::default());
    let crawl = crawler.run(&world.database, &one, &events);
    let steal = async {
        tokio::time::sleep(Duration::from_millis(4_500)).await;
        assert_eq!(world.lend(1), 0, "it is renewed, long after its first end");
        let host = world.schedule("m1").host_id;
        // As when the crawler slept for long, and another one came.
        world.database.write_log(|it| lease::release(it, &options(1).holder())).unwrap();
        assert_eq!(world.lend(1_000), 1);
        host
    };
    let (summary, host) = tokio::join!(crawl, steal);
    // It lost the host, waited for the other one, and crawled in its stead.
    assert_eq!(summary.unwrap().hosts.len(), 1);
    let crawls = world.database.read(|it| database::crawl::list(it, host, 9)).unwrap();
    assert_eq!(crawls.len(), 1, "what was lost is not stored: {crawls:?}");
}

#[tokio::test]
async fn hosts_are_crawled_when_they_are_due() {
    let (world, server) = (World::new(), start(mirror(2, 2..=8), as_it_is).await);
    world.add("m1", &[&server]);
    let crawler = Crawler::new(config()).unwrap();
    let (events, one) = (Events::default(), options(1));
    let crawls = |it: &Events| it.0.lock().unwrap().iter().filter(|it| it.starts_with("m1:")).count();
    let until = async |count: usize| {
        let turns = async {
            while crawls(&events) < count {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(SOON, turns).await.unwrap_or_else(|_| panic!("not crawled {count} times"));
    };
    let stop = async {
        until(1).await;
        let schedule = world.schedule("m1");
        let wait = Timestamp::from(schedule.next_crawl_at).duration_since(Timestamp::now()).as_secs();
        assert!((3_200..=4_000).contains(&wait), "{schedule:?}");
        let called =
            world.database.write_log(|it| lease::make_due(it, schedule.host_id, Timestamp::now().into()));
        assert_eq!(called.unwrap(), 1);
        until(2).await;
        world.publish(3, 2..=8); // something new makes it due
        until(3).await;
        assert_eq!(crawls(&events), 3);
    };
    tokio::time::timeout(SOON * 3, crawler.follow(&world.database, &one, &events, stop)).await.unwrap();
    assert_eq!(world.schedule("m1").holder, None);
}

#[tokio::test]
async fn a_crawl_that_is_broken_off_gives_its_hosts_back() {
    let (world, server) = (World::new(), start(mirror(2, 2..=8), |_: &Request, it: Answer| it.hang()).await);
    world.add("m1", &[&server]);
    let crawler = Crawler::new(config()).unwrap();
    let stop = async {
        let started = Instant::now();
        while server.requests().is_empty() {
            assert!(started.elapsed() < SOON, "it is not crawled");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(world.schedule("m1").holder.is_some());
    };
    crawler.follow(&world.database, &options(1), &Events::default(), stop).await;
    assert_eq!(world.lend(1), 1);
}

#[tokio::test]
async fn a_host_that_wants_to_be_left_alone_is() {
    let world = World::new();
    let busy = |request: &Request, answer| match request.path.ends_with("zz/serial") {
        true => Answer::new(503, b"").header("retry-after", "7200"),
        false => answer,
    };
    let server = start(mirror(2, 2..=8), busy).await;
    world.add("m1", &[&server]);
    world.crawl().await;
    let asked = server.requests().len();
    assert!(asked <= 3, "canary and serial, and nothing more: {asked}");
    let wait = |it: Option<Time>| Timestamp::from(it.unwrap()).duration_since(Timestamp::now()).as_secs();
    let schedule = world.schedule("m1");
    assert!((7_100..=7_200).contains(&wait(schedule.not_before)), "{schedule:?}");
    assert!(wait(Some(schedule.next_crawl_at)) >= 7_100);
    assert_eq!(world.crawl().await.hosts.len(), 0);
    assert_eq!(server.requests().len(), asked);
    world.crawl_with(config(), &["m1"]).await.unwrap();
    assert!(server.requests().len() > asked, "a person asks for it");
}

#[tokio::test]
async fn a_host_gets_few_requests_a_second() {
    let world = World::new();
    world.publish(3, 1..=40);
    let server = start(mirror(3, 1..=40), as_it_is).await;
    world.add("m1", &[&server]);
    let started = Instant::now();
    world.crawl_with(Config { rate: 30, ..config() }, &[]).await.unwrap();
    let (asked, seconds) = (server.requests().len() as f64, started.elapsed().as_secs_f64());
    // A second's worth comes at once.
    assert!(asked > 80.0 && asked <= 30.0 * (seconds + 1.0) + 1.0, "{asked} requests in {seconds} s");
    world.check("m1", CrawlState::UpToDate, Some(world.numbers(1..=40)), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 6)]
async fn all_hosts_together_get_few_requests_at_once() {
    let world = World::new();
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut servers = Vec::new();
    for name in ["m1", "m2", "m3", "m4"] {
        let (now, most) = (now.clone(), most.clone());
        let spoil = move |_: &Request, answer| {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(5));
            now.fetch_sub(1, Ordering::SeqCst);
            answer
        };
        servers.push(start(mirror(2, 2..=8), spoil).await);
        world.add(name, &[servers.last().unwrap()]);
    }
    let config = Config { requests_at_once: 3, timeout: SignedDuration::from_secs(9), ..config() };
    assert_eq!(world.crawl_with(config, &[]).await.unwrap().hosts.len(), 4);
    let most = most.load(Ordering::SeqCst);
    assert!((2..=3).contains(&most), "{most} at once");
}

#[tokio::test]
async fn a_webhook_is_told_what_is_new_and_harms_no_crawl() {
    let world = World::new();
    let mut lacks = mirror(2, 2..=8);
    lacks.remove(&path(7));
    let server = start(lacks, as_it_is).await;
    world.add("m1", &[&server]);
    for status in [200, 500] {
        let hook = Server::start(move |_| Answer::new(status, b"")).await;
        let told = notice::Config { webhook: format!("{}/hook", hook.url()), ..notice::Config::default() };
        for expected in [1, 1] {
            let crawler = Crawler::new(config()).unwrap().with_notices(&told).unwrap();
            let summary = crawler.run(&world.database, &options(1), &Events::default()).await.unwrap();
            assert_eq!(summary.hosts[0].state, CrawlState::Lying);
            crawler.finish().await;
            let requests = hook.requests();
            let posts: Vec<_> = requests.iter().map(|it| (it.method.as_str(), it.path.as_str())).collect();
            assert_eq!(posts, vec![("POST", "/hook"); expected], "it lies already the second time");
            assert_eq!(requests[0].headers["content-type"], "application/json");
        }
        // A look at nothing else: the next turn finds the lie anew.
        let forget = |it: &mut database::Connection| {
            let host = database::host::find(it, &"m1".parse().unwrap())?.unwrap();
            let category = database::category::find(it, &fedora())?.unwrap();
            host_category::opt_out(it, host.id, category.id)?;
            let urls = [format!("{}/m", server.url()).parse().unwrap()];
            host_category::opt_in(it, host.id, category.id, &urls, now())
        };
        world.database.write(Part::Hosts, forget).unwrap();
    }
}

/// How many hosts are in work at once, at most.
#[derive(Default)]
struct InWork {
    count: AtomicUsize,
    most: AtomicUsize,
}

impl Observer for InWork {
    fn started(&self, _: usize) {}

    fn host_started(&self, _: &HostName) {
        let count = self.count.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(count, Ordering::SeqCst);
    }

    fn host_finished(&self, _: &HostSummary) {
        self.count.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What is loaded of a host is there while it is crawled: memory grows with those in work, not with all.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_thousand_hosts_few_are_in_work() {
    const HOSTS: usize = 1_000;
    let (world, server) =
        (World::new(), start(mirror(2, 2..=8), |_: &Request, _| Answer::new(503, b"")).await);
    let add = |connection: &mut database::Connection| {
        let site = database::site::insert(connection, &database::testing::new_site("all"))?;
        let category = database::category::find(connection, &fedora())?.unwrap();
        for number in 0..HOSTS {
            let urls = [format!("{}/m{number}", server.url()).parse().unwrap()];
            let host = database::testing::new_host(site.id, &format!("m{number}"));
            let host = database::host::insert(connection, &host)?;
            host_category::opt_in(connection, host.id, category.id, &urls, now())?;
        }
        Ok(())
    };
    world.database.write(Part::Hosts, add).unwrap();
    let (crawler, in_work) = (Crawler::new(config()).unwrap(), InWork::default());
    let summary = crawler.run(&world.database, &options(1), &in_work).await.unwrap();
    assert_eq!(summary.hosts.len(), HOSTS);
    let most = in_work.most.load(Ordering::SeqCst);
    assert!(most <= config().hosts, "{most} at once");
}
