//! The tables `category` and `category_serial`. The scanner makes and retires categories by the folders
//! of the tree; people edit description and visibility only, on which no answer depends.

use diesel::prelude::*;
use roaring::RoaringBitmap;
use serde::Serialize;

use super::{
    Connection, Time,
    schema::{category, category_repository, category_serial, repository},
    snapshot::read_set,
    values::Sha256,
};
use crate::{
    mirror::{CategoryId, CategoryName, Serial},
    oci::RepositoryName,
};

/// How many published states of a category are remembered: a host that holds one of them is known by its
/// serial alone. A state costs a few kilobytes.
pub const SERIALS_KEPT: i64 = 1_000;

/// A category.
#[derive(Clone, Debug, PartialEq, Queryable, Selectable, Serialize)]
#[diesel(table_name = category)]
pub struct Category {
    /// Its row.
    pub id: CategoryId,
    /// Its folder's name. Unique.
    pub name: CategoryName,
    /// Free words of the operators.
    pub description: String,
    /// Is it offered to mirror admins?
    pub visible: bool,
    /// Which repositories, tags and platforms it has, as JSON: from the export's configuration.
    pub selection: String,
    /// Its newest state.
    pub serial: Serial,
    /// The hash of its newest inventory.
    pub inventory_digest: Sha256,
    /// When its folder went away; it is in no answer then.
    pub retired_at: Option<Time>,
}

/// What people may change; `None` leaves a field as it is.
#[derive(Clone, Debug, Default, AsChangeset)]
#[diesel(table_name = category)]
#[expect(missing_docs, reason = "the fields are those of `Category`")]
pub struct CategoryChange {
    pub description: Option<String>,
    pub visible: Option<bool>,
}

/// All categories, retired ones too, by name.
pub fn list(connection: &mut Connection) -> QueryResult<Vec<Category>> {
    category::table.select(Category::as_select()).order(category::name).load(connection)
}

/// The category of this name.
pub fn find(connection: &mut Connection, name: &CategoryName) -> QueryResult<Option<Category>> {
    category::table.select(Category::as_select()).filter(category::name.eq(name)).first(connection).optional()
}

/// The repositories that have tags in a category, by name.
pub fn list_repositories(connection: &mut Connection, id: CategoryId) -> QueryResult<Vec<RepositoryName>> {
    category_repository::table
        .inner_join(repository::table)
        .filter(category_repository::category_id.eq(id))
        .select(repository::name)
        .order(repository::name)
        .load(connection)
}

/// Changes a category; how many there were of this id.
pub fn update(connection: &mut Connection, id: CategoryId, change: &CategoryChange) -> QueryResult<usize> {
    let outcome = diesel::update(category::table.find(id)).set(change).execute(connection);
    Ok(outcome.optional_empty_changeset()?.unwrap_or(1))
}

/// Writes the state that the tree has now, making the category if it is new; its row's id.
pub(super) fn publish(
    connection: &mut Connection,
    name: &CategoryName,
    selection: &str,
    serial: Serial,
    inventory_digest: Sha256,
) -> QueryResult<CategoryId> {
    let state = (
        category::selection.eq(selection),
        category::serial.eq(serial),
        category::inventory_digest.eq(inventory_digest),
        category::retired_at.eq(None::<Time>),
    );
    match find(connection, name)? {
        Some(row) => {
            diesel::update(category::table.find(row.id)).set(state).execute(connection)?;
            Ok(row.id)
        }
        None => diesel::insert_into(category::table)
            .values((category::name.eq(name), state))
            .returning(category::id)
            .get_result(connection),
    }
}

/// A published state of a category.
#[derive(Clone, Debug, PartialEq)]
pub struct KnownState {
    /// The hash of its inventory.
    pub inventory_digest: Sha256,
    /// The numbers of its blobs.
    pub blobs: RoaringBitmap,
    /// Is it the one that hosts should have?
    pub is_newest: bool,
}

/// The state of a category at this serial, if we remember it.
pub fn find_state(
    connection: &mut Connection,
    id: CategoryId,
    serial: Serial,
) -> QueryResult<Option<KnownState>> {
    let row: Option<(Sha256, Vec<u8>, Serial)> = category_serial::table
        .inner_join(category::table)
        .filter(category_serial::category_id.eq(id).and(category_serial::serial.eq(serial)))
        .select((category_serial::inventory_digest, category_serial::blobs, category::serial))
        .first(connection)
        .optional()?;
    let Some((inventory_digest, blobs, newest)) = row else { return Ok(None) };
    Ok(Some(KnownState { inventory_digest, blobs: read_set(&blobs)?, is_newest: serial == newest }))
}

/// Remembers which blobs the category has at this serial, and forgets states beyond [`SERIALS_KEPT`].
pub(super) fn insert_serial(
    connection: &mut Connection,
    id: CategoryId,
    serial: Serial,
    inventory_digest: Sha256,
    blobs: &[u8],
    now: Time,
) -> QueryResult<()> {
    let states = category_serial::table.filter(category_serial::category_id.eq(id));
    // A tree that was put back to an older state publishes that serial once more.
    diesel::delete(states.filter(category_serial::serial.eq(serial))).execute(connection)?;
    diesel::insert_into(category_serial::table)
        .values((
            category_serial::category_id.eq(id),
            category_serial::serial.eq(serial),
            category_serial::inventory_digest.eq(inventory_digest),
            category_serial::blobs.eq(blobs),
            category_serial::created_at.eq(now),
        ))
        .execute(connection)?;
    let first_forgotten: Option<i64> = states
        .select(category_serial::id)
        .order(category_serial::id.desc())
        .offset(SERIALS_KEPT)
        .first(connection)
        .optional()?;
    if let Some(first) = first_forgotten {
        diesel::delete(states.filter(category_serial::id.le(first))).execute(connection)?;
    }
    Ok(())
}

/// Takes categories out of all answers. Opt-ins stay, for the day they come back.
pub(super) fn retire(connection: &mut Connection, ids: &[CategoryId], now: Time) -> QueryResult<()> {
    let rows = category::table.filter(category::id.eq_any(ids));
    // No inventory hashes to zeros, so a folder that comes back is read again.
    let state = (category::retired_at.eq(Some(now)), category::inventory_digest.eq(Sha256::default()));
    diesel::update(rows).set(state).execute(connection)?;
    let serials = category_serial::table.filter(category_serial::category_id.eq_any(ids));
    diesel::delete(serials).execute(connection)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::testing::*;

    #[test]
    fn people_edit_the_description_only() {
        on_both(|database| {
            let id = add_category(database, "fedora", 7);
            let change = CategoryChange { description: Some("all of it".into()), visible: Some(false) };
            let before = database.generations().unwrap();
            assert_eq!(database.write_log(|it| update(it, id, &change)).unwrap(), 1);
            assert_eq!(database.generations().unwrap(), before);
            let found = database.read(|it| find(it, &"fedora".parse().unwrap())).unwrap().unwrap();
            assert_eq!((found.description.as_str(), found.visible, found.serial), ("all of it", false, 7));
        });
    }

    #[test]
    fn old_states_are_forgotten() {
        on_both(|database| {
            let id = add_category(database, "fedora", 1);
            database
                .write_log(|it| {
                    for serial in 2..=SERIALS_KEPT + 5 {
                        insert_serial(it, id, serial, Sha256::default(), b"", now())?;
                    }
                    Ok(())
                })
                .unwrap();
            let serials =
                category_serial::table.select(category_serial::serial).order(category_serial::serial);
            let serials: Vec<Serial> = database.read(|it| serials.load(it)).unwrap();
            assert_eq!(serials, (6..=SERIALS_KEPT + 5).collect::<Vec<_>>());
        });
    }
}
