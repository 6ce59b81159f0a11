//! The tables of a dump, as rows that stand in it. `tests::every_table_and_column_has_its_place` fails when one is forgotten.

use diesel::prelude::*;
use serde_json::value::RawValue;

use super::{DumpError, Line};
use crate::{
    database::{BATCH_ROWS, Connection, Sha256, Time, connection::on_each},
    mirror::{
        AccountId, AccountName, Asn, Bandwidth, Bytes, CategoryId, CategoryName, Continent, Country,
        HostCategoryId, HostCategoryUrlId, HostId, HostKind, HostName, HostUrl, Netblock, Percent, Role,
        RsyncUrl, Scopes, SiteId, SiteName,
    },
    oci::RepositoryName,
};

/// What is done with one line of a dump.
pub(super) type Each<'a> = dyn FnMut(&Line<'_>) -> Result<(), DumpError> + 'a;

/// A table of a dump.
pub(super) struct Table {
    pub(super) name: &'static str,
    /// Those that a restore writes.
    pub(super) columns: &'static [&'static str],
    /// Gives each row, in the order of its key.
    pub(super) write: fn(&mut Connection, &mut Each<'_>) -> Result<(), DumpError>,
    /// Inserts rows.
    pub(super) insert: fn(&mut Connection, &[Box<RawValue>]) -> Result<(), InsertError>,
    /// Has it a row?
    pub(super) has_rows: fn(&mut Connection) -> QueryResult<bool>,
}

/// Why rows could not be inserted.
pub(super) enum InsertError {
    /// This one of them is no row of the table.
    Row(usize, serde_json::Error),
    /// The database does not take them.
    Query(diesel::result::Error),
}

macro_rules! tables {
    ($($table:ident by ($($key:ident),+) { $($(#[$attribute:meta])* $column:ident: $type:ty),+ $(,)? })+) => {
        $(mod $table {
            use serde::{Deserialize, Serialize};

            use super::*;
            use crate::database::schema::$table; // on its own: tests/layers.rs reads no list with a `$` in it

            #[derive(Queryable, Selectable, Insertable, Serialize, Deserialize)]
            #[diesel(table_name = $table)]
            #[serde(deny_unknown_fields)]
            struct Row {
                $($(#[$attribute])* $column: $type,)+
            }

            pub(super) fn write(connection: &mut Connection, each: &mut Each<'_>) -> Result<(), DumpError> {
                let rows: Vec<Row> =
                    $table::table.select(Row::as_select()).order(($($table::$key,)+)).load(connection)?;
                rows.iter().try_for_each(|row| {
                    let row = serde_json::value::to_raw_value(row).map_err(std::io::Error::other)?;
                    each(&Line { table: stringify!($table).into(), row })
                })
            }

            pub(super) fn insert(
                connection: &mut Connection,
                rows: &[Box<RawValue>],
            ) -> Result<(), InsertError> {
                let parse = |(at, it): (usize, &Box<RawValue>)| {
                    serde_json::from_str(it.get()).map_err(|error| InsertError::Row(at, error))
                };
                let rows: Vec<Row> = rows.iter().enumerate().map(parse).collect::<Result<_, _>>()?;
                for some in rows.chunks(BATCH_ROWS) {
                    on_each!(connection, |it| diesel::insert_into($table::table).values(some).execute(it))
                        .map_err(InsertError::Query)?;
                }
                Ok(())
            }

            pub(super) fn has_rows(connection: &mut Connection) -> QueryResult<bool> {
                let one = $table::table.select(diesel::dsl::sql::<diesel::sql_types::Integer>("1")).limit(1);
                Ok(one.first::<i32>(connection).optional()?.is_some())
            }
        })+

        /// All of them; who is named by others goes before them.
        pub(super) const TABLES: &[Table] = &[$(Table {
            name: stringify!($table),
            columns: &[$(stringify!($column)),+],
            write: $table::write,
            insert: $table::insert,
            has_rows: $table::has_rows,
        }),+];
    };
}

tables! {
    // Who there is, and what they may do.
    account by (id) {
        id: AccountId,
        name: AccountName,
        mail: String,
        password: Option<String>,
        role: Role,
        active: bool,
        created_at: Time,
    }
    identity by (id) {
        id: i64,
        account_id: AccountId,
        issuer: String,
        subject: String,
        called: String,
        made_operator: bool,
        created_at: Time,
    }
    // The mirrors.
    site by (id) {
        id: SiteId,
        name: SiteName,
        org_url: Option<String>,
        private: bool,
        user_active: bool,
        admin_active: bool,
        created_at: Time,
    }
    site_account by (site_id, account_id) {
        site_id: SiteId,
        account_id: AccountId,
    }
    site_admin by (site_id, username) {
        site_id: SiteId,
        username: String,
    }
    host by (id) {
        id: HostId,
        site_id: SiteId,
        name: HostName,
        country: Option<Country>,
        latitude: Option<f64>,
        longitude: Option<f64>,
        asn: Option<Asn>,
        asn_clients: bool,
        bandwidth: Option<Bandwidth>,
        private: bool,
        user_active: bool,
        admin_active: bool,
        drained: bool,
        contacts: String,
        comment: String,
        created_at: Time,
        kind: HostKind,
        client_share: Option<Percent>,
        daily_bytes: Option<Bytes>,
        max_file_size: Option<Bytes>,
        last_lied_at: Option<Time>,
    }
    imported_site by (site_id) {
        site_id: SiteId,
        mirrormanager_id: i64,
    }
    imported_host by (host_id) {
        host_id: HostId,
        mirrormanager_id: i64,
    }
    category by (id) {
        id: CategoryId,
        name: CategoryName,
        description: String,
        visible: bool,
        selection: String,
        // As if the tree were never looked at: so the next scan takes over all of it.
        #[serde(skip)] serial: i64,
        #[serde(skip)] inventory_digest: Sha256,
        retired_at: Option<Time>,
    }
    host_category by (id) {
        id: HostCategoryId,
        host_id: HostId,
        category_id: CategoryId,
        created_at: Time,
        drained: bool,
    }
    host_category_url by (id) {
        id: HostCategoryUrlId,
        host_category_id: HostCategoryId,
        url: HostUrl,
    }
    host_category_rsync by (host_category_id) {
        host_category_id: HostCategoryId,
        url: RsyncUrl,
    }
    host_netblock by (id) {
        id: i64,
        host_id: HostId,
        netblock: Netblock,
        name: String,
    }
    host_peer_asn by (host_id, asn) {
        host_id: HostId,
        asn: Asn,
        name: String,
    }
    host_country_allowed by (host_id, country) {
        host_id: HostId,
        country: Country,
    }
    host_country_denied by (host_id, country) {
        host_id: HostId,
        country: Country,
    }
    host_token by (id) {
        id: i64,
        host_id: HostId,
        hash: Sha256,
        created_at: Time,
        expires_at: Option<Time>,
        used_at: Option<Time>,
    }
    account_token by (id) {
        id: i64,
        account_id: AccountId,
        name: String,
        scopes: Scopes,
        host_id: Option<HostId>,
        hash: Sha256,
        created_at: Time,
        expires_at: Time,
        used_at: Option<Time>,
    }
    approval by (id) {
        id: i64,
        host_id: HostId,
        wish: String,
        value: String,
        reason: String,
        asked_by: String,
        asked_at: Time,
    }
    // What holds for all.
    withdrawal by (digest) {
        digest: Sha256,
        // The blob gets another number, if it comes back.
        #[serde(skip)] blob_id: Option<i64>,
        reason: String,
        legal: bool,
        withdrawn_at: Time,
    }
    country_continent_redirect by (country) {
        country: Country,
        continent: Continent,
        imported: bool,
    }
    netblock_country by (netblock) {
        netblock: Netblock,
        country: Country,
        imported: bool,
    }
    embargoed_country by (country) {
        country: Country,
    }
    repository_alias by (alias) {
        alias: RepositoryName,
        repository: RepositoryName,
        expires_at: Option<Time>,
        imported: bool,
    }
    audit by (id) {
        id: i64,
        happened_at: Time,
        actor: String,
        subject: String,
        subject_name: String,
        before_change: Option<String>,
        after_change: Option<String>,
    }
    // What was counted: nobody can count it again.
    way_traffic by (period, began_at, way) {
        way: String,
        period: String,
        began_at: Time,
        requests: i64,
        bytes: i64,
    }
    country_traffic by (day, country) {
        country: String,
        day: Time,
        requests: i64,
        bytes: i64,
    }
    host_day_traffic by (host_id, day) {
        host_id: HostId,
        day: Time,
        requests: i64,
        bytes: i64,
    }
    budget_alert by (period, began_at, percent) {
        period: String,
        began_at: Time,
        percent: i64,
    }
}
