//! A content that takes long to load holds up neither a host that is drained nor a digest that is withdrawn.

use std::{
    thread,
    time::{Duration, Instant},
};

use diesel::RunQueryDsl;
use jiff::Timestamp;
use portolan::{
    database::{Connection, Part, Sha256, host::HostChange, withdrawal},
    oci::Digest,
};

use reqwest::Method;

use crate::world::{FULL, World, on_both};

/// Blobs of an export that nobody was ready for.
const BLOBS: i64 = 1_000_000;

/// In every answer within 2 s, whatever the size; twice that, for a machine that does much else.
const WITHIN: Duration = Duration::from_secs(4);

/// Longer than a server needs to see that there is something to load.
const BEGUN: Duration = Duration::from_secs(1);

/// The content grows by [`BLOBS`] at once.
fn grow(world: &World) {
    let sqlite = format!(
        "WITH RECURSIVE number (it) AS (SELECT 1000 UNION ALL SELECT it + 1 FROM number WHERE it < {BLOBS} + 999)
         INSERT INTO blob (id, digest, size) SELECT it, randomblob(32), 100000 FROM number"
    );
    let postgres = format!(
        "INSERT INTO blob (id, digest, size)
         SELECT it, sha256(it::text::bytea), 100000 FROM generate_series(1000, {BLOBS} + 999) it"
    );
    let insert = |connection: &mut Connection| {
        let query = if matches!(connection, Connection::Sqlite(_)) { &sqlite } else { &postgres };
        diesel::sql_query(query).execute(connection)
    };
    assert_eq!(world.database.write(Part::Content, insert).unwrap(), BLOBS as usize);
}

fn content_generation(world: &World) -> i64 {
    world.http.fetch(Method::GET, &format!("{}/readyz", world.http.management), &[]).json()["parts"]["content"]["generation"].as_i64().unwrap()
}

#[track_caller]
fn measure(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < WITHIN, "{what}: not within {WITHIN:?}");
        thread::sleep(Duration::from_millis(20));
    }
    eprintln!("{what} after {:?}", started.elapsed());
}

#[test]
fn a_drain_and_a_withdrawal_pass_a_large_content() {
    on_both(|world| {
        let large = world.blob(&world.images.large);
        // A closed range is never taken for a repeat.
        let status = || world.http.get(&large, &[("range", "bytes=0-0")]).status;
        assert_eq!(status(), 302);
        let before = content_generation(world);
        grow(world);
        thread::sleep(BEGUN);
        let drained = HostChange { drained: Some(true), ..HostChange::default() };
        for name in FULL {
            world.change_host(name, &drained);
        }
        measure("the drained hosts were out", || status() != 302);
        let digest: Digest = world.images.index.digest;
        let digest = Sha256(*digest.sha256().unwrap());
        let withdraw =
            |it: &mut Connection| withdrawal::insert(it, digest, "a test", false, Timestamp::now().into());
        world.database.write(Part::Hosts, withdraw).unwrap();
        measure("the withdrawn tag was gone", || {
            world.http.get("/v2/fedora/manifests/latest", &[]).status == 404
        });
        assert_eq!(content_generation(world), before, "the content was loaded too fast to be in the way");
        let (started, most) = (Instant::now(), Duration::from_secs(120));
        while content_generation(world) == before {
            assert!(started.elapsed() < most, "the content did not come");
            thread::sleep(Duration::from_millis(100));
        }
        eprintln!("the content was there {:?} later", started.elapsed());
    });
}
