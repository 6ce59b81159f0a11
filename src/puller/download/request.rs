use std::{ops::Range, time::Instant};

use super::{COMPARISONS, DRIP, HEDGE_AFTER, MUCH_FASTER, SLOW, SPEED_WINDOW, source::Standing};

/// Bytes that a source was asked for.
pub(super) struct Request {
    pub(super) source: usize,
    pub(super) range: Range<u64>,
    /// Where its next byte belongs.
    pub(super) at: u64,
    pub(super) started: Instant,
    /// When its last bytes came.
    pub(super) last: Instant,
    /// The request that it was sent to overtake.
    pub(super) overtakes: Option<u32>,
    /// Another one was sent to overtake it.
    pub(super) hedged: bool,
    /// How often another one was sent because it was slow, and was no faster.
    pub(super) compared: u32,
}

impl Request {
    /// Is there reason to ask this source, too, for what is left? `is_open`: there are bytes that nobody was asked for.
    pub(super) fn wants_help_of(&self, other: &Standing, is_open: bool, now: Instant) -> bool {
        if self.hedged || self.overtakes.is_some() {
            return false;
        }
        if now.duration_since(self.last) >= HEDGE_AFTER {
            return true;
        }
        let (age, own) = (now.duration_since(self.started), self.rate(now));
        let is_known_slower = |times: f64| other.rate.is_some_and(|it| it <= times * own);
        if age >= SPEED_WINDOW && own < DRIP {
            return !is_known_slower(MUCH_FASTER);
        }
        if other.source.is_service || self.compared >= COMPARISONS {
            return false;
        }
        let slow = age >= SPEED_WINDOW && own < SLOW && !is_known_slower(1.0);
        let late = !is_open && age >= HEDGE_AFTER && other.rate.is_some_and(|it| it > MUCH_FASTER * own);
        slow || late
    }

    /// In bytes a second, the time until the answer included.
    pub(super) fn rate(&self, now: Instant) -> f64 {
        let seconds = now.duration_since(self.started).as_secs_f64().max(0.001);
        (self.at - self.range.start) as f64 / seconds
    }
}
