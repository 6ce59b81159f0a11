use std::{
    fs::{self, File},
    io::Write,
    path::PathBuf,
};

use super::{
    Error, Tree,
    disk::{create_file, create_folder, folder_of, sync_folder},
    pieces,
    space::Room,
};
use crate::{metalink::PieceHasher, oci};

/// Content on its way into the pool. Dropped before its end, it leaves nothing.
pub struct NewBlob {
    file: File,
    path: PathBuf,
    pool_path: PathBuf,
    pieces_path: PathBuf,
    digest: oci::Digest,
    size: u64,
    written: u64,
    verifier: oci::Verifier,
    /// None: too small for pieces.
    hasher: Option<PieceHasher>,
    room: Room,
}

impl NewBlob {
    /// Begins to write `size` bytes to `path`, a temporary one, for the pool of `tree`.
    pub(super) fn create(
        tree: &Tree,
        path: PathBuf,
        digest: oci::Digest,
        size: u64,
        room: Room,
    ) -> Result<Self, Error> {
        let (file, verifier, hasher) =
            (create_file(&path)?, oci::Verifier::new(digest), PieceHasher::new(size));
        let (pool_path, pieces_path) = (tree.pool_path(&digest), tree.pieces_path(&digest));
        Ok(Self { file, path, pool_path, pieces_path, digest, size, written: 0, verifier, hasher, room })
    }

    /// How many bytes were taken so far: where a broken transfer resumes.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Takes the next bytes; more than the size is refused.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let found = self.written + bytes.len() as u64;
        if found > self.size {
            return Err(Error::WrongSize { digest: self.digest, size: self.size, found });
        }
        self.file.write_all(bytes).map_err(Error::at(&self.path))?;
        self.room.use_up(bytes.len() as u64);
        self.verifier.update(bytes);
        self.hasher.iter_mut().for_each(|it| it.update(bytes));
        self.written = found;
        Ok(())
    }

    /// Begins anew, for a source that cannot resume.
    pub fn restart(&mut self) -> Result<(), Error> {
        self.file = create_file(&self.path)?;
        self.verifier = oci::Verifier::new(self.digest);
        self.hasher = PieceHasher::new(self.size);
        self.room.renew(self.size);
        self.written = 0;
        Ok(())
    }

    /// Verifies size and digest, and puts the content into the pool, and its pieces beside it.
    pub fn finish(mut self) -> Result<(), Error> {
        if self.written != self.size {
            return Err(Error::WrongSize { digest: self.digest, size: self.size, found: self.written });
        }
        let verifier = std::mem::replace(&mut self.verifier, oci::Verifier::new(self.digest));
        verifier
            .finish()
            .map_err(|found| Error::WrongBytes { expected: self.digest, found: found.into() })?;
        self.file.sync_all().map_err(Error::at(&self.path))?;
        if let Some(pieces) = self.hasher.take().and_then(PieceHasher::finish) {
            pieces::store(&self.path.with_extension("pieces"), &self.pieces_path, &self.digest, &pieces)?;
        }
        let folder = folder_of(&self.pool_path);
        create_folder(folder)?;
        fs::rename(&self.path, &self.pool_path).map_err(Error::at(&self.pool_path))?;
        sync_folder(folder)
    }
}

impl Drop for NewBlob {
    fn drop(&mut self) {
        // Gone already when it was finished; and what stays is removed by the next export.
        let _ = fs::remove_file(&self.path);
    }
}
