//! A distribution that runs MirrorManager points Portolan at it.

use std::time::{Duration, Instant};

use crate::rig::image::{self, Image, LAYERS};
use crate::rig::namespace::{self, CLIENT_DE, REGISTRY};
use crate::rig::nginx::{Nginx, Scheme};
use crate::rig::postgres::Postgres;
use crate::rig::program::{command, finish, wait_for};
use crate::rig::server::{Reply, Request, Server};
use crate::rig::world::{self, Engine, World};
use crate::rig::{aria2, http, librepo, origin};

const FIXTURE: &str = include_str!("../data/mirrormanager.sql");

/// What people are told to do.
const GUIDE: &str = include_str!("../../docs/mirrormanager.md");

/// One mirror that is there, and a private host with a name for a network.
const NETWORK: &str = "UPDATE category SET name = 'Containers' WHERE id = 2; \
     DELETE FROM host_category_url WHERE host_category_id NOT IN (1, 5) OR id = 2; \
     DELETE FROM host_category WHERE id NOT IN (1, 5); DELETE FROM host_netblock WHERE id = 5; \
     UPDATE host SET name = 'de.mirror.test' WHERE id = 1; \
     UPDATE host_category_url SET url = 'https://de.mirror.test/pub/' WHERE id = 1";

/// Where notices go.
const HOOK: &str = "192.0.2.6:8080";

/// Two turns of the watch, and a server's.
const SEEN_WITHIN: Duration = Duration::from_secs(6);

on_both_engines!(the_mirrors_of_mirrormanager_serve_containers, |namespace, engine| {
    let world = World::new(namespace, engine);
    let own = world.postgres.is_none().then(|| Postgres::start(namespace));
    let postgres = world.postgres.as_ref().or(own.as_ref()).unwrap();
    postgres.query("postgres", "CREATE DATABASE mirrormanager");
    postgres.query("mirrormanager", FIXTURE);
    postgres.query("mirrormanager", NETWORK);
    // As the guide has it: this role may read what the import reads, and no more.
    let role = step("sql").replace("LOGIN PASSWORD '…'", "LOGIN").replace("portolan", "reader");
    postgres.query("mirrormanager", &role);
    let images = [Image::new("fedora", "amd64", &LAYERS), Image::new("fedora", "arm64", &LAYERS)];
    image::push_index(origin::URL, "fedora", "latest", &images);
    images[0].push(origin::URL, "single", "latest");
    world.publish();
    let mirror = Nginx::start(namespace, "de.mirror.test", Scheme::Https);
    world.fill(&mirror.root());

    let hook = Server::start(HOOK, None, |_| Reply::new(204, "text/plain", ""));
    world
        .portolan
        .configure("[serve]\n", &format!("[notice]\nwebhook = \"http://{HOOK}/notices\"\n[serve]\n"));
    let url = postgres.url_of("reader").replace("/portolan?", "/mirrormanager?");
    assert!(!postgres.may("reader", "mirrormanager", "UPDATE host SET country = 'SE'"));
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
    check_notices(&hook, &[("added", "de.mirror.test"), ("added", "inside"), ("changed", "de.mirror.test")]);

    world.crawl();
    let serve = world.portolan.serve();
    namespace::connect_from(CLIENT_DE, REGISTRY);
    clients_download(&world, &images[0]);
    strangers_ask_for_themselves();
    former_names_are_answered(&world);
    a_mirror_reports(&world, &mirror);

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
    check_notices(&hook, &[("disabled", "de.mirror.test"), ("re-enabled", "de.mirror.test")]);

    // The same by the configuration, in one process.
    let watch = format!("[mirrormanager]\ndatabase_url = \"{url}\"\nwatch = \"1s\"\n");
    let mapping = "[mirrormanager.categories]\n\"Containers\" = []\n";
    world.portolan.configure("[serve]\n", &format!("{watch}{mapping}[serve]\n"));
    let run = world.portolan.service("run");
    postgres.query("mirrormanager", "DELETE FROM host_category_url WHERE host_category_id = 1");
    postgres.query("mirrormanager", "DELETE FROM host_category WHERE id = 1");
    assert!(wait_for(SEEN_WITHIN, || !list().contains("de.mirror.test")), "{}", run.log());
    assert!(wait_for(SEEN_WITHIN, || notices(&hook).contains(&named("opted-out", "de.mirror.test"))));
    run.stop();
});

/// The commands of the guide in this language.
fn step(language: &str) -> String {
    let (_, rest) = GUIDE.split_once(&format!("```{language}\n")).expect("commands");
    rest.split("```").next().unwrap().to_owned()
}

fn named(event: &str, host: &str) -> (String, String) {
    (event.to_owned(), host.to_owned())
}

/// Event and host of each notice, in their order.
fn notices(hook: &Server) -> Vec<(String, String)> {
    let read = |it: &Request| -> serde_json::Value { serde_json::from_slice(&it.body).expect("a notice") };
    let text = |it: &serde_json::Value| it.as_str().unwrap_or_default().to_owned();
    hook.requests().iter().map(read).map(|it| (text(&it["event"]), text(&it["host"]))).collect()
}

/// Exactly these have come since the last time.
#[track_caller]
fn check_notices(hook: &Server, expected: &[(&str, &str)]) {
    let expected: Vec<_> = expected.iter().map(|it| named(it.0, it.1)).collect();
    assert_eq!(notices(hook), expected);
    hook.forget_requests();
}

/// Who is no trusted proxy can name no other address.
fn strangers_ask_for_themselves() {
    let list =
        |query: &str| http::get(&format!("https://registry.test/mirrorlist?repo=fedora{query}"), &[]).text();
    assert!(list("").lines().next().unwrap().ends_with("country = DE"), "{}", list(""));
    assert_eq!(list("&ip=203.0.113.5"), list(""));
    // A single image is of its own platform, or of none.
    let single =
        |arch| http::get(&format!("https://registry.test/mirrorlist?repo=single&arch={arch}"), &[]).status;
    assert_eq!((single("x86_64"), single("aarch64")), (200, 404));
}

fn former_names_are_answered(world: &World<'_>) {
    let status = || http::get("https://registry.test/v2/former/manifests/latest", &[]).status;
    assert_eq!(status(), 404);
    world.portolan.done("content alias former fedora --for 1h");
    assert!(wait_for(SEEN_WITHIN, || status() == 200));
    let aliases = world.portolan.json("content aliases");
    let listed = aliases.as_array().unwrap().iter().find(|it| it["alias"] == "former").unwrap();
    assert!(listed["repository"] == "fedora" && listed["expires_at"].is_string(), "{listed}");
    assert!(
        world
            .portolan
            .run("content unalias old/fedora")
            .expect_failure()
            .contains("comes from MirrorManager")
    );
    world.portolan.done("content unalias former");
    assert!(wait_for(SEEN_WITHIN, || status() == 404));
}

/// The lines that take the place of report_mirror.
fn a_mirror_reports(world: &World<'_>, mirror: &Nginx) {
    let token = world.portolan.done("host token create de.mirror.test");
    let token = token.split_whitespace().find(|it| it.len() > 30).expect("a token");
    let place = world::place(&mirror.root());
    let lines = step("sh").replace("TOKEN=…", &format!("TOKEN={token}"));
    let lines = lines.replace("/var/www/html/containers", place.to_str().unwrap());
    let lines = lines
        .replace("registry.example.org", "registry.test")
        .replace("mirror.example.org", "de.mirror.test");
    let mut sh = command("dash");
    sh.args(["-e", "-c", &lines]);
    let answer = finish(sh).expect_success();
    assert!(answer.contains("\"message\""), "{answer}");
}

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

/// `make test-tls` runs it.
#[cfg(feature = "pg-tls")]
#[test]
fn the_import_reads_by_tls() {
    namespace::enter(|namespace| {
        let world = World::new(namespace, Engine::Sqlite);
        Image::new("fedora", "amd64", &LAYERS).push(origin::URL, "fedora", "latest");
        world.publish();
        let mut postgres = Postgres::start(namespace);
        postgres.query("postgres", "CREATE DATABASE mirrormanager");
        postgres.query("mirrormanager", FIXTURE);
        postgres.query("mirrormanager", NETWORK);
        let name = "token.test";
        postgres.listen_with_tls(name, &namespace.authority.issue(&[name]));
        let authority = namespace.folder.join("authority.pem");
        std::fs::write(&authority, namespace.authority.certificate()).unwrap();
        let import = |host: &str, options: &str| {
            let url = format!("postgres://portolan@{host}/mirrormanager?{options}");
            world.portolan.run(&format!("import mirrormanager --database-url {url} --category Containers"))
        };
        let trusted = format!("sslmode=verify-full&sslrootcert={}", authority.display());
        let wrong_name = import("192.0.2.6", &trusted).expect_failure();
        assert!(wrong_name.contains("certificate"), "{wrong_name}");
        let plain = import(name, "sslmode=disable").expect_failure();
        assert!(plain.contains("pg_hba.conf"), "{plain}");
        let other = authority.with_file_name("portolan").join("portolan.toml");
        import(name, &format!("sslmode=verify-full&sslrootcert={}", other.display())).expect_failure();
        assert_eq!(world.portolan.json("host list").as_array().unwrap().len(), 0);
        import(name, &trusted).expect_success();
        assert_eq!(world.portolan.json("host show de.mirror.test")["mirrormanager_id"], 1);
    });
}
