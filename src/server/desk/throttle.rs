use std::num::NonZeroU32;

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

/// So often in a minute one network may try to sign in.
const NETWORK_A_MINUTE: u32 = 20;

/// So often in an hour one account's password may be tried.
const ACCOUNT_AN_HOUR: u32 = 30;

/// So many accounts one network may make in an hour.
const SIGN_UPS_AN_HOUR: u32 = 5;

/// Networks and names that are counted at once; then those that have done nothing for long are forgotten.
const MOST_COUNTED: usize = 10_000;

/// How often passwords are tried.
pub(super) struct Throttle {
    networks: DefaultKeyedRateLimiter<String>,
    accounts: DefaultKeyedRateLimiter<String>,
    sign_ups: DefaultKeyedRateLimiter<String>,
}

impl Default for Throttle {
    fn default() -> Self {
        let number = |it| NonZeroU32::new(it).unwrap_or(NonZeroU32::MIN);
        Self {
            networks: RateLimiter::keyed(Quota::per_minute(number(NETWORK_A_MINUTE))),
            accounts: RateLimiter::keyed(Quota::per_hour(number(ACCOUNT_AN_HOUR))),
            sign_ups: RateLimiter::keyed(Quota::per_hour(number(SIGN_UPS_AN_HOUR))),
        }
    }
}

impl Throttle {
    /// May this network try to sign in to this account now? It counts, whether there is such an account or not.
    pub(super) fn admits(&self, network: &str, account: &str) -> bool {
        takes(&self.networks, network) && takes(&self.accounts, account)
    }

    /// May this network make one more account?
    pub(super) fn admits_sign_up(&self, network: &str) -> bool {
        takes(&self.sign_ups, network)
    }
}

fn takes(limiter: &DefaultKeyedRateLimiter<String>, key: &str) -> bool {
    if limiter.len() >= MOST_COUNTED {
        limiter.retain_recent();
    }
    // Full of those who are at it now: no further one gets in.
    limiter.len() < MOST_COUNTED && limiter.check_key(&key.to_owned()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_safe_from_many_networks_and_a_network_tries_few_accounts() {
        let throttle = Throttle::default();
        let tried = (0..100).filter(|it| throttle.admits(&format!("192.0.{it}.0/24"), "ann")).count();
        assert_eq!(tried, 30);
        let tried = (0..100).filter(|it| throttle.admits("198.51.100.0/24", &format!("bob{it}"))).count();
        assert_eq!(tried, 20);
        assert_eq!((0..9).filter(|_| throttle.admits_sign_up("198.51.100.0/24")).count(), 5);
    }

    #[test]
    fn what_is_counted_is_bounded() {
        let throttle = Throttle::default();
        let tried = (0..12_000).filter(|it| throttle.admits_sign_up(&it.to_string())).count();
        assert_eq!(tried, MOST_COUNTED);
    }
}
