//! The exporter against a small registry in memory, which counts what it is asked for and can be told
//! to misbehave.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::{Arc, Mutex},
};

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::*;

mod choice;
mod closure;
mod plan;
mod promotion;
mod scope;

use crate::{
    connector,
    connector::testing::{Answer, Request, Server},
    mirror::CategoryName,
    oci::{self, Digest, MediaType},
    tree::{self, Tree},
};

const OCI: MediaType = MediaType::OciManifest;
const INDEX: MediaType = MediaType::OciIndex;

/// What the registry holds. A test changes it between two exports.
#[derive(Default)]
struct Content {
    /// By repository and tag.
    tags: BTreeMap<(String, String), Digest>,
    manifests: BTreeMap<Digest, (MediaType, Vec<u8>)>,
    blobs: BTreeMap<Digest, Vec<u8>>,
    /// Does it have a referrers API?
    has_api: bool,
    /// What that lists of a subject, though the referrer does not name it.
    listed: Vec<(Digest, serde_json::Value)>,
    /// Answers that are not what they should be, by path.
    broken: BTreeMap<String, Vec<Answer>>,
}

fn descriptor(media_type: &str, bytes: &[u8]) -> serde_json::Value {
    json!({"mediaType": media_type, "digest": Digest::of(bytes), "size": bytes.len()})
}

fn digest_of(descriptor: &serde_json::Value) -> Digest {
    descriptor["digest"].as_str().unwrap().parse().unwrap()
}

impl Content {
    fn blob(&mut self, bytes: &[u8]) -> serde_json::Value {
        self.blobs.insert(Digest::of(bytes), bytes.to_vec());
        descriptor("application/octet-stream", bytes)
    }

    fn manifest(&mut self, media_type: MediaType, text: &serde_json::Value) -> serde_json::Value {
        let bytes = serde_json::to_vec(text).unwrap();
        let descriptor = descriptor(media_type.as_str(), &bytes);
        self.manifests.insert(Digest::of(&bytes), (media_type, bytes));
        descriptor
    }

    /// An image with the layers `base` (in every image) and `text`.
    fn image(&mut self, text: &str) -> serde_json::Value {
        let (config, base, layer) = (
            self.blob(format!("config of {text}").as_bytes()),
            self.blob(b"base"),
            self.blob(text.as_bytes()),
        );
        self.manifest(OCI, &json!({"schemaVersion": 2, "config": config, "layers": [base, layer]}))
    }

    fn index(&mut self, manifests: &[serde_json::Value]) -> serde_json::Value {
        self.manifest(
            INDEX,
            &json!({"schemaVersion": 2, "mediaType": INDEX.as_str(), "manifests": manifests}),
        )
    }

    fn tag(&mut self, image: &str, descriptor: &serde_json::Value) {
        let (name, tag) = image.split_once(':').unwrap();
        self.tags.insert((name.to_owned(), tag.to_owned()), digest_of(descriptor));
    }

    /// What its API says, if it has one.
    fn referrers(&self, subject: &Digest) -> Answer {
        if !self.has_api {
            return Answer::new(404, b"404 page not found");
        }
        let refers = |(media_type, bytes): &&(MediaType, Vec<u8>)| {
            let manifest = oci::Manifest::parse(*media_type, bytes).unwrap();
            manifest.subject.is_some_and(|it| it.digest == *subject)
        };
        let mut descriptors: Vec<_> = self
            .manifests
            .values()
            .filter(refers)
            .map(|(media_type, bytes)| descriptor(media_type.as_str(), bytes))
            .collect();
        descriptors.extend(self.listed.iter().filter(|it| it.0 == *subject).map(|it| it.1.clone()));
        Answer::new(200, json!({"schemaVersion": 2, "manifests": descriptors}).to_string().as_bytes())
    }

    fn answer(&mut self, request: &Request) -> Answer {
        if let Some(answers) = self.broken.get_mut(&request.path) {
            return if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() };
        }
        let Some(path) = request.path.strip_prefix("/v2/") else { return Answer::new(404, b"") };
        if path.is_empty() {
            return Answer::new(200, b"{}");
        }
        if path.starts_with("_catalog") {
            let names: BTreeSet<_> = self.tags.keys().map(|it| &it.0).collect();
            return Answer::new(200, json!({"repositories": names}).to_string().as_bytes());
        }
        if let Some((name, _)) = path.split_once("/tags/list") {
            let tags: Vec<_> = self.tags.keys().filter(|it| it.0 == name).map(|it| &it.1).collect();
            let status = if tags.is_empty() { 404 } else { 200 };
            return Answer::new(status, json!({"tags": tags}).to_string().as_bytes());
        }
        if let Some((_, subject)) = path.split_once("/referrers/") {
            return self.referrers(&subject.parse().unwrap());
        }
        if let Some((name, reference)) = path.split_once("/manifests/") {
            let digest =
                reference.parse().ok().or_else(|| self.tags.get(&(name.into(), reference.into())).copied());
            let Some((media_type, bytes)) = digest.and_then(|it| self.manifests.get(&it)) else {
                return Answer::new(404, b"");
            };
            return Answer::new(200, bytes)
                .header("content-type", media_type.as_str())
                .header("docker-content-digest", digest.unwrap().to_string());
        }
        let bytes = path.split_once("/blobs/").and_then(|it| self.blobs.get(&it.1.parse().ok()?));
        let Some(bytes) = bytes else { return Answer::new(404, b"") };
        let offset = request
            .headers
            .get("range")
            .and_then(|it| it.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
        match offset {
            Some(offset) if offset > 0 => {
                let range: String = format!("bytes {offset}-{}/{}", bytes.len() - 1, bytes.len());
                Answer::new(206, &bytes[offset..]).header("content-range", range)
            }
            _ => Answer::new(200, bytes),
        }
    }
}

/// What there was to read.
#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Observer for Notes {
    fn started(&self, _: &Transfer) {}
    fn advanced(&self, _: &Transfer, _: u64) {}
    fn finished(&self, _: &Transfer) {}
    fn verified(&self, _: u64, _: u64) {}
    fn note(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }
}

/// A registry, a tree, and what is to be exported.
struct World {
    content: Arc<Mutex<Content>>,
    server: Server,
    folder: tempfile::TempDir,
    categories: Vec<CategoryConfig>,
    all: bool,
    asked: usize,
    notes: Notes,
}

impl World {
    async fn new() -> Self {
        let content = Arc::new(Mutex::new(Content::default()));
        let server = Server::start({
            let content = content.clone();
            move |request| content.lock().unwrap().answer(request)
        })
        .await;
        let mut world = Self {
            content,
            server,
            folder: tempfile::tempdir().unwrap(),
            categories: Vec::new(),
            all: false,
            asked: 0,
            notes: Notes::default(),
        };
        world.category("main", &["*"]);
        world
    }

    fn category(&mut self, name: &str, repositories: &[&str]) {
        self.categories.push(CategoryConfig {
            repositories: repositories.iter().map(|it| (*it).to_owned()).collect(),
            ..CategoryConfig::new(name.parse().unwrap())
        });
    }

    fn change<T>(&self, change: impl FnOnce(&mut Content) -> T) -> T {
        change(&mut self.content.lock().unwrap())
    }

    fn tree_config(&self) -> tree::Config {
        let path = self.folder.path().join("tree");
        let keep_former = SignedDuration::from_hours(1);
        tree::Config { path, keep_former, all: self.all, ..tree::Config::default() }
    }

    fn tree(&self) -> Tree {
        Tree::open(&self.tree_config())
    }

    fn exporter(&self) -> Result<Exporter, Error> {
        let origin = connector::Config {
            url: Some(self.server.url().parse().unwrap()),
            ..connector::Config::default()
        };
        Exporter::new(&origin, &self.tree_config(), &self.categories)
    }

    async fn try_export(&self, now: i64) -> Result<Summary, Error> {
        self.exporter()?.run(&Scope::All, Timestamp::from_second(now).unwrap(), &self.notes).await
    }

    /// Exports, and checks that every category is whole.
    async fn export(&mut self, now: i64) -> Summary {
        self.asked = self.server.requests().len();
        let summary = self.try_export(now).await.unwrap();
        for config in &self.categories {
            let category = self.read(config.name.as_str());
            self.tree().verify(&category).unwrap();
        }
        summary
    }

    fn read(&self, name: &str) -> tree::Category {
        self.tree().read_category(&name.parse().unwrap()).unwrap()
    }

    /// `name:tag` → digest of the category `main`.
    fn tags(&self) -> Vec<String> {
        let repositories = self.read("main").repositories;
        repositories
            .iter()
            .flat_map(|(name, tags)| tags.keys().map(move |tag| format!("{name}:{tag}")))
            .collect()
    }

    /// `METHOD PATH` of all requests of the last export.
    fn requests(&self) -> Vec<String> {
        let requests = self.server.requests();
        requests[self.asked..].iter().map(|it| format!("{} {}", it.method, it.path)).collect()
    }

    fn holds(&self, category: &str, bytes: &[u8]) -> bool {
        let category: CategoryName = category.parse().unwrap();
        self.tree().open_blob(&category, &Digest::of(bytes)).unwrap().is_some()
    }
}

#[tokio::test]
async fn a_multi_platform_image_comes_whole_and_only_once() {
    let mut world = World::new().await;
    world.category("second", &["app"]);
    world.change(|content| {
        let images = ["amd64", "arm64"].map(|it| content.image(it));
        let index = content.index(&images);
        content.tag("app:1", &index);
        content.tag("other/app:1", &images[0]);
    });
    let summary = world.export(1000).await;
    assert!(summary.faults.is_empty(), "{summary:?}");
    assert_eq!(world.tags(), ["app:1", "other/app:1"]);
    assert_eq!((summary.fetched.blobs, summary.fetched.bytes), (5, 44));
    let blobs: Vec<_> = world.requests().into_iter().filter(|it| it.contains("/blobs/")).collect();
    assert_eq!(blobs.len(), blobs.iter().collect::<BTreeSet<_>>().len(), "each blob once: {blobs:?}");
    let kinds: Vec<_> = world.read("second").inventory.entries.iter().map(|it| it.kind.as_str()).collect();
    let count = |kind: &str| kinds.iter().filter(|it| **it == kind).count();
    assert_eq!((count("oci-index"), count("oci-manifest"), count("blob")), (1, 2, 6), "with the canary");
    assert_eq!(summary.categories.iter().map(|it| it.serial).collect::<Vec<_>>(), [1000, 1000]);
}

#[tokio::test]
async fn nothing_new_costs_one_head_a_tag() {
    let mut world = World::new().await;
    world.change(|content| {
        let image = content.image("a");
        let index = content.index(std::slice::from_ref(&image));
        content.tag("app:1", &image);
        content.tag("app:2", &index);
    });
    world.export(1000).await;
    let summary = world.export(2000).await;
    let mut requests = world.requests();
    let asked = requests.extract_if(.., |it| it.contains("/referrers/")).count();
    assert_eq!(asked, 1, "it is asked once whether it has a referrers API");
    requests.sort();
    assert_eq!(
        requests,
        [
            "GET /v2/",
            "GET /v2/_catalog?n=1000",
            "GET /v2/app/tags/list?n=1000",
            "HEAD /v2/app/manifests/1",
            "HEAD /v2/app/manifests/2",
        ]
    );
    assert_eq!((summary.categories[0].serial, summary.categories[0].changed), (1000, false));
    assert_eq!(summary.fetched, Fetched::default());
}

#[tokio::test]
async fn serials_only_grow() {
    let mut world = World::new().await;
    for (text, now, serial) in [("a", 1000, 1000), ("b", 500, 1001), ("c", 1001, 1002), ("d", 2000, 2000)] {
        world.change(|content| {
            let image = content.image(text);
            content.tag("app:1", &image);
        });
        assert_eq!(world.export(now).await.categories[0].serial, serial);
    }
}

#[tokio::test]
async fn what_a_tag_left_behind_stays_for_a_while() {
    let mut world = World::new().await;
    world.change(|content| {
        let old = content.image("old");
        content.tag("app:1", &old);
        content.tag("app:gone", &old);
    });
    world.export(1000).await;
    world.change(|content| {
        let new = content.image("new");
        content.tag("app:1", &new);
        content.tags.remove(&("app".into(), "gone".into()));
    });
    let summary = world.export(2000).await;
    assert_eq!(world.tags(), ["app:1"]);
    assert_eq!(summary.categories[0].former, 3, "manifest, configuration and layer");
    assert!(world.holds("main", b"old") && world.holds("main", b"new"));
    assert!(!world.export(2000 + 3599).await.categories[0].changed);

    let summary = world.export(2000 + 3600).await;
    assert!(summary.categories[0].changed);
    assert_eq!((summary.categories[0].former, summary.removed), (0, 3));
    assert!(!world.holds("main", b"old") && world.holds("main", b"new") && world.holds("main", b"base"));
}

#[tokio::test]
async fn a_former_image_may_come_back() {
    let mut world = World::new().await;
    let [old, new] = world.change(|content| ["old", "new"].map(|it| content.image(it)));
    for (image, now) in [(&old, 1000), (&new, 2000), (&old, 3000), (&new, 9000)] {
        world.change(|content| content.tag("app:1", image));
        world.export(now).await;
    }
    assert!(world.holds("main", b"old"), "it is former since 9000, not since 2000");
    assert!(!world.export(9000).await.categories[0].changed);
}

/// Exports a good state, breaks one image of two, exports again: the broken one must stay as it was,
/// the other must be exported, and the fault must name repository, tag and reason.
async fn check_fault(broken: impl FnOnce(&mut Content), tag: Option<&str>, part: &str) {
    let mut world = World::new().await;
    world.change(|content| {
        for name in ["bad:1", "good:1"] {
            let image = content.image("first");
            content.tag(name, &image);
        }
    });
    world.export(1000).await;
    let before = world.read("main").repositories;
    world.change(|content| {
        let image = content.image("second");
        content.tag("good:1", &image);
        content.tag("bad:1", &image);
        broken(content);
    });
    let summary = world.export(2000).await;
    let faults = &summary.faults;
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!((faults[0].repository.as_str(), faults[0].tag.as_deref()) == ("bad", tag), "{faults:?}");
    assert!(faults[0].reason.contains(part), "{faults:?}");
    let after = world.read("main").repositories;
    assert_ne!(after["good"], before["good"]);
    if tag != Some("../../etc/passwd") {
        assert_eq!(after["bad"], before["bad"]);
    }
    assert!(world.holds("main", b"first") && world.holds("main", b"second"));
    assert!(!world.folder.path().join("etc").exists());
}

#[tokio::test]
async fn a_wrong_digest_is_a_fault() {
    let broken = |content: &mut Content| {
        let image = content.image("wrong");
        content.tag("bad:1", &image);
        content.blobs.insert(Digest::of(b"wrong"), b"wrnog".to_vec());
    };
    check_fault(broken, Some("1"), "they have the digest").await;
    let broken = |content: &mut Content| {
        let image = content.image("wrong");
        content.tag("bad:1", &image);
        let path = format!("/v2/bad/manifests/{}", image["digest"].as_str().unwrap());
        content.broken.insert(path, vec![Answer::new(200, b"{}").header("content-type", OCI.as_str())]);
    };
    check_fault(broken, Some("1"), "sent other bytes").await;
}

#[tokio::test]
async fn a_body_that_ends_early_is_a_fault() {
    let broken = |content: &mut Content| {
        let image = content.image("truncated");
        content.tag("bad:1", &image);
        content.blobs.insert(Digest::of(b"truncated"), b"trunc".to_vec());
    };
    check_fault(broken, Some("1"), "5 bytes instead of 9").await;
    let broken = |content: &mut Content| {
        let image = content.image("cut short");
        content.tag("bad:1", &image);
        let path = format!("/v2/bad/blobs/{}", Digest::of(b"cut short"));
        content.broken.insert(path, vec![Answer::new(200, b"cut short").cut(3)]);
    };
    check_fault(broken, Some("1"), "broke off").await;
}

#[tokio::test]
async fn a_tag_that_is_a_path_is_a_fault() {
    let broken = |content: &mut Content| {
        let image = content.image("second");
        content.tag("bad:../../etc/passwd", &image);
    };
    check_fault(broken, Some("../../etc/passwd"), "a tag is 1 to 128 letters").await;
}

#[tokio::test]
async fn a_huge_manifest_is_a_fault() {
    let broken = |content: &mut Content| {
        let text = json!({"schemaVersion": 2, "x": "x".repeat(5_000_000)});
        let image = content.manifest(OCI, &text);
        content.tag("bad:1", &image);
    };
    check_fault(broken, Some("1"), "longer than 4 MiB").await;
}

#[tokio::test]
async fn too_deep_and_too_wide_indexes_are_faults() {
    let nested = |levels: usize| {
        move |content: &mut Content| {
            let mut image = content.image("deep");
            for _ in 0..levels {
                image = content.index(&[image]);
            }
            content.tag("bad:1", &image);
        }
    };
    check_fault(nested(20), Some("1"), "nested more than 8 deep").await;
    let wide = |content: &mut Content| {
        let image = content.image("wide");
        let index = content.index(&vec![image; 10_000]);
        content.tag("bad:1", &index);
    };
    check_fault(wide, Some("1"), "has 10000 manifests, more than 1000").await;

    let mut world = World::new().await;
    world.change(|content| {
        nested(8)(content);
    });
    assert!(world.export(1000).await.faults.is_empty(), "8 levels are allowed");
}

#[tokio::test]
async fn old_and_foreign_forms_are_named() {
    let broken = |content: &mut Content| {
        let old = json!({"mediaType": "application/vnd.docker.distribution.manifest.v1+json",
            "digest": Digest::of(b"old"), "size": 3});
        let index = content.index(&[old]);
        content.tag("bad:1", &index);
    };
    check_fault(broken, Some("1"), "schema 1").await;
    let broken = |content: &mut Content| {
        let long = json!({"mediaType": "x", "digest": Digest::Sha512([1; 64]), "size": 3});
        let image = content.manifest(OCI, &json!({"schemaVersion": 2, "layers": [long]}));
        content.tag("bad:1", &image);
    };
    check_fault(broken, Some("1"), "another algorithm than sha256").await;
}

#[tokio::test]
async fn foreign_layers_are_left_out_and_listed() {
    let mut world = World::new().await;
    let foreign = Digest::of(b"of windows");
    world.change(|content| {
        let layer = json!({"mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            "digest": foreign, "size": 10, "urls": ["https://example.org/x"]});
        let config = content.blob(b"config");
        let image = content.manifest(OCI, &json!({"schemaVersion": 2, "config": config, "layers": [layer]}));
        content.tag("app:1", &image);
    });
    let summary = world.export(1000).await;
    assert_eq!(summary.foreign_layers.iter().map(|it| it.digest).collect::<Vec<_>>(), [foreign]);
    assert!(summary.faults.is_empty() && world.read("main").inventory.find(&foreign).is_none());
}

#[tokio::test]
async fn a_repository_that_fails_keeps_its_tags() {
    let broken = |content: &mut Content| {
        content.broken.insert("/v2/bad/tags/list?n=1000".to_owned(), vec![Answer::new(403, b"")]);
    };
    check_fault(broken, None, "403").await;
}

#[tokio::test]
async fn a_cut_is_resumed_and_patience_is_kept() {
    let mut world = World::new().await;
    let path = world.change(|content| {
        let image = content.image("a longer layer");
        content.tag("app:1", &image);
        format!("/v2/app/blobs/{}", Digest::of(b"a longer layer"))
    });
    world.change(|content| {
        let busy = Answer::new(429, b"").header("retry-after", "0");
        let cut = Answer::new(200, b"a longer layer").cut(4);
        let rest = Answer::new(206, b"nger layer").header("content-range", "bytes 4-13/14");
        content.broken.insert(path.clone(), vec![busy, cut, rest]);
    });
    assert!(world.export(1000).await.faults.is_empty());
    let ranges: Vec<_> = world.server.requests().into_iter().filter(|it| it.path == path).collect();
    let ranges: Vec<_> = ranges.iter().map(|it| it.headers.get("range").map(String::as_str)).collect();
    assert_eq!(ranges, [None, None, Some("bytes=4-")]);
}

#[tokio::test]
async fn what_a_killed_export_fetched_is_not_fetched_again() {
    let mut world = World::new().await;
    world.change(|content| {
        let image = content.image("a");
        content.tag("app:1", &image);
    });
    // As if killed after the first blob: it is in the pool, and nothing is published.
    let writer = world.tree().lock().unwrap();
    writer.store(&Digest::of(b"base"), b"base").unwrap();
    drop(writer);
    let summary = world.export(1000).await;
    assert_eq!(summary.fetched.blobs, 2);
    // As if killed between repositories.json and the inventory.
    let path = world.folder.path().join("tree/main/repositories.json");
    fs::write(path, "{}").unwrap();
    let summary = world.export(2000).await;
    assert_eq!((summary.fetched.blobs, summary.categories[0].serial), (0, 2000));
}

#[tokio::test]
async fn what_a_killed_publication_left_goes_though_nothing_is_new() {
    let mut world = World::new().await;
    world.all = true;
    world.categories[0].registry = true;
    world.change(|content| {
        let image = content.image("a");
        content.tag("app:1", &image);
    });
    world.export(1000).await;
    let (tree, main) = (world.tree(), "main".parse().unwrap());
    let stray = Digest::of(b"of the state before");
    let strays = ["main", "all"].map(|it| tree.blob_path(&it.parse().unwrap(), &stray).unwrap());
    let tags = tree.category_path(&main).join("tags/gone/_");
    std::fs::create_dir_all(&tags).unwrap();
    for path in strays.iter().chain(&[tags.join("1.oci-manifest")]) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "of the state before").unwrap();
    }
    // As if it had been killed before it removed these.
    world.export(2000).await;
    assert!(!strays.iter().any(|it| it.exists()) && !tags.exists());
    assert_eq!((world.read("main").inventory.serial, world.read("all").inventory.serial), (1000, 1000));
}

#[tokio::test]
async fn blobs_of_a_failed_image_wait_for_the_next_run() {
    let mut world = World::new().await;
    world.change(|content| {
        let image = content.image("late");
        content.tag("app:1", &image);
        content.blobs.remove(&Digest::of(b"late"));
    });
    for _ in 0..2 {
        let summary = world.try_export(1000).await.unwrap();
        assert_eq!(summary.faults.len(), 1);
        assert!(summary.refused[0].reason.starts_with("none of its images could be exported"), "{summary:?}");
    }
    world.change(|content| content.blob(b"late"));
    let summary = world.export(2000).await;
    assert_eq!(summary.fetched.blobs, 1, "the other two were kept: {summary:?}");
}

#[tokio::test]
async fn without_an_origin_the_tree_stays() {
    let mut world = World::new().await;
    world.change(|content| {
        let image = content.image("a");
        content.tag("app:1", &image);
    });
    world.export(1000).await;
    for path in ["/v2/", "/v2/_catalog?n=1000"] {
        world.change(|content| content.broken = [(path.to_owned(), vec![Answer::new(404, b"")])].into());
        let error = world.try_export(2000).await.unwrap_err();
        assert!(matches!(error, Error::Origin(_)), "{error}");
        assert_eq!((world.tags(), world.read("main").inventory.serial), (vec!["app:1".to_owned()], 1000));
    }
}

#[tokio::test]
async fn names_need_no_catalog() {
    let mut world = World::new().await;
    world.categories.clear();
    world.category("main", &["app", "missing"]);
    world.change(|content| {
        let image = content.image("a");
        content.tag("app:1", &image);
        content.tag("other:1", &image);
    });
    let summary = world.export(1000).await;
    assert_eq!(world.tags(), ["app:1"]);
    assert_eq!(summary.faults[0].to_string(), "missing: the origin has no such repository");
    assert!(!world.requests().iter().any(|it| it.contains("_catalog")));
}

#[test]
fn an_export_may_run_on_any_thread() {
    fn check<T: Send>(_: impl FnOnce(&'static Exporter) -> T) {}
    static NOTES: Notes = Notes(Mutex::new(Vec::new()));
    check(|exporter| exporter.run(&Scope::All, Timestamp::UNIX_EPOCH, &NOTES));
}

/// A tree with `app:1` and `app:2`, before the configuration changes.
async fn exported() -> World {
    let mut world = World::new().await;
    world.change(|content| {
        let image = content.image("a");
        content.tag("app:1", &image);
        content.tag("app:2", &image);
    });
    world.export(1000).await;
    world
}

#[tokio::test]
async fn a_category_that_selects_nothing_stays_as_it_was() {
    #[track_caller]
    fn check(summary: &Summary, category: &str, parts: &[&str]) {
        let [refusal] = &summary.refused[..] else { panic!("{summary:?}") };
        let text = refusal.to_string();
        assert!(text.starts_with(&format!("category {category}: ")), "{text}");
        for part in parts.iter().chain(&["the tree stays as it was"]) {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        assert!(!summary.is_whole() && summary.unmatched.is_empty(), "{summary:?}");
    }
    let mut world = exported().await;
    world.category("other", &["app"]);
    world.categories[0].tags = vec!["v*".to_owned()];
    let summary = world.export(2000).await;
    check(&summary, "main", &["app has 1, 2", "take it out of the configuration"]);
    assert_eq!(summary.categories.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["other"]);
    assert_eq!(
        (world.tags(), world.read("main").inventory.serial),
        (vec!["app:1".into(), "app:2".into()], 1000)
    );

    world.categories[0] = CategoryConfig { tags: vec!["*".into()], ..world.categories[0].clone() };
    world.categories[0].repositories = vec!["appp/*".to_owned()];
    check(&world.export(3000).await, "main", &["`repositories`", "which has app"]);
    world.categories[0].repositories = vec!["appp".to_owned()];
    let summary = world.export(4000).await;
    check(&summary, "main", &["appp could not be listed"]);
    assert_eq!(summary.faults[0].to_string(), "appp: the origin has no such repository");
    assert_eq!((world.tags().len(), world.read("main").inventory.serial), (2, 1000));

    world.categories.remove(0);
    world.category("new", &["appp"]);
    check(&world.try_export(5000).await.unwrap(), "new", &["appp could not be listed"]);
    assert!(!world.folder.path().join("tree/new").exists());
}

#[tokio::test]
async fn the_last_tag_of_a_category_does_not_go_unnoticed() {
    let mut world = exported().await;
    world.change(|content| content.tags.clear());
    let summary = world.export(2000).await;
    assert!(summary.refused[0].reason.contains("which has none"), "{summary:?}");
    assert_eq!(world.tags().len(), 2);
}

#[tokio::test]
async fn a_pattern_that_fits_nothing_beside_others_is_told() {
    let mut world = exported().await;
    world.categories[0].repositories = vec!["app".to_owned(), "lib/*".to_owned()];
    world.categories[0].tags = vec!["1".to_owned(), "v*".to_owned()];
    let summary = world.export(2000).await;
    let told: Vec<_> = summary.unmatched.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "category main: nothing at the origin fits `lib/*` in `repositories`",
            "category main: nothing at the origin fits `v*` in `tags`",
        ]
    );
    assert!(summary.is_whole());
    assert_eq!(world.tags(), ["app:1"]);
}

#[tokio::test]
async fn a_category_that_was_taken_out_stays_until_its_folder_goes() {
    let mut world = exported().await;
    world.category("kept", &["app"]);
    world.categories.remove(0);
    assert!(world.export(2000).await.is_whole());
    let note = "category main is in the tree but not in the configuration; it stays as it is; to end it, remove \
                its folder from the tree, then run `portolan scan`";
    assert_eq!(*world.notes.0.lock().unwrap(), [note]);
    assert_eq!(world.tags().len(), 2);
}

#[tokio::test]
async fn what_is_withdrawn_leaves_the_tree_and_stays_out() {
    let mut world = World::new().await;
    let withdraw = |world: &World, bytes: &[&[u8]]| {
        let digests = bytes.iter().map(|it| Digest::of(it)).collect();
        world.tree().replace_withdrawn(&digests).unwrap();
    };
    world.change(|content| {
        for text in ["good", "bad"] {
            let image = content.image(text);
            content.tag(&format!("app:{text}"), &image);
        }
    });
    world.export(1000).await;
    assert!(world.holds("main", b"bad"));

    withdraw(&world, &[b"bad"]);
    let summary = world.export(2000).await;
    assert!(summary.faults.is_empty());
    assert_eq!(summary.withdrawn.iter().map(|it| it.tag.as_str()).collect::<Vec<_>>(), ["bad"]);
    assert_eq!(world.tags(), ["app:good"]);
    assert!(!world.holds("main", b"bad") && !world.tree().pool_path(&Digest::of(b"bad")).exists());
    assert!(world.holds("main", b"config of bad"), "what is not withdrawn is former");
    assert!(world.holds("main", b"good") && world.holds("main", b"base"));
    let summary = world.export(2001).await;
    assert!(!summary.categories[0].changed, "it stays out");
    assert!(!world.requests().iter().any(|it| it.contains(&Digest::of(b"bad").to_string())));

    // An image that cannot be asked for stays as it was, but for what is withdrawn.
    world.change(|content| {
        content.broken.insert("/v2/app/manifests/good".to_owned(), vec![Answer::new(403, b"")]);
    });
    withdraw(&world, &[b"bad", b"good"]);
    let summary = world.export(2002).await;
    assert_eq!((summary.faults.len(), summary.withdrawn.len()), (1, 2), "{summary:?}");
    assert!(world.tags().is_empty() && !world.holds("main", b"good"));

    world.change(|content| content.broken.clear());
    withdraw(&world, &[]);
    world.export(2003).await;
    assert_eq!(world.tags(), ["app:bad", "app:good"], "restored");

    std::fs::write(world.tree().path().join(".portolan/withdrawn"), "all\n").unwrap();
    assert!(world.try_export(2004).await.is_err(), "no export while it is not known what is withdrawn");
}
