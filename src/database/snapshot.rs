//! Loads the three parts of the snapshot, each to be called in one [`super::Database::read`].

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::Hash as Key;

use diesel::prelude::*;
use roaring::RoaringBitmap;

use super::{
    BATCH_ROWS, Connection, Sha256, Time, country, experience, generation,
    host::Host,
    host_category::{HostCategory, HostCategoryUrl},
    repository_alias::{self, RepositoryAlias},
    schema::{
        blob, body, category, category_repository, category_serial, holdings, host, host_category,
        host_category_url, host_country_allowed, host_country_denied, host_netblock, host_peer_asn, manifest,
        manifest_blob, pieces, referrer, repository, site, tag,
    },
    site::Site,
    traffic, withdrawal,
};
use crate::{
    mirror::{Asn, Bandwidth, Bytes, CategoryId, Country, HostCategoryId, HostId, Netblock, Percent, Serial},
    mirrorlist::load::ALL,
    mirrorlist::rows::{
        AliasRow, BlobKind, BlobRow, CategoryRow, ContentRows, Hash, HoldingRow, HoldingRows,
        HostCategoryRow, HostRow, HostRows, HostUrlRow, MovedTagRow, ReferrerRow, RepositoryRow,
        WithdrawnRow,
    },
    oci::MediaType,
};

/// Repositories, tags, manifests, blobs and categories.
pub fn load_content(connection: &mut Connection) -> QueryResult<ContentRows> {
    let tags = load_tags(connection)?;
    Ok(ContentRows {
        generation: generation::load(connection)?.content,
        blobs: load_blobs(connection)?,
        moved_tags: load_moved_tags(connection, &tags)?,
        repositories: repositories(tags),
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

/// The tags of each repository.
type Tags = BTreeMap<String, BTreeMap<String, TagRow>>;

/// A tag of one category.
#[derive(Queryable)]
struct TagRow {
    digest: Sha256,
    category: CategoryId,
    manifest: i64,
    former: Option<i64>,
    updated_at: Time,
}

/// Where two categories give one tag two manifests, the newer category decides.
fn load_tags(connection: &mut Connection) -> QueryResult<Tags> {
    let names: Vec<String> = repository::table.select(repository::name).load(connection)?;
    let mut tags: Tags = names.into_iter().map(|it| (it, BTreeMap::new())).collect();
    let row = (blob::digest, category::id, tag::manifest_id, tag::former_manifest_id, tag::updated_at);
    let rows: Vec<(String, String, TagRow)> = tag::table
        .inner_join(category_repository::table.inner_join(category::table).inner_join(repository::table))
        .inner_join(blob::table.on(blob::id.eq(tag::manifest_id)))
        .filter(category::retired_at.is_null())
        .select((repository::name, tag::name, row))
        .order((category::serial, category::id))
        .load(connection)?;
    for (name, tag, row) in rows {
        tags.entry(name).or_default().insert(tag, row);
    }
    Ok(tags)
}

fn repositories(tags: Tags) -> Vec<RepositoryRow> {
    let tag = |(name, row): (String, TagRow)| (name, row.digest.0);
    let row = |(name, tags): (String, BTreeMap<_, _>)| RepositoryRow {
        name,
        tags: tags.into_iter().map(tag).collect(),
    };
    tags.into_iter().map(row).collect()
}

/// The tags that moved, with what the new manifest brought.
fn load_moved_tags(connection: &mut Connection, tags: &Tags) -> QueryResult<Vec<MovedTagRow>> {
    let all = tags.iter().flat_map(|(name, tags)| tags.iter().map(move |(tag, row)| (name, tag, row)));
    let moved: Vec<_> = all.filter_map(|(name, tag, row)| Some((name, tag, row, row.former?))).collect();
    let roots: BTreeSet<i64> = moved.iter().flat_map(|(_, _, row, former)| [row.manifest, *former]).collect();
    let children = load_children(connection, &roots)?;
    let digests = load_digests(connection, moved.iter().map(|it| it.3).collect())?;
    let mut rows = Vec::with_capacity(moved.len());
    for (repository, tag, row, former) in moved {
        let Some(digest) = digests.get(&former) else { continue };
        rows.push(MovedTagRow {
            repository: repository.clone(),
            tag: tag.clone(),
            former: digest.0,
            moved_at: row.updated_at.unix_seconds(),
            category: row.category,
            new_blobs: write_set(closure(&children, row.manifest)? - closure(&children, former)?),
        });
    }
    Ok(rows)
}

/// What these manifests name, and what these name in turn, as far as it is in the tree.
fn load_children(connection: &mut Connection, roots: &BTreeSet<i64>) -> QueryResult<HashMap<i64, Vec<i64>>> {
    let mut children: HashMap<i64, Vec<i64>> = HashMap::new();
    let mut seen: HashSet<i64> = roots.iter().copied().collect();
    let mut open: Vec<i64> = roots.iter().copied().collect();
    while !open.is_empty() {
        let mut next = Vec::new();
        for some in open.chunks(BATCH_ROWS) {
            let rows: Vec<(i64, i64)> = manifest_blob::table
                .filter(manifest_blob::manifest_id.eq_any(some))
                .select((manifest_blob::manifest_id, manifest_blob::blob_id))
                .load(connection)?;
            for (parent, child) in rows {
                children.entry(parent).or_default().push(child);
                if seen.insert(child) {
                    next.push(child);
                }
            }
        }
        open = next;
    }
    Ok(children)
}

fn load_digests(connection: &mut Connection, ids: Vec<i64>) -> QueryResult<HashMap<i64, Sha256>> {
    let mut digests = HashMap::with_capacity(ids.len());
    for some in ids.chunks(BATCH_ROWS) {
        let rows = blob::table.filter(blob::id.eq_any(some)).select((blob::id, blob::digest));
        digests.extend(rows.load::<(i64, Sha256)>(connection)?);
    }
    Ok(digests)
}

/// The numbers of a manifest and of all that it leads to.
fn closure(children: &HashMap<i64, Vec<i64>>, root: i64) -> QueryResult<RoaringBitmap> {
    let mut found = RoaringBitmap::new();
    let mut open = vec![root];
    while let Some(id) = open.pop() {
        if found.insert(whole(id)?) {
            open.extend(children.get(&id).into_iter().flatten());
        }
    }
    Ok(found)
}

fn load_referrers(connection: &mut Connection) -> QueryResult<Vec<ReferrerRow>> {
    let rows: Vec<(Sha256, Sha256, Option<String>, String)> = referrer::table
        .inner_join(blob::table.on(blob::id.eq(referrer::manifest_id)))
        .select((referrer::subject, blob::digest, referrer::artifact_type, referrer::descriptor))
        .order(referrer::id)
        .load(connection)?;
    let row = |(subject, manifest, artifact_type, descriptor): (Sha256, Sha256, _, _)| ReferrerRow {
        subject: subject.0,
        manifest: manifest.0,
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
    let mut denied: HashMap<HostId, Vec<Country>> = grouped(
        host_country_denied::table
            .select((host_country_denied::host_id, host_country_denied::country))
            .order(host_country_denied::country)
            .load(connection)?,
    );
    let mut demoted = grouped(experience::list_demoted_regions(connection)?);
    let kept = traffic::list_kept(connection)?;
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
        countries_denied: take(&mut denied, host.id),
        categories: take(&mut categories, host.id),
        demoted: take(&mut demoted, host.id),
        kept: kept.get(&host.id).copied().unwrap_or(ALL),
        ..host_row(host, site)
    });
    let hosts = hosts.collect();
    let withdrawn = withdrawal::list(connection)?.into_iter();
    let aliases = repository_alias::list(connection)?.into_iter();
    let netblock_countries = country::list_netblock_countries(connection)?;
    Ok(HostRows {
        generation: generation::load(connection)?.hosts,
        hosts,
        netblock_countries: netblock_countries
            .into_iter()
            .map(|(it, country)| (it.to_string(), country))
            .collect(),
        continent_redirects: country::list_continent_redirects(connection)?,
        withdrawn: withdrawn.map(|it| WithdrawnRow { digest: it.digest.0, legal: it.legal }).collect(),
        embargoed: country::list_embargoed(connection)?,
        aliases: aliases.map(alias_row).collect(),
    })
}

fn alias_row(alias: RepositoryAlias) -> AliasRow {
    AliasRow {
        alias: alias.alias.to_string(),
        repository: alias.repository.to_string(),
        expires_at: alias.expires_at.map(Time::unix_seconds),
    }
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
        countries_denied: Vec::new(),
        kind: host.kind,
        client_share: host.client_share.map_or(100, Percent::number),
        daily_bytes: host.daily_bytes.map(Bytes::number),
        max_file_size: host.max_file_size.map(Bytes::number),
        clean_since: host.last_lied_at.map_or(host.created_at, |it| it.max(host.created_at)).unix_seconds(),
        kept: ALL,
        demoted: Vec::new(),
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
        let HostCategory { id, host_id, category_id: category, drained, .. } = it;
        (host_id, HostCategoryRow { id, category, drained, urls: take(&mut urls, id) })
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

/// The pieces of those of these blobs that have any in the database, as they were stored.
pub fn load_pieces(connection: &mut Connection, digests: &[Hash]) -> QueryResult<Vec<(Hash, Vec<u8>)>> {
    let mut all = Vec::with_capacity(digests.len());
    for some in digests.chunks(BATCH_ROWS) {
        let rows: Vec<(Sha256, Vec<u8>)> = pieces::table
            .inner_join(blob::table)
            .filter(blob::digest.eq_any(some.iter().map(|it| Sha256(*it))))
            .select((blob::digest, pieces::bytes))
            .load(connection)?;
        all.extend(rows.into_iter().map(|(digest, bytes)| (digest.0, bytes)));
    }
    Ok(all)
}

/// The digests of all blobs that have pieces in the database.
pub fn list_pieces(connection: &mut Connection) -> QueryResult<Vec<Hash>> {
    let rows: Vec<Sha256> = pieces::table.inner_join(blob::table).select(blob::digest).load(connection)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::{
        Part,
        host::{self, HostChange},
        host_category::opt_in,
        host_country, host_netblock,
        host_peer_asn::{self, HostPeerAsn},
        site::SiteChange,
        testing::*,
    };
    use crate::mirror::{HostKind, Reach, Scheme};

    #[test]
    fn a_host_is_loaded_with_all_that_belongs_to_it() {
        on_both(|database| {
            let (host, category) = (add_host(database, "m1"), add_category(database, "fedora", 1));
            let fill = |it: &mut Connection| {
                host_netblock::insert(it, host.id, &"192.0.2.0/24".parse().unwrap(), "")?;
                let peer =
                    HostPeerAsn { host_id: host.id, asn: "64501".parse().unwrap(), name: String::new() };
                host_peer_asn::insert(it, &peer)?;
                host_country::allowed::replace(it, host.id, &["DE".parse().unwrap()])?;
                host_country::denied::replace(it, host.id, &["FR".parse().unwrap()])?;
                let change = HostChange {
                    kind: Some(HostKind::PullThrough),
                    client_share: Some("20".parse().ok()),
                    daily_bytes: Some("1T".parse().ok()),
                    max_file_size: Some("1G".parse().ok()),
                    ..HostChange::default()
                };
                host::update(it, host.id, &change)?;
                country::set_netblock_country(
                    it,
                    &"198.51.100.0/24".parse().unwrap(),
                    "FR".parse().unwrap(),
                )?;
                country::set_continent_redirect(it, "TR".parse().unwrap(), "EU".parse().unwrap())?;
                opt_in(it, host.id, category, &["https://m1/fedora".parse().unwrap()], now())
            };
            let opt_in = database.write(Part::Hosts, fill).unwrap();
            let rows = database.read(load_hosts).unwrap();
            assert_eq!(rows.generation, database.generations().unwrap().hosts);
            assert_eq!(rows.netblock_countries, [("198.51.100.0/24".to_owned(), "FR".parse().unwrap())]);
            assert_eq!(rows.continent_redirects, [("TR".parse().unwrap(), "EU".parse().unwrap())]);
            let row = &rows.hosts[0];
            let url = HostUrlRow {
                id: row.categories[0].urls[0].id,
                url: "https://m1/fedora".into(),
                scheme: Scheme::Https,
                ipv4: Reach::Unknown,
                ipv6: Reach::Unknown,
            };
            let expected = HostRow {
                id: host.id,
                name: "m1".into(),
                site: host.site_id,
                site_name: "site of m1".into(),
                country: "DE".parse().ok(),
                place: "52.5,13.4".parse().ok(),
                asn: Some(64500),
                asn_clients: true,
                peer_asns: vec![64501],
                bandwidth: Some(1000),
                private: false,
                user_active: true,
                admin_active: true,
                auto_disabled: None,
                drained: false,
                netblocks: vec!["192.0.2.0/24".into()],
                countries_allowed: vec!["DE".parse().unwrap()],
                countries_denied: vec!["FR".parse().unwrap()],
                kind: HostKind::PullThrough,
                client_share: 20,
                daily_bytes: Some(1 << 40),
                max_file_size: Some(1 << 30),
                clean_since: now().unix_seconds(),
                kept: ALL,
                demoted: Vec::new(),
                categories: vec![HostCategoryRow {
                    id: opt_in.id,
                    category,
                    drained: false,
                    urls: vec![url],
                }],
            };
            assert_eq!(*row, expected);
        });
    }

    #[test]
    fn a_site_speaks_for_its_hosts() {
        on_both(|database| {
            let host = add_host(database, "m1");
            let states = || {
                let row = database.read(load_hosts).unwrap().hosts.remove(0);
                (row.private, row.user_active, row.admin_active, row.auto_disabled)
            };
            let change =
                SiteChange { private: Some(true), user_active: Some(false), ..SiteChange::default() };
            database
                .write(Part::Hosts, |it| crate::database::site::update(it, host.site_id, &change))
                .unwrap();
            assert_eq!(states(), (true, false, true, None));
            let off = HostChange {
                admin_active: Some(false),
                auto_disabled_at: Some(Some(now())),
                auto_disabled_reason: Some(Some("away".into())),
                ..HostChange::default()
            };
            database.write(Part::Hosts, |it| crate::database::host::update(it, host.id, &off)).unwrap();
            assert_eq!(states(), (true, false, false, Some("away".into())));
        });
    }
}
