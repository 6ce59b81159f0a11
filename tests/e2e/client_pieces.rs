//! Large layers come in pieces: from several mirrors at once, and a wrong byte costs one piece.

use std::fs;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::rig::agent::{Agent, LISTEN};
use crate::rig::image::{self, Image};
use crate::rig::namespace::{self, CLIENT_DE, Namespace, REGISTRY};
use crate::rig::nginx::{Nginx, Scheme};
use crate::rig::portolan::Serve;
use crate::rig::program::{Finished, command, finish, wait_for};
use crate::rig::root::Root;
use crate::rig::world::{self, Engine, World};
use crate::rig::{http, skopeo, tree};

/// The last is farthest, and so is asked for the third part.
const MIRRORS: [&str; 3] = ["de.mirror.test", "de2.mirror.test", "fr.mirror.test"];

/// A layer of many pieces, and one of some, in bytes.
const MANY: usize = 40_000_000;
const SOME: usize = 6_000_000;

/// How long a piece of such layers is.
const PIECE: u64 = 1 << 20;

/// In the part that the last mirror is asked for first, but not in that part's first piece.
const FLIPPED: u64 = 12 * PIECE + 4_711;

/// A pull that came so far is killed.
const ENOUGH: u64 = 8_000_000;

#[test]
fn a_wrong_byte_costs_one_piece() {
    namespace::enter(|namespace| {
        let story = Story::new(namespace, MANY, |_, _| ());
        let liar = MIRRORS[2];
        story.flip(2);

        let layer = story.pull();
        assert_eq!(hosts(&layer["from"]), MIRRORS, "{layer:#}");
        assert_eq!(hosts(&layer["troubles"]), [liar], "{layer:#}");
        let trouble = layer["troubles"][liar].as_str().expect("a trouble");
        assert!(trouble.contains("it sent wrong bytes, in 12582912-13631488"), "{trouble}");
        let (size, sent) = (story.bytes.len() as u64, sent(&layer));
        assert!((size + 1..=size + 2 * PIECE).contains(&sent), "{sent} bytes were sent of {size}");
        story.assert_pulled();

        let agent = Agent::start(namespace);
        assert!(story.ask_agent().success());
        assert!(fs::read(story.by_agent()).expect("the layer") == story.bytes, "other bytes were sent");
        let sent = agent.metric("mirror_bytes_total");
        assert!((size + 1..=size + 2 * PIECE).contains(&sent), "{sent} bytes were sent of {size}");
        assert!(agent.log().contains(&format!("host=\"{liar}\"")), "{}", agent.log());
        assert_eq!((agent.metric("source_troubles_total"), agent.metric("registry_bytes_total")), (1, 0));
        agent.stop();
        story.serve.stop();
    });
}

#[test]
fn what_all_mirrors_have_wrong_the_registry_sends() {
    namespace::enter(|namespace| {
        let story = Story::new(namespace, MANY, |_, _| ());
        (0..MIRRORS.len()).for_each(|it| story.flip(it));
        let layer = story.pull();
        assert_eq!(hosts(&layer["from"]), [&MIRRORS[..], &["registry.test"]].concat(), "{layer:#}");
        assert_eq!(hosts(&layer["troubles"]), MIRRORS, "the registry sent us to a mirror again: {layer:#}");
        let (size, sent) = (story.bytes.len() as u64, sent(&layer));
        assert!(sent <= size + 4 * PIECE, "{sent} bytes were sent of {size}");
        story.assert_pulled();
        story.serve.stop();
    });
}

#[test]
fn a_killed_pull_fetches_only_what_is_missing() {
    namespace::enter(|namespace| {
        let mut story = Story::new(namespace, MANY, |_, _| ());
        story.mirrors.iter_mut().for_each(|it| it.restart_with("limit_rate 1m;"));
        let mut pull = story.world.portolan.start(PULL);
        let part = story.folder("image/.portolan");
        assert!(wait_for(Duration::from_secs(60), || on_disk(&part) > ENOUGH), "{}", pull.log());
        pull.kill();
        let left = on_disk(&part);
        story.mirrors.iter_mut().for_each(|it| it.restart_with(""));
        let layer = story.pull();
        let (there, sent, size) = (number(&layer["there"]), sent(&layer), story.bytes.len() as u64);
        println!("{left} bytes were on disk, {there} were used, {sent} of {size} were fetched");
        assert_eq!(there + sent, size, "{layer:#}");
        // Of what was under way from each mirror, a piece is lost.
        assert!(there + MIRRORS.len() as u64 * PIECE >= left, "{there} of {left} bytes were used");
        story.assert_pulled();
        story.serve.stop();
    });
}

#[test]
fn wrong_hashes_of_pieces_cost_no_pull() {
    namespace::enter(|namespace| {
        let story = Story::new(namespace, SOME, |world, layer| {
            let mut hashes = hash_pieces(layer);
            hashes[3] = Sha256::digest("wrong").into();
            write_pieces(world, layer, &hashes);
        });
        let layer = story.pull();
        assert_eq!(layer.get("troubles"), None, "mirrors are blamed: {layer:#}");
        story.assert_pulled();
        let agent = Agent::start(namespace);
        assert!(story.ask_agent().success());
        assert!(fs::read(story.by_agent()).expect("the layer") == story.bytes, "other bytes were sent");
        assert!(agent.log().contains("wrong hashes of its pieces"), "{}", agent.log());
        assert_eq!(agent.metric("source_troubles_total"), 0);
        agent.stop();
        story.serve.stop();
    });
}

#[test]
fn right_pieces_are_not_enough() {
    namespace::enter(|namespace| {
        let other = image::noise("other", SOME);
        let story = Story::new(namespace, SOME, |world, layer| {
            write_pieces(world, layer, &hash_pieces(&[&other, &layer[SOME..]].concat()));
        });
        let other = [&other, &story.bytes[SOME..]].concat();
        let own = story.world.category().join(tree::blob_path(&story.digest));
        for path in (0..MIRRORS.len()).map(|it| story.on_mirror(it)).chain([own]) {
            fs::write(path, &other).expect("another layer");
        }
        let pulled = story.world.portolan.run(PULL);
        assert_eq!(pulled.code, Some(4), "{pulled}");
        assert!(!story.folder("image").join(blob(&story.digest)).exists(), "wrong bytes have the right name");
        let agent = Agent::start(namespace);
        assert!(!story.ask_agent().success(), "a wrong layer was sent whole");
        assert!(!story.ask_agent().success(), "it was kept");
        agent.stop();
        story.serve.stop();
    });
}

/// What `portolan pull` is asked for.
const PULL: &str = "pull registry.test/large --to oci:image";

/// A registry, three mirrors, and an image with one large layer.
struct Story<'a> {
    world: World<'a>,
    mirrors: Vec<Nginx>,
    serve: Serve,
    digest: String,
    bytes: Vec<u8>,
    manifest: String,
}

impl<'a> Story<'a> {
    /// `spoil` changes what the export has left.
    fn new(namespace: &'a Namespace, size: usize, spoil: impl FnOnce(&World, &[u8])) -> Story<'a> {
        let world = World::new(namespace, Engine::Sqlite);
        let image = Image::new("large", "amd64", &[size]);
        let manifest = image.push(crate::rig::origin::URL, "large", "latest");
        let bytes = image.blobs()[1].to_vec();
        world.portolan.done("export");
        spoil(&world, &bytes);
        world.portolan.done("scan");
        let mirrors = MIRRORS.map(|name| {
            let mirror = world.mirror(name, Scheme::Https, "");
            world.fill(&mirror.root());
            mirror
        });
        world.crawl();
        let rule = "[client]\nallow_networks = [\"192.0.2.0/24\", \"198.51.100.0/24\"]\n[fallback]";
        world.portolan.configure("[fallback]", rule);
        let serve = world.portolan.serve();
        namespace::connect_from(CLIENT_DE, REGISTRY);
        let digest = image::digest(&bytes);
        let metalink = http::get(&format!("https://registry.test/metalink?repo=large&digest={digest}"), &[]);
        assert!(metalink.text().contains("<pieces"), "{}", metalink.text());
        Story { world, mirrors: mirrors.into(), serve, digest, bytes, manifest }
    }

    /// Pulls the image, and gives what the summary says of the layer.
    #[track_caller]
    fn pull(&self) -> Value {
        let summary = self.world.portolan.json(PULL);
        let files = summary["files"].as_array().expect("files");
        files.iter().find(|it| it["kind"] == "layer").expect("a layer").clone()
    }

    /// Lets skopeo read what was pulled.
    #[track_caller]
    fn assert_pulled(&self) {
        let folder = tempfile::tempdir_in(&self.world.namespace.folder).expect("a folder");
        let from = format!("oci:{}:latest", self.folder("image").display());
        finish(skopeo::copy_from_command(&Root::Machine, &from, folder.path())).expect_success();
        let manifest = fs::read(folder.path().join("manifest.json")).expect("a manifest");
        assert_eq!(image::digest(&manifest), self.manifest);
    }

    /// Gets the layer from the agent, as engines do.
    fn ask_agent(&self) -> Finished {
        let mut curl = command("curl");
        curl.args(["--silent", "--show-error", "--fail", "--output"]).arg(self.by_agent());
        curl.arg(format!("http://{LISTEN}/v2/large/blobs/{}", self.digest));
        finish(curl)
    }

    fn by_agent(&self) -> PathBuf {
        self.folder("layer")
    }

    /// From now on this mirror has a wrong byte in the layer.
    fn flip(&self, mirror: usize) {
        let file = fs::File::options().write(true).open(self.on_mirror(mirror)).expect("the layer");
        file.write_at(&[self.bytes[FLIPPED as usize] ^ 1], FLIPPED).expect("a wrong byte");
    }

    fn on_mirror(&self, number: usize) -> PathBuf {
        world::place(&self.mirrors[number].root()).join(tree::blob_path(&self.digest))
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.world.portolan.folder.join(name)
    }
}

/// Where a layout has a blob.
fn blob(digest: &str) -> String {
    format!("blobs/{}", digest.replace(':', "/"))
}

/// The names in an object, sorted.
fn hosts(object: &Value) -> Vec<String> {
    let mut names: Vec<String> = object.as_object().expect("hosts").keys().cloned().collect();
    names.sort();
    names
}

/// How many bytes all hosts have sent of a layer.
fn sent(layer: &Value) -> u64 {
    layer["from"].as_object().expect("senders").values().map(number).sum()
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}

/// How many bytes the files in a folder take; holes take none.
fn on_disk(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries.filter_map(|it| Some(it.ok()?.metadata().ok()?.blocks() * 512)).sum()
}

fn hash_pieces(layer: &[u8]) -> Vec<[u8; 32]> {
    layer.chunks(PIECE as usize).map(|it| Sha256::digest(it).into()).collect()
}

/// Writes hashes of pieces as if the exporter had computed them wrong.
fn write_pieces(world: &World, layer: &[u8], hashes: &[[u8; 32]]) {
    let mut body = PIECE.to_be_bytes().to_vec();
    body.extend(hashes.iter().flatten());
    let check = Sha256::new().chain_update(image::digest(layer)).chain_update(&body).finalize();
    let hex = image::digest(layer).replace("sha256:", "");
    let path = world.portolan.folder.join("tree/.portolan/pieces/sha256").join(&hex[..2]).join(hex);
    assert_eq!(fs::metadata(&path).expect("pieces").len(), (check.len() + body.len()) as u64);
    fs::write(path, [&check[..], &body].concat()).expect("other pieces");
}
