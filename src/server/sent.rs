//! What this server sent to hosts that take only so much in a day.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{mirror::HostId, mirrorlist::rows::HostRow};

/// A day in UTC, in seconds.
const DAY: i64 = 24 * 60 * 60;

/// Bytes that clients were redirected to, today, by host. Begins anew with the process.
#[derive(Debug, Default)]
pub(super) struct Sent(Mutex<Today>);

#[derive(Debug, Default)]
struct Today {
    /// Days since 1970.
    day: i64,
    bytes: HashMap<HostId, u64>,
}

impl Sent {
    /// Counts, for a host with a limit, what a client was just sent to fetch. `at` is in Unix seconds.
    pub(super) fn add(&self, host: &HostRow, bytes: u64, at: i64) {
        if host.daily_bytes.is_some() {
            let mut today = self.today(at);
            let sum = today.bytes.entry(host.id).or_default();
            *sum = sum.saturating_add(bytes);
        }
    }

    /// The hosts whose day is spent.
    pub(super) fn list_spent(&self, hosts: &[HostRow], at: i64) -> HashSet<HostId> {
        let today = self.today(at);
        let sent = |it: &HostRow| today.bytes.get(&it.id).copied().unwrap_or_default();
        let is_spent = |it: &&HostRow| it.daily_bytes.is_some_and(|most| sent(it) >= most);
        hosts.iter().filter(is_spent).map(|it| it.id).collect()
    }

    fn today(&self, at: i64) -> MutexGuard<'_, Today> {
        let mut today = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let day = at.div_euclid(DAY);
        if today.day != day {
            *today = Today { day, bytes: HashMap::new() };
        }
        today
    }
}
