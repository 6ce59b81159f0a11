//! What the prober asks and leaves behind: the tables `url_traffic`, `prober`, and the reach of URLs.

use std::collections::BTreeSet;

use diesel::{prelude::*, upsert::excluded};
use jiff::{SignedDuration, Timestamp};

use super::{
    BATCH_ROWS, Connection, Part, Time,
    connection::on_each,
    crawl::{self, UrlReach},
    schema::{
        category, crawl_schedule, embargoed_country, host, host_category, host_category_url, prober, site,
        url_traffic,
    },
};
use crate::mirror::{Country, HostCategoryUrlId, HostId, HostName, HostUrl, Reach};

/// Without a heartbeat for so long nobody probes: what is known of URLs grows old, and still counts.
pub const SILENCE: SignedDuration = SignedDuration::from_mins(5);

/// A prober that was heard of so lately is at work: what a crawl sees of a URL does not gainsay it.
const AT_WORK: SignedDuration = SignedDuration::from_secs(30);

/// So many URLs are probed at most, the oldest: 1,000 hosts with 50 each.
const MOST_TARGETS: i64 = 50_000;

/// The one row of `prober`.
const ROW: i64 = 1;

/// A URL to probe.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeTarget {
    /// Its row.
    pub id: HostCategoryUrlId,
    /// Whose it is.
    pub host: HostId,
    /// Whose it is.
    pub host_name: HostName,
    /// Where the host stands.
    pub country: Option<Country>,
    /// The category's folder.
    pub url: HostUrl,
    /// What is known by IPv4.
    pub ipv4: Reach,
    /// What is known by IPv6.
    pub ipv6: Reach,
}

/// Who probes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// Names the process; empty when none probes.
    pub holder: String,
    /// When it last said so.
    pub at: Option<Time>,
}

/// The URLs to probe: of hosts that are switched on by all, with a site that is, not drained, opted in to
/// a category that is there, and not drained for it. Private hosts are probed only where a crawl has reached them: most cannot be.
/// Those that report by themselves are believed, and left alone.
pub fn list_targets(connection: &mut Connection) -> QueryResult<Vec<ProbeTarget>> {
    let hosts = host::table.inner_join(site::table);
    type Row = (HostCategoryUrlId, HostId, HostName, Option<Country>, HostUrl, Reach, Reach, bool, bool);
    let rows: Vec<Row> =
        host_category_url::table
            .inner_join(host_category::table.inner_join(category::table).inner_join(hosts))
            .filter(category::retired_at.is_null())
            .filter(host::user_active.and(host::admin_active).and(site::user_active).and(site::admin_active))
            .filter(host::auto_disabled_at.is_null().and(host::drained.eq(false)))
            .filter(host_category::drained.eq(false))
            .filter(host::country.is_null().or(
                host::country.ne_all(embargoed_country::table.select(embargoed_country::country.nullable())),
            ))
            .select((
                host_category_url::id,
                host::id,
                host::name,
                host::country,
                host_category_url::url,
                host_category_url::ipv4_reach,
                host_category_url::ipv6_reach,
                host::private,
                site::private,
            ))
            .order(host_category_url::id)
            .limit(MOST_TARGETS)
            .load(connection)?;
    let alone = crawl_schedule::table.filter(crawl_schedule::not_before.is_not_null());
    let alone: BTreeSet<HostId> =
        alone.select(crawl_schedule::host_id).load(connection)?.into_iter().collect();
    let target = |(id, host, host_name, country, url, ipv4, ipv6, private, site_private): Row| {
        let is_known = (ipv4, ipv6) != (Reach::Unknown, Reach::Unknown);
        let probed = !(private || site_private) || (is_known && !alone.contains(&host));
        probed.then_some(ProbeTarget { id, host, host_name, country, url, ipv4, ipv6 })
    };
    Ok(rows.into_iter().filter_map(target).collect())
}

/// The URLs that some server sent a client to since then.
pub fn list_in_use(connection: &mut Connection, since: Time) -> QueryResult<BTreeSet<HostCategoryUrlId>> {
    let rows: Vec<HostCategoryUrlId> = url_traffic::table
        .filter(url_traffic::redirected_at.gt(since))
        .select(url_traffic::host_category_url_id)
        .load(connection)?;
    Ok(rows.into_iter().collect())
}

/// Notes that clients were sent to these URLs. Those that were removed meanwhile are passed over.
pub fn note_redirects(
    connection: &mut Connection,
    urls: &BTreeSet<HostCategoryUrlId>,
    now: Time,
) -> QueryResult<()> {
    // In one order, so that two servers never wait for each other.
    let urls: Vec<_> = urls.iter().copied().collect();
    for some in urls.chunks(BATCH_ROWS) {
        let there: Vec<HostCategoryUrlId> = host_category_url::table
            .filter(host_category_url::id.eq_any(some))
            .select(host_category_url::id)
            .order(host_category_url::id)
            .load(connection)?;
        let row = |id| (url_traffic::host_category_url_id.eq(id), url_traffic::redirected_at.eq(now));
        let rows: Vec<_> = there.into_iter().map(row).collect();
        on_each!(connection, |it| diesel::insert_into(url_traffic::table)
            .values(rows)
            .on_conflict(url_traffic::host_category_url_id)
            .do_update()
            .set(url_traffic::redirected_at.eq(excluded(url_traffic::redirected_at)))
            .execute(it))?;
    }
    Ok(())
}

/// Who probes, and since when it was not heard of.
pub fn find_heartbeat(connection: &mut Connection) -> QueryResult<Heartbeat> {
    let (holder, at) = prober::table.find(ROW).select((prober::holder, prober::beat_at)).first(connection)?;
    Ok(Heartbeat { holder, at })
}

/// Is a prober at work at that moment?
pub(super) fn is_at_work(connection: &mut Connection, now: Time) -> QueryResult<bool> {
    let Heartbeat { holder, at } = find_heartbeat(connection)?;
    let is_late = |at: Time| Timestamp::from(now).duration_since(at.into()) >= AT_WORK;
    Ok(!holder.is_empty() && at.is_some_and(|at| !is_late(at)))
}

/// Makes `holder` the one that probes in place of `seen`, unless that one has been heard of since: is it now?
pub fn take_over(
    connection: &mut Connection,
    seen: &Heartbeat,
    holder: &str,
    now: Time,
) -> QueryResult<bool> {
    let unchanged = find_heartbeat(connection)? == *seen;
    let row = prober::table.find(ROW).filter(prober::holder.eq(&seen.holder));
    let changed = diesel::update(row).set((prober::holder.eq(holder), prober::beat_at.eq(Some(now))));
    Ok(unchanged && changed.execute(connection)? > 0)
}

/// Leaves the probing to others, if it is this one's.
pub fn release(connection: &mut Connection, holder: &str) -> QueryResult<()> {
    let row = prober::table.find(ROW).filter(prober::holder.eq(holder));
    diesel::update(row).set(prober::holder.eq("")).execute(connection).map(drop)
}

/// The prober's heartbeat, with what it found out: `None` when another process probes now, and then nothing
/// is stored. Else the parts of the snapshot that it changed.
pub(super) fn beat(
    connection: &mut Connection,
    holder: &str,
    found: &[UrlReach],
    now: Time,
) -> QueryResult<Option<Vec<Part>>> {
    let row = prober::table.find(ROW).filter(prober::holder.eq(holder));
    if diesel::update(row).set(prober::beat_at.eq(Some(now))).execute(connection)? == 0 {
        return Ok(None);
    }
    let mut changed = false;
    for url in found {
        changed |= crawl::store_reach(connection, url, now)?;
    }
    Ok(Some(if changed { vec![Part::Hosts] } else { Vec::new() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::{
        Database,
        crawl::{Checks, CrawlResult},
        host::HostChange,
        host_category::{self, opt_in},
        site::{self, SiteChange},
        testing::*,
    };
    use crate::mirror::CrawlState;

    /// A host with one URL.
    fn add_url(database: &Database, name: &str) -> ProbeTarget {
        let (host, category) = (add_host(database, name), add_category(database, "fedora", 1));
        let url: HostUrl = format!("https://{name}/fedora").parse().unwrap();
        let add = |it: &mut Connection| {
            let row = opt_in(it, host.id, category, std::slice::from_ref(&url), now())?;
            Ok(host_category::list_urls(it, row.id)?.remove(0).id)
        };
        let id = database.write(Part::Hosts, add).unwrap();
        let unknown = Reach::Unknown;
        ProbeTarget {
            id,
            host: host.id,
            host_name: host.name,
            country: host.country,
            url,
            ipv4: unknown,
            ipv6: unknown,
        }
    }

    fn later(seconds: i64) -> Time {
        (Timestamp::from(now()) + SignedDuration::from_secs(seconds)).into()
    }

    #[test]
    fn hosts_that_are_not_offered_are_not_probed() {
        on_both(|database| {
            let target = add_url(database, "m1");
            let list = || database.read(list_targets).unwrap();
            assert_eq!(list(), std::slice::from_ref(&target));
            let on = HostChange { drained: Some(false), ..HostChange::default() };
            for off in [
                HostChange { drained: Some(true), ..HostChange::default() },
                HostChange { user_active: Some(false), ..on.clone() },
                HostChange { user_active: Some(true), admin_active: Some(false), ..on.clone() },
                HostChange { admin_active: Some(true), auto_disabled_at: Some(Some(now())), ..on.clone() },
            ] {
                database
                    .write(Part::Hosts, |it| crate::database::host::update(it, target.host, &off))
                    .unwrap();
                assert_eq!(list(), [], "{off:?}");
            }
            let on = HostChange { auto_disabled_at: Some(None), ..on };
            database.write(Part::Hosts, |it| crate::database::host::update(it, target.host, &on)).unwrap();
            assert_eq!(list(), std::slice::from_ref(&target));
            let opt_in = database.read(|it| host_category::list(it, target.host)).unwrap().remove(0).0.id;
            let drain = |drained| {
                let set = |it: &mut Connection| host_category::set_drained(it, opt_in, drained);
                database.write(Part::Hosts, set).unwrap();
            };
            drain(true);
            assert_eq!(list(), [], "drained for its category");
            drain(false);
            assert_eq!(list(), std::slice::from_ref(&target));
            let private = SiteChange { private: Some(true), ..SiteChange::default() };
            let hide = |it: &mut Connection| {
                let site = crate::database::host::find(it, &target.host_name)?.unwrap().site_id;
                site::update(it, site, &private)
            };
            database.write(Part::Hosts, hide).unwrap();
            assert_eq!(list(), [], "private, and never reached");
        });
    }

    #[test]
    fn traffic_is_noted_without_a_new_generation() {
        on_both(|database| {
            let (one, two) = (add_url(database, "m1").id, add_url(database, "m2").id);
            let before = database.generations().unwrap();
            let note = |ids: &[HostCategoryUrlId], at| {
                database.write_log(|it| note_redirects(it, &ids.iter().copied().collect(), at)).unwrap();
            };
            note(&[one, two, HostCategoryUrlId(999)], later(0));
            note(&[two], later(60));
            let in_use = |since| database.read(|it| list_in_use(it, since)).unwrap();
            assert_eq!(in_use(later(-1)), [one, two].into());
            assert_eq!(in_use(later(0)), [two].into());
            assert_eq!(database.generations().unwrap(), before);
        });
    }

    #[test]
    fn one_process_probes_at_a_time() {
        on_both(|database| {
            let seen = || database.read(find_heartbeat).unwrap();
            let take = |seen: &Heartbeat, holder: &str, at| {
                database.write_log(|it| take_over(it, seen, holder, at)).unwrap()
            };
            let nobody = seen();
            assert_eq!(nobody, Heartbeat { holder: String::new(), at: None });
            assert!(take(&nobody, "a", later(0)));
            assert!(!take(&nobody, "b", later(0)), "it is another's by now");
            let found = seen();
            assert!(database.beat("a", &[], later(5)).unwrap());
            assert!(!take(&found, "b", later(5)), "it was heard of since");
            assert!(take(&seen(), "b", later(30)));
            assert!(!database.beat("a", &[], later(31)).unwrap());
            database.write_log(|it| release(it, "a")).unwrap();
            assert_eq!(seen(), Heartbeat { holder: "b".into(), at: Some(later(30)) });
            database.write_log(|it| release(it, "b")).unwrap();
            assert_eq!(seen(), Heartbeat { holder: String::new(), at: Some(later(30)) });
        });
    }

    #[test]
    fn a_heartbeat_publishes_only_what_changed() {
        on_both(|database| {
            let target = add_url(database, "m1");
            let start = database.read(find_heartbeat).unwrap();
            database.write_log(|it| take_over(it, &start, "a", now())).unwrap();
            let down = UrlReach {
                url: target.id,
                ipv4: Reach::Down,
                ipv6: Reach::Unknown,
                reason: Some("IPv4: away".into()),
            };
            let bumps = |holder: &str| {
                let before = database.generations().unwrap().hosts;
                database.beat(holder, std::slice::from_ref(&down), later(1)).unwrap();
                database.generations().unwrap().hosts - before
            };
            assert_eq!(bumps("b"), 0, "it does not probe");
            assert_eq!(bumps("a"), 1);
            assert_eq!(bumps("a"), 0, "nothing new");
            assert_eq!(database.read(list_targets).unwrap()[0].ipv4, Reach::Down);
            let crawl = |seconds| {
                let ipv4 = Reach::Up;
                let seen = UrlReach { url: target.id, ipv4, ipv6: Reach::Up, reason: None };
                let result = CrawlResult {
                    host: target.host,
                    started_at: later(seconds),
                    duration: SignedDuration::from_secs(1),
                    state: CrawlState::UpToDate,
                    log: String::new(),
                    auto_disabled: None,
                    holdings: Vec::new(),
                    urls: vec![seen],
                    checks: Checks::default(),
                };
                database.store_crawl(&result).unwrap();
                database.read(list_targets).unwrap()[0].ipv4
            };
            assert_eq!(crawl(2), Reach::Down, "the prober knows better");
            assert_eq!(crawl(40), Reach::Up, "the prober is dead");
            let is_at_work = |at| database.read(|it| is_at_work(it, at)).unwrap();
            assert!(is_at_work(later(30)) && !is_at_work(later(31)));
            database.write_log(|it| release(it, "a")).unwrap();
            assert!(!is_at_work(later(1)), "it was stopped");
        });
    }
}
