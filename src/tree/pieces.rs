//! `.portolan/pieces`: the hashes of the pieces of large blobs, one file a blob. They can be computed again from the
//! blob at any time, and carry their own check.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    path::Path,
};

use super::{
    Error, Tree, Writer,
    disk::{create_file, create_folder, folder_of, open_file, read_file},
};
use crate::{
    metalink::{PieceHasher, Pieces},
    oci::{Digest, Verifier},
};

/// The longest such file, in bytes.
const PIECES_LIMIT: u64 = 16 * 1024;

/// So many bytes of a blob are read at once.
const CHUNK: usize = 1024 * 1024;

impl Tree {
    /// The pieces of a blob of `size` bytes; `None` if they are not kept, or not usable.
    pub fn read_pieces(&self, digest: &Digest, size: u64) -> Result<Option<Pieces>, Error> {
        let bytes = read_file(&self.pieces_path(digest), PIECES_LIMIT)?;
        Ok(bytes.and_then(|it| Pieces::decode(digest, size, &it)))
    }

    /// Should this blob have pieces, and has none that look right?
    pub fn lacks_pieces(&self, digest: &Digest, size: u64) -> bool {
        let found = || fs::metadata(self.pieces_path(digest)).ok().map(|it| it.len());
        Pieces::encoded_length(size).is_some_and(|expected| found() != Some(expected))
    }
}

impl Writer {
    /// Reads a blob of the pool from its first byte to its last, and keeps its pieces. The bytes are verified on the
    /// way: pieces of wrong bytes would make clients blame mirrors that have the right ones.
    pub fn cut(&self, digest: &Digest, size: u64) -> Result<(), Error> {
        self.cut_telling(digest, size, &|_| {})
    }

    /// The same, and tells `advance` how many bytes were read, again and again.
    pub(super) fn cut_telling(&self, digest: &Digest, size: u64, advance: &dyn Fn(u64)) -> Result<(), Error> {
        let pieces = read_whole(&self.tree().pool_path(digest), digest, size, advance)?;
        let Some(pieces) = pieces else { return Ok(()) };
        if self.tree().read_pieces(digest, size)?.as_ref() == Some(&pieces) {
            return Ok(());
        }
        store(&self.temporary_path(), &self.tree().pieces_path(digest), digest, &pieces)
    }
}

/// Reads a file of `size` bytes, tells `advance` of each step, and verifies it. Gives its pieces, if it is large
/// enough for some.
pub(super) fn read_whole(
    path: &Path,
    digest: &Digest,
    size: u64,
    advance: &dyn Fn(u64),
) -> Result<Option<Pieces>, Error> {
    let missing = || Error::at(path)(io::ErrorKind::NotFound.into());
    let mut file = open_file(path)?.ok_or_else(missing)?;
    let (mut verifier, mut hasher) = (Verifier::new(*digest), PieceHasher::new(size));
    let mut chunk = vec![0; CHUNK];
    loop {
        let length = file.read(&mut chunk).map_err(Error::at(path))?;
        if length == 0 {
            break;
        }
        verifier.update(&chunk[..length]);
        hasher.iter_mut().for_each(|it| it.update(&chunk[..length]));
        advance(length as u64);
    }
    verifier.finish().map_err(|found| Error::WrongBytes { expected: *digest, found: found.into() })?;
    Ok(hasher.and_then(PieceHasher::finish))
}

/// Writes pieces whole or not at all. Not synced: what a power cut leaves of them fails its check.
pub(super) fn store(temporary: &Path, path: &Path, digest: &Digest, pieces: &Pieces) -> Result<(), Error> {
    create_folder(folder_of(path))?;
    let mut file = create_file(temporary)?;
    file.write_all(&pieces.encode(digest)).map_err(Error::at(temporary))?;
    fs::rename(temporary, path).map_err(Error::at(path))
}
