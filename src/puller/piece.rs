//! The parts of a blob that can be verified by themselves.

use std::ops::Range;

use crate::oci::{Digest, Verifier};

/// How a blob can be verified: piece by piece, or only whole (RFC 5854, section 4.1.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    size: u64,
    /// In bytes; the last piece may be shorter. Never 0.
    length: u64,
    digests: Vec<Digest>,
}

impl Plan {
    /// A blob that is right or wrong as a whole.
    pub(crate) fn whole(size: u64, digest: Digest) -> Self {
        Self { size, length: size.max(1), digests: vec![digest] }
    }

    /// Several pieces of `length` bytes; `None` if they are not as many as the size needs.
    pub(crate) fn pieces(size: u64, length: u64, digests: Vec<Digest>) -> Option<Self> {
        let fits = length > 0 && digests.len() > 1 && size.div_ceil(length) == digests.len() as u64;
        fits.then_some(Self { size, length, digests })
    }

    /// Of the blob, in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// How many pieces there are: at least 1.
    pub(crate) fn count(&self) -> usize {
        self.digests.len()
    }

    /// Where a piece is in the blob.
    pub(crate) fn range(&self, piece: usize) -> Range<u64> {
        let start = piece as u64 * self.length;
        start..(start + self.length).min(self.size)
    }

    /// Which piece a byte is in.
    pub(super) fn piece_at(&self, offset: u64) -> usize {
        usize::try_from(offset / self.length).unwrap_or(usize::MAX).min(self.count() - 1)
    }

    /// Of a piece.
    pub(crate) fn digest(&self, piece: usize) -> Digest {
        self.digests[piece]
    }
}

/// A piece that is not what it should be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    /// Who has sent it.
    pub(super) senders: Vec<usize>,
    /// The very same bytes were refused before: perhaps it is the hash that is wrong.
    pub(super) again: bool,
}

/// What is there of one piece. Bytes are taken in order only.
pub(super) struct Piece {
    range: Range<u64>,
    digest: Digest,
    /// Where the next byte belongs.
    end: u64,
    /// `None` before the first byte and when it is done.
    verifier: Option<Box<Verifier>>,
    /// Which sources its bytes came from.
    pub(super) senders: Vec<usize>,
    /// It was wrong once, of several senders: the next time it comes from one.
    pub(super) alone: bool,
    /// What it was instead, each time that it was wrong and of one sender.
    refused: Vec<Digest>,
    pub(super) done: bool,
}

impl Piece {
    /// Empty; one of 0 bytes is done if it has the right digest.
    pub(super) fn new(range: Range<u64>, digest: Digest) -> Self {
        let done = range.is_empty() && Verifier::new(digest).finish().is_ok();
        let (end, senders, refused) = (range.start, Vec::new(), Vec::new());
        Self { range, digest, end, verifier: None, senders, alone: false, refused, done }
    }

    pub(super) fn range(&self) -> Range<u64> {
        self.range.clone()
    }

    /// Where the next byte belongs.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Takes what of `bytes`, which begin at `offset`, comes next here. Returns how many bytes to skip before it
    /// and how many are taken; `None` if nothing fits.
    pub(super) fn take(&mut self, offset: u64, bytes: &[u8], sender: usize) -> Option<Range<usize>> {
        if self.done || offset > self.end {
            return None;
        }
        let skip = usize::try_from(self.end - offset).ok().filter(|it| *it < bytes.len())?;
        if self.alone && self.senders.first().is_some_and(|it| *it != sender) {
            return None;
        }
        let room = usize::try_from(self.range.end - self.end).unwrap_or(usize::MAX);
        let taken = skip..bytes.len().min(skip.saturating_add(room));
        let digest = self.digest;
        self.verifier.get_or_insert_with(|| Box::new(Verifier::new(digest))).update(&bytes[taken.clone()]);
        self.end += taken.len() as u64;
        if !self.senders.contains(&sender) {
            self.senders.push(sender);
        }
        Some(taken)
    }

    /// Judges a piece that has all its bytes; `None` if it has not. A wrong one is empty again.
    pub(super) fn judge(&mut self) -> Option<Result<(), Wrong>> {
        if self.done || self.end < self.range.end {
            return None;
        }
        let Err(found) = self.verifier.take()?.finish() else {
            self.done = true;
            return Some(Ok(()));
        };
        let senders = self.senders.clone();
        self.restart();
        self.alone = senders.len() > 1;
        let again = self.refused.contains(&found);
        if !self.alone {
            self.refused.push(found);
        }
        Some(Err(Wrong { senders, again }))
    }

    /// Forgets its bytes.
    pub(super) fn restart(&mut self) {
        self.end = self.range.start;
        self.verifier = None;
        self.senders.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_must_fit_the_size() {
        let digests = |count| vec![Digest::of(b""); count];
        assert!(Plan::pieces(10, 4, digests(2)).is_none());
        assert!(Plan::pieces(10, 0, digests(1)).is_none());
        assert!(Plan::pieces(0, 4, digests(0)).is_none());
        assert!(Plan::pieces(4, 4, digests(1)).is_none(), "one piece is the whole, which has a digest");
        let plan = Plan::pieces(10, 4, digests(3)).unwrap();
        assert_eq!((plan.range(2), plan.piece_at(8), plan.piece_at(99)), (8..10, 2, 2));
    }

    #[test]
    fn bytes_are_taken_in_order_and_once() {
        let mut piece = Piece::new(4..8, Digest::of(b"abcd"));
        assert_eq!(piece.take(5, b"b", 0), None, "a hole");
        assert_eq!(piece.take(0, b"....ab", 0), Some(4..6));
        assert_eq!(piece.take(4, b"ab", 1), None, "known already");
        assert_eq!(piece.judge(), None);
        assert_eq!(piece.take(5, b"bcdef", 1), Some(1..3));
        assert_eq!(piece.judge(), Some(Ok(())));
        assert!(piece.done && piece.senders == [0, 1]);
    }

    #[test]
    fn a_wrong_piece_of_two_senders_comes_from_one_the_next_time() {
        let mut piece = Piece::new(0..4, Digest::of(b"abcd"));
        piece.take(0, b"ab", 0);
        piece.take(2, b"cX", 1);
        assert_eq!(piece.judge(), Some(Err(Wrong { senders: vec![0, 1], again: false })));
        assert_eq!(piece.take(0, b"ab", 1), Some(0..2));
        assert_eq!(piece.take(2, b"cX", 0), None, "another one's");
        assert_eq!(piece.take(2, b"cd", 1), Some(0..2));
        assert_eq!(piece.judge(), Some(Ok(())));
    }

    #[test]
    fn the_same_bytes_of_two_senders_are_noticed() {
        let mut piece = Piece::new(0..4, Digest::of(b"abcd"));
        for (sender, bytes, again) in [(0, b"abcX", false), (1, b"abcY", false), (2, b"abcX", true)] {
            piece.take(0, bytes, sender);
            assert_eq!(piece.judge(), Some(Err(Wrong { senders: vec![sender], again })));
        }
    }

    #[test]
    fn an_empty_blob_is_there_at_once() {
        assert!(Piece::new(0..0, Digest::of(b"")).done);
        assert!(!Piece::new(0..0, Digest::of(b"x")).done);
    }
}
