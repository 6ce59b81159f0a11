//! What an export costs beside skopeo, and what costs more in it. `make bench-export` builds it as it is released.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use crate::rig::cost::{self, Cost};
use crate::rig::image::{self, OCI_CONFIG, OCI_MANIFEST};
use crate::rig::namespace;
use crate::rig::origin::{self, Origin};
use crate::rig::portolan::Portolan;
use crate::rig::program::{command, find, finish_within, run};
use crate::rig::world;

/// 300 tags.
const REPOSITORIES: usize = 30;
const TAGS: usize = 10;

/// Bytes of an image's layers: the first is the same in a third of all repositories, the second in all tags of a
/// repository, the others are an image's own.
const LAYERS: [usize; 5] = [8_000_000, 2_000_000, 400_000, 100_000, 10_000];
const BASES: usize = 3;

/// So many skopeo at once, as an export has connections.
const SKOPEO_AT_ONCE: &str = "4";

const ROUNDS: usize = 3;

/// No program of this takes longer.
const LIMIT: Duration = Duration::from_secs(200);

/// And all of it not longer than this.
const WHOLE: Duration = Duration::from_secs(1_200);

/// At most so much of skopeo's time, on the clock and of the processor: with nothing there, and with all there.
const FRESH: f64 = 0.7;
const AGAIN: f64 = 0.2;

/// Images of which nobody has to unpack the layers.
fn seed(origin: &Origin, folder: &Path) {
    let file = folder.join("blob");
    let mut layers: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for repository in 0..REPOSITORIES {
        let name = format!("app{repository}");
        let adopt = |bytes: &[u8]| {
            fs::write(&file, bytes).unwrap();
            origin.adopt(&name, &file);
        };
        for tag in 0..TAGS {
            let seeds = [format!("base{}", repository % BASES), name.clone()];
            let own = (2..LAYERS.len()).map(|number| format!("{name}-{tag}-{number}"));
            let mut descriptors = Vec::new();
            for (seed, size) in seeds.into_iter().chain(own).zip(LAYERS) {
                let bytes = layers.entry(seed.clone()).or_insert_with(|| image::noise(&seed, size));
                adopt(bytes);
                descriptors.push(image::descriptor("application/vnd.oci.image.layer.v1.tar+gzip", bytes));
            }
            let digests: Vec<_> = descriptors.iter().map(|it| it["digest"].clone()).collect();
            let config = json!({
                "architecture": "amd64", "os": "linux", "config": {"Labels": {"name": format!("{name}:{tag}")}},
                "rootfs": {"type": "layers", "diff_ids": digests},
            });
            let config = config.to_string().into_bytes();
            adopt(&config);
            let manifest = json!({
                "schemaVersion": 2, "mediaType": OCI_MANIFEST,
                "config": image::descriptor(OCI_CONFIG, &config), "layers": descriptors,
            });
            let bytes = manifest.to_string().into_bytes();
            image::push_manifest(origin::URL, &name, &tag.to_string(), OCI_MANIFEST, &bytes);
        }
        layers.retain(|seed, _| seed.starts_with("base"));
    }
}

/// Copies every image into a layout of its repository, all with one folder of blobs.
struct Skopeo {
    folder: PathBuf,
}

impl Skopeo {
    fn new(folder: PathBuf) -> Skopeo {
        fs::create_dir(&folder).unwrap();
        // Those at work at once are of different repositories, for they would write to one index.
        let images =
            (0..TAGS).flat_map(|tag| (0..REPOSITORIES).map(move |name| format!("app{name}:{tag}\n")));
        fs::write(folder.join("images"), images.collect::<String>()).unwrap();
        Skopeo { folder }
    }

    fn forget(&self) {
        fs::remove_dir_all(self.folder.join("layouts")).ok();
        fs::create_dir(self.folder.join("layouts")).unwrap();
    }

    fn copy(&self) {
        let mut xargs = command("xargs");
        xargs.args(["-a", "images", "-P", SKOPEO_AT_ONCE, "-I", "{}"]).arg(find("skopeo"));
        xargs.args([
            "--insecure-policy",
            "copy",
            "--quiet",
            "--all",
            "--dest-shared-blob-dir",
            "layouts/blobs",
        ]);
        xargs.args(["docker://origin.test/{}", "oci:layouts/{}"]).current_dir(&self.folder);
        finish_within(LIMIT, xargs).expect_success();
    }
}

/// A portolan with a folder on the disk, and with something of its configuration replaced.
fn exporter(from: &Portolan, folder: PathBuf, edit: Option<(&str, &str)>) -> Portolan {
    fs::create_dir(&folder).unwrap();
    fs::copy(from.folder.join("portolan.toml"), folder.join("portolan.toml")).unwrap();
    let portolan = Portolan::in_folder(folder);
    if let Some((from, to)) = edit {
        portolan.configure(from, to);
    }
    portolan
}

fn forget(portolan: &Portolan) {
    fs::remove_dir_all(portolan.folder.join("tree")).ok();
}

/// Of a folder: names of files and folders, and bytes on the disk; what is linked hard counts once.
fn weigh(folder: &Path) -> (usize, u64) {
    let mut seen = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    let mut names = 0;
    while let Some(path) = open.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        names += 1;
        seen.insert(metadata.ino(), metadata.blocks() * 512);
        if metadata.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|it| it.unwrap().path()));
        }
    }
    (names, seen.values().sum())
}

/// What running it costs, with nothing of others waiting for the disk.
fn measure(work: impl FnOnce()) -> Cost {
    run("sync", &[]);
    cost::of(work)
}

#[track_caller]
fn compare(what: &str, limit: f64, ours: &[Cost], theirs: &[Cost]) {
    let (ours, theirs) = (cost::median(ours), cost::median(theirs));
    let (wall, processor) = (ours.wall / theirs.wall, ours.processor / theirs.processor);
    println!("{what}: skopeo {theirs}; portolan {ours}: {wall:.3} and {processor:.3}");
    assert!(wall <= limit && processor <= limit, "{what}: more than {limit}");
}

#[test]
#[ignore = "measures; run by `make bench-export`"]
fn it_takes_less_than_skopeo_and_hardly_anything_when_nothing_is_new() {
    namespace::enter_within(WHOLE, |namespace| {
        let origin = Origin::start(namespace);
        seed(&origin, &namespace.folder);
        // On a disk, where syncing has its price; the namespace's own folder is in memory.
        let disk = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let configured = world::configure(namespace, None);
        let make = |name: &str, edit| exporter(&configured, disk.path().join(name), edit);
        let plain = make("plain", None);
        let others = [
            (
                "registry = true",
                make("registry", Some(("tags = [\"*\"]", "tags = [\"*\"]\nregistry = true"))),
            ),
            ("tree.all = true", make("all", Some(("path = \"tree\"", "path = \"tree\"\nall = true")))),
        ];
        let skopeo = Skopeo::new(disk.path().join("skopeo"));
        let (mut fresh, mut again) = ([vec![], vec![]], [vec![], vec![]]);
        let (mut fresh_others, mut again_others) = ([vec![], vec![]], [vec![], vec![]]);
        let mut cut = Vec::new();
        for _ in 0..ROUNDS {
            skopeo.forget();
            fresh[1].push(measure(|| skopeo.copy()));
            again[1].push(measure(|| skopeo.copy()));
            forget(&plain);
            fresh[0].push(measure(|| drop(plain.done("export"))));
            again[0].push(measure(|| drop(plain.done("export"))));
            fs::remove_dir_all(plain.folder.join("tree/.portolan/pieces")).unwrap();
            cut.push(measure(|| drop(plain.done("export"))));
            for (number, (_, other)) in others.iter().enumerate() {
                forget(other);
                fresh_others[number].push(measure(|| drop(other.done("export"))));
                again_others[number].push(measure(|| drop(other.done("export"))));
            }
        }
        let (names, bytes) = weigh(&plain.folder.join("tree"));
        println!("a tree of {names} names, {} KiB", bytes / 1024);
        for ((name, other), (fresh, again)) in others.iter().zip(fresh_others.iter().zip(&again_others)) {
            let (more_names, more_bytes) = weigh(&other.folder.join("tree"));
            let more = (more_names - names, (more_bytes - bytes) / 1024);
            println!(
                "{name}: {} names and {} KiB more; {}; again {}",
                more.0,
                more.1,
                cost::median(fresh),
                cost::median(again)
            );
        }
        let (names, bytes) = weigh(&plain.folder.join("tree/.portolan/pieces"));
        println!(
            "pieces: {names} names, {} KiB; computed anew, all blobs read: {}",
            bytes / 1024,
            cost::median(&cut)
        );
        println!("export --verify: {}", measure(|| drop(plain.done("export --verify"))));
        compare("nothing there", FRESH, &fresh[0], &fresh[1]);
        compare("all there", AGAIN, &again[0], &again[1]);
    });
}
