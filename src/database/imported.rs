//! What an import from MirrorManager keeps here: sites and hosts (`imported_site`, `imported_host`), and what it says of
//! networks, countries and former names of repositories. All else is ours, and no import touches it.

mod diff;
mod state;
mod store;

use diff::compare;
pub use diff::{Change, Noun, Verb};
pub use state::{HostState, Local, Network, OptIn, SiteState, load_local};

use diesel::prelude::*;

use super::{
    Connection, Time,
    schema::{imported_host, imported_site, site_admin},
};
use crate::mirror::{HostId, SiteId};

/// The id of this host in MirrorManager; `None` if it is ours.
pub fn find_host(connection: &mut Connection, host: HostId) -> QueryResult<Option<i64>> {
    let row = imported_host::table.find(host).select(imported_host::mirrormanager_id);
    row.first(connection).optional()
}

/// The id of this site in MirrorManager; `None` if it is ours.
pub fn find_site(connection: &mut Connection, site: SiteId) -> QueryResult<Option<i64>> {
    let row = imported_site::table.find(site).select(imported_site::mirrormanager_id);
    row.first(connection).optional()
}

/// Names of the accounts that may edit a site, sorted.
pub fn list_admins(connection: &mut Connection, site: SiteId) -> QueryResult<Vec<String>> {
    site_admin::table
        .filter(site_admin::site_id.eq(site))
        .select(site_admin::username)
        .order(site_admin::username)
        .load(connection)
}

/// Sites that the account of this name may edit there.
pub fn list_sites_of_admin(connection: &mut Connection, username: &str) -> QueryResult<Vec<SiteId>> {
    let rows = site_admin::table.filter(site_admin::username.eq(username)).order(site_admin::site_id);
    rows.select(site_admin::site_id).load(connection)
}

/// How many hosts are imported.
pub fn count_hosts(connection: &mut Connection) -> QueryResult<usize> {
    Ok(state::list_hosts(connection)?.len())
}

/// Brings what was imported to what `wanted` makes of what is here; what has changed. Nothing is written where nothing
/// differs.
pub(super) fn import(
    connection: &mut Connection,
    wanted: impl FnOnce(&Local) -> Network,
    now: Time,
) -> QueryResult<Vec<Change>> {
    let local = state::load_local(connection)?;
    let before = state::load(connection)?;
    let after = wanted(&local);
    let changes = compare(&before, &after);
    if !changes.is_empty() {
        store::store(connection, &before, &after, now)?;
    }
    Ok(changes)
}
