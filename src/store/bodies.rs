use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::fs::FileExt as _,
    path::PathBuf,
    sync::Arc,
};

use arc_swap::ArcSwapOption;
use rkyv::{Archive, Deserialize, Serialize};

use super::{Error, Store};
use crate::{metalink::Pieces, mirrorlist::rows::Hash, oci::Digest};

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

/// What the file has of a manifest or blob.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Record {
    /// Its bytes: of manifests and small blobs.
    Body,
    /// The hashes of its pieces, as [`Pieces::encode`] keeps them: of large blobs.
    Pieces,
}

/// The bodies of manifests and small blobs and the pieces of large ones, in one file that only grows, and where each
/// stands. Never changed once made, so readers need no lock; [`Bodies::with`] makes the next state.
#[derive(Clone, Debug)]
pub struct Bodies {
    path: PathBuf,
    file: Arc<File>,
    rows: BodyRows,
    recent: Arc<Recent>,
}

/// Where the bodies and pieces stand: what is saved of them.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct BodyRows {
    /// Which file has them: `bodies.NUMBER.data`.
    file: u64,
    /// Up to where the file is written.
    end: u64,
    /// Sorted, for there may be a million: an index beside them would double what they take.
    records: Vec<BodyRow>,
}

#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
struct BodyRow {
    digest: Hash,
    offset: u64,
    length: u32,
    record: Record,
}

impl BodyRow {
    fn key(&self) -> (Record, Hash) {
        (self.record, self.digest)
    }
}

impl BodyRows {
    fn find(&self, record: Record, digest: &Hash) -> Option<&BodyRow> {
        let place = self.records.binary_search_by_key(&(record, *digest), BodyRow::key).ok()?;
        self.records.get(place)
    }

    fn sort(&mut self) {
        self.records.sort_unstable_by_key(BodyRow::key);
    }
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

    fn open_file(store: &Store, mut rows: BodyRows) -> Result<Self, Error> {
        let path = store.folder().join(format!("bodies.{}.data", rows.file));
        let options = File::options().read(true).append(true).create(true).clone();
        let file = options.open(&path).map_err(Error::io("opening", &path))?;
        rows.sort();
        Ok(Self { path, file: Arc::new(file), rows, recent: Arc::new(Recent::new()) })
    }

    /// Is this here?
    pub fn contains(&self, record: Record, digest: &Hash) -> bool {
        self.rows.find(record, digest).is_some()
    }

    /// A body, checked against its digest when it was read. `None` when it is not here.
    pub fn read(&self, digest: &Hash) -> Result<Option<Arc<[u8]>>, Error> {
        let Some(row) = self.rows.find(Record::Body, digest) else { return Ok(None) };
        if let Some(body) = self.recent.find(digest) {
            return Ok(Some(body));
        }
        let body = self.read_row(row)?;
        if Digest::of(&body) != Digest::Sha256(*digest) {
            return Err(self.damaged("body", digest));
        }
        let body = Arc::from(body);
        self.recent.keep(digest, &body);
        Ok(Some(body))
    }

    /// The pieces of a blob of `size` bytes, checked. `None` when they are not here.
    pub fn read_pieces(&self, digest: &Hash, size: u64) -> Result<Option<Pieces>, Error> {
        let Some(row) = self.rows.find(Record::Pieces, digest) else { return Ok(None) };
        let pieces = Pieces::decode(&Digest::Sha256(*digest), size, &self.read_row(row)?);
        pieces.map(Some).ok_or_else(|| self.damaged("list of pieces", digest))
    }

    fn read_row(&self, row: &BodyRow) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; row.length as usize];
        self.file.read_exact_at(&mut bytes, row.offset).map_err(Error::io("reading", &self.path))?;
        Ok(bytes)
    }

    fn damaged(&self, what: &str, digest: &Hash) -> Error {
        let reason = format!("the {what} of {} in it is damaged", Digest::Sha256(*digest));
        Error::Damaged { path: self.path.clone(), reason }
    }

    /// The next state: with these too, and without those that are no longer wanted. All are on disk before the
    /// index names them.
    pub fn with(
        &self,
        store: &Store,
        wanted: impl Fn(Record, &Hash) -> bool,
        added: impl IntoIterator<Item = (Record, Hash, Vec<u8>)>,
    ) -> Result<Self, Error> {
        let mut next = self.clone();
        next.rows.records.retain(|it| wanted(it.record, &it.digest));
        let live: u64 = next.rows.records.iter().map(|it| u64::from(it.length)).sum();
        if self.rows.end - live > WASTE.max(live) {
            next = self.rewritten(store, next.rows)?;
        }
        for (record, digest, bytes) in added {
            next.append(record, digest, &bytes)?;
        }
        next.file.sync_data().map_err(Error::io("syncing", &next.path))?;
        next.rows.sort();
        store.save(&next.rows)?;
        if next.path != self.path {
            // Whoever still reads the old one holds it open.
            fs::remove_file(&self.path).map_err(Error::io("removing", &self.path))?;
        }
        Ok(next)
    }

    /// The wanted ones in a new file. They are checked whenever they are read.
    fn rewritten(&self, store: &Store, wanted: BodyRows) -> Result<Self, Error> {
        let mut next = Self::open_file(store, BodyRows { file: self.rows.file + 1, ..BodyRows::default() })?;
        next.file.set_len(0).map_err(Error::io("emptying", &next.path))?;
        for row in wanted.records {
            next.append(row.record, row.digest, &self.read_row(&row)?)?;
        }
        Ok(next)
    }

    fn append(&mut self, record: Record, digest: Hash, bytes: &[u8]) -> Result<(), Error> {
        // After a stop in the middle of a write the file is longer than the index says.
        self.file.set_len(self.rows.end).map_err(Error::io("cutting", &self.path))?;
        (&*self.file).write_all(bytes).map_err(Error::io("writing", &self.path))?;
        // A body is a manifest or a small blob: at most some MiB. Pieces take less.
        let length = bytes.len() as u32;
        self.rows.records.push(BodyRow { digest, offset: self.rows.end, length, record });
        self.rows.end += u64::from(length);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(text: &str) -> Hash {
        *Digest::of(text.as_bytes()).sha256().unwrap()
    }

    fn body(text: &str) -> (Record, Hash, Vec<u8>) {
        (Record::Body, hash(text), text.as_bytes().to_vec())
    }

    #[test]
    fn bodies_are_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let (bodies, refused) = Bodies::open(&store).unwrap();
        assert!(refused.is_none() && !bodies.contains(Record::Body, &hash("a")));
        let bodies = bodies.with(&store, |_, _| true, [body("a"), body("bc")]).unwrap();
        let bodies = bodies.with(&store, |_, it| *it != hash("a"), [body("d")]).unwrap();
        let (again, _) = Bodies::open(&store).unwrap();
        for bodies in [bodies, again] {
            assert_eq!(bodies.read(&hash("a")).unwrap(), None);
            assert_eq!(bodies.read(&hash("bc")).unwrap().as_deref(), Some(&b"bc"[..]));
            assert_eq!(bodies.read(&hash("d")).unwrap().as_deref(), Some(&b"d"[..]));
        }
    }

    #[test]
    fn a_flipped_byte_is_noticed_and_a_short_file_refused() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let bodies = Bodies::open(&store).unwrap().0.with(&store, |_, _| true, [body("abc")]).unwrap();
        fs::write(&bodies.path, b"abX").unwrap();
        assert!(bodies.read(&hash("abc")).unwrap_err().to_string().contains("damaged"));
        fs::write(&bodies.path, b"ab").unwrap();
        let (empty, refused) = Bodies::open(&store).unwrap();
        assert!(!empty.contains(Record::Body, &hash("abc")));
        assert!(refused.unwrap().to_string().contains("too short"));
        let bodies = empty.with(&store, |_, _| true, [body("abc")]).unwrap();
        assert_eq!(bodies.read(&hash("abc")).unwrap().as_deref(), Some(&b"abc"[..]));
    }

    #[test]
    fn what_was_just_read_is_not_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let bodies = Bodies::open(&store).unwrap().0.with(&store, |_, _| true, [body("abc")]).unwrap();
        for _ in 0..2 {
            assert_eq!(bodies.read(&hash("abc")).unwrap().as_deref(), Some(&b"abc"[..]));
            fs::write(&bodies.path, b"abX").unwrap();
        }
        let mut other = hash("abc");
        other[31] ^= 1;
        assert_eq!(bodies.recent.find(&other), None, "the place alone is not the digest");
        let without = bodies.with(&store, |_, _| false, []).unwrap();
        assert_eq!(without.read(&hash("abc")).unwrap(), None, "no longer wanted");
    }

    #[test]
    fn pieces_stand_beside_bodies_and_are_checked() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let pieces = Pieces::new(6, 4, vec![[1; 32], [2; 32]]).unwrap();
        let (large, digest) = (hash("large"), Digest::Sha256(hash("large")));
        let added = [(Record::Pieces, large, pieces.encode(&digest)), body("small")];
        let bodies = Bodies::open(&store).unwrap().0.with(&store, |_, _| true, added).unwrap();
        let again = Bodies::open(&store).unwrap().0;
        for bodies in [&bodies, &again] {
            assert_eq!(bodies.read_pieces(&large, 6).unwrap().as_ref(), Some(&pieces));
            assert_eq!(bodies.read(&large).unwrap(), None);
            assert_eq!(bodies.read_pieces(&hash("small"), 5).unwrap(), None);
            assert_eq!(bodies.read(&hash("small")).unwrap().as_deref(), Some(&b"small"[..]));
        }
        let mut bytes = fs::read(&bodies.path).unwrap();
        bytes[50] ^= 1;
        fs::write(&bodies.path, bytes).unwrap();
        let error = bodies.read_pieces(&large, 6).unwrap_err().to_string();
        assert!(error.contains("the list of pieces of") && error.contains("damaged"), "{error}");
        let without = bodies.with(&store, |record, _| record == Record::Body, []).unwrap();
        assert_eq!(without.read_pieces(&large, 6).unwrap(), None);
        assert!(without.read(&hash("small")).unwrap().is_some());
    }

    #[test]
    fn what_a_stop_left_behind_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let bodies = Bodies::open(&store).unwrap().0;
        fs::write(&bodies.path, b"half a bo").unwrap();
        let bodies = bodies.with(&store, |_, _| true, [body("abc")]).unwrap();
        assert_eq!(bodies.read(&hash("abc")).unwrap().as_deref(), Some(&b"abc"[..]));
    }

    #[test]
    fn a_file_full_of_waste_is_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let large = |byte: u8| {
            let bytes = vec![byte; 4 * 1024 * 1024];
            (Record::Body, *Digest::of(&bytes).sha256().unwrap(), bytes)
        };
        let bodies = Bodies::open(&store).unwrap().0.with(&store, |_, _| true, (0..18).map(large)).unwrap();
        let kept = large(3).1;
        let after = bodies.with(&store, |_, it| *it == kept, [body("a")]).unwrap();
        assert_eq!(after.read(&kept).unwrap().as_deref(), Some(&large(3).2[..]));
        assert_eq!(after.read(&hash("a")).unwrap().as_deref(), Some(&b"a"[..]));
        assert_ne!(after.path, bodies.path);
        assert!(!bodies.path.exists() && fs::metadata(&after.path).unwrap().len() < 5 * 1024 * 1024);
        assert_eq!(
            bodies.read(&kept).unwrap().as_deref(),
            Some(&large(3).2[..]),
            "whoever still has the old one reads on"
        );
    }
}
