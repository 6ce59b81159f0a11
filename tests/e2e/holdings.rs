//! No mirror is named for a blob that it lacks.

use std::path::PathBuf;
use std::time::Instant;

use crate::rig::dice::Dice;
use crate::rig::image::Image;
use crate::rig::namespace;
use crate::rig::nginx::Scheme;
use crate::rig::world::{Engine, World, place};
use crate::rig::{origin, rsync, tree};

/// Mirrors whose rsync is stopped, and how often each is.
const MIRRORS: [&str; 5] =
    ["de2.mirror.test", "de3.mirror.test", "de4.mirror.test", "de5.mirror.test", "us.mirror.test"];
const STOPS: usize = 10;

#[test]
fn an_rsync_stopped_at_50_points_misleads_nobody() {
    namespace::enter(|namespace| {
        let started = Instant::now();
        let mut dice = Dice::new();
        let world = World::new(namespace, Engine::Sqlite);
        Image::new("old", "amd64", &[40_000, 30_000]).push(origin::URL, "app", "latest");
        world.publish();
        let mirrors = MIRRORS.map(|name| world.mirror(name, Scheme::Http, ""));
        for mirror in &mirrors[1..] {
            world.fill(&mirror.root()); // the first one begins with nothing
        }
        world.crawl();
        let mut stops = 0;
        for round in 0..STOPS {
            // A new serial comes before the last one has arrived.
            if round % 5 == 0 {
                let layers: Vec<usize> = (0..24).map(|it| 30_000 + 1_000 * it).collect();
                Image::new(&format!("new{round}"), "amd64", &layers).push(origin::URL, "app", "latest");
                world.publish();
            }
            for mirror in &mirrors {
                let files = dice.throw(6);
                stops += usize::from(
                    rsync::copy_files_and_kill(&world.category(), &place(&mirror.root()), files).is_some(),
                );
            }
            world.crawl();
            check_offers(&world, &mirrors.each_ref().map(|it| place(&it.root())));
        }
        println!("{stops} stops, checked in {:?}", started.elapsed());
        assert!(stops >= 40, "too many were through: {stops} of 50");
    });
}

/// Every blob of the category is offered by no mirror that lacks it.
#[track_caller]
fn check_offers(world: &World, places: &[PathBuf; 5]) {
    let mut offered = 0;
    for digest in tree::list_digests(&world.category()) {
        let explained = world.portolan.json(&format!("explain --http --ip 192.0.2.200 --image app@{digest}"));
        for offer in explained["offers"].as_array().unwrap() {
            let host = offer["host"].as_str().unwrap();
            let at = MIRRORS.iter().position(|it| *it == host).unwrap();
            let path = places[at].join(tree::blob_path(&digest));
            assert!(path.exists(), "{host} is offered for {digest} and lacks it");
            offered += 1;
        }
    }
    assert!(offered > 0, "nobody is offered at all");
}

#[test]
fn rsync_tells_what_an_unknown_serial_has() {
    namespace::enter(|namespace| {
        let world = World::new(namespace, Engine::Sqlite);
        Image::ordinary("old").push(origin::URL, "old", "latest");
        world.publish();
        let all = tree::list_digests(&world.category()).len() as u64;
        let mirror = world.mirror("de.mirror.test", Scheme::Https, "");
        let _daemon = rsync::daemon(namespace, "de.mirror.test", &mirror.root().join("pub"));
        // The mirror is ahead of the scanner.
        Image::ordinary("new").push(origin::URL, "new", "latest");
        world.portolan.done("export");
        world.fill(&mirror.root());
        world.crawl();
        assert_eq!(world.found("de.mirror.test"), ("syncing".to_owned(), all));
        assert!(!world.portolan.done("host show de.mirror.test").contains("rsync lists"));
        world.portolan.done(
            "host opt-in de.mirror.test containers --url https://de.mirror.test/pub/containers \
             --rsync rsync://de.mirror.test/pub/containers",
        );
        world.crawl();
        assert_eq!(world.found("de.mirror.test"), ("syncing".to_owned(), all));
        let shown = world.portolan.done("host show de.mirror.test");
        let told = format!("is not scanned yet; rsync lists {all} files");
        assert!(shown.contains(&told), "{shown}");
        world.portolan.done("scan");
        world.crawl();
        let all = tree::list_digests(&world.category()).len() as u64;
        assert_eq!(world.found("de.mirror.test"), ("up-to-date".to_owned(), all));
    });
}
