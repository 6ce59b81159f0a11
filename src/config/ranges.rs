use std::{fmt::Display, ops::RangeInclusive};

use jiff::SignedDuration;

use super::Config;
use crate::mirrorlist::{LONGEST_HOLD, Publish, RepeatConfig};

// What is outside of these is a slip of the pen. The comments of the keys name the same ranges.
const DATABASE_CONNECTIONS: RangeInclusive<u32> = 1..=100;
const ORIGIN_CONNECTIONS: RangeInclusive<usize> = 1..=100;
const KEEP_FORMER: RangeInclusive<SignedDuration> = SignedDuration::ZERO..=SignedDuration::from_hours(87_600);
/// Between two exports, or two crawls of a host.
const INTERVAL: RangeInclusive<SignedDuration> =
    SignedDuration::from_secs(1)..=SignedDuration::from_hours(720);
/// In bytes; the largest is what a manifest may have.
const SMALL_BLOB_LIMIT: RangeInclusive<u64> = 0..=4 * 1024 * 1024;
const CRAWL_HOSTS: RangeInclusive<usize> = 1..=1_000;
const CRAWL_CONNECTIONS: RangeInclusive<usize> = 1..=64;
/// In requests a second.
const CRAWL_RATE: RangeInclusive<u32> = 1..=1_000;
const CRAWL_REQUESTS_AT_ONCE: RangeInclusive<usize> = 1..=10_000;
const CRAWL_LEASE: RangeInclusive<SignedDuration> =
    SignedDuration::from_secs(3)..=SignedDuration::from_hours(1);
const CRAWL_FAILURES_UNTIL_OFF: RangeInclusive<u32> = 0..=1_000;
const CRAWL_HISTORY: RangeInclusive<SignedDuration> =
    SignedDuration::from_hours(1)..=SignedDuration::from_hours(87_600);
const CRAWL_TIMEOUT: RangeInclusive<SignedDuration> =
    SignedDuration::from_secs(1)..=SignedDuration::from_hours(1);
const CRAWL_HOST_TIMEOUT: RangeInclusive<SignedDuration> =
    SignedDuration::from_secs(1)..=SignedDuration::from_hours(24);
const CRAWL_REQUESTS: RangeInclusive<u64> = 100..=1_000_000;
const CRAWL_FILL: RangeInclusive<u8> = 0..=100;
/// In bytes.
const CRAWL_BYTES: RangeInclusive<u64> = 0..=64 * 1024 * 1024 * 1024;
/// Of `[[category]]`.
const MAX_AGE: RangeInclusive<SignedDuration> =
    SignedDuration::from_hours(1)..=SignedDuration::from_hours(87_600);
/// Of `[[category]] publish`.
const PUBLISH_HOSTS: RangeInclusive<usize> = 1..=10_000;
const PUBLISH_SHARE: RangeInclusive<usize> = 1..=100;
const PUBLISH_AFTER: RangeInclusive<SignedDuration> = SignedDuration::ZERO..=LONGEST_HOLD;
const REPEAT_WINDOW: RangeInclusive<SignedDuration> =
    SignedDuration::from_secs(1)..=SignedDuration::from_hours(1);
const REPEAT_RESUME_WINDOW: RangeInclusive<SignedDuration> =
    SignedDuration::from_secs(1)..=SignedDuration::from_hours(24);
const REPEAT_FALLBACK_PERCENT: RangeInclusive<u32> = 0..=100;
const REPEAT_FALLBACKS_ALWAYS: RangeInclusive<u32> = 0..=1_000_000;
/// Of URLs that clients are sent to.
const PROBE_INTERVAL: RangeInclusive<SignedDuration> =
    SignedDuration::from_secs(1)..=SignedDuration::from_mins(1);
const PROBE_IDLE_INTERVAL: RangeInclusive<SignedDuration> =
    SignedDuration::from_secs(1)..=SignedDuration::from_hours(1);
const PROBE_TIMEOUT: RangeInclusive<SignedDuration> =
    SignedDuration::from_secs(1)..=SignedDuration::from_mins(1);
const PROBE_AT_ONCE: RangeInclusive<usize> = 1..=1_000;
const STATISTICS_HOURS: RangeInclusive<SignedDuration> =
    SignedDuration::from_hours(48)..=SignedDuration::from_hours(8_760);
const STATISTICS_DAYS: RangeInclusive<SignedDuration> =
    SignedDuration::from_hours(744)..=SignedDuration::from_hours(175_200);
const ACCOUNTS_LOG: RangeInclusive<SignedDuration> =
    SignedDuration::from_hours(720)..=SignedDuration::from_hours(175_200);
/// In bytes.
const STATISTICS_BUDGET: RangeInclusive<u64> = 0..=1 << 60;
const SERVE_MAX_URLS: RangeInclusive<usize> = 1..=1_000;
const SERVE_WORKERS: RangeInclusive<usize> = 0..=1_024;
const NOTICE_TIMEOUT: RangeInclusive<SignedDuration> =
    SignedDuration::from_secs(1)..=SignedDuration::from_mins(10);
const SERVE_REPORT_MAX_AGE: RangeInclusive<SignedDuration> =
    SignedDuration::from_mins(1)..=SignedDuration::from_hours(168);
const SERVE_DRAIN: RangeInclusive<SignedDuration> = SignedDuration::ZERO..=SignedDuration::from_hours(1);

/// Of one answer of the provider of OpenID Connect.
const OIDC_TIMEOUT: RangeInclusive<SignedDuration> =
    SignedDuration::from_secs(1)..=SignedDuration::from_mins(1);

/// Between two imports.
const MIRRORMANAGER_WATCH: RangeInclusive<SignedDuration> =
    SignedDuration::from_secs(1)..=SignedDuration::from_hours(24);

/// A value that cannot be meant.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{key} = {value} is out of range: it can be {least} to {most}")]
pub struct OutOfRange {
    /// As `crawl.hosts`.
    key: &'static str,
    value: String,
    least: String,
    most: String,
}

/// Is every number and duration within its range?
pub(super) fn check(config: &Config) -> Result<(), OutOfRange> {
    let Config { database, origin, tree, export, scan, crawl, mirrormanager, notice, probe, serve, .. } =
        config;
    let Config { statistics, .. } = config;
    within("database.connections", &database.connections, &DATABASE_CONNECTIONS)?;
    within("origin.connections", &origin.connections, &ORIGIN_CONNECTIONS)?;
    within("tree.keep_former", &tree.keep_former, &KEEP_FORMER)?;
    within("export.interval", &export.interval, &INTERVAL)?;
    within("scan.small_blob_limit", &scan.small_blob_limit, &SMALL_BLOB_LIMIT)?;
    within("crawl.interval", &crawl.interval, &INTERVAL)?;
    within("crawl.hosts", &crawl.hosts, &CRAWL_HOSTS)?;
    within("crawl.connections", &crawl.connections, &CRAWL_CONNECTIONS)?;
    within("crawl.rate", &crawl.rate, &CRAWL_RATE)?;
    within("crawl.requests_at_once", &crawl.requests_at_once, &CRAWL_REQUESTS_AT_ONCE)?;
    within("crawl.lease", &crawl.lease, &CRAWL_LEASE)?;
    within("crawl.failures_until_off", &crawl.failures_until_off, &CRAWL_FAILURES_UNTIL_OFF)?;
    within("crawl.history", &crawl.history, &CRAWL_HISTORY)?;
    within("crawl.timeout", &crawl.timeout, &CRAWL_TIMEOUT)?;
    within("crawl.host_timeout", &crawl.host_timeout, &CRAWL_HOST_TIMEOUT)?;
    within("mirrormanager.watch", &mirrormanager.watch, &MIRRORMANAGER_WATCH)?;
    within("notice.timeout", &notice.timeout, &NOTICE_TIMEOUT)?;
    within("serve.report_max_age", &serve.report_max_age, &SERVE_REPORT_MAX_AGE)?;
    within("probe.interval", &probe.interval, &PROBE_INTERVAL)?;
    within("probe.idle_interval", &probe.idle_interval, &PROBE_IDLE_INTERVAL)?;
    within("probe.timeout", &probe.timeout, &PROBE_TIMEOUT)?;
    within("probe.at_once", &probe.at_once, &PROBE_AT_ONCE)?;
    within("crawl.requests_per_day", &crawl.requests_per_day, &CRAWL_REQUESTS)?;
    within("crawl.bytes_per_day", &crawl.bytes_per_day, &CRAWL_BYTES)?;
    within("crawl.fill", &crawl.fill, &CRAWL_FILL)?;
    within("accounts.log", &config.accounts.log, &ACCOUNTS_LOG)?;
    within("statistics.hours", &statistics.hours, &STATISTICS_HOURS)?;
    within("statistics.days", &statistics.days, &STATISTICS_DAYS)?;
    within("statistics.budget_per_day", &statistics.budget_per_day, &STATISTICS_BUDGET)?;
    within("statistics.budget_per_month", &statistics.budget_per_month, &STATISTICS_BUDGET)?;
    within("serve.max_urls", &serve.max_urls, &SERVE_MAX_URLS)?;
    within("serve.workers", &serve.workers, &SERVE_WORKERS)?;
    within("serve.drain", &serve.drain, &SERVE_DRAIN)?;
    within("accounts.oidc.timeout", &config.accounts.oidc.timeout, &OIDC_TIMEOUT)?;
    check_repeat(&serve.repeat)?;
    let ages = config.category.iter().filter_map(|it| it.max_age);
    ages.into_iter().try_for_each(|it| within("category.max_age", &it, &MAX_AGE))?;
    config.category.iter().filter_map(|it| it.publish.as_ref()).try_for_each(check_publish)
}

fn check_repeat(repeat: &RepeatConfig) -> Result<(), OutOfRange> {
    within("serve.repeat.window", &repeat.window, &REPEAT_WINDOW)?;
    within("serve.repeat.resume_window", &repeat.resume_window, &REPEAT_RESUME_WINDOW)?;
    within("serve.repeat.fallback_percent", &repeat.fallback_percent, &REPEAT_FALLBACK_PERCENT)?;
    within("serve.repeat.fallbacks_always", &repeat.fallbacks_always, &REPEAT_FALLBACKS_ALWAYS)
}

fn check_publish(publish: &Publish) -> Result<(), OutOfRange> {
    if let Some(hosts) = &publish.hosts {
        within("publish.hosts", hosts, &PUBLISH_HOSTS)?;
    }
    if let Some(share) = &publish.share {
        within("publish.share", share, &PUBLISH_SHARE)?;
    }
    within("publish.after", &publish.after, &PUBLISH_AFTER)
}

fn within<T: PartialOrd + Display>(
    key: &'static str,
    value: &T,
    range: &RangeInclusive<T>,
) -> Result<(), OutOfRange> {
    if range.contains(value) {
        return Ok(());
    }
    // `#` prints durations as people write them, and numbers as ever.
    let text = |it: &T| format!("{it:#}");
    Err(OutOfRange { key, value: text(value), least: text(range.start()), most: text(range.end()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_cannot_be_meant_are_refused() {
        /// `least` and `most` are good, one step beyond is not.
        #[track_caller]
        fn check(key: &str, below: Option<&str>, least: &str, most: &str, beyond: &str) {
            let (section, name) = key.rsplit_once('.').unwrap();
            let judge = |value: &str| {
                let text = format!("[{section}]\n{name} = {value}\n");
                super::check(&Config::parse(&text).unwrap()).map_err(|error| error.to_string())
            };
            assert_eq!((judge(least), judge(most)), (Ok(()), Ok(())), "{key}");
            let shown = |value: &str| value.replace('"', "");
            for value in below.into_iter().chain([beyond]) {
                let range = format!("it can be {} to {}", shown(least), shown(most));
                let expected = format!("{key} = {} is out of range: {range}", shown(value));
                assert_eq!(judge(value), Err(expected));
            }
        }
        check("database.connections", Some("0"), "1", "100", "101");
        check("origin.connections", Some("0"), "1", "100", "101");
        check("tree.keep_former", Some("\"1s ago\""), "\"0s\"", "\"87600h\"", "\"87600h 1s\"");
        check("export.interval", Some("\"999ms\""), "\"1s\"", "\"720h\"", "\"720h 1s\"");
        check("scan.small_blob_limit", None, "0", "4194304", "4194305");
        check("crawl.interval", Some("\"1h ago\""), "\"1s\"", "\"720h\"", "\"720h 1s\"");
        check("crawl.hosts", Some("0"), "1", "1000", "1001");
        check("crawl.connections", Some("0"), "1", "64", "65");
        check("crawl.rate", Some("0"), "1", "1000", "1001");
        check("crawl.requests_at_once", Some("0"), "1", "10000", "10001");
        check("crawl.lease", Some("\"2s\""), "\"3s\"", "\"1h\"", "\"1h 1s\"");
        check("crawl.failures_until_off", None, "0", "1000", "1001");
        check("crawl.history", Some("\"59m\""), "\"1h\"", "\"87600h\"", "\"87600h 1s\"");
        check("crawl.timeout", Some("\"0s\""), "\"1s\"", "\"1h\"", "\"1h 1s\"");
        check("crawl.host_timeout", Some("\"0s\""), "\"1s\"", "\"24h\"", "\"24h 1s\"");
        check("notice.timeout", Some("\"0s\""), "\"1s\"", "\"10m\"", "\"10m 1s\"");
        check("probe.interval", Some("\"0s\""), "\"1s\"", "\"1m\"", "\"1m 1s\"");
        check("probe.idle_interval", Some("\"0s\""), "\"1s\"", "\"1h\"", "\"1h 1s\"");
        check("probe.timeout", Some("\"0s\""), "\"1s\"", "\"1m\"", "\"1m 1s\"");
        check("probe.at_once", Some("0"), "1", "1000", "1001");
        check("crawl.requests_per_day", Some("99"), "100", "1000000", "1000001");
        check("crawl.bytes_per_day", None, "0", "68719476736", "68719476737");
        check("crawl.fill", None, "0", "100", "101");
        check("accounts.log", Some("\"719h\""), "\"720h\"", "\"175200h\"", "\"175200h 1s\"");
        check("statistics.hours", Some("\"47h\""), "\"48h\"", "\"8760h\"", "\"8760h 1s\"");
        check("statistics.days", Some("\"743h\""), "\"744h\"", "\"175200h\"", "\"175200h 1s\"");
        for key in ["statistics.budget_per_day", "statistics.budget_per_month"] {
            check(key, None, "0", "1152921504606846976", "1152921504606846977");
        }
        check("serve.max_urls", Some("0"), "1", "1000", "1001");
        check("serve.workers", None, "0", "1024", "1025");
        check("serve.report_max_age", Some("\"59s\""), "\"1m\"", "\"168h\"", "\"168h 1s\"");
        check("serve.drain", Some("\"1s ago\""), "\"0s\"", "\"1h\"", "\"1h 1s\"");
        check("accounts.oidc.timeout", Some("\"0s\""), "\"1s\"", "\"1m\"", "\"1m 1s\"");
        check("serve.repeat.window", Some("\"0s\""), "\"1s\"", "\"1h\"", "\"1h 1s\"");
        check("serve.repeat.resume_window", Some("\"0s\""), "\"1s\"", "\"24h\"", "\"24h 1s\"");
        check("serve.repeat.fallback_percent", None, "0", "100", "101");
        check("serve.repeat.fallbacks_always", None, "0", "1000000", "1000001");
    }

    #[test]
    fn publish_rules_that_cannot_be_meant_are_refused() {
        let judge = |rule: &str| {
            let text = format!("[[category]]\nname = \"a\"\npublish = {{ {rule} }}\n");
            super::check(&Config::parse(&text).unwrap()).map_err(|it| it.to_string())
        };
        assert_eq!(judge("hosts = 10000, share = 100, after = \"168h\""), Ok(()));
        assert_eq!(judge("hosts = 1, share = 1, after = \"0s\""), Ok(()));
        for (rule, key) in [
            ("hosts = 0, after = \"1h\"", "publish.hosts = 0"),
            ("hosts = 10001, after = \"1h\"", "publish.hosts = 10001"),
            ("share = 0, after = \"1h\"", "publish.share = 0"),
            ("share = 101, after = \"1h\"", "publish.share = 101"),
            ("after = \"168h 1s\"", "publish.after = 168h 1s"),
        ] {
            assert!(judge(rule).unwrap_err().starts_with(&format!("{key} is out of range")), "{rule}");
        }
    }

    #[test]
    fn ages_that_cannot_be_meant_are_refused() {
        let judge = |age: &str| {
            let text = format!("[[category]]\nname = \"a\"\nmax_age = \"{age}\"\n");
            super::check(&Config::parse(&text).unwrap()).map_err(|it| it.to_string())
        };
        assert_eq!((judge("1h"), judge("87600h")), (Ok(()), Ok(())));
        assert!(judge("59m").unwrap_err().starts_with("category.max_age = 59m is out of range"));
    }

    #[test]
    fn the_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("portolan.toml");
        std::fs::write(&path, "[crawl]\ntimeout = \"-30s\"\n").unwrap();
        let error = Config::load(Some(&path), |_| None).unwrap_err().to_string();
        for part in [&path.display().to_string(), "crawl.timeout = 30s ago", "1s to 1h"] {
            assert!(error.contains(part), "{part} is not in {error}");
        }
    }
}
