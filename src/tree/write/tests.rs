use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    process::Command,
    sync::mpsc,
    time::Duration,
};

use super::*;
use crate::{
    oci::MediaType,
    tree::{Config, Former, Repositories},
};

struct Room {
    _folder: tempfile::TempDir,
    tree: Tree,
}

fn room() -> Room {
    let folder = tempfile::tempdir().unwrap();
    let tree = Tree::open(&Config { path: folder.path().join("a/tree"), ..Config::default() });
    Room { _folder: folder, tree }
}

fn category(name: &str) -> CategoryName {
    name.parse().unwrap()
}

/// A manifest `m` with the tag `app:1`, a blob `b`, and the canary.
fn state(writer: &Writer) -> State {
    let mut state = State {
        selection: "{}".to_owned(),
        repositories: Repositories::new(),
        entries: BTreeMap::new(),
        former: Former::new(),
    };
    for (bytes, kind) in
        [(CANARY, Kind::Blob), (b"b", Kind::Blob), (b"m", Kind::Manifest(MediaType::OciManifest))]
    {
        let digest = oci::Digest::of(bytes);
        writer.store(&digest, bytes).unwrap();
        state.entries.insert(*digest.sha256().unwrap(), (bytes.len() as u64, kind));
    }
    let tags = BTreeMap::from([("1".parse().unwrap(), oci::Digest::of(b"m"))]);
    state.repositories.insert("app".parse().unwrap(), tags);
    state
}

#[test]
fn two_states_of_one_second_have_other_times() {
    let room = room();
    let writer = room.tree.lock().unwrap();
    let (mut state, name) = (state(&writer), category("c"));
    state.selection = r#"{"registry":true}"#.to_owned();
    let folder = room.tree.category_path(&name);
    let files = ["zz/serial", "zz/inventory", "repositories.json", "tags/app/_list"];
    let seconds = || files.map(|it| fs::metadata(folder.join(it)).unwrap().mtime());
    writer.publish(&name, &state, 7).unwrap();
    assert_eq!(seconds(), [7; 4]);
    let tag = ("2".parse().unwrap(), oci::Digest::of(b"m"));
    state.repositories.get_mut("app").unwrap().extend([tag]);
    writer.publish(&name, &state, 8).unwrap();
    assert_eq!(seconds(), [8; 4]);
    writer.publish(&name, &state, Serial::MAX).unwrap();
}

#[test]
fn a_blob_in_ten_categories_is_stored_once() {
    let room = room();
    let writer = room.tree.lock().unwrap();
    let state = state(&writer);
    let names: Vec<_> = (0..10).map(|number| category(&format!("c{number}"))).collect();
    for name in &names {
        writer.publish(name, &state, 7).unwrap();
    }
    let digest = oci::Digest::of(b"b");
    let places: Vec<_> =
        names.iter().map(|it| fs::metadata(room.tree.blob_path(it, &digest).unwrap()).unwrap()).collect();
    assert!(places.iter().all(|it| it.nlink() == 11 && it.ino() == places[0].ino()));
    assert_eq!(room.tree.category_names().unwrap(), names);
    assert_eq!(writer.last_serial().unwrap(), 7);
}

#[test]
fn what_was_published_is_read_again() {
    let room = room();
    let writer = room.tree.lock().unwrap();
    let (name, state) = (category("c"), state(&writer));
    writer.publish(&name, &state, 7).unwrap();
    let read = room.tree.read_category(&name).unwrap();
    room.tree.verify(&read).unwrap();
    assert_eq!(read.repositories, state.repositories);
    assert_eq!(read.inventory.serial, 7);
    assert_eq!(writer.tree().load_state(&name).unwrap(), state);
    assert!(writer.is_published(&name, &state));
    assert!(room.tree.open_blob(&name, &oci::Digest::of(b"b")).unwrap().is_some());
    assert!(room.tree.open_blob(&name, &oci::Digest::of(b"none")).unwrap().is_none());
}

#[test]
fn files_are_readable_for_all() {
    let room = room();
    let writer = room.tree.lock().unwrap();
    let name = category("c");
    writer.publish(&name, &state(&writer), 7).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let blob = room.tree.blob_path(&name, &oci::Digest::of(b"b")).unwrap();
    for file in [&blob, &room.tree.serial_path(&name), &room.tree.repositories_path(&name)] {
        assert_eq!(mode(file), 0o644);
        assert_eq!(mode(folder_of(file)), 0o755);
    }
}

#[test]
fn a_half_written_tree_is_refused_with_the_reason() {
    #[track_caller]
    fn check(break_it: impl Fn(&Tree, &CategoryName), part: &str) {
        let room = room();
        let writer = room.tree.lock().unwrap();
        let (name, state) = (category("c"), state(&writer));
        writer.publish(&name, &state, 7).unwrap();
        break_it(&room.tree, &name);
        let error = room.tree.read_category(&name).and_then(|it| room.tree.verify(&it)).unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
        assert!(!writer.is_published(&name, &state));
        writer.publish(&name, &state, 8).unwrap_or_else(|error| panic!("repair: {error}"));
    }
    let remove = |path: PathBuf| fs::remove_file(path).unwrap();
    let write = |path: PathBuf, text: &str| fs::write(path, text).unwrap();
    check(|tree, name| remove(tree.serial_path(name)), "it has no zz/serial");
    check(|tree, name| write(tree.serial_path(name), "7"), "zz/serial is not");
    check(|tree, name| write(tree.inventory_path(name), "x"), "not the one that zz/serial names");
    check(|tree, name| write(tree.repositories_path(name), "{}"), "not the one that zz/inventory names");
    check(|tree, name| remove(tree.blob_path(name, &oci::Digest::of(b"b")).unwrap()), "is missing");
    let swap = |tree: &Tree, name: &CategoryName| {
        let path = tree.blob_path(name, &oci::Digest::of(b"b")).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(path, "bb").unwrap();
    };
    check(swap, "has 2 bytes instead of 1");
}

#[test]
fn only_right_bytes_get_in() {
    let room = room();
    let writer = room.tree.lock().unwrap();
    let digest = oci::Digest::of(b"hello");
    let attempt = |bytes: &[u8]| {
        let mut blob = writer.start(&digest, 5).unwrap();
        blob.write(bytes).and_then(|()| blob.finish()).map_err(|error| error.to_string())
    };
    assert!(attempt(b"hell").unwrap_err().contains("4 bytes instead of 5"));
    assert!(attempt(b"hello!").unwrap_err().contains("6 bytes instead of 5"));
    assert!(attempt(b"jello").unwrap_err().contains("they have the digest"));
    assert!(!writer.tree().has_blob(&digest, 5));
    let mut blob = writer.start(&digest, 5).unwrap();
    blob.write(b"xx").unwrap();
    blob.restart().unwrap();
    blob.write(b"hello").unwrap();
    blob.finish().unwrap();
    assert!(writer.tree().has_blob(&digest, 5) && !writer.tree().has_blob(&digest, 4));
    assert_eq!(fs::read_dir(room.tree.private_path("tmp")).unwrap().count(), 0);
    let sha512 = writer.start(&oci::Digest::Sha512([0; 64]), 5).err().unwrap();
    assert!(matches!(sha512, Error::Algorithm(_)));
}

#[test]
fn a_manifest_that_has_gone_bad_is_replaced() {
    let room = room();
    let writer = room.tree.lock().unwrap();
    let (name, state) = (category("c"), state(&writer));
    writer.publish(&name, &state, 7).unwrap();
    let digest = oci::Digest::of(b"m");
    fs::write(room.tree.pool_path(&digest), "x").unwrap();
    assert_eq!(writer.tree().read_manifest(&digest).unwrap(), None);
    writer.store(&digest, b"m").unwrap();
    assert!(!writer.is_published(&name, &state), "the category still has the bad one");
    writer.publish(&name, &state, 8).unwrap();
    assert_eq!(fs::read(room.tree.blob_path(&name, &digest).unwrap()).unwrap(), b"m");
}

#[test]
fn one_export_at_a_time_and_it_cleans_up() {
    let room = room();
    let writer = room.tree.lock().unwrap();
    let locked = room.tree.lock().unwrap_err().to_string();
    assert!(locked.contains(&format!("process {}", std::process::id())), "{locked}");
    let _forked = writer.lock.try_clone().unwrap(); // as a child has it before it runs its own program
    drop(writer);
    fs::write(room.tree.private_path("tmp").join("left"), "x").unwrap();
    room.tree.lock().unwrap();
    assert_eq!(fs::read_dir(room.tree.private_path("tmp")).unwrap().count(), 0);
}

#[test]
fn what_no_inventory_holds_goes() {
    let room = room();
    let writer = room.tree.lock().unwrap();
    let (name, mut state) = (category("c"), state(&writer));
    writer.publish(&name, &state, 7).unwrap();
    let (gone, kept) = (oci::Digest::of(b"b"), oci::Digest::of(b"fresh"));
    writer.store(&kept, b"fresh").unwrap();
    state.entries.remove(gone.sha256().unwrap());
    writer.publish(&name, &state, 8).unwrap();
    assert!(!room.tree.blob_path(&name, &gone).unwrap().exists());
    assert_eq!(writer.prune_pool(&HashSet::from([kept])).unwrap(), 1);
    assert!(!writer.tree().has_blob(&gone, 1) && writer.tree().has_blob(&kept, 5));
    assert!(writer.is_published(&name, &state));
}

/// Reads and verifies the category `c` and opens its blob `b` in a thread of its own, for it might never end.
#[track_caller]
fn refused_in_time(tree: &Tree) -> String {
    let (sender, receiver) = mpsc::channel();
    let tree = tree.clone();
    std::thread::spawn(move || {
        let name = category("c");
        let read = tree.read_category(&name).and_then(|it| tree.verify(&it));
        let opened = tree.open_blob(&name, &oci::Digest::of(b"b"));
        sender.send(read.and(opened.map(|_| ())).map_err(|error| error.to_string()))
    });
    receiver.recv_timeout(Duration::from_secs(10)).expect("an answer in time").unwrap_err()
}

#[test]
fn pipes_and_devices_are_refused() {
    #[track_caller]
    fn check(place: fn(&Tree, &CategoryName) -> PathBuf, put: fn(&Path)) {
        let room = room();
        let writer = room.tree.lock().unwrap();
        let name = category("c");
        writer.publish(&name, &state(&writer), 7).unwrap();
        let path = place(&room.tree, &name);
        fs::remove_file(&path).unwrap();
        put(&path);
        let error = refused_in_time(&room.tree);
        let named = error.contains(&path.display().to_string());
        assert!(named && error.contains("is no regular file"), "{error}");
    }
    fn pipe(path: &Path) {
        assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    }
    fn device(path: &Path) {
        symlink("/dev/zero", path).unwrap();
    }
    for put in [pipe, device] {
        check(Tree::serial_path, put);
        check(Tree::inventory_path, put);
        check(Tree::repositories_path, put);
        check(|tree, name| tree.blob_path(name, &oci::Digest::of(b"b")).unwrap(), put);
    }
}

#[test]
fn the_files_of_a_registry_follow_tags_and_manifests() {
    let room = room();
    let writer = room.tree.lock().unwrap();
    let (name, mut state) = (category("c"), state(&writer));
    state.selection = r#"{"registry":true}"#.to_owned();
    writer.publish(&name, &state, 7).unwrap();
    let digest = oci::Digest::of(b"m");
    let hex = digest.hex();
    let at = |path: &str| room.tree.category_path(&name).join(path);
    let manifest = at(&format!("manifests/sha256/{}/{hex}.oci-manifest", &hex[..2]));
    let links = || fs::metadata(room.tree.pool_path(&digest)).unwrap().nlink();
    assert_eq!((links(), fs::read(&manifest).unwrap()), (4, b"m".to_vec()), "links, no copies");
    assert_eq!(fs::read(at("tags/app/_/1.oci-manifest")).unwrap(), b"m");
    assert_eq!(fs::read(at("tags/app/_list")).unwrap(), br#"{"name":"app","tags":["1"]}"#);
    assert!(writer.is_published(&name, &state));

    // A tag goes at once, the manifest when it is former no more.
    let tags = BTreeMap::from([("2".parse().unwrap(), digest)]);
    state.repositories = [("other/app".parse().unwrap(), tags)].into();
    writer.publish(&name, &state, 8).unwrap();
    let tag = at("tags/other/app/_/2.oci-manifest");
    assert!(!at("tags/app").exists() && manifest.exists() && tag.exists());

    let check = || room.tree.read_category(&name).and_then(|it| room.tree.verify(&it));
    check().unwrap();
    for path in [&tag, &manifest, &at("tags/other/app/_list")] {
        fs::remove_file(path).unwrap();
        let error = check().unwrap_err().to_string();
        assert!(error.contains(path.file_name().unwrap().to_str().unwrap()), "{error}");
        assert!(!writer.is_published(&name, &state));
        writer.publish(&name, &state, 9).unwrap();
        check().unwrap();
    }

    state.repositories.clear();
    state.entries.remove(digest.sha256().unwrap());
    writer.publish(&name, &state, 10).unwrap();
    assert!(!at("tags").exists() && !at("manifests").exists() && links() == 1);
}

#[test]
fn without_the_choice_there_are_no_files_of_a_registry() {
    let room = room();
    let writer = room.tree.lock().unwrap();
    let (name, mut state) = (category("c"), state(&writer));
    let has_any = || ["tags", "manifests"].iter().any(|it| room.tree.category_path(&name).join(it).exists());
    writer.publish(&name, &state, 7).unwrap();
    assert!(!has_any());
    state.selection = r#"{"registry":true}"#.to_owned();
    writer.publish(&name, &state, 8).unwrap();
    assert!(has_any());
    state.selection = "{}".to_owned();
    writer.publish(&name, &state, 9).unwrap();
    assert!(!has_any() && writer.is_published(&name, &state));
}

#[test]
fn large_blobs_have_pieces_as_long_as_they_are_there() {
    let room = room();
    let writer = room.tree.lock().unwrap();
    let bytes = vec![7; 2_500_000];
    let (digest, size) = (oci::Digest::of(&bytes), bytes.len() as u64);
    let mut blob = writer.start(&digest, size).unwrap();
    blob.write(&bytes[..9]).unwrap();
    blob.restart().unwrap();
    blob.write(&bytes).and_then(|()| blob.finish()).unwrap();
    let pieces = room.tree.read_pieces(&digest, size).unwrap().unwrap();
    let expected: Vec<_> = bytes.chunks(pieces.length() as usize).map(oci::Digest::of).collect();
    assert_eq!(pieces.digests().collect::<Vec<_>>(), expected);
    assert!(!room.tree.lacks_pieces(&digest, size) && !room.tree.lacks_pieces(&oci::Digest::of(b"m"), 1));

    let path = room.tree.pieces_path(&digest);
    fs::write(&path, "half").unwrap();
    assert!(room.tree.lacks_pieces(&digest, size));
    assert_eq!(room.tree.read_pieces(&digest, size).unwrap(), None);
    writer.cut(&digest, size).unwrap();
    assert_eq!(room.tree.read_pieces(&digest, size).unwrap(), Some(pieces));

    fs::remove_file(&path).unwrap();
    fs::write(room.tree.pool_path(&digest), vec![8; 2_500_000]).unwrap();
    assert!(writer.cut(&digest, size).unwrap_err().to_string().contains("they have the digest"));
    assert!(!path.exists(), "no pieces of wrong bytes");
    fs::write(&path, "left of a blob").unwrap();
    assert_eq!(writer.prune_pool(&HashSet::new()).unwrap(), 2, "the canary is in no category yet");
    assert!(!path.exists());
}
