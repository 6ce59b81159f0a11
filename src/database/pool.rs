use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use diesel::{
    QueryResult,
    r2d2::{ManageConnection as _, NopErrorHandler, Pool, PooledConnection},
};
use serde::{Deserialize, Serialize};

use super::{
    Connection, DatabaseUrl, Error, Generations, Part, QueryError, Time,
    connection::Connector,
    crawl::{self, CrawlEnd, CrawlResult, UrlReach},
    generation,
    imported::{self, Change, Local, Network},
    lease, migration, probe, propagation,
    suspicion::{self, Settled},
};
use crate::mirror::HostId;

/// How long a caller waits for a connection, also when the server is down.
const CONNECTION_WAIT: Duration = Duration::from_secs(5);

/// `[database]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where the database is: `sqlite:PATH` (embedded, made when missing) or
    /// `postgres://USER:PASSWORD@HOST/NAME` (`postgres:///NAME?host=/run/postgresql` for a socket).
    /// The environment variable PORTOLAN_DATABASE_URL wins over it.
    pub url: DatabaseUrl,
    /// How many connections one process opens at most, 1 to 100.
    #[schemars(range(min = 1, max = 100))]
    pub connections: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self { url: DatabaseUrl::Sqlite("portolan.db".into()), connections: 4 }
    }
}

/// The database. Shared by all threads; every call blocks, so asynchronous code calls it on a blocking
/// thread.
pub struct Database {
    url: DatabaseUrl,
    pool: Pool<Connector>,
    /// SQLite has one writer at a time; waiting here is fair and has no time limit, its own lock neither.
    writer: Mutex<()>,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Database").field(&self.url).finish()
    }
}

impl Database {
    /// Takes the settings. Connects on first use, so that `serve` starts while the database is down.
    pub fn open(config: &Config) -> Self {
        let pool = Pool::builder()
            .max_size(config.connections.clamp(1, 100))
            .min_idle(Some(0))
            .connection_timeout(CONNECTION_WAIT)
            .error_handler(Box::new(NopErrorHandler))
            .build_unchecked(Connector(config.url.clone()));
        Self { url: config.url.clone(), pool, writer: Mutex::new(()) }
    }

    /// Its URL; `Debug` of it hides the password.
    pub fn url(&self) -> &DatabaseUrl {
        &self.url
    }

    /// Reads one state of the database, however many queries `work` makes.
    pub fn read<T>(&self, work: impl FnOnce(&mut Connection) -> QueryResult<T>) -> Result<T, Error> {
        Ok(self.connect()?.read(work)?)
    }

    /// Changes something that answers depend on: the generation of `part` grows with it.
    pub fn write<T>(
        &self,
        part: Part,
        work: impl FnOnce(&mut Connection) -> QueryResult<T>,
    ) -> Result<T, Error> {
        self.write_parts(|connection| Ok((work(connection)?, vec![part])))
    }

    /// Writes what no answer depends on: logs, descriptions, comments.
    pub fn write_log<T>(&self, work: impl FnOnce(&mut Connection) -> QueryResult<T>) -> Result<T, Error> {
        self.write_parts(|connection| Ok((work(connection)?, Vec::new())))
    }

    /// Changes something for work that may refuse: then nothing is changed. The generations of `parts` grow with it.
    /// One such work at a time, whatever servers there are: what it looks at before it decides stays so.
    pub fn attempt<T, E: From<QueryError> + From<Error>>(
        &self,
        parts: &[Part],
        work: impl FnOnce(&mut Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        let _writer = self.take_turn();
        self.connect()?.write(|connection| {
            connection.take_turn()?;
            let value = work(connection)?;
            generation::bump(connection, parts.to_vec())?;
            Ok(value)
        })
    }

    /// Reads one state of the database for work that may refuse.
    pub fn attempt_read<T, E: From<QueryError> + From<Error>>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        self.connect()?.read(work)
    }

    /// Before a connection is taken: writers that wait leave the connections to readers.
    fn take_turn(&self) -> Option<MutexGuard<'_, ()>> {
        match self.url {
            DatabaseUrl::Sqlite(_) => Some(self.writer.lock().unwrap_or_else(PoisonError::into_inner)),
            DatabaseUrl::Postgres(_) => None,
        }
    }

    /// Writes, and tells which parts of the snapshot have changed by it.
    pub(super) fn write_parts<T>(
        &self,
        work: impl FnOnce(&mut Connection) -> QueryResult<(T, Vec<Part>)>,
    ) -> Result<T, Error> {
        let _writer = self.take_turn();
        let mut connection = self.connect()?;
        let value = connection.write(|connection| {
            let (value, parts) = work(connection)?;
            generation::bump(connection, parts)?;
            Ok::<_, diesel::result::Error>(value)
        })?;
        Ok(value)
    }

    /// How often each part of the snapshot has changed. Cheap: polled twice a second.
    pub fn generations(&self) -> Result<Generations, Error> {
        Ok(generation::load(&mut *self.connect()?)?)
    }

    /// Stores a crawl that was made under a lease, and ends the lease. False, and nothing is stored, when the
    /// crawler does not have the lease any more.
    pub fn finish_crawl(&self, result: &CrawlResult, end: &CrawlEnd<'_>) -> Result<bool, Error> {
        self.write_parts(|connection| {
            let CrawlResult { host, started_at, .. } = *result;
            if !lease::finish(connection, host, end.holder, started_at, end.at, end.next)? {
                return Ok((false, Vec::new()));
            }
            let parts = crawl::store(connection, result)?;
            crawl::forget(connection, host, end.history_since)?;
            propagation::forget(connection, host, end.history_since)?;
            Ok((true, parts))
        })
    }

    /// Leaves a host alone until then, for it tells by itself; also if a crawler has it now, whose result will
    /// not count. Its URLs are as it says, whatever others found.
    pub fn leave_alone(&self, host: HostId, until: Time, urls: &[UrlReach], now: Time) -> Result<(), Error> {
        self.write_parts(|connection| {
            lease::postpone(connection, host, until)?;
            let changed = crawl::store_reaches(connection, urls, now)?;
            Ok(((), if changed { vec![Part::Hosts] } else { Vec::new() }))
        })
    }

    /// Brings what was imported from MirrorManager to what `wanted` makes of what is here, in one transaction; what
    /// has changed by it. A rehearsal takes everything back. Answers change only if something in it does.
    pub fn import(
        &self,
        wanted: impl FnOnce(&Local) -> Network,
        now: Time,
        rehearse: bool,
    ) -> Result<Vec<Change>, Error> {
        let mut changes = Vec::new();
        let outcome = self.write_parts(|connection| {
            changes = imported::import(connection, wanted, now)?;
            if rehearse {
                return Err(diesel::result::Error::RollbackTransaction);
            }
            Ok(((), if changes.is_empty() { Vec::new() } else { vec![Part::Hosts] }))
        });
        match outcome {
            Ok(()) | Err(Error::Query(diesel::result::Error::RollbackTransaction)) => Ok(changes),
            Err(error) => Err(error),
        }
    }

    /// Stores what was found out of a host; answers change only if something in it does.
    pub fn store_crawl(&self, result: &CrawlResult) -> Result<(), Error> {
        self.write_parts(|connection| Ok(((), crawl::store(connection, result)?)))
    }

    /// The prober's heartbeat, with what it found out since the last; false when another process probes now,
    /// and then nothing is stored. Answers change only if something in it does.
    pub fn beat(&self, holder: &str, found: &[UrlReach], now: Time) -> Result<bool, Error> {
        self.write_parts(|connection| {
            let parts = probe::beat(connection, holder, found, now)?;
            Ok((parts.is_some(), parts.unwrap_or_default()))
        })
    }

    /// Takes suspicions away, and with them from the holdings what was found to be missing.
    pub fn settle(&self, settled: &[Settled], now: Time) -> Result<(), Error> {
        self.write_parts(|connection| Ok(((), suspicion::settle(connection, settled, now)?)))
    }

    /// Brings the tables up to this program; the names of the migrations that ran.
    pub fn migrate(&self) -> Result<Vec<String>, Error> {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        migration::run(&mut *self.connect()?).map_err(|reason| self.migrate_error(&*reason))
    }

    /// Fails, naming `portolan migrate`, unless all migrations have run.
    pub fn check_migrated(&self) -> Result<(), Error> {
        let missing =
            migration::list_missing(&mut *self.connect()?).map_err(|reason| self.migrate_error(&*reason))?;
        if missing.is_empty() {
            return Ok(());
        }
        Err(Error::NotMigrated { database: format!("{:?}", self.url), missing: missing.join(", ") })
    }

    /// Makes and migrates the embedded database; only checks a PostgreSQL, which is migrated by
    /// `portolan migrate` alone.
    ///
    /// Fails at once, not after the pool's wait, when the database cannot be opened.
    pub fn prepare(&self) -> Result<(), Error> {
        let opened = Connector(self.url.clone()).connect();
        drop(opened.map_err(|error| self.connect_error(&error))?);
        match self.url {
            DatabaseUrl::Sqlite(_) => self.migrate().map(drop),
            DatabaseUrl::Postgres(_) => self.check_migrated(),
        }
    }

    fn migrate_error(&self, reason: &dyn std::error::Error) -> Error {
        Error::Migrate { database: format!("{:?}", self.url), reason: reason.to_string() }
    }

    fn connect(&self) -> Result<PooledConnection<Connector>, Error> {
        self.pool.get().map_err(|error| self.connect_error(&error))
    }

    fn connect_error(&self, reason: &dyn std::error::Error) -> Error {
        Error::Connect { database: format!("{:?}", self.url), reason: reason.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use diesel::RunQueryDsl as _;

    use super::*;
    use crate::database::{site, testing::*};

    #[test]
    fn only_writes_that_matter_bump() {
        on_both(|database| {
            let before = database.generations().unwrap();
            let id = database.write(Part::Hosts, |it| site::insert(it, &new_site("a"))).unwrap().id;
            database.write_log(|it| site::delete(it, id)).unwrap();
            let after = database.generations().unwrap();
            assert_eq!(after, Generations { hosts: before.hosts + 1, ..before });
        });
    }

    #[test]
    fn a_file_that_is_no_database_is_told_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("no.db");
        std::fs::write(&path, "this is no database\n".repeat(500)).unwrap();
        let database = Database::open(&Config { url: DatabaseUrl::Sqlite(path), connections: 1 });
        let start = Instant::now();
        let error = database.prepare().unwrap_err().to_string();
        assert!(error.contains("no.db") && error.ends_with("file is not a database"), "{error}");
        assert!(start.elapsed() < CONNECTION_WAIT);
    }

    #[test]
    fn a_failed_write_changes_nothing() {
        on_both(|database| {
            let before = database.generations().unwrap();
            let outcome: Result<(), Error> = database.write(Part::Hosts, |it| {
                site::insert(it, &new_site("a"))?;
                Err(diesel::result::Error::NotFound)
            });
            assert!(matches!(outcome, Err(Error::Query(_))));
            assert_eq!(database.generations().unwrap(), before);
            assert!(database.read(site::list).unwrap().is_empty());
        });
    }

    #[test]
    fn a_read_sees_one_state() {
        on_both(|database| {
            let (before, after) = database
                .read(|connection| {
                    let before = site::list(connection)?.len();
                    database.write(Part::Hosts, |it| site::insert(it, &new_site("a"))).unwrap();
                    Ok((before, site::list(connection)?.len()))
                })
                .unwrap();
            assert_eq!((before, after), (0, 0));
        });
    }

    #[test]
    fn many_writers_wait_for_each_other() {
        on_both(|database| {
            std::thread::scope(|scope| {
                for thread in 0..4 {
                    scope.spawn(move || {
                        // Two share a pool, the others stand for other processes.
                        let config = Config { url: database.url().clone(), connections: 1 };
                        let own = Database::open(&config);
                        let database = if thread < 2 { database } else { &own };
                        for number in 0..25 {
                            let new = new_site(&format!("{thread}-{number}"));
                            let work =
                                |it: &mut Connection| site::list(it).and_then(|_| site::insert(it, &new));
                            database.write(Part::Hosts, work).unwrap();
                        }
                    });
                }
            });
            assert_eq!(database.read(site::list).unwrap().len(), 100);
            assert_eq!(database.generations().unwrap().hosts, 100);
        });
    }

    #[test]
    fn who_looks_before_deciding_is_alone() {
        on_both(|database| {
            let config = Config { url: database.url().clone(), connections: 4 };
            let other = Database::open(&config);
            for round in 0..20 {
                let name = format!("round {round}");
                // Two threads on each of two servers want to be the first.
                let try_it = |server: &Database| {
                    server.attempt(&[Part::Hosts], |it| {
                        let sites = site::list(it).map_err(Error::from)?;
                        let is_first = sites.iter().all(|it| !it.name.as_str().starts_with(&name));
                        let new = new_site(&format!("{name} by {:?}", std::thread::current().id()));
                        if is_first { site::insert(it, &new).map(drop).map_err(Error::from) } else { Ok(()) }
                    })
                };
                std::thread::scope(|scope| {
                    for server in [database, database, &other, &other] {
                        scope.spawn(move || try_it(server).unwrap() as ());
                    }
                });
                assert_eq!(database.read(site::list).unwrap().len(), round + 1);
            }
        });
    }

    #[test]
    fn an_unmigrated_database_names_the_command() {
        on_both_empty(|database| {
            let error = database.check_migrated().unwrap_err();
            assert!(error.to_string().contains("`portolan migrate`"), "{error}");
            assert!(!database.migrate().unwrap().is_empty());
            assert_eq!(database.migrate().unwrap(), [""; 0]);
            database.check_migrated().unwrap();
        });
    }

    #[test]
    fn many_migrate_at_once() {
        on_both_empty(|database| {
            let config = Config { url: database.url().clone(), connections: 1 };
            let migrate = || Database::open(&config).migrate().unwrap().len();
            let ran: Vec<_> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..4).map(|_| scope.spawn(migrate)).collect();
                threads.into_iter().map(|it| it.join().unwrap()).collect()
            });
            assert_eq!(ran.iter().filter(|it| **it > 0).count(), 1, "{ran:?}");
        });
    }

    #[test]
    fn a_role_that_may_only_read_can_check_and_load() {
        on_both(|database| {
            let DatabaseUrl::Postgres(_) = database.url() else { return };
            let grant = ["CREATE ROLE reader LOGIN", "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader"];
            let run = |it: &mut Connection| {
                grant.iter().try_for_each(|sql| diesel::sql_query(*sql).execute(it).map(drop))
            };
            database.write_log(run).unwrap();
            let url = database.url().to_string().replace("//portolan@", "//reader@").parse().unwrap();
            let reader = Database::open(&Config { url, connections: 1 });
            reader.check_migrated().unwrap();
            reader.read(crate::database::snapshot::load_content).unwrap();
            assert!(reader.write(Part::Hosts, |it| site::insert(it, &new_site("a"))).is_err());
        });
    }

    #[test]
    fn only_the_embedded_database_is_made_by_itself() {
        on_both_empty(|database| {
            let embedded = matches!(database.url(), DatabaseUrl::Sqlite(_));
            assert_eq!(database.prepare().is_ok(), embedded);
            assert_eq!(database.check_migrated().is_ok(), embedded);
        });
    }

    #[test]
    fn a_dead_server_fails_within_seconds_and_makes_no_file() {
        let url = "postgres://nobody:secret@127.0.0.1:1/none".parse().unwrap();
        let database = Database::open(&Config { url, connections: 1 });
        let start = Instant::now();
        let error = database.generations().unwrap_err();
        assert!(start.elapsed() < CONNECTION_WAIT * 2);
        assert!(matches!(error, Error::Connect { .. }), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
        assert!(error.to_string().contains("Connection refused"), "{error}");
    }
}
