//! Tree → database: what export has published becomes categories, repositories, tags, manifests and
//! numbered blobs. Each category is taken over whole or not at all.

mod category;
mod lock;
mod pieces;
mod referrers;
mod summary;

use std::path::PathBuf;

use jiff::Timestamp;

pub use summary::{CategorySummary, Outcome, Summary};

use crate::{
    database::{self, Database, Part, content, withdrawal},
    mirror::CategoryName,
    tree::{self, Tree},
};

/// `[scan]`: how the tree is taken over into the database.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Blobs up to this size, in bytes, are answered by `serve` itself, as manifests are: configurations,
    /// mostly. 0 (none) to 4194304. A change counts for what is scanned from then on.
    #[schemars(range(max = 4_194_304))]
    pub small_blob_limit: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { small_blob_limit: 64 * 1024 }
    }
}

/// Why nothing could be scanned. What is wrong with one category stands in the [`Summary`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder is empty or not there: most likely its file system is not mounted.
    #[error("{} is no tree: it has no folder .portolan; run `portolan export` first, or mount it", .0.display())]
    NoTree(PathBuf),
    /// Another scan is running.
    #[error("{} is held by another scan; wait for its end", .0.display())]
    Locked(PathBuf),
    /// The lock file cannot be made.
    #[error("{}: {source}", path.display())]
    Lock {
        /// The file.
        path: PathBuf,
        /// What the file system said.
        source: std::io::Error,
    },
    /// The tree's folder cannot be read.
    #[error(transparent)]
    Tree(#[from] tree::Error),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] database::Error),
}

/// Brings the database to what the tree has. A category whose files disagree stays as it is in the
/// database, and the summary says why; nothing is written where nothing differs.
///
/// `small_blob_limit`, in bytes: blobs up to it are kept in the database, as all manifests are.
pub fn scan(tree: &Tree, database: &Database, small_blob_limit: u64) -> Result<Summary, Error> {
    let _lock = lock::take(tree)?;
    tell_withdrawn(tree, database)?;
    let names = tree.category_names()?;
    let mut summary = Summary::default();
    let mut known = database.read(content::load_known)?;
    for name in &names {
        let outcome = match category::read(tree, name, &known, small_blob_limit) {
            Ok(None) => Outcome::Unchanged,
            Ok(Some(content)) => {
                let now = Timestamp::now().into();
                let new = database.write(Part::Content, |it| content::replace_category(it, &content, now))?;
                // What one category brought, the next need not read.
                known.manifests.extend(content.manifests.iter().map(|it| it.digest));
                known.bodies.extend(content.bodies.iter().map(|it| it.0));
                Outcome::updated(&content, new)
            }
            Err(error) => Outcome::Refused { reason: error.to_string() },
        };
        summary.categories.push(CategorySummary { name: name.clone(), outcome });
    }
    retire(database, &names, &mut summary)?;
    // Last, so that a blob that moves from one category to another keeps its number.
    let orphans = database.read(content::list_orphans)?;
    if !orphans.is_empty() {
        database.write(Part::Content, |it| content::delete_orphans(it, &orphans))?;
    }
    summary.removed_blobs = orphans.blobs();
    summary.cut_blobs = pieces::take_over(tree, database)?;
    Ok(summary)
}

/// Exports read no database: what they leave out has to be told to the tree.
fn tell_withdrawn(tree: &Tree, database: &Database) -> Result<(), Error> {
    let withdrawn = database.read(withdrawal::list)?;
    tree.replace_withdrawn(&withdrawn.into_iter().map(|it| it.digest.into()).collect())?;
    Ok(())
}

/// Retires the categories whose folders are gone.
fn retire(database: &Database, names: &[CategoryName], summary: &mut Summary) -> Result<(), Error> {
    let mut gone = database.read(database::category::list)?;
    gone.retain(|it| it.retired_at.is_none() && !names.contains(&it.name));
    if gone.is_empty() {
        return Ok(());
    }
    let ids: Vec<_> = gone.iter().map(|it| it.id).collect();
    let now = Timestamp::now().into();
    database.write(Part::Content, |it| content::retire_categories(it, &ids, now))?;
    let retired = gone.into_iter().map(|it| CategorySummary { name: it.name, outcome: Outcome::Retired });
    summary.categories.extend(retired);
    Ok(())
}

#[cfg(test)]
mod tests;
