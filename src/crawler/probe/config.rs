use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

/// `[probe]`: how it is kept known which URLs of mirrors answer. `portolan crawl` and `portolan run` do it.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProbeConfig {
    /// Within how long it is known that a URL died to which a client was sent in the last minute: 1s to 1m, and longer
    /// than `timeout`, which it may use up. It is asked more often, for it may die between two questions.
    #[serde(serialize_with = "jiff::fmt::serde::duration::friendly::compact::required")]
    #[schemars(with = "String")]
    pub interval: SignedDuration,
    /// How often any other URL is asked: 1s to 1h. Less often where a host has many URLs.
    #[serde(serialize_with = "jiff::fmt::serde::duration::friendly::compact::required")]
    #[schemars(with = "String")]
    pub idle_interval: SignedDuration,
    /// How long one answer may take: 1s to 1m.
    #[serde(serialize_with = "jiff::fmt::serde::duration::friendly::compact::required")]
    #[schemars(with = "String")]
    pub timeout: SignedDuration,
    /// How many URLs are asked at once: 1 to 1000.
    #[schemars(range(min = 1, max = 1_000))]
    pub at_once: usize,
}

impl Default for ProbeConfig {
    fn default() -> Self {
        Self {
            interval: SignedDuration::from_secs(5),
            idle_interval: SignedDuration::from_mins(5),
            timeout: SignedDuration::from_secs(3),
            at_once: 200,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_what_it_writes_and_nothing_unknown() {
        let text = toml::to_string(&ProbeConfig::default()).unwrap();
        insta::assert_snapshot!(text, @r#"
        interval = "5s"
        idle_interval = "5m"
        timeout = "3s"
        at_once = 200
        "#);
        assert!(toml::from_str::<ProbeConfig>("at_onc = 3").is_err());
    }
}
