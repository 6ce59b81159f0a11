//! The table `repository_alias`: former names of repositories, under which they are still answered.

use std::collections::BTreeMap;

use diesel::prelude::*;
use serde::Serialize;

use super::{Connection, Time, schema::repository_alias};
use crate::oci::RepositoryName;

/// A former name.
#[derive(Clone, Debug, PartialEq, Queryable, Selectable, Insertable, Serialize)]
#[diesel(table_name = repository_alias)]
pub struct RepositoryAlias {
    /// The former name. A repository that is called so goes before it.
    pub alias: RepositoryName,
    /// What it is called now; it need not be there yet.
    pub repository: RepositoryName,
    /// From then on the former name is unknown.
    pub expires_at: Option<Time>,
    /// Kept by an import.
    pub imported: bool,
}

/// All of them, by former name.
pub fn list(connection: &mut Connection) -> QueryResult<Vec<RepositoryAlias>> {
    repository_alias::table
        .select(RepositoryAlias::as_select())
        .order(repository_alias::alias)
        .load(connection)
}

/// The one of this former name.
pub fn find(connection: &mut Connection, alias: &RepositoryName) -> QueryResult<Option<RepositoryAlias>> {
    repository_alias::table
        .select(RepositoryAlias::as_select())
        .filter(repository_alias::alias.eq(alias))
        .first(connection)
        .optional()
}

/// Sets what a former name leads to, whoever set it before.
pub fn set(connection: &mut Connection, row: &RepositoryAlias) -> QueryResult<()> {
    delete(connection, &row.alias)?;
    diesel::insert_into(repository_alias::table).values(row).execute(connection)?;
    Ok(())
}

/// Forgets a former name; how many rows it had.
pub fn delete(connection: &mut Connection, alias: &RepositoryName) -> QueryResult<usize> {
    diesel::delete(repository_alias::table.filter(repository_alias::alias.eq(alias))).execute(connection)
}

/// Replaces those of the import.
pub(super) fn replace_imported(
    connection: &mut Connection,
    aliases: &BTreeMap<RepositoryName, RepositoryName>,
) -> QueryResult<()> {
    diesel::delete(repository_alias::table.filter(repository_alias::imported)).execute(connection)?;
    for (alias, repository) in aliases {
        let (alias, repository) = (alias.clone(), repository.clone());
        let row = RepositoryAlias { alias, repository, expires_at: None, imported: true };
        diesel::insert_into(repository_alias::table).values(row).execute(connection)?;
    }
    Ok(())
}
