//! How much memory a crawl takes: as many hosts as are in work make it, not all that there are. Run by `make bench-crawl`.

use std::fs;
use std::time::{Duration, Instant};

use crate::rig::image::Image;
use crate::rig::namespace;
use crate::rig::nginx::{Nginx, Scheme};
use crate::rig::origin;
use crate::rig::program::wait_for;
use crate::rig::world::{CATEGORY, Engine, World};

/// How many hosts there are, first and then.
const HOSTS: [usize; 2] = [50, 1_000];

/// Layers of the one image.
const LAYERS: usize = 20;

/// All hosts are crawled in less.
const CRAWLED_WITHIN: Duration = Duration::from_secs(150);

/// How much more the many hosts may take than the few.
const MORE: f64 = 1.5;

#[test]
#[ignore = "measures; run by `make bench-crawl`"]
fn it_does_not_grow_with_hosts() {
    namespace::enter(|namespace| {
        let world = World::new(namespace, Engine::Sqlite);
        Image::new("many", "amd64", &[1_000; LAYERS]).push(origin::URL, "many", "latest");
        world.publish();
        world.portolan.configure("interval = \"1s\"\ntimeout", "interval = \"1h\"\ntimeout");
        let mirror = Nginx::start(namespace, "de.mirror.test", Scheme::Http);
        world.fill(&mirror.root());
        let mut names = fs::read_to_string("/etc/hosts").expect("the names");
        let mut peaks = Vec::new();
        for number in 0..HOSTS[1] {
            if HOSTS.contains(&number) {
                peaks.push(crawl(&world, &names, number));
            }
            let name = format!("m{number}.mirror.test");
            names.push_str(&format!("192.0.2.11 {name}\n"));
            world.portolan.done(&format!("host add {name} --site volunteers --country DE"));
            let url = format!("http://{name}/pub/containers");
            world.portolan.done(&format!("host opt-in {name} {CATEGORY} --url {url}"));
        }
        peaks.push(crawl(&world, &names, HOSTS[1]));
        assert!(peaks[1] <= peaks[0] * MORE, "{peaks:?}");
    });
}

/// The most memory that a crawler took which crawled all hosts, in MiB.
fn crawl(world: &World, names: &str, hosts: usize) -> f64 {
    fs::write("/etc/hosts", names).expect("the names");
    let begun = Instant::now();
    let known = world.portolan.folder.join("crawl.log");
    fs::remove_file(known).ok();
    let crawl = world.portolan.start("crawl");
    let is_done = || crawl.log().lines().filter(|it| it.contains("up-to-date")).count() >= hosts;
    assert!(wait_for(CRAWLED_WITHIN, is_done), "{}", crawl.log());
    let peak = crawl.peak_memory() as f64 / f64::from(1 << 20);
    println!("{hosts} hosts: {peak:.1} MiB at most, {:.1?}", begun.elapsed());
    peak
}
