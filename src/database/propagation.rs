//! The table `propagation`: which hosts held which serial, since and until when. A host holds a serial when
//! it shows it and all its blobs are there.

use std::collections::BTreeMap;

use diesel::prelude::*;
use roaring::RoaringBitmap;
use serde::Serialize;

use super::{
    Connection, Time,
    schema::{category_serial, host, host_category, propagation},
    snapshot::read_set,
};
use crate::mirror::{CategoryId, HostCategoryId, HostId, HostName, Serial};

/// A published state of a category, and who held it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Propagation {
    /// Which state.
    pub serial: Serial,
    /// When it was scanned.
    pub published_at: Time,
    /// Who held it, in the order in which they came to it. One that went back to it is there twice.
    pub holders: Vec<Holder>,
}

/// A host that held a serial.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Holder {
    /// The host.
    pub host: HostName,
    /// The first crawl that found it.
    pub since: Time,
    /// The first crawl that did not find it any more; `None` as long as it is there.
    pub until: Option<Time>,
}

/// The newest states of a category, newest first, and who held them.
pub fn list(connection: &mut Connection, category: CategoryId, limit: i64) -> QueryResult<Vec<Propagation>> {
    let states: Vec<(Serial, Time)> = category_serial::table
        .filter(category_serial::category_id.eq(category))
        .select((category_serial::serial, category_serial::created_at))
        .order(category_serial::id.desc())
        .limit(limit)
        .load(connection)?;
    let serials: Vec<Serial> = states.iter().map(|it| it.0).collect();
    let rows: Vec<(Serial, HostName, Time, Option<Time>)> = propagation::table
        .inner_join(host_category::table.inner_join(host::table))
        .filter(host_category::category_id.eq(category))
        .filter(propagation::serial.eq_any(serials))
        .select((propagation::serial, host::name, propagation::since, propagation::until))
        .order((propagation::since, host::name))
        .load(connection)?;
    let mut holders: BTreeMap<Serial, Vec<Holder>> = BTreeMap::new();
    for (serial, host, since, until) in rows {
        holders.entry(serial).or_default().push(Holder { host, since, until });
    }
    let of_state = |(serial, published_at)| {
        let holders = holders.remove(&serial).unwrap_or_default();
        Propagation { serial, published_at, holders }
    };
    Ok(states.into_iter().map(of_state).collect())
}

/// Notes what a host shows and holds now.
pub(super) fn note(
    connection: &mut Connection,
    opt_in: HostCategoryId,
    shown: Option<Serial>,
    held: &RoaringBitmap,
    now: Time,
) -> QueryResult<()> {
    let now_held = match shown {
        Some(serial) if is_held(connection, opt_in, serial, held)? => Some(serial),
        _ => None,
    };
    let open = propagation::table
        .filter(propagation::host_category_id.eq(opt_in))
        .filter(propagation::until.is_null());
    let before: Option<Serial> = open.select(propagation::serial).first(connection).optional()?;
    if before == now_held {
        return Ok(());
    }
    diesel::update(open).set(propagation::until.eq(Some(now))).execute(connection)?;
    if let Some(serial) = now_held {
        diesel::insert_into(propagation::table)
            .values((
                propagation::host_category_id.eq(opt_in),
                propagation::serial.eq(serial),
                propagation::since.eq(now),
            ))
            .execute(connection)?;
    }
    Ok(())
}

fn is_held(
    connection: &mut Connection,
    opt_in: HostCategoryId,
    serial: Serial,
    held: &RoaringBitmap,
) -> QueryResult<bool> {
    let category = host_category::table.find(opt_in).select(host_category::category_id);
    let blobs: Option<Vec<u8>> = category_serial::table
        .filter(category_serial::category_id.eq_any(category))
        .filter(category_serial::serial.eq(serial))
        .select(category_serial::blobs)
        .first(connection)
        .optional()?;
    match blobs {
        Some(blobs) => Ok(read_set(&blobs)?.is_subset(held)),
        None => Ok(false),
    }
}

/// Forgets what a host held no longer before this time.
pub(super) fn forget(connection: &mut Connection, host: HostId, since: Time) -> QueryResult<usize> {
    let opt_ins = host_category::table.filter(host_category::host_id.eq(host)).select(host_category::id);
    let old = propagation::table
        .filter(propagation::host_category_id.eq_any(opt_ins))
        .filter(propagation::until.lt(since));
    diesel::delete(old).execute(connection)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::database::{
        Part, Sha256,
        content::{self, ContentBlob},
        host_category,
        testing::{add_host, new_category, now, on_both},
    };

    fn after(hours: i64) -> Time {
        (jiff::Timestamp::from(now()) + SignedDuration::from_hours(hours)).into()
    }

    #[test]
    fn who_holds_what_since_when_is_told() {
        on_both(|database| {
            let mut category = None;
            for (serial, blobs) in [(1, 1..=3), (2, 2..=5)] {
                let blobs = blobs.map(|it: u8| ContentBlob { digest: Sha256([it; 32]), size: 1 });
                let state =
                    content::CategoryContent { blobs: blobs.collect(), ..new_category("fedora", serial) };
                let publish = |it: &mut Connection| {
                    content::replace_category(it, &state, after(serial))?;
                    crate::database::category::find(it, &state.name)
                };
                category = database.write(Part::Content, publish).unwrap().map(|it| it.id);
            }
            let category = category.unwrap();
            let host = add_host(database, "m1");
            let opt_in = |it: &mut Connection| host_category::opt_in(it, host.id, category, &[], now());
            let opt_in = database.write(Part::Hosts, opt_in).unwrap().id;
            let note = |shown, held: &[u32], hours| {
                let held = held.iter().copied().collect();
                database.write_log(|it| note(it, opt_in, shown, &held, after(hours))).unwrap();
            };
            note(Some(1), &[1, 2, 3], 3);
            note(Some(1), &[1, 2, 3], 4);
            note(Some(2), &[2, 3, 4], 5); // it claims more than it has
            note(Some(2), &[1, 2, 3, 4, 5], 6);
            let found = database.read(|it| list(it, category, 9)).unwrap();
            let text: Vec<_> = found
                .iter()
                .flat_map(|it| it.holders.iter().map(|holder| (it.serial, holder.since, holder.until)))
                .collect();
            assert_eq!(text, [(2, after(6), None), (1, after(3), Some(after(5)))]);
            assert_eq!(found[0].published_at, after(2));
            assert_eq!(database.write_log(|it| forget(it, host.id, after(5))).unwrap(), 0);
            assert_eq!(database.write_log(|it| forget(it, host.id, after(99))).unwrap(), 1);
            note(None, &[], 7);
            assert_eq!(
                database.read(|it| list(it, category, 1)).unwrap()[0].holders[0].until,
                Some(after(7))
            );
        });
    }
}
