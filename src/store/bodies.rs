use std::{
    collections::HashMap,
    fs::{self, File},
    io::Write as _,
    os::unix::fs::FileExt as _,
    path::PathBuf,
    sync::Arc,
};

use arc_swap::ArcSwapOption;
use rkyv::{Archive, Deserialize, Serialize};

use super::{Error, Store};
use crate::{mirrorlist::rows::Hash, oci::Digest};

/// A file is written anew when more than this many bytes in it, and more than half of it, are no
/// longer wanted.
const WASTE: u64 = 64 * 1024 * 1024;

/// So many bodies that were just read stay in memory; together at most 16 MiB.
const RECENT: usize = 1024;

/// Longer bodies are read again each time, in bytes.
const RECENT_LENGTH: usize = 16 * 1024;

/// Bodies that were just read and found right. One that is asked for pushes out the one in its place: lossy, without
/// locks, and enough, for most clients ask for the same few.
#[derive(Debug)]
struct Recent(Box<[ArcSwapOption<Body>]>);

#[derive(Debug)]
struct Body {
    digest: Hash,
    bytes: Arc<[u8]>,
}

impl Recent {
    fn new() -> Self {
        Self((0..RECENT).map(|_| ArcSwapOption::empty()).collect())
    }

    fn place(&self, digest: &Hash) -> &ArcSwapOption<Body> {
        // A hash is as good as drawn.
        &self.0[usize::from(u16::from_be_bytes([digest[0], digest[1]])) % RECENT]
    }

    fn find(&self, digest: &Hash) -> Option<Arc<[u8]>> {
        self.place(digest).load().as_ref().filter(|it| it.digest == *digest).map(|it| it.bytes.clone())
    }

    fn keep(&self, digest: &Hash, bytes: &Arc<[u8]>) {
        if bytes.len() <= RECENT_LENGTH {
            self.place(digest).store(Some(Arc::new(Body { digest: *digest, bytes: bytes.clone() })));
        }
    }
}

/// The bodies of manifests and small blobs, in one file that only grows, and where each stands.
/// Never changed once made, so readers need no lock; [`Bodies::with`] makes the next state.
#[derive(Clone, Debug)]
pub struct Bodies {
    path: PathBuf,
    file: Arc<File>,
    rows: BodyRows,
    index: HashMap<Hash, (u64, u32)>,
    recent: Arc<Recent>,
}

/// Where the bodies stand: what is saved of them.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct BodyRows {
    /// Which file has them: `bodies.NUMBER.data`.
    file: u64,
    /// Up to where the file is written.
    end: u64,
    bodies: Vec<BodyRow>,
}

#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
struct BodyRow {
    digest: Hash,
    offset: u64,
    length: u32,
}

impl Bodies {
    /// Opens what was saved; empty when nothing was, or when it is damaged: the database has them all.
    pub fn open(store: &Store) -> Result<(Self, Option<Error>), Error> {
        let (rows, refused) = match store.load::<BodyRows>() {
            Ok(saved) => (saved.map(|it| it.part).unwrap_or_default(), None),
            Err(refused) => (BodyRows::default(), Some(refused)),
        };
        let bodies = Self::open_file(store, rows)?;
        let length = bodies.file.metadata().map_err(Error::io("reading", &bodies.path))?.len();
        if length < bodies.rows.end {
            let refused = Error::Damaged { path: bodies.path.clone(), reason: "it is too short".to_owned() };
            return Ok((Self::open_file(store, BodyRows::default())?, Some(refused)));
        }
        Ok((bodies, refused))
    }

    fn open_file(store: &Store, rows: BodyRows) -> Result<Self, Error> {
        let path = store.folder().join(format!("bodies.{}.data", rows.file));
        let options = File::options().read(true).append(true).create(true).clone();
        let file = options.open(&path).map_err(Error::io("opening", &path))?;
        let index = rows.bodies.iter().map(|it| (it.digest, (it.offset, it.length))).collect();
        Ok(Self { path, file: Arc::new(file), rows, index, recent: Arc::new(Recent::new()) })
    }

    /// Is this body here?
    pub fn contains(&self, digest: &Hash) -> bool {
        self.index.contains_key(digest)
    }

    /// A body, checked against its digest when it was read. `None` when it is not here.
    pub fn read(&self, digest: &Hash) -> Result<Option<Arc<[u8]>>, Error> {
        let Some(&(offset, length)) = self.index.get(digest) else { return Ok(None) };
        if let Some(body) = self.recent.find(digest) {
            return Ok(Some(body));
        }
        let mut body = vec![0; length as usize];
        self.file.read_exact_at(&mut body, offset).map_err(Error::io("reading", &self.path))?;
        if Digest::of(&body) != Digest::Sha256(*digest) {
            let reason = format!("the body of {} in it is damaged", Digest::Sha256(*digest));
            return Err(Error::Damaged { path: self.path.clone(), reason });
        }
        let body = Arc::from(body);
        self.recent.keep(digest, &body);
        Ok(Some(body))
    }

    /// The next state: with these bodies too, and without those that are no longer wanted. Bodies are
    /// on disk before the index names them.
    pub fn with(
        &self,
        store: &Store,
        wanted: impl Fn(&Hash) -> bool,
        added: impl IntoIterator<Item = (Hash, Vec<u8>)>,
    ) -> Result<Self, Error> {
        let mut next = self.clone();
        next.rows.bodies.retain(|it| wanted(&it.digest));
        let live: u64 = next.rows.bodies.iter().map(|it| u64::from(it.length)).sum();
        if self.rows.end - live > WASTE.max(live) {
            next = self.rewritten(store, next.rows)?;
        }
        for (digest, body) in added {
            next.append(digest, &body)?;
        }
        next.file.sync_data().map_err(Error::io("syncing", &next.path))?;
        next.index = next.rows.bodies.iter().map(|it| (it.digest, (it.offset, it.length))).collect();
        store.save(&next.rows)?;
        if next.path != self.path {
            // Whoever still reads the old one holds it open.
            fs::remove_file(&self.path).map_err(Error::io("removing", &self.path))?;
        }
        Ok(next)
    }

    /// The wanted bodies in a new file.
    fn rewritten(&self, store: &Store, wanted: BodyRows) -> Result<Self, Error> {
        let mut next = Self::open_file(store, BodyRows { file: self.rows.file + 1, ..BodyRows::default() })?;
        next.file.set_len(0).map_err(Error::io("emptying", &next.path))?;
        for row in wanted.bodies {
            if let Some(body) = self.read(&row.digest)? {
                next.append(row.digest, &body)?;
            }
        }
        Ok(next)
    }

    fn append(&mut self, digest: Hash, body: &[u8]) -> Result<(), Error> {
        // After a stop in the middle of a write the file is longer than the index says.
        self.file.set_len(self.rows.end).map_err(Error::io("cutting", &self.path))?;
        (&*self.file).write_all(body).map_err(Error::io("writing", &self.path))?;
        // A body is a manifest or a small blob: at most some MiB.
        let length = body.len() as u32;
        self.rows.bodies.push(BodyRow { digest, offset: self.rows.end, length });
        self.rows.end += u64::from(length);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(text: &str) -> (Hash, Vec<u8>) {
        (*Digest::of(text.as_bytes()).sha256().unwrap(), text.as_bytes().to_vec())
    }

    #[test]
    fn bodies_are_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let (bodies, refused) = Bodies::open(&store).unwrap();
        assert!(refused.is_none() && !bodies.contains(&body("a").0));
        let bodies = bodies.with(&store, |_| true, [body("a"), body("bc")]).unwrap();
        let bodies = bodies.with(&store, |it| *it != body("a").0, [body("d")]).unwrap();
        let (again, _) = Bodies::open(&store).unwrap();
        for bodies in [bodies, again] {
            assert_eq!(bodies.read(&body("a").0).unwrap(), None);
            assert_eq!(bodies.read(&body("bc").0).unwrap().as_deref(), Some(&b"bc"[..]));
            assert_eq!(bodies.read(&body("d").0).unwrap().as_deref(), Some(&b"d"[..]));
        }
    }

    #[test]
    fn a_flipped_byte_is_noticed_and_a_short_file_refused() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let bodies = Bodies::open(&store).unwrap().0.with(&store, |_| true, [body("abc")]).unwrap();
        fs::write(&bodies.path, b"abX").unwrap();
        assert!(bodies.read(&body("abc").0).unwrap_err().to_string().contains("damaged"));
        fs::write(&bodies.path, b"ab").unwrap();
        let (empty, refused) = Bodies::open(&store).unwrap();
        assert!(!empty.contains(&body("abc").0));
        assert!(refused.unwrap().to_string().contains("too short"));
        let bodies = empty.with(&store, |_| true, [body("abc")]).unwrap();
        assert_eq!(bodies.read(&body("abc").0).unwrap().as_deref(), Some(&b"abc"[..]));
    }

    #[test]
    fn what_was_just_read_is_not_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let bodies = Bodies::open(&store).unwrap().0.with(&store, |_| true, [body("abc")]).unwrap();
        for _ in 0..2 {
            assert_eq!(bodies.read(&body("abc").0).unwrap().as_deref(), Some(&b"abc"[..]));
            fs::write(&bodies.path, b"abX").unwrap();
        }
        let mut other = body("abc").0;
        other[31] ^= 1;
        assert_eq!(bodies.recent.find(&other), None, "the place alone is not the digest");
        let without = bodies.with(&store, |_| false, []).unwrap();
        assert_eq!(without.read(&body("abc").0).unwrap(), None, "no longer wanted");
    }

    #[test]
    fn what_a_stop_left_behind_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let bodies = Bodies::open(&store).unwrap().0;
        fs::write(&bodies.path, b"half a bo").unwrap();
        let bodies = bodies.with(&store, |_| true, [body("abc")]).unwrap();
        assert_eq!(bodies.read(&body("abc").0).unwrap().as_deref(), Some(&b"abc"[..]));
    }

    #[test]
    fn a_file_full_of_waste_is_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let large = |byte: u8| {
            let bytes = vec![byte; 4 * 1024 * 1024];
            (*Digest::of(&bytes).sha256().unwrap(), bytes)
        };
        let bodies = Bodies::open(&store).unwrap().0.with(&store, |_| true, (0..18).map(large)).unwrap();
        let kept = large(3).0;
        let after = bodies.with(&store, |it| *it == kept, [body("a")]).unwrap();
        assert_eq!(after.read(&kept).unwrap().as_deref(), Some(&large(3).1[..]));
        assert_eq!(after.read(&body("a").0).unwrap().as_deref(), Some(&b"a"[..]));
        assert_ne!(after.path, bodies.path);
        assert!(!bodies.path.exists() && fs::metadata(&after.path).unwrap().len() < 5 * 1024 * 1024);
        assert_eq!(
            bodies.read(&kept).unwrap().as_deref(),
            Some(&large(3).1[..]),
            "whoever still has the old one reads on"
        );
    }
}
