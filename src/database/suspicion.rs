//! The table `suspicion`: blobs that clients did not get from a URL, until the prober has looked.

use std::collections::BTreeSet;

use diesel::prelude::*;

use super::{
    BATCH_ROWS, Connection, Part, Sha256, Time,
    connection::on_each,
    crawl::{self, Repair},
    schema::{blob, host, host_category, host_category_url, suspicion},
};
use crate::{
    mirror::{FileFault, HostCategoryId, HostCategoryUrlId, HostName, HostUrl, Reach},
    oci,
};

/// So many suspicions are kept at most; more are dropped. Clients repeat them.
const MOST_SUSPICIONS: i64 = 10_000;

/// So many blobs of one opt-in that do not come to their end take all others with them.
const BROKEN_UNTIL_OUT: i64 = 2;

/// So many others are worth a look when the first one does not.
const MOST_OTHERS: usize = 2;

/// They are sought among so many of the newest.
const OTHERS_READ: i64 = 1_000;

/// Something to look at.
#[derive(Clone, Debug, PartialEq)]
pub struct Suspicion {
    /// Where.
    pub url_id: HostCategoryUrlId,
    /// Where.
    pub url: HostUrl,
    /// Does it answer by IPv4?
    pub ipv4: Reach,
    /// Whose it is.
    pub host_name: HostName,
    /// The opt-in, whose holdings are in doubt.
    pub host_category: HostCategoryId,
    /// The number of the blob.
    pub number: u32,
    /// What is asked for.
    pub digest: Sha256,
    /// In bytes.
    pub size: u64,
}

/// What a look at a suspicion gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Settled {
    /// What was looked at.
    pub suspicion: Suspicion,
    /// Why the host does not hold the blob; `None`: nothing was found wrong.
    pub fault: Option<BlobFault>,
}

/// What is wrong with a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobFault {
    /// In one word.
    pub kind: FileFault,
    /// For the host's admin.
    pub reason: String,
}

/// Notes suspicions. What is no longer there is passed over, and what is noted already keeps its time.
pub fn insert(
    connection: &mut Connection,
    suspicions: &BTreeSet<(HostCategoryUrlId, u32)>,
    now: Time,
) -> QueryResult<()> {
    let known: i64 = suspicion::table.count().get_result(connection)?;
    let room = usize::try_from(MOST_SUSPICIONS - known).unwrap_or_default();
    let some: Vec<_> = suspicions.iter().copied().take(room.min(BATCH_ROWS)).collect();
    let urls: BTreeSet<HostCategoryUrlId> = host_category_url::table
        .filter(host_category_url::id.eq_any(some.iter().map(|it| it.0)))
        .select(host_category_url::id)
        .load(connection)?
        .into_iter()
        .collect();
    let blobs: BTreeSet<i64> = blob::table
        .filter(blob::id.eq_any(some.iter().map(|it| i64::from(it.1))))
        .select(blob::id)
        .load(connection)?
        .into_iter()
        .collect();
    let there = some.iter().filter(|(url, number)| urls.contains(url) && blobs.contains(&i64::from(*number)));
    let row = |(url, number): &(HostCategoryUrlId, u32)| {
        (
            suspicion::host_category_url_id.eq(*url),
            suspicion::blob_id.eq(i64::from(*number)),
            suspicion::first_seen_at.eq(now),
        )
    };
    let rows: Vec<_> = there.map(row).collect();
    on_each!(connection, |it| diesel::insert_into(suspicion::table)
        .values(rows)
        .on_conflict_do_nothing()
        .execute(it))
    .map(drop)
}

/// What is to be looked at, the oldest first.
pub fn list(connection: &mut Connection, most: i64) -> QueryResult<Vec<Suspicion>> {
    type Row = (HostCategoryUrlId, HostUrl, Reach, HostName, HostCategoryId, i64, Sha256, i64);
    let rows: Vec<Row> = suspicion::table
        .inner_join(host_category_url::table.inner_join(host_category::table.inner_join(host::table)))
        .inner_join(blob::table)
        .select((
            host_category_url::id,
            host_category_url::url,
            host_category_url::ipv4_reach,
            host::name,
            host_category::id,
            blob::id,
            blob::digest,
            blob::size,
        ))
        .order((suspicion::first_seen_at, host_category_url::id, blob::id))
        .limit(most)
        .load(connection)?;
    let suspicion = |(url_id, url, ipv4, host_name, host_category, number, digest, size): Row| {
        let (number, size) = (u32::try_from(number).ok()?, u64::try_from(size).ok()?);
        Some(Suspicion { url_id, url, ipv4, host_name, host_category, number, digest, size })
    };
    Ok(rows.into_iter().filter_map(suspicion).collect())
}

/// Takes them away; gives the parts of the snapshot that changed by it. A blob that is not as it should be is held no
/// more. Wrong bytes take all others of the opt-in with it. So does a second blob that does not come to its end.
pub(super) fn settle(connection: &mut Connection, settled: &[Settled], now: Time) -> QueryResult<Vec<Part>> {
    let mut changed = false;
    for Settled { suspicion: it, fault } in settled {
        if let Some(fault) = fault {
            changed |= remove(connection, it, fault, now)?;
        }
        diesel::delete(suspicion::table.find((it.url_id, i64::from(it.number)))).execute(connection)?;
    }
    Ok(if changed { vec![Part::Holdings] } else { Vec::new() })
}

/// Is something held no more by it?
fn remove(connection: &mut Connection, of: &Suspicion, fault: &BlobFault, now: Time) -> QueryResult<bool> {
    let reason = format!("a client did not get {}: {}", oci::Digest::from(of.digest), fault.reason);
    if !crawl::remove_blob(connection, of.host_category, of.number, &reason)? {
        return Ok(false);
    }
    if !matches!(fault.kind, FileFault::Damaged | FileFault::Broken) {
        return Ok(true);
    }
    // Only who reads it to its end lets it in again.
    let repair = Repair { number: of.number, fault: fault.kind, reason: fault.reason.clone() };
    let broken = crawl::add_repair(connection, of.host_category, &repair)?;
    if fault.kind == FileFault::Damaged || broken >= BROKEN_UNTIL_OUT {
        crawl::remove_all(connection, of.host_category, fault.kind, now)?;
    }
    Ok(true)
}

/// Others of the same opt-in that may fail in the same way: the newest that are not much smaller.
pub fn list_others(connection: &mut Connection, of: &Suspicion) -> QueryResult<Vec<Suspicion>> {
    let held = crawl::find_held(connection, of.host_category)?;
    let least = i64::try_from(of.size / 2).unwrap_or(i64::MAX);
    let large = blob::table
        .filter(blob::size.ge(least).and(blob::id.ne(i64::from(of.number))))
        .select((blob::id, blob::digest, blob::size))
        .order(blob::id.desc());
    let rows: Vec<(i64, Sha256, i64)> = large.limit(OTHERS_READ).load(connection)?;
    let other = |(number, digest, size)| {
        let (number, size) = (u32::try_from(number).ok()?, u64::try_from(size).ok()?);
        Some(Suspicion { number, digest, size, ..of.clone() })
    };
    let others = rows.into_iter().filter_map(other).filter(|it| held.contains(it.number));
    Ok(others.take(MOST_OTHERS).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::{
        Database,
        content::{self, ContentBlob},
        crawl::{Checks, CrawlHoldings, CrawlResult, list_holdings},
        host_category::{list_urls, opt_in},
        testing::*,
    };
    use crate::mirror::CrawlState;

    /// A host that holds blobs 1 to 3, and its URL.
    fn add(database: &Database) -> (crate::mirror::HostId, HostCategoryUrlId) {
        let mut content = new_category("fedora", 1);
        let blob = |it: u8| ContentBlob { digest: Sha256([it; 32]), size: u64::from(it) };
        content.blobs = (1..=3).map(blob).collect();
        database.write(Part::Content, |it| content::replace_category(it, &content, now())).unwrap();
        let category =
            database.read(|it| crate::database::category::find(it, &content.name)).unwrap().unwrap();
        let host = add_host(database, "m1");
        let url: HostUrl = "https://m1/fedora".parse().unwrap();
        let row = database.write(Part::Hosts, |it| opt_in(it, host.id, category.id, &[url], now())).unwrap();
        let result = CrawlResult {
            host: host.id,
            started_at: now(),
            duration: jiff::SignedDuration::from_secs(1),
            state: CrawlState::UpToDate,
            log: String::new(),
            auto_disabled: None,
            holdings: vec![CrawlHoldings {
                host_category: row.id,
                serial: Some(1),
                state: CrawlState::UpToDate,
                reason: "all of 3 files".into(),
                blobs: Some([1, 2, 3].into_iter().collect()),
            }],
            urls: Vec::new(),
            checks: Checks::default(),
        };
        database.store_crawl(&result).unwrap();
        (host.id, database.read(|it| list_urls(it, row.id)).unwrap()[0].id)
    }

    #[test]
    fn exactly_what_is_missing_goes() {
        on_both(|database| {
            let (host, url) = add(database);
            let before = database.generations().unwrap();
            let other = HostCategoryUrlId(99);
            let noted = [(url, 2), (url, 3), (url, 77), (other, 1)].into();
            for _ in 0..2 {
                database.write_log(|it| insert(it, &noted, now())).unwrap();
            }
            assert_eq!(database.generations().unwrap(), before, "a suspicion is no verdict");
            let found = database.read(|it| list(it, 9)).unwrap();
            assert_eq!(found.iter().map(|it| it.number).collect::<Vec<_>>(), [2, 3]);
            assert_eq!((found[0].digest, found[0].size), (Sha256([2; 32]), 2));
            let gone = BlobFault { kind: FileFault::Absent, reason: "it is gone".into() };
            let settled = |at: usize, fault| Settled { suspicion: found[at].clone(), fault };
            database.settle(&[settled(0, None)], now()).unwrap();
            assert_eq!(database.generations().unwrap(), before, "it was there");
            database.settle(&[settled(1, Some(gone.clone()))], now()).unwrap();
            assert_eq!(database.generations().unwrap().holdings, before.holdings + 1);
            let holdings = database.read(|it| list_holdings(it, host)).unwrap().remove(0).1;
            assert_eq!(holdings.set(), Some([1, 2].into_iter().collect()));
            assert_eq!(holdings.state, CrawlState::Lying);
            let digest = oci::Digest::from(Sha256([3; 32]));
            assert_eq!(holdings.reason, format!("a client did not get {digest}: it is gone; all of 3 files"));
            assert!(database.read(|it| list(it, 9)).unwrap().is_empty());
            database.settle(&[settled(1, Some(gone))], now()).unwrap();
            assert_eq!(database.generations().unwrap().holdings, before.holdings + 1, "nothing new");
        });
    }

    /// What is held after these faults of the newest of three blobs and of those that are looked at with it.
    fn settled(database: &Database, kinds: &[FileFault]) -> Vec<u32> {
        let (host, url) = add(database);
        database.write_log(|it| insert(it, &[(url, 3)].into(), now())).unwrap();
        let first = database.read(|it| list(it, 9)).unwrap().remove(0);
        let others = database.read(|it| list_others(it, &first)).unwrap();
        assert_eq!(others.iter().map(|it| it.number).collect::<Vec<_>>(), [2, 1]);
        assert_eq!((others[1].digest, others[1].size, others[1].url_id), (Sha256([1; 32]), 1, url));
        let fault = |kind: &FileFault| Some(BlobFault { kind: *kind, reason: "a reason".into() });
        let with_faults = [vec![first], others].concat().into_iter().zip(kinds);
        let settled: Vec<_> =
            with_faults.map(|(suspicion, kind)| Settled { suspicion, fault: fault(kind) }).collect();
        database.settle(&settled, now()).unwrap();
        assert!(database.read(|it| list(it, 9)).unwrap().is_empty());
        let holdings = database.read(|it| list_holdings(it, host)).unwrap().remove(0).1;
        holdings.set().unwrap().into_iter().collect()
    }

    #[test]
    fn wrong_bytes_and_a_second_broken_body_take_all() {
        use FileFault::{Broken, Damaged, Wrong};
        on_both(|database| assert_eq!(settled(database, &[Wrong]), [1, 2]));
        on_both(|database| assert!(settled(database, &[Damaged]).is_empty()));
        on_both(|database| assert_eq!(settled(database, &[Broken]), [1, 2]));
        on_both(|database| assert!(settled(database, &[Broken, Broken]).is_empty()));
    }

    #[test]
    fn what_was_broken_waits_to_be_read() {
        on_both(|database| {
            settled(database, &[FileFault::Broken, FileFault::Broken]);
            let hosts = database.read(crate::database::host::list).unwrap();
            let host = database.read(|it| crawl::list_hosts(it, &[hosts[0].id])).unwrap().remove(0);
            let repair = &host.categories[0].repair;
            let files: Vec<_> = repair.iter().map(|it| (it.number, it.fault)).collect();
            assert_eq!(files, [(3, FileFault::Broken), (2, FileFault::Broken)]);
            assert_eq!(host.categories[0].cycle, None, "it is looked at as if it were new");
        });
    }
}
