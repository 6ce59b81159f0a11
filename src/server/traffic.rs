//! What this server sends clients to fetch, by host, until it is stored.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use crate::{
    database::traffic::Traffic,
    mirror::HostId,
    mirrorlist::{Offer, load::Demand},
};

/// So many hosts are told apart (512 KiB). Rows are numbered one after another, so two share a place only when
/// there are more; then one of them counts for both.
const PLACES: usize = 1 << 14;

/// Counted without locks: an answer only adds.
pub(super) struct Counters(Box<[Counter]>);

#[derive(Default)]
struct Counter {
    /// The host's row; 0 is none.
    host: AtomicU64,
    requests: AtomicU64,
    bytes: AtomicU64,
    own: AtomicU64,
    others: AtomicU64,
}

impl Default for Counters {
    fn default() -> Self {
        Self((0..PLACES).map(|_| Counter::default()).collect())
    }
}

impl Counters {
    /// A client is sent to this host for so many bytes.
    pub(super) fn add(&self, offer: &Offer<'_>, bytes: u64) {
        let id = offer.host.id.0.cast_unsigned();
        let counter = &self.0[id as usize % PLACES];
        let Demand { own, others } = Demand::of(offer, bytes);
        counter.host.store(id, Relaxed);
        counter.requests.fetch_add(1, Relaxed);
        counter.bytes.fetch_add(bytes, Relaxed);
        counter.own.fetch_add(own, Relaxed);
        counter.others.fetch_add(others, Relaxed);
    }

    /// What was counted since the last time.
    pub(super) fn take(&self) -> BTreeMap<HostId, Traffic> {
        let counted = self.0.iter().filter(|it| it.requests.load(Relaxed) != 0);
        let take = |it: &Counter| {
            let demand = Demand { own: it.own.swap(0, Relaxed), others: it.others.swap(0, Relaxed) };
            let host = HostId(it.host.load(Relaxed).cast_signed());
            let (requests, bytes) = (it.requests.swap(0, Relaxed), it.bytes.swap(0, Relaxed));
            (host, Traffic { requests, bytes, demand })
        };
        counted.map(take).collect()
    }
}
