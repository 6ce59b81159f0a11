//! The tree and its disk: damaged files, a full disk, mirrors without hard links.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use crate::rig::http;
use crate::rig::image::{self, Image, OCI_CONFIG, OCI_MANIFEST};
use crate::rig::namespace;
use crate::rig::nginx::{Nginx, Scheme};
use crate::rig::origin;
use crate::rig::portolan::Portolan;
use crate::rig::program::{command, finish, run};
use crate::rig::rsync;
use crate::rig::tree;
use crate::rig::world::{CATEGORY, Engine, World};

/// How much more than its content a mirror of categories may have on its disk.
const DISK: f64 = 1.02;

/// The rig's category in the configuration.
const CONFIGURED: &str = "name = \"containers\"\nrepositories = [\"*\", \"*/*\"]\ntags = [\"*\"]";

/// Some time ago: rsync compares times by whole seconds.
fn age(path: &Path) {
    let file = File::options().write(true).open(path).unwrap();
    let time = file.metadata().unwrap().modified().unwrap();
    file.set_modified(time - Duration::from_secs(60)).unwrap();
}

/// As a bad disk does it: one bit, and no time tells of it.
fn flip(path: &Path) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let (time, middle) = (file.metadata().unwrap().modified().unwrap(), file.metadata().unwrap().len() / 2);
    let mut byte = [0];
    file.read_exact_at(&mut byte, middle).unwrap();
    file.write_all_at(&[byte[0] ^ 1], middle).unwrap();
    file.set_modified(time).unwrap();
}

#[test]
fn what_went_bad_is_brought_in_again_under_a_new_time() {
    namespace::enter(|namespace| {
        let world = World::new(namespace, Engine::Sqlite);
        let portolan = &world.portolan;
        let second = "name = \"second\"\nrepositories = [\"app\"]\ntags = [\"*\"]";
        portolan.configure(CONFIGURED, &format!("{CONFIGURED}\n[[category]]\n{second}"));
        let [old, new] = ["old", "new"].map(|it| Image::new(it, "amd64", &[1_200_000, 50_000]));
        old.push(origin::URL, "app", "latest");
        portolan.done("export");
        new.push(origin::URL, "app", "latest"); // no tag leads to the old one any more
        portolan.done("export");
        let (category, mirror) = (world.category(), namespace.folder.join("mirror"));
        let bad =
            [old.blobs()[1], old.manifest.as_slice(), new.blobs()[1], new.blobs()[2]].map(image::digest);
        let paths = bad.each_ref().map(|it| category.join(tree::blob_path(it)));
        paths.iter().for_each(|it| age(it));
        rsync::copy(&category, &mirror);
        let time = |path: &PathBuf| fs::metadata(path).unwrap().modified().unwrap();
        let before = paths.each_ref().map(time);
        for path in &paths {
            flip(path);
            flip(&mirror.join(path.strip_prefix(&category).unwrap()));
        }
        assert!(portolan.done("export").contains("nothing new"), "size and time are as they were");

        let summary = portolan.json("export --verify");
        let damaged = summary["verified"]["damaged"].as_array().unwrap().iter();
        let damaged: BTreeSet<_> = damaged.map(|it| it["digest"].as_str().unwrap()).collect();
        assert_eq!(damaged, bad.iter().map(String::as_str).collect(), "{summary:#}");
        for name in [CATEGORY, "second"] {
            tree::check(&portolan.category(name));
        }
        for (path, before) in paths.iter().zip(before) {
            assert!(time(path) > before, "rsync would not see that {} is another", path.display());
            let name = path.file_name().unwrap().to_str().unwrap();
            let below = Path::new("sha256").join(&name[..2]).join(name);
            let pool = portolan.folder.join("tree/.portolan/pool").join(&below);
            let second = portolan.category("second").join("blobs").join(&below);
            let inode = |path: &Path| fs::metadata(path).unwrap().ino();
            assert!(inode(&pool) == inode(path) && inode(path) == inode(&second), "{name} is not linked");
        }
        rsync::copy(&category, &mirror);
        tree::check(&mirror);
        let summary = portolan.json("export --verify");
        assert_eq!(summary["verified"]["damaged"], json!([]));

        // The origin has forgotten it: nobody gets wrong bytes, and the command says what is lost.
        let lost = image::digest(old.blobs()[2]);
        flip(&category.join(tree::blob_path(&lost)));
        let path = format!("/v2/app/blobs/{lost}");
        finish(curl(&["-X", "DELETE", &format!("{}{path}", origin::URL)])).expect_success();
        let printed = portolan.run("export --verify").expect_failure();
        assert!(
            printed.contains(&format!("{lost}, to which no tag leads, was damaged and is lost")),
            "{printed}"
        );
        tree::check(&category);
        assert!(!tree::list_digests(&category).contains(&lost));
        assert!(tree::list_digests(&category).contains(&image::digest(new.blobs()[2])));
    });
}

fn curl(arguments: &[&str]) -> std::process::Command {
    let mut curl = command("curl");
    curl.args(["--fail", "--silent", "--show-error"]).args(arguments);
    curl
}

#[test]
fn a_full_disk_leaves_a_whole_tree() {
    namespace::enter(|namespace| {
        let world = World::new(namespace, Engine::Sqlite);
        let (portolan, category) = (&world.portolan, world.category());
        let folder = portolan.folder.join("tree");
        fs::create_dir_all(&folder).unwrap();
        let mount =
            |options: &str| run("mount", &["-t", "tmpfs", "-o", options, "tmpfs", folder.to_str().unwrap()]);
        mount("size=24m");
        Image::new("first", "amd64", &[300_000]).push(origin::URL, "first", "latest");
        portolan.done("export");

        Image::new("large", "amd64", &[9_000_000]).push(origin::URL, "large", "latest");
        Image::new("small", "amd64", &[200_000]).push(origin::URL, "small", "latest");
        let printed = portolan.run("export").expect_failure();
        assert!(printed.contains("not exported: large:latest") && printed.contains("make room"), "{printed}");
        let exported = |portolan: &Portolan| -> Vec<String> {
            tree::check(&category);
            let temporary = fs::read_dir(folder.join(".portolan/tmp")).unwrap().count();
            assert_eq!(temporary, 0, "temporary files were left");
            tree::repositories(&portolan.category(CATEGORY)).into_keys().collect()
        };
        assert_eq!(exported(portolan), ["first", "small"], "what has room comes");
        portolan.done("scan");

        // Somebody else fills it to the last byte, and the next export has something to write.
        let mut junk = command("dd");
        junk.args(["if=/dev/zero", "bs=64k", &format!("of={}", folder.join(".portolan/junk").display())]);
        assert!(!finish(junk).success(), "the disk is not full");
        Image::new("first", "amd64", &[300_000]).push(origin::URL, "first", "other-tag");
        let printed = portolan.run("export").expect_failure();
        assert!(printed.contains("No space left on device"), "{printed}");
        assert_eq!(exported(portolan), ["first", "small"]);
        portolan.done("scan");

        fs::remove_file(folder.join(".portolan/junk")).unwrap();
        mount("remount,size=100m");
        portolan.done("export");
        assert_eq!(exported(portolan), ["first", "large", "small"]);
    });
}

#[test]
fn without_hard_links_there_is_a_clear_error_or_there_are_copies() {
    namespace::enter(|namespace| {
        let world = World::new(namespace, Engine::Sqlite);
        let portolan = &world.portolan;
        Image::new("app", "amd64", &[50_000]).push(origin::URL, "app", "latest");
        let printed = portolan.run_without_links("export").expect_failure();
        assert!(printed.contains("has no hard links") && printed.contains("tree.hard_links"), "{printed}");
        assert!(!world.category().exists(), "nothing was begun");
        portolan.configure("path = \"tree\"", "path = \"tree\"\nhard_links = false");
        portolan.run_without_links("export").expect_success();
        let category = world.category();
        tree::check(&category);
        assert!(portolan.run_without_links("export").expect_success().contains("nothing new"));
        let bad = category.join(tree::blob_path(&tree::list_digests(&category)[0]));
        flip(&bad);
        let before = fs::metadata(&bad).unwrap().modified().unwrap();
        portolan.run_without_links("export --verify").expect_success();
        tree::check(&category);
        assert!(fs::metadata(&bad).unwrap().modified().unwrap() > before);
        portolan.done("scan");
    });
}

/// More than 32 bits count, and no whole number of pieces.
const LARGE: u64 = (4 << 30) + 5;

#[test]
fn a_file_of_more_than_four_gibibytes_is_carried() {
    namespace::enter(|namespace| {
        let world = World::new(namespace, Engine::Sqlite);
        let file = namespace.folder.join("sparse");
        File::create(&file).unwrap().set_len(LARGE).unwrap();
        let digest = world.origin.adopt("large", &file);
        let config = b"{}";
        image::push_blob(origin::URL, "large", config);
        let layer = json!({"mediaType": "application/vnd.test.image", "digest": digest, "size": LARGE});
        let manifest = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST,
            "config": image::descriptor(OCI_CONFIG, config), "layers": [layer],
        });
        let bytes = manifest.to_string().into_bytes();
        image::push_manifest(origin::URL, "large", "latest", OCI_MANIFEST, &bytes);
        world.publish();
        assert_eq!(fs::metadata(world.category().join(tree::blob_path(&digest))).unwrap().len(), LARGE);
        let summary = world.portolan.json("export --verify");
        assert_eq!(summary["verified"]["damaged"], json!([]));
        assert_eq!(summary["cut"], 0, "it has had its pieces since it came");
        let serve = world.portolan.serve();
        let url = format!("https://registry.test/v2/large/blobs/{digest}");
        let head = http::head(&url, &[]);
        assert_eq!(head.header("content-length"), Some(LARGE.to_string().as_str()));
        let end = http::get(&url, &[&format!("Range: bytes={}-", LARGE - 3)]);
        assert_eq!((end.status, end.body.as_slice()), (206, [0; 3].as_slice()));
        let url = format!("https://registry.test/metalink?repo=large&digest={digest}&version=4");
        let document = http::get(&url, &[]).text();
        assert!(document.contains("<pieces length=\"33554432\""), "{document}");
        assert_eq!(document.matches("<hash>").count(), 129);
        serve.stop();
    });
}

/// Bytes of all files below `folder`; what is linked hard counts once, and links of names not at all.
fn disk_use(folder: &Path, seen: &mut BTreeSet<u64>) -> u64 {
    let mut bytes = 0;
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let metadata = fs::symlink_metadata(entry.path()).unwrap();
        if metadata.is_dir() {
            bytes += disk_use(&entry.path(), seen);
        } else if metadata.is_file() && seen.insert(metadata.ino()) {
            bytes += metadata.len();
        }
    }
    bytes
}

fn rsync_command(arguments: &[&str]) {
    let mut rsync = command("rsync");
    rsync.args(arguments);
    finish(rsync).expect_success();
}

/// Three categories with two images each, of which they share one, and the category of all.
fn publish_three(world: &World) {
    let category =
        |name: &str| format!("name = \"{name}\"\nrepositories = [\"shared\", \"{name}\"]\ntags = [\"*\"]");
    let three = ["one", "two", "three"].map(category).join("\n[[category]]\n");
    world.portolan.configure(CONFIGURED, &three);
    world.portolan.configure("path = \"tree\"", "path = \"tree\"\nall = true");
    for name in ["shared", "one", "two", "three"] {
        Image::ordinary(name).push(origin::URL, name, "latest");
    }
    world.publish();
}

#[test]
fn a_mirror_without_hard_links_has_each_file_of_its_categories_once() {
    namespace::enter(|namespace| {
        let world = World::new(namespace, Engine::Sqlite);
        publish_three(&world);
        let folder = world.portolan.folder.join("tree");
        let _daemon = rsync::daemon(namespace, "registry.test", &folder);
        let source = "rsync://registry.test/pub/";
        let mirror = Nginx::start(namespace, "de.mirror.test", Scheme::Https);
        let (all, list) = (mirror.root().join("all"), namespace.folder.join("list"));
        let sync = || {
            let lists = ["one", "two"].map(|it| {
                let (from, to) = (format!("{source}all/lists/{it}"), namespace.folder.join(it));
                rsync_command(&["-t", &from, to.to_str().unwrap()]);
                fs::read_to_string(to).unwrap()
            });
            fs::write(&list, lists.concat()).unwrap();
            let files = format!("--files-from={}", list.display());
            rsync_command(&["-rlpt", &files, source, mirror.root().to_str().unwrap()]);
        };
        sync();
        let content: BTreeSet<String> =
            ["one", "two"].iter().flat_map(|it| tree::list_digests(&world.portolan.category(it))).collect();
        let size =
            |digest: &String| fs::metadata(folder.join("all").join(tree::blob_path(digest))).unwrap().len();
        let (bytes, used) =
            (content.iter().map(size).sum::<u64>(), disk_use(&mirror.root(), &mut BTreeSet::new()));
        println!("{bytes} bytes of content, {used} on the mirror's disk");
        assert!(used as f64 <= bytes as f64 * DISK, "{used} bytes for {bytes}");
        for name in ["one", "two"] {
            tree::check(&all.join("categories").join(name));
        }
        let held: BTreeSet<_> = tree::list_digests(&all).into_iter().collect();
        assert_eq!(held, content, "nothing of the third category");

        // Its web server follows the link, so that each category has a URL.
        world.portolan.done("host add de.mirror.test --site volunteers --country DE");
        for name in ["one", "two"] {
            let url = format!("https://de.mirror.test/all/categories/{name}");
            world.portolan.done(&format!("host opt-in de.mirror.test {name} --url {url}"));
        }
        let states = || -> Vec<String> {
            world.crawl();
            let shown = world.portolan.json("host show de.mirror.test");
            let categories = shown["categories"].as_array().unwrap().iter();
            categories.map(|it| it["state"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(states(), ["up-to-date", "up-to-date"]);
        Image::new("newer", "amd64", &[100_000]).push(origin::URL, "two", "latest");
        world.publish();
        sync();
        assert_eq!(states(), ["up-to-date", "up-to-date"]);
    });
}

#[test]
fn a_second_tree_by_rsync_is_the_same_tree() {
    namespace::enter(|namespace| {
        let world = World::new(namespace, Engine::Sqlite);
        publish_three(&world);
        let (first, second) = (world.portolan.folder.join("tree"), namespace.folder.join("second"));
        let check = || {
            let from = format!("{}/", first.display());
            rsync_command(&[
                "-rlptH",
                "--delete-delay",
                "--exclude=/.portolan",
                &from,
                second.to_str().unwrap(),
            ]);
            let names = ["one", "two", "three", "all"];
            let folders = names.iter().map(|it| second.join(it));
            let categories = ["one", "two", "three"].iter().map(|it| second.join("all/categories").join(it));
            for category in folders.chain(categories) {
                tree::check(&category);
                assert!(tree::serial(&category).is_some(), "{}", category.display());
            }
            let used = |folder: &Path| -> u64 {
                let mut seen = BTreeSet::new();
                names.iter().map(|it| disk_use(&folder.join(it), &mut seen)).sum()
            };
            assert_eq!(used(&second), used(&first));
        };
        check();
        Image::new("newer", "amd64", &[100_000]).push(origin::URL, "shared", "latest");
        world.publish();
        check();
    });
}
