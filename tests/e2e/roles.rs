//! Each command with a role of its own in PostgreSQL, made by `deploy/postgres/roles.sql`.

use std::path::Path;
use std::time::Duration;

use crate::rig::http;
use crate::rig::image::Image;
use crate::rig::namespace::{self, CLIENT_DE, REGISTRY};
use crate::rig::nginx::Scheme;
use crate::rig::program::wait_for;
use crate::rig::world::{CATEGORY, Engine, World, place};
use crate::rig::{origin, tree};

const ROLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/postgres/roles.sql");

const WITHIN: Duration = Duration::from_secs(30);

/// What a role must not do, beside much else.
const FORBIDDEN: [(&str, &str); 8] = [
    ("portolan_scan", "SELECT * FROM host_token"),
    ("portolan_scan", "UPDATE host SET private = true"),
    ("portolan_crawl", "SELECT * FROM host_token"),
    ("portolan_crawl", "DELETE FROM tag"),
    ("portolan_serve", "DELETE FROM site"),
    ("portolan_serve", "UPDATE tag SET name = name"),
    ("portolan_admin", "INSERT INTO blob_number VALUES (1)"),
    ("portolan_admin", "CREATE TABLE mine (id BIGINT)"),
];

#[test]
fn each_command_works_with_the_rights_of_its_role() {
    namespace::enter(|namespace| {
        let mut world = World::new(namespace, Engine::Postgres);
        let postgres = world.postgres.take().expect("PostgreSQL");
        assert_eq!(postgres.run_file("portolan", Path::new(ROLES)).trim(), "changed");
        assert_eq!(postgres.run_file("portolan", Path::new(ROLES)).trim(), "unchanged");
        let by = |role: &str| world.portolan.other_database(&postgres.url_of(role));
        let (scan, crawl, serve, run) =
            (by("portolan_scan"), by("portolan_crawl"), by("portolan_serve"), by("portolan_run"));
        world.portolan = by("portolan_admin");
        let admin = &world.portolan;

        Image::ordinary("fedora").push(origin::URL, "fedora", "latest");
        admin.other_database("postgres://nobody@/portolan?host=/nowhere").done("export");
        scan.done("scan");
        let mirror = world.mirror("de.mirror.test", Scheme::Https, "--contact a@example.org");
        world.fill(&mirror.root());
        world.opt_in_https("us.mirror.test", "--private");
        for line in [
            "host edit de.mirror.test --bandwidth 1000",
            "netblock add us.mirror.test 203.0.113.0/24",
            "netblock list",
            "country assign 192.0.2.0/24 DE",
            "country redirect RU EU",
            "host drain de.mirror.test",
            "host undrain de.mirror.test",
            "host list",
            "site add others",
            "site remove others",
            "dump backup.jsonl",
        ] {
            admin.done(line);
        }
        crawl.done("crawl --once");
        assert_eq!(world.found("de.mirror.test").0, "up-to-date");

        let mut prober = crawl.start("crawl");
        let serving = serve.serve();
        namespace::connect_from(CLIENT_DE, REGISTRY);
        let layers = world.origin.layers("fedora", "latest");
        let blob = |digest: &str| http::get(&format!("https://registry.test/v2/fedora/blobs/{digest}"), &[]);
        std::fs::remove_file(place(&mirror.root()).join(tree::blob_path(&layers[0]))).unwrap();
        assert_eq!(
            (blob(&layers[0]).status, blob(&layers[0]).status),
            (302, 200),
            "a mirror, then the fallback"
        );
        let is_missed =
            || !blob(&layers[0]).header("location").is_some_and(|it| it.contains("de.mirror.test"));
        assert!(wait_for(WITHIN, is_missed), "what a client missed was not looked at\n{}", prober.log());
        let is_in_use = || postgres.query("portolan", "SELECT count(*) FROM url_traffic").trim() != "0";
        assert!(wait_for(WITHIN, is_in_use), "the prober is not told what is in use\n{}", serving.log());

        let serial = tree::serial(&world.category()).unwrap();
        let text = std::fs::read_to_string(world.category().join("zz/serial")).unwrap();
        let inventory = text.split_whitespace().nth(1).expect("a digest").to_owned();
        for (host, more) in [
            ("de.mirror.test", String::new()),
            ("us.mirror.test", format!(r#","inventory":"sha256:{inventory}""#)),
        ] {
            let token = world.portolan.json(&format!("host token create {host}"))["token"].take();
            let token = format!("Authorization: Bearer {}", token.as_str().unwrap());
            let body = format!(r#"{{"category":"{CATEGORY}","serial":{serial}{more}}}"#);
            let url = format!("https://registry.test/api/v1/hosts/{host}/report");
            http::send_with("POST", &url, "application/json", &[&token], body.as_bytes(), 202);
        }
        world.portolan.done("explain --ip 192.0.2.200 --image fedora:latest");
        world.portolan.done(&format!("category show {CATEGORY}"));
        world.portolan.done(&format!("content withdraw {} --reason tests", layers[1]));
        assert!(wait_for(WITHIN, || blob(&layers[1]).status == 404), "{}", serving.log());
        world.portolan.done(&format!("content restore {}", layers[1]));
        serving.stop();
        assert_eq!(prober.stop_by("TERM"), Some(0), "{}", prober.log());

        let mut watch = scan.start("export --watch");
        assert!(wait_for(WITHIN, || watch.log().contains("scanned")), "{}", watch.log());
        assert_eq!(watch.stop_by("TERM"), Some(0), "{}", watch.log_tail());
        let all = run.service("run");
        let has = |text: &str| all.log().contains(text);
        assert!(wait_for(WITHIN, || has("scanned") && has("crawled")), "{}", all.log());
        all.stop();
        world.portolan.done("host remove us.mirror.test");

        let log = postgres.log();
        assert!(!log.contains("permission denied"), "{log}");
        for (role, sql) in FORBIDDEN {
            assert!(!postgres.may(role, "portolan", sql), "{role} may {sql}");
        }
    });
}
