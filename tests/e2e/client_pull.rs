//! `portolan pull` brings an image from mirrors to disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::rig::ca::Authority;
use crate::rig::image::{self, Image, LAYERS};
use crate::rig::namespace::{self, CLIENT_DE, Namespace, REGISTRY};
use crate::rig::nginx::{Nginx, Scheme};
use crate::rig::portolan::Serve;
use crate::rig::program::{finish, wait_for};
use crate::rig::root::Root;
use crate::rig::world::{Engine, World};
use crate::rig::{origin, skopeo, tree};

/// A layer that takes some seconds from a mirror that sends 1 MB a second.
const LONG: usize = 6_000_000;

#[test]
fn an_image_comes_from_the_nearest_mirror() {
    namespace::enter(|namespace| {
        let images = [Image::new("fedora", "amd64", &LAYERS), Image::new("fedora", "arm64", &LAYERS)];
        let story = Story::new(namespace, |url| image::push_index(url, "fedora", "latest", &images));
        let summary = story.pull("registry.test/fedora --platform linux/arm64 --to oci:image");
        assert_eq!(summary["digest"], story.digest);
        assert_eq!(story.list_senders(&summary), ["de.mirror.test"]);
        let manifest = image::digest(&images[1].manifest);
        assert_eq!(story.copy("image", "latest"), manifest);
        assert_eq!(story.far.requests().len(), 0, "{:?}", story.far.requests());

        story.near.forget_requests();
        story.pull("registry.test/fedora --platform linux/arm64 --to oci:image");
        assert_eq!(story.near.requests().len(), 0, "what is there was fetched again");

        story.pull("registry.test/fedora --platform all --to oci:image:every");
        assert_eq!(story.copy("image", "every"), story.digest);
        assert_eq!(story.copy("image", "latest"), manifest, "the other one stays");
        assert!(!story.folder("image").join(".portolan").exists());
        story.wrong_names_have_their_exit_codes();
        story.serve.stop();
    });
}

#[test]
fn mirrors_at_private_addresses_are_not_visited() {
    namespace::enter(|namespace| {
        let image = Image::ordinary("fedora");
        let story = Story::new(namespace, |url| image.push(url, "fedora", "latest"));
        let rule = "allow_networks = [\"192.0.2.0/24\", \"198.51.100.0/24\"]\n[fallback]";
        story.world.portolan.configure(rule, "[fallback]");
        let summary = story.pull("registry.test/fedora --to oci:image");
        assert_eq!(story.list_senders(&summary), ["registry.test"], "the registry itself may be anywhere");
        assert_eq!(story.near.requests().len() + story.far.requests().len(), 0);
        assert_eq!(story.copy("image", "latest"), story.digest);
        story.serve.stop();
    });
}

#[test]
fn a_mirror_leads_nowhere_and_the_last_word_is_who_failed() {
    namespace::enter(|namespace| {
        let image = Image::ordinary("fedora");
        let mut story = Story::new(namespace, |url| image.push(url, "fedora", "latest"));
        let away = "location ~ /blobs/ { return 302 http://127.0.0.1:5055/metrics; }";
        story.near.restart_with(away);
        let summary = story.pull("registry.test/fedora --to oci:image");
        assert_eq!(story.list_senders(&summary), ["fr.mirror.test"]);
        let trouble = summary["files"][0]["troubles"]["de.mirror.test"].as_str().expect("a trouble");
        assert!(trouble.contains("a redirect is not followed"), "{trouble}");

        story.far.restart_with(away);
        let layer = image::digest(image.blobs()[1]);
        let path = story.world.category().join(tree::blob_path(&layer));
        fs::write(&path, vec![0; image.blobs()[1].len()]).expect("a wrong layer");
        let lost = story.world.portolan.run("pull registry.test/fedora --to oci:other");
        println!("{lost}");
        assert_eq!(lost.code, Some(4), "{lost}");
        for part in [
            &layer,
            "de.mirror.test: a redirect",
            "fr.mirror.test: a redirect",
            "registry.test: it sent wrong",
        ] {
            assert!(lost.stderr.contains(part), "no {part} in {lost}");
        }
        story.serve.stop();
    });
}

#[test]
fn only_the_pinned_authority_is_believed() {
    namespace::enter(|namespace| {
        let image = Image::ordinary("fedora");
        let story = Story::new(namespace, |url| image.push(url, "fedora", "latest"));
        story.world.portolan.configure("[client]\n", "[client]\nca_file = \"pinned.pem\"\n");
        let pin = |pem: String| fs::write(story.folder("pinned.pem"), pem).expect("a certificate");
        let other = Authority::new(&namespace.folder.join("other"));
        pin(other.certificate());
        let refused = story.world.portolan.run("pull registry.test/fedora --to oci:image");
        assert_eq!(refused.code, Some(1), "{refused}");
        assert!(refused.stderr.contains("registry.test cannot be reached"), "{refused}");
        pin(namespace.authority.certificate());
        let summary = story.pull("registry.test/fedora --to oci:image");
        assert_eq!(story.list_senders(&summary), ["de.mirror.test"], "mirrors are believed by the system's");
        story.serve.stop();
    });
}

#[test]
fn a_killed_pull_goes_on_where_it_was() {
    namespace::enter(|namespace| {
        let image = Image::new("fedora", "amd64", &[LONG, LONG / 2]);
        let mut story = Story::new(namespace, |url| image.push(url, "fedora", "latest"));
        story.near.restart_with("limit_rate 1m;");
        story.far.stop();
        let line = "pull registry.test/fedora --to oci:image";
        for signal in ["KILL", "INT"] {
            let before = story.on_disk();
            let mut pull = story.world.portolan.start(line);
            let grown = wait_for(Duration::from_secs(20), || story.on_disk() > before + 1_000_000);
            assert!(grown, "nothing comes: {}", pull.log());
            if signal == "KILL" {
                pull.kill();
            } else {
                assert_eq!(pull.stop_by("INT"), Some(130));
            }
        }
        let there = story.on_disk();
        assert!(there > 2_000_000, "{there} bytes were kept");
        story.near.restart_with("");
        let summary = story.pull("registry.test/fedora --to oci:image");
        let fetched: u64 = sent(&summary).iter().map(|it| it.1).sum();
        let total: u64 =
            summary["files"].as_array().unwrap().iter().filter_map(|it| it["size"].as_u64()).sum();
        println!("{there} of {total} bytes were there, {fetched} were fetched");
        assert!(fetched <= total - there, "{fetched} bytes were fetched of {total}, {there} were there");
        assert_eq!(story.copy("image", "latest"), story.digest);
        story.serve.stop();
    });
}

/// A registry, a near and a far mirror, and one image.
struct Story<'a> {
    world: World<'a>,
    near: Nginx,
    far: Nginx,
    serve: Serve,
    digest: String,
}

impl<'a> Story<'a> {
    fn new(namespace: &'a Namespace, push: impl FnOnce(&str) -> String) -> Story<'a> {
        let world = World::new(namespace, Engine::Sqlite);
        let digest = push(origin::URL);
        world.publish();
        let near = world.mirror("de.mirror.test", Scheme::Https, "");
        let far = world.mirror("fr.mirror.test", Scheme::Https, "");
        world.fill(&near.root());
        world.fill(&far.root());
        world.crawl();
        let rule = "[client]\nallow_networks = [\"192.0.2.0/24\", \"198.51.100.0/24\"]\n[fallback]";
        world.portolan.configure("[fallback]", rule);
        let serve = world.portolan.serve();
        namespace::connect_from(CLIENT_DE, REGISTRY);
        near.forget_requests();
        far.forget_requests();
        Story { world, near, far, serve, digest }
    }

    #[track_caller]
    fn pull(&self, line: &str) -> Value {
        self.world.portolan.json(&format!("pull {line}"))
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.world.portolan.folder.join(name)
    }

    /// The hosts that have sent something.
    fn list_senders(&self, summary: &Value) -> Vec<String> {
        let mut hosts: Vec<String> = sent(summary).into_iter().map(|it| it.0).collect();
        hosts.sort();
        hosts.dedup();
        hosts
    }

    /// Lets skopeo read the layout, and gives the digest of what it found.
    #[track_caller]
    fn copy(&self, layout: &str, name: &str) -> String {
        let folder = tempfile::tempdir_in(&self.world.namespace.folder).expect("a folder");
        let from = format!("oci:{}:{name}", self.folder(layout).display());
        finish(skopeo::copy_from_command(&Root::Machine, &from, folder.path())).expect_success();
        image::digest(&fs::read(folder.path().join("manifest.json")).expect("a manifest"))
    }

    /// Bytes of the layout `image`, whole files and others.
    fn on_disk(&self) -> u64 {
        let image = self.folder("image");
        bytes_in(&image.join("blobs/sha256")) + bytes_in(&image.join(".portolan"))
    }

    fn wrong_names_have_their_exit_codes(&self) {
        let code = |line: &str| self.world.portolan.run(line).code;
        assert_eq!(code("pull registry.test/fedora:none --to oci:other"), Some(3));
        assert!(!self.folder("other").exists(), "a typo leaves a folder");
        let foreign = self.world.portolan.run("pull registry.test/fedora --to oci:.");
        assert!(foreign.code == Some(1) && foreign.stderr.contains("name an empty folder"), "{foreign}");
        assert_eq!(code("pull registry.test/fedora --platform plan9/386 --to oci:other"), Some(3));
        assert_eq!(code("pull fedora --to oci:other"), Some(2));
        assert_eq!(code("pull registry.test/fedora --to other"), Some(2));
        assert_eq!(code("pull de2.mirror.test/fedora --to oci:other"), Some(1), "nobody is there");
    }
}

/// What hosts have sent, by file.
fn sent(summary: &Value) -> Vec<(String, u64)> {
    let files = summary["files"].as_array().expect("files");
    let from = files.iter().flat_map(|it| it["from"].as_object().expect("senders"));
    from.map(|(host, bytes)| (host.clone(), bytes.as_u64().expect("bytes"))).collect()
}

fn bytes_in(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries.filter_map(|it| it.ok()?.metadata().ok()).filter(|it| it.is_file()).map(|it| it.len()).sum()
}
