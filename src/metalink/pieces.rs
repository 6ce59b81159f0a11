use sha2::{Digest as _, Sha256};

use crate::oci::Digest;

/// The shortest pieces that a file is cut into, in bytes. A file that has not more is not cut.
pub const PIECE_LENGTH: u64 = 1024 * 1024;

/// A file is cut into at most so many pieces.
pub const PIECES_LIMIT: u64 = 256;

/// Before the hashes of [`Pieces::encode`]: the check and the length.
const HEADER: usize = 32 + 8;

/// The SHA-256 of each piece of a file, so that each can be verified by itself (RFC 5854, section 4.1.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pieces {
    length: u64,
    hashes: Vec<[u8; 32]>,
}

impl Pieces {
    /// Pieces of `length` bytes; the last may be shorter. `None` if they are not as many as `size` bytes need.
    pub fn new(size: u64, length: u64, hashes: Vec<[u8; 32]>) -> Option<Self> {
        let fits = length > 0 && size > 0 && size.div_ceil(length) == hashes.len() as u64;
        fits.then_some(Self { length, hashes })
    }

    /// Of every piece but the last, in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Of each piece, in order; never empty.
    pub fn digests(&self) -> impl ExactSizeIterator<Item = Digest> {
        self.hashes.iter().copied().map(Digest::Sha256)
    }

    pub(super) fn fits(&self, size: u64) -> bool {
        size > 0 && size.div_ceil(self.length) == self.hashes.len() as u64
    }

    /// How they are kept: a check over what follows and the file's digest; the length (8 bytes, the highest first);
    /// the hashes.
    pub fn encode(&self, file: &Digest) -> Vec<u8> {
        let mut body = self.length.to_be_bytes().to_vec();
        body.extend(self.hashes.iter().flatten());
        [&check(file, &body), body.as_slice()].concat()
    }

    /// Reads what [`Pieces::encode`] wrote for this file of `size` bytes; `None` for anything else.
    pub fn decode(file: &Digest, size: u64, bytes: &[u8]) -> Option<Self> {
        let (found, body) = bytes.split_first_chunk::<32>()?;
        let (length, hashes) = body.split_first_chunk::<8>()?;
        if *found != check(file, body) {
            return None;
        }
        let hashes = hashes.chunks(32).map(<[u8; 32]>::try_from).collect::<Result<_, _>>().ok()?;
        Self::new(size, u64::from_be_bytes(*length), hashes)
    }

    /// How many bytes [`Pieces::encode`] gives for a file of `size` bytes that [`PieceHasher`] has cut.
    pub fn encoded_length(size: u64) -> Option<u64> {
        Some(HEADER as u64 + 32 * size.div_ceil(cut(size)?))
    }
}

fn check(file: &Digest, body: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(file.to_string()).chain_update(body).finalize().into()
}

/// How long the pieces of a file are; `None` if it is too small to be cut. A power of two, for that is what clients
/// expect.
fn cut(size: u64) -> Option<u64> {
    let length = size.div_ceil(PIECES_LIMIT).max(PIECE_LENGTH).checked_next_power_of_two()?;
    (size > length).then_some(length)
}

/// Computes the pieces of a file as its bytes pass by.
pub struct PieceHasher {
    size: u64,
    length: u64,
    /// So many bytes belong to the piece at hand still.
    room: u64,
    hasher: Sha256,
    hashes: Vec<[u8; 32]>,
}

impl PieceHasher {
    /// Starts on a file of `size` bytes; `None` if it is too small to be cut.
    pub fn new(size: u64) -> Option<Self> {
        let length = cut(size)?;
        Some(Self { size, length, room: length, hasher: Sha256::new(), hashes: Vec::new() })
    }

    /// Takes the next bytes, in order.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let here = usize::try_from(self.room).map_or(bytes.len(), |room| room.min(bytes.len()));
            let (piece, rest) = bytes.split_at(here);
            self.hasher.update(piece);
            self.room -= here as u64;
            bytes = rest;
            if self.room == 0 {
                self.end_piece();
            }
        }
    }

    fn end_piece(&mut self) {
        self.hashes.push(self.hasher.finalize_reset().into());
        self.room = self.length;
    }

    /// The pieces; `None` if more or fewer bytes came than the file has.
    pub fn finish(mut self) -> Option<Pieces> {
        if self.room < self.length {
            self.end_piece();
        }
        Pieces::new(self.size, self.length, self.hashes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn pieces_are_few_and_not_small() {
        #[track_caller]
        fn check(size: u64, length: Option<u64>) {
            assert_eq!(cut(size), length);
            assert!(length.is_none_or(|it| (2..=PIECES_LIMIT).contains(&size.div_ceil(it))));
        }
        for small in [0, 1, MIB - 1, MIB] {
            check(small, None);
            assert!(PieceHasher::new(small).is_none());
        }
        check(MIB + 1, Some(MIB));
        check(256 * MIB, Some(MIB));
        check(256 * MIB + 1, Some(2 * MIB));
        check(5 << 30, Some(32 * MIB));
        check(u64::MAX, Some(1 << 56));
    }

    #[test]
    fn each_piece_is_hashed_however_the_bytes_come() {
        let bytes: Vec<u8> = (0..3 * MIB + 5).map(|it| (it % 251) as u8).collect();
        let expected: Vec<_> = bytes.chunks(MIB as usize).map(Digest::of).collect();
        for step in [1000, MIB as usize, 2_500_000, bytes.len()] {
            let mut hasher = PieceHasher::new(bytes.len() as u64).unwrap();
            bytes.chunks(step).for_each(|it| hasher.update(it));
            let pieces = hasher.finish().unwrap();
            assert_eq!((pieces.length(), pieces.digests().collect::<Vec<_>>()), (MIB, expected.clone()));
        }
        let mut short = PieceHasher::new(bytes.len() as u64).unwrap();
        short.update(&bytes[..MIB as usize]);
        assert_eq!(short.finish(), None);
    }

    #[test]
    fn what_is_kept_belongs_to_one_file_and_no_byte_of_it_may_change() {
        let file = Digest::of(b"file");
        let pieces = Pieces::new(10, 4, vec![[1; 32], [2; 32], [3; 32]]).unwrap();
        let kept = pieces.encode(&file);
        assert_eq!(Pieces::decode(&file, 10, &kept), Some(pieces));
        assert_eq!(Pieces::decode(&Digest::of(b"other"), 10, &kept), None);
        assert_eq!(Pieces::decode(&file, 13, &kept), None);
        for at in 0..kept.len() {
            let mut bad = kept.clone();
            bad[at] ^= 1;
            assert_eq!(Pieces::decode(&file, 10, &bad), None, "byte {at}");
            assert_eq!(Pieces::decode(&file, 10, &kept[..at]), None, "{at} bytes");
        }
        let mut hasher = PieceHasher::new(2 * MIB).unwrap();
        hasher.update(&vec![0; 2 * MIB as usize]);
        let length = hasher.finish().unwrap().encode(&file).len() as u64;
        assert_eq!(Pieces::encoded_length(2 * MIB), Some(length));
        assert_eq!(Pieces::encoded_length(MIB), None);
    }

    #[test]
    fn their_number_must_fit_the_size() {
        for (size, length, count) in [(10, 4, 2), (10, 0, 1), (0, 4, 0), (0, 4, 1), (10, 4, 4)] {
            assert_eq!(Pieces::new(size, length, vec![[0; 32]; count]), None);
        }
    }
}
