//! What one crawl leaves for the next one and for the host's admin: the tables `host_use`, `crawl_cycle`,
//! `repair` and `url_facts`.

use std::collections::HashMap;

use diesel::prelude::*;
use roaring::RoaringBitmap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::database::{
    Connection, Sha256, Time,
    schema::{blob, crawl_cycle, host_category, host_category_url, host_use, repair, url_facts},
    snapshot::{read_set, write_set},
};
use crate::mirror::{FileFault, HostCategoryId, HostCategoryUrlId, HostId, MultiRange, Serial};

/// So many days before its end a certificate is worth a word: who renews them by a program does that earlier.
const CERTIFICATE_DAYS: i64 = 14;

/// How many files of one opt-in are kept in its repair list, the newest.
const REPAIR_LIMIT: usize = 1_000;

/// What one crawl leaves behind, beside what hosts hold.
#[derive(Clone, Debug, Default)]
pub struct Checks {
    /// How many requests were sent.
    pub requests: u64,
    /// How many bytes were moved.
    pub bytes: u64,
    /// Of each opt-in of which something was found out.
    pub opt_ins: Vec<OptInChecks>,
    /// Of each URL that was asked how it answers.
    pub facts: Vec<UrlFacts>,
}

/// What was looked at of one opt-in.
#[derive(Clone, Debug)]
pub struct OptInChecks {
    /// The opt-in.
    pub host_category: HostCategoryId,
    /// Which files were looked at.
    pub cycle: Cycle,
    /// What is to be repaired, newest first; no more than 1,000 are kept.
    pub repair: Vec<Repair>,
}

/// Which files of an opt-in were looked at, so that each is once in 30 days.
#[derive(Clone, Debug, PartialEq)]
pub struct Cycle {
    /// Since when.
    pub started_at: Time,
    /// The numbers of the files that were asked for since then.
    pub looked: RoaringBitmap,
    /// Since when bodies are read.
    pub bodies_since: Time,
    /// The numbers of the files whose bodies were read since then and were right.
    pub bodies: RoaringBitmap,
    /// The serial that the host showed last.
    pub serial: Option<Serial>,
    /// Since when nothing is believed of the host but what was seen; `None` when it was not caught lying.
    pub caught_at: Option<Time>,
}

/// A file that a host's admin has to repair.
#[derive(Clone, Debug, PartialEq)]
pub struct Repair {
    /// Its place in bitmaps.
    pub number: u32,
    /// In one word.
    pub fault: FileFault,
    /// In the words of the crawl that found it.
    pub reason: String,
}

/// The same, as its admin needs it.
#[derive(Clone, Debug, PartialEq, Queryable)]
pub struct RepairFile {
    /// Its name.
    pub digest: Sha256,
    /// In one word.
    pub fault: FileFault,
    /// In the words of the crawl that found it.
    pub reason: String,
}

/// How a URL answers.
#[derive(Clone, Debug, PartialEq, Queryable, Selectable, Serialize, Deserialize, JsonSchema)]
#[diesel(table_name = url_facts)]
pub struct UrlFacts {
    /// The URL.
    #[serde(skip)]
    pub host_category_url_id: HostCategoryUrlId,
    /// How fast a part of a large file came, as our machine sees it; `None` when none was large enough.
    pub bytes_per_second: Option<i64>,
    /// What it makes of a request for two ranges.
    pub multi_range: Option<MultiRange>,
    /// Takes more than one request on a connection.
    pub keeps_alive: Option<bool>,
    /// When its certificate ends; `None` without TLS.
    pub certificate_ends_at: Option<Time>,
    /// When this was found out.
    pub checked_at: Time,
}

impl UrlFacts {
    /// How many whole days the certificate lasts from then on, when these are few; less than 0 when it is over.
    pub fn days_left(&self, now: Time) -> Option<i64> {
        let left = (self.certificate_ends_at?.unix_seconds() - now.unix_seconds()).div_euclid(24 * 60 * 60);
        (left < CERTIFICATE_DAYS).then_some(left)
    }
}

/// What was asked of a host on one day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostUse {
    /// Days since 1970, by UTC.
    pub day: i64,
    /// Requests sent.
    pub requests: u64,
    /// Bytes moved.
    pub bytes: u64,
}

/// The day of a moment: days since 1970, by UTC.
pub fn day_of(time: Time) -> i64 {
    time.unix_seconds().div_euclid(24 * 60 * 60)
}

/// Adds to what crawls asked of a host today.
fn record_use(
    connection: &mut Connection,
    id: HostId,
    now: Time,
    requests: u64,
    bytes: u64,
) -> QueryResult<()> {
    let day = day_of(now);
    let row = host_use::table.find(id);
    let known = row.select((host_use::day, host_use::requests, host_use::bytes));
    let known = known.first::<(i64, i64, i64)>(connection).optional()?;
    let (former_requests, former_bytes) = match known {
        Some((of, requests, bytes)) if of == day => (requests, bytes),
        _ => (0, 0),
    };
    let values = (
        host_use::day.eq(day),
        host_use::requests.eq(former_requests.saturating_add_unsigned(requests)),
        host_use::bytes.eq(former_bytes.saturating_add_unsigned(bytes)),
    );
    match known {
        Some(_) => diesel::update(row).set(values).execute(connection)?,
        None => diesel::insert_into(host_use::table)
            .values((host_use::host_id.eq(id), values.0, values.1, values.2))
            .execute(connection)?,
    };
    Ok(())
}

/// What an opt-in's admin has to repair, newest first.
pub fn list_repair(connection: &mut Connection, id: HostCategoryId) -> QueryResult<Vec<RepairFile>> {
    repair::table
        .inner_join(blob::table)
        .filter(repair::host_category_id.eq(id))
        .select((blob::digest, repair::fault, repair::reason))
        .order(repair::blob_id.desc())
        .load(connection)
}

/// How the URLs of an opt-in answer, as far as they were asked.
pub fn list_url_facts(connection: &mut Connection, id: HostCategoryId) -> QueryResult<Vec<UrlFacts>> {
    url_facts::table
        .inner_join(host_category_url::table)
        .filter(host_category_url::host_category_id.eq(id))
        .select(UrlFacts::as_select())
        .order(url_facts::host_category_url_id)
        .load(connection)
}

pub(super) fn list_uses(
    connection: &mut Connection,
    only: &[HostId],
) -> QueryResult<HashMap<HostId, HostUse>> {
    let of_these = host_use::table.filter(host_use::host_id.eq_any(only));
    let rows: Vec<(HostId, i64, i64, i64)> = of_these.load(connection)?;
    let plain = |number: i64| u64::try_from(number).unwrap_or(0);
    let of = |(host, day, requests, bytes)| {
        (host, HostUse { day, requests: plain(requests), bytes: plain(bytes) })
    };
    Ok(rows.into_iter().map(of).collect())
}

pub(super) fn list_facts(
    connection: &mut Connection,
    only: &[HostCategoryUrlId],
) -> QueryResult<HashMap<HostCategoryUrlId, UrlFacts>> {
    let of_these = url_facts::table.filter(url_facts::host_category_url_id.eq_any(only));
    let rows = of_these.select(UrlFacts::as_select()).load(connection)?;
    Ok(rows.into_iter().map(|it| (it.host_category_url_id, it)).collect())
}

type CycleRow = (HostCategoryId, Time, Vec<u8>, Time, Vec<u8>, Option<Serial>, Option<Time>);

pub(super) fn list_cycles(
    connection: &mut Connection,
    only: &[HostCategoryId],
) -> QueryResult<HashMap<HostCategoryId, Cycle>> {
    let of_these = crawl_cycle::table.filter(crawl_cycle::host_category_id.eq_any(only));
    let rows: Vec<CycleRow> = of_these.load(connection)?;
    let of = |(id, started_at, looked, bodies_since, bodies, serial, caught_at): CycleRow| {
        let (looked, bodies) = (read_set(&looked)?, read_set(&bodies)?);
        Ok((id, Cycle { started_at, looked, bodies_since, bodies, serial, caught_at }))
    };
    rows.into_iter().map(of).collect()
}

pub(super) fn list_repairs(
    connection: &mut Connection,
    only: &[HostCategoryId],
) -> QueryResult<HashMap<HostCategoryId, Vec<Repair>>> {
    let of_these = repair::table.filter(repair::host_category_id.eq_any(only));
    let rows: Vec<(HostCategoryId, i64, FileFault, String)> =
        of_these.order(repair::blob_id.desc()).load(connection)?;
    let mut repairs: HashMap<_, Vec<Repair>> = HashMap::new();
    for (id, number, fault, reason) in rows {
        let Ok(number) = u32::try_from(number) else { continue };
        repairs.entry(id).or_default().push(Repair { number, fault, reason });
    }
    Ok(repairs)
}

/// Stores what a crawl found out. What was removed while it was crawled is left out.
pub(super) fn store(
    connection: &mut Connection,
    host: HostId,
    checks: &Checks,
    now: Time,
) -> QueryResult<()> {
    record_use(connection, host, now, checks.requests, checks.bytes)?;
    for opt_in in &checks.opt_ins {
        let row = host_category::table.find(opt_in.host_category).select(host_category::id);
        if row.first::<HostCategoryId>(connection).optional()?.is_some() {
            store_cycle(connection, opt_in.host_category, &opt_in.cycle)?;
            store_repair(connection, opt_in.host_category, &opt_in.repair)?;
        }
    }
    for facts in &checks.facts {
        store_facts(connection, facts)?;
    }
    Ok(())
}

fn store_cycle(connection: &mut Connection, id: HostCategoryId, cycle: &Cycle) -> QueryResult<()> {
    let values = (
        crawl_cycle::started_at.eq(cycle.started_at),
        crawl_cycle::looked.eq(write_set(cycle.looked.clone())),
        crawl_cycle::bodies_since.eq(cycle.bodies_since),
        crawl_cycle::bodies.eq(write_set(cycle.bodies.clone())),
        crawl_cycle::serial.eq(cycle.serial),
        crawl_cycle::caught_at.eq(cycle.caught_at),
    );
    diesel::delete(crawl_cycle::table.find(id)).execute(connection)?;
    diesel::insert_into(crawl_cycle::table)
        .values((
            crawl_cycle::host_category_id.eq(id),
            values.0,
            values.1,
            values.2,
            values.3,
            values.4,
            values.5,
        ))
        .execute(connection)?;
    Ok(())
}

fn store_repair(connection: &mut Connection, id: HostCategoryId, files: &[Repair]) -> QueryResult<()> {
    diesel::delete(repair::table.filter(repair::host_category_id.eq(id))).execute(connection)?;
    let files = &files[..files.len().min(REPAIR_LIMIT)];
    let numbers: Vec<i64> = files.iter().map(|it| it.number.into()).collect();
    let known: Vec<i64> = blob::table.filter(blob::id.eq_any(numbers)).select(blob::id).load(connection)?;
    for file in files.iter().filter(|it| known.contains(&it.number.into())) {
        diesel::insert_into(repair::table)
            .values((
                repair::host_category_id.eq(id),
                repair::blob_id.eq(i64::from(file.number)),
                repair::fault.eq(file.fault),
                repair::reason.eq(&file.reason),
            ))
            .execute(connection)?;
    }
    Ok(())
}

/// Adds to what is to be repaired; how many files of the opt-in have that fault then.
pub(in crate::database) fn add_repair(
    connection: &mut Connection,
    id: HostCategoryId,
    file: &Repair,
) -> QueryResult<i64> {
    let row = repair::table.find((id, i64::from(file.number)));
    diesel::delete(row).execute(connection)?;
    diesel::insert_into(repair::table)
        .values((
            repair::host_category_id.eq(id),
            repair::blob_id.eq(i64::from(file.number)),
            repair::fault.eq(file.fault),
            repair::reason.eq(&file.reason),
        ))
        .execute(connection)?;
    let alike = repair::table.filter(repair::host_category_id.eq(id)).filter(repair::fault.eq(file.fault));
    alike.count().get_result(connection)
}

/// A speed that was not found out this time does not undo the one before.
fn store_facts(connection: &mut Connection, facts: &UrlFacts) -> QueryResult<()> {
    let id = facts.host_category_url_id;
    let row = host_category_url::table.find(id).select(host_category_url::id);
    if row.first::<HostCategoryUrlId>(connection).optional()?.is_none() {
        return Ok(());
    }
    let former = url_facts::table.find(id).select(url_facts::bytes_per_second);
    let former = former.first::<Option<i64>>(connection).optional()?.flatten();
    diesel::delete(url_facts::table.find(id)).execute(connection)?;
    diesel::insert_into(url_facts::table)
        .values((
            url_facts::host_category_url_id.eq(id),
            url_facts::bytes_per_second.eq(facts.bytes_per_second.or(former)),
            url_facts::multi_range.eq(facts.multi_range),
            url_facts::keeps_alive.eq(facts.keeps_alive),
            url_facts::certificate_ends_at.eq(facts.certificate_ends_at),
            url_facts::checked_at.eq(facts.checked_at),
        ))
        .execute(connection)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::database::{
        Database, Part,
        content::{self, ContentBlob},
        crawl::{CrawlHost, list_hosts},
        host, host_category,
        testing::*,
    };

    /// A host that opted in to a category with three blobs.
    fn opted_in(database: &Database) -> CrawlHost {
        let blobs = (1..=3).map(|it| ContentBlob { digest: Sha256([it; 32]), size: it.into() }).collect();
        let content = content::CategoryContent { blobs, ..new_category("fedora", 1) };
        database.write(Part::Content, |it| content::replace_category(it, &content, now())).unwrap();
        let category = database.read(crate::database::category::list).unwrap()[0].id;
        let host = add_host(database, "m1");
        let urls = ["http://m1/fedora".parse().unwrap()];
        database.write(Part::Hosts, |it| host_category::opt_in(it, host.id, category, &urls, now())).unwrap();
        read_host(database)
    }

    /// The one host, as the next crawl will know it.
    fn read_host(database: &Database) -> CrawlHost {
        let ids: Vec<HostId> = database.read(host::list).unwrap().iter().map(|it| it.id).collect();
        database.read(|it| list_hosts(it, &ids)).unwrap().remove(0)
    }

    fn later(hours: i64) -> Time {
        (jiff::Timestamp::from(now()) + SignedDuration::from_hours(hours)).into()
    }

    fn checks(host: &CrawlHost) -> Checks {
        let category = &host.categories[0];
        let cycle = Cycle {
            started_at: now(),
            looked: [1, 3].into_iter().collect(),
            bodies_since: later(-9),
            bodies: [3].into_iter().collect(),
            serial: Some(1),
            caught_at: Some(later(-1)),
        };
        let repair = |number, fault| Repair { number, fault, reason: format!("reason {number}") };
        // 9 was removed while the host was crawled.
        let repair =
            vec![repair(9, FileFault::Absent), repair(3, FileFault::Damaged), repair(1, FileFault::Absent)];
        let facts = UrlFacts {
            host_category_url_id: category.urls[0].id,
            bytes_per_second: Some(1_000_000),
            multi_range: Some(MultiRange::Parts),
            keeps_alive: Some(true),
            certificate_ends_at: Some(later(24 * 20)),
            checked_at: now(),
        };
        assert_eq!((facts.days_left(now()), facts.days_left(later(24 * 6 + 1))), (None, Some(13)));
        assert_eq!(facts.days_left(later(24 * 20 + 1)), Some(-1));
        let opt_ins = vec![OptInChecks { host_category: category.host_category, cycle, repair }];
        Checks { requests: 10, bytes: 1_000, opt_ins, facts: vec![facts] }
    }

    #[test]
    fn the_next_crawl_knows_what_this_one_left() {
        on_both(|database| {
            let host = opted_in(database);
            assert_eq!((host.used, &host.categories[0].cycle), (None, &None));
            let left = checks(&host);
            let id = host.categories[0].host_category;
            let probed = crate::database::schema::host_category_url::probed_at.eq(Some(now()));
            let update = |it: &mut Connection| {
                diesel::update(host_category_url::table).set(probed).execute(it)?;
                store(it, host.id, &left, now())?;
                store(it, host.id, &left, later(1))
            };
            database.write_log(update).unwrap();
            let next = read_host(database);
            let used = HostUse { day: day_of(now()), requests: 20, bytes: 2_000 };
            assert_eq!(next.used, Some(used));
            let category = &next.categories[0];
            assert_eq!(category.cycle.as_ref(), Some(&left.opt_ins[0].cycle));
            assert_eq!(category.repair, left.opt_ins[0].repair[1..]);
            assert_eq!(category.facts.values().collect::<Vec<_>>(), [&left.facts[0]]);
            let files = database.read(|it| list_repair(it, id)).unwrap();
            let files: Vec<_> = files.iter().map(|it| (it.digest.0[0], it.fault)).collect();
            assert_eq!(files, [(3, FileFault::Damaged), (1, FileFault::Absent)]);
            // Another day counts anew, and a speed that was not found out leaves the one before.
            let mut nothing = Checks { facts: left.facts.clone(), ..Checks::default() };
            nothing.facts[0].bytes_per_second = None;
            database.write_log(|it| store(it, host.id, &nothing, later(12))).unwrap();
            let next = read_host(database);
            assert_eq!(next.used, Some(HostUse { day: used.day + 1, requests: 0, bytes: 0 }));
            let facts = database.read(|it| list_url_facts(it, id)).unwrap();
            assert_eq!(facts[0].bytes_per_second, Some(1_000_000));
        });
    }

    #[test]
    fn other_urls_are_another_host() {
        on_both(|database| {
            let host = opted_in(database);
            database.write_log(|it| store(it, host.id, &checks(&host), now())).unwrap();
            let next = read_host(database);
            assert_eq!(next.categories[0].cycle, None, "its URL was never asked");
        });
    }
}
