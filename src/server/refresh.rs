//! Keeps what answers are made from equal to the database, part by part, off the request threads.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant, SystemTime},
};

use super::{
    ServeError,
    state::{Current, State, now},
};
use crate::{
    database::{self, Database, Generations},
    mirrorlist::{
        Content, Gate, Holdings, Hosts, PublishRules, Snapshot,
        rows::{ContentRows, Hash, HoldingRows, HostRows},
    },
    store::{Bodies, Part, Saved, Store},
};

/// How often the database is asked whether anything has changed.
const POLL: Duration = Duration::from_millis(500);

/// How long the next question waits while the database does not answer.
const RETRY: Duration = Duration::from_secs(3);

/// How often certificates and GeoIP databases are looked at, and saved parts confirmed.
const HOUSEKEEPING: Duration = Duration::from_secs(10);

/// How often tags that moved are looked at when nothing else changes, in seconds.
const GATE_INTERVAL: i64 = 10;

/// So many bodies are held in memory while they are fetched.
const BODIES_AT_ONCE: usize = 10_000;

/// Why the newest state could not be taken over.
#[derive(Debug, thiserror::Error)]
enum RefreshError {
    #[error(transparent)]
    Database(#[from] database::Error),
    #[error(transparent)]
    Store(#[from] crate::store::Error),
    #[error(transparent)]
    Rows(#[from] crate::mirrorlist::RowsError),
    /// A database file that was lost comes back empty; that is no reason to forget all mirrors.
    #[error(
        "the database is empty, and the snapshot is not: is it the right one? To begin anew, stop, empty the folder \
         `serve.state` and start again"
    )]
    Empty,
}

/// Reads what was saved. `None` when nothing usable was.
pub(super) fn load_saved(store: &Store) -> Result<Option<Current>, ServeError> {
    let (Some(content), Some(holdings), Some(hosts)) =
        (saved::<ContentRows>(store), saved::<HoldingRows>(store), saved::<HostRows>(store))
    else {
        return Ok(None);
    };
    let confirmed = [content.confirmed, holdings.confirmed, hosts.confirmed];
    let (Ok(content), Ok(holdings)) = (Content::new(content.part), Holdings::new(holdings.part)) else {
        return Ok(None);
    };
    let snapshot = Snapshot {
        content: Arc::new(content),
        holdings: Arc::new(holdings),
        hosts: Arc::new(Hosts::new(hosts.part)),
        ..Snapshot::default()
    };
    let current = Current {
        snapshot,
        bodies: Arc::new(open_bodies(store)?),
        confirmed,
        database_fault: None,
        gate_decided_at: 0,
        heartbeat: None,
    };
    Ok(Some(current))
}

/// Loads everything from the database and saves it.
pub(super) fn load_all(database: &Database, store: &Store) -> Result<Current, ServeError> {
    let mut current = Current {
        snapshot: Snapshot::default(),
        bodies: Arc::new(open_bodies(store)?),
        confirmed: [SystemTime::now(); 3],
        database_fault: None,
        gate_decided_at: 0,
        heartbeat: None,
    };
    load_changed(database, store, &mut current, true, |_| ())
        .map_err(|error| ServeError::Snapshot(error.to_string()))?;
    Ok(current)
}

fn open_bodies(store: &Store) -> Result<Bodies, ServeError> {
    let (bodies, refused) = Bodies::open(store)?;
    if let Some(error) = refused {
        tracing::warn!(%error, "bodies are read from the database again");
    }
    Ok(bodies)
}

fn saved<P: Part>(store: &Store) -> Option<Saved<P>> {
    let saved = store.load::<P>().unwrap_or_else(|error| {
        tracing::warn!(%error, "a saved part of the snapshot is refused");
        None
    })?;
    if let Some(error) = &saved.refused {
        tracing::warn!(%error, "the newest saved part is refused, the one before it is used");
    }
    Some(saved)
}

/// Polls until told to stop. A fault is logged when it comes and when it goes, not every time.
pub(super) fn run(
    database: &Database,
    store: &Store,
    state: &State,
    stop: &Receiver<()>,
    housekeep: impl Fn(),
) {
    let mut housekept = Instant::now();
    let mut wait = POLL;
    while stop.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
        let before = state.current();
        let mut next = Current { database_fault: None, ..copy(&before) };
        match load_changed(database, store, &mut next, false, |it| take_over(state, copy(it))) {
            Ok(()) => {
                if before.database_fault.is_some() {
                    tracing::info!("the database answers again");
                }
                wait = POLL;
            }
            Err(error) => {
                if before.database_fault.is_none() {
                    tracing::warn!(%error, "the snapshot cannot be brought up to date; the last one stays in use");
                }
                // What was taken over before the fault stays.
                next = Current { database_fault: Some(error.to_string()), ..copy(&state.current()) };
                wait = RETRY;
            }
        }
        let healthy = next.database_fault.is_none();
        take_over(state, next);
        if housekept.elapsed() >= HOUSEKEEPING {
            housekept = Instant::now();
            if healthy {
                confirm(store);
            }
            housekeep();
        }
    }
}

/// Answers from these parts from now on, after deciding what depends on them, on time, and on what was sent.
fn take_over(state: &State, mut next: Current) {
    let (before, at) = (state.current(), now());
    let snapshot = &mut next.snapshot;
    let is_due = at - before.gate_decided_at >= GATE_INTERVAL;
    if is_due || !has_same_parts(snapshot, &before.snapshot) {
        snapshot.gate = decide_gate(&state.publish, snapshot);
        next.gate_decided_at = at;
    }
    snapshot.spent = Arc::new(state.sent.list_spent(snapshot.hosts.list(), at));
    state.current.store(Arc::new(next));
}

/// Which tags are held back now.
pub(super) fn decide_gate(rules: &PublishRules, snapshot: &Snapshot) -> Arc<Gate> {
    Arc::new(Gate::new(rules, snapshot, &snapshot.gate, now()))
}

fn has_same_parts(one: &Snapshot, other: &Snapshot) -> bool {
    Arc::ptr_eq(&one.content, &other.content)
        && Arc::ptr_eq(&one.holdings, &other.holdings)
        && Arc::ptr_eq(&one.hosts, &other.hosts)
}

fn copy(current: &Current) -> Current {
    Current {
        snapshot: current.snapshot.clone(),
        bodies: current.bodies.clone(),
        confirmed: current.confirmed,
        database_fault: current.database_fault.clone(),
        gate_decided_at: current.gate_decided_at,
        heartbeat: current.heartbeat,
    }
}

fn confirm(store: &Store) {
    let now = SystemTime::now();
    let confirmed = store
        .confirm::<ContentRows>(now)
        .and_then(|()| store.confirm::<HoldingRows>(now))
        .and_then(|()| store.confirm::<HostRows>(now));
    if let Err(error) = confirmed {
        tracing::warn!(%error, "the saved snapshot could not be confirmed");
    }
}

fn own_generations(snapshot: &Snapshot) -> Generations {
    Generations {
        content: snapshot.content.rows().generation,
        holdings: snapshot.holdings.rows().generation,
        hosts: snapshot.hosts.rows().generation,
    }
}

/// Loads every part whose generation is another than ours; all of them if `everything`. `loaded` is called
/// with the hosts as soon as they are there: an opt-out or a withdrawal must not wait for a large content.
fn load_changed(
    database: &Database,
    store: &Store,
    current: &mut Current,
    everything: bool,
    loaded: impl Fn(&Current),
) -> Result<(), RefreshError> {
    let generations = database.generations()?;
    if generations == Generations::default() && own_generations(&current.snapshot) != Generations::default() {
        return Err(RefreshError::Empty);
    }
    let snapshot = &current.snapshot;
    if everything || generations.hosts != snapshot.hosts.rows().generation {
        let rows = database.read(database::snapshot::load_hosts)?;
        store.save(&rows)?;
        current.snapshot.hosts = Arc::new(Hosts::new(rows));
        loaded(current);
    }
    if everything || generations.holdings != current.snapshot.holdings.rows().generation {
        let rows = database.read(database::snapshot::load_holdings)?;
        store.save(&rows)?;
        current.snapshot.holdings = Arc::new(Holdings::new(rows)?);
    }
    if everything || generations.content != current.snapshot.content.rows().generation {
        let rows = database.read(database::snapshot::load_content)?;
        // Bodies are here before the content names them, and stay a while after.
        current.bodies = Arc::new(load_bodies(database, store, &current.bodies)?);
        store.save(&rows)?;
        current.snapshot.content = Arc::new(Content::new(rows)?);
    }
    current.heartbeat = database.read(database::probe::find_heartbeat)?.at;
    current.confirmed = [SystemTime::now(); 3];
    Ok(())
}

/// Brings the bodies file up to what the database has; only what is missing is fetched.
fn load_bodies(database: &Database, store: &Store, bodies: &Bodies) -> Result<Bodies, RefreshError> {
    let wanted: HashSet<Hash> = database.read(database::snapshot::list_bodies)?.into_iter().collect();
    let missing: Vec<Hash> = wanted.iter().filter(|it| !bodies.contains(it)).copied().collect();
    let mut next = bodies.with(store, |it| wanted.contains(it), [])?;
    for some in missing.chunks(BODIES_AT_ONCE) {
        let added = database.read(|connection| database::snapshot::load_bodies(connection, some))?;
        next = next.with(store, |_| true, added)?;
    }
    Ok(next)
}
