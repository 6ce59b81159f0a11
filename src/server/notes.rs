//! What the server tells the database, off the request threads: a request only leaves a note in memory. Notes
//! are lossy and never harm a pull: what cannot be stored is dropped.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use jiff::{SignedDuration, Timestamp};

use super::{
    experience::Experiences,
    statistics::{Pending, Tally, Watched},
};
use crate::{
    database::{self, Connection, Database, Time, audit, demand, experience, probe, suspicion},
    mirror::HostCategoryUrlId,
    mirrorlist::{Client, Offer},
};

/// How often notes are stored.
const STORE: Duration = Duration::from_secs(1);

/// So many times of these, counts are stored once.
const COUNTS: u32 = 10;

/// So many times of these, it is looked what all servers counted together.
const WATCH: u32 = 60;

/// So many entries of the log of changes are removed at once, when they are too old.
const CUT: i64 = 1_000;

/// So many URLs are told apart (512 KiB). Rows are numbered one after another, so two share a place only
/// when there are more; then one of them counts as idle.
const PLACES: usize = 1 << 16;

/// So many suspicions are kept until they are stored; more are dropped.
const MOST_SUSPICIONS: usize = 1_000;

/// So many blobs that were asked for are told apart until they are stored (16 KiB); of two on one place the later
/// one is kept.
const DEMAND_PLACES: usize = 1 << 12;

/// A blob that was asked for is stored once in so long.
const DEMAND_REST: Duration = Duration::from_secs(600);

/// So many of these are remembered.
const MOST_TOLD: usize = 1 << 16;

/// The notes that were not stored yet.
pub(super) struct Notes {
    /// The rows of URLs that clients were sent to; 0 is none.
    redirects: Box<[AtomicU64]>,
    /// URLs that clients came back from, and the number of the blob they wanted.
    suspicions: Mutex<BTreeSet<(HostCategoryUrlId, u32)>>,
    pub(super) tally: Tally,
    /// `None` until the database was asked.
    pub(super) watched: ArcSwapOption<Watched>,
    experiences: Experiences,
    /// The numbers of blobs that clients asked for; 0 is none.
    demand: Box<[AtomicU32]>,
}

impl Notes {
    pub(super) fn new() -> Self {
        let redirects = (0..PLACES).map(|_| AtomicU64::new(0)).collect();
        Self {
            redirects,
            suspicions: Mutex::default(),
            tally: Tally::default(),
            watched: ArcSwapOption::empty(),
            experiences: Experiences::default(),
            demand: (0..DEMAND_PLACES).map(|_| AtomicU32::new(0)).collect(),
        }
    }

    /// A client was just sent to a host for so many bytes.
    pub(super) fn redirected(&self, offer: &Offer<'_>, bytes: u64) {
        self.tally.sent(offer, bytes);
        self.used(offer.url.id);
    }

    /// It begins a download there.
    pub(super) fn began(&self, offer: &Offer<'_>, client: &Client<'_>) {
        self.experiences.sent(offer.host, client);
    }

    /// A client came back that was sent there for this blob.
    pub(super) fn came_back(&self, offer: &Offer<'_>, number: u32, client: &Client<'_>) {
        self.experiences.came_back(offer.host, client);
        self.suspected(offer.url.id, number);
    }

    fn used(&self, url: HostCategoryUrlId) {
        let id = url.0.cast_unsigned();
        let place = &self.redirects[id as usize % PLACES];
        // Most are noted already, and what is only read is not taken away from other processors.
        if place.load(Relaxed) != id {
            place.store(id, Relaxed);
        }
    }

    /// A client asked for this blob.
    pub(super) fn demanded(&self, number: u32) {
        let place = &self.demand[number as usize % DEMAND_PLACES];
        if place.load(Relaxed) != number {
            place.store(number, Relaxed);
        }
    }

    fn suspected(&self, url: HostCategoryUrlId, number: u32) {
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

    /// What is in `told` is left out, for it was stored lately.
    fn take_demand(&self, told: &BTreeSet<u32>) -> BTreeSet<u32> {
        let noted = self.demand.iter().filter(|it| it.load(Relaxed) != 0).map(|it| it.swap(0, Relaxed));
        noted.filter(|it| *it != 0 && !told.contains(it)).collect()
    }

    fn take_redirects(&self) -> BTreeSet<HostCategoryUrlId> {
        let noted = self.redirects.iter().filter(|it| it.load(Relaxed) != 0).map(|it| it.swap(0, Relaxed));
        noted.filter(|it| *it != 0).map(|it| HostCategoryUrlId(it.cast_signed())).collect()
    }

    /// Stores what was noted; nothing asks the database when there is nothing.
    fn store(&self, database: &Database, told: &mut Told) -> Result<(), database::Error> {
        let (redirects, suspicions) = (self.take_redirects(), self.take_suspicions());
        let demand = self.take_demand(told.forget_old());
        if redirects.is_empty() && suspicions.is_empty() && demand.is_empty() {
            return Ok(());
        }
        let now = Timestamp::now().into();
        let store = |connection: &mut Connection| {
            probe::note_redirects(connection, &redirects, now)?;
            demand::note(connection, &demand, now)?;
            suspicion::insert(connection, &suspicions, now)
        };
        database.write_log(store)?;
        told.numbers.extend(&demand);
        Ok(())
    }

    /// Stores what was counted, under the name of this server.
    fn store_counts(
        &self,
        database: &Database,
        server: i64,
        pending: &mut Pending,
    ) -> Result<(), database::Error> {
        let now = Timestamp::now();
        let (began_at, seen) = self.experiences.list(now.as_second());
        pending.take(&self.tally, now);
        if pending.is_empty() && seen.is_empty() {
            return Ok(());
        }
        let began_at = Timestamp::from_second(began_at).unwrap_or(now).into();
        let store = |connection: &mut Connection| {
            pending.store(connection)?;
            experience::store(connection, server, began_at, &seen)
        };
        database.write_log(store)?;
        pending.clear();
        Ok(())
    }

    fn watch(&self, database: &Database) -> Result<(), database::Error> {
        self.watched.store(Some(Arc::new(Watched::find(database, Timestamp::now())?)));
        Ok(())
    }

    /// Stores notes until told to stop, and what was counted once more then. A fault is logged when it comes and
    /// when it goes. The server's number tells its counts from those of others. The log of changes is kept so long.
    pub(super) fn keep(&self, database: &Database, server: i64, log: SignedDuration, stop: &Receiver<()>) {
        let (mut is_failing, mut told, mut pending) = (false, Told::default(), Pending::default());
        for turn in 1u32.. {
            let is_last = stop.recv_timeout(STORE) != Err(RecvTimeoutError::Timeout);
            if is_last && is_failing {
                return;
            }
            let counts = if is_last || turn.is_multiple_of(COUNTS) {
                self.store_counts(database, server, &mut pending)
            } else {
                Ok(())
            };
            let watch = if turn % WATCH == 1 {
                self.watch(database).and(cut_log(database, Time::from(Timestamp::now() - log)))
            } else {
                Ok(())
            };
            match self.store(database, &mut told).and(counts).and(watch) {
                Err(error) if !is_failing => {
                    tracing::warn!(%error, "where clients are sent cannot be stored, and is dropped; counts wait");
                    is_failing = true;
                }
                Ok(()) if is_failing => {
                    tracing::info!("where clients are sent is stored again");
                    is_failing = false;
                }
                Ok(()) | Err(_) => {}
            }
            if is_last {
                return;
            }
        }
    }
}

/// Removes some of what was changed before then from the log. Nobody waits for a writer when there is nothing.
fn cut_log(database: &Database, then: Time) -> Result<(), database::Error> {
    if database.read(|it| audit::has_before(it, then))? {
        let count = database.write_log(|it| audit::cut(it, then, CUT))?;
        tracing::info!(count, "removed what is too old from the log of changes");
    }
    Ok(())
}

/// Which blobs were stored lately as asked for.
struct Told {
    numbers: BTreeSet<u32>,
    since: Instant,
}

impl Default for Told {
    fn default() -> Self {
        Self { numbers: BTreeSet::new(), since: Instant::now() }
    }
}

impl Told {
    fn forget_old(&mut self) -> &BTreeSet<u32> {
        if self.since.elapsed() >= DEMAND_REST || self.numbers.len() >= MOST_TOLD {
            *self = Self::default();
        }
        &self.numbers
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
    fn what_was_told_is_left_out() {
        let notes = Notes::new();
        for number in [5, 6, 4_096 + 6, 7, 5] {
            notes.demanded(number);
        }
        assert_eq!(notes.take_demand(&[7].into()), [5, 4_096 + 6].into(), "two on one place: the later one");
        assert_eq!(notes.take_demand(&BTreeSet::new()), [].into());
    }

    #[test]
    fn redirects_are_taken_once() {
        let notes = Notes::new();
        let ids = |ids: &[i64]| ids.iter().map(|it| HostCategoryUrlId(*it)).collect::<BTreeSet<_>>();
        for id in [7, 65_535, 7, 65_536] {
            notes.used(HostCategoryUrlId(id));
        }
        assert_eq!(notes.take_redirects(), ids(&[7, 65_535, 65_536]));
        assert_eq!(notes.take_redirects(), ids(&[]));
        for id in [7, 7 + 65_536] {
            notes.used(HostCategoryUrlId(id));
        }
        assert_eq!(notes.take_redirects(), ids(&[7 + 65_536]), "two on one place: the later one");
    }
}
