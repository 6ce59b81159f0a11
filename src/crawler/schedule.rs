//! When a host is crawled next, and when it is switched off. Pure.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::Config;
use crate::{
    database::{crawl::CrawlHost, lease::Next},
    mirror::CrawlState,
};

/// A host that is not reached is tried at least so often, if it was before.
const LONGEST_BACK_OFF: SignedDuration = SignedDuration::from_hours(24);

/// By how much of itself a wait is longer or shorter, so that hosts do not come in flocks.
const JITTER: f64 = 0.1;

/// When to crawl next. `failures` is how many crawls in a row did not reach the host, this one included;
/// `retry_after` what it asked for; `dice` any number.
pub(super) fn next(
    config: &Config,
    failures: i64,
    retry_after: Option<Duration>,
    now: Timestamp,
    dice: u64,
) -> Next {
    let doublings = u32::try_from(failures.saturating_sub(1).clamp(0, 30)).unwrap_or_default();
    let longest = LONGEST_BACK_OFF.max(config.interval);
    let wait = config.interval.saturating_mul(1 << doublings).min(longest);
    let fraction = (mix(dice) >> 11) as f64 / (1_u64 << 53) as f64;
    let wait = wait.as_secs_f64() * (1.0 + JITTER * (2.0 * fraction - 1.0));
    let at = after(now, SignedDuration::try_from_secs_f64(wait).unwrap_or(longest));
    let alone = retry_after.filter(|it| !it.is_zero());
    let not_before = alone.map(|it| after(now, SignedDuration::try_from(it).unwrap_or(longest)));
    Next { at: not_before.map_or(at, |it| it.max(at)).into(), not_before: not_before.map(Into::into) }
}

/// Far beyond all calendars is as good as now and then.
fn after(now: Timestamp, wait: SignedDuration) -> Timestamp {
    now.checked_add(wait).unwrap_or(now)
}

/// Makes any number look like dice (the finalizer of SplitMix64).
fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// Why the host is switched off now. Private hosts often cannot be reached from here and stay on.
pub(super) fn auto_disabled(
    config: &Config,
    host: &CrawlHost,
    state: CrawlState,
    first_line: Option<&String>,
) -> Option<String> {
    let limit = config.failures_until_off;
    if state != CrawlState::Unreachable {
        return None;
    }
    if host.private || limit == 0 || host.auto_disabled.is_some() || host.failures + 1 < i64::from(limit) {
        return host.auto_disabled.clone();
    }
    let reason = first_line.map_or("it has no URL", String::as_str);
    let crawls = if limit == 1 { "1 crawl".to_owned() } else { format!("{limit} crawls in a row") };
    Some(format!("not reached by {crawls}; {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn minutes(failures: i64, retry_after: Option<u64>, dice: u64) -> (i64, Option<i64>) {
        let next = next(&Config::default(), failures, retry_after.map(Duration::from_secs), NOW, dice);
        (next.at.unix_seconds() / 60, next.not_before.map(|it| it.unix_seconds() / 60))
    }

    #[test]
    fn a_host_that_is_not_reached_is_tried_less_and_less() {
        for (failures, hours) in [(0, 1), (1, 1), (2, 2), (3, 4), (4, 8), (5, 16), (6, 24), (1_000, 24)] {
            for dice in 0..1_000 {
                let (at, _) = minutes(failures, None, dice);
                assert!((hours * 54..=hours * 66).contains(&at), "{failures} failures: after {at} min");
            }
        }
    }

    #[test]
    fn hosts_do_not_come_in_flocks() {
        let times: std::collections::BTreeSet<_> = (0..1_000).map(|dice| minutes(0, None, dice).0).collect();
        assert_eq!(times.len(), 12, "54 to 65 min: {times:?}");
    }

    #[test]
    fn retry_after_is_obeyed() {
        assert_eq!(minutes(0, Some(6 * 3600), 1), (360, Some(360)));
        let (at, not_before) = minutes(1, Some(60), 1);
        assert!((54..=66).contains(&at) && not_before == Some(1), "the longer of both");
        assert_eq!(minutes(0, Some(0), 1).1, None);
    }

    #[test]
    fn a_host_goes_off_after_some_failures_and_comes_back() {
        #[track_caller]
        fn check(
            limit: u32,
            private: bool,
            failures: i64,
            was: Option<&str>,
            state: CrawlState,
            expected: Option<&str>,
        ) {
            let host = CrawlHost {
                id: crate::mirror::HostId(1),
                name: "m1".parse().unwrap(),
                country: None,
                kind: crate::mirror::HostKind::Static,
                private,
                failures,
                auto_disabled: was.map(str::to_owned),
                used: None,
                categories: Vec::new(),
            };
            let config = Config { failures_until_off: limit, ..Config::default() };
            let found = auto_disabled(&config, &host, state, Some(&"no answer".to_owned()));
            assert_eq!(found.as_deref(), expected);
        }
        let off = "not reached by 4 crawls in a row; no answer";
        let gone = CrawlState::Unreachable;
        check(4, false, 2, None, gone, None);
        check(4, false, 3, None, gone, Some(off));
        check(4, false, 9, Some("before"), gone, Some("before"));
        check(4, true, 9, None, gone, None);
        check(4, false, 9, Some("before"), CrawlState::Behind, None);
        check(1, false, 0, None, gone, Some("not reached by 1 crawl; no answer"));
        check(0, false, 99, None, gone, None);
        check(0, false, 99, Some("before"), gone, Some("before"));
    }
}
