//! The table `withdrawal`: digests that are not answered any more, known or not.

use diesel::prelude::*;
use serde::Serialize;

use super::{
    Connection, Sha256, Time,
    schema::{blob, withdrawal},
};

/// A digest that is not answered any more.
#[derive(Clone, Debug, PartialEq, Queryable, Selectable, Insertable, Serialize)]
#[diesel(table_name = withdrawal)]
pub struct Withdrawal {
    /// Of a manifest or blob.
    pub digest: Sha256,
    /// Its number in the bitmaps of holdings; `None` if nothing had this digest when it was withdrawn.
    pub blob_id: Option<i64>,
    /// Why, in the operators' words.
    pub reason: String,
    /// For legal reasons: 451 instead of 404.
    pub legal: bool,
    /// Since when.
    pub withdrawn_at: Time,
}

/// All of them, oldest first.
pub fn list(connection: &mut Connection) -> QueryResult<Vec<Withdrawal>> {
    withdrawal::table
        .select(Withdrawal::as_select())
        .order((withdrawal::withdrawn_at, withdrawal::digest))
        .load(connection)
}

/// What is known of a digest that is withdrawn.
pub fn find(connection: &mut Connection, digest: Sha256) -> QueryResult<Option<Withdrawal>> {
    withdrawal::table.find(digest).select(Withdrawal::as_select()).first(connection).optional()
}

/// Withdraws a digest. One that is withdrawn already gets the new reason, and keeps its number.
pub fn insert(
    connection: &mut Connection,
    digest: Sha256,
    reason: &str,
    legal: bool,
    now: Time,
) -> QueryResult<Withdrawal> {
    let known = blob::table.filter(blob::digest.eq(digest)).select(blob::id);
    let number: Option<i64> = known.first(connection).optional()?;
    let before = withdrawal::table.find(digest).select(withdrawal::blob_id);
    let before: Option<i64> = before.first(connection).optional()?.flatten();
    delete(connection, digest)?;
    let row = Withdrawal {
        digest,
        blob_id: number.or(before),
        reason: reason.to_owned(),
        legal,
        withdrawn_at: now,
    };
    diesel::insert_into(withdrawal::table).values(&row).execute(connection)?;
    Ok(row)
}

/// Lets a digest be answered again; was it withdrawn?
pub fn delete(connection: &mut Connection, digest: Sha256) -> QueryResult<bool> {
    Ok(diesel::delete(withdrawal::table.find(digest)).execute(connection)? > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::{
        Part,
        content::{ContentBlob, replace_category},
        snapshot::load_hosts,
        testing::*,
    };
    use crate::mirrorlist::rows::WithdrawnRow;

    #[test]
    fn a_digest_is_withdrawn_and_restored() {
        on_both(|database| {
            let (known, unknown) = (Sha256([1; 32]), Sha256([2; 32]));
            let mut content = new_category("fedora", 1);
            content.blobs = vec![ContentBlob { digest: known, size: 7 }];
            database.write(Part::Content, |it| replace_category(it, &content, now())).unwrap();
            let withdraw = |digest, reason: &str, legal| {
                database.write(Part::Hosts, |it| insert(it, digest, reason, legal, now())).unwrap()
            };
            assert!(withdraw(known, "broken", false).blob_id.is_some());
            assert_eq!(withdraw(unknown, "law", true).blob_id, None);
            let gone = new_category("fedora", 2);
            database.write(Part::Content, |it| replace_category(it, &gone, now())).unwrap();
            assert!(withdraw(known, "very broken", false).blob_id.is_some(), "its number is kept");
            let rows = database.read(list).unwrap();
            let reasons: Vec<_> = rows.iter().map(|it| (it.reason.as_str(), it.legal)).collect();
            assert_eq!(reasons, [("very broken", false), ("law", true)]);
            let row = |digest: Sha256, legal| WithdrawnRow { digest: digest.0, legal };
            let loaded = database.read(load_hosts).unwrap().withdrawn;
            assert_eq!(loaded, [row(known, false), row(unknown, true)]);
            assert!(database.write(Part::Hosts, |it| delete(it, known)).unwrap());
            assert!(!database.write(Part::Hosts, |it| delete(it, known)).unwrap());
            assert_eq!(database.read(list).unwrap().len(), 1);
        });
    }
}
