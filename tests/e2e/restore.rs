//! The restore drill: the database is lost, and what people typed comes back from a dump; the rest from tree and mirrors.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::rig::http;
use crate::rig::image::{self, Image, LAYERS};
use crate::rig::namespace::{self, CLIENT_DE, REGISTRY};
use crate::rig::nginx::{Nginx, Scheme};
use crate::rig::origin;
use crate::rig::portolan::Portolan;
use crate::rig::program::wait_for;
use crate::rig::world::{CATEGORY, Engine, World};

const MIRRORS: [&str; 4] = ["de.mirror.test", "de2.mirror.test", "de3.mirror.test", "fr.mirror.test"];

/// What a server does not follow within this time it does not follow.
const FOLLOWED_WITHIN: Duration = Duration::from_secs(20);

/// Where clients are sent for each layer, whoever has it. A closed range is never taken for a repeat.
fn locations(layers: &[String]) -> Vec<Option<String>> {
    let location = |layer: &String| {
        let answer =
            http::get(&format!("https://registry.test/v2/fedora/blobs/{layer}"), &["Range: bytes=0-9"]);
        answer.header("location").map(str::to_owned)
    };
    layers.iter().map(location).collect()
}

fn status(repository: &str, digest: &str) -> u16 {
    http::get(&format!("https://registry.test/v2/{repository}/blobs/{digest}"), &["Range: bytes=0-9"]).status
}

#[track_caller]
fn sign_in(password: &str, status: u16) {
    let form = format!("name=ann&password={password}");
    let origin = ["Origin: https://registry.test"];
    let url = "https://registry.test/sign-in";
    http::send_with("POST", url, "application/x-www-form-urlencoded", &origin, form.as_bytes(), status);
}

/// Is the token of `de.mirror.test` still good?
#[track_caller]
fn report(portolan: &Portolan, token: &str) {
    let serial = portolan.json(&format!("category show {CATEGORY}"))["serial"].clone();
    let body = json!({ "category": CATEGORY, "serial": serial }).to_string();
    let url = "https://registry.test/api/v1/hosts/de.mirror.test/report";
    let authorization = format!("Authorization: Bearer {token}");
    http::send_with("POST", url, "application/json", &[&authorization], body.as_bytes(), 202);
}

fn fill(world: &World<'_>) -> Vec<Nginx> {
    Image::ordinary("fedora").push(origin::URL, "fedora", "latest");
    Image::new("bad", "amd64", &LAYERS).push(origin::URL, "bad", "latest");
    world.publish();
    let mirrors = MIRRORS.map(|it| world.mirror(it, Scheme::Https, ""));
    mirrors.iter().for_each(|it| world.fill(&it.root()));
    world.crawl();
    mirrors.into()
}

#[test]
fn what_people_typed_outlives_the_database() {
    namespace::enter(|namespace| {
        let world = World::new(namespace, Engine::Postgres);
        let portolan = &world.portolan;
        portolan.configure("[serve]", "[accounts]\nsign_in = true\n[serve]");
        let _mirrors = fill(&world);
        let layers = world.origin.layers("fedora", "latest");
        let bad = image::digest(Image::new("bad", "amd64", &LAYERS).blobs()[1]);
        portolan.done("host opt-out de2.mirror.test containers");
        portolan.done(&format!("content withdraw {bad} --reason secret --legal"));
        let password = portolan.json("account create ann")["password"].as_str().unwrap().to_owned();
        let token = portolan.json("host token create de.mirror.test")["token"].as_str().unwrap().to_owned();
        namespace::connect_from(CLIENT_DE, REGISTRY);
        let serve = portolan.serve();
        let before = locations(&layers);
        assert!(before.iter().all(|it| it.as_ref().is_some_and(|it| it.contains("://de"))), "{before:?}");
        let typed = portolan.json("host show de.mirror.test")["id"].clone();
        let printed = portolan.done("dump backup.jsonl.zst");
        assert!(printed.contains("withdrawal: 1\n"), "{printed}");

        // The server that runs goes on answering what it knows, until there is something to be known again.
        let postgres = world.postgres.as_ref().unwrap();
        postgres.query("postgres", "DROP DATABASE portolan WITH (FORCE)");
        postgres.query("postgres", "CREATE DATABASE portolan");
        let lost = Instant::now();
        portolan.done("migrate");
        let printed = portolan.done("restore backup.jsonl.zst");
        assert!(printed.contains("now: `portolan scan`, then `portolan crawl`"), "{printed}");
        let forgets = || locations(&layers) != before;
        assert!(!wait_for(Duration::from_secs(4), forgets), "forgotten before the scan\n{}", serve.log());
        assert_eq!(status("bad", &bad), 451);
        portolan.done("scan");
        portolan.done("crawl --once");
        let is_back = || portolan.json("host show de.mirror.test")["categories"][0]["state"] == "up-to-date";
        assert!(wait_for(FOLLOWED_WITHIN, is_back));
        println!("restored, scanned and crawled {:.1?} after the loss", lost.elapsed());
        // Its next answer comes from the new database.
        report(portolan, &token);
        let follows = || locations(&layers) == before;
        assert!(wait_for(FOLLOWED_WITHIN, follows), "{:?}\n{}", locations(&layers), serve.log());
        serve.stop();

        check(&world.portolan, &before, &layers, &bad, &password, &token);
        assert_eq!(portolan.json("host show de.mirror.test")["id"], typed);
        let refused = portolan.run("restore backup.jsonl.zst");
        assert!(refused.stderr.contains("the database is not empty"), "{}", refused.stderr);

        // The other engine.
        let other = portolan.other_database("sqlite:other.db");
        other.done("migrate");
        other.done("restore backup.jsonl.zst");
        other.done("scan");
        other.done("crawl --once");
        check(&other, &before, &layers, &bad, &password, &token);
    });
}

/// A server that knows nothing but the database answers as before.
#[track_caller]
fn check(
    portolan: &Portolan,
    before: &[Option<String>],
    layers: &[String],
    bad: &str,
    password: &str,
    token: &str,
) {
    std::fs::remove_dir_all(portolan.folder.join("state")).unwrap();
    let serve = portolan.serve();
    assert_eq!(locations(layers), before, "other mirrors than before");
    assert_eq!(status("bad", bad), 451, "a withdrawal is lost");
    let host = portolan.json("host show de2.mirror.test");
    assert_eq!(host["categories"], json!([]), "an opt-out is lost");
    sign_in(password, 303);
    sign_in("something else", 422);
    report(portolan, token);
    serve.stop();
}
