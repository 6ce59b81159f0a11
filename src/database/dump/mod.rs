//! What nobody can find out again, as lines of JSON: what people typed, and what was counted. All else comes back from the tree
//! by a scan, and from the mirrors by a crawl.
//!
//! The first line is the header, then one line a row, `{"table":"site","row":{…}}`, and the last one says how many rows there
//! are, so that a file that was cut is seen. Ids are kept, and no id or blob's number is ever given again.

mod rows;

use std::{
    borrow::Cow,
    collections::BTreeMap,
    io::{self, BufRead, Write},
};

use diesel::{
    prelude::*,
    sql_types::{BigInt, Text},
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    BATCH_ROWS, Connection, Error, QueryError, Time, content, generation, lease,
    schema::{blob_number, generation as generations, host},
};
use crate::mirror::HostId;
use rows::{InsertError, TABLES, Table};

/// The version of the format that is written. Those before it can be read: a column that is added has `#[serde(default)]` in its row.
const VERSION: u32 = 1;

/// What the first line says that this is.
const FORMAT: &str = "portolan-dump";

/// The longest line that is read, in bytes.
const LONGEST_LINE: u64 = 16 << 20;

/// Why nothing was dumped or restored.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// The database does not do it.
    #[error(transparent)]
    Database(#[from] Error),
    /// The file cannot be written or read.
    #[error(transparent)]
    File(#[from] io::Error),
    /// The file is something else.
    #[error("this is no dump of portolan")]
    NoDump,
    /// A later program has written it.
    #[error(
        "the dump has format {found}, and this portolan reads up to {VERSION}: restore it by one that is as new as the one that made it"
    )]
    Newer {
        /// Its version.
        found: u32,
    },
    /// The file ends too early.
    #[error("the dump is not whole: it ends after line {0}")]
    Cut(u64),
    /// A line is not what it should be.
    #[error("line {line} of the dump: {reason}")]
    Line {
        /// Counted from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// There is something in the database that would be mixed with what comes.
    #[error(
        "the database is not empty (`{0}` has rows): restore into a new one, before anything else uses it"
    )]
    NotEmpty(&'static str),
}

impl From<QueryError> for DumpError {
    fn from(error: QueryError) -> Self {
        Self::Database(error.into())
    }
}

/// How much was dumped or restored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// When the dump was made.
    pub made_at: Option<Time>,
    /// Rows by table, without empty ones.
    pub tables: BTreeMap<String, u64>,
}

impl Summary {
    /// All rows.
    pub fn rows(&self) -> u64 {
        self.tables.values().sum()
    }
}

/// What is asked of the first line before the rest of it.
#[derive(Deserialize)]
struct Kind {
    format: String,
    version: u32,
}

/// The first line.
#[derive(Serialize, Deserialize)]
struct Header {
    format: Cow<'static, str>,
    version: u32,
    made_at: Time,
    /// The highest ids that were ever given, by table.
    last_ids: BTreeMap<String, i64>,
    /// The highest number that was ever given to a blob: bitmaps of numbers may outlive the database, on servers.
    last_blob_number: i64,
    /// How often each part of the snapshot had changed.
    generations: BTreeMap<String, i64>,
}

/// A row.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    table: Cow<'a, str>,
    row: Box<RawValue>,
}

/// The last line.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    rows: u64,
}

/// Writes all that a restore needs, as it is at one moment. Whole tables are in memory, one after the other.
pub fn write(connection: &mut Connection, output: &mut dyn Write, now: Time) -> Result<Summary, DumpError> {
    let header = Header {
        format: FORMAT.into(),
        version: VERSION,
        made_at: now,
        last_ids: list_last_ids(connection)?,
        last_blob_number: blob_number::table.select(blob_number::last).first(connection)?,
        generations: generations::table.load::<(String, i64)>(connection)?.into_iter().collect(),
    };
    write_line(output, &header)?;
    let mut summary = Summary { made_at: Some(now), ..Summary::default() };
    for table in TABLES {
        let mut count = 0;
        (table.write)(connection, &mut |line| {
            count += 1;
            write_line(output, line)
        })?;
        if count > 0 {
            summary.tables.insert(table.name.to_owned(), count);
        }
    }
    write_line(output, &End { rows: summary.rows() })?;
    Ok(summary)
}

fn write_line(output: &mut dyn Write, line: &impl Serialize) -> Result<(), DumpError> {
    let mut text = serde_json::to_vec(line).map_err(io::Error::other)?;
    text.push(b'\n');
    Ok(output.write_all(&text)?)
}

/// Fills an empty, migrated database. All hosts are due for a crawl.
pub fn restore(
    connection: &mut Connection,
    input: &mut dyn BufRead,
    now: Time,
) -> Result<Summary, DumpError> {
    check_empty(connection)?;
    let mut lines = Lines { input, number: 0 };
    let header = read_header(&mut lines)?;
    let mut summary = Summary { made_at: Some(header.made_at), ..Summary::default() };
    let mut waiting = Waiting { table: None, rows: Vec::new() };
    loop {
        let Some(text) = lines.next()? else { return Err(DumpError::Cut(lines.number)) };
        if let Ok(End { rows }) = serde_json::from_str(&text) {
            waiting.insert(connection, lines.number)?;
            if rows != summary.rows() {
                return Err(lines.fault(format!("there are {} rows before it", summary.rows())));
            }
            break;
        }
        let Line { table, row } = serde_json::from_str(&text).map_err(|error| lines.fault(error))?;
        let known = TABLES.iter().find(|it| it.name == table);
        let table = known.ok_or_else(|| lines.fault(format!("there is no table {table}")))?;
        *summary.tables.entry(table.name.to_owned()).or_default() += 1;
        if !waiting.takes(table) {
            waiting.insert(connection, lines.number)?;
        }
        waiting.table = Some(table);
        waiting.rows.push(row);
    }
    if lines.next()?.is_some() {
        return Err(lines.fault("something comes after the end"));
    }
    go_on_counting(connection, &header, now)?;
    let hosts: Vec<HostId> = host::table.select(host::id).load(connection)?;
    for host in hosts {
        lease::insert(connection, host, now)?;
    }
    Ok(summary)
}

/// Rows of one table that were read and not inserted yet.
struct Waiting {
    table: Option<&'static Table>,
    rows: Vec<Box<RawValue>>,
}

impl Waiting {
    fn takes(&self, table: &Table) -> bool {
        self.rows.len() < BATCH_ROWS && self.table.is_none_or(|it| it.name == table.name)
    }

    /// They stand right before the line of this number.
    fn insert(&mut self, connection: &mut Connection, line: u64) -> Result<(), DumpError> {
        let rows = std::mem::take(&mut self.rows);
        let Some(table) = self.table else { return Ok(()) };
        let first = line - rows.len() as u64;
        (table.insert)(connection, &rows).map_err(|error| match error {
            InsertError::Row(at, error) => {
                DumpError::Line { line: first + at as u64, reason: format!("{}: {error}", table.name) }
            }
            InsertError::Query(error) => DumpError::Line {
                line: first,
                reason: format!(
                    "the database does not take it or one of the {} after it: {error}",
                    rows.len() - 1
                ),
            },
        })
    }
}

/// The lines of a dump.
struct Lines<'a> {
    input: &'a mut dyn BufRead,
    number: u64,
}

impl Lines<'_> {
    /// `None` after the last one.
    fn next(&mut self) -> Result<Option<String>, DumpError> {
        let mut text = Vec::new();
        let read = io::Read::take(&mut *self.input, LONGEST_LINE).read_until(b'\n', &mut text)?;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        if text.pop() != Some(b'\n') {
            return Err(DumpError::Cut(self.number - 1));
        }
        String::from_utf8(text).map(Some).map_err(|error| self.fault(error))
    }

    fn fault(&self, reason: impl ToString) -> DumpError {
        DumpError::Line { line: self.number, reason: reason.to_string() }
    }
}

fn read_header(lines: &mut Lines<'_>) -> Result<Header, DumpError> {
    let text = lines.next().map_err(|_| DumpError::NoDump)?.ok_or(DumpError::NoDump)?;
    let kind: Kind = serde_json::from_str(&text).map_err(|_| DumpError::NoDump)?;
    match kind {
        Kind { format, .. } if format != FORMAT => Err(DumpError::NoDump),
        Kind { version, .. } if version > VERSION => Err(DumpError::Newer { found: version }),
        _ => serde_json::from_str(&text).map_err(|error| lines.fault(error)),
    }
}

fn check_empty(connection: &mut Connection) -> Result<(), DumpError> {
    for table in TABLES {
        if (table.has_rows)(connection)? {
            return Err(DumpError::NotEmpty(table.name));
        }
    }
    if content::is_empty(connection)? { Ok(()) } else { Err(DumpError::NotEmpty("blob")) }
}

/// Ids and numbers go on from the highest ones, and generations from where no server has seen them: as serials do, they become the time,
/// for they may have grown after the dump was made.
fn go_on_counting(connection: &mut Connection, header: &Header, now: Time) -> QueryResult<()> {
    diesel::update(blob_number::table)
        .set(blob_number::last.eq(header.last_blob_number))
        .execute(connection)?;
    for part in generation::Part::ALL {
        let before = header.generations.get(part.as_str()).copied().unwrap_or_default();
        let value = now.unix_seconds().max(before.saturating_add(1));
        diesel::update(generations::table.find(part.as_str()))
            .set(generations::value.eq(value))
            .execute(connection)?;
    }
    for table in TABLES.iter().filter(|it| it.has_ids()) {
        let told = header.last_ids.get(table.name).copied().unwrap_or_default();
        set_last_id(connection, table.name, told)?;
    }
    Ok(())
}

impl Table {
    /// Does the database number its rows?
    fn has_ids(&self) -> bool {
        self.columns.first() == Some(&"id")
    }
}

#[derive(QueryableByName)]
struct LastId {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = BigInt)]
    last: i64,
}

fn list_last_ids(connection: &mut Connection) -> QueryResult<BTreeMap<String, i64>> {
    let mut last_ids = BTreeMap::new();
    for table in TABLES.iter().filter(|it| it.has_ids()) {
        let name = table.name;
        let query = match connection {
            Connection::Postgres(_) => format!(
                "SELECT '{name}' AS name, \
                 coalesce(pg_sequence_last_value(pg_get_serial_sequence('{name}', 'id')::regclass), 0) AS last"
            ),
            Connection::Sqlite(_) => {
                format!("SELECT name, seq AS last FROM sqlite_sequence WHERE name = '{name}'")
            }
        };
        let found: Option<LastId> = diesel::sql_query(query).get_result(connection).optional()?;
        last_ids.extend(found.map(|it| (it.name, it.last)));
    }
    Ok(last_ids)
}

/// The next row gets an id above this one and above all that are there.
fn set_last_id(connection: &mut Connection, table: &str, last: i64) -> QueryResult<()> {
    let statements = match connection {
        Connection::Postgres(_) => vec![format!(
            "SELECT setval(pg_get_serial_sequence('{table}', 'id'), last, true) FROM \
             (SELECT greatest({last}, (SELECT coalesce(max(id), 0) FROM {table})) AS last) AS highest WHERE last > 0"
        )],
        Connection::Sqlite(_) => vec![
            format!("DELETE FROM sqlite_sequence WHERE name = '{table}'"),
            format!(
                "INSERT INTO sqlite_sequence (name, seq) \
                 SELECT '{table}', max({last}, (SELECT coalesce(max(id), 0) FROM {table}))"
            ),
        ],
    };
    statements.into_iter().try_for_each(|it| diesel::sql_query(it).execute(connection).map(drop))
}

#[cfg(test)]
mod tests;
