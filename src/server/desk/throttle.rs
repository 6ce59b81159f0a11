use std::{num::NonZeroU32, time::Duration};

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use super::oidc::LASTS;
use crate::mirror::AccountName;

/// So often in a minute one network may try to sign in.
const NETWORK_A_MINUTE: u32 = 20;

/// So often in an hour one network may try the password of one account.
const PAIR_AN_HOUR: u32 = 10;

/// So often in an hour all networks together may try the password of one account. Far more than of one, so that nobody is
/// locked out by a stranger with ease.
const ACCOUNT_AN_HOUR: u32 = 200;

/// So many changes one network may make in a minute.
const CHANGES_A_MINUTE: u32 = 300;

/// So many accounts one network may make in an hour.
const SIGN_UPS_AN_HOUR: u32 = 5;

/// Networks and names that are counted at once; then those that have done nothing for long are forgotten.
const MOST_COUNTED: usize = 10_000;

/// How often passwords are tried.
pub(super) struct Throttle {
    networks: DefaultKeyedRateLimiter<String>,
    pairs: DefaultKeyedRateLimiter<String>,
    changes: DefaultKeyedRateLimiter<String>,
    accounts: DefaultKeyedRateLimiter<String>,
    sign_ups: DefaultKeyedRateLimiter<String>,
    landings: DefaultKeyedRateLimiter<String>,
}

impl Default for Throttle {
    fn default() -> Self {
        let number = |it| NonZeroU32::new(it).unwrap_or(NonZeroU32::MIN);
        Self {
            networks: RateLimiter::keyed(Quota::per_minute(number(NETWORK_A_MINUTE))),
            pairs: RateLimiter::keyed(Quota::per_hour(number(PAIR_AN_HOUR))),
            changes: RateLimiter::keyed(Quota::per_minute(number(CHANGES_A_MINUTE))),
            accounts: RateLimiter::keyed(Quota::per_hour(number(ACCOUNT_AN_HOUR))),
            sign_ups: RateLimiter::keyed(Quota::per_hour(number(SIGN_UPS_AN_HOUR))),
            landings: RateLimiter::keyed(once_in(LASTS)),
        }
    }
}

impl Throttle {
    /// May this network try to sign in to this account now? It counts, whether there is such an account or not.
    /// `None`: what was typed can be no account's name.
    pub(super) fn admits(&self, network: &str, account: Option<&AccountName>) -> bool {
        let account = account.map_or("", |it| it.as_str());
        takes(&self.networks, network)
            && takes(&self.pairs, &format!("{network} {account}"))
            && takes(&self.accounts, account)
    }

    /// May this network go to the provider of OpenID Connect, or come back from there? That counts as trying to sign in.
    pub(super) fn admits_journey(&self, network: &str) -> bool {
        takes(&self.networks, network)
    }

    /// Has nobody come back with this state yet? Only what the provider has proven is counted, so that no stranger fills it.
    pub(super) fn admits_landing(&self, state: &str) -> bool {
        takes(&self.landings, state)
    }

    /// May this network change one thing more?
    pub(super) fn admits_change(&self, network: &str) -> bool {
        takes(&self.changes, network)
    }

    /// May this network make one more account?
    pub(super) fn admits_sign_up(&self, network: &str) -> bool {
        takes(&self.sign_ups, network)
    }
}

/// Once in so many seconds.
fn once_in(seconds: i64) -> Quota {
    let period = Duration::from_secs(seconds.unsigned_abs());
    Quota::with_period(period).unwrap_or(Quota::per_hour(NonZeroU32::MIN))
}

fn takes(limiter: &DefaultKeyedRateLimiter<String>, key: &str) -> bool {
    if limiter.len() >= MOST_COUNTED {
        limiter.retain_recent();
    }
    // Full of those who are at it now: all further ones share what one may do.
    let key = if limiter.len() < MOST_COUNTED { key } else { "" };
    limiter.check_key(&key.to_owned()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_tries_little_and_locks_nobody_out() {
        let throttle = Throttle::default();
        let ann: AccountName = "ann".parse().unwrap();
        let admits = |network: &str, name: Option<&AccountName>| throttle.admits(network, name);
        assert_eq!((0..100).filter(|_| admits("192.0.2.0/24", Some(&ann))).count(), 10);
        assert!(admits("198.51.100.0/24", Some(&ann)), "her own network");
        let names = (0..100).map(|it| format!("bob{it}").parse().unwrap());
        assert_eq!(names.filter(|it| admits("203.0.113.0/24", Some(it))).count(), 20);
        let networks = (0..999).map(|it| format!("10.{it}.0/24"));
        assert_eq!(networks.filter(|it| admits(it, Some(&ann))).count(), 189, "of all networks together");
        assert_eq!((0..9).filter(|_| throttle.admits_sign_up("198.51.100.0/24")).count(), 5);
        assert_eq!((0..100).filter(|_| throttle.admits_journey("192.0.3.0/24")).count(), 20);
        assert!(throttle.admits_landing("state") && !throttle.admits_landing("state"), "once");
        assert_eq!((0..999).filter(|_| throttle.admits_change("198.51.100.0/24")).count(), 300);
    }

    #[test]
    fn what_is_counted_is_bounded() {
        let throttle = Throttle::default();
        let tried = (0..12_000).filter(|it| throttle.admits_sign_up(&it.to_string())).count();
        assert_eq!(tried, MOST_COUNTED + 5, "those who come last share what one may do");
    }
}
