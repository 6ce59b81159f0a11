//! What `/metrics` tells, in Prometheus' text format.

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

/// Counts since the start.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) requests: AtomicU64,
    pub(super) failed_requests: AtomicU64,
    pub(super) sent_bytes: AtomicU64,
    pub(super) blobs: AtomicU64,
    pub(super) lost_blobs: AtomicU64,
    pub(super) mirror_bytes: AtomicU64,
    pub(super) service_bytes: AtomicU64,
    pub(super) troubles: AtomicU64,
    pub(super) running: AtomicU64,
    pub(super) tunnels: AtomicU64,
}

impl Counters {
    pub(super) fn render(&self, cached: u64) -> String {
        let mut text = String::new();
        let mut line = |kind: &str, name: &str, help: &str, value: u64| {
            let _ =
                writeln!(text, "# HELP portolan_agent_{name} {help}\n# TYPE portolan_agent_{name} {kind}");
            let _ = writeln!(text, "portolan_agent_{name} {value}");
        };
        let counters = [
            ("requests_total", "Requests of container engines.", &self.requests),
            ("failed_requests_total", "Requests that were answered by an error.", &self.failed_requests),
            ("sent_bytes_total", "Bytes of blobs sent to container engines.", &self.sent_bytes),
            ("blobs_total", "Blobs and manifests that were fetched whole.", &self.blobs),
            ("lost_blobs_total", "Blobs that no source sent with the right bytes.", &self.lost_blobs),
            ("mirror_bytes_total", "Bytes taken from mirrors.", &self.mirror_bytes),
            ("registry_bytes_total", "Bytes of blobs taken from the registry itself.", &self.service_bytes),
            ("source_troubles_total", "Sources that failed, were slow, or sent wrong bytes.", &self.troubles),
            ("tunnels_total", "Connections handed on unopened to hosts that are not ours.", &self.tunnels),
        ];
        for (name, help, value) in counters {
            line("counter", name, help, value.load(Relaxed));
        }
        line("gauge", "downloads", "Blobs under way.", self.running.load(Relaxed));
        line("gauge", "cached_bytes", "Bytes of blobs on disk.", cached);
        text
    }
}

/// One more.
pub(super) fn count(counter: &AtomicU64) {
    add(counter, 1);
}

pub(super) fn add(counter: &AtomicU64, value: u64) {
    counter.fetch_add(value, Relaxed);
}
