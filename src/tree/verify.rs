//! Reads every file of the tree anew, and takes out what is not what its name says.

use std::{
    fs::{self, File},
    path::PathBuf,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    thread,
    time::SystemTime,
};

use serde::Serialize;

use super::{Error, Writer, disk::for_each_file, pieces::read_whole};
use crate::{mirror::CategoryName, oci::Digest};

/// At most so many files are read at once, on a machine with as many cores.
const READERS: usize = 8;

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
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
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

/// Is told, by several threads, how many bytes were read so far, and how many are to be as far as is known.
type Progress<'a> = dyn Fn(u64, u64) + Sync + 'a;

/// A file that is to be read.
struct Wanted {
    digest: Digest,
    size: u64,
    /// None: the pool's.
    category: Option<CategoryName>,
}

fn total_of(files: &[Wanted]) -> u64 {
    files.iter().map(|it| it.size).sum()
}

impl Writer {
    /// Reads the pool, and of each category what is not one file with the pool. What is wrong goes, so that the
    /// next export, which has to follow, brings it in again under a new time: by the time rsync sees that it is another.
    pub fn verify(&self, progress: &Progress<'_>) -> Result<Verified, Error> {
        let mut verified = Verified::default();
        let others = total_of(&self.list_others()?);
        self.verify_all(&self.list_pool()?, others, progress, &mut verified)?;
        // Again, for what went from the pool is not one file with it any more.
        self.verify_all(&self.list_others()?, 0, progress, &mut verified)?;
        verified.damaged.sort();
        Ok(verified)
    }

    fn list_pool(&self) -> Result<Vec<Wanted>, Error> {
        let mut files = Vec::new();
        for_each_file(&self.tree().private_path("pool").join("sha256"), |path, name| {
            if let Ok(digest) = format!("sha256:{name}").parse() {
                let size = fs::symlink_metadata(path).map_err(Error::at(path))?.len();
                files.push(Wanted { digest, size, category: None });
            }
            Ok(())
        })?;
        Ok(files)
    }

    fn list_others(&self) -> Result<Vec<Wanted>, Error> {
        let mut files = Vec::new();
        for category in self.tree().category_names()? {
            for_each_file(&self.tree().category_path(&category).join("blobs/sha256"), |path, name| {
                let Ok(digest) = format!("sha256:{name}").parse::<Digest>() else { return Ok(()) };
                if !(self.tree().hard_links && self.is_linked(path, &digest)) {
                    let size = fs::symlink_metadata(path).map_err(Error::at(path))?.len();
                    files.push(Wanted { digest, size, category: Some(category.clone()) });
                }
                Ok(())
            })?;
        }
        Ok(files)
    }

    /// Reads these files, several at once; `later` bytes are to be read after them.
    fn verify_all(
        &self,
        files: &[Wanted],
        later: u64,
        progress: &Progress<'_>,
        verified: &mut Verified,
    ) -> Result<(), Error> {
        let read_then = verified.bytes + total_of(files);
        let total = read_then + later;
        let (next, done) = (AtomicUsize::new(0), AtomicU64::new(verified.bytes));
        let advance = |bytes| progress(done.fetch_add(bytes, Ordering::Relaxed) + bytes, total);
        let read = || {
            let mut damaged = Vec::new();
            while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                damaged.extend(self.verify_file(file, &advance)?);
            }
            Ok(damaged)
        };
        let readers = thread::available_parallelism().map_or(1, usize::from).min(READERS);
        let results: Vec<Result<Vec<Damage>, Error>> = thread::scope(|scope| {
            let running: Vec<_> = (0..readers).map(|_| scope.spawn(read)).collect();
            running.into_iter().map(|it| it.join().expect("reading does not panic")).collect()
        });
        for damaged in results {
            verified.damaged.extend(damaged?);
        }
        (verified.files, verified.bytes) = (verified.files + files.len() as u64, read_then);
        Ok(())
    }

    fn verify_file(&self, file: &Wanted, advance: &dyn Fn(u64)) -> Result<Option<Damage>, Error> {
        let Wanted { digest, size, category } = file;
        let path = self.place_of(file)?;
        // A disk that cannot read a file has damaged it, too.
        let read = match category {
            None => self.cut_telling(digest, *size, advance),
            Some(_) => read_whole(&path, digest, *size, advance).map(drop),
        };
        let Err(error) = read else { return Ok(None) };
        fs::remove_file(&path).map_err(Error::at(&path))?;
        if category.is_some() {
            self.renew(digest)?;
        }
        Ok(Some(Damage { digest: *digest, category: category.clone(), reason: error.to_string() }))
    }

    fn place_of(&self, file: &Wanted) -> Result<PathBuf, Error> {
        match &file.category {
            None => Ok(self.tree().pool_path(&file.digest)),
            Some(category) => {
                self.tree().blob_path(category, &file.digest).ok_or(Error::Algorithm(file.digest))
            }
        }
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
