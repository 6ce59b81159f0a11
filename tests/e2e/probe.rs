//! The prober keeps it known which mirrors answer: what dies leaves the answers within seconds, and comes back.

use std::fs;
use std::time::{Duration, Instant};

use crate::rig::faulty::{Fault, Faulty};
use crate::rig::http;
use crate::rig::image::Image;
use crate::rig::namespace::{self, CLIENT_DE, CLIENT_SIX, Namespace, REGISTRY, REGISTRY_SIX};
use crate::rig::nginx::{Nginx, Request, Scheme};
use crate::rig::origin;
use crate::rig::portolan::Serve;
use crate::rig::program::{Program, wait_for};
use crate::rig::server::Cut;
use crate::rig::tree;
use crate::rig::world::{Engine, World, place};

/// That a URL died that clients are sent to is known within 5 s, as the prober itself counts from the last good answer,
/// and 1 s more for a machine that does much else.
const KNOWN_WITHIN: Duration = Duration::from_secs(6);

/// Then it takes 2 s until every answer knows. Twice that, for the client that looks has to wait for the machine, too;
/// the time it took is printed.
const GONE_WITHIN: Duration = Duration::from_secs(14);

/// Two good answers, one after another, and the same 2 s.
const BACK_WITHIN: Duration = Duration::from_secs(16);

/// From the start of a prober until it asks often what is in use.
const BEGUN_WITHIN: Duration = Duration::from_secs(30);

/// Three mirrors that hold all, and a prober beside a server. The crawls are far apart.
fn begin(namespace: &Namespace, engine: Engine) -> (World<'_>, [Nginx; 3]) {
    let world = World::new(namespace, engine);
    world.portolan.configure("[crawl]\ninterval = \"1s\"", "[crawl]\ninterval = \"1h\"");
    Image::ordinary("fedora").push(origin::URL, "fedora", "latest");
    world.publish();
    let names = ["de.mirror.test", "fr.mirror.test", "us.mirror.test"];
    let mirrors = names.map(|it| world.mirror(it, Scheme::Https, ""));
    mirrors.iter().for_each(|it| world.fill(&it.root()));
    world.crawl();
    namespace::connect_from(CLIENT_DE, REGISTRY);
    namespace::connect_from(CLIENT_SIX, REGISTRY_SIX);
    (world, mirrors)
}

/// Where a client is sent for a layer. By a closed range, which is never taken for a repeat.
fn location(registry: &str, layer: &str) -> String {
    let answer = http::get(&format!("https://{registry}/v2/fedora/blobs/{layer}"), &["Range: bytes=0-9"]);
    answer.header("location").unwrap_or_default().to_owned()
}

/// Pulls as a client does again and again until the prober asks the near mirror often.
#[track_caller]
fn use_until_probed(near: &Nginx, layer: &str, crawl: &Program) {
    near.forget_requests();
    let is_probed = || {
        location("registry.test", layer);
        // The canary by both families, three times each.
        near.requests().iter().filter(|it| it.agent.starts_with("portolan/")).count() >= 6
    };
    assert!(wait_for(BEGUN_WITHIN, is_probed), "not probed:\n{}", crawl.log());
}

#[track_caller]
fn measure(what: &str, most: Duration, is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    assert!(wait_for(most, is_so), "{what}: not within {most:?}");
    println!("{what} after {:?}", started.elapsed());
}

/// How long before the prober took a URL of this host out it had last had a good answer from there.
#[track_caller]
fn check_known(crawl: &Program, family: &str) {
    let log = crawl.log();
    let is_out =
        |line: &&str| line.contains("does not answer") && line.contains(&format!("family={family} "));
    let line =
        log.lines().rev().find(is_out).unwrap_or_else(|| panic!("nothing went out by {family}:\n{log}"));
    let told = line.split("last_good_ms=").nth(1).and_then(|it| it.split(' ').next()?.parse().ok());
    let took = Duration::from_millis(told.unwrap_or_else(|| panic!("no time in {line}")));
    println!("known by {family} {took:?} after the last good answer");
    assert!(took <= KNOWN_WITHIN, "{line}");
}

fn probe_state(serve: &Serve) -> serde_json::Value {
    http::get(&format!("{}/readyz", serve.management), &[]).json()["probe"].clone()
}

on_both_engines!(what_dies_leaves_and_comes_back, |namespace, engine| {
    let (world, [mut near, _far, _farther]) = begin(namespace, engine);
    let layer = world.origin.layers("fedora", "latest").remove(0);
    let serve = world.portolan.serve();
    let mut crawl = world.portolan.start("crawl");
    let is_near = |registry: &str| location(registry, &layer).starts_with("https://de.mirror.test/");
    use_until_probed(&near, &layer, &crawl);
    assert!(is_near("registry.test") && is_near("six.registry.test"));
    measure("serve knew of the prober", BEGUN_WITHIN, || probe_state(&serve)["state"] == "alive");

    near.stop();
    measure("a dead mirror left the answers", GONE_WITHIN, || !is_near("registry.test"));
    check_known(&crawl, "IPv4");
    near.start_again();
    measure("it was back", BACK_WITHIN, || is_near("registry.test") && is_near("six.registry.test"));

    near.leave_ipv6();
    let mut always_near = true;
    measure("IPv6 left the answers", GONE_WITHIN, || {
        always_near &= is_near("registry.test");
        !is_near("six.registry.test")
    });
    check_known(&crawl, "IPv6");
    assert!(always_near && is_near("registry.test"), "clients by IPv4 were sent away");
    let shown = world.portolan.done("host show de.mirror.test");
    assert!(shown.contains("IPv6: "), "the reason is not shown:\n{shown}");

    assert_eq!(crawl.stop_by("TERM"), Some(0), "{}", crawl.log());
    serve.stop();
});

on_both_engines!(without_a_prober_all_are_offered_as_before, |namespace, engine| {
    let (world, [near, _far, _farther]) = begin(namespace, engine);
    let layer = world.origin.layers("fedora", "latest").remove(0);
    let serve = world.portolan.serve();
    assert_eq!(probe_state(&serve)["state"], "unknown", "there never was a prober");
    let mut crawl = world.portolan.start("crawl");
    use_until_probed(&near, &layer, &crawl);
    crawl.kill();
    let is_near = || location("registry.test", &layer).starts_with("https://de.mirror.test/");
    let is_told = || probe_state(&serve)["age_seconds"].as_u64().is_some_and(|it| it >= 8);
    let mut always_near = true;
    let told = wait_for(Duration::from_secs(20), || {
        always_near &= is_near();
        is_told()
    });
    assert!(told && always_near, "{}", probe_state(&serve));

    // Another one takes the place of the dead.
    let mut next = world.portolan.start("crawl");
    measure("another prober took over", Duration::from_secs(30), || !is_told());
    assert_eq!(next.stop_by("TERM"), Some(0), "{}", next.log());
    serve.stop();
});

on_both_engines!(a_blob_that_went_is_missed_and_nothing_else, |namespace, engine| {
    let (world, [near, _far, _farther]) = begin(namespace, engine);
    let layers = world.origin.layers("fedora", "latest");
    let [gone, kept] = [&layers[0], &layers[1]];
    let serve = world.portolan.serve();
    let mut crawl = world.portolan.start("crawl");
    let is_near = |layer: &str| location("registry.test", layer).starts_with("https://de.mirror.test/");
    // The crawl of this story is over, and the next is an hour away: it is not the one that misses the blob.
    let is_begun = || probe_state(&serve)["state"] == "alive";
    assert!(wait_for(BEGUN_WITHIN, is_begun), "{}", crawl.log());
    near.forget_requests();
    let held = world.found("de.mirror.test").1;
    fs::remove_file(place(&near.root()).join(tree::blob_path(gone))).unwrap();

    // A client that gets no layer there comes back at once, for both: one of them is there.
    for layer in [gone, kept] {
        for status in [302, 200] {
            let answer = http::get(&format!("https://registry.test/v2/fedora/blobs/{layer}"), &[]);
            assert_eq!(answer.status, status, "the first mirror, then the fallback");
        }
    }
    measure("the missing blob was known", Duration::from_secs(10), || !is_near(gone));
    assert!(is_near(kept), "it still has the other one");
    assert_eq!(world.found("de.mirror.test"), ("lying".to_owned(), held - 1), "{}", crawl.log());
    let shown = world.portolan.done("host show de.mirror.test");
    assert!(shown.contains(&format!("a client did not get {gone}")), "the reason is not shown:\n{shown}");
    let is_look = |request: &Request| request.method == "HEAD" && request.digest().as_ref() == Some(kept);
    let looked = || near.requests().iter().filter(|it| is_look(it)).count();
    measure("the other one was looked at", Duration::from_secs(10), || looked() == 1);
    assert!(is_near(kept), "it was found to be there");
    assert_eq!(crawl.stop_by("TERM"), Some(0), "{}", crawl.log());
    serve.stop();
});

on_both_engines!(a_mirror_that_falls_silent_leaves_as_fast, |namespace, engine| {
    let (world, serve, near, _others) = begin_faulty(namespace, engine);
    let layer = world.origin.layers("fedora", "latest").remove(0);
    let mut crawl = world.portolan.start("crawl");
    let is_near = || location("registry.test", &layer).starts_with("https://de.mirror.test/");
    near.server().forget_requests();
    let is_probed = || is_near() && near.server().requests().len() >= 4;
    assert!(wait_for(BEGUN_WITHIN, is_probed), "not probed:\n{}", crawl.log());
    near.set(Fault::NoAnswer(Cut::Stall));
    measure("a silent mirror left the answers", GONE_WITHIN, || !is_near());
    check_known(&crawl, "IPv4");
    near.set(Fault::None);
    measure("it was back", BACK_WITHIN, is_near);
    assert_eq!(crawl.stop_by("TERM"), Some(0), "{}", crawl.log());
    serve.stop();
});

on_both_engines!(a_mirror_whose_bodies_stall_leaves_until_they_were_read, |namespace, engine| {
    let (world, serve, near, _others) = begin_faulty(namespace, engine);
    let layers = world.origin.layers("fedora", "latest");
    let mut crawl = world.portolan.start("crawl");
    assert!(wait_for(BEGUN_WITHIN, || probe_state(&serve)["state"] == "alive"), "{}", crawl.log());
    let is_near = |layer: &str| location("registry.test", layer).starts_with("https://de.mirror.test/");
    assert!(layers.iter().all(|it| is_near(it)));
    near.set(Fault::Cut(100_000, Cut::Stall));
    // One client comes back for one layer.
    for status in [302, 200] {
        let answer = http::get(&format!("https://registry.test/v2/fedora/blobs/{}", layers[1]), &[]);
        assert_eq!(answer.status, status, "the first mirror, then the fallback");
    }
    measure("that layer was out", GONE_WITHIN, || !is_near(&layers[1]));
    measure("all of the mirror was out", GONE_WITHIN, || layers.iter().all(|it| !is_near(it)));
    let shown = world.portolan.done("host show de.mirror.test");
    assert!(shown.contains("it stalls after 100000 of"), "the reason is not shown:\n{shown}");
    assert_eq!(crawl.stop_by("TERM"), Some(0), "{}", crawl.log());

    // A crawl lets it in when, and only when, what had stalled was read to its end.
    world.crawl();
    assert_eq!(world.found("de.mirror.test"), ("lying".to_owned(), 0));
    near.set(Fault::None);
    world.crawl();
    assert_eq!(world.found("de.mirror.test").0, "up-to-date");
    serve.stop();
});

/// The same as [`begin`] with a near mirror that can do worse than nginx, and a server.
fn begin_faulty(namespace: &Namespace, engine: Engine) -> (World<'_>, Serve, Faulty, [Nginx; 2]) {
    let world = World::new(namespace, engine);
    world.portolan.configure("[crawl]\ninterval = \"1s\"", "[crawl]\ninterval = \"1h\"");
    Image::ordinary("fedora").push(origin::URL, "fedora", "latest");
    world.publish();
    let near = Faulty::start(namespace, "de.mirror.test");
    world.opt_in_https("de.mirror.test", "");
    let others = ["fr.mirror.test", "us.mirror.test"].map(|it| world.mirror(it, Scheme::Https, ""));
    world.fill(&near.root());
    others.iter().for_each(|it| world.fill(&it.root()));
    world.crawl();
    namespace::connect_from(CLIENT_DE, REGISTRY);
    let serve = world.portolan.serve();
    (world, serve, near, others)
}
