//! What others may know of a download.

use super::{Download, Piece, Source};

impl Download {
    /// Is every piece there and right?
    pub(crate) fn is_done(&self) -> bool {
        self.first_open == self.pieces.len()
    }

    /// Is it verified piece by piece?
    pub(crate) fn is_in_pieces(&self) -> bool {
        self.plan.count() > 1
    }

    /// Have several sources sent the same bytes for a piece, or the service time and again, and they were wrong?
    /// Then perhaps they are right, and the piece's hash is wrong.
    pub(crate) fn doubts_pieces(&self) -> bool {
        self.doubts_pieces
    }

    /// How many bytes from the blob's start on are right.
    pub(crate) fn verified(&self) -> u64 {
        self.pieces.get(self.first_open).map_or(self.plan.size(), |it| it.range().start)
    }

    /// How many bytes from the blob's start on are there, be they right or wrong.
    pub(crate) fn contiguous(&self) -> u64 {
        self.pieces.get(self.first_open).map_or(self.plan.size(), Piece::end)
    }

    /// How many bytes are there in all.
    pub(crate) fn taken(&self) -> u64 {
        self.pieces.iter().map(|it| if it.done { it.range().end } else { it.end() } - it.range().start).sum()
    }

    /// Bytes that each source has brought in this run, most useful for a summary.
    pub(crate) fn list_taken(&self) -> impl Iterator<Item = (&Source, u64)> {
        self.sources.iter().filter(|it| it.taken > 0).map(|it| (&it.source, it.taken))
    }

    /// What went wrong with sources, whether they were given up or not.
    pub(crate) fn list_troubles(&self) -> impl Iterator<Item = (&Source, &str)> {
        self.sources.iter().filter_map(|it| Some((&it.source, it.last.as_deref()?)))
    }

    /// Who sends now, best first.
    pub(crate) fn list_senders(&self) -> impl Iterator<Item = &Source> {
        self.sources.iter().filter(|it| it.busy).map(|it| &it.source)
    }
}
