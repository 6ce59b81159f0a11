use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fs::{self, File, OpenOptions, Permissions, TryLockError},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use super::{
    CANARY, CANARY_DIGEST, Entry, Error, INVENTORY_LIMIT, Inventory, Kind, Repositories, Tree,
    read::{Head, read_file},
    repositories,
};
use crate::{
    mirror::{CategoryName, Serial},
    oci,
};

/// Files are readable for all, whatever the umask: rsync and web servers run as other users.
const FILE_MODE: u32 = 0o644;
const FOLDER_MODE: u32 = 0o755;

/// Since when content is former, in Unix seconds.
pub type Former = BTreeMap<oci::Digest, i64>;

/// What is to stand in a category.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The category's choice, as one line of JSON.
    pub selection: String,
    /// All tags.
    pub repositories: Repositories,
    /// All files by digest, former ones and the canary included.
    pub entries: BTreeMap<[u8; 32], (u64, Kind)>,
    /// Which of them no tag leads to.
    pub former: Former,
}

impl State {
    fn inventory(&self, category: &CategoryName, serial: Serial) -> Inventory {
        let entries = self.entries.iter().map(|(digest, (size, kind))| Entry {
            digest: *digest,
            size: *size,
            kind: *kind,
        });
        Inventory {
            category: category.clone(),
            serial,
            selection: self.selection.clone(),
            repositories_digest: oci::Digest::of(&repositories::render(&self.repositories)),
            entries: entries.collect(),
        }
    }
}

/// The one that may write to a tree, until it is dropped.
#[derive(Debug)]
pub struct Writer {
    tree: Tree,
    lock: File,
    /// Numbers temporary files.
    temporary: AtomicU64,
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Closing alone would not do while a child process, just forked, still has the file open. An error
        // leaves the lock to the end of the process.
        let _ = self.lock.unlock();
    }
}

impl Tree {
    /// Takes the lock, makes the tree's folders, and removes what a killed export left behind.
    pub fn lock(&self) -> Result<Writer, Error> {
        for name in ["tmp", "pool", "former"] {
            create_folder(&self.private_path(name))?;
        }
        let path = self.private_path("lock");
        let mut lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(Error::at(&path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::Error(source)) => return Err(Error::Io { path, source }),
            Err(TryLockError::WouldBlock) => {
                let holder = read_file(&path, 100)?.unwrap_or_default();
                let holder = String::from_utf8_lossy(&holder).trim().to_owned();
                return Err(Error::Locked { path, holder });
            }
        }
        let holder = format!("process {}\n", std::process::id());
        lock.set_len(0).and_then(|()| lock.write_all(holder.as_bytes())).map_err(Error::at(&path))?;
        let writer = Writer { tree: self.clone(), lock, temporary: AtomicU64::new(0) };
        writer.clean()?;
        writer.check_hard_links()?;
        writer.store(&CANARY_DIGEST, CANARY)?;
        Ok(writer)
    }
}

impl Writer {
    /// The tree that is written to.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Is this content in the pool, with the right size?
    pub fn has_blob(&self, digest: &oci::Digest, size: u64) -> bool {
        self.blob_size(digest) == Some(size)
    }

    /// The size of content in the pool. Only verified content gets there.
    pub fn blob_size(&self, digest: &oci::Digest) -> Option<u64> {
        fs::metadata(self.tree.pool_path(digest)).ok().map(|it| it.len())
    }

    /// Reads a manifest from the pool, and verifies it anew; `None` if it is not there or has gone bad.
    pub fn read_manifest(&self, digest: &oci::Digest) -> Result<Option<Vec<u8>>, Error> {
        let bytes = read_file(&self.tree.pool_path(digest), oci::MANIFEST_LIMIT as u64)?;
        Ok(bytes.filter(|it| oci::Digest::of(it) == *digest))
    }

    /// Begins to take new content in. Nothing is in the pool before [`NewBlob::finish`].
    pub fn start(&self, digest: &oci::Digest, size: u64) -> Result<NewBlob, Error> {
        if digest.sha256().is_none() {
            return Err(Error::Algorithm(*digest));
        }
        let path = self.temporary_path();
        let file = create_file(&path)?;
        let pool_path = self.tree.pool_path(digest);
        Ok(NewBlob {
            file,
            path,
            pool_path,
            digest: *digest,
            size,
            written: 0,
            verifier: oci::Verifier::new(*digest),
        })
    }

    /// Takes a manifest in, or other small content; a copy that has gone bad is replaced.
    pub fn store(&self, digest: &oci::Digest, bytes: &[u8]) -> Result<(), Error> {
        if self.read_manifest(digest)?.is_some() {
            return Ok(());
        }
        let mut blob = self.start(digest, bytes.len() as u64)?;
        blob.write(bytes)?;
        blob.finish()
    }

    /// What a category held last, as far as it can be read. A killed export may have left
    /// `repositories.json` newer than the inventory; both are true then, for blobs come first.
    pub fn load_state(&self, category: &CategoryName) -> Result<State, Error> {
        fn parse<T: Default + serde::de::DeserializeOwned>(bytes: Option<Vec<u8>>) -> T {
            bytes.and_then(|it| serde_json::from_slice(&it).ok()).unwrap_or_default()
        }
        let tree = &self.tree;
        let repositories = parse(read_file(&tree.repositories_path(category), INVENTORY_LIMIT)?);
        let former = parse(read_file(&tree.former_path(category), INVENTORY_LIMIT)?);
        let inventory = read_file(&tree.inventory_path(category), INVENTORY_LIMIT)?;
        let inventory = inventory.and_then(|it| String::from_utf8(it).ok()?.parse::<Inventory>().ok());
        let (selection, entries) = inventory.map_or_else(Default::default, |it| {
            let entries = it.entries.iter().map(|entry| (entry.digest, (entry.size, entry.kind)));
            (it.selection, entries.collect())
        });
        Ok(State { selection, repositories, entries, former })
    }

    /// Is exactly this state published, complete, and linked to the pool?
    pub fn is_published(&self, category: &CategoryName, state: &State) -> bool {
        let Ok(published) = self.tree.read_category(category) else { return false };
        published.inventory == state.inventory(category, published.inventory.serial)
            && published.inventory.entries.iter().all(|it| self.is_linked(category, &it.digest()))
    }

    /// The highest serial of all categories; 0 if there is none.
    pub fn last_serial(&self) -> Result<Serial, Error> {
        let mut last = 0;
        for category in self.tree.category_names()? {
            let text = read_file(&self.tree.serial_path(&category), 200)?.unwrap_or_default();
            let head = std::str::from_utf8(&text).ok().and_then(Head::parse);
            last = last.max(head.map_or(0, |it| it.serial));
        }
        Ok(last)
    }

    /// Publishes a state whose content is all in the pool. The order lets a reader, or rsync, who comes
    /// in the middle see that it is in the middle: blobs, manifests, tags, inventory, serial; then
    /// what is in no inventory goes.
    pub fn publish(&self, category: &CategoryName, state: &State, serial: Serial) -> Result<(), Error> {
        let (blobs, manifests): (Vec<_>, Vec<_>) =
            state.entries.iter().partition(|(_, (_, kind))| *kind == Kind::Blob);
        for group in [blobs, manifests] {
            self.link_all(category, group.into_iter().map(|(digest, _)| oci::Digest::Sha256(*digest)))?;
        }
        let former = serde_json::to_vec(&state.former).expect("digests and numbers are JSON");
        self.replace(&self.tree.former_path(category), &former)?;
        let text = repositories::render(&state.repositories);
        self.replace(&self.tree.repositories_path(category), &text)?;
        let inventory = state.inventory(category, serial).render();
        self.replace(&self.tree.inventory_path(category), inventory.as_bytes())?;
        let head = Head { serial, inventory_digest: oci::Digest::of(inventory.as_bytes()) };
        self.replace(&self.tree.serial_path(category), head.render().as_bytes())?;
        self.unlink_others(category, state)
    }

    /// Removes from the pool what no category holds, but for `keep`. Gives the number of files removed.
    pub fn prune_pool(&self, keep: &HashSet<oci::Digest>) -> Result<u64, Error> {
        let mut removed = 0;
        for_each_file(&self.tree.private_path("pool").join("sha256"), |path, name| {
            let is_kept = format!("sha256:{name}").parse().is_ok_and(|it| keep.contains(&it));
            if !is_kept && fs::metadata(path).map_err(Error::at(path))?.nlink() == 1 {
                fs::remove_file(path).map_err(Error::at(path))?;
                removed += 1;
            }
            Ok(())
        })?;
        Ok(removed)
    }

    fn temporary_path(&self) -> PathBuf {
        let number = self.temporary.fetch_add(1, Ordering::Relaxed);
        self.tree.private_path("tmp").join(number.to_string())
    }

    fn clean(&self) -> Result<(), Error> {
        let path = self.tree.private_path("tmp");
        for entry in fs::read_dir(&path).map_err(Error::at(&path))? {
            let path = entry.map_err(Error::at(&path))?.path();
            fs::remove_file(&path).map_err(Error::at(path))?;
        }
        Ok(())
    }

    fn check_hard_links(&self) -> Result<(), Error> {
        let (from, to) = (self.temporary_path(), self.temporary_path());
        create_file(&from)?;
        let linked = fs::hard_link(&from, &to);
        self.clean()?;
        linked.map_err(|source| Error::NoHardLinks { path: self.tree.path().to_owned(), source })
    }

    fn is_linked(&self, category: &CategoryName, digest: &oci::Digest) -> bool {
        let place = |path: PathBuf| fs::metadata(path).ok().map(|it| (it.dev(), it.ino()));
        let linked = self.tree.blob_path(category, digest).and_then(place);
        linked.is_some() && linked == place(self.tree.pool_path(digest))
    }

    /// Links content from the pool into the category; what is linked already stays.
    fn link_all(
        &self,
        category: &CategoryName,
        digests: impl Iterator<Item = oci::Digest>,
    ) -> Result<(), Error> {
        let mut folders = BTreeSet::new();
        for digest in digests {
            if self.is_linked(category, &digest) {
                continue;
            }
            let target = self.tree.blob_path(category, &digest).ok_or(Error::Algorithm(digest))?;
            let folder = folder_of(&target);
            if folders.insert(folder.to_owned()) {
                create_folder(folder)?;
            }
            // By a temporary name, for a file that lost its link to the pool may be in the way.
            let (source, temporary) = (self.tree.pool_path(&digest), self.temporary_path());
            fs::hard_link(&source, &temporary).map_err(Error::at(&source))?;
            fs::rename(&temporary, &target).map_err(Error::at(&target))?;
        }
        folders.iter().try_for_each(|it| sync_folder(it))
    }

    fn unlink_others(&self, category: &CategoryName, state: &State) -> Result<(), Error> {
        for_each_file(&self.tree.category_path(category).join("blobs/sha256"), |path, name| {
            let digest = format!("sha256:{name}").parse::<oci::Digest>().ok();
            let is_wanted = digest
                .as_ref()
                .and_then(oci::Digest::sha256)
                .is_some_and(|it| state.entries.contains_key(it));
            if is_wanted { Ok(()) } else { fs::remove_file(path).map_err(Error::at(path)) }
        })
    }

    /// Writes a file whole or not at all.
    fn replace(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        let folder = folder_of(path);
        create_folder(folder)?;
        let temporary = self.temporary_path();
        let mut file = create_file(&temporary)?;
        file.write_all(bytes).and_then(|()| file.sync_all()).map_err(Error::at(&temporary))?;
        fs::rename(&temporary, path).map_err(Error::at(path))?;
        sync_folder(folder)
    }
}

/// Content on its way into the pool. Dropped before its end, it leaves nothing.
pub struct NewBlob {
    file: File,
    path: PathBuf,
    pool_path: PathBuf,
    digest: oci::Digest,
    size: u64,
    written: u64,
    verifier: oci::Verifier,
}

impl NewBlob {
    /// How many bytes were taken so far: where a broken transfer resumes.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Takes the next bytes; more than the size is refused.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let found = self.written + bytes.len() as u64;
        if found > self.size {
            return Err(Error::WrongSize { digest: self.digest, size: self.size, found });
        }
        self.file.write_all(bytes).map_err(Error::at(&self.path))?;
        self.verifier.update(bytes);
        self.written = found;
        Ok(())
    }

    /// Begins anew, for a source that cannot resume.
    pub fn restart(&mut self) -> Result<(), Error> {
        self.file = create_file(&self.path)?;
        self.verifier = oci::Verifier::new(self.digest);
        self.written = 0;
        Ok(())
    }

    /// Verifies size and digest, and puts the content into the pool.
    pub fn finish(mut self) -> Result<(), Error> {
        if self.written != self.size {
            return Err(Error::WrongSize { digest: self.digest, size: self.size, found: self.written });
        }
        let verifier = std::mem::replace(&mut self.verifier, oci::Verifier::new(self.digest));
        verifier
            .finish()
            .map_err(|found| Error::WrongBytes { expected: self.digest, found: found.into() })?;
        self.file.sync_all().map_err(Error::at(&self.path))?;
        let folder = folder_of(&self.pool_path);
        create_folder(folder)?;
        fs::rename(&self.path, &self.pool_path).map_err(Error::at(&self.pool_path))?;
        sync_folder(folder)
    }
}

impl Drop for NewBlob {
    fn drop(&mut self) {
        // Gone already when it was finished; and what stays is removed by the next export.
        let _ = fs::remove_file(&self.path);
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().expect("every path of the layout is in a folder")
}

fn create_file(path: &Path) -> Result<File, Error> {
    let create = || {
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(FILE_MODE).open(path)?;
        file.set_permissions(Permissions::from_mode(FILE_MODE))?;
        Ok(file)
    };
    create().map_err(Error::at(path))
}

/// Makes a folder and those above it; what is there already is left as it is.
fn create_folder(path: &Path) -> Result<(), Error> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().filter(|it| !it.as_os_str().is_empty());
    parent.map_or(Ok(()), create_folder)?;
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        created => created.map_err(Error::at(path))?,
    }
    fs::set_permissions(path, Permissions::from_mode(FOLDER_MODE)).map_err(Error::at(path))?;
    parent.map_or(Ok(()), sync_folder)
}

fn sync_folder(path: &Path) -> Result<(), Error> {
    File::open(path).and_then(|it| it.sync_all()).map_err(Error::at(path))
}

/// Calls `visit` with path and name of each file of a `sha256` folder.
fn for_each_file(path: &Path, mut visit: impl FnMut(&Path, &str) -> Result<(), Error>) -> Result<(), Error> {
    if !path.is_dir() {
        return Ok(());
    }
    for folder in fs::read_dir(path).map_err(Error::at(path))? {
        let folder = folder.map_err(Error::at(path))?.path();
        for file in fs::read_dir(&folder).map_err(Error::at(&folder))? {
            let file = file.map_err(Error::at(&folder))?;
            visit(&file.path(), &file.file_name().to_string_lossy())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{oci::MediaType, tree::Config};

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
        assert_eq!(writer.load_state(&name).unwrap(), state);
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
        assert!(!writer.has_blob(&digest, 5));
        let mut blob = writer.start(&digest, 5).unwrap();
        blob.write(b"xx").unwrap();
        blob.restart().unwrap();
        blob.write(b"hello").unwrap();
        blob.finish().unwrap();
        assert!(writer.has_blob(&digest, 5) && !writer.has_blob(&digest, 4));
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
        assert_eq!(writer.read_manifest(&digest).unwrap(), None);
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
        assert!(!writer.has_blob(&gone, 1) && writer.has_blob(&kept, 5));
        assert!(writer.is_published(&name, &state));
    }
}
