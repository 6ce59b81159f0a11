use diesel::migration::Result;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::{Connection, connection::on_each};

const POSTGRES: EmbeddedMigrations = embed_migrations!("migrations/postgres");
const SQLITE: EmbeddedMigrations = embed_migrations!("migrations/sqlite");

impl Connection {
    fn migrations(&self) -> EmbeddedMigrations {
        match self {
            Self::Postgres(_) => POSTGRES,
            Self::Sqlite(_) => SQLITE,
        }
    }
}

/// Runs all migrations that have not run; their names.
pub(super) fn run(connection: &mut Connection) -> Result<Vec<String>> {
    let missing = list_missing(connection)?;
    let source = connection.migrations();
    on_each!(connection, |it| it.run_pending_migrations(source).map(drop))?;
    Ok(missing)
}

/// The names of the migrations that have not run.
pub(super) fn list_missing(connection: &mut Connection) -> Result<Vec<String>> {
    let source = connection.migrations();
    on_each!(connection, |it| {
        let pending = it.pending_migrations(source)?;
        Ok(pending.iter().map(|migration| migration.name().to_string()).collect())
    })
}
