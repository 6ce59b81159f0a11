//! What clients were sent to fetch, and how many of them hosts keep: the tables `host_traffic`, `host_day_traffic` and
//! `host_load`.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::AddAssign,
};

use diesel::{prelude::*, upsert::excluded};

use super::{
    BATCH_ROWS, Connection, Database, Error, Part, Time,
    connection::on_each,
    schema::{host, host_day_traffic, host_load, host_traffic},
    statistics::{Count, Period, stored},
};
use crate::{
    mirror::{Bandwidth, HostId},
    mirrorlist::load::Demand,
};

/// What clients were sent to one host to fetch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// How often.
    pub requests: u64,
    /// In bytes.
    pub bytes: u64,
    /// What that tells of the host's demand.
    pub demand: Demand,
}

impl AddAssign for Traffic {
    fn add_assign(&mut self, other: Self) {
        let Demand { own, others } = other.demand;
        self.requests = self.requests.saturating_add(other.requests);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.demand.own = self.demand.own.saturating_add(own);
        self.demand.others = self.demand.others.saturating_add(others);
    }
}

/// Adds to what is known of this hour, and of its day. Hosts that were removed meanwhile are passed over.
pub(super) fn add(
    connection: &mut Connection,
    hour: Time,
    traffic: &BTreeMap<HostId, Traffic>,
) -> QueryResult<()> {
    // In one order, so that two servers never wait for each other.
    let hosts: Vec<_> = traffic.keys().copied().collect();
    for some in hosts.chunks(BATCH_ROWS) {
        let there = host::table.filter(host::id.eq_any(some)).select(host::id).order(host::id);
        let there: Vec<HostId> = there.load(connection)?;
        let row = |(host, it): (HostId, &Traffic)| {
            (
                host_traffic::host_id.eq(host),
                host_traffic::hour.eq(hour),
                host_traffic::bytes.eq(stored(it.bytes)),
                host_traffic::own_bytes.eq(stored(it.demand.own)),
                host_traffic::other_bytes.eq(stored(it.demand.others)),
            )
        };
        let found = || there.iter().filter_map(|it| Some((*it, traffic.get(it)?)));
        let rows: Vec<_> = found().map(row).collect();
        on_each!(connection, |it| diesel::insert_into(host_traffic::table)
            .values(rows)
            .on_conflict((host_traffic::host_id, host_traffic::hour))
            .do_update()
            .set((
                host_traffic::bytes.eq(host_traffic::bytes + excluded(host_traffic::bytes)),
                host_traffic::own_bytes.eq(host_traffic::own_bytes + excluded(host_traffic::own_bytes)),
                host_traffic::other_bytes.eq(host_traffic::other_bytes + excluded(host_traffic::other_bytes)),
            ))
            .execute(it))?;
        add_days(connection, Period::Day.began(hour), found())?;
    }
    Ok(())
}

fn add_days<'a>(
    connection: &mut Connection,
    day: Time,
    traffic: impl Iterator<Item = (HostId, &'a Traffic)>,
) -> QueryResult<()> {
    let row = |(host, it): (HostId, &Traffic)| {
        (
            host_day_traffic::host_id.eq(host),
            host_day_traffic::day.eq(day),
            host_day_traffic::requests.eq(stored(it.requests)),
            host_day_traffic::bytes.eq(stored(it.bytes)),
        )
    };
    let rows: Vec<_> = traffic.map(row).collect();
    on_each!(connection, |it| diesel::insert_into(host_day_traffic::table)
        .values(rows)
        .on_conflict((host_day_traffic::host_id, host_day_traffic::day))
        .do_update()
        .set((
            host_day_traffic::requests.eq(host_day_traffic::requests + excluded(host_day_traffic::requests)),
            host_day_traffic::bytes.eq(host_day_traffic::bytes + excluded(host_day_traffic::bytes)),
        ))
        .execute(it))?;
    Ok(())
}

/// What clients were sent to each host to fetch since a day, by day. Without days on which nobody was.
pub fn list_days(connection: &mut Connection, since: Time) -> QueryResult<Vec<(HostId, Time, Count)>> {
    let rows: Vec<(HostId, Time, i64, i64)> = host_day_traffic::table
        .filter(host_day_traffic::day.ge(since))
        .order((host_day_traffic::host_id, host_day_traffic::day))
        .load(connection)?;
    let count = |(host, day, requests, bytes): (HostId, Time, i64, i64)| {
        (host, day, Count { requests: requests.cast_unsigned(), bytes: bytes.cast_unsigned() })
    };
    Ok(rows.into_iter().map(count).collect())
}

/// Each host's demand in an hour, with its bandwidth in Mbit/s where it is known.
pub fn list_demands(
    connection: &mut Connection,
    hour: Time,
) -> QueryResult<Vec<(HostId, Option<u32>, Demand)>> {
    let rows: Vec<(HostId, i64, i64)> = host_traffic::table
        .filter(host_traffic::hour.eq(hour))
        .select((host_traffic::host_id, host_traffic::own_bytes, host_traffic::other_bytes))
        .load(connection)?;
    let bandwidths: BTreeMap<HostId, Option<Bandwidth>> =
        host::table.select((host::id, host::bandwidth)).load(connection)?.into_iter().collect();
    let demand = |(host, own, others): (HostId, i64, i64)| {
        let demand = Demand { own: own.cast_unsigned(), others: others.cast_unsigned() };
        (host, bandwidths.get(&host).copied().flatten().map(Bandwidth::megabits), demand)
    };
    Ok(rows.into_iter().map(demand).collect())
}

/// What was sent to a host in the newest hours, at most so many, newest first.
pub fn list(connection: &mut Connection, host: HostId, most: i64) -> QueryResult<Vec<(Time, i64)>> {
    host_traffic::table
        .filter(host_traffic::host_id.eq(host))
        .select((host_traffic::hour, host_traffic::bytes))
        .order(host_traffic::hour.desc())
        .limit(most)
        .load(connection)
}

/// So many of a thousand clients stay with these hosts; with all others, all.
pub fn list_kept(connection: &mut Connection) -> QueryResult<BTreeMap<HostId, u16>> {
    let rows: Vec<(HostId, i64)> =
        host_load::table.select((host_load::host_id, host_load::kept)).load(connection)?;
    Ok(rows.into_iter().filter_map(|(host, kept)| Some((host, u16::try_from(kept).ok()?))).collect())
}

/// Throws away the hours before the one, and the days before the other.
pub(super) fn forget(connection: &mut Connection, hours: Time, days: Time) -> QueryResult<()> {
    diesel::delete(host_day_traffic::table.filter(host_day_traffic::day.lt(days))).execute(connection)?;
    diesel::delete(host_traffic::table.filter(host_traffic::hour.lt(hours))).execute(connection).map(drop)
}

impl Database {
    /// Says how many of a thousand clients stay with these hosts; with all others, all. Answers change only if
    /// that is new.
    pub fn replace_kept(&self, kept: &BTreeMap<HostId, u16>) -> Result<(), Error> {
        self.write_parts(|connection| {
            let hosts: BTreeSet<HostId> =
                host::table.select(host::id).load(connection)?.into_iter().collect();
            let kept: BTreeMap<_, _> = kept.iter().filter(|it| hosts.contains(it.0)).collect();
            let before = list_kept(connection)?;
            if before.iter().eq(kept.iter().map(|(host, kept)| (*host, *kept))) {
                return Ok(((), Vec::new()));
            }
            diesel::delete(host_load::table).execute(connection)?;
            for (host, kept) in kept {
                let row = (host_load::host_id.eq(*host), host_load::kept.eq(i64::from(*kept)));
                diesel::insert_into(host_load::table).values(row).execute(connection)?;
            }
            Ok(((), vec![Part::Hosts]))
        })
    }
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};

    use super::*;
    use crate::database::{snapshot::load_hosts, testing::*};

    fn later(hours: i64) -> Time {
        (Timestamp::from(now()) + SignedDuration::from_hours(hours)).into()
    }

    #[test]
    fn hours_add_up_and_are_forgotten() {
        on_both(|database| {
            let (one, two) = (add_host(database, "m1").id, add_host(database, "m2").id);
            let before = database.generations().unwrap();
            let traffic = |bytes| Traffic {
                requests: 1,
                bytes,
                demand: Demand { own: bytes / 10, others: bytes.saturating_mul(2) },
            };
            for hour in [0, 0, 1] {
                let noted = [(one, traffic(100)), (two, traffic(u64::MAX)), (HostId(99), traffic(1))].into();
                database.write_log(|it| add(it, later(hour), &noted)).unwrap();
            }
            assert_eq!(database.generations().unwrap(), before);
            let hours = database.read(|it| list(it, one, 9)).unwrap();
            assert_eq!(hours, [(later(1), 100), (later(0), 200)]);
            let demands = database.read(|it| list_demands(it, later(0))).unwrap();
            assert_eq!(demands[0], (one, Some(1000), Demand { own: 20, others: 400 }));
            assert_eq!((demands.len(), demands[1].2.others), (2, 1 << 51));
            database.write_log(|it| forget(it, later(1), later(0))).unwrap();
            assert_eq!(database.read(|it| list(it, one, 9)).unwrap().len(), 1);
        });
    }

    #[test]
    fn what_hosts_keep_is_published_when_it_changes() {
        on_both(|database| {
            let host = add_host(database, "m1").id;
            let kept = |kept: &[(HostId, u16)]| {
                let before = database.generations().unwrap().hosts;
                database.replace_kept(&kept.iter().copied().collect()).unwrap();
                let rows = database.read(load_hosts).unwrap();
                (database.generations().unwrap().hosts - before, rows.hosts[0].kept)
            };
            assert_eq!(kept(&[]), (0, 1000));
            assert_eq!(kept(&[(host, 250), (HostId(99), 1)]), (1, 250));
            assert_eq!(kept(&[(host, 250)]), (0, 250));
            assert_eq!(kept(&[(host, 10)]), (1, 10));
            assert_eq!(kept(&[]), (1, 1000));
        });
    }
}
