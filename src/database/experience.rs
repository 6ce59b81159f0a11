//! What clients experience with hosts, and what follows: the tables `host_experience` and `host_demotion`.

use std::collections::BTreeSet;

use diesel::{prelude::*, upsert::excluded};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    BATCH_ROWS, Connection, Database, Error, Part, Time,
    connection::on_each,
    schema::{host, host_demotion, host_experience},
};
use crate::{
    mirror::{HostId, Region},
    mirrorlist::{self, Experience, Networks},
};

/// Whose clients are not sent to a host, and why.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Serialize, Deserialize, JsonSchema)]
pub struct Demotion {
    /// A country or autonomous system.
    pub region: Region,
    /// Until then.
    pub until: Time,
    /// In words.
    pub reason: String,
}

/// Stores what one server saw since `began_at`, in place of what it had stored of the same time. Hosts that were
/// removed meanwhile are passed over.
pub fn store(
    connection: &mut Connection,
    server: i64,
    began_at: Time,
    seen: &[Experience],
) -> QueryResult<()> {
    let hosts: BTreeSet<HostId> = host::table.select(host::id).load(connection)?.into_iter().collect();
    let there: Vec<_> = seen.iter().filter(|it| hosts.contains(&it.host)).collect();
    for some in there.chunks(BATCH_ROWS) {
        let row = |it: &&Experience| {
            (
                host_experience::host_id.eq(it.host),
                host_experience::region.eq(it.region),
                host_experience::server.eq(server),
                host_experience::began_at.eq(began_at),
                host_experience::asked.eq(to_bytes(&it.asked)),
                host_experience::failed.eq(to_bytes(&it.failed)),
            )
        };
        let rows: Vec<_> = some.iter().map(row).collect();
        on_each!(connection, |it| diesel::insert_into(host_experience::table)
            .values(rows)
            .on_conflict((
                host_experience::host_id,
                host_experience::region,
                host_experience::server,
                host_experience::began_at,
            ))
            .do_update()
            .set((
                host_experience::asked.eq(excluded(host_experience::asked)),
                host_experience::failed.eq(excluded(host_experience::failed)),
            ))
            .execute(it))?;
    }
    Ok(())
}

/// What all servers saw since then.
pub fn list(connection: &mut Connection, since: Time) -> QueryResult<Vec<Experience>> {
    let rows: Vec<(HostId, Region, Vec<u8>, Vec<u8>)> = host_experience::table
        .filter(host_experience::began_at.ge(since))
        .select((
            host_experience::host_id,
            host_experience::region,
            host_experience::asked,
            host_experience::failed,
        ))
        .order((host_experience::host_id, host_experience::region))
        .load(connection)?;
    let row = |(host, region, asked, failed): (HostId, Region, Vec<u8>, Vec<u8>)| {
        Some(Experience { host, region, asked: from_bytes(&asked)?, failed: from_bytes(&failed)? })
    };
    Ok(rows.into_iter().filter_map(row).collect())
}

/// Is there anything that was seen before?
pub fn has_before(connection: &mut Connection, before: Time) -> QueryResult<bool> {
    let old = host_experience::table.filter(host_experience::began_at.lt(before));
    Ok(old.select(host_experience::host_id).first::<HostId>(connection).optional()?.is_some())
}

/// Throws away what was seen before.
pub fn forget(connection: &mut Connection, before: Time) -> QueryResult<()> {
    let old = host_experience::table.filter(host_experience::began_at.lt(before));
    diesel::delete(old).execute(connection).map(drop)
}

/// Is a demotion over by now?
pub fn has_demotion_until(connection: &mut Connection, now: Time) -> QueryResult<bool> {
    let over = host_demotion::table.filter(host_demotion::until.le(now)).select(host_demotion::host_id);
    Ok(over.first::<HostId>(connection).optional()?.is_some())
}

/// Whose clients are not sent to this host.
pub fn list_demotions(connection: &mut Connection, host: HostId) -> QueryResult<Vec<Demotion>> {
    host_demotion::table
        .filter(host_demotion::host_id.eq(host))
        .select((host_demotion::region, host_demotion::until, host_demotion::reason))
        .order(host_demotion::region)
        .load(connection)
}

/// Whose clients are not sent to whom.
pub(super) fn list_demoted_regions(connection: &mut Connection) -> QueryResult<Vec<(HostId, Region)>> {
    let columns = (host_demotion::host_id, host_demotion::region);
    host_demotion::table.select(columns).order(columns).load(connection)
}

fn to_bytes(networks: &Networks) -> Vec<u8> {
    networks.0.iter().flat_map(|it| it.to_be_bytes()).collect()
}

fn from_bytes(bytes: &[u8]) -> Option<Networks> {
    let (words, []) = bytes.as_chunks() else { return None };
    let words: Vec<u64> = words.iter().map(|it| u64::from_be_bytes(*it)).collect();
    Some(Networks(words.try_into().ok()?))
}

impl Database {
    /// Demotes these hosts until then, and lets those go whose time is over. Answers change only if that does.
    pub fn demote(&self, demotions: &[mirrorlist::Demotion], until: Time, now: Time) -> Result<(), Error> {
        self.write_parts(|connection| {
            let over = host_demotion::table.filter(host_demotion::until.le(now));
            let mut changed = diesel::delete(over).execute(connection)? > 0;
            let hosts: BTreeSet<HostId> =
                host::table.select(host::id).load(connection)?.into_iter().collect();
            let before: BTreeSet<_> = list_demoted_regions(connection)?.into_iter().collect();
            for it in demotions.iter().filter(|it| hosts.contains(&it.host)) {
                changed |= !before.contains(&(it.host, it.region));
                diesel::delete(host_demotion::table.find((it.host, it.region))).execute(connection)?;
                let row = (
                    host_demotion::host_id.eq(it.host),
                    host_demotion::region.eq(it.region),
                    host_demotion::until.eq(until),
                    host_demotion::reason.eq(&it.reason),
                );
                diesel::insert_into(host_demotion::table).values(row).execute(connection)?;
            }
            Ok(((), if changed { vec![Part::Hosts] } else { Vec::new() }))
        })
    }
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};

    use super::*;
    use crate::database::{snapshot::load_hosts, testing::*};

    fn later(minutes: i64) -> Time {
        (Timestamp::from(now()) + SignedDuration::from_mins(minutes)).into()
    }

    fn seen(host: HostId, region: &str, bits: u64) -> Experience {
        let networks = |bits| Networks([bits, 0, 0, bits << 60]);
        Experience {
            host,
            region: region.parse().unwrap(),
            asked: networks(bits),
            failed: networks(bits & 1),
        }
    }

    #[test]
    fn what_servers_saw_is_kept_by_server_and_time() {
        on_both(|database| {
            let host = add_host(database, "m1").id;
            let before = database.generations().unwrap();
            let store = |server, minutes, rows: &[Experience]| {
                database.write_log(|it| store(it, server, later(minutes), rows)).unwrap();
            };
            let list = |minutes| database.read(|it| list(it, later(minutes))).unwrap();
            store(-7, 0, &[seen(host, "DE", 1), seen(host, "AS64500", 3), seen(HostId(99), "DE", 1)]);
            store(-7, 0, &[seen(host, "DE", 7)]);
            store(8, 10, &[seen(host, "DE", 15)]);
            let expected = [seen(host, "AS64500", 3), seen(host, "DE", 7), seen(host, "DE", 15)];
            let mut found = list(0);
            found.sort_by_key(|it| it.asked.0);
            assert_eq!(found, expected);
            assert_eq!(list(10), expected[2..]);
            database.write_log(|it| forget(it, later(10))).unwrap();
            assert_eq!(list(0), expected[2..]);
            assert_eq!(database.generations().unwrap(), before);
        });
    }

    #[test]
    fn demotions_come_and_go() {
        on_both(|database| {
            let host = add_host(database, "m1").id;
            let demote = |hosts: &[HostId], minutes| {
                let before = database.generations().unwrap().hosts;
                let demotion = |host: &HostId| mirrorlist::Demotion {
                    host: *host,
                    region: "DE".parse().unwrap(),
                    reason: format!("at {minutes}"),
                };
                let demotions: Vec<_> = hosts.iter().map(demotion).collect();
                database.demote(&demotions, later(minutes + 60), later(minutes)).unwrap();
                let regions = database.read(load_hosts).unwrap().hosts[0].demoted.clone();
                (database.generations().unwrap().hosts - before, regions.len())
            };
            assert_eq!(demote(&[], 0), (0, 0));
            assert_eq!(demote(&[host, HostId(99)], 0), (1, 1));
            assert_eq!(demote(&[host], 30), (0, 1), "longer, and nothing else");
            let row = database.read(|it| list_demotions(it, host)).unwrap().remove(0);
            assert_eq!((row.until, row.reason.as_str()), (later(90), "at 30"));
            assert_eq!(demote(&[], 60), (0, 1));
            assert_eq!(demote(&[], 90), (1, 0));
        });
    }
}
