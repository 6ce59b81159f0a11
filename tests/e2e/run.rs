//! One process exports, scans, crawls and serves.

use std::time::{Duration, Instant};

use crate::rig::http;
use crate::rig::image::Image;
use crate::rig::namespace::{self, CLIENT_DE, REGISTRY};
use crate::rig::nginx::Scheme;
use crate::rig::origin;
use crate::rig::program::wait_for;
use crate::rig::world::{CATEGORY, Engine, World};

/// Several turns of every loop, which has an interval of a second here.
const FOLLOWED_WITHIN: Duration = Duration::from_secs(30);

on_both_engines!(one_process_does_it_all, |namespace, engine| {
    let world = World::new(namespace, engine);
    Image::ordinary("fedora").push(origin::URL, "fedora", "latest");
    let run = world.portolan.service("run");
    let started = Instant::now();
    let is_scanned = || world.portolan.run(&format!("category show {CATEGORY}")).success();
    assert!(wait_for(FOLLOWED_WITHIN, is_scanned), "nothing was exported and scanned\n{}", run.log());

    let near = world.mirror("de.mirror.test", Scheme::Https, "");
    world.fill(&near.root());
    namespace::connect_from(CLIENT_DE, REGISTRY);
    let layer = world.origin.layers("fedora", "latest").remove(0);
    let layer = format!("https://registry.test/v2/fedora/blobs/{layer}");
    let is_near = || {
        let answer = http::get(&layer, &["Range: bytes=0-9"]);
        answer.header("location").is_some_and(|url| url.starts_with("https://de.mirror.test/"))
    };
    assert!(wait_for(FOLLOWED_WITHIN, is_near), "the mirror was not crawled\n{}", run.log());

    Image::ordinary("newer").push(origin::URL, "fedora", "latest");
    let newer = world.origin.digest("fedora", "latest");
    let is_newer = || {
        let answer = http::head("https://registry.test/v2/fedora/manifests/latest", &[]);
        answer.header("docker-content-digest") == Some(&newer)
    };
    assert!(wait_for(FOLLOWED_WITHIN, is_newer), "a new image was not followed\n{}", run.log());
    println!("all of it took {:?}", started.elapsed());
    run.stop();
});
