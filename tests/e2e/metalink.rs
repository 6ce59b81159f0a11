//! Clients that read metalinks get all mirrors at once.

use std::fs;
use std::time::Duration;

use crate::rig::image::{self, Image, LAYERS};
use crate::rig::namespace::{self, CLIENT_DE, REGISTRY};
use crate::rig::nginx::Scheme;
use crate::rig::program::wait_for;
use crate::rig::world::{self, Engine, World};
use crate::rig::{aria2, http, librepo, origin, tree};

const V3: &str = "application/metalink+xml";
const V4: &str = "application/metalink4+xml";

on_both_engines!(aria2_and_librepo_use_our_documents, |namespace, engine| {
    let world = World::new(namespace, engine);
    let images = [Image::new("fedora", "amd64", &LAYERS), Image::new("fedora", "arm64", &LAYERS)];
    let index = image::push_index(origin::URL, "fedora", "latest", &images);
    world.publish();
    let near = world.mirror("de.mirror.test", Scheme::Https, "");
    let far = world.mirror("fr.mirror.test", Scheme::Https, "");
    world.fill(&near.root());
    world.fill(&far.root());
    world.crawl();
    let serve = world.portolan.serve();
    namespace::connect_from(CLIENT_DE, REGISTRY);

    let layer = image::digest(images[0].blobs()[1]);
    type Download = fn(&namespace::Namespace, &[u8]) -> Vec<u8>;
    let wanted: [(String, &String, Download); 3] = [
        ("tag=latest".to_owned(), &index, aria2::download),
        (format!("digest={layer}"), &layer, aria2::download_in_pieces),
        (format!("digest={layer}"), &layer, aria2::download_in_pieces_with_check),
    ];
    for (reference, digest, download) in wanted {
        for (version, media_type) in [("3", V3), ("4", V4)] {
            near.forget_requests();
            let url = format!("https://registry.test/metalink?repo=fedora&{reference}&version={version}");
            let document = http::get(&url, &[]);
            assert_eq!(document.status, 200, "{}", document.text());
            let found = document.header("content-type").unwrap();
            assert!(found.starts_with(media_type), "{found}");
            let bytes = download(namespace, &document.body);
            assert_eq!(&image::digest(&bytes), digest, "aria2c got other bytes by version {version}");
            let asked = near.requests();
            let by_aria2 = asked.iter().any(|request| request.agent.starts_with("aria2"));
            assert!(by_aria2, "aria2c did not go to the nearest mirror by version {version}: {asked:#?}");
        }
    }
    librepo_reads_version_3(&world, &index);
    a_manifest_is_a_metalink_only_when_asked_for(&index);
    the_mirror_list_names_each_host_once(&index);
    serve.stop();
});

/// A layer of several pieces, the last of them short.
const LARGE: usize = 3_500_000;

on_both_engines!(a_flipped_byte_is_healed_from_the_next_mirror, |namespace, engine| {
    let world = World::new(namespace, engine);
    let large = Image::new("large", "amd64", &[LARGE, 1_000_000]);
    large.push(origin::URL, "large", "latest");
    // As a tree from before pieces were kept.
    world.portolan.done("export");
    let pieces = world.portolan.folder.join("tree/.portolan/pieces");
    fs::remove_dir_all(&pieces).unwrap();
    world.portolan.done("scan");
    let near = world.mirror("de.mirror.test", Scheme::Https, "");
    let far = world.mirror("fr.mirror.test", Scheme::Https, "");
    world.fill(&near.root());
    world.fill(&far.root());
    world.crawl();
    let serve = world.portolan.serve();
    namespace::connect_from(CLIENT_DE, REGISTRY);
    let (layer, small) = (large.blobs()[1], large.blobs()[2]);
    let url = |bytes: &[u8], version| {
        format!("https://registry.test/metalink?repo=large&digest={}&version={version}", image::digest(bytes))
    };
    assert!(!http::get(&url(layer, 4), &[]).text().contains("<pieces"));

    world.portolan.done("export");
    assert_eq!(
        fs::read_dir(pieces.join("sha256")).unwrap().count(),
        1,
        "the layer has pieces, and nothing else"
    );
    let scanned = world.portolan.json("scan");
    assert_eq!(scanned["cut_blobs"], 1, "{scanned:#}");
    let has_pieces = || http::get(&url(layer, 4), &[]).text().contains("<pieces");
    assert!(wait_for(Duration::from_secs(10), has_pieces), "no pieces in the metalink");
    assert!(!http::get(&url(small, 4), &[]).text().contains("<pieces"));

    let path = world::place(&near.root()).join(tree::blob_path(&image::digest(layer)));
    let mut bytes = fs::read(&path).unwrap();
    bytes[2_000_000] ^= 1;
    fs::write(&path, bytes).unwrap();
    for version in [3, 4] {
        for mirror in [&near, &far] {
            mirror.forget_requests();
        }
        let document = http::get(&url(layer, version), &[]);
        let healed = aria2::download_in_pieces(namespace, &document.body);
        assert!(healed == layer, "aria2c got other bytes by version {version}");
        for mirror in [&near, &far] {
            let asked = mirror.requests();
            assert!(asked.iter().any(|it| it.agent.starts_with("aria2")), "{version}: {asked:#?}");
        }
    }
    serve.stop();
});

fn librepo_reads_version_3(world: &World<'_>, index: &str) {
    let document = http::get("https://registry.test/metalink?repo=fedora&tag=latest", &[]);
    let hex = index.strip_prefix("sha256:").unwrap();
    let read = librepo::parse(world.namespace, &document.text(), &format!("sha256-{hex}"));
    assert_eq!(read["hashes"], serde_json::json!([["sha256", hex]]));
    assert!(read["timestamp"].as_u64().unwrap() > 0, "{read:#}");
    let size = world.origin.manifest("fedora", "latest").body.len();
    assert_eq!(read["size"], size, "{read:#}");
    let urls = read["urls"].as_array().unwrap();
    let first = urls[0]["url"].as_str().unwrap();
    assert!(first.starts_with("https://de.mirror.test/"), "the nearest is not first: {read:#}");
    assert_eq!(urls[0]["location"], "de", "{read:#}");
    assert!(urls.iter().any(|url| url["location"] == "fr"), "{read:#}");
}

fn a_manifest_is_a_metalink_only_when_asked_for(index: &str) {
    let url = "https://registry.test/v2/fedora/manifests/latest";
    let manifest = http::get(url, &["Accept: */*"]);
    assert_eq!(&image::digest(&manifest.body), index, "any type is no wish for a metalink");
    for (accept, expected) in [(V3.to_owned(), V3), (V4.to_owned(), V4), (format!("{V3}, {V4}"), V4)] {
        let answer = http::get(url, &[&format!("Accept: {accept}")]);
        let found = answer.header("content-type").unwrap();
        assert!(found.starts_with(expected), "{accept} got {found}");
    }
}

fn the_mirror_list_names_each_host_once(index: &str) {
    let list = http::get("https://registry.test/mirrorlist?repo=fedora&tag=latest", &[]).text();
    let urls: Vec<&str> = list.lines().filter(|line| !line.starts_with('#')).collect();
    let hex = index.strip_prefix("sha256:").unwrap();
    let url = |host: &str| format!("https://{host}/pub/containers/blobs/sha256/{}/{hex}", &hex[..2]);
    assert_eq!(urls, [url("de.mirror.test"), url("fr.mirror.test")]);
}
