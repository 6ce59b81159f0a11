//! The table `host_netblock`: networks whose clients a host wants first.

use diesel::prelude::*;
use serde::Serialize;

use super::{Connection, error::exists, schema::host_netblock};
use crate::mirror::{HostId, Netblock};

/// A network of a host.
#[derive(Clone, Debug, PartialEq, Queryable, Selectable, Serialize)]
#[diesel(table_name = host_netblock)]
pub struct HostNetblock {
    /// Its row.
    pub id: i64,
    /// Whose clients.
    pub host_id: HostId,
    /// Unique for the host.
    pub netblock: Netblock,
    /// What people call it.
    pub name: String,
}

/// What to change of a netblock; `None` leaves a field as it is.
#[derive(Clone, Debug, Default, AsChangeset)]
#[diesel(table_name = host_netblock)]
#[expect(missing_docs, reason = "the fields are those of `HostNetblock`")]
pub struct HostNetblockChange {
    pub netblock: Option<Netblock>,
    pub name: Option<String>,
}

/// The netblocks of a host, oldest first.
pub fn list(connection: &mut Connection, host: HostId) -> QueryResult<Vec<HostNetblock>> {
    host_netblock::table
        .select(HostNetblock::as_select())
        .filter(host_netblock::host_id.eq(host))
        .order(host_netblock::id)
        .load(connection)
}

/// The row of this netblock of a host.
pub fn find(
    connection: &mut Connection,
    host: HostId,
    netblock: &Netblock,
) -> QueryResult<Option<HostNetblock>> {
    host_netblock::table
        .select(HostNetblock::as_select())
        .filter(host_netblock::host_id.eq(host))
        .filter(host_netblock::netblock.eq(netblock))
        .first(connection)
        .optional()
}

/// Adds a netblock to a host.
pub fn insert(
    connection: &mut Connection,
    host: HostId,
    netblock: &Netblock,
    name: &str,
) -> QueryResult<HostNetblock> {
    diesel::insert_into(host_netblock::table)
        .values((
            host_netblock::host_id.eq(host),
            host_netblock::netblock.eq(netblock),
            host_netblock::name.eq(name),
        ))
        .returning(host_netblock::all_columns)
        .get_result(connection)
        .map_err(|error| exists(error, || format!("the netblock {netblock} of this host")))
}

/// Changes a netblock; how many there were of this id.
pub fn update(connection: &mut Connection, id: i64, change: &HostNetblockChange) -> QueryResult<usize> {
    let outcome = diesel::update(host_netblock::table.find(id)).set(change).execute(connection);
    let changed = outcome.optional_empty_changeset();
    Ok(changed.map_err(|error| exists(error, || "that netblock of this host".to_owned()))?.unwrap_or(1))
}

/// Removes a netblock; how many there were of this id.
pub fn delete(connection: &mut Connection, id: i64) -> QueryResult<usize> {
    diesel::delete(host_netblock::table.find(id)).execute(connection)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::{Part, testing::*};

    #[test]
    fn a_netblock_is_added_changed_and_removed() {
        on_both(|database| {
            let host = add_host(database, "m1").id;
            let netblock: Netblock = "192.0.2.7/24".parse().unwrap();
            let row = database.write(Part::Hosts, |it| insert(it, host, &netblock, "campus")).unwrap();
            let error = database.write(Part::Hosts, |it| insert(it, host, &netblock, "")).unwrap_err();
            assert_eq!(error.to_string(), "the netblock 192.0.2.0/24 of this host exists already");
            let change = HostNetblockChange { name: Some("lab".into()), ..HostNetblockChange::default() };
            database.write(Part::Hosts, |it| update(it, row.id, &change)).unwrap();
            let found = database.read(|it| find(it, host, &netblock)).unwrap();
            assert_eq!(found, Some(HostNetblock { name: "lab".into(), ..row.clone() }));
            database.write(Part::Hosts, |it| delete(it, row.id)).unwrap();
            assert_eq!(database.read(|it| list(it, host)).unwrap(), []);
        });
    }
}
