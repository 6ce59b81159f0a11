//! MirrorManager2's own database: a PostgreSQL, which is only read. Columns are taken as they come, NULL or not:
//! what makes sense is for the importer to judge.

use diesel::{
    RunQueryDsl as _,
    r2d2::ManageConnection as _,
    sql_query,
    sql_types::{BigInt, Bool, Double, Nullable, Text},
};

use super::{Connection, DatabaseUrl, Error, QueryResult, connection::Connector};

/// A table with more rows than this is not MirrorManager's, or not one that we can take in.
const MOST_ROWS: usize = 500_000;

/// Declares the rows of a table, and the statement that reads them. Casts let other integer and text types pass.
macro_rules! row {
    ($(#[doc = $doc:literal])* $name:ident, $statement:literal, { $($field:ident: $type:ty as $sql:ty,)* }) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug, Default, diesel::QueryableByName)]
        #[expect(missing_docs, reason = "the fields are MirrorManager's columns")]
        pub struct $name {
            $(#[diesel(sql_type = $sql)] pub $field: $type,)*
        }

        impl $name {
            fn load(connection: &mut Connection) -> QueryResult<Vec<Self>> {
                let statement = format!("{} LIMIT {}", $statement, MOST_ROWS + 1);
                let rows: Vec<Self> = sql_query(statement).load(connection)?;
                if rows.len() <= MOST_ROWS {
                    return Ok(rows);
                }
                let text = concat!("a table of MirrorManager has far too many rows: ", $statement);
                Err(diesel::result::Error::DeserializationError(text.into()))
            }
        }
    };
}

row!(
    /// An organisation.
    SiteRow,
    "SELECT id::bigint AS id, name::text AS name, org_url::text AS org_url, private, admin_active, user_active \
     FROM site ORDER BY id",
    {
        id: i64 as BigInt,
        name: Option<String> as Nullable<Text>,
        org_url: Option<String> as Nullable<Text>,
        private: Option<bool> as Nullable<Bool>,
        admin_active: Option<bool> as Nullable<Bool>,
        user_active: Option<bool> as Nullable<Bool>,
    }
);
row!(
    /// Who may edit a site.
    SiteAdminRow,
    "SELECT id::bigint AS id, site_id::bigint AS site_id, username::text AS username FROM site_admin ORDER BY id",
    {
        id: i64 as BigInt,
        site_id: Option<i64> as Nullable<BigInt>,
        username: Option<String> as Nullable<Text>,
    }
);
row!(
    /// A machine of a site.
    HostRow,
    "SELECT id::bigint AS id, name::text AS name, site_id::bigint AS site_id, admin_active, user_active, \
     country::text AS country, bandwidth_int::bigint AS bandwidth_int, comment::text AS comment, private, \
     asn::bigint AS asn, asn_clients, latitude::float8 AS latitude, longitude::float8 AS longitude \
     FROM host ORDER BY id",
    {
        id: i64 as BigInt,
        name: Option<String> as Nullable<Text>,
        site_id: Option<i64> as Nullable<BigInt>,
        admin_active: Option<bool> as Nullable<Bool>,
        user_active: Option<bool> as Nullable<Bool>,
        country: Option<String> as Nullable<Text>,
        bandwidth_int: Option<i64> as Nullable<BigInt>,
        comment: Option<String> as Nullable<Text>,
        private: Option<bool> as Nullable<Bool>,
        asn: Option<i64> as Nullable<BigInt>,
        asn_clients: Option<bool> as Nullable<Bool>,
        latitude: Option<f64> as Nullable<Double>,
        longitude: Option<f64> as Nullable<Double>,
    }
);
row!(
    /// What hosts opt in to.
    CategoryRow,
    "SELECT id::bigint AS id, name::text AS name FROM category ORDER BY id",
    {
        id: i64 as BigInt,
        name: Option<String> as Nullable<Text>,
    }
);
row!(
    /// An opt-in.
    HostCategoryRow,
    "SELECT id::bigint AS id, host_id::bigint AS host_id, category_id::bigint AS category_id, always_up2date \
     FROM host_category ORDER BY id",
    {
        id: i64 as BigInt,
        host_id: Option<i64> as Nullable<BigInt>,
        category_id: Option<i64> as Nullable<BigInt>,
        always_up2date: Option<bool> as Nullable<Bool>,
    }
);
row!(
    /// A URL of an opt-in.
    HostCategoryUrlRow,
    "SELECT id::bigint AS id, host_category_id::bigint AS host_category_id, url::text AS url, private \
     FROM host_category_url ORDER BY id",
    {
        id: i64 as BigInt,
        host_category_id: Option<i64> as Nullable<BigInt>,
        url: Option<String> as Nullable<Text>,
        private: Option<bool> as Nullable<Bool>,
    }
);
row!(
    /// A network of a host, or a name of which its addresses are one.
    HostNetblockRow,
    "SELECT id::bigint AS id, host_id::bigint AS host_id, netblock::text AS netblock, name::text AS name \
     FROM host_netblock ORDER BY id",
    {
        id: i64 as BigInt,
        host_id: Option<i64> as Nullable<BigInt>,
        netblock: Option<String> as Nullable<Text>,
        name: Option<String> as Nullable<Text>,
    }
);
row!(
    /// Another autonomous system of a host.
    HostPeerAsnRow,
    "SELECT id::bigint AS id, host_id::bigint AS host_id, asn::bigint AS asn, name::text AS name \
     FROM host_peer_asn ORDER BY id",
    {
        id: i64 as BigInt,
        host_id: Option<i64> as Nullable<BigInt>,
        asn: Option<i64> as Nullable<BigInt>,
        name: Option<String> as Nullable<Text>,
    }
);
row!(
    /// A country that a host serves, and no others.
    HostCountryAllowedRow,
    "SELECT id::bigint AS id, host_id::bigint AS host_id, country::text AS country \
     FROM host_country_allowed ORDER BY id",
    {
        id: i64 as BigInt,
        host_id: Option<i64> as Nullable<BigInt>,
        country: Option<String> as Nullable<Text>,
    }
);
row!(
    /// The country of a network.
    NetblockCountryRow,
    "SELECT id::bigint AS id, netblock::text AS netblock, country::text AS country \
     FROM netblock_country ORDER BY id",
    {
        id: i64 as BigInt,
        netblock: Option<String> as Nullable<Text>,
        country: Option<String> as Nullable<Text>,
    }
);
row!(
    /// The continent that a country counts to.
    CountryContinentRedirectRow,
    "SELECT id::bigint AS id, country::text AS country, continent::text AS continent \
     FROM country_continent_redirect ORDER BY id",
    {
        id: i64 as BigInt,
        country: Option<String> as Nullable<Text>,
        continent: Option<String> as Nullable<Text>,
    }
);
row!(
    /// A country under embargo.
    EmbargoedCountryRow,
    "SELECT id::bigint AS id, country_code::text AS country_code FROM embargoed_country ORDER BY id",
    {
        id: i64 as BigInt,
        country_code: Option<String> as Nullable<Text>,
    }
);
row!(
    /// A former name of a repository.
    RepositoryRedirectRow,
    "SELECT id::bigint AS id, from_repo::text AS from_repo, to_repo::text AS to_repo \
     FROM repository_redirect ORDER BY id",
    {
        id: i64 as BigInt,
        from_repo: Option<String> as Nullable<Text>,
        to_repo: Option<String> as Nullable<Text>,
    }
);

/// All that is read of MirrorManager, each table by id.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "the fields are MirrorManager's tables")]
pub struct Rows {
    pub sites: Vec<SiteRow>,
    pub site_admins: Vec<SiteAdminRow>,
    pub hosts: Vec<HostRow>,
    pub categories: Vec<CategoryRow>,
    pub host_categories: Vec<HostCategoryRow>,
    pub host_category_urls: Vec<HostCategoryUrlRow>,
    pub host_netblocks: Vec<HostNetblockRow>,
    pub host_peer_asns: Vec<HostPeerAsnRow>,
    pub host_countries_allowed: Vec<HostCountryAllowedRow>,
    pub netblock_countries: Vec<NetblockCountryRow>,
    pub country_continent_redirects: Vec<CountryContinentRedirectRow>,
    pub embargoed_countries: Vec<EmbargoedCountryRow>,
    pub repository_redirects: Vec<RepositoryRedirectRow>,
}

/// Reads one state of MirrorManager's database over a connection of its own, in a transaction that only reads.
pub fn load(url: &DatabaseUrl) -> Result<Rows, Error> {
    let failed = |reason: String| Error::MirrorManager { database: format!("{url:?}"), reason };
    if let DatabaseUrl::Sqlite(_) = url {
        return Err(failed("it is a PostgreSQL: postgres://USER:PASSWORD@HOST/NAME".to_owned()));
    }
    let mut connection = Connector(url.clone()).connect().map_err(|error| failed(error.to_string()))?;
    connection.read(load_rows).map_err(|error: diesel::result::Error| failed(error.to_string()))
}

fn load_rows(connection: &mut Connection) -> QueryResult<Rows> {
    Ok(Rows {
        sites: SiteRow::load(connection)?,
        site_admins: SiteAdminRow::load(connection)?,
        hosts: HostRow::load(connection)?,
        categories: CategoryRow::load(connection)?,
        host_categories: HostCategoryRow::load(connection)?,
        host_category_urls: HostCategoryUrlRow::load(connection)?,
        host_netblocks: HostNetblockRow::load(connection)?,
        host_peer_asns: HostPeerAsnRow::load(connection)?,
        host_countries_allowed: HostCountryAllowedRow::load(connection)?,
        netblock_countries: NetblockCountryRow::load(connection)?,
        country_continent_redirects: CountryContinentRedirectRow::load(connection)?,
        embargoed_countries: EmbargoedCountryRow::load(connection)?,
        repository_redirects: RepositoryRedirectRow::load(connection)?,
    })
}
