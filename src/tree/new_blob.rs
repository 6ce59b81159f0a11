use std::{
    fs::{self, File},
    io::Write,
    path::PathBuf,
};

use super::{
    Error,
    disk::{create_file, create_folder, folder_of, sync_folder},
};
use crate::oci;

/// Content on its way into the pool. Dropped before its end, it leaves nothing.
pub struct NewBlob {
    file: File,
    path: PathBuf,
    pool_path: PathBuf,
    digest: oci::Digest,
    size: u64,
    written: u64,
    verifier: oci::Verifier,
}

impl NewBlob {
    /// Begins to write `size` bytes to `path`, which at the end becomes `pool_path`.
    pub(super) fn create(
        path: PathBuf,
        pool_path: PathBuf,
        digest: oci::Digest,
        size: u64,
    ) -> Result<Self, Error> {
        let (file, verifier) = (create_file(&path)?, oci::Verifier::new(digest));
        Ok(Self { file, path, pool_path, digest, size, written: 0, verifier })
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
        self.verifier.update(bytes);
        self.written = found;
        Ok(())
    }

    /// Begins anew, for a source that cannot resume.
    pub fn restart(&mut self) -> Result<(), Error> {
        self.file = create_file(&self.path)?;
        self.verifier = oci::Verifier::new(self.digest);
        self.written = 0;
        Ok(())
    }

    /// Verifies size and digest, and puts the content into the pool.
    pub fn finish(mut self) -> Result<(), Error> {
        if self.written != self.size {
            return Err(Error::WrongSize { digest: self.digest, size: self.size, found: self.written });
        }
        let verifier = std::mem::replace(&mut self.verifier, oci::Verifier::new(self.digest));
        verifier
            .finish()
            .map_err(|found| Error::WrongBytes { expected: self.digest, found: found.into() })?;
        self.file.sync_all().map_err(Error::at(&self.path))?;
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
