//! How fast `portolan pull` is: beside skopeo from one fast mirror, and from three slow mirrors beside one of them. They
//! are slow over all their connections (`tc`), or with each request (nginx's `limit_rate`).
//! `make bench-pull` builds it as it is released.

use std::fs;
use std::time::{Duration, Instant};

use crate::rig::image::Image;
use crate::rig::namespace::{self, CLIENT_DE, REGISTRY};
use crate::rig::nginx::{Nginx, Scheme};
use crate::rig::program::finish;
use crate::rig::root::Root;
use crate::rig::world::{Engine, World};
use crate::rig::{origin, skopeo};

/// Bytes of the one layer.
const LAYER: usize = 200_000_000;

/// Of each round the best counts.
const ROUNDS: usize = 3;

/// What a slow mirror sends, in megabytes a second.
const SLOW: u32 = 20;

const MIRRORS: [&str; 3] = ["de.mirror.test", "de2.mirror.test", "de3.mirror.test"];

/// At least so many times as fast as skopeo, and three mirrors as one.
const AS_SKOPEO: f64 = 1.0;
const AS_ONE: f64 = 2.5;

#[test]
#[ignore = "measures; run by `make bench-pull`"]
fn it_is_as_fast_as_skopeo_and_three_mirrors_are_faster_than_one() {
    namespace::enter(|namespace| {
        let world = World::new(namespace, Engine::Sqlite);
        Image::new("large", "amd64", &[LAYER]).push(origin::URL, "large", "latest");
        world.publish();
        let mut mirrors = MIRRORS.map(|name| Nginx::start(namespace, name, Scheme::Https));
        mirrors.iter().for_each(|it| world.fill(&it.root()));
        world.opt_in_https(MIRRORS[0], "");
        world.crawl();
        let networks = r#"["192.0.2.0/24"]"#;
        world.portolan.configure("[fallback]", &format!("[client]\nallow_networks = {networks}\n[fallback]"));
        let serve = world.portolan.serve();
        namespace::connect_from(CLIENT_DE, REGISTRY);
        let pull = || {
            best(|| {
                let _ = fs::remove_dir_all(world.portolan.folder.join("image"));
                world.portolan.done("pull registry.test/large --to oci:image");
            })
        };
        let by_skopeo = best(|| {
            let folder = tempfile::tempdir_in(&namespace.folder).expect("a folder");
            let mut copy = skopeo::copy_command(&Root::Machine, "registry.test/large:latest", folder.path());
            copy.env("GOMAXPROCS", "2");
            finish(copy).expect_success();
        });
        let fast = pull();
        let limit = format!("limit_rate {};", SLOW * 1_000_000);
        mirrors[0].restart_with(&limit);
        let one_by_request = pull();
        mirrors[0].restart_with("");
        namespace::limit_rate(&MIRRORS, SLOW);
        let one = pull();
        MIRRORS[1..].iter().for_each(|name| world.opt_in_https(name, ""));
        world.crawl();
        wait_until_offered();
        let three = pull();
        namespace::lift_rate();
        mirrors.iter_mut().for_each(|it| it.restart_with(&limit));
        let three_by_request = pull();
        let ratio = |slow: Duration, fast: Duration| slow.as_secs_f64() / fast.as_secs_f64();
        let (as_skopeo, as_one) = (ratio(by_skopeo, fast), ratio(one, three));
        let as_one_by_request = ratio(one_by_request, three_by_request);
        println!("one fast mirror: skopeo {by_skopeo:.2?}, pull {fast:.2?}: {as_skopeo:.2} times as fast");
        println!("20 MB/s each: one mirror {one:.2?}, three {three:.2?}: {as_one:.2} times as fast");
        println!(
            "20 MB/s a request by limit_rate: one mirror {one_by_request:.2?}, three {three_by_request:.2?}: \
             {as_one_by_request:.2} times as fast"
        );
        assert!(as_skopeo >= AS_SKOPEO && as_one >= AS_ONE && as_one_by_request >= AS_ONE);
        serve.stop();
    });
}

fn best(mut run: impl FnMut()) -> Duration {
    let time = |_| {
        let begun = Instant::now();
        run();
        begun.elapsed()
    };
    (0..ROUNDS).map(time).min().expect("a round")
}

/// All three mirrors are in the list.
fn wait_until_offered() {
    let come = crate::rig::program::wait_for(Duration::from_secs(20), || {
        let list = crate::rig::http::get("https://registry.test/mirrorlist?repo=large", &[]).text();
        list.lines().filter(|it| it.starts_with("https://")).count() == 3
    });
    assert!(come, "the new mirrors are not offered");
}
