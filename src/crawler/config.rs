use ipnet::IpNet;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::budget::Limits;

/// `[crawl]`: how mirrors are looked at.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How long after a crawl of a host the next one comes, give or take a tenth: 1s to 720h. After each
    /// crawl that did not reach it twice as long, up to 24h.
    #[serde(serialize_with = "jiff::fmt::serde::duration::friendly::compact::required")]
    #[schemars(with = "String")]
    pub interval: SignedDuration,
    /// How many hosts are crawled at once: 1 to 1000.
    #[schemars(range(min = 1, max = 1_000))]
    pub hosts: usize,
    /// How many requests one host gets at once: 1 to 64.
    #[schemars(range(min = 1, max = 64))]
    pub connections: usize,
    /// How many requests one host gets in a second: 1 to 1000.
    #[schemars(range(min = 1, max = 1_000))]
    pub rate: u32,
    /// How many requests run at once, to all hosts: 1 to 10000.
    #[schemars(range(min = 1, max = 10_000))]
    pub requests_at_once: usize,
    /// How long one answer may take: 1s to 1h. Large bodies get more, by their size.
    #[serde(serialize_with = "jiff::fmt::serde::duration::friendly::compact::required")]
    #[schemars(with = "String")]
    pub timeout: SignedDuration,
    /// How long the crawl of one host may take: 1s to 24h. What was not asked by then counts as unreachable.
    #[serde(serialize_with = "jiff::fmt::serde::duration::friendly::compact::required")]
    #[schemars(with = "String")]
    pub host_timeout: SignedDuration,
    /// How long a crawler has a host for itself, 3s to 1h. It renews that while it crawls; when it was killed,
    /// another one takes the host over after this time.
    #[serde(serialize_with = "jiff::fmt::serde::duration::friendly::compact::required")]
    #[schemars(with = "String")]
    pub lease: SignedDuration,
    /// After how many crawls in a row that did not reach it a host is switched off, until one does: 0 (never)
    /// to 1000. Private hosts are not: often they cannot be reached from here.
    #[schemars(range(max = 1_000))]
    pub failures_until_off: u32,
    /// How long the log of crawls is kept: 1h to 87600h.
    #[serde(serialize_with = "jiff::fmt::serde::duration::friendly::compact::required")]
    #[schemars(with = "String")]
    pub history: SignedDuration,
    /// How many requests a host gets on one day (UTC), by crawls and by the probes of idle URLs together: 100 to
    /// 1000000. Of them 576 are for the probes of each URL, 1,000 at most of all, and 200 for probes out of turn; a
    /// quarter is the crawls' in any case, so that less than 1,600 in all may be passed.
    #[schemars(range(min = 100, max = 1_000_000))]
    pub requests_per_day: u64,
    /// How many bytes are read from a host on one day (UTC): 0 to 68719476736 (64 GiB). Larger files are never
    /// compared with their digests.
    #[schemars(range(max = 68_719_476_736_u64))]
    pub bytes_per_day: u64,
    /// How much of a host's bandwidth clients may fill on average over an hour, in percent: 0 (there is no limit) to
    /// 100. Of more clients in one hour some are sent to hosts farther away in the next. An unknown bandwidth counts
    /// as 100 Mbit/s; clients of a host's own netblocks and autonomous systems always stay.
    #[schemars(range(max = 100))]
    pub fill: u8,
    /// Networks that are crawled though their addresses are not public, as `10.0.0.0/8`. Only in these may a
    /// URL have an address instead of a host's name.
    #[schemars(with = "Vec<String>")]
    pub allow_networks: Vec<IpNet>,
    /// Ports below 1024 that are visited beside 80, 443 and 873 (rsync). Those from 1024 on always are.
    pub allow_ports: Vec<u16>,
    /// A URL or mail address that mirror admins find in their logs, behind our name.
    pub contact: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            interval: SignedDuration::from_hours(1),
            hosts: 20,
            connections: 2,
            rate: 20,
            requests_at_once: 100,
            timeout: SignedDuration::from_secs(30),
            host_timeout: SignedDuration::from_mins(10),
            lease: SignedDuration::from_mins(2),
            failures_until_off: 4,
            history: SignedDuration::from_hours(720),
            requests_per_day: 3_000,
            bytes_per_day: 200_000_000,
            fill: 50,
            allow_networks: Vec::new(),
            allow_ports: Vec::new(),
            contact: String::new(),
        }
    }
}

impl Config {
    /// What may be asked of a host on one day.
    pub(super) fn limits(&self) -> Limits {
        Limits {
            requests_per_day: self.requests_per_day,
            bytes_per_day: self.bytes_per_day,
            interval: self.interval,
        }
    }

    /// What mirrors see as our name.
    pub fn user_agent(&self) -> String {
        let name = concat!("portolan/", env!("CARGO_PKG_VERSION"));
        if self.contact.is_empty() { name.to_owned() } else { format!("{name} (+{})", self.contact) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_what_it_writes_and_nothing_unknown() {
        let text = toml::to_string(&Config::default()).unwrap();
        insta::assert_snapshot!(text, @r#"
        interval = "1h"
        hosts = 20
        connections = 2
        rate = 20
        requests_at_once = 100
        timeout = "30s"
        host_timeout = "10m"
        lease = "2m"
        failures_until_off = 4
        history = "720h"
        requests_per_day = 3000
        bytes_per_day = 200000000
        fill = 50
        allow_networks = []
        allow_ports = []
        contact = ""
        "#);
        let config: Config = toml::from_str("timeout = \"5s\"\nallow_networks = [\"10.0.0.0/8\"]").unwrap();
        assert_eq!(config.timeout, SignedDuration::from_secs(5));
        assert!(toml::from_str::<Config>("interva = \"1h\"").is_err());
    }

    #[test]
    fn mirrors_see_who_we_are() {
        let config = Config { contact: "https://example.org/crawler".into(), ..Config::default() };
        assert!(config.user_agent().ends_with(" (+https://example.org/crawler)"));
        assert!(!Config::default().user_agent().contains('('));
    }
}
