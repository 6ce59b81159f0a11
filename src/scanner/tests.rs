use std::{collections::BTreeMap, fs, path::Path};

use super::*;
use crate::{
    database::{snapshot, testing::on_both},
    mirrorlist::rows::{BlobKind, ContentRows},
    oci::{Descriptor, Digest, MediaType},
    tree::{CANARY, CANARY_DIGEST, Config, Former, Kind, State, Writer},
};

/// A tree with one category, written as export writes it.
struct World {
    folder: tempfile::TempDir,
    tree: Tree,
    writer: Writer,
    state: State,
    serial: i64,
}

const SMALL: u64 = 100;

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = Config { path: folder.path().to_owned(), ..Config::default() };
        let tree = Tree::open(&config);
        let state = State {
            selection: "{}".into(),
            repositories: BTreeMap::from([("fedora".parse().unwrap(), BTreeMap::new())]),
            entries: BTreeMap::new(),
            former: Former::new(),
        };
        let mut world = Self { folder, writer: tree.lock().unwrap(), tree, state, serial: 0 };
        world.store(CANARY, Kind::Blob);
        world
    }

    fn store(&mut self, bytes: &[u8], kind: Kind) -> Digest {
        let digest = Digest::of(bytes);
        self.writer.store(&digest, bytes).unwrap();
        self.state.entries.insert(*digest.sha256().unwrap(), (bytes.len() as u64, kind));
        digest
    }

    /// An image of one layer; `more` goes into its manifest.
    fn image(&mut self, layer: &str, more: &str) -> Digest {
        let layer = layer.repeat(100);
        let digest = self.store(layer.as_bytes(), Kind::Blob);
        let manifest = format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"c","digest":"{CANARY_DIGEST}","size":2}},
                "layers":[{{"mediaType":"l","digest":"{digest}","size":{}}}]{more}}}"#,
            layer.len()
        );
        self.store(manifest.as_bytes(), Kind::Manifest(MediaType::OciManifest))
    }

    fn tag(&mut self, tag: &str, digest: Digest) {
        let tags = self.state.repositories.get_mut("fedora").unwrap();
        tags.insert(tag.parse().unwrap(), digest);
    }

    fn publish(&mut self) {
        self.serial += 1;
        let name = "fedora".parse().unwrap();
        self.writer.publish(&name, &self.state, self.serial).unwrap();
    }

    fn scan(&self, database: &Database) -> Summary {
        scan(&self.tree, database, SMALL).unwrap()
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.folder.path().join("fedora").join(path)
    }

    fn blob(&self, digest: &Digest) -> std::path::PathBuf {
        self.tree.blob_path(&"fedora".parse().unwrap(), digest).unwrap()
    }
}

fn content(database: &Database) -> ContentRows {
    database.read(snapshot::load_content).unwrap()
}

fn tags(rows: &ContentRows) -> Vec<(String, Digest)> {
    let tags = rows.repositories.iter().flat_map(|it| it.tags.clone());
    tags.map(|(tag, hash)| (tag, Digest::Sha256(hash))).collect()
}

fn number(rows: &ContentRows, digest: &Digest) -> Option<u32> {
    rows.blobs.iter().find(|it| it.digest == *digest.sha256().unwrap()).map(|it| it.number)
}

#[track_caller]
fn refusal(summary: &Summary) -> &str {
    match &summary.categories[0].outcome {
        Outcome::Refused { reason } => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_image_is_taken_over_and_a_second_scan_writes_nothing() {
    on_both(|database| {
        let mut world = World::new();
        let image = world.image("layer", "");
        world.tag("latest", image);
        world.publish();
        let summary = world.scan(database);
        let updated = Outcome::Updated { serial: 1, blobs: 3, new_blobs: 3, tags: 1 };
        assert_eq!(summary.categories[0].outcome, updated);
        let rows = content(database);
        assert_eq!(tags(&rows), [("latest".to_owned(), image)]);
        assert_eq!(rows.categories[0].serial, 1);
        let kinds = rows.blobs.iter().filter(|it| it.kind == BlobKind::OciManifest);
        assert_eq!(kinds.map(|it| it.name()).collect::<Vec<_>>(), [image]);
        let set = roaring::RoaringBitmap::deserialize_from(&rows.categories[0].blobs[..]).unwrap();
        assert_eq!(set, (1..=3).collect());
        let bodies = database.read(snapshot::list_bodies).unwrap();
        assert_eq!(bodies.len(), 2, "the manifest and the small blob, not the layer");
        let bodies =
            database.read(|it| snapshot::load_bodies(it, &[*CANARY_DIGEST.sha256().unwrap()])).unwrap();
        assert_eq!(bodies[0].1, CANARY);

        let before = database.generations().unwrap();
        assert_eq!(world.scan(database).categories[0].outcome, Outcome::Unchanged);
        assert_eq!(database.generations().unwrap(), before);
    });
}

#[test]
fn a_moved_tag_keeps_its_former_manifest() {
    on_both(|database| {
        let mut world = World::new();
        let (old, new) = (world.image("old", ""), world.image("new", ""));
        world.tag("latest", old);
        world.tag("41", old);
        world.publish();
        world.scan(database);
        let before = content(database);
        world.tag("latest", new);
        world.publish();
        world.scan(database);
        let rows = content(database);
        assert_eq!(tags(&rows), [("41".to_owned(), old), ("latest".to_owned(), new)]);
        assert_eq!(number(&rows, &old), number(&before, &old));
        assert!(rows.generation > before.generation);
    });
}

#[test]
fn a_removed_tag_disappears_and_numbers_are_not_given_again() {
    on_both(|database| {
        let mut world = World::new();
        let (old, new) = (world.image("old", ""), world.image("new", ""));
        world.tag("old", old);
        world.tag("new", new);
        world.publish();
        world.scan(database);
        let highest = content(database).blobs.iter().map(|it| it.number).max().unwrap();

        world.state.repositories.get_mut("fedora").unwrap().remove("old");
        world.publish();
        world.scan(database);
        let rows = content(database);
        assert_eq!(tags(&rows), [("new".to_owned(), new)]);
        assert!(number(&rows, &old).is_some(), "it answers as long as it is in the inventory");

        for bytes in ["old".repeat(100).as_bytes(), &fs::read(world.blob(&old)).unwrap()] {
            world.state.entries.remove(Digest::of(bytes).sha256().unwrap());
        }
        world.publish();
        assert_eq!(world.scan(database).removed_blobs, 2);
        assert_eq!(number(&content(database), &old), None);

        let again = world.image("old", "");
        world.tag("old", again);
        world.publish();
        world.scan(database);
        assert!(number(&content(database), &again).unwrap() > highest);
    });
}

#[test]
fn a_half_written_tree_changes_nothing_and_says_why() {
    #[track_caller]
    fn check(breaks: impl Fn(&World, &Digest), reason: &str) {
        on_both(|database| {
            let mut world = World::new();
            let first = world.image("first", "");
            world.tag("latest", first);
            world.publish();
            world.scan(database);
            let before = content(database);
            let second = world.image("second", "");
            world.tag("latest", second);
            world.publish();
            breaks(&world, &second);
            let summary = world.scan(database);
            assert!(refusal(&summary).contains(reason), "{}", refusal(&summary));
            assert!(summary.has_refused());
            assert_eq!(content(database), before);
        });
    }
    let append = |path: &Path| {
        let text = fs::read(path).unwrap();
        fs::remove_file(path).unwrap();
        fs::write(path, [&text[..], b"\n"].concat()).unwrap();
    };
    check(|world, manifest| fs::remove_file(world.blob(manifest)).unwrap(), "is missing");
    check(|world, manifest| append(&world.blob(manifest)), "bytes instead of");
    check(|world, _| append(&world.path("zz/inventory")), "zz/inventory is not the one");
    check(|world, _| fs::write(world.path("zz/serial"), "9 x\n").unwrap(), "zz/serial is not");
    check(|world, _| fs::remove_file(world.path("zz/serial")).unwrap(), "no zz/serial");
    check(|world, _| append(&world.path("repositories.json")), "repositories.json is not the one");
    let flip = |world: &World, manifest: &Digest| {
        let path = world.blob(manifest);
        let text = fs::read_to_string(&path).unwrap().replace("layers", "LAYERS");
        fs::remove_file(&path).unwrap();
        fs::write(path, text).unwrap();
    };
    check(flip, "holds other bytes");
}

#[test]
fn referrers_are_found_by_subject_and_by_tag() {
    on_both(|database| {
        let mut world = World::new();
        let image = world.image("layer", "");
        let subject =
            format!(r#","artifactType":"a/sig","subject":{{"mediaType":"m","digest":"{image}","size":1}}"#);
        let signature = world.image("signature", &subject);
        let listed = world.image("sbom", "");
        let index = format!(
            r#"{{"schemaVersion":2,"manifests":[
                {{"mediaType":"m","digest":"{signature}","size":1,"artifactType":"other"}},
                {{"mediaType":"m","digest":"{listed}","size":1,"artifactType":"a/sbom","annotations":{{"k":"v"}}}},
                {{"mediaType":"m","digest":"{}","size":1}}]}}"#,
            Digest::of(b"not in the tree")
        );
        let index = world.store(index.as_bytes(), Kind::Manifest(MediaType::OciIndex));
        // As the exporter writes it down.
        let unsaid = world.image("unsaid", "");
        let descriptor = |it: Digest| Descriptor::new(MediaType::OciManifest, it, 1);
        let mut bill = descriptor(unsaid);
        bill.artifact_type = Some("a/unsaid".to_owned());
        let lists =
            tree::render_referrer_lists(&descriptor(image), &[bill, descriptor(Digest::of(b"not here"))]);
        world.store(&lists[0], Kind::Manifest(MediaType::OciIndex));
        world.tag("latest", image);
        world.tag(&format!("sha256-{}", image.hex()), index);
        world.publish();
        world.scan(database);
        let rows = content(database).referrers;
        let types: Vec<_> = rows.iter().map(|it| it.artifact_type.as_deref().unwrap()).collect();
        assert_eq!(types, ["a/sig", "a/unsaid", "a/sbom"], "the list itself is none");
        assert!(rows.iter().all(|it| it.subject == *image.sha256().unwrap()));
        assert!(rows[2].descriptor.contains(r#""annotations":{"k":"v"}"#), "{}", rows[2].descriptor);
    });
}

#[test]
fn a_category_is_retired_and_comes_back() {
    on_both(|database| {
        let mut world = World::new();
        let image = world.image("layer", "");
        world.tag("latest", image);
        world.publish();
        world.scan(database);
        let id = content(database).categories[0].id;
        let aside = world.folder.path().join(".portolan/aside");
        fs::rename(world.path(""), &aside).unwrap();
        let summary = world.scan(database);
        assert_eq!((summary.categories[0].outcome.clone(), summary.removed_blobs), (Outcome::Retired, 3));
        let rows = content(database);
        assert_eq!((rows.categories.len(), rows.repositories.len(), rows.blobs.len()), (0, 0, 0));
        fs::rename(&aside, world.path("")).unwrap();
        world.scan(database);
        let rows = content(database);
        assert_eq!((rows.categories[0].id, rows.blobs.len()), (id, 3));
        assert_eq!(tags(&rows), [("latest".to_owned(), image)]);
    });
}

#[test]
fn an_empty_folder_is_no_tree_and_retires_nothing() {
    on_both(|database| {
        let mut world = World::new();
        world.publish();
        world.scan(database);
        let before = content(database);
        let folder = tempfile::tempdir().unwrap();
        let tree = Tree::open(&Config { path: folder.path().to_owned(), ..Config::default() });
        assert!(matches!(scan(&tree, database, SMALL), Err(Error::NoTree(_))));
        assert_eq!(content(database), before);
    });
}

#[test]
fn one_scan_runs_at_a_time() {
    on_both(|database| {
        let mut world = World::new();
        world.publish();
        let lock = lock::take(&world.tree).unwrap();
        assert!(matches!(scan(&world.tree, database, SMALL), Err(Error::Locked(_))));
        drop(lock);
        world.scan(database);
    });
}

#[test]
fn a_blob_that_moves_between_categories_keeps_its_number() {
    on_both(|database| {
        let mut world = World::new();
        let image = world.image("layer", "");
        world.tag("latest", image);
        world.publish();
        world.scan(database);
        let before = number(&content(database), &image);
        // `other` comes after `fedora` in the alphabet, and only once `fedora` has lost it.
        world.writer.publish(&"other".parse().unwrap(), &world.state, 10).unwrap();
        fs::remove_dir_all(world.path("")).unwrap();
        let summary = world.scan(database);
        let updated = Outcome::Updated { serial: 10, blobs: 3, new_blobs: 0, tags: 1 };
        assert_eq!(
            summary.categories.iter().map(|it| &it.outcome).collect::<Vec<_>>(),
            [&updated, &Outcome::Retired]
        );
        let rows = content(database);
        assert_eq!(number(&rows, &image), before);
        assert_eq!(tags(&rows), [("latest".to_owned(), image)]);
    });
}
