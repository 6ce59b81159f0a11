use super::Error;
use crate::{
    database::{Database, Part, pieces},
    metalink::PIECE_LENGTH,
    tree::Tree,
};

/// So many lists of pieces, of at most 8 KiB each, are held in memory and stored at once.
const AT_ONCE: usize = 10_000;

/// Takes over the pieces that export has computed and the database does not have yet; how many.
pub(super) fn take_over(tree: &Tree, database: &Database) -> Result<usize, Error> {
    let uncut = database.read(|it| pieces::list_uncut(it, PIECE_LENGTH))?;
    let mut taken = 0;
    for some in uncut.chunks(AT_ONCE) {
        let mut cut = Vec::new();
        for blob in some {
            let digest = blob.digest.into();
            if let Some(found) = tree.read_pieces(&digest, blob.size)? {
                cut.push((*blob, found.encode(&digest)));
            }
        }
        if !cut.is_empty() {
            database.write(Part::Content, |it| pieces::insert(it, &cut))?;
        }
        taken += cut.len();
    }
    Ok(taken)
}
