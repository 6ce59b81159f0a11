//! The table `holdings`: what hosts hold of the categories they opted in to.

use diesel::prelude::*;
use roaring::RoaringBitmap;
use serde::Serialize;

use crate::database::{
    Connection, Time, propagation,
    schema::{category, crawl_cycle, holdings, host_category},
    snapshot::{read_set, write_set},
};
use crate::mirror::{CategoryName, CrawlState, FileFault, HostCategoryId, HostId, Serial};

/// How old, in seconds, holdings that do not change may look before they are confirmed. Each confirmation
/// publishes the holdings anew; answers believe them for 7 days.
const CONFIRM_SECONDS: i64 = 12 * 60 * 60;

/// How long the reason may become by what clients did not get, in characters.
const REASON_LIMIT: usize = 2_000;

/// What a host holds of a category.
#[derive(Clone, Debug, PartialEq, Queryable, Selectable, Serialize)]
#[diesel(table_name = holdings)]
pub struct Holdings {
    /// The opt-in.
    pub host_category_id: HostCategoryId,
    /// The serial that the host shows.
    pub serial: Option<Serial>,
    /// What the crawler thinks of it.
    pub state: CrawlState,
    /// Why.
    pub reason: String,
    /// The numbers of its blobs: a roaring bitmap in the portable format.
    #[serde(skip)]
    pub blobs: Vec<u8>,
    /// When a crawl last confirmed the blobs, at most 12 hours behind.
    pub crawled_at: Time,
}

impl Holdings {
    /// The numbers of its blobs; `None` when the bytes are damaged.
    pub fn set(&self) -> Option<RoaringBitmap> {
        RoaringBitmap::deserialize_from(&self.blobs[..]).ok()
    }
}

/// What was found of one opt-in.
#[derive(Clone, Debug)]
pub struct CrawlHoldings {
    /// The opt-in.
    pub host_category: HostCategoryId,
    /// The serial that the host shows, if it shows one.
    pub serial: Option<Serial>,
    /// What to think of it.
    pub state: CrawlState,
    /// Why.
    pub reason: String,
    /// What it holds; `None` when nothing was found out: what was known before grows older.
    pub blobs: Option<RoaringBitmap>,
}

/// What a host holds of each category it opted in to and that was crawled, by category.
pub fn list_holdings(
    connection: &mut Connection,
    host: HostId,
) -> QueryResult<Vec<(CategoryName, Holdings)>> {
    holdings::table
        .inner_join(host_category::table.inner_join(category::table))
        .filter(host_category::host_id.eq(host))
        .select((category::name, Holdings::as_select()))
        .order(category::name)
        .load(connection)
}

/// Must the holdings be published: is it another set, or has it not been confirmed for long?
pub(super) fn store(connection: &mut Connection, found: &CrawlHoldings, now: Time) -> QueryResult<bool> {
    let opt_in = host_category::table.find(found.host_category).select(host_category::id);
    if opt_in.first::<HostCategoryId>(connection).optional()?.is_none() {
        return Ok(false);
    }
    if let Some(held) = &found.blobs {
        propagation::note(connection, found.host_category, found.serial, held, now)?;
    }
    let row = holdings::table.find(found.host_category);
    let known = row.select((holdings::blobs, holdings::crawled_at));
    let known = known.first::<(Vec<u8>, Time)>(connection).optional()?;
    let Some((known_blobs, crawled_at)) = known else {
        diesel::insert_into(holdings::table)
            .values((
                holdings::host_category_id.eq(found.host_category),
                holdings::serial.eq(found.serial),
                holdings::state.eq(found.state),
                holdings::reason.eq(&found.reason),
                holdings::blobs.eq(write_set(found.blobs.clone().unwrap_or_default())),
                holdings::crawled_at.eq(now),
            ))
            .execute(connection)?;
        return Ok(true);
    };
    diesel::update(row)
        .set((
            holdings::serial.eq(found.serial),
            holdings::state.eq(found.state),
            holdings::reason.eq(&found.reason),
        ))
        .execute(connection)?;
    let Some(blobs) = found.blobs.clone().map(write_set) else { return Ok(false) };
    let publish = blobs != known_blobs || now.unix_seconds() - crawled_at.unix_seconds() >= CONFIRM_SECONDS;
    if publish {
        let confirmed = (holdings::blobs.eq(blobs), holdings::crawled_at.eq(now));
        diesel::update(row).set(confirmed).execute(connection)?;
    }
    Ok(publish)
}

/// The numbers of the blobs that an opt-in holds.
pub(in crate::database) fn find_held(
    connection: &mut Connection,
    host_category: HostCategoryId,
) -> QueryResult<RoaringBitmap> {
    let blobs = holdings::table.find(host_category).select(holdings::blobs);
    let blobs: Option<Vec<u8>> = blobs.first(connection).optional()?;
    blobs.map_or_else(|| Ok(RoaringBitmap::new()), |it| read_set(&it))
}

/// Takes all blobs from what an opt-in holds. The next crawl begins with what is to be repaired, and then, where
/// bytes were wrong, believes only what it sees; else as far as a sample confirms it.
pub(in crate::database) fn remove_all(
    connection: &mut Connection,
    host_category: HostCategoryId,
    fault: FileFault,
    now: Time,
) -> QueryResult<()> {
    let nothing = holdings::blobs.eq(write_set(RoaringBitmap::new()));
    let row = holdings::table.find(host_category);
    diesel::update(row).set((nothing, holdings::state.eq(CrawlState::Lying))).execute(connection)?;
    let cycle = crawl_cycle::table.find(host_category);
    if fault == FileFault::Damaged {
        diesel::update(cycle).set(crawl_cycle::caught_at.eq(Some(now))).execute(connection).map(drop)
    } else {
        diesel::delete(cycle).execute(connection).map(drop)
    }
}

/// Takes a blob from what an opt-in holds, and puts the reason before the others: was it there?
pub(in crate::database) fn remove_blob(
    connection: &mut Connection,
    host_category: HostCategoryId,
    number: u32,
    reason: &str,
) -> QueryResult<bool> {
    let row = holdings::table.find(host_category);
    let known = row.select((holdings::blobs, holdings::reason, holdings::state));
    let Some((blobs, former, state)) = known.first::<(Vec<u8>, String, CrawlState)>(connection).optional()?
    else {
        return Ok(false);
    };
    let mut blobs = read_set(&blobs)?;
    if !blobs.remove(number) {
        return Ok(false);
    }
    // It claims all of the newest state, and lacks something of it.
    let state = if state == CrawlState::UpToDate { CrawlState::Lying } else { state };
    let reason: String = format!("{reason}; {former}").chars().take(REASON_LIMIT).collect();
    diesel::update(row)
        .set((holdings::blobs.eq(write_set(blobs)), holdings::reason.eq(reason), holdings::state.eq(state)))
        .execute(connection)?;
    Ok(true)
}
