//! What an operator sees, how soon changes count, and answers without a database.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use portolan::database::{Database, DatabaseUrl, host::HostChange, probe};
use reqwest::Method;

use crate::{
    http::{Answer, Http},
    postgres,
    world::{ENGINES, Server, World, on_both, open, settings},
};

/// A change of hosts is in answers no later than this.
pub(crate) const SOON: Duration = Duration::from_secs(2);

/// That the database is down is told no later than this.
const FAULT: Duration = Duration::from_secs(30);

pub(crate) fn management(http: &Http, path: &str) -> Answer {
    http.fetch(Method::GET, &format!("{}{path}", http.management), &[])
}

/// Asks until it is so: how long that took.
#[track_caller]
pub(crate) fn wait(most: Duration, what: &str, is_so: impl Fn() -> bool) -> Duration {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < most, "{what}: not within {most:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
    start.elapsed()
}

#[test]
fn a_change_of_hosts_is_soon_in_answers() {
    on_both(|world| {
        let path = format!("/mirrorlist?repo=fedora&digest={}", world.images.large.digest);
        let is_listed = || world.http.get(&path, &[]).text().contains("//b.example/");
        assert!(is_listed());
        for drained in [true, false] {
            let change = HostChange { drained: Some(drained), ..HostChange::default() };
            world.change_host("b", &change);
            let took = wait(SOON, "drained", || is_listed() != drained);
            eprintln!("drained = {drained} was in answers after {took:?}");
        }
        world.change_host("b", &HostChange { admin_active: Some(false), ..HostChange::default() });
        let took = wait(SOON, "switched off", || !is_listed());
        eprintln!("switched off after {took:?}");
    });
}

#[test]
fn the_management_address_tells_health_readiness_and_numbers() {
    on_both(|world| {
        let health = management(&world.http, "/healthz");
        assert_eq!((health.status, health.text()), (200, "ok\n"));
        let ready = management(&world.http, "/readyz");
        assert_eq!((ready.status, ready.header("content-type")), (200, "application/json"));
        let ready = ready.json();
        assert_eq!((&ready["ready"], &ready["database"]), (&true.into(), &"up".into()));
        assert_eq!(ready["geoip"]["default"], true);
        assert!(ready["geoip"]["built"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{ready}");
        let parts = ready["parts"].as_object().unwrap();
        assert_eq!(parts.keys().collect::<Vec<_>>(), ["content", "holdings", "hosts"]);
        for part in parts.values() {
            assert!(part["age_seconds"].as_u64().unwrap() < 60, "{ready}");
            assert!(part["generation"].as_i64().unwrap() > 0, "{ready}");
        }
        world.http.get("/v2/", &[]);
        let metrics = management(&world.http, "/metrics");
        assert!(metrics.header("content-type").starts_with("text/plain; version=0.0.4"));
        for line in [
            "portolan_requests_total{decision=\"ping\"}",
            "portolan_snapshot_age_seconds{part=\"hosts\"}",
            "portolan_snapshot_generation{part=\"content\"}",
            "portolan_database_up",
            "portolan_hosts",
            "portolan_blobs",
        ] {
            assert!(metrics.text().lines().any(|it| it.starts_with(line)), "{line}:\n{}", metrics.text());
        }
        assert_eq!(management(&world.http, "/v2/").status, 404, "nothing else is there");
        assert_eq!(world.http.get("/readyz", &[]).status, 404, "nor is it for the public");
    });
}

/// What stands for a database that is gone.
pub(crate) fn unreachable(gone: &Database, folder: &Path) -> Arc<Database> {
    match gone.url() {
        DatabaseUrl::Sqlite(_) => open(&format!("sqlite:{}/nowhere/test.db", folder.display())),
        DatabaseUrl::Postgres(_) => open("postgres://nobody@127.0.0.1:1/none"),
    }
}

#[test]
fn without_a_database_the_saved_snapshot_answers() {
    for engine in ENGINES {
        let world = World::new(engine, |_| {});
        let (large, small) = (world.blob(&world.images.large), world.blob(&world.images.small));
        let World { server, database, images, folder, .. } = world;
        drop(server);
        let start = Instant::now();
        let server = Server::start(settings(folder.path()), unreachable(&database, folder.path())).unwrap();
        eprintln!("on {engine} it answered after {:?}", start.elapsed());
        let http = Http::new(&server.addresses);
        let latest = http.get("/v2/fedora/manifests/latest", &[]);
        assert_eq!((latest.status, &latest.body), (200, &images.index.bytes));
        assert_eq!(http.get(&small, &[]).body, images.small.bytes);
        assert_eq!(http.get(&large, &[]).status, 302);
        assert_eq!(http.get("/v2/fedora/tags/list", &[]).json()["tags"][0], "41");
        let is_told = || {
            let ready = management(&http, "/readyz").json();
            assert_eq!(ready["ready"], true, "an old snapshot is better than none");
            ready["database"].as_str().unwrap().starts_with("down: ")
        };
        wait(FAULT, "the database is down", is_told);
        // The numbers of a process are one set, whatever else is started in it.
        let is_counted =
            || management(&http, "/metrics").text().lines().any(|it| it == "portolan_database_up 0");
        wait(FAULT, "the database is down", is_counted);
        assert_eq!(http.get("/v2/fedora/manifests/latest", &[]).body, images.index.bytes);
    }
}

#[test]
fn an_empty_database_does_not_take_the_place_of_a_snapshot() {
    let World { server, images, folder, .. } = World::new("sqlite", |_| {});
    drop(server);
    let empty = open(&format!("sqlite:{}/lost.db", folder.path().display()));
    let server = Server::start(settings(folder.path()), empty).unwrap();
    let http = Http::new(&server.addresses);
    let is_told = || {
        let ready = management(&http, "/readyz").json();
        ready["database"].as_str().unwrap().contains("the database is empty, and the snapshot is not")
    };
    wait(FAULT, "the database is empty", is_told);
    assert_eq!(http.get("/v2/fedora/manifests/latest", &[]).body, images.index.bytes);
}

#[test]
fn without_a_database_and_a_snapshot_it_does_not_start() {
    on_both(|world| {
        let mut settings = settings(world.folder.path());
        settings.serve.state = world.folder.path().join("another");
        let database = unreachable(&world.database, world.folder.path());
        let Err(error) = Server::start(settings, database) else { panic!("it started") };
        assert!(error.starts_with("there is no snapshot to answer from"), "{error}");
    });
}

#[test]
fn a_database_that_is_not_migrated_is_refused() {
    let world = World::new("postgres", |_| {});
    let World { server, folder, .. } = world;
    drop(server);
    let mut without_snapshot = settings(folder.path());
    without_snapshot.serve.state = folder.path().join("another");
    let Err(error) = Server::start(without_snapshot, open(&postgres::new_database())) else {
        panic!("it started")
    };
    assert!(error.contains("`portolan migrate`"), "{error}");
    // With a snapshot it may begin to answer, but not go on.
    let started = Server::start(settings(folder.path()), open(&postgres::new_database()));
    let error = started.and_then(Server::join).unwrap_err();
    assert!(error.contains("`portolan migrate`"), "{error}");
}

#[test]
fn a_prober_that_is_not_heard_of_is_told_and_nothing_else_changes() {
    on_both(|world| {
        let path = format!("/mirrorlist?repo=fedora&digest={}", world.images.large.digest);
        let before = world.http.get(&path, &[]).text().lines().count();
        let told = || management(&world.http, "/readyz").json()["probe"]["state"].clone();
        let age =
            || management(&world.http, "/metrics").text().contains("portolan_probe_heartbeat_age_seconds 4");
        assert_eq!(told(), "unknown");
        for (minutes, state) in [(6, "silent"), (0, "alive"), (7, "silent")] {
            let at = Timestamp::now() - SignedDuration::from_mins(minutes);
            let beat = |it: &mut portolan::database::Connection| {
                let seen = probe::find_heartbeat(it)?;
                probe::take_over(it, &seen, "prober", at.into())
            };
            assert!(world.database.write_log(beat).unwrap());
            wait(SOON, state, || told() == state);
            let ready = management(&world.http, "/readyz");
            assert_eq!((ready.status, &ready.json()["ready"]), (200, &true.into()));
        }
        assert!(age(), "420 seconds");
        assert_eq!(world.http.get(&path, &[]).text().lines().count(), before);
    });
}

#[test]
fn where_clients_are_sent_is_stored_and_changes_no_generation() {
    on_both(|world| {
        let before = world.database.generations().unwrap();
        let since = Timestamp::now() - SignedDuration::from_secs(1);
        let in_use = || world.database.read(|it| probe::list_in_use(it, since.into())).unwrap();
        assert!(in_use().is_empty());
        let answer = world.http.get(&world.blob(&world.images.large), &[]);
        assert_eq!(answer.status, 302);
        wait(Duration::from_secs(10), "stored", || in_use().len() == 1);
        let targets = world.database.read(probe::list_targets).unwrap();
        let target = targets.iter().find(|it| in_use().contains(&it.id)).unwrap();
        assert!(answer.header("location").starts_with(target.url.as_str()));
        assert_eq!(world.database.generations().unwrap(), before);
    });
}
