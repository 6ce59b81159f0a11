//! Everything that belongs to an image, and that is said about it, is in the tree and at the service, byte for byte.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::rig::http;
use crate::rig::image::{self, Image, OCI_CONFIG, OCI_INDEX, OCI_MANIFEST};
use crate::rig::namespace;
use crate::rig::origin;
use crate::rig::portolan::{Portolan, Serve};
use crate::rig::tree;
use crate::rig::world::{CATEGORY, Engine, World};

/// The repository with nearly everything in it.
const APP: &str = "app";

/// Names that look like parts of the API's paths.
const ODD: [&str; 2] = ["team/blobs/manifests", "manifests/tags/blobs"];

const SERVICE: &str = "https://registry.test";

/// How long the longest manifest may be, in bytes.
const MANIFEST_LIMIT: usize = 4 * 1024 * 1024;

fn push(repository: &str, reference: &str, media_type: &str, manifest: &Value) -> Value {
    push_bytes(repository, reference, media_type, manifest.to_string().into_bytes())
}

/// Pushes a manifest under a tag, or its digest if `reference` is empty, and gives its descriptor.
fn push_bytes(repository: &str, reference: &str, media_type: &str, bytes: Vec<u8>) -> Value {
    let digest = image::digest(&bytes);
    let reference = if reference.is_empty() { &digest } else { reference };
    image::push_manifest(origin::URL, repository, reference, media_type, &bytes);
    image::descriptor(media_type, &bytes)
}

fn blob(repository: &str, media_type: &str, bytes: &[u8]) -> Value {
    image::push_blob(origin::URL, repository, bytes);
    image::descriptor(media_type, bytes)
}

/// An artifact with `text` in a layer, perhaps about something.
fn artifact(repository: &str, reference: &str, text: &str, subject: Option<&Value>) -> Value {
    let mut config = blob(repository, "application/vnd.oci.empty.v1+json", b"{}");
    config["data"] = "e30=".into();
    let layer = blob(repository, "application/vnd.test.note", text.as_bytes());
    let mut manifest = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": "application/vnd.test.note",
        "config": config, "layers": [layer], "annotations": {"text": text},
    });
    if let Some(subject) = subject {
        manifest["subject"] = subject.clone();
    }
    push(repository, reference, OCI_MANIFEST, &manifest)
}

fn index(repository: &str, reference: &str, manifests: &[Value]) -> Value {
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests});
    push(repository, reference, OCI_INDEX, &index)
}

/// The tag of what is said about a manifest.
fn about(subject: &Value, ending: &str) -> String {
    format!("{}{ending}", subject["digest"].as_str().unwrap().replace(':', "-"))
}

/// An image pushed by its digest; its descriptor, with the platform.
fn platform(name: &str, architecture: &str) -> Value {
    let image = Image::new(name, architecture, &[30_000, 2_000]);
    image.push(origin::URL, APP, &image::digest(&image.manifest));
    let mut descriptor = image::descriptor(OCI_MANIFEST, &image.manifest);
    descriptor["platform"] = json!({"os": "linux", "architecture": architecture});
    descriptor
}

/// A multi-platform image with attestations, nested and empty indexes, signatures, and what is said about these.
fn seed_signed() {
    let [amd64, arm64] = ["amd64", "arm64"].map(|it| platform("signed", it));
    let mut attestation = artifact(APP, "", "built by buildx", None);
    attestation["platform"] = json!({"os": "unknown", "architecture": "unknown"});
    attestation["annotations"] = json!({"vnd.docker.reference.type": "attestation-manifest"});
    let nested = index(APP, "", std::slice::from_ref(&arm64));
    let empty = index(APP, "", &[]);
    let top = index(APP, "42", &[amd64.clone(), nested.clone(), attestation, empty]);
    let signature = artifact(APP, &about(&top, ".sig"), "a signature", None);
    artifact(APP, &about(&signature, ".sig"), "a signature of a signature", None);
    artifact(APP, &about(&amd64, ".att"), "an attestation of a child", None);
    artifact(APP, &about(&nested, ".sbom"), "packages of a nested index", None);
    let note = artifact(APP, "", "a referrer", Some(&arm64));
    index(APP, &about(&arm64, ""), std::slice::from_ref(&note));
    let second = artifact(APP, "", "a referrer of a referrer", Some(&note));
    index(APP, &about(&note, ""), &[second]);
    let ordinary = artifact(APP, "", "without the field subject", None);
    index(APP, &about(&top, ""), &[ordinary]);
}

/// What is odd about single images.
fn seed_odd() {
    for repository in ODD {
        Image::new("odd", "amd64", &[1_000]).push(origin::URL, repository, "4-odd");
    }
    Image::new("many", "amd64", &[100; 70]).push(origin::URL, APP, "4-seventy-layers");
    let config = blob(APP, OCI_CONFIG, b"{}");
    let layer = blob(APP, "application/vnd.oci.image.layer.v1.tar", b"");
    let mut manifest = json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": [layer], "annotations": {"x": ""}});
    let padding = MANIFEST_LIMIT - manifest.to_string().len();
    manifest["annotations"]["x"] = "x".repeat(padding).into();
    push(APP, "4-megabytes", OCI_MANIFEST, &manifest);
    let chart = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST,
        "config": blob(APP, "application/vnd.cncf.helm.config.v1+json", br#"{"name":"chart"}"#),
        "layers": [blob(APP, "application/vnd.cncf.helm.chart.content.v1.tar+gzip", b"a chart")],
    });
    push(APP, "4-chart", OCI_MANIFEST, &chart);
}

/// What a registry has that tags beginning with `4` lead to, found out without portolan's client.
#[derive(Default)]
struct Reachable {
    /// The registry.
    url: &'static str,
    /// What is said about a manifest is asked of the referrers API; else it is looked for by tags.
    by_api: bool,
    /// Repository, tag, digest.
    tags: BTreeSet<(String, String, String)>,
    /// Digest → repository and bytes.
    manifests: BTreeMap<String, (String, Vec<u8>)>,
    blobs: BTreeMap<String, (String, Vec<u8>)>,
    /// Subject → digests of what refers to it.
    referrers: BTreeMap<String, BTreeSet<String>>,
}

impl Reachable {
    fn of(url: &'static str, by_api: bool) -> Reachable {
        let mut found = Reachable { url, by_api, ..Reachable::default() };
        for repository in [APP].into_iter().chain(ODD) {
            let list = http::get(&format!("{url}/v2/{repository}/tags/list"), &[]).json();
            let tags: Vec<String> = serde_json::from_value(list["tags"].clone()).unwrap();
            for tag in tags.iter().filter(|it| it.starts_with('4')) {
                found.follow_tag(repository, tag, &tags);
            }
        }
        found
    }

    fn follow_tag(&mut self, repository: &str, tag: &str, tags: &[String]) {
        let answer = origin::manifest_at(self.url, repository, tag);
        let digest = answer.header("docker-content-digest").unwrap().to_owned();
        if self.tags.insert((repository.to_owned(), tag.to_owned(), digest.clone())) {
            self.follow(repository, &digest, tags);
        }
    }

    fn follow(&mut self, repository: &str, digest: &str, tags: &[String]) {
        if self.manifests.contains_key(digest) {
            return;
        }
        let bytes = origin::manifest_at(self.url, repository, digest).body;
        assert_eq!(image::digest(&bytes), digest);
        let manifest: Value = serde_json::from_slice(&bytes).unwrap();
        self.manifests.insert(digest.to_owned(), (repository.to_owned(), bytes));
        let list = |key: &str| manifest[key].as_array().cloned().unwrap_or_default();
        if let Some(subject) = manifest["subject"]["digest"].as_str() {
            self.referrers.entry(subject.to_owned()).or_default().insert(digest.to_owned());
        }
        for child in list("manifests") {
            self.follow(repository, child["digest"].as_str().unwrap(), tags);
        }
        for part in list("layers").into_iter().chain(manifest.get("config").cloned()) {
            let digest = part["digest"].as_str().unwrap();
            let answer = http::get(&format!("{}/v2/{repository}/blobs/{digest}", self.url), &[]);
            assert_eq!((answer.status, image::digest(&answer.body)), (200, digest.to_owned()));
            self.blobs.insert(digest.to_owned(), (repository.to_owned(), answer.body));
        }
        if self.by_api { self.ask(repository, digest) } else { self.look_for_tags(repository, digest, tags) }
    }

    /// What the referrers API says of a manifest.
    fn ask(&mut self, repository: &str, digest: &str) {
        let index = http::get(&format!("{}/v2/{repository}/referrers/{digest}", self.url), &[]).json();
        for referrer in list_digests(&index) {
            self.referrers.entry(digest.to_owned()).or_default().insert(referrer.clone());
            self.follow(repository, &referrer, &[]);
        }
    }

    fn look_for_tags(&mut self, repository: &str, digest: &str, tags: &[String]) {
        let stem = digest.replace(':', "-");
        for tag in ["", ".sig", ".att", ".sbom"].map(|ending| format!("{stem}{ending}")) {
            if tags.contains(&tag) {
                self.follow_tag(repository, &tag, tags);
                if tag == stem {
                    let index = origin::manifest_at(self.url, repository, &tag).json();
                    self.referrers.entry(digest.to_owned()).or_default().extend(list_digests(&index));
                }
            }
        }
    }

    /// The digests of all files, and `{}`, which is always there.
    fn digests(&self) -> Vec<String> {
        let all = self.manifests.keys().chain(self.blobs.keys()).cloned();
        all.chain([image::digest(b"{}")]).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// All of it is in this portolan's tree, byte for byte, and nothing else; under these tags.
    fn assert_exported(&self, portolan: &Portolan) {
        let category = portolan.category(CATEGORY);
        tree::check(&category);
        assert_eq!(tree::list_digests(&category), self.digests());
        for (digest, (_, bytes)) in self.manifests.iter().chain(&self.blobs) {
            let read = std::fs::read(category.join(tree::blob_path(digest))).unwrap();
            assert!(read == *bytes, "{digest}");
        }
        assert_eq!(exported_tags(portolan), self.tags);
    }

    /// Adds the one file that the origin does not have: it lists the artifact with this text, which does not say itself
    /// what it is about.
    fn add_list(&mut self, portolan: &Portolan, text: &str) {
        let category = portolan.category(CATEGORY);
        let mut new = tree::list_digests(&category);
        new.retain(|it| !self.manifests.contains_key(it) && !self.blobs.contains_key(it));
        new.retain(|it| *it != image::digest(b"{}"));
        let [digest] = &new[..] else { panic!("one list: {new:?}") };
        let bytes = std::fs::read(category.join(tree::blob_path(digest))).unwrap();
        let list: Value = serde_json::from_slice(&bytes).unwrap();
        let subject = list["subject"]["digest"].as_str().unwrap();
        let listed: Vec<String> = list_digests(&list).into_iter().collect();
        let [listed] = &listed[..] else { panic!("one artifact: {list:#}") };
        assert!(String::from_utf8_lossy(&self.manifests[listed].1).contains(text), "{list:#}");
        assert!(self.referrers[subject].contains(listed), "{list:#}");
        self.manifests.insert(digest.clone(), (APP.to_owned(), bytes));
    }

    fn assert_served(&self) {
        for (repository, tag, digest) in &self.tags {
            let answer = http::get(&format!("{SERVICE}/v2/{repository}/manifests/{tag}"), &[]);
            assert_eq!(answer.header("docker-content-digest"), Some(digest.as_str()), "{repository}:{tag}");
            assert!(answer.body == self.manifests[digest].1, "{repository}:{tag}");
        }
        for (kind, files) in [("manifests", &self.manifests), ("blobs", &self.blobs)] {
            for (digest, (repository, bytes)) in files {
                let answer = http::get(&format!("{SERVICE}/v2/{repository}/{kind}/{digest}"), &[]);
                assert!(
                    answer.status == 200 && answer.body == *bytes,
                    "{repository}@{digest}: {}",
                    answer.status
                );
            }
        }
        for (digest, (repository, _)) in &self.manifests {
            let index = http::get(&format!("{SERVICE}/v2/{repository}/referrers/{digest}"), &[]).json();
            assert_eq!(
                list_digests(&index),
                self.referrers.get(digest).cloned().unwrap_or_default(),
                "referrers of {digest}"
            );
        }
    }
}

/// The digests that an index names.
fn list_digests(index: &Value) -> BTreeSet<String> {
    let listed = index["manifests"].as_array().unwrap().iter();
    listed.map(|it| it["digest"].as_str().unwrap().to_owned()).collect()
}

/// Tags of the tree: repository, tag, digest.
fn exported_tags(portolan: &Portolan) -> BTreeSet<(String, String, String)> {
    let repositories = tree::repositories(&portolan.category(CATEGORY));
    let all = repositories
        .into_iter()
        .flat_map(|(name, tags)| tags.into_iter().map(move |(tag, digest)| (name.clone(), tag, digest)));
    all.collect()
}

#[test]
fn all_that_belongs_to_an_image_is_in_the_tree_and_at_the_service() {
    namespace::enter(|namespace| {
        let world = World::new(namespace, Engine::Sqlite);
        world.portolan.configure("tags = [\"*\"]", "tags = [\"4*\"]");
        seed_signed();
        seed_odd();
        artifact(APP, "other", "of no image that is chosen", None);
        let reachable = Reachable::of(origin::URL, false);
        // Both odd names have the same image.
        assert_eq!((reachable.tags.len(), reachable.manifests.len()), (13, 20));

        world.publish();
        reachable.assert_exported(&world.portolan);
        let serve = world.portolan.serve();
        reachable.assert_served();

        // Nothing new: one HEAD a tag, and one question a repository whether it has a referrers API.
        let before = world.origin.requests().len();
        world.portolan.done("export");
        let requests = &world.origin.requests()[before..];
        let count = |method: &str, part: &str| {
            requests.iter().filter(|it| it.method == method && it.path.contains(part)).count()
        };
        assert_eq!(count("HEAD", "/manifests/"), 13);
        assert_eq!(count("GET", "/referrers/"), 3);
        assert_eq!(
            requests.len(),
            13 + 3 + 3 + 2,
            "beside these: lists of tags, the catalog, the ping: {requests:#?}"
        );

        let shown = world.portolan.json(&format!("category show {CATEGORY}"));
        assert_eq!((&shown["tags"], &shown["manifests"]), (&json!(13), &json!(20)));
        assert_eq!(shown["shared_bytes"], 0);

        second_origin(&world, serve, &reachable);
    });
}

/// The service is an origin, too, and one with a referrers API. What a second portolan exports from it is the same;
/// without the tags, that which the API tells of.
fn second_origin(world: &World, serve: Serve, reachable: &Reachable) {
    let mut by_api = Reachable::of(SERVICE, true);
    let with_tags = export_from_service(world, "with-tags", "");
    let without_tags = export_from_service(world, "without-tags", "exclude_tags = [\"sha256-*\"]");
    serve.stop();
    let holds = |text: &str| by_api.blobs.contains_key(&image::digest(text.as_bytes()));
    for text in ["a referrer", "a referrer of a referrer", "without the field subject", "built by buildx"] {
        assert!(holds(text), "{text}");
    }
    assert!(!holds("a signature"), "that is only under a tag, and these are excluded");
    by_api.add_list(&without_tags, "without the field subject");
    for (portolan, expected) in [(with_tags, reachable), (without_tags, &by_api)] {
        expected.assert_exported(&portolan);
        portolan.done("migrate");
        portolan.done("scan");
        let serve = portolan.serve();
        expected.assert_served();
        serve.stop();
    }
}

/// A second portolan, whose origin is the service, with `line` in its category.
fn export_from_service(world: &World, name: &str, line: &str) -> Portolan {
    let config = std::fs::read_to_string(world.portolan.folder.join("portolan.toml")).unwrap();
    let folder = world.namespace.folder.join(name);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("portolan.toml"), config).unwrap();
    let portolan = Portolan::in_folder(folder);
    portolan.configure(origin::URL, SERVICE);
    portolan.configure("tags = [\"4*\"]", &format!("tags = [\"4*\"]\n{line}"));
    portolan.done("export");
    portolan
}
