//! Verifies a blob as a whole while its pieces come.

use std::io;

use super::{download::Download, fetch::Target};
use crate::oci::{Digest, Verifier};

/// So much is read at once.
const CHUNK: u64 = 256 * 1024;

/// At most so many chunks are read before it is the network's turn again.
const CHUNKS: usize = 4;

/// A target, and what of its bytes was read again, in order from the first. They are in memory still, mostly.
pub(super) struct Whole<'a, T> {
    target: &'a mut T,
    verifier: Verifier,
    read: u64,
    chunk: Vec<u8>,
}

impl<'a, T: Target> Whole<'a, T> {
    pub(super) fn new(digest: Digest, target: &'a mut T) -> Self {
        Self { target, verifier: Verifier::new(digest), read: 0, chunk: vec![0; CHUNK as usize] }
    }

    /// Now that `size` bytes are there: do they have the digest?
    pub(super) async fn judge(mut self, size: u64) -> io::Result<bool> {
        while self.read < size {
            self.follow(size)?;
            tokio::task::yield_now().await;
        }
        Ok(self.verifier.finish().is_ok())
    }

    /// Reads on, but not past `end`.
    fn follow(&mut self, end: u64) -> io::Result<()> {
        for _ in 0..CHUNKS {
            let length = CHUNK.min(end.saturating_sub(self.read));
            let chunk = &mut self.chunk[..length as usize];
            self.target.read(self.read, chunk)?;
            self.verifier.update(chunk);
            self.read += length;
        }
        Ok(())
    }
}

impl<T: Target> Target for Whole<'_, T> {
    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.target.write(offset, bytes)
    }

    fn read(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.target.read(offset, bytes)
    }

    fn advanced(&mut self, download: &Download) -> io::Result<()> {
        self.target.advanced(download)?;
        self.follow(download.verified())
    }

    fn is_wanted(&mut self) -> bool {
        self.target.is_wanted()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::puller::piece::Plan;

    struct Bytes(Vec<u8>);

    impl Target for Bytes {
        fn write(&mut self, _: u64, _: &[u8]) -> io::Result<()> {
            Ok(())
        }

        fn read(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
            bytes.copy_from_slice(&self.0[offset as usize..][..bytes.len()]);
            Ok(())
        }

        fn advanced(&mut self, _: &Download) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn right_pieces_are_not_always_the_right_blob() {
        let bytes: Vec<u8> = (0..3 * CHUNK + 5).map(|it| (it % 251) as u8).collect();
        let size = bytes.len() as u64;
        let digests = bytes.chunks(CHUNK as usize).map(Digest::of).collect();
        let mut download = Download::new(Plan::pieces(size, CHUNK, digests).unwrap(), Vec::new());
        download.resume(0, &bytes);
        for (digest, is_right) in [(Digest::of(&bytes), true), (Digest::of(b"other"), false)] {
            let mut target = Bytes(bytes.clone());
            let mut whole = Whole::new(digest, &mut target);
            whole.advanced(&download).unwrap();
            assert!(whole.read > 0, "it follows the pieces");
            assert_eq!(whole.judge(size).await.unwrap(), is_right);
        }
    }
}
