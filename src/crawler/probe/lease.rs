//! When a process that waits may probe in the place of another. Pure.

use std::time::Duration;

use crate::database::probe::Heartbeat;

/// A heartbeat that does not change for so long is that of a dead process. Told by our own clock alone, so
/// that the clocks of two machines may differ.
const STALE: Duration = Duration::from_secs(15);

/// What a waiting process has seen.
#[derive(Debug, Default)]
pub(super) struct Standby {
    seen: Option<(Heartbeat, Duration)>,
}

impl Standby {
    /// Is it time to take over from the one that is seen at this moment?
    pub(super) fn may_take_over(&mut self, found: &Heartbeat, now: Duration) -> bool {
        let since = match &self.seen {
            Some((seen, since)) if seen == found => *since,
            _ => now,
        };
        self.seen = Some((found.clone(), since));
        found.holder.is_empty() || now.saturating_sub(since) >= STALE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_dead_and_those_who_left_are_replaced() {
        let heartbeat = |holder: &str, second| Heartbeat {
            holder: holder.to_owned(),
            at: jiff::Timestamp::from_second(second).ok().map(Into::into),
        };
        let mut standby = Standby::default();
        let mut may = |found: &Heartbeat, second| standby.may_take_over(found, Duration::from_secs(second));
        assert!(!may(&heartbeat("a", 1), 0));
        assert!(!may(&heartbeat("a", 1), 14));
        assert!(!may(&heartbeat("a", 2), 15), "it lives");
        assert!(!may(&heartbeat("a", 2), 29));
        assert!(may(&heartbeat("a", 2), 30));
        assert!(!may(&heartbeat("b", 2), 31), "another was faster");
        assert!(may(&heartbeat("", 2), 32), "it ended well");
    }
}
