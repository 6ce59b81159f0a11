//! `serve` goes on answering whatever happens to the database, and follows it quickly while it is there.

use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use crate::rig::image::{self, Image};
use crate::rig::namespace::{self, CLIENT_DE, Namespace, REGISTRY};
use crate::rig::nginx::Scheme;
use crate::rig::program::{self, wait_for};
use crate::rig::world::{Engine, World};
use crate::rig::{http, origin, skopeo};

/// A change of hosts is in answers this long after it was made.
const FOLLOWED_WITHIN: Duration = Duration::from_secs(2);

fn world_with_two_mirrors(namespace: &Namespace, engine: Engine) -> World<'_> {
    let world = World::new(namespace, engine);
    Image::ordinary("fedora").push(origin::URL, "fedora", "latest");
    world.publish();
    world
}

/// Where a German client is sent for a layer of `fedora`. Asked by a closed range, which is never taken for a repeat.
fn location(layer: &str) -> Option<String> {
    let url = format!("https://registry.test/v2/fedora/blobs/{layer}");
    let answer = http::get(&url, &["Range: bytes=0-9"]);
    answer.header("location").map(str::to_owned)
}

#[test]
fn serve_outlives_postgres() {
    namespace::enter(|namespace| {
        let mut world = world_with_two_mirrors(namespace, Engine::Postgres);
        let near = world.mirror("de.mirror.test", Scheme::Https, "");
        world.fill(&near.root());
        world.crawl();
        let layer = world.origin.layers("fedora", "latest").remove(0);
        namespace::connect_from(CLIENT_DE, REGISTRY);
        let serve = world.portolan.serve();
        let before = location(&layer).expect("a redirect to the mirror");
        assert!(before.starts_with("https://de.mirror.test/"), "{before}");

        world.postgres.as_mut().unwrap().stop();
        // Longer than several polls of the database.
        let lost = wait_for(Duration::from_secs(3), || location(&layer).as_deref() != Some(&before));
        assert!(!lost, "answers changed when the database went away");
        serve.stop();

        let serve = world.portolan.serve();
        assert_eq!(location(&layer), Some(before.clone()), "not answered from the saved snapshot");
        let digest = skopeo::copy(namespace, "registry.test/fedora:latest");
        assert_eq!(digest, world.origin.digest("fedora", "latest"));

        world.postgres.as_mut().unwrap().start_again();
        world.portolan.done("host opt-out de.mirror.test containers");
        let followed = wait_for(Duration::from_secs(30), || location(&layer).is_none());
        assert!(followed, "serve does not follow a database that is back\n{}", serve.log());
        serve.stop();
    });
}

on_both_engines!(hosts_change, |namespace, engine| a_change_of_hosts_is_followed(namespace, engine));

fn a_change_of_hosts_is_followed(namespace: &Namespace, engine: Engine) {
    let world = world_with_two_mirrors(namespace, engine);
    let near = world.mirror("de.mirror.test", Scheme::Https, "");
    let far = world.mirror("fr.mirror.test", Scheme::Https, "");
    world.fill(&near.root());
    world.fill(&far.root());
    world.crawl();
    let layer = world.origin.layers("fedora", "latest").remove(0);
    namespace::connect_from(CLIENT_DE, REGISTRY);
    let serve = world.portolan.serve();
    assert!(location(&layer).is_some_and(|url| url.starts_with("https://de.mirror.test/")));

    world.portolan.done("host opt-out de.mirror.test containers");
    let changed = Instant::now();
    let is_far = || location(&layer).is_some_and(|url| url.starts_with("https://fr.mirror.test/"));
    let followed = wait_for(FOLLOWED_WITHIN, is_far);
    assert!(followed, "still sent to a host that opted out {:?} ago", changed.elapsed());
    serve.stop();
}

on_both_engines!(serve_reports_its_health, |namespace, engine| {
    let world = world_with_two_mirrors(namespace, engine);
    let serve = world.portolan.serve();
    let https = serve.listening.iter().all(|url| url.starts_with("https://"));
    assert!(https && serve.listening.len() == 2, "{:?}", serve.listening);
    for (path, expected) in [("healthz", ""), ("readyz", ""), ("metrics", "portolan_")] {
        let answer = http::get(&format!("{}/{path}", serve.management), &[]);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert!(answer.text().contains(expected), "{path}: {}", answer.text());
    }
    serve.stop();
});

/// So long a download takes that is not finished when the server is told to stop.
const SLOWLY: &str = "3M";

#[test]
fn a_stop_lets_downloads_end() {
    namespace::enter(|namespace| {
        let world = World::new(namespace, Engine::Sqlite);
        // More than the buffers of two sockets take in.
        Image::new("large", "amd64", &[16_000_000]).push(origin::URL, "fedora", "latest");
        world.publish();
        let layer = world.origin.layers("fedora", "latest").remove(0);
        let serve = world.portolan.serve();
        let file = namespace.folder.join("layer");
        let url = format!("https://direct.registry.test/v2/fedora/blobs/{layer}");
        let mut curl = program::command("curl");
        curl.args(["--silent", "--fail", "--limit-rate", SLOWLY, "--output"]).arg(&file).arg(&url);
        let mut curl = curl.spawn().unwrap();
        let has_begun = || std::fs::metadata(&file).is_ok_and(|it| it.len() > 0);
        assert!(wait_for(Duration::from_secs(10), has_begun), "the download did not begin");
        let stopped = std::thread::spawn(move || serve.stop());
        let is_closed = || http::try_get("https://registry.test/v2/", &[]).is_none();
        assert!(wait_for(Duration::from_secs(10), is_closed), "a server that stops takes no new clients");
        assert!(curl.try_wait().unwrap().is_none(), "the download ended before the server was told to stop");
        assert!(curl.wait().unwrap().success(), "the download was cut");
        assert_eq!(image::digest(&std::fs::read(&file).unwrap()), layer);
        stopped.join().unwrap();
    });
}

#[test]
fn a_certificate_is_renewed_under_a_running_server() {
    namespace::enter(|namespace| {
        let world = World::new(namespace, Engine::Sqlite);
        let serve = world.portolan.serve();
        let (by_name, by_address) =
            ("https://registry.test/v2/".to_owned(), format!("https://{REGISTRY}/v2/"));
        assert!(http::try_get(&by_address, &[]).is_none(), "the first certificate does not name the address");

        // Somebody copies the new pair, one file after the other.
        let identity = namespace.authority.issue(&["registry.test", REGISTRY]);
        let key = std::fs::read(&identity.key).unwrap();
        std::fs::write(&identity.key, "half of a key").unwrap();
        let lost = wait_for(Duration::from_secs(2), || http::try_get(&by_name, &[]).is_none());
        assert!(!lost, "a pair that does not fit took the place of one that does\n{}", serve.log());
        std::fs::write(&identity.key, key).unwrap();
        let start = Instant::now();
        let renewed = wait_for(Duration::from_secs(10), || http::try_get(&by_address, &[]).is_some());
        assert!(renewed, "the new certificate is not used\n{}", serve.log());
        eprintln!("the new certificate was used after {:?}", start.elapsed());
        serve.stop();
    });
}

#[test]
fn systemd_is_told_of_start_and_stop() {
    namespace::enter(|namespace| {
        let world = World::new(namespace, Engine::Sqlite);
        let path = namespace.folder.join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let serve = world.portolan.service_with("serve", &[("NOTIFY_SOCKET", path.to_str().unwrap())]);
        let told = || {
            let mut text = [0; 100];
            let length = socket.recv(&mut text).expect("a word to systemd");
            String::from_utf8_lossy(&text[..length]).trim().to_owned()
        };
        assert_eq!(told(), "READY=1");
        serve.stop();
        assert_eq!(told(), "STOPPING=1");
    });
}
