//! The table `demand`: which blobs clients asked for lately. Where a host tells nothing of what it holds, crawls look
//! for these first.

use std::collections::BTreeSet;

use diesel::{prelude::*, upsert::excluded};
use jiff::{SignedDuration, Timestamp};
use roaring::RoaringBitmap;

use super::{
    BATCH_ROWS, Connection, Time,
    connection::on_each,
    schema::{blob, demand},
};

/// So many blobs are kept, those that were asked for last.
const MOST_BLOBS: i64 = 10_000;

/// A blob that nobody asked for so long is in demand no more.
const AGE: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Notes that these blobs, by number, were asked for. Those that were removed meanwhile are passed over.
pub fn note(connection: &mut Connection, numbers: &BTreeSet<u32>, now: Time) -> QueryResult<()> {
    // In one order, so that two servers never wait for each other.
    let numbers: Vec<i64> = numbers.iter().map(|it| i64::from(*it)).collect();
    for some in numbers.chunks(BATCH_ROWS) {
        let there = blob::table.filter(blob::id.eq_any(some)).select(blob::id).order(blob::id);
        let there: Vec<i64> = there.load(connection)?;
        let row = |id| (demand::blob_id.eq(id), demand::asked_at.eq(now));
        let rows: Vec<_> = there.into_iter().map(row).collect();
        on_each!(connection, |it| diesel::insert_into(demand::table)
            .values(rows)
            .on_conflict(demand::blob_id)
            .do_update()
            .set(demand::asked_at.eq(excluded(demand::asked_at)))
            .execute(it))?;
    }
    if numbers.is_empty() { Ok(()) } else { forget(connection, now) }
}

/// Forgets what is old, and the oldest where there are too many.
fn forget(connection: &mut Connection, now: Time) -> QueryResult<()> {
    let since: Time = Timestamp::from(now).checked_sub(AGE).unwrap_or(Timestamp::MIN).into();
    diesel::delete(demand::table.filter(demand::asked_at.lt(since))).execute(connection)?;
    let newest = demand::table.select(demand::asked_at).order(demand::asked_at.desc());
    let last: Option<Time> = newest.offset(MOST_BLOBS).limit(1).first(connection).optional()?;
    if let Some(last) = last {
        diesel::delete(demand::table.filter(demand::asked_at.le(last))).execute(connection)?;
    }
    Ok(())
}

/// The numbers of the blobs that are in demand.
pub(super) fn list(connection: &mut Connection) -> QueryResult<RoaringBitmap> {
    let numbers: Vec<i64> = demand::table.select(demand::blob_id).load(connection)?;
    Ok(numbers.into_iter().filter_map(|it| u32::try_from(it).ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::{
        Part, Sha256,
        content::{self, ContentBlob},
        testing::*,
    };

    #[test]
    fn what_was_asked_for_is_known_for_a_week() {
        on_both(|database| {
            let blobs = (1..=3).map(|it| ContentBlob { digest: Sha256([it; 32]), size: it.into() }).collect();
            let content = content::CategoryContent { blobs, ..new_category("fedora", 1) };
            database.write(Part::Content, |it| content::replace_category(it, &content, now())).unwrap();
            let before = database.generations().unwrap();
            let note = |numbers: &[u32], hours| {
                let at = Timestamp::from(now()) + SignedDuration::from_hours(hours);
                let numbers = numbers.iter().copied().collect();
                database.write_log(|it| note(it, &numbers, at.into())).unwrap();
                database.read(list).unwrap().into_iter().collect::<Vec<_>>()
            };
            assert_eq!(note(&[1, 2, 99], 0), [1, 2], "99 was never there");
            assert_eq!(note(&[2], 100), [1, 2]);
            assert_eq!(note(&[3], 170), [2, 3]);
            assert_eq!(database.generations().unwrap(), before);
        });
    }
}
