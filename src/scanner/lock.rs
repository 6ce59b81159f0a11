use std::fs::{File, OpenOptions, TryLockError};

use super::Error;
use crate::tree::Tree;

/// Held as long as a scan runs. The kernel lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing alone would not do while a child process, just forked, still has the file open. An error
        // leaves the lock to the end of the process.
        let _ = self.file.unlock();
    }
}

/// Takes the scan's own lock, beside that of the export: a scan may run while an export does, and sees
/// what is half-written.
pub(super) fn take(tree: &Tree) -> Result<Lock, Error> {
    let folder = tree.path().join(".portolan");
    if !folder.is_dir() {
        return Err(Error::NoTree(tree.path().to_owned()));
    }
    let path = folder.join("scan.lock");
    let open = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = match open {
        Ok(file) => file,
        Err(source) => return Err(Error::Lock { path, source }),
    };
    match file.try_lock() {
        Ok(()) => Ok(Lock { file }),
        Err(TryLockError::WouldBlock) => Err(Error::Locked(path)),
        Err(TryLockError::Error(source)) => Err(Error::Lock { path, source }),
    }
}
