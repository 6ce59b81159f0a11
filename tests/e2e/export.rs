//! Export from origins that lie, and through kills.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::rig::dice::Dice;
use crate::rig::image::{self, Image, OCI_INDEX, OCI_MANIFEST};
use crate::rig::namespace;
use crate::rig::origin;
use crate::rig::portolan::Portolan;
use crate::rig::proxy::Proxy;
use crate::rig::raw_registry::{Contents, RawRegistry};
use crate::rig::tree;
use crate::rig::world::{self, CATEGORY, Engine, World};

/// Makes a repository of the origin bad.
type Spoil = fn(&mut Contents, &str);

/// Repositories whose tag `latest` turns bad, and how.
const BAD: [(&str, Spoil); 7] = [
    ("flipped", flipped),
    ("flipped-manifest", flipped_manifest),
    ("truncated", truncated),
    ("huge", huge),
    ("deep", deep),
    ("wide", wide),
    ("evil-tag", evil_tag),
];

fn small(name: &str) -> Image {
    Image::new(name, "amd64", &[20_000, 10_000])
}

fn flipped(contents: &mut Contents, repository: &str) {
    let image = small("flipped-new");
    contents.add_image(repository, "latest", &image);
    contents.flip(&image::digest(image.blobs()[1]));
}

fn flipped_manifest(contents: &mut Contents, repository: &str) {
    let image = small("flipped-manifest-new");
    contents.add_image(repository, "latest", &image);
    contents.flip_manifest(&image::digest(&image.manifest));
}

fn truncated(contents: &mut Contents, repository: &str) {
    let image = small("truncated-new");
    contents.add_image(repository, "latest", &image);
    contents.truncate(&image::digest(image.blobs()[1]));
}

/// A manifest of 100 MB, which would otherwise be a good one.
fn huge(contents: &mut Contents, repository: &str) {
    let image = small("huge-new");
    contents.add_image(repository, "latest", &image);
    let mut manifest = image.manifest.clone();
    manifest.resize(100_000_000, b' ');
    contents.add_manifest(repository, "latest", OCI_MANIFEST, manifest);
}

/// An index in an index, twenty times.
fn deep(contents: &mut Contents, repository: &str) {
    let mut inner = image::index(&[]);
    for _ in 0..19 {
        contents.add_untagged(repository, OCI_INDEX, inner.clone());
        let child = image::descriptor(OCI_INDEX, &inner);
        let outer = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [child]});
        inner = outer.to_string().into_bytes();
    }
    contents.add_manifest(repository, "latest", OCI_INDEX, inner);
}

fn wide(contents: &mut Contents, repository: &str) {
    let child = |number: i32| image::descriptor(OCI_MANIFEST, number.to_string().as_bytes());
    let children: Vec<_> = (0..10_000).map(child).collect();
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": children});
    contents.add_manifest(repository, "latest", OCI_INDEX, index.to_string().into_bytes());
}

fn evil_tag(contents: &mut Contents, repository: &str) {
    contents.add_image(repository, "latest", &small(repository));
    contents.add_tag(repository, "../../etc/passwd");
}

/// What everything looked like while the origin was honest.
fn honest() -> Contents {
    let mut contents = Contents::default();
    for (repository, _) in BAD {
        contents.add_image(repository, "latest", &small(repository));
    }
    contents.add_image("good", "latest", &small("good"));
    contents
}

/// Files below `folder`, with their sizes, in and outside of categories.
fn list_files(folder: &Path) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            found.extend(list_files(&path));
        } else {
            found.insert(path.display().to_string(), entry.metadata().unwrap().len());
        }
    }
    found
}

#[test]
fn a_lying_origin_harms_only_what_it_lies_about() {
    namespace::enter(|namespace| {
        let origin = RawRegistry::start(namespace);
        let portolan = world::configure(namespace, None);
        let category = portolan.category(CATEGORY);
        origin.set(honest());
        portolan.done("export");
        let before = tree::repositories(&category);
        let files = list_files(&portolan.folder.join("tree"));

        let mut contents = honest();
        for (repository, spoil) in BAD {
            spoil(&mut contents, repository);
        }
        let newest = small("good-new");
        contents.add_image("good", "latest", &newest);
        origin.set(contents);
        let printed = portolan.run("export").expect_failure();
        for (repository, _) in BAD {
            let tag = if repository == "evil-tag" { "../../etc/passwd" } else { "latest" };
            let named = printed.contains(&format!("{repository}:{tag}"));
            assert!(named, "no error names {repository}:{tag}:\n{printed}");
        }

        let mut expected = before;
        let new_digest = image::digest(&newest.manifest);
        expected.insert("good".into(), [("latest".to_owned(), new_digest)].into());
        assert_eq!(tree::repositories(&category), expected);
        tree::check(&category);
        assert_only_the_good_image_was_added(&portolan, &files, &newest);
    });
}

fn is_named_by_its_bytes(path: &str) -> bool {
    let digest = image::digest(&std::fs::read(path).unwrap());
    path.ends_with(digest.trim_start_matches("sha256:"))
}

/// Nothing of the bad images is in the category, and nothing wrong anywhere.
fn assert_only_the_good_image_was_added(portolan: &Portolan, before: &BTreeMap<String, u64>, image: &Image) {
    let after = list_files(&portolan.folder.join("tree"));
    let manifest: &[u8] = &image.manifest;
    let parts: Vec<String> = image.blobs().into_iter().chain([manifest]).map(image::digest).collect();
    let is_part = |path: &str| parts.iter().any(|digest| path.ends_with(&tree::blob_path(digest)[9..]));
    let is_state = |path: &str| path.contains("/zz/") || path.ends_with("repositories.json");
    for path in after.keys().filter(|path| !before.contains_key(*path)) {
        let inner = path.contains("/.portolan/tmp/") || path.contains("/.portolan/pieces/");
        assert!(!inner, "a temporary file was left: {path}");
        // What was fetched of a bad image and is right stays in the pool for the next run; no mirror sees it.
        let is_spare = path.contains("/.portolan/pool/") && is_named_by_its_bytes(path);
        assert!(is_part(path) || is_state(path) || is_spare, "what is {path}?");
    }
    assert!(!Path::new("/etc/passwd/latest").exists());
    let gone: Vec<&String> = before.keys().filter(|path| !after.contains_key(*path)).collect();
    assert!(gone.is_empty(), "{gone:#?} are gone");
}

/// How often an export is killed in its middle.
const KILLS: usize = 50;

/// Images that stay, and one that is replaced each round, so that each export has something to bring and to remove.
fn contents_of_round(round: usize) -> Contents {
    let mut contents = Contents::default();
    contents.delay = Duration::from_millis(3);
    contents.add_image("stays", "latest", &Image::new("stays", "amd64", &[1_200_000, 20_000]));
    for number in [round, round + 1] {
        let image = Image::new(&format!("round-{number}"), "amd64", &[50_000, 20_000]);
        contents.add_image("changes", &format!("v{number}"), &image);
        contents.add_image("moves", "latest", &image);
    }
    contents
}

/// All files of a tree by their paths, with their bytes' digest, but for serials and what belongs to a process.
fn fingerprint(tree: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for path in list_files(tree).into_keys().map(std::path::PathBuf::from) {
        let name = path.strip_prefix(tree).unwrap().display().to_string();
        if name.ends_with("zz/serial") || name.ends_with(".portolan/lock") {
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        let without_serial = || {
            let text = String::from_utf8(bytes.clone()).unwrap();
            text.lines().filter(|it| !it.starts_with("# serial ")).collect::<Vec<_>>().join("\n").into_bytes()
        };
        let bytes = if name.ends_with("zz/inventory") { without_serial() } else { bytes.clone() };
        found.insert(name, image::digest(&bytes));
    }
    found
}

#[test]
fn an_export_goes_on_after_kills_at_any_moment() {
    namespace::enter(|namespace| {
        let origin = RawRegistry::start(namespace);
        let portolan = world::configure(namespace, None);
        portolan.configure("path = \"tree\"", "path = \"tree\"\nall = true\nkeep_former = \"0s\"");
        let undisturbed = Portolan::in_folder(namespace.folder.join("undisturbed"));
        std::fs::create_dir_all(&undisturbed.folder).unwrap();
        let config = portolan.folder.join("portolan.toml");
        std::fs::copy(config, undisturbed.folder.join("portolan.toml")).unwrap();
        let categories = [CATEGORY, "all", "all/categories/containers"].map(|it| portolan.category(it));
        let mut dice = Dice::new();
        origin.set(contents_of_round(0));
        let begun = Instant::now();
        portolan.done("export");
        let whole = begun.elapsed();
        let (mut killed, mut round) = (0, 0);
        while killed < KILLS {
            round += 1;
            assert!(round <= 6 * KILLS, "too many were through: only {killed} were killed");
            origin.set(contents_of_round(round));
            let mut export = portolan.start("export");
            std::thread::sleep(whole.mul_f64(dice.throw(1000) as f64 / 1000.0));
            killed += usize::from(!export.has_ended());
            export.kill();
            categories.iter().for_each(|it| tree::check_content(it));
        }
        println!("an export takes {whole:?}; {killed} of {round} were killed before their end");
        portolan.done("export");
        undisturbed.done("export");
        categories.iter().for_each(|it| tree::check(it));
        let [found, expected] = [&portolan, &undisturbed].map(|it| fingerprint(&it.folder.join("tree")));
        assert!(expected.len() > 20, "{expected:#?}");
        assert_eq!(found, expected);
    });
}

on_both_engines!(an_export_of_nothing_new_reads_no_blob, |namespace, engine| {
    let world = World::new(namespace, engine);
    Image::ordinary("fedora").push(origin::URL, "fedora", "latest");
    world.publish();
    let serial = tree::serial(&world.category());
    assert!(serial.is_some(), "the export wrote no serial");
    let before = world.origin.requests().len();
    world.portolan.done("export");
    let requests = &world.origin.requests()[before..];
    assert!(!requests.is_empty(), "the second export did not even look");
    let is_blob = |it: &&origin::Request| it.method == "GET" && it.path.contains("/blobs/");
    let read: Vec<_> = requests.iter().filter(is_blob).collect();
    assert!(read.is_empty(), "{read:?}");
    assert_eq!(tree::serial(&world.category()), serial, "nothing changed, but the serial did");
});

#[test]
fn an_origin_may_have_an_authority_of_its_own_and_be_behind_a_proxy() {
    namespace::enter(|namespace| {
        let world = World::new(namespace, Engine::Sqlite);
        Image::ordinary("fedora").push(origin::URL, "fedora", "latest");
        // A system that does not know the test's authority.
        let others = "/usr/share/ca-certificates/mozilla/ISRG_Root_X1.crt";
        assert!(Path::new(others).exists(), "{others} is missing: run tests/setup.sh");
        let elsewhere = [("SSL_CERT_FILE", others)];
        let printed = world.portolan.run_with("export", &elsewhere).expect_failure();
        assert!(printed.contains("certificate"), "{printed}");

        let authority = namespace.folder.join("authority.pem");
        std::fs::write(&authority, namespace.authority.certificate()).unwrap();
        let named = format!("[origin]\nca_file = \"{}\"", authority.display());
        world.portolan.configure("[origin]", &named);
        let proxy = Proxy::start();
        let through = [("SSL_CERT_FILE", others), ("HTTPS_PROXY", proxy.url.as_str())];
        world.portolan.run_with("export", &through).expect_success();
        assert_eq!(tree::repositories(&world.category()).len(), 1);
        let targets = proxy.targets();
        assert!(!targets.is_empty() && targets.iter().all(|it| it == "origin.test:443"), "{targets:?}");
    });
}
