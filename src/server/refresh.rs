//! Keeps what answers are made from equal to the database, off the request threads. Each part is followed by a
//! thread of its own: an opt-out or a withdrawal, which come with the hosts, never wait for a large content.

use std::{
    panic::resume_unwind,
    sync::{
        Arc, PoisonError,
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use super::{
    ServeError,
    state::{Current, State, now},
};
use crate::{
    database::{self, Database, Generations, Part, Time},
    mirrorlist::{
        Content, Gate, Holdings, Hosts, PublishRules, RowsError, Snapshot,
        rows::{ContentRows, Hash, HoldingRows, HostRows},
    },
    store::{self, Bodies, Record, Store},
};

/// How often the database is asked whether anything has changed.
const POLL: Duration = Duration::from_millis(500);

/// How long the next question waits while the database does not answer.
const RETRY: Duration = Duration::from_secs(3);

/// How often certificates and GeoIP databases are looked at, and saved parts confirmed.
const HOUSEKEEPING: Duration = Duration::from_secs(10);

/// How often tags that moved are looked at when nothing else changes, in seconds.
const GATE_INTERVAL: i64 = 10;

/// So many bodies, or lists of pieces, are held in memory while they are fetched.
const BODIES_AT_ONCE: usize = 10_000;

/// Why the newest state could not be taken over.
#[derive(Debug, thiserror::Error)]
enum RefreshError {
    #[error(transparent)]
    Database(#[from] database::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Rows(#[from] RowsError),
    /// A database file that was lost comes back empty; that is no reason to forget all mirrors.
    #[error(
        "the database is empty, and the snapshot is not: is it the right one? After `portolan restore` it is until `scan`; to begin \
         anew, stop, empty the folder `serve.state` and start again"
    )]
    Empty,
}

/// What was loaded of one part.
enum Loaded {
    /// With the bodies that it names, which are on disk.
    Content(Arc<Content>, Arc<Bodies>),
    Holdings(Arc<Holdings>),
    Hosts(Arc<Hosts>),
}

/// What the database was found to have of one part.
struct News {
    /// `None` when nothing changed.
    loaded: Option<Loaded>,
    heartbeat: Option<Time>,
}

/// Reads what was saved. `None` when nothing usable was.
pub(super) fn load_saved(store: &Store) -> Result<Option<Current>, ServeError> {
    // To read, check and index each of the two large parts keeps a processor busy.
    let (content, holdings, hosts, bodies) = thread::scope(|scope| {
        let content = scope.spawn(|| saved(store, Content::new));
        let holdings = saved(store, Holdings::new);
        let hosts = saved(store, |rows| Ok(Hosts::new(rows)));
        let bodies = open_bodies(store);
        (content.join().unwrap_or_else(|panic| resume_unwind(panic)), holdings, hosts, bodies)
    });
    let (Some(content), Some(holdings), Some(hosts)) = (content, holdings, hosts) else { return Ok(None) };
    let confirmed = [content.1, holdings.1, hosts.1];
    let (content, holdings, hosts) = (content.0, holdings.0, hosts.0);
    let snapshot = Snapshot { content, holdings, hosts, ..Snapshot::default() };
    Ok(Some(Current::new(snapshot, bodies?, confirmed)))
}

/// Loads everything from the database and saves it.
pub(super) fn load_all(database: &Database, store: &Store) -> Result<Current, ServeError> {
    let mut current = Current::new(Snapshot::default(), open_bodies(store)?, [SystemTime::now(); 3]);
    for part in [Part::Hosts, Part::Holdings, Part::Content] {
        let loaded = load(part, database, store, &current.bodies);
        let saved = loaded.and_then(|it| {
            current.take(it);
            Ok(save(part, store, &current.snapshot)?)
        });
        saved.map_err(|error| ServeError::Snapshot(error.to_string()))?;
    }
    Ok(current)
}

fn open_bodies(store: &Store) -> Result<Bodies, ServeError> {
    let (bodies, refused) = Bodies::open(store)?;
    if let Some(error) = refused {
        tracing::warn!(%error, "bodies are read from the database again");
    }
    Ok(bodies)
}

/// A part that was saved, made ready, and when it was last confirmed.
fn saved<P: store::Part, R>(
    store: &Store,
    prepare: impl Fn(P) -> Result<R, RowsError>,
) -> Option<(Arc<R>, SystemTime)> {
    let saved = store.load::<P>().unwrap_or_else(|error| {
        tracing::warn!(%error, "a saved part of the snapshot is refused");
        None
    })?;
    if let Some(error) = &saved.refused {
        tracing::warn!(%error, "the newest saved part is refused, the one before it is used");
    }
    Some((Arc::new(prepare(saved.part).ok()?), saved.confirmed))
}

/// Follows all parts until told to stop, the hosts on this thread.
pub(super) fn run(
    database: &Database,
    store: &Store,
    state: &State,
    stop: &Receiver<()>,
    housekeep: impl Fn(),
) {
    thread::scope(|scope| {
        let follow_beside = |part| {
            let (stop, stopped) = mpsc::channel();
            scope.spawn(move || follow(part, database, store, state, &stopped, || ()));
            stop
        };
        let others = [Part::Holdings, Part::Content].map(follow_beside);
        follow(Part::Hosts, database, store, state, stop, housekeep);
        drop(others);
    });
}

/// Polls until told to stop. What is new is in answers before it is saved: the disk may be busy.
fn follow(
    part: Part,
    database: &Database,
    store: &Store,
    state: &State,
    stop: &Receiver<()>,
    housekeep: impl Fn(),
) {
    let (mut housekept, mut wait, mut is_saved) = (Instant::now(), POLL, true);
    while stop.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
        let news = ask(part, database, store, &state.current()).and_then(|news| {
            if !is_saved && news.loaded.is_none() {
                save(part, store, &state.current().snapshot)?;
                is_saved = true;
            }
            Ok(news)
        });
        let is_new = news.as_ref().is_ok_and(|it| it.loaded.is_some());
        take_over(state, part, news);
        if is_new {
            let saved = save(part, store, &state.current().snapshot);
            is_saved = saved.is_ok();
            if let Err(error) = saved {
                take_over(state, part, Err(error.into()));
            }
        }
        let is_sound = state.current().faults[place(part)].is_none();
        wait = if is_sound { POLL } else { RETRY };
        if housekept.elapsed() >= HOUSEKEEPING {
            housekept = Instant::now();
            if is_sound && let Err(error) = confirm(part, store) {
                tracing::warn!(%error, "the saved snapshot could not be confirmed");
            }
            housekeep();
        }
    }
}

/// Answers from what is new from now on, after deciding what depends on it, on time, and on what was sent.
/// A fault is logged when it comes and when it goes, not every time.
fn take_over(state: &State, part: Part, news: Result<News, RefreshError>) {
    let _turn = state.taking_over.lock().unwrap_or_else(PoisonError::into_inner);
    let (before, at) = (state.current(), now());
    let mut next = copy(&before);
    match news {
        Ok(news) => {
            if let Some(loaded) = news.loaded {
                next.take(loaded);
            }
            next.heartbeat = news.heartbeat;
            next.confirmed[place(part)] = SystemTime::now();
            next.faults[place(part)] = None;
            if before.database_fault().is_some() && next.database_fault().is_none() {
                tracing::info!("the database answers again");
            }
        }
        Err(error) => {
            if before.database_fault().is_none() {
                tracing::warn!(%error, "the snapshot cannot be brought up to date; the last one stays in use");
            }
            next.faults[place(part)] = Some(error.to_string());
        }
    }
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
        faults: current.faults.clone(),
        gate_decided_at: current.gate_decided_at,
        heartbeat: current.heartbeat,
    }
}

impl Current {
    fn new(snapshot: Snapshot, bodies: Bodies, confirmed: [SystemTime; 3]) -> Self {
        Self {
            snapshot,
            bodies: Arc::new(bodies),
            confirmed,
            faults: Default::default(),
            gate_decided_at: 0,
            heartbeat: None,
        }
    }

    fn take(&mut self, loaded: Loaded) {
        match loaded {
            Loaded::Content(content, bodies) => (self.snapshot.content, self.bodies) = (content, bodies),
            Loaded::Holdings(holdings) => self.snapshot.holdings = holdings,
            Loaded::Hosts(hosts) => self.snapshot.hosts = hosts,
        }
    }
}

/// The place of a part in what is told of all three.
fn place(part: Part) -> usize {
    match part {
        Part::Content => 0,
        Part::Holdings => 1,
        Part::Hosts => 2,
    }
}

fn generation_of(part: Part, of: Generations) -> i64 {
    match part {
        Part::Content => of.content,
        Part::Holdings => of.holdings,
        Part::Hosts => of.hosts,
    }
}

fn save(part: Part, store: &Store, snapshot: &Snapshot) -> Result<(), store::Error> {
    match part {
        Part::Content => store.save(snapshot.content.rows()),
        Part::Holdings => store.save(snapshot.holdings.rows()),
        Part::Hosts => store.save(snapshot.hosts.rows()),
    }
}

fn confirm(part: Part, store: &Store) -> Result<(), store::Error> {
    let now = SystemTime::now();
    match part {
        Part::Content => store.confirm::<ContentRows>(now),
        Part::Holdings => store.confirm::<HoldingRows>(now),
        Part::Hosts => store.confirm::<HostRows>(now),
    }
}

fn own_generations(snapshot: &Snapshot) -> Generations {
    Generations {
        content: snapshot.content.rows().generation,
        holdings: snapshot.holdings.rows().generation,
        hosts: snapshot.hosts.rows().generation,
    }
}

/// Loads the part if its generation is another than ours.
fn ask(part: Part, database: &Database, store: &Store, current: &Current) -> Result<News, RefreshError> {
    let (generations, ours) = (database.generations()?, own_generations(&current.snapshot));
    if generations == Generations::default() && ours != Generations::default() {
        return Err(RefreshError::Empty);
    }
    let is_same = generation_of(part, generations) == generation_of(part, ours);
    if !is_same {
        check_filled(database, current)?;
    }
    let loaded = if is_same { None } else { Some(load(part, database, store, &current.bodies)?) };
    Ok(News { loaded, heartbeat: database.read(database::probe::find_heartbeat)?.at })
}

/// A database that was just restored has no content before the scan: all that is known stays until then.
fn check_filled(database: &Database, current: &Current) -> Result<(), RefreshError> {
    let was_filled = !current.snapshot.content.rows().blobs.is_empty();
    if was_filled && database.read(database::content::is_empty)? { Err(RefreshError::Empty) } else { Ok(()) }
}

fn load(part: Part, database: &Database, store: &Store, bodies: &Bodies) -> Result<Loaded, RefreshError> {
    Ok(match part {
        Part::Hosts => {
            let rows = database.read(database::snapshot::load_hosts)?;
            Loaded::Hosts(Arc::new(Hosts::new(rows)))
        }
        Part::Holdings => {
            let rows = database.read(database::snapshot::load_holdings)?;
            Loaded::Holdings(Arc::new(Holdings::new(rows)?))
        }
        Part::Content => {
            let rows = database.read(database::snapshot::load_content)?;
            // Bodies are here before the content names them, and stay a while after.
            let bodies = load_bodies(database, store, bodies)?;
            Loaded::Content(Arc::new(Content::new(rows)?), Arc::new(bodies))
        }
    })
}

/// Brings the bodies file up to what the database has; only what is missing is fetched.
fn load_bodies(database: &Database, store: &Store, bodies: &Bodies) -> Result<Bodies, RefreshError> {
    let [small, large] = [database::snapshot::list_bodies, database::snapshot::list_pieces]
        .map(|list| database.read(list).map(sorted));
    let (small, large) = (small?, large?);
    let is_wanted = |record: Record, digest: &Hash| match record {
        Record::Body => small.binary_search(digest).is_ok(),
        Record::Pieces => large.binary_search(digest).is_ok(),
    };
    let missing = |record: Record, all: &[Hash]| -> Vec<Hash> {
        all.iter().filter(|it| !bodies.contains(record, it)).copied().collect()
    };
    let mut next = bodies.with(store, is_wanted, [])?;
    for some in missing(Record::Body, &small).chunks(BODIES_AT_ONCE) {
        let added = database.read(|connection| database::snapshot::load_bodies(connection, some))?;
        next = next.with(store, |_, _| true, records(Record::Body, added))?;
    }
    for some in missing(Record::Pieces, &large).chunks(BODIES_AT_ONCE) {
        let added = database.read(|connection| database::snapshot::load_pieces(connection, some))?;
        next = next.with(store, |_, _| true, records(Record::Pieces, added))?;
    }
    Ok(next)
}

fn sorted(mut digests: Vec<Hash>) -> Vec<Hash> {
    digests.sort_unstable();
    digests
}

fn records(record: Record, rows: Vec<(Hash, Vec<u8>)>) -> impl Iterator<Item = (Record, Hash, Vec<u8>)> {
    rows.into_iter().map(move |(digest, bytes)| (record, digest, bytes))
}
