//! `deploy/mirror/portolan-sync.sh`: what a mirror's admin runs, and reads when it fails.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::rig::dice::Dice;
use crate::rig::http;
use crate::rig::image::Image;
use crate::rig::namespace::{self, CLIENT_DE, Namespace, REGISTRY};
use crate::rig::nginx::{Nginx, Scheme};
use crate::rig::program::{Program, run, wait_for};
use crate::rig::sync::Sync;
use crate::rig::world::{CATEGORY, Engine, World, place};
use crate::rig::{origin, rsync, tree};

/// How often a copy is killed in its middle.
const KILLS: usize = 20;

/// No copy of the rig's images takes longer than this at the speed that the test sets.
const LONGEST: usize = 1_500;

/// A server, an rsync daemon over the tree, and an empty mirror with its script.
fn start<'a>(namespace: &'a Namespace, categories: &str) -> (World<'a>, Program, Nginx, Sync) {
    let world = World::new(namespace, Engine::Sqlite);
    world.portolan.configure("[crawl]\ninterval = \"1s\"", "[crawl]\ninterval = \"1h\"");
    // With the files of a registry: more kinds of files to copy.
    world.portolan.configure("tags = [\"*\"]", "tags = [\"*\"]\nregistry = true");
    let other = "[[category]]\nname = \"other\"\nrepositories = [\"other\"]\n[export]";
    world.portolan.configure("[export]", other);
    Image::ordinary("fedora").push(origin::URL, "fedora", "latest");
    Image::ordinary("other").push(origin::URL, "other", "latest");
    world.publish();
    let daemon = rsync::daemon(namespace, "registry.test", &world.portolan.folder.join("tree"));
    let mirror = world.mirror("de.mirror.test", Scheme::Https, "");
    fs::create_dir_all(mirror.root().join("pub")).unwrap();
    let sync = Sync::new(namespace, &mirror.root().join("pub"), categories);
    (world, daemon, mirror, sync)
}

/// Every file below a folder, with its content's digest.
fn list_files(folder: &Path) -> HashMap<String, String> {
    let listed = run("find", &[folder.to_str().unwrap(), "-type", "f", "-printf", "%P\n"]);
    let read = |it: &str| crate::rig::image::digest(&fs::read(folder.join(it)).unwrap());
    listed.lines().map(|it| (it.to_owned(), read(it))).collect()
}

#[test]
fn the_script_is_plain_posix_shell() {
    namespace::enter(|namespace| {
        let sync = Sync::new(namespace, &namespace.folder, CATEGORY);
        let help = sync.run(&["--help"]).expect_success();
        for part in ["--dry-run", "token_file=", "bandwidth=", "exit code"] {
            assert!(help.contains(part), "{part} is not in {help}");
        }
        let script = sync.command(&[]).get_args().next().unwrap().to_str().unwrap().to_owned();
        run("dash", &["-n", &script]);
        run("shellcheck", &["--shell=sh", &script]);
    });
}

#[test]
fn nothing_new_is_one_request_and_something_new_is_reported_and_crawled() {
    namespace::enter(|namespace| {
        let (world, daemon, mirror, sync) = start(namespace, CATEGORY);
        let service = world.portolan.service("serve");
        let _crawler = world.portolan.start("crawl");
        let is = |state: &str| {
            let shown = world.portolan.json("host show de.mirror.test");
            shown["categories"][0]["state"].as_str() == Some(state)
        };
        assert!(wait_for(Duration::from_secs(30), || is("behind")), "it was not crawled at first");
        let token = world.portolan.json("host token create de.mirror.test")["token"].take();
        sync.report("de.mirror.test", token.as_str().unwrap());

        let printed = sync.run(&["--dry-run"]).expect_success();
        assert!(printed.contains("containers/repositories.json"), "{printed}");
        assert!(!place(&mirror.root()).exists(), "a dry run copied something");

        sync.run(&[]).expect_success();
        assert_eq!(list_files(&place(&mirror.root())), list_files(&world.category()));
        assert!(!mirror.root().join("pub/other").exists(), "it was not chosen");
        assert!(sync.log().contains("reported to https://registry.test"), "{}", sync.log());
        assert!(wait_for(Duration::from_secs(10), || is("up-to-date")), "the report led to no crawl");

        let requests = || service.log().matches("portolan::access").count();
        let connections = || daemon.log().matches("connect from").count();
        let before = (requests(), connections());
        sync.run(&[]).expect_success();
        assert!(sync.log().lines().last().unwrap().contains("nothing new"), "{}", sync.log());
        assert!(wait_for(Duration::from_secs(5), || requests() > before.0), "{}", service.log());
        assert_eq!((requests(), connections()), (before.0 + 1, before.1), "{}", service.log());
        assert!(service.log().lines().last().unwrap().contains("status=304"), "{}", service.log());

        // Another category is chosen, too. A file in both is one on this disk.
        let url = "https://de.mirror.test/pub/other";
        world.portolan.done(&format!("host opt-in de.mirror.test other --url {url}"));
        sync.configure(&format!("categories={CATEGORY} other"));
        sync.run(&[]).expect_success();
        let other = mirror.root().join("pub/other");
        assert_eq!(list_files(&other), list_files(&world.portolan.category("other")));
        let layer = tree::blob_path(&world.origin.layers("other", "latest")[0]);
        let inode =
            |folder: &Path| std::os::unix::fs::MetadataExt::ino(&fs::metadata(folder.join(&layer)).unwrap());
        assert_eq!(inode(&other), inode(&place(&mirror.root())));

        // What was lost here comes back when it is asked for.
        fs::remove_file(other.join(&layer)).unwrap();
        sync.run(&[]).expect_success();
        assert!(!other.join(&layer).exists());
        sync.run(&["--force"]).expect_success();
        assert!(other.join(&layer).exists());
        service.stop();
    });
}

#[test]
fn a_host_that_no_crawler_reaches_is_believed_by_its_reports() {
    namespace::enter(|namespace| {
        let (world, _daemon, mirror, sync) = start(namespace, CATEGORY);
        world.portolan.done("host edit de.mirror.test --private true");
        world.portolan.done(&format!("netblock add de.mirror.test {CLIENT_DE}/32"));
        let service = world.portolan.service("serve");
        namespace::connect_from(CLIENT_DE, REGISTRY);
        let token = world.portolan.json("host token create de.mirror.test")["token"].take();
        sync.report("de.mirror.test", token.as_str().unwrap());
        let layer = world.origin.layers("fedora", "latest").swap_remove(0);
        let is_sent = || {
            let answer = http::get(&format!("https://registry.test/v2/fedora/blobs/{layer}"), &[]);
            answer.header("location").is_some_and(|it| it.starts_with("https://de.mirror.test/"))
        };
        let reports = || service.log().matches("/report").count();

        // That it came is no proof; nobody was there to see it.
        sync.run(&[]).expect_success();
        assert!(place(&mirror.root()).join("zz/serial").exists());
        assert_eq!(reports(), 1);
        assert!(!is_sent(), "it is believed without a crawl and without the inventory's digest");

        // With the digest it is believed. Nothing is new, and it says so all the same: else it would be forgotten.
        sync.configure("private=yes");
        for number in [2, 3] {
            sync.run(&[]).expect_success();
            assert!(sync.log().contains("nothing new") && reports() == number, "{}", sync.log());
            assert!(
                wait_for(Duration::from_secs(10), is_sent),
                "its report is not believed: {}",
                service.log()
            );
        }
        let (state, held) = world.found("de.mirror.test");
        assert_eq!((state.as_str(), held > 0), ("up-to-date", true));
        service.stop();
    });
}

/// All inventories that were published, by their digest.
type Inventories = HashMap<String, String>;

fn remember(inventories: &mut Inventories, category: &Path) {
    let inventory = fs::read(category.join("zz/inventory")).unwrap();
    let digest = crate::rig::image::digest(&inventory);
    inventories.insert(digest, String::from_utf8(inventory).unwrap());
}

/// The serial names an inventory all of whose files are there, with their sizes. Gives how many these are.
#[track_caller]
fn check_serial(inventories: &Inventories, mirror: &Path) -> usize {
    let Ok(line) = fs::read_to_string(mirror.join("zz/serial")) else { return 0 };
    let (serial, hex) = line.trim_end().split_once(' ').expect("SERIAL HEX");
    let inventory = &inventories[&format!("sha256:{hex}")];
    let entries = inventory.lines().filter(|it| !it.starts_with('#'));
    let check = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let path = mirror.join(tree::blob_path(&format!("sha256:{}", words[0])));
        let size =
            fs::metadata(&path).unwrap_or_else(|e| panic!("serial {serial}: {}: {e}", path.display())).len();
        assert_eq!(size.to_string(), words[1], "serial {serial}: {}", path.display());
    };
    entries.map(check).count()
}

#[test]
fn killed_at_20_moments_it_never_claims_what_is_not_there() {
    namespace::enter(|namespace| {
        let started = Instant::now();
        let mut dice = Dice::new();
        let (world, _daemon, mirror, sync) = start(namespace, CATEGORY);
        // What no tag leads to goes at once, so that files vanish in every round.
        world.portolan.configure("path = \"tree\"", "path = \"tree\"\nkeep_former = \"0s\"");
        let service = world.portolan.service("serve");
        sync.configure("bandwidth=300k");
        let (category, copied) = (world.category(), place(&mirror.root()));
        let mut inventories = Inventories::new();
        let publish = |inventories: &mut Inventories, round: usize| {
            let sizes: Vec<usize> = (0..8).map(|it| 50_000 + 1_000 * it).collect();
            Image::new(&format!("new{round}"), "amd64", &sizes).push(origin::URL, "app", "latest");
            let mut export = world.portolan.start("export");
            wait_for(Duration::from_secs(30), || {
                remember(inventories, &category);
                check_serial(inventories, &copied);
                export.has_ended()
            });
            remember(inventories, &category);
            world.portolan.done("scan");
        };
        let (mut stops, mut round) = (0, 0);
        while stops < KILLS {
            round += 1;
            assert!(round <= 3 * KILLS, "too many were through: only {stops} were killed");
            if tree::serial(&copied) == tree::serial(&category) {
                publish(&mut inventories, round);
            }
            let mut copy = Program::start("portolan-sync", &namespace.folder, sync.command(&["--force"]));
            if round % 4 == 1 {
                publish(&mut inventories, 3 * KILLS + round); // while it is copied
            }
            let moment = Duration::from_millis(dice.throw(LONGEST) as u64);
            let ended = wait_for(moment, || {
                check_serial(&inventories, &copied);
                copy.has_ended()
            });
            stops += usize::from(!ended);
            copy.kill();
            check_serial(&inventories, &copied);
        }
        println!("{stops} kills of {round} runs, checked in {:?}", started.elapsed());
        sync.run(&[]).expect_success();
        assert_eq!(list_files(&copied), list_files(&category));
        assert!(check_serial(&inventories, &copied) > 0);
        tree::check(&copied);
        service.stop();
    });
}

#[test]
fn a_second_run_is_refused_by_the_lock() {
    namespace::enter(|namespace| {
        let (_world, _daemon, mirror, sync) = start(namespace, CATEGORY);
        sync.configure("bandwidth=500k");
        let mut first = Program::start("portolan-sync", &namespace.folder, sync.command(&[]));
        let lock = mirror.root().join("pub/.portolan-sync/unfinished");
        first.wait_until("copy under way", || lock.exists());
        let second = sync.run(&[]);
        assert_eq!(second.code, Some(4), "{second}");
        assert!(sync.log().contains("another run is at work on"), "{second}");
        assert_eq!(second.stderr, "", "a mail every five minutes while a long copy is under way");
        first.kill();
        sync.configure("bandwidth=");
        sync.run(&[]).expect_success();
    });
}

#[test]
fn its_faults_say_what_to_do() {
    namespace::enter(|namespace| {
        let (world, mut daemon, mirror, sync) = start(namespace, CATEGORY);
        let check = |code: i32, parts: &[&str]| {
            let finished = sync.run(&[]);
            assert_eq!(finished.code, Some(code), "{finished}");
            assert_eq!(finished.stdout, "");
            for part in parts {
                assert!(finished.stderr.contains(part), "{part} is missing: {finished}");
            }
        };
        // The registry is down: the copy does not wait for it.
        let down = "https://registry.test does not tell the newest serials (Failed to connect";
        check(0, &[down]);
        assert_eq!(list_files(&place(&mirror.root())), list_files(&world.category()));
        let service = world.portolan.service("serve");

        // Slips in the settings.
        for (lines, parts) in [
            ("categories=containerss", ["there is no category containerss", "see categories in"]),
            ("categories=../etc", ["`../etc` is no category's name", ""]),
            ("destination=/none/such", ["/none/such is no folder", ""]),
            ("registry=registry.test", ["registry must be a URL", ""]),
            ("bandwidth=fast", ["bandwidth: `fast` is none", ""]),
            ("tokenfile=x", ["there is no setting `tokenfile`", "line "]),
            ("source=$(touch /run/executed)", ["is no place that rsync knows", ""]),
            ("categories=$(touch /run/executed)", ["is no category's name", ""]),
            ("a line of prose", ["a line is KEY=VALUE", "line "]),
        ] {
            let sync = Sync::new(namespace, &mirror.root().join("pub"), CATEGORY);
            sync.configure(lines);
            let failed = sync.run(&[]);
            assert!(failed.code == Some(1) && parts.iter().all(|it| failed.stderr.contains(it)), "{failed}");
        }
        assert!(!Path::new("/run/executed").exists(), "a setting was executed");
        assert_eq!(sync.run(&["--frce"]).code, Some(2));
        Sync::new(namespace, &mirror.root().join("pub"), CATEGORY);

        // A wrong token. The copy is done all the same.
        Image::ordinary("new").push(origin::URL, "new", "latest");
        world.publish();
        let serial = tree::serial(&world.category());
        let is_told = || {
            let asked = format!("https://registry.test/api/v1/serials?category={CATEGORY}");
            run("curl", &["-sS", &asked]).contains(&serial.unwrap().to_string())
        };
        assert!(wait_for(Duration::from_secs(10), is_told), "serve does not know the new serial");
        sync.report("de.mirror.test", "not-a-token");
        check(3, &["containers is copied, but", "a token that is valid", "ask the operators for a new one"]);
        assert_eq!(tree::serial(&place(&mirror.root())), serial);
        assert!(!sync.log().contains("not-a-token"));

        // The disk is full: nothing is claimed, and what is there stays right.
        let full = mirror.root().join("full");
        fs::create_dir(&full).unwrap();
        let path = full.to_str().unwrap();
        run("mount", &["-t", "tmpfs", "-o", "size=1m", "tmpfs", path]);
        sync.configure(&format!("destination={path}"));
        check(1, &["No space left on device", "if the disk is full", "KiB are free"]);
        assert_eq!(tree::serial(&full.join(CATEGORY)), None);
        run("mount", &["-o", "remount,size=100m", path]);
        let token = world.portolan.json("host token create de.mirror.test")["token"].take();
        sync.report("de.mirror.test", token.as_str().unwrap());
        check(0, &[]);
        assert_eq!(list_files(&full.join(CATEGORY)), list_files(&world.category()));

        // The rsync server has another module; then it is down.
        sync.configure("source=rsync://registry.test/pubb");
        let forced = sync.run(&["--force"]);
        assert!(forced.stderr.contains("Unknown module 'pubb'") && forced.code == Some(1), "{forced}");
        sync.configure("source=rsync://registry.test/pub");
        daemon.kill();
        let forced = sync.run(&["--force"]);
        let parts = ["no connection to rsync://registry.test/pub", "Connection refused"];
        assert!(forced.code == Some(1) && parts.iter().all(|it| forced.stderr.contains(it)), "{forced}");
        service.stop();
    });
}
