//! What clients' requests tell, as servers counted it: which host has more clients than its bandwidth carries, which one
//! fails clients though it is good to crawls, and whether a budget is spent. Several crawlers may judge at once: they come to the same. Nothing is
//! written while nothing changes.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};

use super::{Crawler, blocking};
use crate::{
    database::{
        self, Database, experience,
        statistics::{self, Overspent, Period, StatisticsConfig},
        traffic,
    },
    mirrorlist::{
        find_demoted,
        load::{ALL, kept},
    },
    notice::{Event, Notice},
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

/// Judges again and again. A database that fails is asked again.
pub(super) async fn follow(crawler: &Crawler, database: &Arc<Database>, clock: fn() -> Timestamp) {
    loop {
        if let Err(error) = judge(crawler, database, clock).await {
            tracing::error!(%error, "what clients tell of hosts cannot be judged");
        }
        tokio::time::sleep(TURN).await;
    }
}

/// Judges once.
pub(super) async fn judge(
    crawler: &Crawler,
    database: &Arc<Database>,
    clock: fn() -> Timestamp,
) -> Result<(), database::Error> {
    let (now, fill, statistics) = (clock(), crawler.config.fill, crawler.statistics.clone());
    let work = move |it: &Database| {
        share_out(it, fill, now)?;
        demote(it, now)?;
        forget(it, &statistics, now)?;
        list_overspent(it, &statistics, now)
    };
    for overspent in blocking(database, work).await? {
        tell(crawler, &overspent, now);
    }
    Ok(())
}

/// Throws away what is old.
fn forget(database: &Database, config: &StatisticsConfig, now: Timestamp) -> Result<(), database::Error> {
    let hours = Period::Hour.began((now - config.hours).into());
    let days = Period::Day.began((now - config.days).into());
    if database.read(|it| statistics::has_before(it, hours, days))? {
        database.write_log(|it| statistics::forget(it, hours, days))?;
    }
    Ok(())
}

/// The budgets of which more is spent than was told, and which are ours to tell now.
fn list_overspent(
    database: &Database,
    config: &StatisticsConfig,
    now: Timestamp,
) -> Result<Vec<Overspent>, database::Error> {
    if config.budget_per_day == 0 && config.budget_per_month == 0 {
        return Ok(Vec::new());
    }
    let mut news = Vec::new();
    let spent = database.read(|it| statistics::find_spent(it, now.into()))?;
    for overspent in statistics::find_overspent(config, spent) {
        // Mostly it was told before, and nothing is written.
        if !database.read(|it| statistics::is_told(it, &overspent, now.into()))?
            && database.write_log(|it| statistics::note_told(it, &overspent, now.into()))?
        {
            news.push(overspent);
        }
    }
    Ok(news)
}

fn tell(crawler: &Crawler, overspent: &Overspent, now: Timestamp) {
    let Overspent { period, percent, spent, budget } = overspent;
    tracing::warn!(
        period,
        percent,
        spent,
        budget,
        "much of a budget of bytes from CDNs and the fallback is spent"
    );
    let Some(teller) = &crawler.teller else { return };
    teller.tell(Notice {
        event: Event::Budget,
        host: None,
        at: now,
        reason: format!(
            "CDNs and the fallback have sent {spent} bytes in this {period} (UTC): {percent} % or more of the budget, {budget} bytes"
        ),
        log: Vec::new(),
        repair: Vec::new(),
        contacts: crawler.operators.clone(),
    });
}

/// Hosts that had too many clients in the last whole hour keep some of them.
fn share_out(database: &Database, fill: u8, now: Timestamp) -> Result<(), database::Error> {
    let hour = |before: i64| {
        let seconds = ((now - LATE).as_second().div_euclid(HOUR) - before) * HOUR;
        Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH).into()
    };
    let (demands, before) =
        database.read(|it| Ok((traffic::list_demands(it, hour(1))?, traffic::list_kept(it)?)))?;
    let all = demands.iter().map(|(host, bandwidth, demand)| (*host, kept(*bandwidth, fill, demand)));
    let some: BTreeMap<_, _> = all.filter(|it| it.1 < ALL).collect();
    if some != before {
        database.replace_kept(&some)?;
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
        database::{
            Time,
            snapshot::load_hosts,
            statistics::{Batch, Count, Way},
            testing::*,
            traffic::Traffic,
        },
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
                let traffic = Traffic { requests: 1, bytes: 1, demand: Demand { own: 0, others } };
                let batch = Batch { hosts: [(host, traffic)].into(), ..Batch::default() };
                database.write_log(|it| statistics::add(it, Time::from(at(hour)), &batch)).unwrap();
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
    fn one_of_several_crawlers_tells_of_a_budget() {
        on_both(|database| {
            let config = StatisticsConfig { budget_per_month: 100, ..StatisticsConfig::default() };
            let spend = |bytes| {
                let ways = [(Way::Cdn, Count { requests: 1, bytes })].into();
                let batch = Batch { ways, ..Batch::default() };
                database.write_log(|it| statistics::add(it, Time::from(at("12:00:00")), &batch)).unwrap();
            };
            let told = || {
                let news = list_overspent(database, &config, at("12:01:00")).unwrap();
                news.iter().map(|it| (it.percent, it.spent)).collect::<Vec<_>>()
            };
            spend(79);
            assert_eq!(told(), []);
            spend(1);
            assert_eq!((told(), told()), (vec![(80, 80)], vec![]));
            spend(50);
            assert_eq!((told(), told()), (vec![(100, 130)], vec![]));
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
