use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What a request with its answer is counted as, beside the body, in bytes: lines and headers of both.
pub const REQUEST_BYTES: u64 = 1024;

/// Counts what is asked of one host, by however many tasks.
#[derive(Debug, Default)]
pub struct Meter {
    requests: AtomicU64,
    body_bytes: AtomicU64,
}

impl Meter {
    pub(super) fn count_request(&self) {
        self.requests.fetch_add(1, Relaxed);
    }

    pub(super) fn count_bytes(&self, bytes: usize) {
        self.body_bytes.fetch_add(bytes as u64, Relaxed);
    }

    /// How many requests were sent; each redirect is one more.
    pub fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    /// How many bytes were moved, headers included.
    pub fn bytes(&self) -> u64 {
        self.body_bytes.load(Relaxed) + self.requests() * REQUEST_BYTES
    }
}
