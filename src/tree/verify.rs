//! Reads every file of the tree anew, and takes out what is not what its name says.

use std::{
    fs::{self, File},
    path::Path,
    time::SystemTime,
};

use serde::Serialize;

use super::{Error, Writer, disk::for_each_file, pieces::read_whole};
use crate::{mirror::CategoryName, oci::Digest};

/// What reading all files came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// Files that were read.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What was wrong, and taken out.
    pub damaged: Vec<Damage>,
}

/// A file that was not what its name says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// Its name.
    pub digest: Digest,
    /// Where it was: this category's own file; none: in all of them.
    pub category: Option<CategoryName>,
    /// For people.
    pub reason: String,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.category {
            Some(category) => write!(f, "{} in category {category}: {}", self.digest, self.reason),
            None => write!(f, "{}: {}", self.digest, self.reason),
        }
    }
}

impl Writer {
    /// Reads the pool, and of each category what is not one file with the pool. What is wrong goes, so that the
    /// next export, which has to follow, brings it in again under a new time: by the time rsync sees that it is another.
    pub fn verify(&self) -> Result<Verified, Error> {
        let mut verified = Verified::default();
        for_each_file(&self.tree().private_path("pool").join("sha256"), |path, name| {
            if let Ok(digest) = format!("sha256:{name}").parse() {
                self.verify_file(path, digest, None, &mut verified)?;
            }
            Ok(())
        })?;
        for category in self.tree().category_names()? {
            for_each_file(&self.tree().category_path(&category).join("blobs/sha256"), |path, name| {
                match format!("sha256:{name}").parse() {
                    Ok(digest) if !self.is_one(path, &digest) => {
                        self.verify_file(path, digest, Some(&category), &mut verified)
                    }
                    _ => Ok(()),
                }
            })?;
        }
        Ok(verified)
    }

    fn is_one(&self, path: &Path, digest: &Digest) -> bool {
        self.tree().hard_links && self.is_same(&self.tree().pool_path(digest), path)
    }

    fn verify_file(
        &self,
        path: &Path,
        digest: Digest,
        category: Option<&CategoryName>,
        verified: &mut Verified,
    ) -> Result<(), Error> {
        let size = fs::symlink_metadata(path).map_err(Error::at(path))?.len();
        verified.files += 1;
        verified.bytes += size;
        // A disk that cannot read a file has damaged it, too.
        let read = match category {
            None => self.cut(&digest, size),
            Some(_) => read_whole(path, &digest, size).map(drop),
        };
        let Err(error) = read else { return Ok(()) };
        verified.damaged.push(Damage { digest, category: category.cloned(), reason: error.to_string() });
        fs::remove_file(path).map_err(Error::at(path))?;
        if category.is_some() {
            self.renew(&digest)?;
        }
        Ok(())
    }

    /// Gives good content a new time, so that it goes to mirrors which have it wrong.
    fn renew(&self, digest: &Digest) -> Result<(), Error> {
        let path = self.tree().pool_path(digest);
        if path.exists() {
            let file = File::options().write(true).open(&path).map_err(Error::at(&path))?;
            file.set_modified(SystemTime::now()).map_err(Error::at(&path))?;
        }
        Ok(())
    }

    /// Links again what a category that no export writes to has of repaired content.
    pub fn relink(&self, category: &CategoryName) -> Result<(), Error> {
        let entries = self.tree().load_state(category)?.entries;
        let digests = entries.iter().map(|(digest, (size, _))| (Digest::Sha256(*digest), *size));
        self.link_content(
            category,
            digests.filter(|(digest, size)| self.tree().has_blob(digest, *size)).map(|it| it.0),
        )
    }
}
