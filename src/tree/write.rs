use std::{
    collections::HashSet,
    fs::{self, File, OpenOptions, TryLockError},
    io::Write,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime},
};

use super::{
    CANARY, CANARY_DIGEST, Error, Kind, NewBlob, State, Tree,
    disk::{create_file, create_folder, folder_of, for_each_file, read_file, sync_folder},
    read::{Head, SERIAL_LIMIT},
    repositories,
    space::Space,
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
    pub(super) space: Space,
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
        let writer =
            Writer { tree: self.clone(), lock, temporary: AtomicU64::new(0), space: Space::default() };
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

    /// Begins to take new content in, if there is room for all of it. Nothing is in the pool before
    /// [`NewBlob::finish`].
    pub fn start(&self, digest: &oci::Digest, size: u64) -> Result<NewBlob, Error> {
        if digest.sha256().is_none() {
            return Err(Error::Algorithm(*digest));
        }
        let room = self.space.promise(&self.tree.private_path("tmp"), size)?;
        NewBlob::create(&self.tree, self.temporary_path(), *digest, size, room)
    }

    /// Takes a manifest in, or other small content; a copy that has gone bad is replaced.
    pub fn store(&self, digest: &oci::Digest, bytes: &[u8]) -> Result<(), Error> {
        if self.tree.read_manifest(digest)?.is_some() {
            return Ok(());
        }
        let mut blob = self.start(digest, bytes.len() as u64)?;
        blob.write(bytes)?;
        blob.finish()
    }

    /// Is exactly this state published, complete, and linked to the pool?
    pub fn is_published(&self, category: &CategoryName, state: &State) -> bool {
        let Ok(published) = self.tree.read_category(category) else { return false };
        published.inventory == state.inventory(category, published.inventory.serial)
            && published.inventory.entries.iter().all(|it| self.has_link(category, &it.digest()))
            && self.has_registry(category, &state.manifest_files())
            && self.has_registry(category, &state.tag_files())
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
            self.link_content(category, group.into_iter().map(|(digest, _)| oci::Digest::Sha256(*digest)))?;
        }
        self.write_registry(category, &state.manifest_files(), serial)?;
        let former = serde_json::to_vec(&state.former).expect("digests and numbers are JSON");
        let inventory = state.inventory(category, serial).render();
        let head = Head { serial, inventory_digest: oci::Digest::of(inventory.as_bytes()) };
        let states = [
            self.prepare(self.tree.former_path(category), &former)?,
            self.prepare(self.tree.repositories_path(category), &repositories::render(&state.repositories))?,
            self.prepare(self.tree.inventory_path(category), inventory.as_bytes())?,
            self.prepare(self.tree.serial_path(category), head.render().as_bytes())?,
        ];
        states.iter().try_for_each(|it| it.date(serial))?;
        self.write_registry(category, &state.tag_files(), serial)?;
        // A disk that is full has said so by now.
        states.into_iter().try_for_each(Prepared::finish)?;
        self.remove_strays(category, state)
    }

    /// Removes from a category, whose state is published, what is not of it: tags, manifests, then all else. One that
    /// was killed before its end has left such files.
    pub fn remove_strays(&self, category: &CategoryName, state: &State) -> Result<(), Error> {
        let mut files = state.manifest_files();
        files.extend(state.tag_files());
        self.remove_registry_but(category, &files)?;
        self.unlink_others(category, state)
    }

    /// Removes from the pool what no category holds, but for `keep`, and its pieces. Gives the number of files
    /// removed from the pool.
    pub fn prune_pool(&self, keep: &HashSet<oci::Digest>) -> Result<u64, Error> {
        let (mut removed, categories) = (0, self.tree.category_names()?);
        for_each_file(&self.tree.private_path("pool").join("sha256"), |path, name| {
            let is_kept = format!("sha256:{name}").parse().is_ok_and(|it| keep.contains(&it));
            if !is_kept && !self.is_held(path, name, &categories)? {
                fs::remove_file(path).map_err(Error::at(path))?;
                removed += 1;
            }
            Ok(())
        })?;
        for_each_file(&self.tree.private_path("pieces").join("sha256"), |path, name| {
            let is_kept = format!("sha256:{name}").parse().is_ok_and(|it| self.tree.pool_path(&it).exists());
            if is_kept { Ok(()) } else { fs::remove_file(path).map_err(Error::at(path)) }
        })?;
        Ok(removed)
    }

    pub(super) fn temporary_path(&self) -> PathBuf {
        let number = self.temporary.fetch_add(1, Ordering::Relaxed);
        self.tree.private_path("tmp").join(number.to_string())
    }

    pub(super) fn clean(&self) -> Result<(), Error> {
        let path = self.tree.private_path("tmp");
        for entry in fs::read_dir(&path).map_err(Error::at(&path))? {
            let path = entry.map_err(Error::at(&path))?.path();
            fs::remove_file(&path).map_err(Error::at(path))?;
        }
        Ok(())
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
    pub(super) fn replace(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        self.prepare(path.to_owned(), bytes)?.finish()
    }

    /// The same, with the time of a serial.
    pub(super) fn replace_at(&self, path: &Path, bytes: &[u8], serial: Serial) -> Result<(), Error> {
        let prepared = self.prepare(path.to_owned(), bytes)?;
        prepared.date(serial)?;
        prepared.finish()
    }

    /// Writes a file that takes its place at [`Prepared::finish`].
    fn prepare(&self, path: PathBuf, bytes: &[u8]) -> Result<Prepared, Error> {
        create_folder(folder_of(&path))?;
        let prepared = Prepared { temporary: self.temporary_path(), path };
        let mut file = create_file(&prepared.temporary)?;
        file.write_all(bytes).and_then(|()| file.sync_all()).map_err(Error::at(&prepared.temporary))?;
        Ok(prepared)
    }
}

/// A whole file under a temporary name. Dropped before its end, it leaves nothing.
struct Prepared {
    temporary: PathBuf,
    path: PathBuf,
}

impl Prepared {
    /// Gives it a time that no former state has: rsync does not look into a file whose size and time, in whole seconds,
    /// are as they were, and two exports may be of one second.
    fn date(&self, serial: Serial) -> Result<(), Error> {
        let Some(time) = u64::try_from(serial).ok().map(Duration::from_secs) else { return Ok(()) };
        let Some(time) = SystemTime::UNIX_EPOCH.checked_add(time) else { return Ok(()) };
        let file = File::options().write(true).open(&self.temporary);
        file.and_then(|it| it.set_modified(time)).map_err(Error::at(&self.temporary))
    }

    fn finish(self) -> Result<(), Error> {
        fs::rename(&self.temporary, &self.path).map_err(Error::at(&self.path))?;
        sync_folder(folder_of(&self.path))
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        // Gone already when it took its place; and what stays is removed by the next export.
        let _ = fs::remove_file(&self.temporary);
    }
}

#[cfg(test)]
mod tests;
