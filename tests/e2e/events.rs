//! The origin tells of pushes and deletions: what it names is exported, scanned and answered within seconds.

use std::time::{Duration, Instant};

use crate::rig::http;
use crate::rig::image::{Image, OCI_MANIFEST, push_manifest};
use crate::rig::namespace::{self, Namespace};
use crate::rig::origin::{self, Origin};
use crate::rig::program::wait_for;
use crate::rig::world::{Engine, World};

/// Where notifications are taken, and the token that they need.
const HOOK: &str = "http://127.0.0.1:5002/events";
const TOKEN: &str = "a-token-of-twenty-six-signs";

/// A change is answered after a second of waiting for more, an export, a scan, and half a second of `serve`. The
/// next export of all is an hour away.
const ANSWERED_WITHIN: Duration = Duration::from_secs(30);

/// So many tags are pushed in a burst.
const BURST: usize = 50;

/// So many exports may come of it: each takes what came during the one before it.
const EXPORTS_OF_A_BURST: usize = 10;

/// A world whose origin tells of changes, and which asks it by itself only once an hour.
fn world(namespace: &Namespace, engine: Engine) -> World<'_> {
    let world = World::around(namespace, engine, Origin::telling(namespace, HOOK, TOKEN));
    let hooks = format!("[hooks]\ntoken = \"{TOKEN}\"\n[export]\ninterval = \"1h\"");
    world.portolan.configure("[export]\ninterval = \"1s\"", &hooks);
    world
}

/// What a client gets for a tag.
fn answered(repository: &str, tag: &str) -> Option<String> {
    let answer = http::head(&format!("https://registry.test/v2/{repository}/manifests/{tag}"), &[]);
    (answer.status == 200).then(|| answer.header("docker-content-digest").unwrap().to_owned())
}

fn count(log: &str, text: &str) -> usize {
    log.lines().filter(|line| line.contains(text)).count()
}

#[track_caller]
fn wait_until(what: &str, log: impl Fn() -> String, is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    assert!(wait_for(ANSWERED_WITHIN, is_so), "{what}: not within {ANSWERED_WITHIN:?}\n{}", log());
    println!("{what}: after {:?}", started.elapsed());
}

on_both_engines!(what_the_origin_tells_is_answered_within_seconds, |namespace, engine| {
    let world = world(namespace, engine);
    Image::ordinary("fedora").push(origin::URL, "fedora", "latest");
    let run = world.portolan.service("run");
    wait_until("all is exported at the start", || run.log(), || answered("fedora", "latest").is_some());
    assert!(run.log().contains("hooks on http://127.0.0.1:5002/events"), "{}", run.log());

    let image = Image::ordinary("newer");
    let newer = image.push(origin::URL, "fedora", "latest");
    wait_until("a push", || run.log(), || answered("fedora", "latest").as_ref() == Some(&newer));
    let other = Image::ordinary("other").push(origin::URL, "group/other", "1");
    wait_until("a new repository", || run.log(), || answered("group/other", "1").as_ref() == Some(&other));
    http::send("DELETE", &format!("{}/v2/group/other/manifests/{other}", origin::URL), "", b"", 202);
    wait_until("a deletion", || run.log(), || answered("group/other", "1").is_none());
    assert_eq!(answered("fedora", "latest"), Some(newer), "other repositories stay");

    let before = count(&run.log(), "exported");
    for number in 0..BURST {
        push_manifest(origin::URL, "fedora", &number.to_string(), OCI_MANIFEST, &image.manifest);
    }
    let last = (BURST - 1).to_string();
    wait_until("a burst", || run.log(), || answered("fedora", &last).is_some());
    let exports = count(&run.log(), "exported") - before;
    assert!((1..=EXPORTS_OF_A_BURST).contains(&exports), "{exports} exports\n{}", run.log());
    println!("{BURST} pushes made {exports} exports");
    let lists = |name: &str| {
        let path = format!("/v2/{name}/tags/list");
        world.origin.requests().iter().filter(|it| it.path.starts_with(&path)).count()
    };
    assert_eq!(count(&run.log(), "the export failed"), 0, "{}", run.log());

    // No category has candidates: nothing is done until the next image comes, and then for that one alone.
    let before = count(&run.log(), "exported");
    Image::ordinary("candidate").push(origin::URL, "candidate/app", "1");
    let told = |name: &str| count(&run.log(), name);
    assert_eq!(told("candidate/app"), 0, "{}", run.log());
    std::thread::sleep(Duration::from_secs(2)); // what an export of it would need to begin
    assert_eq!(count(&run.log(), "exported"), before, "{}", run.log());
    let marker = Image::ordinary("marker").push(origin::URL, "marker", "1");
    wait_until("after a candidate", || run.log(), || answered("marker", "1").as_ref() == Some(&marker));
    assert_eq!((count(&run.log(), "exported"), lists("candidate/app")), (before + 1, 0), "{}", run.log());
    run.stop();
});

#[test]
fn what_is_told_while_the_origin_is_down_is_not_lost() {
    namespace::enter(|namespace| {
        let mut world = world(namespace, Engine::Sqlite);
        Image::ordinary("fedora").push(origin::URL, "fedora", "latest");
        let mut watch = world.portolan.start("export --watch");
        watch.wait_until("first export and scan", || count(&watch_log(&world), "scanned") == 1);
        let serve = world.portolan.serve();
        assert!(answered("fedora", "latest").is_some());

        world.origin.stop();
        let event = br#"{"events":[{"action":"push","target":{"repository":"fedora","tag":"latest"}}]}"#;
        let send = |token: &str, body: &[u8], status: u16| {
            let token = format!("Authorization: Bearer {token}");
            http::send_with("POST", HOOK, "application/json", &[&token], body, status);
        };
        send("another-token-of-some-length", event, 401);
        send(TOKEN, b"\0 no notification", 400);
        send(TOKEN, event, 202);
        watch.wait_until("a failed export", || count(&watch_log(&world), "the export failed") == 1);

        world.origin = Origin::start(namespace); // tells nobody of what comes
        let newer = Image::ordinary("newer").push(origin::URL, "fedora", "latest");
        wait_until(
            "a push while it was down",
            || watch.log(),
            || answered("fedora", "latest").as_ref() == Some(&newer),
        );
        let log = watch.log();
        assert_eq!(count(&log, "a notification was refused"), 2, "{log}");
        assert!(!log.contains(TOKEN), "{log}");
        serve.stop();
        assert_eq!(watch.stop_by("TERM"), Some(0), "{}", watch.log_tail());
    });
}

/// What `export --watch` has logged.
fn watch_log(world: &World) -> String {
    std::fs::read_to_string(world.portolan.folder.join("portolan.log")).unwrap_or_default()
}
