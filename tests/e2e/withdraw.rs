//! What an operator withdraws is gone from answers at once, and from the tree with the next export.

use std::time::{Duration, Instant};

use crate::rig::image::{self, Image, LAYERS};
use crate::rig::namespace::{self, CLIENT_DE, REGISTRY};
use crate::rig::nginx::Scheme;
use crate::rig::program::wait_for;
use crate::rig::world::{Engine, World, place};
use crate::rig::{http, origin};

/// A withdrawal is in answers this long after it was made.
const FOLLOWED_WITHIN: Duration = Duration::from_secs(2);

on_both_engines!(a_layer_is_withdrawn_and_restored, |namespace, engine| {
    let world = World::new(namespace, engine);
    let bad = Image::new("bad", "amd64", &LAYERS);
    bad.push(origin::URL, "bad", "latest");
    Image::ordinary("fedora").push(origin::URL, "fedora", "latest");
    world.publish();
    let mirror = world.mirror("de.mirror.test", Scheme::Https, "");
    world.fill(&mirror.root());
    world.crawl();
    let serve = world.portolan.serve();
    namespace::connect_from(CLIENT_DE, REGISTRY);

    let layer = image::digest(bad.blobs()[1]);
    let hex = layer.strip_prefix("sha256:").unwrap();
    let file = format!("blobs/sha256/{}/{hex}", &hex[..2]);
    let status =
        || http::get(&format!("https://registry.test/v2/bad/blobs/{layer}"), &["Range: bytes=0-9"]).status;
    assert!([206, 302].contains(&status()));
    let asked = Instant::now();
    world.portolan.done(&format!("content withdraw {layer} --reason secret --legal"));
    assert!(wait_for(FOLLOWED_WITHIN, || status() == 451), "not withdrawn\n{}", serve.log());
    println!("withdrawn {:?} after the command began", asked.elapsed());
    let list = world.portolan.json("content list");
    assert_eq!((&list[0]["reason"], &list[0]["hosts"][0]), (&"secret".into(), &"de.mirror.test".into()));

    let printed = world.portolan.done("export");
    assert!(printed.contains(&format!("left out, for {layer} is withdrawn: bad:latest")), "{printed}");
    assert!(!world.category().join(&file).exists(), "it is still in the tree");
    assert!(!world.portolan.folder.join("tree/.portolan/pool").join(&file["blobs/".len()..]).exists());
    assert!(place(&mirror.root()).join(&file).exists(), "a mirror keeps it until its next rsync");
    world.portolan.done("scan");
    let tag = || http::get("https://registry.test/v2/bad/manifests/latest", &[]).status;
    assert!(wait_for(FOLLOWED_WITHIN, || tag() == 404), "the image is still there");
    assert_eq!(status(), 451);
    assert_eq!(world.portolan.json("content list")[0]["hosts"][0], "de.mirror.test", "it is not forgotten");
    assert_eq!(http::get("https://registry.test/v2/fedora/manifests/latest", &[]).status, 200);

    world.portolan.done(&format!("content restore {layer}"));
    world.publish();
    assert!(wait_for(FOLLOWED_WITHIN, || tag() == 200 && status() != 451), "not restored\n{}", serve.log());
    assert!(world.category().join(&file).exists());
    serve.stop();
});
