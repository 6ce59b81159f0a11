//! A mirror that is good to the crawler and bad to clients: what many clients of one country experience keeps the
//! clients of that country away from it.

use std::time::{Duration, Instant};

use crate::rig::faulty::{Fault, Faulty};
use crate::rig::http;
use crate::rig::image::Image;
use crate::rig::namespace::{self, CLIENT_DE, Namespace, REGISTRY};
use crate::rig::nginx::Scheme;
use crate::rig::origin;
use crate::rig::portolan::Portolan;
use crate::rig::program::wait_for;
use crate::rig::world::{Engine, World};

/// Servers store what they saw every 10 s, it is judged every 15 s, and 2 s later it is in every answer.
const DEMOTED_WITHIN: Duration = Duration::from_secs(60);

const BAD: &str = "https://de.mirror.test/";

/// Where the proxy's client at this address is sent for a layer; asked by a program of this name.
fn location(address: &str, agent: &str, layer: &str) -> String {
    let forwarded = format!("X-Forwarded-For: {address}");
    let agent = format!("User-Agent: {agent}");
    let answer = http::get(&format!("https://registry.test/v2/fedora/blobs/{layer}"), &[&forwarded, &agent]);
    answer.header("location").unwrap_or_default().to_owned()
}

/// How many of the first clients of these networks are sent to the bad mirror.
fn count_sent(networks: std::ops::Range<u8>, country: u8, agent: &str, layer: &str) -> usize {
    let is_sent = |it: &u8| location(&format!("{country}.0.{it}.1"), agent, layer).starts_with(BAD);
    networks.filter(is_sent).count()
}

fn give_countries(portolan: &Portolan) {
    portolan.configure("[serve]\n", &format!("[serve]\ntrusted_proxies = [\"{CLIENT_DE}/32\"]\n"));
    portolan.done("country assign 10.0.0.0/8 DE");
    portolan.done("country assign 11.0.0.0/8 FR");
}

fn begin(namespace: &Namespace, engine: Engine) -> (World<'_>, Faulty) {
    let world = World::new(namespace, engine);
    world.portolan.configure("[crawl]\ninterval = \"1s\"", "[crawl]\ninterval = \"1h\"");
    Image::ordinary("fedora").push(origin::URL, "fedora", "latest");
    world.publish();
    let bad = Faulty::start(namespace, "de.mirror.test");
    world.opt_in_https("de.mirror.test", "");
    world.fill(&bad.root());
    give_countries(&world.portolan);
    (world, bad)
}

on_both_engines!(what_many_clients_experience_keeps_their_country_away, |namespace, engine| {
    let (world, bad) = begin(namespace, engine);
    let good = ["de2.mirror.test", "de3.mirror.test"].map(|it| world.mirror(it, Scheme::Https, ""));
    good.iter().for_each(|it| world.fill(&it.root()));
    world.crawl();
    bad.set(Fault::StallForClients(1_000));
    let layer = world.origin.layers("fedora", "latest").remove(0);
    namespace::connect_from(CLIENT_DE, REGISTRY);
    let serve = world.portolan.serve();
    let mut crawl = world.portolan.start("crawl");

    // One network that comes back as often as it likes changes nothing for others.
    for program in 0..40 {
        let agent = format!("crowd/{program}");
        if location("10.0.200.1", &agent, &layer).starts_with(BAD) {
            location("10.0.200.1", &agent, &layer);
        }
    }
    // Clients of 90 networks; who waits for the bad mirror in vain begins again.
    let mut came_back = 0;
    for network in 0..90 {
        let address = format!("10.0.{network}.1");
        if location(&address, "first", &layer).starts_with(BAD) {
            assert!(!location(&address, "first", &layer).starts_with(BAD), "the same again");
            came_back += 1;
        }
    }
    println!("{came_back} of 90 networks came back from the bad mirror");
    assert!((15..=50).contains(&came_back), "one of three mirrors");
    let started = Instant::now();
    let is_out = || count_sent(100..120, 10, &format!("later/{:?}", started.elapsed()), &layer) == 0;
    assert!(wait_for(DEMOTED_WITHIN, is_out), "{}", crawl.log());
    println!("no client in DE was sent there after {:?}", started.elapsed());

    assert!(count_sent(0..60, 11, "french", &layer) > 5, "clients in FR have no trouble with it");
    assert_eq!(world.found("de.mirror.test").0, "up-to-date", "the crawler has none, either");
    let shown = world.portolan.done("host show de.mirror.test");
    assert!(shown.contains("not offered to clients in DE until"), "{shown}");
    assert!(shown.contains("networks in DE that were sent there"), "{shown}");
    let explained = world.portolan.done("explain --ip 10.0.7.1 --image fedora:latest");
    let reason = "not de.mirror.test: failed too many clients of this country or autonomous system";
    assert!(explained.contains(reason), "{explained}");
    assert_eq!(crawl.stop_by("TERM"), Some(0), "{}", crawl.log());
    serve.stop();
});
