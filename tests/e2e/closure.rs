//! Everything that belongs to an image, and that is said about it, is in the tree and at the service, byte for byte.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::rig::http;
use crate::rig::image::{self, Image, OCI_CONFIG, OCI_INDEX, OCI_MANIFEST};
use crate::rig::namespace;
use crate::rig::origin;
use crate::rig::portolan::Portolan;
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

/// What a registry has that tags beginning with `4` lead to, found out without portolan.
#[derive(Default)]
struct Reachable {
    /// Repository, tag, digest.
    tags: BTreeSet<(String, String, String)>,
    /// Digest → repository and bytes.
    manifests: BTreeMap<String, (String, Vec<u8>)>,
    blobs: BTreeMap<String, (String, Vec<u8>)>,
    /// Subject → digests of what refers to it.
    referrers: BTreeMap<String, BTreeSet<String>>,
}

impl Reachable {
    fn of_origin(origin: &origin::Origin) -> Reachable {
        let mut found = Reachable::default();
        for repository in [APP].into_iter().chain(ODD) {
            let list = http::get(&format!("{}/v2/{repository}/tags/list", origin::URL), &[]).json();
            let tags: Vec<String> = serde_json::from_value(list["tags"].clone()).unwrap();
            for tag in tags.iter().filter(|it| it.starts_with('4')) {
                found.follow_tag(origin, repository, tag, &tags);
            }
        }
        found
    }

    fn follow_tag(&mut self, origin: &origin::Origin, repository: &str, tag: &str, tags: &[String]) {
        let digest = origin.digest(repository, tag);
        if self.tags.insert((repository.to_owned(), tag.to_owned(), digest.clone())) {
            self.follow(origin, repository, &digest, tags);
        }
    }

    fn follow(&mut self, origin: &origin::Origin, repository: &str, digest: &str, tags: &[String]) {
        if self.manifests.contains_key(digest) {
            return;
        }
        let bytes = origin.manifest(repository, digest).body;
        let manifest: Value = serde_json::from_slice(&bytes).unwrap();
        self.manifests.insert(digest.to_owned(), (repository.to_owned(), bytes));
        let list = |key: &str| manifest[key].as_array().cloned().unwrap_or_default();
        if let Some(subject) = manifest["subject"]["digest"].as_str() {
            self.referrers.entry(subject.to_owned()).or_default().insert(digest.to_owned());
        }
        for child in list("manifests") {
            self.follow(origin, repository, child["digest"].as_str().unwrap(), tags);
        }
        for part in list("layers").into_iter().chain(manifest.get("config").cloned()) {
            let digest = part["digest"].as_str().unwrap();
            let answer = http::get(&format!("{}/v2/{repository}/blobs/{digest}", origin::URL), &[]);
            assert_eq!(answer.status, 200, "{digest}");
            self.blobs.insert(digest.to_owned(), (repository.to_owned(), answer.body));
        }
        let stem = digest.replace(':', "-");
        for tag in ["", ".sig", ".att", ".sbom"].map(|ending| format!("{stem}{ending}")) {
            if tags.contains(&tag) {
                self.follow_tag(origin, repository, &tag, tags);
                if tag == stem {
                    let index = origin.manifest(repository, &tag).json();
                    let listed = index["manifests"].as_array().unwrap().iter();
                    let listed = listed.map(|it| it["digest"].as_str().unwrap().to_owned());
                    self.referrers.entry(digest.to_owned()).or_default().extend(listed);
                }
            }
        }
    }

    /// The digests of all files, and `{}`, which is always there.
    fn digests(&self) -> Vec<String> {
        let all = self.manifests.keys().chain(self.blobs.keys()).cloned();
        all.chain([image::digest(b"{}")]).collect::<BTreeSet<_>>().into_iter().collect()
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
            let listed = index["manifests"].as_array().unwrap().iter();
            let listed: BTreeSet<_> = listed.map(|it| it["digest"].as_str().unwrap().to_owned()).collect();
            assert_eq!(
                listed,
                self.referrers.get(digest).cloned().unwrap_or_default(),
                "referrers of {digest}"
            );
        }
    }
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
        let reachable = Reachable::of_origin(&world.origin);
        // Both odd names have the same image.
        assert_eq!((reachable.tags.len(), reachable.manifests.len()), (13, 20));

        world.publish();
        let category = world.category();
        tree::check(&category);
        assert_eq!(tree::list_digests(&category), reachable.digests());
        assert_eq!(exported_tags(&world.portolan), reachable.tags);
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

        second_origin(&world);
        serve.stop();
    });
}

/// The service has a referrers API: without any tag for it, a second portolan finds through it what is said.
fn second_origin(world: &World) {
    let first = &world.portolan;
    let config = std::fs::read_to_string(first.folder.join("portolan.toml")).unwrap();
    let folder = world.namespace.folder.join("second");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("portolan.toml"), config).unwrap();
    let second = Portolan::in_folder(folder);
    second.configure(origin::URL, SERVICE);
    second.configure("tags = [\"4*\"]", "tags = [\"4*\"]\nexclude_tags = [\"sha256-*\"]");
    second.done("export");
    tree::check(&second.category(CATEGORY));
    let held = tree::list_digests(&second.category(CATEGORY));
    let holds = |text: &str| held.contains(&image::digest(text.as_bytes()));
    for text in ["a referrer", "a referrer of a referrer", "without the field subject", "built by buildx"] {
        assert!(holds(text), "{text}");
    }
    assert!(!holds("a signature"), "that is only under a tag, and these are excluded");
    assert!(exported_tags(&second).iter().all(|it| it.1.starts_with('4')));
}
