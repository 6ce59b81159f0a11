//! The table `host`: machines of a site.

use diesel::prelude::*;
use serde::Serialize;

use super::{Connection, Time, error::exists, lease, schema::host};
use crate::mirror::{Asn, Bandwidth, Bytes, Country, HostId, HostKind, HostName, Percent, Place, SiteId};

/// A host. Off by its admins, off by the operators and off by the crawler are three states.
#[derive(Clone, Debug, PartialEq, Queryable, Selectable, Serialize)]
#[diesel(table_name = host)]
pub struct Host {
    /// Its row.
    pub id: HostId,
    /// Whose it is.
    pub site_id: SiteId,
    /// Unique.
    pub name: HostName,
    /// Where it stands.
    pub country: Option<Country>,
    /// Degrees north; together with the longitude or not at all.
    pub latitude: Option<f64>,
    /// Degrees east.
    pub longitude: Option<f64>,
    /// The autonomous system it stands in.
    pub asn: Option<Asn>,
    /// Does it want the clients of its own autonomous system first?
    pub asn_clients: bool,
    /// What it can send.
    pub bandwidth: Option<Bandwidth>,
    /// Shown to nobody outside its netblocks and autonomous systems.
    pub private: bool,
    /// Its admins have not switched it off.
    pub user_active: bool,
    /// The operators have not switched it off.
    pub admin_active: bool,
    /// When the crawler switched it off.
    pub auto_disabled_at: Option<Time>,
    /// Why the crawler switched it off.
    pub auto_disabled_reason: Option<String>,
    /// Taken out of all answers for a while.
    pub drained: bool,
    /// Mail addresses of its admins, one a line.
    pub contacts: String,
    /// Free words of its admins.
    pub comment: String,
    /// When it was added.
    pub created_at: Time,
    /// When its last crawl began.
    pub last_crawled_at: Option<Time>,
    /// How long its last crawl took, in milliseconds.
    pub last_crawl_ms: Option<i64>,
    /// How many crawls in a row did not reach it.
    pub crawl_failures: i64,
    /// How it comes to have content.
    pub kind: HostKind,
    /// So many of its clients may be sent to it; all if nothing is said.
    pub client_share: Option<Percent>,
    /// What each server may send to it in a day.
    pub daily_bytes: Option<Bytes>,
    /// The largest file that is fetched from it.
    pub max_file_size: Option<Bytes>,
    /// When a crawl last found that it had other bytes than it should.
    pub last_lied_at: Option<Time>,
}

impl Host {
    /// Where exactly it stands.
    pub fn place(&self) -> Option<Place> {
        Place::new(self.latitude?, self.longitude?).ok()
    }
}

/// A host to insert, switched on.
#[derive(Clone, Debug, Insertable)]
#[diesel(table_name = host)]
#[expect(missing_docs, reason = "the fields are those of `Host`")]
pub struct NewHost {
    pub site_id: SiteId,
    pub name: HostName,
    pub country: Option<Country>,
    pub latitude: Option<f64>,
    pub longitude: Option<f64>,
    pub asn: Option<Asn>,
    pub asn_clients: bool,
    pub bandwidth: Option<Bandwidth>,
    pub private: bool,
    pub contacts: String,
    pub comment: String,
    pub created_at: Time,
    pub kind: HostKind,
    pub client_share: Option<Percent>,
    pub daily_bytes: Option<Bytes>,
    pub max_file_size: Option<Bytes>,
}

/// What to change of a host; `None` leaves a field as it is.
#[derive(Clone, Debug, Default, PartialEq, AsChangeset)]
#[diesel(table_name = host)]
#[expect(missing_docs, reason = "the fields are those of `Host`")]
pub struct HostChange {
    pub site_id: Option<SiteId>,
    pub name: Option<HostName>,
    pub country: Option<Option<Country>>,
    pub latitude: Option<Option<f64>>,
    pub longitude: Option<Option<f64>>,
    pub asn: Option<Option<Asn>>,
    pub asn_clients: Option<bool>,
    pub bandwidth: Option<Option<Bandwidth>>,
    pub private: Option<bool>,
    pub user_active: Option<bool>,
    pub admin_active: Option<bool>,
    pub auto_disabled_at: Option<Option<Time>>,
    pub auto_disabled_reason: Option<Option<String>>,
    pub drained: Option<bool>,
    pub contacts: Option<String>,
    pub comment: Option<String>,
    pub kind: Option<HostKind>,
    pub client_share: Option<Option<Percent>>,
    pub daily_bytes: Option<Option<Bytes>>,
    pub max_file_size: Option<Option<Bytes>>,
}

/// All hosts, by name.
pub fn list(connection: &mut Connection) -> QueryResult<Vec<Host>> {
    host::table.select(Host::as_select()).order(host::name).load(connection)
}

/// The hosts of one site, by name.
pub fn list_of_site(connection: &mut Connection, site: SiteId) -> QueryResult<Vec<Host>> {
    host::table.select(Host::as_select()).filter(host::site_id.eq(site)).order(host::name).load(connection)
}

/// The host of this name.
pub fn find(connection: &mut Connection, name: &HostName) -> QueryResult<Option<Host>> {
    host::table.select(Host::as_select()).filter(host::name.eq(name)).first(connection).optional()
}

/// The host of this id.
pub fn find_by_id(connection: &mut Connection, id: HostId) -> QueryResult<Option<Host>> {
    host::table.find(id).select(Host::as_select()).first(connection).optional()
}

/// Adds a host, due to be crawled.
pub fn insert(connection: &mut Connection, new: &NewHost) -> QueryResult<Host> {
    let host: Host = diesel::insert_into(host::table)
        .values(new)
        .returning(host::all_columns)
        .get_result(connection)
        .map_err(|error| exists(error, || format!("a host named {}", new.name)))?;
    lease::insert(connection, host.id, host.created_at)?;
    Ok(host)
}

/// Changes a host; how many there were of this id.
pub fn update(connection: &mut Connection, id: HostId, change: &HostChange) -> QueryResult<usize> {
    let outcome = diesel::update(host::table.find(id)).set(change).execute(connection);
    let changed = outcome.optional_empty_changeset();
    Ok(changed.map_err(|error| exists(error, || "a host of that name".to_owned()))?.unwrap_or(1))
}

/// Removes a host with all that belongs to it; how many there were of this id.
pub fn delete(connection: &mut Connection, id: HostId) -> QueryResult<usize> {
    diesel::delete(host::table.find(id)).execute(connection)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::{Part, testing::*};

    #[test]
    fn a_host_is_added_changed_and_removed() {
        on_both(|database| {
            let host = add_host(database, "m1.example.org");
            assert_eq!(host.place(), "52.5,13.4".parse().ok());
            assert_eq!(
                database.read(|it| list_of_site(it, host.site_id)).unwrap(),
                std::slice::from_ref(&host)
            );
            let change = HostChange { country: Some(None), drained: Some(true), ..HostChange::default() };
            database.write(Part::Hosts, |it| update(it, host.id, &change)).unwrap();
            let found = database.read(|it| find(it, &host.name)).unwrap();
            assert_eq!(found, Some(Host { country: None, drained: true, ..host.clone() }));
            assert_eq!(database.write(Part::Hosts, |it| delete(it, host.id)).unwrap(), 1);
            assert_eq!(database.read(list).unwrap(), []);
        });
    }

    #[test]
    fn a_name_is_given_once() {
        on_both(|database| {
            let host = add_host(database, "m1");
            let new = NewHost { site_id: host.site_id, ..new_host(host.site_id, "m1") };
            let error = database.write(Part::Hosts, |it| insert(it, &new)).unwrap_err();
            assert_eq!(error.to_string(), "a host named m1 exists already");
        });
    }

    #[test]
    fn ids_are_never_given_again() {
        on_both(|database| {
            let first = add_host(database, "m1");
            database.write(Part::Hosts, |it| delete(it, first.id)).unwrap();
            let second =
                database.write(Part::Hosts, |it| insert(it, &new_host(first.site_id, "m1"))).unwrap();
            assert!(second.id > first.id);
        });
    }
}
