use std::{
    collections::{BTreeSet, HashSet},
    fs::{self, File, OpenOptions, TryLockError},
    io::Write,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use super::{
    CANARY, CANARY_DIGEST, Error, INVENTORY_LIMIT, Inventory, Kind, NewBlob, State, Tree,
    disk::{create_file, create_folder, folder_of, for_each_file, read_file, sync_folder},
    read::{Head, SERIAL_LIMIT},
    repositories,
};
use crate::{
    mirror::{CategoryName, Serial},
    oci,
};

/// The longest note of the lock's holder that we read, in bytes.
const HOLDER_LIMIT: u64 = 100;

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
                let holder = read_file(&path, HOLDER_LIMIT)?.unwrap_or_default();
                let holder = match String::from_utf8_lossy(&holder).trim() {
                    "" => "a process that has just begun".to_owned(), // and has not written who it is
                    holder => holder.to_owned(),
                };
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
        NewBlob::create(self.temporary_path(), self.tree.pool_path(digest), *digest, size)
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
            let text = read_file(&self.tree.serial_path(&category), SERIAL_LIMIT)?.unwrap_or_default();
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

#[cfg(test)]
mod tests;
