//! The table `crawl_schedule`: when each host is due, and which crawler has it now. Several crawlers share
//! hosts by it, so the clocks of their machines must agree to within a small part of a lease.

use diesel::{
    dsl::{exists as there_is, select},
    prelude::*,
    sql_types::Bool,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Connection, Time,
    crawl::{self, CrawlHost},
    schema::{category, crawl_schedule, embargoed_country, host, host_category, site},
};
use crate::mirror::{CategoryId, Country, HostId, HostName};

/// When a host is crawled.
#[derive(Clone, Debug, PartialEq, Queryable, Selectable, Serialize, Deserialize, JsonSchema)]
#[diesel(table_name = crawl_schedule)]
pub struct Schedule {
    /// The host.
    #[serde(skip)]
    pub host_id: HostId,
    /// When it is due.
    pub next_crawl_at: Time,
    /// Until then it wants to be left alone: by a Retry-After, or because it reports by itself.
    pub not_before: Option<Time>,
    /// When the last crawl that was stored began.
    pub crawled_at: Option<Time>,
    /// Which crawler has it now.
    pub holder: Option<String>,
    /// How long that crawler has it, unless it renews the lease.
    pub leased_until: Option<Time>,
}

/// Which hosts to take.
#[derive(Clone, Copy, Debug)]
pub enum Which<'a> {
    /// Those that are due, but not in these countries.
    Due(&'a [Country]),
    /// Those of a round that nobody has crawled since it began.
    Round(Round<'a>),
}

/// One crawl of many hosts, whether they are due or not.
#[derive(Clone, Copy, Debug)]
pub struct Round<'a> {
    /// When it began.
    pub began: Time,
    /// Only these hosts, also if they want to be left alone; all others if empty.
    pub hosts: &'a [HostName],
    /// Those that need not be tried again.
    pub except: &'a [HostId],
    /// Hosts in these countries are left alone.
    pub embargoed: &'a [Country],
}

/// What a crawler takes.
#[derive(Clone, Copy, Debug)]
pub struct Taking<'a> {
    /// Who takes: unique among all that run.
    pub holder: &'a str,
    /// From when.
    pub now: Time,
    /// Until when.
    pub until: Time,
    /// How many hosts at most.
    pub limit: usize,
}

/// When a host is crawled next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Next {
    /// When it is due.
    pub at: Time,
    /// Until when it wants to be left alone.
    pub not_before: Option<Time>,
}

/// The hosts that can be crawled: switched on by admins and operators, with a site that is, and opted in to
/// something, in no embargoed country. Those that the crawler switched off are among them: they may be back.
macro_rules! active {
    ($embargoed:expr) => {
        host::table
            .inner_join(site::table)
            .filter(host::user_active.and(host::admin_active))
            .filter(site::user_active.and(site::admin_active))
            .filter(
                host::country
                    .is_null()
                    .or(host::country
                        .ne_all($embargoed.iter().map(Country::to_string).collect::<Vec<String>>())),
            )
            .filter(host::country.is_null().or(
                host::country.ne_all(embargoed_country::table.select(embargoed_country::country.nullable())),
            ))
            .filter(
                host::id.eq_any(
                    host_category::table
                        .inner_join(category::table)
                        .filter(category::retired_at.is_null())
                        .select(host_category::host_id),
                ),
            )
    };
}

/// The rows of a round that nobody has crawled since it began.
macro_rules! left {
    ($round:expr, $now:expr) => {{
        let names: Vec<&str> = $round.hosts.iter().map(HostName::as_str).collect();
        let wanted = host::name.eq_any(names).or($round.hosts.is_empty().into_sql::<Bool>());
        let willing = crawl_schedule::not_before.is_null().or(crawl_schedule::not_before.le($now));
        crawl_schedule::table
            .filter(crawl_schedule::host_id.eq_any(active!($round.embargoed).filter(wanted).select(host::id)))
            .filter(crawl_schedule::crawled_at.is_null().or(crawl_schedule::crawled_at.lt($round.began)))
            .filter(crawl_schedule::host_id.ne_all($round.except))
            .filter(willing.or((!$round.hosts.is_empty()).into_sql::<Bool>()))
    }};
}

/// Selects rows that nobody holds, those first that are due longest. PostgreSQL looks at each row again when
/// it has locked it, and passes over those that another crawler is just taking.
macro_rules! lock {
    ($connection:expr, $rows:expr, $taking:expr) => {{
        let free = crawl_schedule::leased_until.is_null().or(crawl_schedule::leased_until.le($taking.now));
        let limit = i64::try_from($taking.limit).unwrap_or(i64::MAX);
        let rows = $rows.filter(free).order(crawl_schedule::next_crawl_at).limit(limit);
        let rows = rows.select(crawl_schedule::host_id);
        match $connection {
            Connection::Postgres(it) => rows.for_update().skip_locked().load::<HostId>(it),
            Connection::Sqlite(it) => rows.load::<HostId>(it),
        }
    }};
}

/// The schedule of a host.
pub fn find(connection: &mut Connection, host: HostId) -> QueryResult<Option<Schedule>> {
    crawl_schedule::table.find(host).select(Schedule::as_select()).first(connection).optional()
}

/// Takes hosts that no other crawler holds, and tells what a crawl of them needs to know.
pub fn take(
    connection: &mut Connection,
    which: Which<'_>,
    taking: &Taking<'_>,
) -> QueryResult<Vec<CrawlHost>> {
    let now = taking.now;
    let ids = match which {
        Which::Due(embargoed) => {
            let due = crawl_schedule::table
                .filter(crawl_schedule::host_id.eq_any(active!(embargoed).select(host::id)))
                .filter(crawl_schedule::next_crawl_at.le(now))
                .filter(crawl_schedule::not_before.is_null().or(crawl_schedule::not_before.le(now)));
            lock!(connection, due, taking)?
        }
        Which::Round(round) => lock!(connection, left!(round, now), taking)?,
    };
    diesel::update(crawl_schedule::table.filter(crawl_schedule::host_id.eq_any(&ids)))
        .set((
            crawl_schedule::holder.eq(Some(taking.holder)),
            crawl_schedule::leased_until.eq(Some(taking.until)),
        ))
        .execute(connection)?;
    crawl::list_hosts(connection, &ids)
}

/// How many hosts of a round nobody has crawled since it began, whether they are held or not.
pub fn count_left(connection: &mut Connection, round: &Round<'_>, now: Time) -> QueryResult<i64> {
    left!(round, now).count().get_result(connection)
}

/// Can this host be crawled at all?
pub fn is_active(connection: &mut Connection, name: &HostName, embargoed: &[Country]) -> QueryResult<bool> {
    select(there_is(active!(embargoed).filter(host::name.eq(name)))).get_result(connection)
}

/// Lengthens a lease. False when the crawler does not have it any more.
pub fn renew(connection: &mut Connection, host: HostId, holder: &str, until: Time) -> QueryResult<bool> {
    let own = crawl_schedule::table.find(host).filter(crawl_schedule::holder.eq(holder));
    let until = crawl_schedule::leased_until.eq(Some(until));
    Ok(diesel::update(own).set(until).execute(connection)? > 0)
}

/// Gives back all that a crawler has; its hosts are due as before.
pub fn release(connection: &mut Connection, holder: &str) -> QueryResult<usize> {
    let own = crawl_schedule::table.filter(crawl_schedule::holder.eq(holder));
    diesel::update(own)
        .set((crawl_schedule::holder.eq(None::<String>), crawl_schedule::leased_until.eq(None::<Time>)))
        .execute(connection)
}

/// Ends a lease without a crawl.
pub fn put_off(connection: &mut Connection, host: HostId, holder: &str, next: Time) -> QueryResult<usize> {
    let own = crawl_schedule::table.find(host).filter(crawl_schedule::holder.eq(holder));
    diesel::update(own)
        .set((
            crawl_schedule::next_crawl_at.eq(next),
            crawl_schedule::holder.eq(None::<String>),
            crawl_schedule::leased_until.eq(None::<Time>),
        ))
        .execute(connection)
}

/// Ends a lease with the crawl that it was taken for. False when the crawler does not have it any more: then
/// another one has taken the host over, or it was removed.
pub(super) fn finish(
    connection: &mut Connection,
    host: HostId,
    holder: &str,
    began: Time,
    now: Time,
    next: Next,
) -> QueryResult<bool> {
    let own = crawl_schedule::table.find(host).filter(crawl_schedule::holder.eq(holder));
    let due = own.select(crawl_schedule::next_crawl_at).first::<Time>(connection).optional()?;
    let Some(due) = due else { return Ok(false) };
    // Who was called in the middle of the crawl comes again.
    let called = began < due && due <= now;
    let changed = diesel::update(own)
        .set((
            crawl_schedule::next_crawl_at.eq(if called { due } else { next.at }),
            crawl_schedule::not_before.eq(next.not_before),
            crawl_schedule::crawled_at.eq(Some(began)),
            crawl_schedule::holder.eq(None::<String>),
            crawl_schedule::leased_until.eq(None::<Time>),
        ))
        .execute(connection)?;
    Ok(changed > 0)
}

/// Leaves a host alone for a while, also if a crawler has it now: its result will not count.
pub(super) fn postpone(connection: &mut Connection, host: HostId, until: Time) -> QueryResult<usize> {
    diesel::update(crawl_schedule::table.find(host))
        .set((
            crawl_schedule::next_crawl_at.eq(until),
            crawl_schedule::not_before.eq(Some(until)),
            crawl_schedule::holder.eq(None::<String>),
            crawl_schedule::leased_until.eq(None::<Time>),
        ))
        .execute(connection)
}

/// A host is due, and if it is being crawled, once more.
pub fn make_due(connection: &mut Connection, host: HostId, now: Time) -> QueryResult<usize> {
    let row = crawl_schedule::table.find(host);
    diesel::update(row).set(crawl_schedule::next_crawl_at.eq(now)).execute(connection)
}

/// The hosts that opted in to a category are due, for there is something new. Not those that the last crawl
/// did not reach: they are waited for longer and longer.
pub(super) fn make_category_due(
    connection: &mut Connection,
    category: CategoryId,
    now: Time,
) -> QueryResult<usize> {
    let hosts = host_category::table
        .inner_join(host::table)
        .filter(host_category::category_id.eq(category))
        .filter(host::crawl_failures.eq(0))
        .select(host::id);
    let rows = crawl_schedule::table.filter(crawl_schedule::host_id.eq_any(hosts));
    diesel::update(rows).set(crawl_schedule::next_crawl_at.eq(now)).execute(connection)
}

/// The schedule of a new host: due at once.
pub(super) fn insert(connection: &mut Connection, host: HostId, now: Time) -> QueryResult<usize> {
    diesel::insert_into(crawl_schedule::table)
        .values((crawl_schedule::host_id.eq(host), crawl_schedule::next_crawl_at.eq(now)))
        .execute(connection)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::SignedDuration;

    use super::*;
    use crate::database::{
        Database, Part,
        host::{self, HostChange},
        host_category,
        testing::{add_category, add_host, now, on_both},
    };

    const NEXT_HOUR: i64 = 3600;

    fn after(seconds: i64) -> Time {
        (jiff::Timestamp::from(now()) + SignedDuration::from_secs(seconds)).into()
    }

    /// Hosts that opted in to one category, all due.
    fn add_hosts(database: &Database, names: &[&str]) -> BTreeMap<String, HostId> {
        let category = add_category(database, "fedora", 1);
        let add = |name: &&str| {
            let host = add_host(database, name);
            let urls = [format!("http://{name}/m").parse().unwrap()];
            database
                .write(Part::Hosts, |it| host_category::opt_in(it, host.id, category, &urls, now()))
                .unwrap();
            ((*name).to_owned(), host.id)
        };
        names.iter().map(add).collect()
    }

    fn take_at(
        database: &Database,
        which: Which<'_>,
        holder: &str,
        seconds: i64,
        limit: usize,
    ) -> Vec<String> {
        let taking = Taking { holder, now: after(seconds), until: after(seconds + 60), limit };
        let taken = database.write_log(|it| take(it, which, &taking)).unwrap();
        taken.into_iter().map(|it| it.name.to_string()).collect()
    }

    fn finish_at(database: &Database, host: HostId, holder: &str, began: i64, ended: i64) -> bool {
        let next = Next { at: after(ended + NEXT_HOUR), not_before: None };
        let work = |it: &mut Connection| finish(it, host, holder, after(began), after(ended), next);
        database.write_log(work).unwrap()
    }

    #[test]
    fn a_lease_ends_by_its_crawl_or_by_its_time() {
        on_both(|database| {
            let hosts = add_hosts(database, &["a", "b", "c"]);
            assert_eq!(take_at(database, Which::Due(&[]), "one", 0, 2).len(), 2);
            assert_eq!(take_at(database, Which::Due(&[]), "two", 0, 2), ["c"]);
            assert_eq!(take_at(database, Which::Due(&[]), "two", 30, 9), [""; 0]);
            assert!(finish_at(database, hosts["c"], "two", 0, 30));
            assert!(!finish_at(database, hosts["c"], "two", 0, 30), "it is given back");
            let renewed = |host, holder: &str, seconds| {
                database.write_log(|it| renew(it, host, holder, after(seconds))).unwrap()
            };
            assert!(renewed(hosts["a"], "one", 300));
            assert_eq!(take_at(database, Which::Due(&[]), "two", 60, 9), ["b"], "one was killed");
            assert!(!renewed(hosts["b"], "one", 300) && !finish_at(database, hosts["b"], "one", 0, 61));
            assert_eq!(database.write_log(|it| release(it, "two")).unwrap(), 1);
            assert_eq!(take_at(database, Which::Due(&[]), "three", 61, 9), ["b"]);
            assert_eq!(take_at(database, Which::Due(&[]), "four", 30 + NEXT_HOUR, 9), ["a", "b", "c"]);
        });
    }

    #[test]
    fn who_is_called_while_it_is_crawled_comes_again() {
        on_both(|database| {
            let host = add_hosts(database, &["a"])["a"];
            take_at(database, Which::Due(&[]), "one", 0, 9);
            database.write_log(|it| make_due(it, host, after(5))).unwrap();
            assert!(finish_at(database, host, "one", 0, 10));
            assert_eq!(take_at(database, Which::Due(&[]), "one", 10, 9), ["a"]);
            assert!(finish_at(database, host, "one", 10, 20));
            assert_eq!(take_at(database, Which::Due(&[]), "one", 20, 9), [""; 0]);
        });
    }

    #[test]
    fn who_wants_to_be_left_alone_is() {
        on_both(|database| {
            let host = add_hosts(database, &["a"])["a"];
            take_at(database, Which::Due(&[]), "one", 0, 9);
            let next = Next { at: after(1), not_before: Some(after(100)) };
            let work = |it: &mut Connection| finish(it, host, "one", after(0), after(1), next);
            assert!(database.write_log(work).unwrap());
            database.write_log(|it| make_due(it, host, after(5))).unwrap();
            assert_eq!(take_at(database, Which::Due(&[]), "one", 99, 9), [""; 0]);
            let all = Round { began: after(50), hosts: &[], except: &[], embargoed: &[] };
            assert_eq!(database.read(|it| count_left(it, &all, after(50))).unwrap(), 0);
            assert_eq!(take_at(database, Which::Round(all), "one", 50, 9), [""; 0]);
            let named = ["a".parse().unwrap()];
            let named = Round { hosts: &named, ..all };
            assert_eq!(take_at(database, Which::Round(named), "one", 50, 9), ["a"], "a person asks");
            database.write_log(|it| postpone(it, host, after(200))).unwrap();
            assert!(!finish_at(database, host, "one", 50, 60));
            assert_eq!(take_at(database, Which::Due(&[]), "one", 199, 9), [""; 0]);
            assert_eq!(take_at(database, Which::Due(&[]), "one", 200, 9), ["a"]);
        });
    }

    #[test]
    fn a_round_has_each_host_once() {
        on_both(|database| {
            let hosts = add_hosts(database, &["a", "b"]);
            for host in hosts.values() {
                database.write_log(|it| make_due(it, *host, after(9 * NEXT_HOUR))).unwrap();
            }
            let round = Round { began: after(10), hosts: &[], except: &[], embargoed: &[] };
            let left = |round: &Round<'_>| database.read(|it| count_left(it, round, after(20))).unwrap();
            assert_eq!(take_at(database, Which::Round(round), "one", 10, 9), ["a", "b"]);
            assert!(finish_at(database, hosts["a"], "one", 10, 15));
            assert_eq!(left(&round), 1, "b is being crawled");
            assert_eq!(take_at(database, Which::Round(round), "two", 20, 9), [""; 0]);
            assert_eq!(left(&Round { except: &[hosts["b"]], ..round }), 0);
            assert_eq!(take_at(database, Which::Round(round), "two", 70, 9), ["b"], "one was killed");
            assert!(finish_at(database, hosts["b"], "two", 70, 80));
            assert_eq!(left(&round), 0);
            assert_eq!(left(&Round { began: after(75), ..round }), 2);
        });
    }

    #[test]
    fn only_active_hosts_are_taken() {
        on_both(|database| {
            let hosts = add_hosts(database, &["a", "b"]);
            add_host(database, "opted-in-to-nothing");
            let off = HostChange { user_active: Some(false), ..HostChange::default() };
            database.write(Part::Hosts, |it| host::update(it, hosts["a"], &off)).unwrap();
            let germany = ["DE".parse().unwrap()];
            assert_eq!(take_at(database, Which::Due(&germany), "one", 0, 9), [""; 0]);
            assert_eq!(take_at(database, Which::Due(&[]), "one", 0, 9), ["b"]);
            let is_active =
                |name: &str| database.read(|it| is_active(it, &name.parse().unwrap(), &[])).unwrap();
            assert_eq!(["a", "b", "opted-in-to-nothing", "none"].map(is_active), [false, true, false, false]);
        });
    }

    #[test]
    fn many_crawlers_share_hosts() {
        on_both(|database| {
            let names: Vec<String> = (0..40).map(|it| format!("m{it}")).collect();
            add_hosts(database, &names.iter().map(String::as_str).collect::<Vec<_>>());
            let crawl = |crawler: usize| {
                let mut taken = Vec::new();
                loop {
                    let more = take_at(database, Which::Due(&[]), &format!("crawler {crawler}"), 1, 3);
                    if more.is_empty() {
                        return taken;
                    }
                    taken.extend(more);
                    assert!(taken.len() <= 40, "hosts are taken that others have");
                }
            };
            let mut taken: Vec<String> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..4).map(|it| scope.spawn(move || crawl(it))).collect();
                threads.into_iter().flat_map(|it| it.join().unwrap()).collect()
            });
            taken.sort();
            let mut names = names.clone();
            names.sort();
            assert_eq!(taken, names);
        });
    }
}
