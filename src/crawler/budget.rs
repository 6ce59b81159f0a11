//! How much a crawl may ask of a host. No IO, clock or dice.

use jiff::SignedDuration;

use super::plan::SPEED_BYTES;
use crate::{
    connector::REQUEST_BYTES,
    database::{
        Time,
        crawl::{HostUse, day_of},
    },
};

/// How often an idle URL is probed a day: every 5 minutes, by either family. Probes of URLs that clients are
/// sent to come on top.
const PROBES_PER_URL: u64 = 2 * 24 * 60 / 5;

/// So many probes a day one idle host gets at most in turn: all its URLs and both families together.
pub const IDLE_PROBES: u32 = 1_000;

/// So many a day it gets besides out of turn: a second one that confirms a first, and as a witness for others.
pub const IDLE_EXTRAS: u32 = 200;

/// The most probes that an idle host with so many URLs gets a day.
pub fn probes_per_day(urls: usize) -> u64 {
    PROBES_PER_URL.saturating_mul(urls as u64).min(IDLE_PROBES.into()) + u64::from(IDLE_EXTRAS)
}

/// How many requests are kept back for each crawl that is still to come today.
pub const CALM_REQUESTS: u64 = 40;

/// The least that a visit to a URL is worth making for, in requests.
pub const LEAST_REQUESTS: u64 = 8;

/// Crawls that follow each other faster share a day's budget as if they came so often, in seconds.
const SHORTEST_INTERVAL: i64 = 15 * 60;

const DAY: i64 = 24 * 60 * 60;

/// What may be asked of a host on one day, by crawls and probes together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Requests, each redirect counting as one more.
    pub requests_per_day: u64,
    /// Bytes, headers included.
    pub bytes_per_day: u64,
    /// How often crawls come.
    pub interval: SignedDuration,
}

/// What crawls may still ask of a host today.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget {
    requests: u64,
    bytes: u64,
    /// Bytes of a day on which nothing was asked before.
    bytes_per_day: u64,
    /// How many crawls are still to come today, this one among them.
    crawls: u64,
    /// Nothing was asked today.
    is_fresh: bool,
    interval: i64,
}

/// What one visit to one URL may cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Allowance {
    /// Requests when nothing is in doubt.
    pub calm: usize,
    /// Requests when something is.
    pub doubt: usize,
    /// Bytes of bodies that were not read in these 30 days.
    pub bytes: u64,
    /// Bytes of bodies that are read again.
    pub again: u64,
    /// All bytes that are left.
    pub left: u64,
    /// Bytes of the largest body that is read on any day.
    pub largest: u64,
    /// It is the day's first crawl: one file may be larger than `bytes`.
    pub is_fresh: bool,
    /// Seconds to the next crawl.
    pub interval: i64,
}

impl Budget {
    /// What is left of a host's day. The probes of its `urls` are taken off, as far as a quarter is left.
    pub fn new(limits: &Limits, used: Option<HostUse>, urls: usize, now: Time) -> Self {
        let used = used.filter(|it| it.day == day_of(now));
        let (requests, bytes) = used.map_or((0, 0), |it| (it.requests, it.bytes));
        let probes = probes_per_day(urls);
        let whole = limits.requests_per_day.saturating_sub(probes).max(limits.requests_per_day / 4);
        let interval = limits.interval.as_secs().max(SHORTEST_INTERVAL);
        let seconds_left = DAY - now.unix_seconds().rem_euclid(DAY);
        Self {
            requests: whole.saturating_sub(requests),
            bytes: limits.bytes_per_day.saturating_sub(bytes),
            bytes_per_day: limits.bytes_per_day.saturating_sub(whole * REQUEST_BYTES),
            crawls: u64::try_from((seconds_left + interval - 1) / interval).unwrap_or(1).max(1),
            is_fresh: used.is_none(),
            interval,
        }
    }

    /// For the first of `visits` that this crawl has still to make, after it has spent so much; `None` when the
    /// day's budget is used up.
    pub fn allow(&self, requests: u64, bytes: u64, visits: usize) -> Option<Allowance> {
        let visits = (visits as u64).max(1);
        let left = self.requests.saturating_sub(requests);
        // Headers, and the part that the speed is measured by, are not for bodies.
        let others = left * REQUEST_BYTES + visits * SPEED_BYTES;
        let bytes = self.bytes.saturating_sub(bytes).saturating_sub(others) / visits;
        if left < LEAST_REQUESTS * visits {
            return None;
        }
        let calm = (left / self.crawls / visits).max(LEAST_REQUESTS);
        let reserve = (self.crawls * CALM_REQUESTS).min(left / 2);
        let doubt = ((left - reserve) / 2 / visits).max(calm);
        Some(Allowance {
            calm: usize::try_from(calm).unwrap_or(usize::MAX),
            doubt: usize::try_from(doubt).unwrap_or(usize::MAX),
            bytes: bytes / 2,
            again: bytes / self.crawls,
            left: bytes,
            largest: (self.bytes_per_day / visits).saturating_sub(SPEED_BYTES),
            is_fresh: self.is_fresh,
            interval: self.interval,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::testing::now;

    const LIMITS: Limits = Limits {
        requests_per_day: 3_000,
        bytes_per_day: 200_000_000,
        interval: SignedDuration::from_hours(1),
    };

    fn at(hour: i64) -> Time {
        let noon = jiff::Timestamp::from(now());
        (noon + SignedDuration::from_hours(hour - 12)).into()
    }

    fn used(day: i64, requests: u64, bytes: u64) -> Option<HostUse> {
        Some(HostUse { day, requests, bytes })
    }

    #[track_caller]
    fn check(budget: Budget, visits: usize, expected: Option<(usize, usize)>) {
        let found = budget.allow(0, 0, visits);
        assert_eq!(found.map(|it| (it.calm, it.doubt)), expected);
    }

    #[test]
    fn a_day_is_shared_by_its_crawls() {
        let today = day_of(now());
        check(Budget::new(&LIMITS, None, 1, at(0)), 1, Some((92, 632)));
        check(Budget::new(&LIMITS, None, 2, at(0)), 2, Some((37, 225)));
        check(Budget::new(&LIMITS, None, 9, at(0)), 9, Some((8, 50)));
        check(Budget::new(&LIMITS, used(today, 1_000, 1), 1, at(12)), 1, Some((102, 372)));
        check(Budget::new(&LIMITS, used(today, 2_200, 200_000_000), 1, at(23)), 1, Some((24, 24)));
        check(Budget::new(&LIMITS, used(today, 2_217, 0), 1, at(23)), 1, None);
        check(Budget::new(&LIMITS, used(today, 9_999, 0), 1, at(23)), 1, None);
        let bytes = |used| Budget::new(&LIMITS, used, 1, at(12)).allow(0, 0, 1).unwrap();
        let fresh = bytes(None);
        assert!(
            (98_000_000..100_000_000).contains(&fresh.bytes)
                && fresh.left == 2 * fresh.bytes + fresh.left % 2
        );
        assert!(fresh.is_fresh && !bytes(used(today, 9, 9)).is_fresh);
        assert_eq!((bytes(used(today, 9, 199_999_999)).left, bytes(used(today, 9, u64::MAX)).left), (0, 0));
        let yesterday = Budget::new(&LIMITS, used(today - 1, 9_999, 9), 1, at(0));
        assert_eq!(yesterday, Budget::new(&LIMITS, None, 1, at(0)), "another day, another budget");
        assert_eq!(yesterday.allow(2_220, 0, 1), None, "what this crawl has spent counts");
        let often = Limits { interval: SignedDuration::from_secs(1), ..LIMITS };
        check(Budget::new(&often, None, 1, at(0)), 1, Some((23, 556)));
    }

    #[test]
    fn no_day_is_overdrawn() {
        for urls in 1..=30 {
            let whole = LIMITS.requests_per_day - probes_per_day(urls);
            let mut spent = 0;
            for hour in 0..24 {
                let budget = Budget::new(&LIMITS, used(day_of(now()), spent, 0), urls, at(hour));
                let before = spent;
                for visit in 0..urls {
                    let allowed = budget.allow(spent - before, 0, urls - visit).map_or(0, |it| it.doubt);
                    spent += allowed as u64;
                }
            }
            assert!(spent <= whole, "{urls} URLs: {spent} of {whole}");
        }
    }
}
