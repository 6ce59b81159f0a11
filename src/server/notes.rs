//! What the server tells the database, off the request threads: a request only leaves a note in memory. Notes
//! are lossy and never harm a pull: what cannot be stored is dropped.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::Duration,
};

use jiff::Timestamp;

use crate::{
    database::{self, Connection, Database, probe, suspicion},
    mirror::HostCategoryUrlId,
};

/// How often notes are stored.
const STORE: Duration = Duration::from_secs(2);

/// So many URLs are told apart (512 KiB). Rows are numbered one after another, so two share a place only
/// when there are more; then one of them counts as idle.
const PLACES: usize = 1 << 16;

/// So many suspicions are kept until they are stored; more are dropped.
const MOST_SUSPICIONS: usize = 1_000;

/// The notes that were not stored yet.
pub(super) struct Notes {
    /// The rows of URLs that clients were sent to; 0 is none.
    redirects: Box<[AtomicU64]>,
    /// URLs that clients came back from, and the number of the blob they wanted.
    suspicions: Mutex<BTreeSet<(HostCategoryUrlId, u32)>>,
}

impl Notes {
    pub(super) fn new() -> Self {
        let redirects = (0..PLACES).map(|_| AtomicU64::new(0)).collect();
        Self { redirects, suspicions: Mutex::default() }
    }

    /// A client was just sent to this URL.
    pub(super) fn redirected(&self, url: HostCategoryUrlId) {
        let id = url.0.cast_unsigned();
        let place = &self.redirects[id as usize % PLACES];
        // Most are noted already, and what is only read is not taken away from other processors.
        if place.load(Relaxed) != id {
            place.store(id, Relaxed);
        }
    }

    /// A client came back that was sent to this URL for this blob.
    pub(super) fn suspected(&self, url: HostCategoryUrlId, number: u32) {
        // A request waits for nobody: what another one holds at this moment is dropped.
        if let Ok(mut suspicions) = self.suspicions.try_lock()
            && suspicions.len() < MOST_SUSPICIONS
        {
            suspicions.insert((url, number));
        }
    }

    fn take_suspicions(&self) -> BTreeSet<(HostCategoryUrlId, u32)> {
        std::mem::take(&mut self.suspicions.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn take_redirects(&self) -> BTreeSet<HostCategoryUrlId> {
        let noted = self.redirects.iter().filter(|it| it.load(Relaxed) != 0).map(|it| it.swap(0, Relaxed));
        noted.filter(|it| *it != 0).map(|it| HostCategoryUrlId(it.cast_signed())).collect()
    }

    /// Stores what was noted; nothing asks the database when there is nothing.
    fn store(&self, database: &Database) -> Result<(), database::Error> {
        let (redirects, suspicions) = (self.take_redirects(), self.take_suspicions());
        if redirects.is_empty() && suspicions.is_empty() {
            return Ok(());
        }
        let now = Timestamp::now().into();
        let store = |connection: &mut Connection| {
            probe::note_redirects(connection, &redirects, now)?;
            suspicion::insert(connection, &suspicions, now)
        };
        database.write_log(store)
    }

    /// Stores notes until told to stop. A fault is logged when it comes and when it goes.
    pub(super) fn keep(&self, database: &Database, stop: &Receiver<()>) {
        let mut is_failing = false;
        while stop.recv_timeout(STORE) == Err(RecvTimeoutError::Timeout) {
            match self.store(database) {
                Err(error) if !is_failing => {
                    tracing::warn!(%error, "where clients are sent cannot be stored, and is dropped");
                    is_failing = true;
                }
                Ok(()) if is_failing => {
                    tracing::info!("where clients are sent is stored again");
                    is_failing = false;
                }
                Ok(()) | Err(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suspicions_are_bounded() {
        let notes = Notes::new();
        for number in 0..2_000 {
            notes.suspected(HostCategoryUrlId(1), number / 2);
            notes.suspected(HostCategoryUrlId(2), number / 2);
        }
        assert_eq!(notes.take_suspicions().len(), MOST_SUSPICIONS);
        assert!(notes.take_suspicions().is_empty());
    }

    #[test]
    fn redirects_are_taken_once() {
        let notes = Notes::new();
        let ids = |ids: &[i64]| ids.iter().map(|it| HostCategoryUrlId(*it)).collect::<BTreeSet<_>>();
        for id in [7, 65_535, 7, 65_536] {
            notes.redirected(HostCategoryUrlId(id));
        }
        assert_eq!(notes.take_redirects(), ids(&[7, 65_535, 65_536]));
        assert_eq!(notes.take_redirects(), ids(&[]));
        for id in [7, 7 + 65_536] {
            notes.redirected(HostCategoryUrlId(id));
        }
        assert_eq!(notes.take_redirects(), ids(&[7 + 65_536]), "two on one place: the later one");
    }
}
