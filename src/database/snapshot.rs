//! Loads the three parts of the snapshot, each to be called in one [`super::Database::read`].

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash as Key;

use diesel::prelude::*;
use roaring::RoaringBitmap;

use super::{
    BATCH_ROWS, Connection, Sha256, Time, country, generation,
    host::Host,
    host_category::{HostCategory, HostCategoryUrl},
    schema::{
        blob, body, category, category_repository, category_serial, holdings, host, host_category,
        host_category_url, host_country_allowed, host_netblock, host_peer_asn, manifest, referrer,
        repository, site, tag,
    },
    site::Site,
};
use crate::{
    mirror::{Asn, Bandwidth, CategoryId, Country, HostCategoryId, HostId, Netblock, Serial},
    mirrorlist::rows::{
        BlobKind, BlobRow, CategoryRow, ContentRows, Hash, HoldingRow, HoldingRows, HostCategoryRow, HostRow,
        HostRows, HostUrlRow, ReferrerRow, RepositoryRow,
    },
    oci::MediaType,
};

/// Repositories, tags, manifests, blobs and categories.
pub fn load_content(connection: &mut Connection) -> QueryResult<ContentRows> {
    Ok(ContentRows {
        generation: generation::load(connection)?.content,
        blobs: load_blobs(connection)?,
        repositories: load_repositories(connection)?,
        referrers: load_referrers(connection)?,
        categories: load_categories(connection)?,
    })
}

fn load_blobs(connection: &mut Connection) -> QueryResult<Vec<BlobRow>> {
    let rows: Vec<(Sha256, i64, i64, Option<MediaType>)> = blob::table
        .left_join(manifest::table)
        .select((blob::digest, blob::id, blob::size, manifest::media_type.nullable()))
        .load(connection)?;
    let row = |(digest, number, size, media_type): (Sha256, i64, i64, Option<MediaType>)| {
        let kind = match media_type {
            None => BlobKind::Blob,
            Some(MediaType::OciManifest) => BlobKind::OciManifest,
            Some(MediaType::OciIndex) => BlobKind::OciIndex,
            Some(MediaType::DockerManifest) => BlobKind::DockerManifest,
            Some(MediaType::DockerList) => BlobKind::DockerList,
        };
        Ok(BlobRow { digest: digest.0, number: whole(number)?, size: whole(size)?, kind })
    };
    rows.into_iter().map(row).collect()
}

/// Where two categories give one tag two manifests, the newer category decides.
fn load_repositories(connection: &mut Connection) -> QueryResult<Vec<RepositoryRow>> {
    let names: Vec<String> = repository::table.select(repository::name).load(connection)?;
    let mut tags: BTreeMap<String, BTreeMap<String, Hash>> =
        names.into_iter().map(|it| (it, BTreeMap::new())).collect();
    let rows: Vec<(String, String, Sha256)> = tag::table
        .inner_join(category_repository::table.inner_join(category::table).inner_join(repository::table))
        .inner_join(blob::table.on(blob::id.eq(tag::manifest_id)))
        .filter(category::retired_at.is_null())
        .select((repository::name, tag::name, blob::digest))
        .order((category::serial, category::id))
        .load(connection)?;
    for (name, tag, digest) in rows {
        tags.entry(name).or_default().insert(tag, digest.0);
    }
    let row =
        |(name, tags): (String, BTreeMap<_, _>)| RepositoryRow { name, tags: tags.into_iter().collect() };
    Ok(tags.into_iter().map(row).collect())
}

fn load_referrers(connection: &mut Connection) -> QueryResult<Vec<ReferrerRow>> {
    let rows: Vec<(Sha256, Option<String>, String)> = referrer::table
        .select((referrer::subject, referrer::artifact_type, referrer::descriptor))
        .order(referrer::id)
        .load(connection)?;
    let row = |(subject, artifact_type, descriptor): (Sha256, _, _)| ReferrerRow {
        subject: subject.0,
        artifact_type,
        descriptor,
    };
    Ok(rows.into_iter().map(row).collect())
}

fn load_categories(connection: &mut Connection) -> QueryResult<Vec<CategoryRow>> {
    let rows: Vec<(CategoryId, String, Serial, Vec<u8>)> = category::table
        .inner_join(category_serial::table)
        .filter(category::retired_at.is_null())
        .filter(category_serial::serial.eq(category::serial))
        .select((category::id, category::name, category::serial, category_serial::blobs))
        .order(category::name)
        .load(connection)?;
    let row = |(id, name, serial, blobs)| CategoryRow { id, name, serial, blobs };
    Ok(rows.into_iter().map(row).collect())
}

/// Which host holds what. Hosts that hold the same share one set.
pub fn load_holdings(connection: &mut Connection) -> QueryResult<HoldingRows> {
    let generation = generation::load(connection)?.holdings;
    let rows: Vec<(HostCategoryId, Vec<u8>, Time)> = holdings::table
        .select((holdings::host_category_id, holdings::blobs, holdings::crawled_at))
        .order(holdings::host_category_id)
        .load(connection)?;
    let mut places: HashMap<Vec<u8>, u32> = HashMap::new();
    let mut sets = Vec::new();
    let mut all = Vec::with_capacity(rows.len());
    for (host_category, blobs, crawled_at) in rows {
        let set = match places.get(&blobs) {
            Some(place) => *place,
            None => {
                let place: u32 = whole(sets.len())?;
                sets.push(blobs.clone());
                places.insert(blobs, place);
                place
            }
        };
        all.push(HoldingRow { host_category, set, crawled_at: crawled_at.unix_seconds() });
    }
    Ok(HoldingRows { generation, sets, holdings: all })
}

/// All hosts with all that ranking asks of them, and what is known of places.
pub fn load_hosts(connection: &mut Connection) -> QueryResult<HostRows> {
    let mut netblocks: HashMap<HostId, Vec<Netblock>> = grouped(
        host_netblock::table
            .select((host_netblock::host_id, host_netblock::netblock))
            .order(host_netblock::id)
            .load(connection)?,
    );
    let mut peers: HashMap<HostId, Vec<Asn>> = grouped(
        host_peer_asn::table
            .select((host_peer_asn::host_id, host_peer_asn::asn))
            .order(host_peer_asn::asn)
            .load(connection)?,
    );
    let mut countries: HashMap<HostId, Vec<Country>> = grouped(
        host_country_allowed::table
            .select((host_country_allowed::host_id, host_country_allowed::country))
            .order(host_country_allowed::country)
            .load(connection)?,
    );
    let mut categories = load_opt_ins(connection)?;
    let hosts: Vec<(Host, Site)> = host::table
        .inner_join(site::table)
        .select((Host::as_select(), Site::as_select()))
        .order(host::id)
        .load(connection)?;
    let hosts = hosts.into_iter().map(|(host, site)| HostRow {
        netblocks: take(&mut netblocks, host.id).iter().map(Netblock::to_string).collect(),
        peer_asns: take(&mut peers, host.id).into_iter().map(Asn::number).collect(),
        countries_allowed: take(&mut countries, host.id),
        categories: take(&mut categories, host.id),
        ..host_row(host, site)
    });
    let hosts = hosts.collect();
    let netblock_countries = country::list_netblock_countries(connection)?;
    Ok(HostRows {
        generation: generation::load(connection)?.hosts,
        hosts,
        netblock_countries: netblock_countries
            .into_iter()
            .map(|(it, country)| (it.to_string(), country))
            .collect(),
        continent_redirects: country::list_continent_redirects(connection)?,
    })
}

fn host_row(host: Host, site: Site) -> HostRow {
    HostRow {
        place: host.place(),
        id: host.id,
        name: host.name.into(),
        site: site.id,
        site_name: site.name.into(),
        country: host.country,
        asn: host.asn.map(Asn::number),
        asn_clients: host.asn_clients,
        bandwidth: host.bandwidth.map(Bandwidth::megabits),
        private: host.private || site.private,
        user_active: host.user_active && site.user_active,
        admin_active: host.admin_active && site.admin_active,
        auto_disabled: host
            .auto_disabled_at
            .map(|_| host.auto_disabled_reason.unwrap_or_else(|| "no reason was given".to_owned())),
        drained: host.drained,
        netblocks: Vec::new(),
        peer_asns: Vec::new(),
        countries_allowed: Vec::new(),
        categories: Vec::new(),
    }
}

fn load_opt_ins(connection: &mut Connection) -> QueryResult<HashMap<HostId, Vec<HostCategoryRow>>> {
    let rows = host_category_url::table.select(HostCategoryUrl::as_select()).order(host_category_url::id);
    let rows = rows.load(connection)?.into_iter().map(|it| {
        let (scheme, url) = (it.url.scheme(), it.url.into());
        let row = HostUrlRow { id: it.id, url, scheme, ipv4: it.ipv4_reach, ipv6: it.ipv6_reach };
        (it.host_category_id, row)
    });
    let mut urls = grouped(rows.collect());
    let rows = host_category::table.select(HostCategory::as_select()).order(host_category::category_id);
    let rows = rows.load(connection)?.into_iter().map(|it| {
        (it.host_id, HostCategoryRow { id: it.id, category: it.category_id, urls: take(&mut urls, it.id) })
    });
    Ok(grouped(rows.collect()))
}

/// The bodies of those of these blobs that have one in the database.
pub fn load_bodies(connection: &mut Connection, digests: &[Hash]) -> QueryResult<Vec<(Hash, Vec<u8>)>> {
    let mut bodies = Vec::with_capacity(digests.len());
    for some in digests.chunks(BATCH_ROWS) {
        let rows: Vec<(Sha256, Vec<u8>)> = body::table
            .inner_join(blob::table)
            .filter(blob::digest.eq_any(some.iter().map(|it| Sha256(*it))))
            .select((blob::digest, body::bytes))
            .load(connection)?;
        bodies.extend(rows.into_iter().map(|(digest, bytes)| (digest.0, bytes)));
    }
    Ok(bodies)
}

/// The digests of all blobs that have a body in the database.
pub fn list_bodies(connection: &mut Connection) -> QueryResult<Vec<Hash>> {
    let rows: Vec<Sha256> = body::table.inner_join(blob::table).select(blob::digest).load(connection)?;
    Ok(rows.into_iter().map(|it| it.0).collect())
}

/// A roaring bitmap in the portable format; equal sets give equal bytes.
pub(super) fn write_set(mut set: RoaringBitmap) -> Vec<u8> {
    set.optimize();
    let mut bytes = Vec::with_capacity(set.serialized_size());
    set.serialize_into(&mut bytes).expect("memory can be written to");
    bytes
}

/// Reads what [`write_set`] wrote.
pub(super) fn read_set(bytes: &[u8]) -> QueryResult<RoaringBitmap> {
    RoaringBitmap::deserialize_from(bytes)
        .map_err(|error| diesel::result::Error::DeserializationError(Box::new(error)))
}

/// A number that is in range unless someone wrote other numbers into the database by hand.
fn whole<From, To: TryFrom<From>>(number: From) -> QueryResult<To>
where
    To::Error: std::error::Error + Send + Sync + 'static,
{
    To::try_from(number).map_err(|error| diesel::result::Error::DeserializationError(Box::new(error)))
}

fn grouped<K: Key + Eq, V>(rows: Vec<(K, V)>) -> HashMap<K, Vec<V>> {
    let mut groups: HashMap<K, Vec<V>> = HashMap::new();
    for (key, value) in rows {
        groups.entry(key).or_default().push(value);
    }
    groups
}

fn take<K: Key + Eq, V>(groups: &mut HashMap<K, Vec<V>>, key: K) -> Vec<V> {
    groups.remove(&key).unwrap_or_default()
}
