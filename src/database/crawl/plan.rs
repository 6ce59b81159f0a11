//! What the crawler asks: the hosts to crawl, and the categories to compare them with.

use std::collections::HashMap;

use diesel::prelude::*;
use roaring::RoaringBitmap;

use super::{
    Holdings,
    checks::{self, Cycle, HostUse, Repair, UrlFacts},
};
use crate::database::{
    Connection, Sha256, demand,
    host_category::HostCategoryUrl,
    schema::{
        blob, category, category_serial, holdings, host, host_category, host_category_rsync,
        host_category_url, site,
    },
    snapshot::read_set,
};
use crate::mirror::{
    CategoryId, CategoryName, Country, HostCategoryId, HostCategoryUrlId, HostId, HostKind, HostName,
    RsyncUrl, Serial,
};

/// A host to crawl.
#[derive(Clone, Debug, PartialEq)]
pub struct CrawlHost {
    /// Its row.
    pub id: HostId,
    /// Its name.
    pub name: HostName,
    /// Where it stands.
    pub country: Option<Country>,
    /// How it comes to have content.
    pub kind: HostKind,
    /// Host or site is private.
    pub private: bool,
    /// How many crawls in a row did not reach it.
    pub failures: i64,
    /// Why the crawler has switched it off, if so.
    pub auto_disabled: Option<String>,
    /// What was asked of it on the last day that anything was.
    pub used: Option<HostUse>,
    /// What it opted in to and is not retired, by name.
    pub categories: Vec<CrawlCategory>,
}

/// An opt-in to crawl.
#[derive(Clone, Debug, PartialEq)]
pub struct CrawlCategory {
    /// The opt-in.
    pub host_category: HostCategoryId,
    /// To what.
    pub category: CategoryId,
    /// To what.
    pub name: CategoryName,
    /// Where, oldest first.
    pub urls: Vec<HostCategoryUrl>,
    /// What the last crawl found; `None` when there was none.
    pub holdings: Option<Holdings>,
    /// Which files the crawls before have looked at; `None` when there was none, or under other URLs.
    pub cycle: Option<Cycle>,
    /// What the crawls before found to be repaired.
    pub repair: Vec<Repair>,
    /// What is known of its URLs.
    pub facts: HashMap<HostCategoryUrlId, UrlFacts>,
    /// Where its files may be listed.
    pub rsync_url: Option<RsyncUrl>,
    /// The numbers of the blobs that clients asked for lately, of any category.
    pub demanded: RoaringBitmap,
}

/// A category as the crawler compares hosts with it.
#[derive(Clone, Debug, PartialEq)]
pub struct CategoryTruth {
    /// Its published states, newest first; the first is the one that hosts should have.
    pub states: Vec<CategoryState>,
    /// All blobs of the newest state, newest (highest number) first.
    pub blobs: Vec<CrawlBlob>,
}

/// A published state of a category.
#[derive(Clone, Debug, PartialEq)]
pub struct CategoryState {
    /// Grows with each.
    pub serial: Serial,
    /// The hash of its inventory.
    pub inventory_digest: Sha256,
    /// The numbers of its blobs.
    pub blobs: RoaringBitmap,
}

/// A blob that a host should have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CrawlBlob {
    /// Its place in bitmaps.
    pub number: u32,
    /// Its name.
    pub digest: Sha256,
    /// In bytes.
    pub size: u64,
}

/// What a crawl of these hosts needs to know, by name. Whether they are to be crawled, [`lease::take`] says.
///
/// [`lease::take`]: crate::database::lease::take
pub fn list_hosts(connection: &mut Connection, only: &[HostId]) -> QueryResult<Vec<CrawlHost>> {
    let mut opt_ins = list_opt_ins(connection, only)?;
    let mut uses = checks::list_uses(connection, only)?;
    type Row = (HostId, HostName, Option<Country>, HostKind, bool, bool, i64, Option<String>);
    let rows: Vec<Row> = host::table
        .inner_join(site::table)
        .filter(host::id.eq_any(only))
        .select((
            host::id,
            host::name,
            host::country,
            host::kind,
            host::private,
            site::private,
            host::crawl_failures,
            host::auto_disabled_reason,
        ))
        .order(host::name)
        .load(connection)?;
    let crawl_host = |(id, name, country, kind, private, site_private, failures, auto_disabled): Row| {
        let (categories, private) = (opt_ins.remove(&id)?, private || site_private);
        let used = uses.remove(&id);
        Some(CrawlHost { id, name, country, kind, private, failures, auto_disabled, used, categories })
    };
    let hosts = rows.into_iter().filter_map(crawl_host);
    Ok(hosts.collect())
}

fn list_opt_ins(
    connection: &mut Connection,
    only: &[HostId],
) -> QueryResult<HashMap<HostId, Vec<CrawlCategory>>> {
    let rows: Vec<(HostId, HostCategoryId, CategoryId, CategoryName)> = host_category::table
        .inner_join(category::table)
        .filter(category::retired_at.is_null())
        .filter(host_category::host_id.eq_any(only))
        .select((host_category::host_id, host_category::id, category::id, category::name))
        .order(category::name)
        .load(connection)?;
    let ids: Vec<HostCategoryId> = rows.iter().map(|it| it.1).collect();
    let mut urls: HashMap<HostCategoryId, Vec<HostCategoryUrl>> = HashMap::new();
    let of_these = host_category_url::table.filter(host_category_url::host_category_id.eq_any(&ids));
    let of_these = of_these.select(HostCategoryUrl::as_select()).order(host_category_url::id);
    let mut url_ids: Vec<HostCategoryUrlId> = Vec::new();
    for url in of_these.load(connection)? {
        url_ids.push(url.id);
        urls.entry(url.host_category_id).or_default().push(url);
    }
    let demanded = demand::list(connection)?;
    let mut cycles = checks::list_cycles(connection, &ids)?;
    let mut repairs = checks::list_repairs(connection, &ids)?;
    let mut facts = checks::list_facts(connection, &url_ids)?;
    let rsync_urls: Vec<(HostCategoryId, RsyncUrl)> = host_category_rsync::table
        .filter(host_category_rsync::host_category_id.eq_any(&ids))
        .select((host_category_rsync::host_category_id, host_category_rsync::url))
        .load(connection)?;
    let mut rsync_urls: HashMap<HostCategoryId, RsyncUrl> = rsync_urls.into_iter().collect();
    let known = holdings::table.filter(holdings::host_category_id.eq_any(&ids));
    let known = known.select(Holdings::as_select()).load(connection)?;
    let mut known: HashMap<_, _> = known.into_iter().map(|it| (it.host_category_id, it)).collect();
    let mut opt_ins: HashMap<HostId, Vec<CrawlCategory>> = HashMap::new();
    for (host, host_category, category, name) in rows {
        let urls = urls.remove(&host_category).unwrap_or_default();
        let is_new = urls.iter().any(|it| it.probed_at.is_none());
        opt_ins.entry(host).or_default().push(CrawlCategory {
            host_category,
            category,
            name,
            holdings: known.remove(&host_category),
            cycle: cycles.remove(&host_category).filter(|_| !is_new),
            repair: repairs.remove(&host_category).unwrap_or_default(),
            facts: urls.iter().filter_map(|it| Some((it.id, facts.remove(&it.id)?))).collect(),
            rsync_url: rsync_urls.remove(&host_category),
            demanded: demanded.clone(),
            urls,
        });
    }
    Ok(opt_ins)
}

/// What a category has and had; no states when it is retired or unknown.
pub fn load_category(connection: &mut Connection, id: CategoryId) -> QueryResult<CategoryTruth> {
    let rows: Vec<(Serial, Sha256, Vec<u8>)> = category_serial::table
        .filter(category_serial::category_id.eq(id))
        .select((category_serial::serial, category_serial::inventory_digest, category_serial::blobs))
        .order(category_serial::id.desc())
        .load(connection)?;
    let state = |(serial, inventory_digest, blobs): (Serial, Sha256, Vec<u8>)| {
        Ok(CategoryState { serial, inventory_digest, blobs: read_set(&blobs)? })
    };
    let states = rows.into_iter().map(state).collect::<QueryResult<Vec<_>>>()?;
    let Some(newest) = states.first() else { return Ok(CategoryTruth { states, blobs: Vec::new() }) };
    let all: Vec<(i64, Sha256, i64)> =
        blob::table.select((blob::id, blob::digest, blob::size)).order(blob::id.desc()).load(connection)?;
    let blobs = all.into_iter().filter_map(|(number, digest, size)| {
        let number = u32::try_from(number).ok().filter(|it| newest.blobs.contains(*it))?;
        Some(CrawlBlob { number, digest, size: u64::try_from(size).unwrap_or(0) })
    });
    let blobs = blobs.collect();
    Ok(CategoryTruth { states, blobs })
}
