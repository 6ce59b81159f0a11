//! MirrorManager2 to database: its sites and hosts, as far as they carry what we serve. Its database is only read.

mod config;
mod names;
mod reading;
#[cfg(test)]
mod tests;

pub use config::{Carried, CarriedError, Config};
pub use reading::{Mapping, Skipped};

pub use crate::database::imported::{Change, Noun, Verb};

use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use crate::database::{
    self, Database, DatabaseUrl,
    imported::{self, Local},
    mirrormanager::{self, Rows},
};

/// When fewer hosts than this go at once, nobody is asked.
const FEW: usize = 5;

/// Why nothing was imported. What is here stays as it was.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// One of the two databases.
    #[error(transparent)]
    Database(#[from] database::Error),
    /// Nobody said what to import.
    #[error(
        "no category of MirrorManager is named: --category NAME, or [mirrormanager.categories]; there are: {0}"
    )]
    NoCategory(String),
    /// A category that is not there: a slip, or the wrong database.
    #[error("MirrorManager has no category {name:?}; there are: {known}")]
    Category {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// So many hosts go at once that something is wrong there, most likely.
    #[error(
        "{gone} of {all} imported hosts would go or carry nothing any more: nothing was changed; if it is meant, run \
         `portolan import mirrormanager --allow-removal` once"
    )]
    TooManyGone {
        /// How many would go.
        gone: usize,
        /// Of how many.
        all: usize,
    },
    /// A thread died.
    #[error("the import ended early: {0}")]
    Thread(#[from] tokio::task::JoinError),
}

/// How an import is done.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Change nothing, and tell what would be changed.
    pub dry_run: bool,
    /// Let most hosts go.
    pub allow_removal: bool,
}

/// What an import did.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// Nothing was changed; this is what would be.
    pub dry_run: bool,
    /// How many things are new.
    pub added: usize,
    /// How many are changed.
    pub changed: usize,
    /// How many are gone.
    pub gone: usize,
    /// Each of them.
    pub changes: Vec<Change>,
    /// Rows of MirrorManager that make no sense here.
    pub skipped: Vec<Skipped>,
}

/// Imports from one MirrorManager.
#[derive(Clone, Debug)]
pub struct Importer {
    source: DatabaseUrl,
    mapping: Mapping,
}

impl Importer {
    /// From this database, these categories.
    pub fn new(source: DatabaseUrl, mapping: Mapping) -> Self {
        Self { source, mapping }
    }

    /// Brings what is here to what is there, in one transaction: all of it or nothing.
    pub async fn run(
        &self,
        database: &Arc<Database>,
        options: Options,
        now: Timestamp,
    ) -> Result<Summary, Error> {
        let source = self.source.clone();
        let rows = Arc::new(tokio::task::spawn_blocking(move || mirrormanager::load(&source)).await??);
        self.check_categories(&rows)?;
        let known = database.clone();
        let local = tokio::task::spawn_blocking(move || known.read(imported::load_local)).await??;
        let hosts = reading::list_hosts(&rows, &self.mapping, &local);
        let names = names::look_up_all(&rows, &hosts, names::MOST_NAMES).await;
        let (importer, database) = (self.clone(), database.clone());
        tokio::task::spawn_blocking(move || importer.store(&database, &rows, &names, options, now)).await?
    }

    fn check_categories(&self, rows: &Rows) -> Result<(), Error> {
        let known: Vec<&str> = rows.categories.iter().filter_map(|it| it.name.as_deref()).collect();
        if self.mapping.is_empty() {
            return Err(Error::NoCategory(known.join(", ")));
        }
        match self.mapping.keys().find(|it| !known.contains(&it.as_str())) {
            Some(name) => Err(Error::Category { name: name.clone(), known: known.join(", ") }),
            None => Ok(()),
        }
    }

    fn store(
        &self,
        database: &Database,
        rows: &Rows,
        names: &names::Names,
        options: Options,
        now: Timestamp,
    ) -> Result<Summary, Error> {
        let mut skipped = Vec::new();
        let mut import = |rehearse| {
            let wanted = |local: &Local| {
                let reading = reading::read(rows, &self.mapping, names, local);
                skipped = reading.skipped;
                reading.network
            };
            database.import(wanted, now.into(), rehearse)
        };
        let mut changes = import(true)?;
        if !options.dry_run && !changes.is_empty() {
            let gone = changes.iter().filter(|it| it.is_host_without_content()).count();
            let all = database.read(imported::count_hosts)?;
            if !options.allow_removal && gone >= FEW && gone * 2 > all {
                return Err(Error::TooManyGone { gone, all });
            }
            changes = import(false)?;
        }
        let count = |verb| changes.iter().filter(|it| it.verb == verb).count();
        let (added, changed, gone) = (count(Verb::Added), count(Verb::Changed), count(Verb::Gone));
        Ok(Summary { dry_run: options.dry_run, added, changed, gone, changes, skipped })
    }
}
