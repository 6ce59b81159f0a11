use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::Error;

/// So many bytes stay free, for inventories and for whoever else uses this file system.
const RESERVE: u64 = 16 * 1024 * 1024;

/// The room on the tree's file system that is promised to files that are being written.
#[derive(Debug, Default)]
pub(super) struct Space {
    promised: Arc<AtomicU64>,
}

/// Room for the rest of a file. What is written is given back, for it is not free any more.
#[derive(Debug)]
pub(super) struct Room {
    promised: Arc<AtomicU64>,
    left: u64,
}

impl Space {
    /// Promises room for a file of `size` bytes in `folder`, beside all that is promised already.
    pub(super) fn promise(&self, folder: &Path, size: u64) -> Result<Room, Error> {
        let free = free_bytes(folder)?;
        let needed = |others: u64| others.saturating_add(size).saturating_add(RESERVE);
        let promise = |others| (needed(others) <= free).then(|| others + size);
        match self.promised.fetch_update(Ordering::Relaxed, Ordering::Relaxed, promise) {
            Ok(_) => Ok(Room { promised: self.promised.clone(), left: size }),
            Err(others) => Err(Error::NoSpace { path: folder.to_owned(), needed: needed(others), free }),
        }
    }
}

/// What may be written by others than the superuser, who has a reserve of its own on many file systems.
fn free_bytes(folder: &Path) -> Result<u64, Error> {
    let found = rustix::fs::statvfs(folder).map_err(io::Error::from).map_err(Error::at(folder))?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

impl Room {
    /// So many bytes of it are written.
    pub(super) fn use_up(&mut self, bytes: u64) {
        let used = bytes.min(self.left);
        self.left -= used;
        self.promised.fetch_sub(used, Ordering::Relaxed);
    }

    /// The file begins anew, and is to have `size` bytes again.
    pub(super) fn renew(&mut self, size: u64) {
        self.promised.fetch_add(size - self.left.min(size), Ordering::Relaxed);
        self.left = size;
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.use_up(self.left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_promised_twice() {
        let folder = tempfile::tempdir().unwrap();
        let (space, free) = (Space::default(), free_bytes(folder.path()).unwrap());
        let promise = |size| space.promise(folder.path(), size);
        let promised = || space.promised.load(Ordering::Relaxed);
        let error = promise(free).unwrap_err().to_string();
        assert!(
            error.contains("make room") && error.contains(&folder.path().display().to_string()),
            "{error}"
        );
        assert_eq!(promised(), 0, "what was refused is not kept");
        // Others write here, too: far from the edge.
        let mut room = promise(free / 2).unwrap();
        promise(free / 2).unwrap_err();
        room.use_up(free / 4);
        assert_eq!(promised(), free / 2 - free / 4);
        room.renew(free / 2);
        assert_eq!(promised(), free / 2);
        drop(room);
        assert_eq!(promised(), 0);
        assert!(matches!(promise(u64::MAX), Err(Error::NoSpace { .. })));
    }
}
