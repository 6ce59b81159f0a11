//! A database server dies, and another one takes its place.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::rig::http;
use crate::rig::image::Image;
use crate::rig::namespace::{self, CLIENT_DE, REGISTRY};
use crate::rig::nginx::Scheme;
use crate::rig::origin;
use crate::rig::program::wait_for;
use crate::rig::world::{Engine, World};

/// Writes on either side of the change.
const WRITES: usize = 5;

/// What is waited for happens by then.
const SOON: Duration = Duration::from_secs(60);

#[test]
fn no_write_that_was_acknowledged_is_lost() {
    namespace::enter(|namespace| {
        let mut world = World::new(namespace, Engine::Postgres);
        Image::ordinary("fedora").push(origin::URL, "fedora", "latest");
        world.publish();
        let mirror = world.mirror("de.mirror.test", Scheme::Https, "");
        world.fill(&mirror.root());
        world.crawl();
        let mut first = world.postgres.take().expect("it runs on PostgreSQL");
        let second = first.stand_by(namespace);
        world.portolan.configure(&first.url(), &first.url_with(&second));
        let serve = world.portolan.serve();
        let layer = world.origin.layers("fedora", "latest").remove(0);
        let layer = format!("https://registry.test/v2/fedora/blobs/{layer}");
        namespace::connect_from(CLIENT_DE, REGISTRY);
        let is_sent = || {
            let answer = http::get(&layer, &["Range: bytes=0-9"]);
            answer.header("location").is_some_and(|it| it.starts_with("https://de.mirror.test/"))
        };
        assert!(is_sent());

        let (acknowledged, is_over) = (Mutex::new(Vec::new()), AtomicBool::new(false));
        let count = || acknowledged.lock().unwrap_or_else(PoisonError::into_inner).len();
        thread::scope(|scope| {
            scope.spawn(|| {
                for number in (0..).take_while(|_| !is_over.load(Ordering::Relaxed)) {
                    let name = format!("h{number}.mirror.test");
                    if world.portolan.run(&format!("host add {name} --site volunteers")).success() {
                        acknowledged.lock().unwrap_or_else(PoisonError::into_inner).push(name);
                    }
                }
            });
            let has_written = wait_for(SOON, || count() >= WRITES);
            first.kill();
            let (before, died) = (count(), Instant::now());
            let answers_without = is_sent();
            second.promote();
            let goes_on = wait_for(SOON, || count() >= before + WRITES);
            println!("{WRITES} writes on the second server {:.1?} after the first died", died.elapsed());
            is_over.store(true, Ordering::Relaxed);
            assert!(has_written && goes_on, "{} and then {} writes", before, count());
            assert!(answers_without, "the snapshot does not do without a database");
        });
        let listed = world.portolan.json("host list").to_string();
        let acknowledged = acknowledged.into_inner().unwrap_or_else(PoisonError::into_inner);
        let lost: Vec<_> = acknowledged.iter().filter(|it| !listed.contains(it.as_str())).collect();
        assert!(lost.is_empty(), "acknowledged, and lost: {lost:?} of {acknowledged:?}");

        world.portolan.done("host drain de.mirror.test");
        let drained = Instant::now();
        assert!(wait_for(SOON, || !is_sent()), "answers do not follow the second server\n{}", serve.log());
        println!("a drain on the second server was in answers after {:.1?}", drained.elapsed());
        serve.stop();
    });
}
