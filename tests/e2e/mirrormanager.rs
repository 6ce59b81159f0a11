//! A distribution that runs MirrorManager points Portolan at it.

use std::time::{Duration, Instant};

use crate::rig::image::{self, Image, LAYERS};
use crate::rig::namespace::{self, CLIENT_DE, REGISTRY};
use crate::rig::nginx::{Nginx, Scheme};
use crate::rig::postgres::Postgres;
use crate::rig::program::wait_for;
use crate::rig::world::{Engine, World};
use crate::rig::{aria2, http, librepo, origin};

const FIXTURE: &str = include_str!("../data/mirrormanager.sql");

/// One mirror that is there, and a private host with a name for a network.
const NETWORK: &str = "UPDATE category SET name = 'Containers' WHERE id = 2; \
     DELETE FROM host_category_url WHERE host_category_id NOT IN (1, 5) OR id = 2; \
     DELETE FROM host_category WHERE id NOT IN (1, 5); DELETE FROM host_netblock WHERE id = 5; \
     UPDATE host SET name = 'de.mirror.test' WHERE id = 1; \
     UPDATE host_category_url SET url = 'https://de.mirror.test/pub/' WHERE id = 1";

/// Two turns of the watch, and a server's.
const SEEN_WITHIN: Duration = Duration::from_secs(6);

on_both_engines!(the_mirrors_of_mirrormanager_serve_containers, |namespace, engine| {
    let world = World::new(namespace, engine);
    let own = world.postgres.is_none().then(|| Postgres::start(namespace));
    let postgres = world.postgres.as_ref().or(own.as_ref()).unwrap();
    postgres.query("postgres", "CREATE DATABASE mirrormanager");
    postgres.query("mirrormanager", FIXTURE);
    postgres.query("mirrormanager", NETWORK);
    let images = [Image::new("fedora", "amd64", &LAYERS), Image::new("fedora", "arm64", &LAYERS)];
    image::push_index(origin::URL, "fedora", "latest", &images);
    world.publish();
    let mirror = Nginx::start(namespace, "de.mirror.test", Scheme::Https);
    world.fill(&mirror.root());

    let url = postgres.url().replace("/portolan?", "/mirrormanager?");
    let import = format!("import mirrormanager --database-url {url} --category Containers");
    let plan = world.portolan.json(&format!("{import} --dry-run"));
    assert_eq!(world.portolan.json("host list").as_array().unwrap().len(), 0, "{plan:#}");
    let done = world.portolan.json(&import);
    assert_eq!((&done["added"], &done["changes"]), (&plan["added"], &plan["changes"]));
    assert_eq!(world.portolan.json(&import)["changes"], serde_json::json!([]), "the second changes nothing");
    let inside = world.portolan.json("host show inside");
    let netblocks = inside["netblocks"].as_array().unwrap();
    assert!(netblocks.len() > 1, "us.mirror.test has an address: {netblocks:?}");
    assert_eq!(world.portolan.json("host show de.mirror.test")["mirrormanager_id"], 1);
    for edit in [
        "host edit de.mirror.test --country FR",
        "host remove de.mirror.test",
        "host opt-out de.mirror.test containers",
        "netblock add de.mirror.test 192.0.2.0/30",
        "site edit University --private true",
        "site remove University --with-hosts",
    ] {
        let refused = world.portolan.run(edit);
        assert!(
            !refused.success() && refused.stderr.contains("comes from MirrorManager"),
            "{edit}: {refused}"
        );
    }
    world.portolan.done("host edit de.mirror.test --daily-bytes 500G");

    world.crawl();
    let serve = world.portolan.serve();
    namespace::connect_from(CLIENT_DE, REGISTRY);
    clients_download(&world, &images[0]);

    let mut watch = world.portolan.start(&format!("{import} --watch 1s"));
    let list = || http::get("https://registry.test/mirrorlist?repo=fedora", &[]).text();
    assert!(list().contains("de.mirror.test"), "{}", list());
    for (on, is_there) in [(false, false), (true, true)] {
        let started = Instant::now();
        postgres.query("mirrormanager", &format!("UPDATE host SET user_active = {on} WHERE id = 1"));
        assert!(wait_for(SEEN_WITHIN, || list().contains("de.mirror.test") == is_there), "{}", watch.log());
        println!("seen after {:?}", started.elapsed());
    }
    assert!(!watch.has_ended(), "{}", watch.log());
    watch.stop_by("TERM");
    serve.stop();
});

/// By what MirrorManager's clients ask for: a repository and an architecture, or a file of the tree.
fn clients_download(world: &World<'_>, image: &Image) {
    let layer = image::digest(image.blobs()[1]);
    let hex = layer.strip_prefix("sha256:").unwrap();
    let by_arch = "https://registry.test/metalink?repo=old/fedora&arch=x86_64".to_owned();
    let by_path = format!("https://registry.test/metalink?path=containers/blobs/sha256/{}/{hex}", &hex[..2]);
    // `fedora` is what the imported `old/fedora` leads to.
    for url in [by_arch, by_path] {
        let document = http::get(&url, &[]);
        assert_eq!(document.status, 200, "{url}: {}", document.text());
        let text = document.text();
        let name = text.split("<file name=\"").nth(1).unwrap().split('"').next().unwrap();
        // The layer is large enough to have pieces, the manifest is not.
        let download = if text.contains("<pieces") { aria2::download_in_pieces } else { aria2::download };
        let bytes = download(world.namespace, text.as_bytes());
        assert_eq!(image::digest(&bytes).replace(':', "-"), name, "by aria2");
        let bytes = librepo::download(world.namespace, &text, name);
        assert_eq!(image::digest(&bytes).replace(':', "-"), name, "by librepo");
    }
}
