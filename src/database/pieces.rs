//! The table `pieces`: the hashes of the pieces of large blobs. Written by the scanner alone.

use diesel::prelude::*;

use super::{
    BATCH_ROWS, Connection, Sha256,
    connection::on_each,
    schema::{blob, pieces},
};

/// A blob without pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uncut {
    /// Its row.
    id: i64,
    /// Its name.
    pub digest: Sha256,
    /// In bytes.
    pub size: u64,
}

/// The blobs of more than `size` bytes that have no pieces.
pub fn list_uncut(connection: &mut Connection, size: u64) -> QueryResult<Vec<Uncut>> {
    let size = i64::try_from(size).unwrap_or(i64::MAX);
    let rows: Vec<(i64, Sha256, i64)> = blob::table
        .left_join(pieces::table)
        .filter(blob::size.gt(size).and(pieces::blob_id.nullable().is_null()))
        .order(blob::id)
        .select((blob::id, blob::digest, blob::size))
        .load(connection)?;
    let uncut = |(id, digest, size): (_, _, i64)| Uncut { id, digest, size: size.unsigned_abs() };
    Ok(rows.into_iter().map(uncut).collect())
}

/// Stores pieces, as [`crate::metalink::Pieces::encode`] gives them.
pub fn insert(connection: &mut Connection, cut: &[(Uncut, Vec<u8>)]) -> QueryResult<()> {
    for some in cut.chunks(BATCH_ROWS) {
        let row =
            |(blob, bytes): &(Uncut, Vec<u8>)| (pieces::blob_id.eq(blob.id), pieces::bytes.eq(bytes.clone()));
        let rows: Vec<_> = some.iter().map(row).collect();
        on_each!(connection, |it| {
            diesel::insert_into(pieces::table).values(rows).on_conflict_do_nothing().execute(it)
        })?;
    }
    Ok(())
}
