//! Crawlers share hosts, are killed at any moment, and are called by the hosts themselves.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::rig::image::Image;
use crate::rig::namespace::{self, CLIENT_DE, Namespace, REGISTRY};
use crate::rig::nginx::{Nginx, Scheme};
use crate::rig::portolan::Portolan;
use crate::rig::program::{run, wait_for};
use crate::rig::world::{CATEGORY, Engine, World, place};
use crate::rig::{origin, tree};

/// How often the crawler is killed.
const KILLS: u32 = 20;

/// `crawl.lease` in the rig's configuration.
const LEASE: Duration = Duration::from_secs(3);

/// No crawl of these few hosts takes longer, leases of others included.
const CRAWLED_WITHIN: Duration = Duration::from_secs(30);

const HOSTS: [&str; 5] =
    ["de.mirror.test", "de2.mirror.test", "de4.mirror.test", "fr.mirror.test", "us2.mirror.test"];

/// One is whole, one lies, one is plain, one is behind, one is not there. What they hold is in two databases.
fn five_mirrors<'a>(namespace: &'a Namespace, engine: Engine) -> (World<'a>, Portolan, Vec<Nginx>) {
    let world = World::new(namespace, engine);
    world.portolan.configure("failures_until_off = 4", "failures_until_off = 0");
    world.portolan.configure("rate = 1000", "rate = 20");
    world.portolan.configure("[crawl]\ninterval = \"1s\"", "[crawl]\ninterval = \"1h\"");
    let other = world.portolan.other_database("sqlite:other.db");
    Image::ordinary("old").push(origin::URL, "old", "latest");
    world.publish();
    other.done("scan");
    let behind = world.mirror("fr.mirror.test", Scheme::Https, "");
    world.fill(&behind.root());
    Image::ordinary("fedora").push(origin::URL, "fedora", "latest");
    world.publish();
    other.done("scan");
    let whole = world.mirror("de.mirror.test", Scheme::Https, "");
    let lying = world.mirror("de2.mirror.test", Scheme::Https, "");
    let plain = world.mirror("de4.mirror.test", Scheme::Http, "");
    for mirror in [&whole, &lying, &plain] {
        world.fill(&mirror.root());
    }
    let layer = world.origin.layers("fedora", "latest").remove(1);
    fs::remove_file(place(&lying.root()).join(tree::blob_path(&layer))).unwrap();
    world.opt_in_https("us2.mirror.test", "");
    (world, other, vec![behind, whole, lying, plain])
}

/// What crawls have left of a host, but for what depends on when and how often it was crawled; and that nobody
/// has it.
fn state(portolan: &Portolan, host: &str) -> Value {
    let shown = portolan.json(&format!("host show {host}"));
    assert!(shown["schedule"]["holder"].is_null(), "a lease is stuck: {shown:#}");
    let category = &shown["categories"][0];
    let url = &category["urls"][0];
    let of_category = ["name", "state", "held", "serial"].map(|it| category[it].clone());
    let of_url = ["url", "ipv4", "ipv6", "reason"].map(|it| url[it].clone());
    serde_json::json!([host, of_category, of_url])
}

fn states(portolan: &Portolan) -> Vec<Value> {
    HOSTS.iter().map(|it| state(portolan, it)).collect()
}

/// Dice that can be thrown again.
struct Dice(u64);

impl Dice {
    fn new() -> Dice {
        let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
        let seed = std::env::var("PORTOLAN_TEST_SEED").map_or(clock, |it| it.parse().unwrap());
        println!("PORTOLAN_TEST_SEED={seed}");
        Dice(seed)
    }

    fn up_to(&mut self, most: Duration) -> Duration {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        most.mul_f64((self.0 >> 33) as f64 / f64::from(1_u32 << 31))
    }
}

on_both_engines!(a_crawler_is_killed_at_twenty_moments, |namespace, engine| {
    let (world, undisturbed, _mirrors) = five_mirrors(namespace, engine);
    let portolan = &world.portolan;
    undisturbed.done("site add volunteers");
    for host in HOSTS {
        let shown = portolan.json(&format!("host show {host}"));
        let url = shown["categories"][0]["urls"][0]["url"].as_str().unwrap().to_owned();
        let country = host[..2].to_uppercase();
        undisturbed.done(&format!("host add {host} --site volunteers --country {country}"));
        undisturbed.done(&format!("host opt-in {host} {CATEGORY} --url {url}"));
    }
    let started = Instant::now();
    undisturbed.done("crawl --once");
    let whole = started.elapsed();

    let mut dice = Dice::new();
    let (mut stored, mut ended) = (0, 0);
    for turn in 0..KILLS {
        // Every other crawler finds what the one before it left; the others begin anew.
        let mut most = whole + LEASE;
        if turn % 2 == 0 {
            sleep(LEASE);
            most = whole;
        }
        let began = jiff::Timestamp::now();
        let before = portolan.log_length();
        let mut crawl = portolan.start("crawl --once");
        sleep(dice.up_to(most));
        ended += u32::from(crawl.has_ended());
        crawl.kill();
        let log = crawl.log();
        for host in HOSTS {
            if !log[before..].contains(&format!("{host}: ")) {
                continue;
            }
            let shown = portolan.json(&format!("host show {host}"));
            let crawled_at: jiff::Timestamp = shown["last_crawled_at"].as_str().unwrap().parse().unwrap();
            assert!(crawled_at >= began, "the result for {host} is lost: {shown:#}\n{log}");
            stored += 1;
        }
    }
    println!("a whole crawl takes {whole:?}; {ended} of {KILLS} had ended; {stored} results were told of");
    let started = Instant::now();
    portolan.done("crawl --once");
    assert!(started.elapsed() < LEASE + whole + CRAWLED_WITHIN, "a lease is stuck");
    println!("the last crawl took {:?}", started.elapsed());
    assert_eq!(states(portolan), states(&undisturbed));
});

on_both_engines!(two_crawlers_share_the_hosts, |namespace, engine| {
    let (world, _, _mirrors) = five_mirrors(namespace, engine);
    let portolan = &world.portolan;
    let mut crawls = [portolan.start("crawl"), portolan.start("crawl")];
    let mut before = 0;
    for round in 1..=3 {
        // What is not reached waits longer, also when there is something new.
        let hosts = if round == 1 { &HOSTS[..] } else { &HOSTS[..4] };
        let count = |host: &str| crawls[0].log()[before..].matches(&format!("{host}: ")).count();
        let is_crawled = || hosts.iter().all(|it| count(it) >= 1);
        assert!(wait_for(CRAWLED_WITHIN, is_crawled), "round {round}:\n{}", crawls[0].log());
        let again = wait_for(2 * LEASE, || HOSTS.iter().any(|it| count(it) > 1));
        assert!(!again, "round {round}, a host twice:\n{}", &crawls[0].log()[before..]);
        HOSTS.iter().for_each(|it| drop(state(portolan, it)));
        before = portolan.log_length();
        Image::ordinary(&format!("round {round}")).push(origin::URL, "fedora", "latest");
        world.publish();
    }
    for crawl in &mut crawls {
        assert_eq!(crawl.stop_by("TERM"), Some(0), "{}", crawl.log());
    }
});

on_both_engines!(a_host_that_reports_is_crawled_within_seconds, |namespace, engine| {
    let world = World::new(namespace, engine);
    world.portolan.configure("[crawl]\ninterval = \"1s\"", "[crawl]\ninterval = \"1h\"");
    Image::ordinary("fedora").push(origin::URL, "fedora", "latest");
    world.publish();
    let mirror = world.mirror("de.mirror.test", Scheme::Https, "");
    let service = world.portolan.service("run");
    namespace::connect_from(CLIENT_DE, REGISTRY);
    let is = |state: &str| {
        let shown = world.portolan.json("host show de.mirror.test");
        shown["categories"][0]["state"].as_str() == Some(state)
    };
    assert!(wait_for(CRAWLED_WITHIN, || is("behind")), "not crawled at first\n{}", service.log());
    world.fill(&mirror.root());
    let token = world.portolan.json("host token create de.mirror.test")["token"].take();
    let serial = tree::serial(&world.category()).unwrap();
    let reported = Instant::now();
    let printed = run(
        "curl",
        &[
            "-fsS",
            "-H",
            &format!("Authorization: Bearer {}", token.as_str().unwrap()),
            "-d",
            &format!(r#"{{"category":"{CATEGORY}","serial":{serial}}}"#),
            "https://registry.test/api/v1/hosts/de.mirror.test/report",
        ],
    );
    assert!(printed.contains("within seconds"), "{printed}");
    assert!(wait_for(Duration::from_secs(10), || is("up-to-date")), "not crawled\n{}", service.log());
    println!("crawled {:?} after its report", reported.elapsed());
    let shown = world.portolan.json(&format!("category show {CATEGORY}"));
    let newest = &shown["propagation"][0];
    assert_eq!(newest["serial"].as_u64(), Some(serial));
    assert_eq!(newest["holders"][0]["host"], "de.mirror.test", "{shown:#}");
    service.stop();
});
