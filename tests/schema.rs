//! The migrations of both engines have equal names and add up to `schema/*.sql`.
#![allow(clippy::unwrap_used)]

use std::{fs, path::Path, process::Command};

use portolan::database::{Config, Database};

#[path = "support/postgres.rs"]
mod postgres;

fn names(engine: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(engine);
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn schema(engine: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema").join(format!("{engine}.sql"));
    fs::read_to_string(path).unwrap()
}

fn migrate(url: &str) {
    Database::open(&Config { url: url.parse().unwrap(), connections: 1 }).migrate().unwrap();
}

#[test]
fn both_engines_have_the_same_migrations() {
    assert!(!names("sqlite").is_empty());
    assert_eq!(names("sqlite"), names("postgres"));
}

/// Everything that decides what a PostgreSQL database takes: columns, constraints, indexes.
const POSTGRES_CATALOGUE: &str = "
SELECT 'column', table_name, ordinal_position::text, column_name, data_type, is_nullable,
       coalesce(column_default, ''), is_identity
  FROM information_schema.columns WHERE table_schema = 'public'
UNION ALL
SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid), '', '', '', ''
  FROM pg_constraint WHERE connamespace = 'public'::regnamespace
UNION ALL
SELECT 'index', tablename, indexname, indexdef, '', '', '', '' FROM pg_indexes WHERE schemaname = 'public'
ORDER BY 1, 2, 3, 4";

fn psql(url: &str, statements: &str) -> String {
    let mut command = Command::new("psql");
    command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", statements]);
    let output = command.output().expect("psql; run tests/setup.sh");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter(|it| !it.contains("__diesel_schema_migrations")).map(|it| format!("{it}\n")).collect()
}

#[test]
fn the_postgres_schema_is_what_the_migrations_add_up_to() {
    let (migrated, written) = (postgres::new_database(), postgres::new_database());
    migrate(&migrated);
    psql(&written, &schema("postgres"));
    let found = psql(&migrated, POSTGRES_CATALOGUE);
    assert!(found.contains("host_category_url"), "{found}");
    assert_eq!(found, psql(&written, POSTGRES_CATALOGUE));
}

#[test]
fn the_migrations_of_postgres_can_be_undone() {
    let url = postgres::new_database();
    migrate(&url);
    for name in names("postgres").iter().rev() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/postgres").join(name);
        psql(&url, &fs::read_to_string(folder.join("down.sql")).unwrap());
    }
    assert_eq!(psql(&url, POSTGRES_CATALOGUE), "");
}

mod sqlite {
    use diesel::{Connection as _, RunQueryDsl as _, SqliteConnection, connection::SimpleConnection as _};

    use super::*;

    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = diesel::sql_types::Text)]
        sql: String,
    }

    /// SQLite keeps the statements that made its tables; comments and spaces do not count.
    fn catalogue(connection: &mut SqliteConnection) -> Vec<String> {
        let query = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND tbl_name NOT LIKE '\\_\\_diesel%' ESCAPE '\\' \
                     AND tbl_name NOT LIKE 'sqlite%' ORDER BY type, name";
        let rows: Vec<Row> = diesel::sql_query(query).load(connection).unwrap();
        rows.iter().map(|it| it.sql.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    }

    #[test]
    fn the_schema_is_what_the_migrations_add_up_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("migrated.db");
        migrate(&format!("sqlite:{}", path.display()));
        let mut migrated = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
        let mut written = SqliteConnection::establish(":memory:").unwrap();
        written.batch_execute(&schema("sqlite")).unwrap();
        let found = catalogue(&mut migrated);
        assert_eq!(found, catalogue(&mut written));
        let tables: Vec<_> = found.iter().filter(|it| it.starts_with("CREATE TABLE")).collect();
        assert!(tables.len() >= 24 && tables.iter().all(|it| it.ends_with("STRICT")), "{tables:#?}");
    }

    #[test]
    fn the_migrations_can_be_undone() {
        let mut connection = SqliteConnection::establish(":memory:").unwrap();
        connection.batch_execute("PRAGMA foreign_keys = ON").unwrap();
        for (name, file) in names("sqlite")
            .iter()
            .map(|it| (it, "up.sql"))
            .chain(names("sqlite").iter().rev().map(|it| (it, "down.sql")))
        {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/sqlite").join(name);
            connection.batch_execute(&fs::read_to_string(folder.join(file)).unwrap()).unwrap();
        }
        assert_eq!(catalogue(&mut connection), [""; 0]);
    }
}
