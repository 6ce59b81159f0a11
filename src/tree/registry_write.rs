//! Writes and removes the files by which a mirror can be a registry.

use std::{fs, path::Path};

use super::{
    Category, Entry, Error, State, Tree, Writer,
    disk::read_file,
    registry::{self, FOLDERS, RegistryFile, RegistryFiles},
};
use crate::{
    mirror::{CategoryName, Serial},
    oci::Digest,
};

/// The longest list of tags that is read again, in bytes.
const LIST_LIMIT: u64 = 64 * 1024 * 1024;

impl State {
    /// By digest; none unless the category is chosen to have them.
    pub(super) fn manifest_files(&self) -> RegistryFiles {
        let entries = self.entries.iter().map(|(digest, (_, kind))| (digest, *kind));
        if registry::is_chosen(&self.selection) { registry::manifests(entries) } else { RegistryFiles::new() }
    }

    /// By tag; none unless the category is chosen to have them.
    pub(super) fn tag_files(&self) -> RegistryFiles {
        if !registry::is_chosen(&self.selection) {
            return RegistryFiles::new();
        }
        let find = |digest: &Digest| self.entries.get(digest.sha256()?)?.1.media_type();
        registry::tags(&self.repositories, find)
    }
}

impl Writer {
    /// Writes what is not there yet.
    pub(super) fn write_registry(
        &self,
        category: &CategoryName,
        files: &RegistryFiles,
        serial: Serial,
    ) -> Result<(), Error> {
        let folder = self.tree().category_path(category);
        let mut links = Vec::new();
        for (path, file) in files {
            let path = folder.join(path);
            match file {
                RegistryFile::Manifest(digest) => links.push((*digest, path)),
                RegistryFile::List(bytes) if !has_bytes(&path, bytes) => {
                    self.replace_at(&path, bytes, serial)?;
                }
                RegistryFile::List(_) => {}
            }
        }
        self.link_all(links)
    }

    /// Are all of these there, and linked to the pool?
    pub(super) fn has_registry(&self, category: &CategoryName, files: &RegistryFiles) -> bool {
        let folder = self.tree().category_path(category);
        files.iter().all(|(path, file)| match file {
            RegistryFile::Manifest(digest) => self.is_linked(&folder.join(path), digest),
            RegistryFile::List(bytes) => has_bytes(&folder.join(path), bytes),
        })
    }

    /// Removes what is none of these: first tags, then what they lead to.
    pub(super) fn remove_registry_but(
        &self,
        category: &CategoryName,
        files: &RegistryFiles,
    ) -> Result<(), Error> {
        let folder = self.tree().category_path(category);
        FOLDERS.into_iter().try_for_each(|it| remove_others(&folder.join(it), it, files).map(|_| ()))
    }
}

impl Tree {
    /// Which of the registry's files is not there, or of another size?
    pub(super) fn find_registry_fault(&self, category: &Category) -> Option<String> {
        let inventory = &category.inventory;
        if !registry::is_chosen(&inventory.selection) {
            return None;
        }
        let folder = self.category_path(&inventory.category);
        let find = |digest: &Digest| inventory.find(digest)?.kind.media_type();
        let manifests = registry::manifests(inventory.entries.iter().map(|it: &Entry| (&it.digest, it.kind)));
        let files = manifests.into_iter().chain(registry::tags(&category.repositories, find));
        let is_wrong = |(path, file): &(String, RegistryFile)| {
            let size = match file {
                RegistryFile::Manifest(digest) => inventory.find(digest).map(|it| it.size),
                RegistryFile::List(bytes) => Some(bytes.len() as u64),
            };
            fs::metadata(folder.join(path)).ok().filter(fs::Metadata::is_file).map(|it| it.len()) != size
        };
        files.into_iter().find(is_wrong).map(|it| it.0)
    }
}

fn has_bytes(path: &Path, bytes: &[u8]) -> bool {
    read_file(path, LIST_LIMIT).is_ok_and(|it| it.as_deref() == Some(bytes))
}

/// Removes below a folder, whose path in the category is `name`, what is none of `files`, and then the folder if
/// nothing is left in it. Says whether something is.
fn remove_others(folder: &Path, name: &str, files: &RegistryFiles) -> Result<bool, Error> {
    if !folder.is_dir() {
        return Ok(false);
    }
    let mut is_left = false;
    for entry in fs::read_dir(folder).map_err(Error::at(folder))? {
        let entry = entry.map_err(Error::at(folder))?;
        let path = entry.path();
        let name = format!("{name}/{}", entry.file_name().to_string_lossy());
        // Its depth is that of a repository's name, which export has judged.
        if entry.file_type().map_err(Error::at(&path))?.is_dir() {
            is_left |= remove_others(&path, &name, files)?;
        } else if files.contains_key(&name) {
            is_left = true;
        } else {
            fs::remove_file(&path).map_err(Error::at(&path))?;
        }
    }
    if !is_left {
        fs::remove_dir(folder).map_err(Error::at(folder))?;
    }
    Ok(is_left)
}
