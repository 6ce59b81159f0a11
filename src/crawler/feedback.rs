//! What clients' requests tell of hosts, as servers counted it: who has more clients than its bandwidth carries, and
//! who fails clients though it is good to crawls. Several crawlers may judge at once: they come to the same. Nothing is
//! written while nothing changes.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};

use super::blocking;
use crate::{
    database::{self, Database, experience, traffic},
    mirrorlist::{
        find_demoted,
        load::{ALL, kept},
    },
};

/// How often it is judged.
const TURN: Duration = Duration::from_secs(15);

/// In seconds.
const HOUR: i64 = 60 * 60;

/// Servers have stored what they counted in an hour so long after its end.
const LATE: SignedDuration = SignedDuration::from_secs(30);

/// What clients experienced counts for so long.
const MEMORY: SignedDuration = SignedDuration::from_mins(20);

/// A demoted host is tried again after this time.
const DEMOTED: SignedDuration = SignedDuration::from_hours(1);

/// Counts of so many days are kept.
const DAYS: i64 = 30;

/// Judges again and again. A database that fails is asked again.
pub(super) async fn follow(database: &Arc<Database>, fill: u8, clock: fn() -> Timestamp) {
    loop {
        if let Err(error) = judge(database, fill, clock).await {
            tracing::error!(%error, "what clients tell of hosts cannot be judged");
        }
        tokio::time::sleep(TURN).await;
    }
}

/// Judges once.
pub(super) async fn judge(
    database: &Arc<Database>,
    fill: u8,
    clock: fn() -> Timestamp,
) -> Result<(), database::Error> {
    let now = clock();
    blocking(database, move |it| {
        share_out(it, fill, now)?;
        demote(it, now)
    })
    .await
}

/// Hosts that had too many clients in the last whole hour keep some of them.
fn share_out(database: &Database, fill: u8, now: Timestamp) -> Result<(), database::Error> {
    let hour = |before: i64| {
        let seconds = ((now - LATE).as_second().div_euclid(HOUR) - before) * HOUR;
        Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH).into()
    };
    let (demands, before, is_old) = database.read(|it| {
        let is_old = traffic::has_before(it, hour(DAYS * 24))?;
        Ok((traffic::list_demands(it, hour(1))?, traffic::list_kept(it)?, is_old))
    })?;
    let all = demands.iter().map(|(host, bandwidth, demand)| (*host, kept(*bandwidth, fill, demand)));
    let some: BTreeMap<_, _> = all.filter(|it| it.1 < ALL).collect();
    if some != before {
        database.replace_kept(&some)?;
    }
    if is_old {
        database.write_log(|it| traffic::forget(it, hour(DAYS * 24)))?;
    }
    Ok(())
}

/// Hosts that fail the clients of a region far more than others do are not offered to these for a while.
fn demote(database: &Database, now: Timestamp) -> Result<(), database::Error> {
    let (since, now_time) = ((now - MEMORY).into(), now.into());
    let (seen, is_old, is_over) = database.read(|it| {
        let is_old = experience::has_before(it, since)?;
        Ok((experience::list(it, since)?, is_old, experience::has_demotion_until(it, now_time)?))
    })?;
    let demotions = find_demoted(&seen);
    for it in &demotions {
        tracing::warn!(host.id = it.host.0, region = %it.region, reason = it.reason, "a host is not offered to these clients");
    }
    if is_over || !demotions.is_empty() {
        database.demote(&demotions, (now + DEMOTED).into(), now_time)?;
    }
    if is_old {
        database.write_log(|it| experience::forget(it, since))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        database::{Time, snapshot::load_hosts, testing::*, traffic::Traffic},
        mirror::HostId,
        mirrorlist::{Experience, Networks, load::Demand},
    };

    fn at(text: &str) -> Timestamp {
        format!("2026-11-21T{text}Z").parse().unwrap()
    }

    #[test]
    fn the_last_whole_hour_decides_who_has_too_many_clients() {
        on_both(|database| {
            // 1,000 Mbit/s, of which half may be filled: 225 GB in an hour.
            let host = add_host(database, "m1").id;
            let sent = |hour, others| {
                let traffic = Traffic { bytes: 1, demand: Demand { own: 0, others } };
                let add = |it: &mut database::Connection| {
                    traffic::add(it, Time::from(at(hour)), &[(host, traffic)].into())
                };
                database.write_log(add).unwrap();
            };
            let kept = |now, fill| {
                share_out(database, fill, at(now)).unwrap();
                database.read(load_hosts).unwrap().hosts[0].kept
            };
            sent("12:00:00", 500_000_000_000);
            sent("12:00:00", 400_000_000_000);
            sent("13:00:00", 225_000_000_000);
            assert_eq!(kept("12:59:59", 50), 1000, "the hour is not over");
            assert_eq!(kept("13:00:29", 50), 1000, "not all is stored");
            assert_eq!(kept("13:00:30", 50), 250);
            assert_eq!(kept("13:30:00", 0), 1000, "without a limit");
            assert_eq!(kept("14:00:29", 50), 250);
            assert_eq!(kept("14:00:30", 50), 1000, "what it carries");
            assert_eq!(kept("15:00:30", 50), 1000, "nobody came");
        });
    }

    #[test]
    fn a_host_that_fails_clients_is_tried_again_after_an_hour() {
        on_both(|database| {
            let (bad, good) = (add_host(database, "m1").id, add_host(database, "m2").id);
            let networks = |count: u8| {
                let mut networks = Networks::default();
                (0..count).for_each(|it| networks.insert([10, 0, it, 0].into()));
                networks
            };
            let seen = |host: HostId, failed| Experience {
                host,
                region: "DE".parse().unwrap(),
                asked: networks(20),
                failed: networks(failed),
            };
            let store = |it: &mut database::Connection| {
                let rows = [seen(bad, 15), seen(good, 0)];
                experience::store(it, 1, Time::from(at("12:00:00")), &rows)
            };
            database.write_log(store).unwrap();
            let demoted = |now| {
                demote(database, at(now)).unwrap();
                let hosts = database.read(load_hosts).unwrap().hosts;
                let demoted = hosts.iter().filter(|it| !it.demoted.is_empty());
                demoted.map(|it| it.id).collect::<Vec<_>>()
            };
            assert_eq!(demoted("12:01:00"), [bad]);
            assert_eq!(demoted("12:20:00"), [bad]);
            assert_eq!(demoted("13:19:59"), [bad], "an hour since it was last seen");
            assert_eq!(demoted("13:20:00"), []);
        });
    }
}
