use std::{
    fs::{self, File, TryLockError},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use rkyv::{rancor, util::AlignedVec};
use sha2::{Digest as _, Sha256};

use super::{Error, bodies::BodyRows};
use crate::mirrorlist::rows::{ContentRows, HoldingRows, HostRows};

/// What every file begins with; the last digit is the format's version. Any change of the rows makes a
/// new version.
const MAGIC: &[u8; 16] = b"portolan-part-5\n";

/// Magic, then the SHA-256 of the rest. A multiple of 16, so that the rest is aligned.
const HEADER: usize = 16 + 32;

/// The folder that `serve` keeps its state in. Nobody else writes there as long as this lives.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    lock: File,
}

impl Drop for Store {
    fn drop(&mut self) {
        // Closing alone would not do while a child process, just forked, still has the file open. An error
        // leaves the lock to the end of the process.
        let _ = self.lock.unlock();
    }
}

/// A part that can be saved on its own.
pub trait Part: Sized {
    /// The file's name.
    const NAME: &'static str;
    /// Into the file's bytes.
    fn encode(&self) -> Result<AlignedVec, rancor::Error>;
    /// From the file's bytes, all of which are checked.
    fn decode(bytes: &[u8]) -> Result<Self, rancor::Error>;
}

macro_rules! part {
    ($name:ident, $file:literal) => {
        impl Part for $name {
            const NAME: &'static str = $file;

            fn encode(&self) -> Result<AlignedVec, rancor::Error> {
                rkyv::to_bytes(self)
            }

            fn decode(bytes: &[u8]) -> Result<Self, rancor::Error> {
                rkyv::from_bytes::<Self, rancor::Error>(bytes)
            }
        }
    };
}
part!(ContentRows, "content");
part!(HoldingRows, "holdings");
part!(HostRows, "hosts");
part!(BodyRows, "bodies");

/// A part as it was found.
#[derive(Debug)]
pub struct Saved<P> {
    /// The part.
    pub part: P,
    /// When it was last known to be what the database has.
    pub confirmed: SystemTime,
    /// Why the newest file was not taken, when this is the one before it.
    pub refused: Option<Error>,
}

impl Store {
    /// Opens the folder; makes it if it is not there. Fails when another process has it open: two that append
    /// to one bodies file would destroy each other's.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        fs::create_dir_all(folder).map_err(Error::io("making the folder", folder))?;
        let path = folder.join("lock");
        let lock = File::create(&path).map_err(Error::io("opening", &path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { folder: folder.to_owned(), lock }),
            Err(TryLockError::WouldBlock) => Err(Error::Held(folder.to_owned())),
            Err(TryLockError::Error(source)) => Err(Error::io("locking", path)(source)),
        }
    }

    /// Where it keeps its files.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Saves a part: written under another name, synced, renamed. The one before is kept beside it.
    pub fn save<P: Part>(&self, part: &P) -> Result<(), Error> {
        let (path, temporary) = (self.path::<P>(""), self.path::<P>(".new"));
        let damaged = |error: rancor::Error| Error::Damaged { path: path.clone(), reason: error.to_string() };
        let body = part.encode().map_err(damaged)?;
        write_synced(&temporary, &[MAGIC, &Sha256::digest(&body), &body])
            .map_err(Error::io("writing", &temporary))?;
        let previous = self.path::<P>(".previous");
        match fs::rename(&path, &previous) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io("renaming", &path)(error));
            }
            _ => {}
        }
        fs::rename(&temporary, &path).map_err(Error::io("renaming", &temporary))?;
        File::open(&self.folder).and_then(|it| it.sync_all()).map_err(Error::io("syncing", &self.folder))
    }

    /// Reads a part: the newest file, else the one before it. `None` when nothing was ever saved.
    pub fn load<P: Part>(&self) -> Result<Option<Saved<P>>, Error> {
        match read(&self.path::<P>("")) {
            Ok(Some(saved)) => Ok(Some(saved)),
            // A stop between the two renames of `save` leaves only the previous one.
            Ok(None) => read(&self.path::<P>(".previous")),
            Err(refused) => match read(&self.path::<P>(".previous")) {
                Ok(Some(saved)) => Ok(Some(Saved { refused: Some(refused), ..saved })),
                _ => Err(refused),
            },
        }
    }

    /// Notes that the saved part is still what the database has.
    pub fn confirm<P: Part>(&self, at: SystemTime) -> Result<(), Error> {
        let path = self.path::<P>("");
        let file = File::options().write(true).open(&path).map_err(Error::io("opening", &path))?;
        file.set_modified(at).map_err(Error::io("confirming", path))
    }

    fn path<P: Part>(&self, ending: &str) -> PathBuf {
        self.folder.join(format!("{}{ending}", P::NAME))
    }
}

pub(super) fn write_synced(path: &Path, pieces: &[&[u8]]) -> io::Result<()> {
    let mut file = File::create(path)?;
    pieces.iter().try_for_each(|piece| file.write_all(piece))?;
    file.sync_all()
}

fn read<P: Part>(path: &Path) -> Result<Option<Saved<P>>, Error> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(Error::io("opening", path))?,
    };
    let metadata = file.metadata().map_err(Error::io("reading", path))?;
    let confirmed = metadata.modified().map_err(Error::io("reading", path))?;
    let damaged = |reason: &str| Error::Damaged { path: path.to_owned(), reason: reason.to_owned() };
    let mut header = [0; HEADER];
    file.read_exact(&mut header).map_err(|_| damaged("it is too short"))?;
    if header[..16] != *MAGIC {
        return Err(damaged("it was written by another version of portolan"));
    }
    // rkyv reads numbers in place, so the bytes have to be aligned.
    let mut body = AlignedVec::<16>::with_capacity((metadata.len() as usize).saturating_sub(HEADER));
    body.extend_from_reader(&mut file).map_err(Error::io("reading", path))?;
    if header[16..] != *Sha256::digest(&body) {
        return Err(damaged("its checksum is wrong"));
    }
    let part = P::decode(&body).map_err(|error| damaged(&error.to_string()))?;
    Ok(Some(Saved { part, confirmed, refused: None }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(generation: i64) -> HoldingRows {
        HoldingRows { generation, sets: vec![vec![1, 2, 3]], holdings: Vec::new() }
    }

    #[test]
    fn a_part_comes_back_as_it_was_saved() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("state")).unwrap();
        assert!(store.load::<HoldingRows>().unwrap().is_none());
        store.save(&rows(1)).unwrap();
        store.save(&rows(2)).unwrap();
        let saved = store.load::<HoldingRows>().unwrap().unwrap();
        assert_eq!(saved.part, rows(2));
        assert!(saved.refused.is_none());
    }

    #[test]
    fn a_folder_belongs_to_one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        assert!(matches!(Store::open(folder.path()), Err(Error::Held(_))));
        drop(store);
        Store::open(folder.path()).unwrap();
    }

    #[test]
    fn a_damaged_file_is_refused_and_the_one_before_it_used() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        store.save(&rows(1)).unwrap();
        store.save(&rows(2)).unwrap();
        let path = folder.path().join("holdings");
        let good = fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&path, &bad).unwrap();
            let saved = store.load::<HoldingRows>().unwrap().unwrap();
            assert_eq!(saved.part, rows(1), "byte {at}");
            assert!(saved.refused.unwrap().to_string().contains("holdings is refused"));
        }
        for length in [0, HEADER - 1, HEADER, good.len() - 1] {
            fs::write(&path, &good[..length]).unwrap();
            assert_eq!(store.load::<HoldingRows>().unwrap().unwrap().part, rows(1), "{length} bytes");
        }
        fs::remove_file(folder.path().join("holdings.previous")).unwrap();
        assert!(store.load::<HoldingRows>().unwrap_err().to_string().contains("is refused"));
    }

    #[test]
    fn a_confirmation_moves_the_time() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        store.save(&rows(1)).unwrap();
        let later = SystemTime::now() + std::time::Duration::from_secs(100);
        store.confirm::<HoldingRows>(later).unwrap();
        assert_eq!(store.load::<HoldingRows>().unwrap().unwrap().confirmed, later);
    }
}
