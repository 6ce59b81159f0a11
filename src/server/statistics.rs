//! What this server answers, until it is stored: by way and by the clients' countries. Their addresses are not kept.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use jiff::{SignedDuration, Timestamp};

use super::traffic::Counters;
use crate::{
    database::{
        Connection, Database, Error, QueryResult,
        statistics::{self, Batch, Count, Period, Spent, Way},
        traffic,
    },
    mirror::{Country, HostId},
    mirrorlist::Offer,
};

/// Hours that wait for a database that is down; what was counted before is dropped.
const MOST_HOURS: usize = 48;

/// A host that nobody was sent to for so long, and that is good, is of no use.
pub(super) const UNUSED: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Two letters.
const COUNTRIES: usize = 26 * 26;

/// Counted without locks: an answer only adds.
pub(super) struct Tally {
    ways: [Counter; Way::ALL.len()],
    /// The metric of each way, which is looked up once.
    metrics: [OnceLock<metrics::Counter>; Way::ALL.len()],
    countries: Box<[Counter]>,
    hosts: Counters,
}

#[derive(Default)]
struct Counter {
    requests: AtomicU64,
    bytes: AtomicU64,
}

impl Counter {
    fn add(&self, bytes: u64) {
        self.requests.fetch_add(1, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
    }

    fn take(&self) -> Option<Count> {
        let requests = self.requests.swap(0, Relaxed);
        (requests > 0).then(|| Count { requests, bytes: self.bytes.swap(0, Relaxed) })
    }
}

impl Default for Tally {
    fn default() -> Self {
        let countries = (0..COUNTRIES).map(|_| Counter::default()).collect();
        Self { ways: Default::default(), metrics: Default::default(), countries, hosts: Counters::default() }
    }
}

impl Tally {
    /// A client was answered in this way, with so many bytes, or sent to fetch them.
    pub(super) fn add(&self, way: Way, bytes: u64, country: Option<Country>) {
        self.ways[way as usize].add(bytes);
        let metric = || metrics::counter!("portolan_bytes_total", "way" => way.as_str());
        self.metrics[way as usize].get_or_init(metric).increment(bytes);
        if let Some(counter) = country.and_then(|it| self.countries.get(place(it)))
            && (way == Way::Mirror || Way::PAID.contains(&way))
        {
            counter.add(bytes);
        }
    }

    /// A client is sent to this host for so many bytes.
    pub(super) fn sent(&self, offer: &Offer<'_>, bytes: u64) {
        self.hosts.add(offer, bytes);
    }

    /// What was counted since the last time.
    fn take(&self) -> Batch {
        let ways = Way::ALL.into_iter().filter_map(|it| Some((it, self.ways[it as usize].take()?)));
        let countries = self.countries.iter().enumerate();
        let countries = countries.filter_map(|(place, it)| Some((country(place)?, it.take()?)));
        Batch { ways: ways.collect(), hosts: self.hosts.take(), countries: countries.collect() }
    }
}

fn place(country: Country) -> usize {
    let [first, second] = country.letters().map(|it| usize::from(it - b'A'));
    first * 26 + second
}

fn country(place: usize) -> Option<Country> {
    let letter = |it: usize| char::from(b'A' + (it % 26) as u8);
    String::from_iter([letter(place / 26), letter(place)]).parse().ok()
}

/// What all servers counted together, as far as it is watched.
pub(super) struct Watched {
    /// Of the budgets.
    pub(super) spent: Spent,
    /// Hosts that clients were sent to within [`UNUSED`].
    pub(super) used: BTreeSet<HostId>,
}

impl Watched {
    pub(super) fn find(database: &Database, now: Timestamp) -> Result<Self, Error> {
        let since = Period::Day.began((now - UNUSED).into());
        database.read(|it| {
            let used = traffic::list_days(it, since)?.into_iter().map(|it| it.0).collect();
            Ok(Self { spent: statistics::find_spent(it, now.into())?, used })
        })
    }
}

/// What was counted and is not stored yet, by hour, in Unix seconds: a database that comes back gets it all.
#[derive(Default)]
pub(super) struct Pending(BTreeMap<i64, Batch>);

impl Pending {
    /// Takes over what was counted up to now.
    pub(super) fn take(&mut self, tally: &Tally, now: Timestamp) {
        self.add(Period::Hour.began(now.into()).unix_seconds(), tally.take());
    }

    fn add(&mut self, hour: i64, batch: Batch) {
        if !batch.is_empty() {
            self.0.entry(hour).or_default().add(batch);
        }
        while self.0.len() > MOST_HOURS {
            self.0.pop_first();
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Part of a transaction. Forgotten only when that is through.
    pub(super) fn store(&self, connection: &mut Connection) -> QueryResult<()> {
        let hour = |it: i64| Timestamp::from_second(it).unwrap_or(Timestamp::UNIX_EPOCH).into();
        self.0.iter().try_for_each(|(seconds, batch)| statistics::add(connection, hour(*seconds), batch))
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_taken_once() {
        let (tally, [de, zz]) = (Tally::default(), ["DE", "ZZ"].map(|it| it.parse().unwrap()));
        tally.add(Way::Tag, 0, Some(de));
        tally.add(Way::Mirror, 70, Some(de));
        tally.add(Way::FallbackTree, 5, Some(zz));
        tally.add(Way::FallbackTree, 7, None);
        let count = |requests, bytes| Count { requests, bytes };
        let expected = Batch {
            ways: [(Way::Tag, count(1, 0)), (Way::Mirror, count(1, 70)), (Way::FallbackTree, count(2, 12))]
                .into(),
            hosts: BTreeMap::new(),
            countries: [(de, count(1, 70)), (zz, count(1, 5))].into(),
        };
        assert_eq!((tally.take(), tally.take()), (expected, Batch::default()));
    }

    #[test]
    fn a_database_that_is_down_costs_the_oldest_hours_only() {
        let mut pending = Pending::default();
        for hour in 0..MOST_HOURS as i64 + 2 {
            let ways = [(Way::Tag, Count { requests: 1, bytes: 0 })].into();
            pending.add(hour * 3600, Batch { ways, ..Batch::default() });
            pending.add(hour * 3600, Batch::default());
        }
        assert_eq!((pending.0.len(), pending.0.first_key_value().unwrap().0), (MOST_HOURS, &7200));
    }
}
