use std::path::Path;

use diesel::{
    Connection as _, PgConnection, QueryResult, SqliteConnection,
    connection::{AnsiTransactionManager, SimpleConnection, TransactionManager},
    r2d2::{self, ManageConnection, R2D2Connection},
};

use super::{DatabaseUrl, PostgresUrl};

/// How long PostgreSQL may take to accept a connection, in seconds.
const CONNECT_SECONDS: u32 = 3;
/// How long one statement may take on PostgreSQL, in milliseconds.
const STATEMENT_MILLISECONDS: u32 = 60_000;
/// Held to the end of the transaction. The number is as good as any, but that of migrations.
const TURN: &str = "SELECT pg_advisory_xact_lock(7086477)";
/// How long SQLite waits for another process that writes, in milliseconds.
const BUSY_MILLISECONDS: u32 = 10_000;

/// A connection to either engine.
///
/// Never use the derived `establish`: it tries one engine after the other, so that a PostgreSQL that is
/// down would become an SQLite file. The pool's connector chooses by the URL.
#[derive(diesel::MultiConnection)]
pub enum AnyConnection {
    /// To a server.
    Postgres(PgConnection),
    /// To a file of ours.
    Sqlite(SqliteConnection),
}

/// Compiles one expression for each engine: for batches and `ON CONFLICT`, which Diesel cannot express
/// over both at once.
macro_rules! on_each {
    ($connection:expr, |$each:ident| $expression:expr) => {
        match $connection {
            $crate::database::Connection::Postgres($each) => $expression,
            $crate::database::Connection::Sqlite($each) => $expression,
        }
    };
}
pub(super) use on_each;

impl AnyConnection {
    /// Runs `work` in a transaction that only reads and sees one state of the database throughout.
    pub(super) fn read<T, E: From<diesel::result::Error>>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        self.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", "BEGIN", work)
    }

    /// Runs `work` in a transaction that may write. On SQLite it begins as a writer: a transaction that
    /// begins as a reader fails at once when another one has written in between.
    pub(super) fn write<T, E: From<diesel::result::Error>>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        self.run("BEGIN", "BEGIN IMMEDIATE", work)
    }

    /// Waits until no other transaction that calls this is open. On SQLite there is no other writer.
    pub(super) fn take_turn(&mut self) -> QueryResult<()> {
        match self {
            Self::Postgres(connection) => connection.batch_execute(TURN),
            Self::Sqlite(_) => Ok(()),
        }
    }

    fn run<T, E: From<diesel::result::Error>>(
        &mut self,
        postgres: &str,
        sqlite: &str,
        work: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        type Transactions = <AnyConnection as diesel::Connection>::TransactionManager;
        match self {
            Self::Postgres(connection) => {
                AnsiTransactionManager::begin_transaction_sql(connection, postgres)?
            }
            Self::Sqlite(connection) => AnsiTransactionManager::begin_transaction_sql(connection, sqlite)?,
        }
        match work(self) {
            Ok(value) => {
                Transactions::commit_transaction(self)?;
                Ok(value)
            }
            Err(error) => {
                // The first error is the one to tell; a connection that cannot roll back is not used again.
                let _ = Transactions::rollback_transaction(self);
                Err(error)
            }
        }
    }
}

/// Opens connections for the pool.
#[derive(Debug)]
pub(super) struct Connector(pub(super) DatabaseUrl);

impl ManageConnection for Connector {
    type Connection = AnyConnection;
    type Error = r2d2::Error;

    fn connect(&self) -> Result<AnyConnection, r2d2::Error> {
        match &self.0 {
            DatabaseUrl::Sqlite(path) => connect_sqlite(path).map(AnyConnection::Sqlite),
            DatabaseUrl::Postgres(url) => connect_postgres(url).map(AnyConnection::Postgres),
        }
    }

    fn is_valid(&self, connection: &mut AnyConnection) -> Result<(), r2d2::Error> {
        connection.ping().map_err(r2d2::Error::QueryError)
    }

    fn has_broken(&self, connection: &mut AnyConnection) -> bool {
        connection.is_broken()
    }
}

fn connect_sqlite(path: &Path) -> Result<SqliteConnection, r2d2::Error> {
    let path = path.to_str().ok_or_else(|| {
        let message = "the path of the database is not UTF-8".to_owned();
        r2d2::Error::ConnectionError(diesel::ConnectionError::BadConnection(message))
    })?;
    let mut connection = SqliteConnection::establish(path).map_err(r2d2::Error::ConnectionError)?;
    let pragmas = format!(
        "PRAGMA busy_timeout = {BUSY_MILLISECONDS}; PRAGMA journal_mode = WAL; \
         PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON;"
    );
    prepare(&mut connection, &pragmas)?;
    Ok(connection)
}

fn connect_postgres(url: &PostgresUrl) -> Result<PgConnection, r2d2::Error> {
    let mut text = url.as_str().to_owned();
    if !url.has_parameter("connect_timeout") {
        let separator = if text.contains('?') { '&' } else { '?' };
        text.push_str(&format!("{separator}connect_timeout={CONNECT_SECONDS}"));
    }
    let established = PgConnection::establish(&text);
    let mut connection =
        established.map_err(|error| r2d2::Error::ConnectionError(tell_of_missing_tls(error)))?;
    let settings = format!(
        "SET TIME ZONE 'UTC'; SET statement_timeout = {STATEMENT_MILLISECONDS}; SET client_min_messages = 'warning';"
    );
    prepare(&mut connection, &settings)?;
    Ok(connection)
}

/// Says what to do when one side wants TLS and this program cannot: what libpq says of it helps nobody.
fn tell_of_missing_tls(error: diesel::ConnectionError) -> diesel::ConnectionError {
    let text = error.to_string();
    let wants_tls = ["SSL support is not compiled in", "no encryption", "SSL connection is required"];
    if cfg!(feature = "pg-tls") || !wants_tls.iter().any(|it| text.contains(it)) {
        return error;
    }
    let text = format!(
        "{}; this portolan speaks no TLS to PostgreSQL: build it with `cargo build --features pg-tls`",
        text.trim_end()
    );
    diesel::ConnectionError::BadConnection(text)
}

fn prepare(connection: &mut impl SimpleConnection, statements: &str) -> Result<(), r2d2::Error> {
    let outcome: QueryResult<()> = connection.batch_execute(statements);
    outcome.map_err(r2d2::Error::QueryError)
}
