//! How content gets from the pool into categories: by hard links, or as copies where the file system has no links.

use std::{
    collections::BTreeSet,
    fs::{self, Permissions},
    io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    Error, Writer,
    disk::{FILE_MODE, create_file, create_folder, folder_of, sync_folder},
};
use crate::{mirror::CategoryName, oci};

/// Some file systems count time in steps of so long, and what a copy has of its original's time differs by that.
const TIME_STEP: Duration = Duration::from_secs(2);

impl Writer {
    pub(super) fn check_hard_links(&self) -> Result<(), Error> {
        if !self.tree().hard_links {
            return Ok(());
        }
        let (from, to) = (self.temporary_path(), self.temporary_path());
        create_file(&from)?;
        let linked = fs::hard_link(&from, &to);
        self.clean()?;
        linked.map_err(|source| Error::NoHardLinks { path: self.tree().path().to_owned(), source })
    }

    /// Is this content in the category as it is in the pool?
    pub(super) fn has_link(&self, category: &CategoryName, digest: &oci::Digest) -> bool {
        self.tree().blob_path(category, digest).is_some_and(|it| self.is_linked(&it, digest))
    }

    /// Is this file the pool's?
    pub(super) fn is_linked(&self, path: &Path, digest: &oci::Digest) -> bool {
        self.is_same(&self.tree().pool_path(digest), path)
    }

    /// Are these one file or, where there are no links, a file and its copy?
    pub(super) fn is_same(&self, original: &Path, other: &Path) -> bool {
        let (Ok(original), Ok(other)) = (fs::symlink_metadata(original), fs::symlink_metadata(other)) else {
            return false;
        };
        if self.tree().hard_links {
            return (original.dev(), original.ino()) == (other.dev(), other.ino());
        }
        let times = original.modified().ok().zip(other.modified().ok());
        let apart =
            times.and_then(|(one, two)| one.duration_since(two).or_else(|_| two.duration_since(one)).ok());
        other.is_file() && original.len() == other.len() && apart.is_some_and(|it| it <= TIME_STEP)
    }

    /// Puts a file in a second place, whatever is there.
    pub(super) fn place(&self, original: &Path, path: &Path) -> Result<(), Error> {
        // By a temporary name, for a file that lost its link to the pool may be in the way.
        let temporary = self.temporary_path();
        if self.tree().hard_links {
            fs::hard_link(original, &temporary).map_err(Error::at(original))?;
        } else {
            self.copy(original, &temporary)?;
        }
        fs::rename(&temporary, path).map_err(Error::at(path))
    }

    fn copy(&self, original: &Path, temporary: &Path) -> Result<(), Error> {
        let metadata = fs::metadata(original).map_err(Error::at(original))?;
        let _room = self.space.promise(folder_of(temporary), metadata.len())?;
        let copy = || {
            fs::copy(original, temporary)?;
            let file = fs::File::options().write(true).open(temporary)?;
            file.set_permissions(Permissions::from_mode(FILE_MODE))?;
            file.set_modified(metadata.modified()?)?;
            file.sync_all()
        };
        copy().map_err(|error: io::Error| {
            let _ = fs::remove_file(temporary); // else the next export removes it
            Error::at(original)(error)
        })
    }

    /// Puts content from the pool into the category; what is there already stays.
    pub(super) fn link_content(
        &self,
        category: &CategoryName,
        digests: impl Iterator<Item = oci::Digest>,
    ) -> Result<(), Error> {
        let target = |it: &oci::Digest| self.tree().blob_path(category, it).ok_or(Error::Algorithm(*it));
        self.link_all(digests.map(|it| target(&it).map(|target| (it, target))).collect::<Result<_, _>>()?)
    }

    /// Puts content from the pool in these places; what is there already stays.
    pub(super) fn link_all(&self, links: Vec<(oci::Digest, PathBuf)>) -> Result<(), Error> {
        let mut folders = BTreeSet::new();
        for (digest, target) in links {
            if self.is_linked(&target, &digest) {
                continue;
            }
            let folder = folder_of(&target);
            if folders.insert(folder.to_owned()) {
                create_folder(folder)?;
            }
            self.place(&self.tree().pool_path(&digest), &target)?;
        }
        folders.iter().try_for_each(|it| sync_folder(it))
    }

    /// Does a category have this file of the pool?
    pub(super) fn is_held(
        &self,
        path: &Path,
        name: &str,
        categories: &[CategoryName],
    ) -> Result<bool, Error> {
        if self.tree().hard_links {
            return Ok(fs::metadata(path).map_err(Error::at(path))?.nlink() > 1);
        }
        let digest = format!("sha256:{name}").parse().ok();
        let path = |it: &CategoryName| self.tree().blob_path(it, digest.as_ref()?);
        Ok(categories.iter().filter_map(path).any(|it| it.exists()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{CANARY, CANARY_DIGEST, Config, Kind, State, Tree};

    #[test]
    fn without_hard_links_there_are_copies() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config { path: folder.path().to_owned(), hard_links: false, ..Config::default() };
        let (tree, name) = (Tree::open(&config), "c".parse::<CategoryName>().unwrap());
        let writer = tree.lock().unwrap();
        let digest = oci::Digest::of(b"b");
        let canary = *CANARY_DIGEST.sha256().unwrap();
        let mut state = State {
            selection: "{}".to_owned(),
            repositories: Default::default(),
            entries: [
                (canary, (CANARY.len() as u64, Kind::Blob)),
                (*digest.sha256().unwrap(), (1, Kind::Blob)),
            ]
            .into(),
            former: Default::default(),
        };
        writer.store(&digest, b"b").unwrap();
        writer.publish(&name, &state, 7).unwrap();
        assert!(writer.is_published(&name, &state));
        let (pool, path) = (tree.pool_path(&digest), tree.blob_path(&name, &digest).unwrap());
        let inode = |path: &Path| fs::metadata(path).unwrap().ino();
        assert_ne!(inode(&pool), inode(&path));
        let copy = inode(&path);
        writer.publish(&name, &state, 8).unwrap();
        assert_eq!(inode(&path), copy, "it is not copied again");
        let later = std::time::SystemTime::now() + TIME_STEP * 2;
        fs::File::options().write(true).open(&pool).unwrap().set_modified(later).unwrap();
        assert!(!writer.is_published(&name, &state), "the pool has a newer one");
        writer.publish(&name, &state, 9).unwrap();
        assert_ne!(inode(&path), copy);

        assert_eq!(writer.prune_pool(&Default::default()).unwrap(), 0, "the category has it");
        state.entries.remove(digest.sha256().unwrap());
        writer.publish(&name, &state, 10).unwrap();
        assert_eq!(writer.prune_pool(&Default::default()).unwrap(), 1);
        assert!(!pool.exists() && !path.exists());
    }
}
