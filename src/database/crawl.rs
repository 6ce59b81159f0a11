//! The tables `crawl` and `holdings`: what the crawler asks, and what it found out.

use std::collections::HashMap;

use diesel::prelude::*;
use jiff::SignedDuration;
use roaring::RoaringBitmap;
use serde::Serialize;

use super::{
    Connection, Part, Sha256, Time,
    host_category::HostCategoryUrl,
    schema::{
        blob, category, category_serial, crawl, holdings, host, host_category, host_category_url, site,
    },
    snapshot::{read_set, write_set},
};
use crate::mirror::{
    CategoryId, CategoryName, CrawlState, HostCategoryId, HostCategoryUrlId, HostId, HostName, Reach, Serial,
};

/// How many crawls of a host are kept, the newest.
pub const CRAWLS_KEPT: i64 = 100;
/// How old, in seconds, holdings that do not change may look before they are confirmed. Each confirmation
/// publishes the holdings anew; answers believe them for 7 days.
const CONFIRM_SECONDS: i64 = 12 * 60 * 60;

/// A host to crawl.
#[derive(Clone, Debug, PartialEq)]
pub struct CrawlHost {
    /// Its row.
    pub id: HostId,
    /// Its name.
    pub name: HostName,
    /// Host or site is private.
    pub private: bool,
    /// How many crawls in a row did not reach it.
    pub failures: i64,
    /// Why the crawler has switched it off, if so.
    pub auto_disabled: Option<String>,
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
}

/// What a host holds of a category.
#[derive(Clone, Debug, PartialEq, Queryable, Selectable, Serialize)]
#[diesel(table_name = holdings)]
pub struct Holdings {
    /// The opt-in.
    pub host_category_id: HostCategoryId,
    /// The serial that the host shows.
    pub serial: Option<Serial>,
    /// What the crawler thinks of it.
    pub state: CrawlState,
    /// Why.
    pub reason: String,
    /// The numbers of its blobs: a roaring bitmap in the portable format.
    #[serde(skip)]
    pub blobs: Vec<u8>,
    /// When a crawl last confirmed the blobs, at most 12 hours behind.
    pub crawled_at: Time,
}

impl Holdings {
    /// The numbers of its blobs; `None` when the bytes are damaged.
    pub fn set(&self) -> Option<RoaringBitmap> {
        RoaringBitmap::deserialize_from(&self.blobs[..]).ok()
    }
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

/// What one crawl of a host found out.
#[derive(Clone, Debug)]
pub struct CrawlResult {
    /// Who was crawled.
    pub host: HostId,
    /// When it began.
    pub started_at: Time,
    /// How long it took.
    pub duration: SignedDuration,
    /// The worst of its categories.
    pub state: CrawlState,
    /// Lines with reasons, for the mirror's admin.
    pub log: String,
    /// Why the host is to be switched off from now on; `None` switches it on again.
    pub auto_disabled: Option<String>,
    /// Of each opt-in that was looked at.
    pub holdings: Vec<CrawlHoldings>,
    /// Of each URL that was tried.
    pub urls: Vec<UrlReach>,
}

/// What was found of one opt-in.
#[derive(Clone, Debug)]
pub struct CrawlHoldings {
    /// The opt-in.
    pub host_category: HostCategoryId,
    /// The serial that the host shows, if it shows one.
    pub serial: Option<Serial>,
    /// What to think of it.
    pub state: CrawlState,
    /// Why.
    pub reason: String,
    /// What it holds; `None` when nothing was found out: what was known before grows older.
    pub blobs: Option<RoaringBitmap>,
}

/// Whether a URL answers.
#[derive(Clone, Debug)]
pub struct UrlReach {
    /// The URL.
    pub url: HostCategoryUrlId,
    /// By IPv4.
    pub ipv4: Reach,
    /// By IPv6.
    pub ipv6: Reach,
    /// Why it does not answer.
    pub reason: Option<String>,
}

/// A crawl in the log.
#[derive(Clone, Debug, PartialEq, Queryable, Selectable, Serialize)]
#[diesel(table_name = crawl)]
pub struct Crawl {
    /// Its row.
    pub id: i64,
    /// Who was crawled.
    pub host_id: HostId,
    /// When it began.
    pub started_at: Time,
    /// How long it took, in milliseconds.
    pub duration_ms: i64,
    /// The worst of its categories.
    pub state: CrawlState,
    /// Lines with reasons.
    pub log: String,
}

/// The hosts to crawl, by name: those that are switched on by admins and operators, with a site that is,
/// and that opted in to something. Those that the crawler switched off are among them: they may be back.
pub fn list_hosts(connection: &mut Connection) -> QueryResult<Vec<CrawlHost>> {
    let mut opt_ins = list_opt_ins(connection)?;
    let rows: Vec<(HostId, HostName, bool, bool, i64, Option<String>)> = host::table
        .inner_join(site::table)
        .filter(host::user_active.and(host::admin_active))
        .filter(site::user_active.and(site::admin_active))
        .select((
            host::id,
            host::name,
            host::private,
            site::private,
            host::crawl_failures,
            host::auto_disabled_reason,
        ))
        .order(host::name)
        .load(connection)?;
    let hosts = rows.into_iter().filter_map(|(id, name, private, site_private, failures, auto_disabled)| {
        let categories = opt_ins.remove(&id)?;
        Some(CrawlHost { id, name, private: private || site_private, failures, auto_disabled, categories })
    });
    Ok(hosts.collect())
}

fn list_opt_ins(connection: &mut Connection) -> QueryResult<HashMap<HostId, Vec<CrawlCategory>>> {
    let mut urls: HashMap<HostCategoryId, Vec<HostCategoryUrl>> = HashMap::new();
    let rows = host_category_url::table.select(HostCategoryUrl::as_select()).order(host_category_url::id);
    for url in rows.load(connection)? {
        urls.entry(url.host_category_id).or_default().push(url);
    }
    let known = holdings::table.select(Holdings::as_select()).load(connection)?;
    let mut known: HashMap<_, _> = known.into_iter().map(|it| (it.host_category_id, it)).collect();
    let rows: Vec<(HostId, HostCategoryId, CategoryId, CategoryName)> = host_category::table
        .inner_join(category::table)
        .filter(category::retired_at.is_null())
        .select((host_category::host_id, host_category::id, category::id, category::name))
        .order(category::name)
        .load(connection)?;
    let mut opt_ins: HashMap<HostId, Vec<CrawlCategory>> = HashMap::new();
    for (host, host_category, category, name) in rows {
        let urls = urls.remove(&host_category).unwrap_or_default();
        let holdings = known.remove(&host_category);
        opt_ins.entry(host).or_default().push(CrawlCategory {
            host_category,
            category,
            name,
            urls,
            holdings,
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

/// The crawls of a host, newest first.
pub fn list(connection: &mut Connection, host: HostId, limit: i64) -> QueryResult<Vec<Crawl>> {
    crawl::table
        .select(Crawl::as_select())
        .filter(crawl::host_id.eq(host))
        .order(crawl::id.desc())
        .limit(limit)
        .load(connection)
}

/// What a host holds of each category it opted in to and that was crawled, by category.
pub fn list_holdings(
    connection: &mut Connection,
    host: HostId,
) -> QueryResult<Vec<(CategoryName, Holdings)>> {
    holdings::table
        .inner_join(host_category::table.inner_join(category::table))
        .filter(host_category::host_id.eq(host))
        .select((category::name, Holdings::as_select()))
        .order(category::name)
        .load(connection)
}

/// Stores a crawl and tells which parts of the snapshot it changed. A host, opt-in or URL that was removed
/// while it was crawled is left out.
pub(super) fn store(connection: &mut Connection, result: &CrawlResult) -> QueryResult<Vec<Part>> {
    let mut parts = Vec::new();
    let Some(switched) = store_host(connection, result)? else { return Ok(parts) };
    let mut reach_changed = false;
    for url in &result.urls {
        reach_changed |= store_reach(connection, url, result.started_at)?;
    }
    if switched || reach_changed {
        parts.push(Part::Hosts);
    }
    let mut published = false;
    for found in &result.holdings {
        published |= store_holdings(connection, found, result.started_at)?;
    }
    if published {
        parts.push(Part::Holdings);
    }
    insert(connection, result)?;
    Ok(parts)
}

/// Was the host switched off or on by it? `None` when there is no such host any more.
fn store_host(connection: &mut Connection, result: &CrawlResult) -> QueryResult<Option<bool>> {
    let row = host::table.find(result.host);
    let known = row.select((host::auto_disabled_reason, host::crawl_failures));
    let Some((reason, failures)) = known.first::<(Option<String>, i64)>(connection).optional()? else {
        return Ok(None);
    };
    let failures = if result.state == CrawlState::Unreachable { failures + 1 } else { 0 };
    diesel::update(row)
        .set((
            host::last_crawled_at.eq(Some(result.started_at)),
            host::last_crawl_ms.eq(Some(milliseconds(result.duration))),
            host::crawl_failures.eq(failures),
        ))
        .execute(connection)?;
    if reason == result.auto_disabled {
        return Ok(Some(false));
    }
    let since = result.auto_disabled.as_ref().map(|_| result.started_at);
    diesel::update(row)
        .set((host::auto_disabled_at.eq(since), host::auto_disabled_reason.eq(&result.auto_disabled)))
        .execute(connection)?;
    Ok(Some(true))
}

/// Does the URL answer otherwise than before?
fn store_reach(connection: &mut Connection, found: &UrlReach, now: Time) -> QueryResult<bool> {
    let row = host_category_url::table.find(found.url);
    let known = row.select((host_category_url::ipv4_reach, host_category_url::ipv6_reach));
    let Some(known) = known.first::<(Reach, Reach)>(connection).optional()? else { return Ok(false) };
    diesel::update(row)
        .set((
            host_category_url::ipv4_reach.eq(found.ipv4),
            host_category_url::ipv6_reach.eq(found.ipv6),
            host_category_url::reach_reason.eq(&found.reason),
            host_category_url::probed_at.eq(Some(now)),
        ))
        .execute(connection)?;
    Ok(known != (found.ipv4, found.ipv6))
}

/// Must the holdings be published: is it another set, or has it not been confirmed for long?
fn store_holdings(connection: &mut Connection, found: &CrawlHoldings, now: Time) -> QueryResult<bool> {
    let opt_in = host_category::table.find(found.host_category).select(host_category::id);
    if opt_in.first::<HostCategoryId>(connection).optional()?.is_none() {
        return Ok(false);
    }
    let row = holdings::table.find(found.host_category);
    let known = row.select((holdings::blobs, holdings::crawled_at));
    let known = known.first::<(Vec<u8>, Time)>(connection).optional()?;
    let Some((known_blobs, crawled_at)) = known else {
        diesel::insert_into(holdings::table)
            .values((
                holdings::host_category_id.eq(found.host_category),
                holdings::serial.eq(found.serial),
                holdings::state.eq(found.state),
                holdings::reason.eq(&found.reason),
                holdings::blobs.eq(write_set(found.blobs.clone().unwrap_or_default())),
                holdings::crawled_at.eq(now),
            ))
            .execute(connection)?;
        return Ok(true);
    };
    diesel::update(row)
        .set((
            holdings::serial.eq(found.serial),
            holdings::state.eq(found.state),
            holdings::reason.eq(&found.reason),
        ))
        .execute(connection)?;
    let Some(blobs) = found.blobs.clone().map(write_set) else { return Ok(false) };
    let publish = blobs != known_blobs || now.unix_seconds() - crawled_at.unix_seconds() >= CONFIRM_SECONDS;
    if publish {
        let confirmed = (holdings::blobs.eq(blobs), holdings::crawled_at.eq(now));
        diesel::update(row).set(confirmed).execute(connection)?;
    }
    Ok(publish)
}

fn insert(connection: &mut Connection, result: &CrawlResult) -> QueryResult<()> {
    diesel::insert_into(crawl::table)
        .values((
            crawl::host_id.eq(result.host),
            crawl::started_at.eq(result.started_at),
            crawl::duration_ms.eq(milliseconds(result.duration)),
            crawl::state.eq(result.state),
            crawl::log.eq(&result.log),
        ))
        .execute(connection)?;
    let crawls = crawl::table.filter(crawl::host_id.eq(result.host));
    let newest = crawls.select(crawl::id).order(crawl::id.desc());
    let first_forgotten: Option<i64> = newest.offset(CRAWLS_KEPT).first(connection).optional()?;
    if let Some(first) = first_forgotten {
        diesel::delete(crawls.filter(crawl::id.le(first))).execute(connection)?;
    }
    Ok(())
}

fn milliseconds(duration: SignedDuration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
