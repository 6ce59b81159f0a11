//! Manners towards one host: so many requests a second, a share of the requests that run at once, and none
//! while it wants to be left alone.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::fmt::rfc2822;
use reqwest::{
    Response, StatusCode,
    header::{DATE, HeaderMap, RETRY_AFTER},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

/// A host that wants to be left alone no longer than this is waited for in the middle of its crawl.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// A host is left alone no longer than this, whatever it asks for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);

/// After a rest a host gets as many requests at once as in this time otherwise.
const BURST: Duration = Duration::from_secs(1);

/// The manners towards one host, for one crawl of it.
pub struct Pace {
    gap: Duration,
    all: Arc<Semaphore>,
    turns: Mutex<Turns>,
}

struct Turns {
    /// When the next request would go, were there no bursts.
    next: Instant,
    /// Until when the host wants to be left alone.
    alone_until: Option<Instant>,
}

/// Held while a request runs, up to the end of the answer's body.
pub(super) type Permit = Option<Arc<OwnedSemaphorePermit>>;

impl Pace {
    /// At most `rate` requests a second, and with all other hosts as many at once as `all` has permits.
    pub fn new(rate: u32, all: Arc<Semaphore>) -> Self {
        let gap = Duration::from_secs(1) / rate.max(1);
        let now = Instant::now();
        let next = now.checked_sub(BURST).unwrap_or(now);
        Self { gap, all, turns: Mutex::new(Turns { next, alone_until: None }) }
    }

    /// How long from now on the host wants to be left alone; `None` when it did not say so.
    pub fn retry_after(&self) -> Option<Duration> {
        let until = self.turns().alone_until?;
        Some(until.saturating_duration_since(Instant::now()))
    }

    /// When the next request may go; else for how many seconds none may.
    fn turn(&self, now: Instant) -> Result<Instant, u64> {
        let mut turns = self.turns();
        let earliest = turns.alone_until.map_or(now, |it| it.max(now));
        let pause = earliest - now;
        if pause > LONGEST_PAUSE {
            return Err(pause.as_secs());
        }
        let rested = now.checked_sub(BURST.saturating_sub(self.gap)).unwrap_or(now);
        let slot = turns.next.max(rested);
        turns.next = slot + self.gap;
        Ok(slot.max(earliest))
    }

    fn leave_alone(&self, now: Instant, wait: Duration) {
        let until = now + wait.min(LONGEST_RETRY_AFTER);
        let mut turns = self.turns();
        turns.alone_until = Some(turns.alone_until.map_or(until, |it| it.max(until)));
    }

    fn turns(&self) -> std::sync::MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for a turn. An error says that the host wants to be left alone.
pub(super) async fn wait(pace: Option<&Pace>) -> Result<Permit, String> {
    let Some(pace) = pace else { return Ok(None) };
    let turn = pace.turn(Instant::now());
    let at = turn.map_err(|seconds| format!("it asked to be left alone for {seconds} s (Retry-After)"))?;
    tokio::time::sleep_until(at).await;
    let permit = pace.all.clone().acquire_owned().await;
    Ok(Some(Arc::new(permit.expect("nobody closes the semaphore"))))
}

/// Takes a Retry-After to heart, and keeps the permit as long as the answer.
pub(super) fn note(pace: Option<&Pace>, response: &mut Response, permit: Permit) {
    let Some(pace) = pace else { return };
    let asks = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE].contains(&response.status());
    if let Some(wait) = retry_after(response.headers()).filter(|_| asks) {
        pace.leave_alone(Instant::now(), wait);
    }
    response.extensions_mut().insert(permit);
}

/// Retry-After in seconds, or as a date (RFC 9110, section 10.2.3), which is compared with the host's own
/// clock.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok().map(str::trim);
    let wanted = text(RETRY_AFTER)?;
    if let Ok(seconds) = wanted.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = |it: &str| rfc2822::parse(it).ok().map(|it| it.timestamp());
    let wait = date(wanted)?.duration_since(date(text(DATE)?)?);
    Duration::try_from(wait).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_gets_a_burst_and_then_its_rate() {
        let (pace, now) = (Pace::new(20, Arc::new(Semaphore::new(1))), Instant::now());
        let turns: Vec<u128> = (0..60).map(|_| (pace.turn(now).unwrap() - now).as_millis()).collect();
        assert!(turns[..19].iter().all(|it| *it <= 1), "{turns:?}");
        assert!((1_900..=2_100).contains(&turns[59]), "{turns:?}");
        let later = now + Duration::from_secs(60);
        let turns: Vec<u128> = (0..60).map(|_| (pace.turn(later).unwrap() - later).as_millis()).collect();
        assert!(turns[18] == 0 && (1_900..=2_100).contains(&turns[59]), "rest is not saved up: {turns:?}");
    }

    #[test]
    fn a_host_is_left_alone_as_it_asks() {
        let (pace, now) = (Pace::new(20, Arc::new(Semaphore::new(1))), Instant::now());
        assert_eq!(pace.retry_after(), None);
        pace.leave_alone(now, Duration::from_secs(3));
        assert_eq!(pace.turn(now).unwrap() - now, Duration::from_secs(3), "a short pause");
        pace.leave_alone(now, Duration::from_secs(60));
        pace.leave_alone(now, Duration::from_secs(5));
        assert_eq!(pace.turn(now), Err(60));
        assert!(pace.turn(now + Duration::from_secs(61)).is_ok());
        pace.leave_alone(now, Duration::MAX);
        assert!(pace.retry_after().unwrap() <= LONGEST_RETRY_AFTER);
    }

    #[test]
    fn retry_after_has_two_forms() {
        #[track_caller]
        fn check(retry_after: &str, date: Option<&str>, expected: Option<u64>) {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, retry_after.parse().unwrap());
            if let Some(date) = date {
                headers.insert(DATE, date.parse().unwrap());
            }
            assert_eq!(super::retry_after(&headers).map(|it| it.as_secs()), expected, "{retry_after}");
        }
        let date = Some("Sat, 21 Nov 2026 08:00:00 GMT");
        check("120", None, Some(120));
        check(" 0 ", None, Some(0));
        check("Sat, 21 Nov 2026 09:00:00 GMT", date, Some(3600));
        check("Sat, 21 Nov 2026 09:00:00 GMT", None, None);
        check("Sat, 21 Nov 2026 07:00:00 GMT", date, None);
        check("-1", date, None);
        check("99999999999999999999999", date, None);
        check("soon", date, None);
    }
}
