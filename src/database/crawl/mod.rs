//! What the crawler asks and leaves behind: the tables `crawl` and `holdings`.

mod checks;
mod holdings;
mod plan;

use diesel::prelude::*;
use jiff::SignedDuration;
use serde::Serialize;

pub(super) use checks::add_repair;
pub use checks::{
    Checks, Cycle, HostUse, OptInChecks, Repair, RepairFile, UrlFacts, day_of, list_repair, list_url_facts,
};
pub use holdings::{CrawlHoldings, Holdings, list_holdings};
pub(super) use holdings::{find_held, remove_all, remove_blob};
pub use plan::{
    CategoryState, CategoryTruth, CrawlBlob, CrawlCategory, CrawlHost, list_hosts, load_category,
};

use super::{
    Connection, Part, Time,
    lease::Next,
    probe,
    schema::{crawl, host, host_category_url},
};
use crate::mirror::{CrawlState, HostCategoryUrlId, HostId, Reach};

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
    /// What the next crawl and the host's admin need to know.
    pub checks: Checks,
}

/// How a crawl under a lease ends.
#[derive(Clone, Copy, Debug)]
pub struct CrawlEnd<'a> {
    /// Who has the lease.
    pub holder: &'a str,
    /// When it ends.
    pub at: Time,
    /// When the host is crawled next.
    pub next: Next,
    /// Crawls that began earlier are forgotten.
    pub history_since: Time,
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

/// The crawls of a host, newest first.
pub fn list(connection: &mut Connection, host: HostId, limit: i64) -> QueryResult<Vec<Crawl>> {
    crawl::table
        .select(Crawl::as_select())
        .filter(crawl::host_id.eq(host))
        .order(crawl::id.desc())
        .limit(limit)
        .load(connection)
}

/// Stores a crawl and tells which parts of the snapshot it changed. A host, opt-in or URL that was removed
/// while it was crawled is left out.
pub(super) fn store(connection: &mut Connection, result: &CrawlResult) -> QueryResult<Vec<Part>> {
    let mut parts = Vec::new();
    let Some(host_changed) = store_host(connection, result)? else { return Ok(parts) };
    let mut reach_changed = false;
    // A prober at work knows better than one look does, once a URL has been seen at all.
    let is_probed = probe::is_at_work(connection, result.started_at)?;
    for url in &result.urls {
        if !is_probed || !is_known(connection, url.url)? {
            reach_changed |= store_reach(connection, url, result.started_at)?;
        }
    }
    if host_changed || reach_changed {
        parts.push(Part::Hosts);
    }
    let mut published = false;
    for found in &result.holdings {
        published |= holdings::store(connection, found, result.started_at)?;
    }
    if published {
        parts.push(Part::Holdings);
    }
    checks::store(connection, result.host, &result.checks, result.started_at)?;
    insert(connection, result)?;
    Ok(parts)
}

/// Does something in the host's row change answers: was it switched off or on, or found lying? `None` when there is no such host any more.
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
    let has_lied = result.state == CrawlState::Lying;
    if has_lied {
        diesel::update(row).set(host::last_lied_at.eq(Some(result.started_at))).execute(connection)?;
    }
    if reason == result.auto_disabled {
        return Ok(Some(has_lied));
    }
    let since = result.auto_disabled.as_ref().map(|_| result.started_at);
    diesel::update(row)
        .set((host::auto_disabled_at.eq(since), host::auto_disabled_reason.eq(&result.auto_disabled)))
        .execute(connection)?;
    Ok(Some(true))
}

/// Does any of the URLs answer otherwise than before?
pub(super) fn store_reaches(connection: &mut Connection, found: &[UrlReach], now: Time) -> QueryResult<bool> {
    found.iter().try_fold(false, |changed, it| Ok(store_reach(connection, it, now)? || changed))
}

/// Is it known of the URL whether it answers, by some family?
fn is_known(connection: &mut Connection, url: HostCategoryUrlId) -> QueryResult<bool> {
    let row = host_category_url::table.find(url);
    let reach = row.select((host_category_url::ipv4_reach, host_category_url::ipv6_reach));
    let reach: Option<(Reach, Reach)> = reach.first(connection).optional()?;
    Ok(reach.is_some_and(|it| it != (Reach::Unknown, Reach::Unknown)))
}

/// Does the URL answer otherwise than before?
pub(super) fn store_reach(connection: &mut Connection, found: &UrlReach, now: Time) -> QueryResult<bool> {
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
    Ok(())
}

/// Forgets the crawls of a host that began earlier, but not the newest.
pub(super) fn forget(connection: &mut Connection, host: HostId, since: Time) -> QueryResult<usize> {
    let crawls = crawl::table.filter(crawl::host_id.eq(host));
    let newest: Option<i64> = crawls.select(diesel::dsl::max(crawl::id)).first(connection)?;
    let old = crawls.filter(crawl::started_at.lt(since)).filter(crawl::id.ne(newest.unwrap_or_default()));
    diesel::delete(old).execute(connection)
}

fn milliseconds(duration: SignedDuration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::{
        Database, Generations, Sha256,
        content::{self, ContentBlob},
        host::{self, HostChange},
        host_category,
        snapshot::load_holdings,
        testing::*,
    };
    use crate::mirrorlist::rows::HoldingRow;

    /// A host that opted in to a category with three blobs.
    fn opted_in(database: &Database, name: &str) -> CrawlHost {
        let mut content = new_category("fedora", 1);
        content.blobs =
            (1..=3).map(|it| ContentBlob { digest: Sha256([it; 32]), size: u64::from(it) }).collect();
        database.write(Part::Content, |it| content::replace_category(it, &content, now())).unwrap();
        let category = database.read(crate::database::category::list).unwrap()[0].id;
        let host = add_host(database, name);
        let urls = [format!("http://{name}/fedora").parse().unwrap()];
        database.write(Part::Hosts, |it| host_category::opt_in(it, host.id, category, &urls, now())).unwrap();
        database.read(|it| list_hosts(it, &[host.id])).unwrap().remove(0)
    }

    fn result(host: &CrawlHost, blobs: Option<&[u32]>, hours: i64) -> CrawlResult {
        let later = jiff::Timestamp::from(now()) + SignedDuration::from_hours(hours);
        let state = if blobs.is_some() { CrawlState::UpToDate } else { CrawlState::Unreachable };
        CrawlResult {
            host: host.id,
            started_at: later.into(),
            duration: SignedDuration::from_millis(1500),
            state,
            log: "all is well".into(),
            auto_disabled: None,
            holdings: vec![CrawlHoldings {
                host_category: host.categories[0].host_category,
                serial: Some(1),
                state,
                reason: "as it should be".into(),
                blobs: blobs.map(|it| it.iter().copied().collect()),
            }],
            urls: vec![UrlReach {
                url: host.categories[0].urls[0].id,
                ipv4: Reach::Up,
                ipv6: Reach::Unknown,
                reason: None,
            }],
            checks: Checks::default(),
        }
    }

    #[test]
    fn what_is_to_be_crawled_is_told() {
        on_both(|database| {
            let host = opted_in(database, "m1");
            assert_eq!(host.categories[0].urls[0].url.as_str(), "http://m1/fedora");
            assert_eq!(host.categories[0].holdings, None);
            let truth = database.read(|it| load_category(it, host.categories[0].category)).unwrap();
            assert_eq!(truth.states[0].blobs, (1..=3).collect());
            let blobs: Vec<_> = truth.blobs.iter().map(|it| (it.number, it.digest.0[0], it.size)).collect();
            assert_eq!(blobs, [(3, 3, 3), (2, 2, 2), (1, 1, 1)]);
        });
    }

    #[test]
    fn answers_change_only_when_something_in_them_does() {
        on_both(|database| {
            let host = opted_in(database, "m1");
            let store = |result: CrawlResult| {
                let before = database.generations().unwrap();
                database.store_crawl(&result).unwrap();
                let after = database.generations().unwrap();
                let Generations { hosts, holdings, content } = after;
                assert_eq!(content, before.content);
                (hosts - before.hosts, holdings - before.holdings)
            };
            assert_eq!(store(result(&host, Some(&[1, 2, 3]), 0)), (1, 1), "the first crawl");
            assert_eq!(store(result(&host, Some(&[1, 2, 3]), 1)), (0, 0), "the same again");
            assert_eq!(store(result(&host, Some(&[1, 2, 3]), 12)), (0, 1), "must not grow old");
            assert_eq!(store(result(&host, Some(&[1, 3]), 13)), (0, 1), "a blob went");
            assert_eq!(store(result(&host, None, 99)), (0, 0), "nothing was found out");
            let rows = database.read(load_holdings).unwrap();
            let crawled_at = now().unix_seconds() + 13 * 3600;
            let host_category = host.categories[0].host_category;
            assert_eq!(rows.holdings, [HoldingRow { host_category, set: 0, crawled_at }]);
            let off = CrawlResult { auto_disabled: Some("away".into()), ..result(&host, None, 100) };
            assert_eq!(store(off.clone()), (1, 0));
            assert_eq!(store(off), (0, 0));
            let row = database.read(|it| host::find(it, &host.name)).unwrap().unwrap();
            assert_eq!((row.crawl_failures, row.auto_disabled_reason.as_deref()), (3, Some("away")));
            assert_eq!(store(result(&host, Some(&[1, 3]), 14)), (1, 0), "it is back");
            let row = database.read(|it| host::find(it, &host.name)).unwrap().unwrap();
            assert_eq!((row.crawl_failures, row.auto_disabled_at), (0, None));
            assert_eq!(database.read(|it| list(it, host.id, 3)).unwrap().len(), 3);
            let holdings = database.read(|it| list_holdings(it, host.id)).unwrap();
            assert_eq!(holdings[0].1.set(), Some([1, 3].into_iter().collect()));
        });
    }

    #[test]
    fn equal_sets_are_shared() {
        on_both(|database| {
            for name in ["m1", "m2", "m3"] {
                let host = opted_in(database, name);
                let blobs: &[u32] = if name == "m3" { &[1] } else { &[1, 2, 3] };
                database.store_crawl(&result(&host, Some(blobs), 0)).unwrap();
            }
            let rows = database.read(load_holdings).unwrap();
            assert_eq!(rows.sets.len(), 2);
            assert_eq!(rows.holdings.iter().map(|it| it.set).collect::<Vec<_>>(), [0, 0, 1]);
        });
    }

    #[test]
    fn a_host_removed_while_it_was_crawled_is_left_out() {
        on_both(|database| {
            let host = opted_in(database, "m1");
            database.write(Part::Hosts, |it| host::delete(it, host.id)).unwrap();
            database.store_crawl(&result(&host, Some(&[1]), 0)).unwrap();
            assert_eq!(database.read(|it| list(it, host.id, 9)).unwrap(), []);
        });
    }

    #[test]
    fn old_crawls_are_forgotten() {
        on_both(|database| {
            let host = opted_in(database, "m1");
            for hour in 0..10 {
                database.store_crawl(&result(&host, Some(&[1]), hour)).unwrap();
            }
            let hours = |it: i64| (jiff::Timestamp::from(now()) + SignedDuration::from_hours(it)).into();
            let left = |since: i64| {
                database.write_log(|it| forget(it, host.id, hours(since))).unwrap();
                database.read(|it| list(it, host.id, 1_000)).unwrap().len()
            };
            assert_eq!([left(0), left(4), left(9), left(99)], [10, 6, 1, 1]);
        });
    }

    #[test]
    fn a_crawl_switches_on_and_off_only_what_is_its_own() {
        on_both(|database| {
            let host = opted_in(database, "m1");
            let off = HostChange {
                user_active: Some(false),
                admin_active: Some(false),
                drained: Some(true),
                ..HostChange::default()
            };
            // In the middle of the crawl, whose result comes now.
            database.write(Part::Hosts, |it| host::update(it, host.id, &off)).unwrap();
            for auto_disabled in [Some("away".to_owned()), None] {
                let blobs: Option<&[u32]> = if auto_disabled.is_none() { Some(&[1]) } else { None };
                let found = CrawlResult { auto_disabled: auto_disabled.clone(), ..result(&host, blobs, 1) };
                database.store_crawl(&found).unwrap();
                let row = database.read(|it| host::find(it, &host.name)).unwrap().unwrap();
                assert_eq!((row.user_active, row.admin_active, row.drained), (false, false, true));
                assert_eq!(row.auto_disabled_reason, auto_disabled);
            }
        });
    }
}
