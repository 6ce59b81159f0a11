use diesel::{
    connection::SimpleConnection,
    migration::{MigrationSource, Result},
    pg::Pg,
    prelude::*,
    sql_types::BigInt,
    sqlite::Sqlite,
};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::Connection;

const POSTGRES: EmbeddedMigrations = embed_migrations!("migrations/postgres");
const SQLITE: EmbeddedMigrations = embed_migrations!("migrations/sqlite");

/// Taken by whoever migrates a PostgreSQL, so that a second one waits; any number would do.
const LOCK: &str = "SELECT pg_advisory_xact_lock(7086476)";

diesel::table! {
    /// Diesel's own: the migrations that have run.
    __diesel_schema_migrations (version) {
        version -> Text,
    }
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// Runs all migrations that have not run, or none; their names.
pub(super) fn run(connection: &mut Connection) -> Result<Vec<String>> {
    connection.write(|connection| {
        if let Connection::Postgres(it) = connection {
            it.batch_execute(LOCK)?;
        }
        let missing = list_missing(connection)?;
        match connection {
            Connection::Postgres(it) => it.run_pending_migrations(POSTGRES).map(drop)?,
            Connection::Sqlite(it) => it.run_pending_migrations(SQLITE).map(drop)?,
        }
        Ok(missing)
    })
}

/// The names of the migrations that have not run. Only reads: the role of `serve` may make no tables.
pub(super) fn list_missing(connection: &mut Connection) -> Result<Vec<String>> {
    let all: Vec<(String, String)> = match connection {
        Connection::Postgres(_) => {
            let all = MigrationSource::<Pg>::migrations(&POSTGRES)?;
            all.iter().map(|it| (it.name().to_string(), it.name().version().to_string())).collect()
        }
        Connection::Sqlite(_) => {
            let all = MigrationSource::<Sqlite>::migrations(&SQLITE)?;
            all.iter().map(|it| (it.name().to_string(), it.name().version().to_string())).collect()
        }
    };
    let done = list_versions(connection)?;
    Ok(all.into_iter().filter(|(_, version)| !done.contains(version)).map(|it| it.0).collect())
}

fn list_versions(connection: &mut Connection) -> QueryResult<Vec<String>> {
    let tables = match connection {
        Connection::Postgres(_) => {
            "SELECT count(*) AS count FROM pg_tables \
             WHERE schemaname = current_schema() AND tablename = '__diesel_schema_migrations'"
        }
        Connection::Sqlite(_) => {
            "SELECT count(*) AS count FROM sqlite_master WHERE name = '__diesel_schema_migrations'"
        }
    };
    if diesel::sql_query(tables).get_result::<Count>(connection)?.count == 0 {
        return Ok(Vec::new());
    }
    __diesel_schema_migrations::table.select(__diesel_schema_migrations::version).load(connection)
}
