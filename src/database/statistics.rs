//! What servers answered clients: the tables `way_traffic`, `country_traffic` and, with `traffic`, `host_day_traffic`;
//! and what of it an operator pays for. By hour and by day (UTC), both counted at once, so that nothing has to be
//! summed up later. No address of a client.

use std::{collections::BTreeMap, ops::AddAssign};

use diesel::{prelude::*, upsert::excluded};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Connection, Time,
    connection::on_each,
    schema::{budget_alert, country_traffic, way_traffic},
    traffic::{self, Traffic},
};
use crate::mirror::{Country, HostId};

/// `[statistics]`
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StatisticsConfig {
    /// How long counts by hour are kept: 48h to 8760h.
    #[schemars(with = "String")]
    #[serde(serialize_with = "jiff::fmt::serde::duration::friendly::compact::required")]
    pub hours: SignedDuration,
    /// How long counts by day are kept: 744h to 175200h.
    #[schemars(with = "String")]
    #[serde(serialize_with = "jiff::fmt::serde::duration::friendly::compact::required")]
    pub days: SignedDuration,
    /// So many bytes may come from CDNs and the fallback in a day (UTC); 80 % and all of it are told. 0: no budget.
    pub budget_per_day: u64,
    /// So many may come from there in a month (UTC).
    pub budget_per_month: u64,
}

impl Default for StatisticsConfig {
    fn default() -> Self {
        Self {
            hours: SignedDuration::from_hours(30 * 24),
            days: SignedDuration::from_hours(3 * 365 * 24),
            budget_per_day: 0,
            budget_per_month: 0,
        }
    }
}

/// How clients are answered, as far as it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// A manifest by its tag: once in a pull.
    Tag,
    /// A manifest by its digest.
    Digest,
    /// A small blob, from us.
    Body,
    /// Sent to a mirror.
    Mirror,
    /// Sent to a host that is a CDN.
    Cdn,
    /// Sent to the fallback's URL.
    FallbackUrl,
    /// The fallback, from the tree.
    FallbackTree,
    /// Sent to the origin.
    FallbackOrigin,
}

impl Way {
    /// All of them, in their order.
    pub const ALL: [Self; 8] = [
        Self::Tag,
        Self::Digest,
        Self::Body,
        Self::Mirror,
        Self::Cdn,
        Self::FallbackUrl,
        Self::FallbackTree,
        Self::FallbackOrigin,
    ];

    /// Those that bring what is large, but for mirrors: what an operator pays for.
    pub const PAID: [Self; 4] = [Self::Cdn, Self::FallbackUrl, Self::FallbackTree, Self::FallbackOrigin];

    /// Those of the fallback.
    pub const FALLBACK: [Self; 3] = [Self::FallbackUrl, Self::FallbackTree, Self::FallbackOrigin];

    /// As it stands in the database, in metrics and in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tag => "tag",
            Self::Digest => "digest",
            Self::Body => "body",
            Self::Mirror => "mirror",
            Self::Cdn => "cdn",
            Self::FallbackUrl => "fallback-url",
            Self::FallbackTree => "fallback-tree",
            Self::FallbackOrigin => "fallback-origin",
        }
    }

    fn find(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == text)
    }
}

/// Of some requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// How many.
    pub requests: u64,
    /// What was asked for by them, in bytes; of manifests 0.
    pub bytes: u64,
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

/// By way.
pub type Ways = BTreeMap<Way, Count>;

/// Some ways together.
pub fn total(ways: &Ways, of: &[Way]) -> Count {
    let mut total = Count::default();
    of.iter().filter_map(|it| ways.get(it)).for_each(|it| total += *it);
    total
}

/// So many percent of the bytes of what is large came from mirrors, rounded down; `None`: there were none.
pub fn percent_from_mirrors(ways: &Ways) -> Option<u64> {
    let mirrors = total(ways, &[Way::Mirror]).bytes;
    let all = mirrors.saturating_add(total(ways, &Way::PAID).bytes);
    u64::try_from((u128::from(mirrors) * 100).checked_div(u128::from(all))?).ok()
}

/// What one server counted in an hour.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// By way.
    pub ways: Ways,
    /// What clients were sent to fetch, by host.
    pub hosts: BTreeMap<HostId, Traffic>,
    /// The same by the clients' country, with the fallback.
    pub countries: BTreeMap<Country, Count>,
}

impl Batch {
    /// Nothing at all?
    pub fn is_empty(&self) -> bool {
        self.ways.is_empty() && self.hosts.is_empty() && self.countries.is_empty()
    }

    /// Adds another one of the same hour.
    pub fn add(&mut self, other: Self) {
        other.ways.into_iter().for_each(|(way, it)| *self.ways.entry(way).or_default() += it);
        other.hosts.into_iter().for_each(|(host, it)| *self.hosts.entry(host).or_default() += it);
        other.countries.into_iter().for_each(|(land, it)| *self.countries.entry(land).or_default() += it);
    }
}

/// What is counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// An hour.
    Hour,
    /// A day.
    Day,
}

impl Period {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    /// When the one began in which this moment is.
    pub fn began(self, at: Time) -> Time {
        let length = match self {
            Self::Hour => 60 * 60,
            Self::Day => 24 * 60 * 60,
        };
        let second = at.unix_seconds().div_euclid(length) * length;
        Timestamp::from_second(second).unwrap_or(Timestamp::UNIX_EPOCH).into()
    }
}

/// When the month began in which this moment is.
fn month_began(at: Time) -> Time {
    let zoned = Timestamp::from(at).to_zoned(TimeZone::UTC);
    let first = zoned.first_of_month().and_then(|it| it.start_of_day());
    first.map_or(at, |it| it.timestamp().into())
}

/// No sum of a year of these overflows.
pub(super) fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX).min(1 << 50)
}

fn count(requests: i64, bytes: i64) -> Count {
    Count { requests: requests.cast_unsigned(), bytes: bytes.cast_unsigned() }
}

/// Adds to what is known of this hour, and of its day. Hosts that were removed meanwhile are passed over.
pub fn add(connection: &mut Connection, hour: Time, batch: &Batch) -> QueryResult<()> {
    // In one order, so that two servers never wait for each other.
    traffic::add(connection, hour, &batch.hosts)?;
    add_ways(connection, hour, &batch.ways)?;
    add_countries(connection, Period::Day.began(hour), &batch.countries)
}

fn add_ways(connection: &mut Connection, hour: Time, ways: &Ways) -> QueryResult<()> {
    let row = |period: Period, (way, count): (&Way, &Count)| {
        (
            way_traffic::way.eq(way.as_str()),
            way_traffic::period.eq(period.as_str()),
            way_traffic::began_at.eq(period.began(hour)),
            way_traffic::requests.eq(stored(count.requests)),
            way_traffic::bytes.eq(stored(count.bytes)),
        )
    };
    let hours = ways.iter().map(|it| row(Period::Hour, it));
    let rows: Vec<_> = hours.chain(ways.iter().map(|it| row(Period::Day, it))).collect();
    on_each!(connection, |it| diesel::insert_into(way_traffic::table)
        .values(rows)
        .on_conflict((way_traffic::period, way_traffic::began_at, way_traffic::way))
        .do_update()
        .set((
            way_traffic::requests.eq(way_traffic::requests + excluded(way_traffic::requests)),
            way_traffic::bytes.eq(way_traffic::bytes + excluded(way_traffic::bytes)),
        ))
        .execute(it))?;
    Ok(())
}

fn add_countries(
    connection: &mut Connection,
    day: Time,
    countries: &BTreeMap<Country, Count>,
) -> QueryResult<()> {
    let row = |(country, count): (&Country, &Count)| {
        (
            country_traffic::country.eq(*country),
            country_traffic::day.eq(day),
            country_traffic::requests.eq(stored(count.requests)),
            country_traffic::bytes.eq(stored(count.bytes)),
        )
    };
    let rows: Vec<_> = countries.iter().map(row).collect();
    on_each!(connection, |it| diesel::insert_into(country_traffic::table)
        .values(rows)
        .on_conflict((country_traffic::day, country_traffic::country))
        .do_update()
        .set((
            country_traffic::requests.eq(country_traffic::requests + excluded(country_traffic::requests)),
            country_traffic::bytes.eq(country_traffic::bytes + excluded(country_traffic::bytes)),
        ))
        .execute(it))?;
    Ok(())
}

/// What was answered since, by hour or day. Without those in which nothing was.
pub fn list(connection: &mut Connection, period: Period, since: Time) -> QueryResult<BTreeMap<Time, Ways>> {
    let rows: Vec<(Time, String, i64, i64)> = way_traffic::table
        .filter(way_traffic::period.eq(period.as_str()))
        .filter(way_traffic::began_at.ge(since))
        .select((way_traffic::began_at, way_traffic::way, way_traffic::requests, way_traffic::bytes))
        .load(connection)?;
    let mut periods: BTreeMap<Time, Ways> = BTreeMap::new();
    for (began_at, way, requests, bytes) in rows {
        // A way of a later version.
        let Some(way) = Way::find(&way) else { continue };
        *periods.entry(began_at).or_default().entry(way).or_default() += count(requests, bytes);
    }
    Ok(periods)
}

/// What clients were sent to fetch since a day, by their country.
pub fn list_countries(connection: &mut Connection, since: Time) -> QueryResult<BTreeMap<Country, Count>> {
    let rows: Vec<(Country, i64, i64)> = country_traffic::table
        .filter(country_traffic::day.ge(since))
        .select((country_traffic::country, country_traffic::requests, country_traffic::bytes))
        .load(connection)?;
    let mut countries: BTreeMap<Country, Count> = BTreeMap::new();
    for (country, requests, bytes) in rows {
        *countries.entry(country).or_default() += count(requests, bytes);
    }
    Ok(countries)
}

/// Bytes that came from CDNs and the fallback.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Spent {
    /// Today (UTC).
    pub day: u64,
    /// In this month.
    pub month: u64,
}

/// What was spent in the day, and the month, of this moment.
pub fn find_spent(connection: &mut Connection, now: Time) -> QueryResult<Spent> {
    let today = Period::Day.began(now);
    let mut spent = Spent::default();
    for (day, ways) in list(connection, Period::Day, month_began(now))? {
        let bytes = total(&ways, &Way::PAID).bytes;
        spent.month += bytes;
        if day == today {
            spent.day += bytes;
        }
    }
    Ok(spent)
}

/// So many percent of a budget are told, each once.
const LEVELS: [u64; 2] = [80, 100];

/// A budget of which so much is spent that people should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overspent {
    /// `day` or `month`.
    pub period: &'static str,
    /// At least so many percent of it are spent.
    pub percent: u64,
    /// So many bytes are.
    pub spent: u64,
    /// Of so many.
    pub budget: u64,
}

/// What of the budgets is to be told: the highest level of each that is reached.
pub fn find_overspent(config: &StatisticsConfig, spent: Spent) -> Vec<Overspent> {
    let budgets =
        [("day", spent.day, config.budget_per_day), ("month", spent.month, config.budget_per_month)];
    let judge = |(period, spent, budget): (&'static str, u64, u64)| {
        let is_reached = |level: &u64| u128::from(spent) * 100 >= u128::from(budget) * u128::from(*level);
        let percent = LEVELS.into_iter().rfind(is_reached).filter(|_| budget > 0)?;
        Some(Overspent { period, percent, spent, budget })
    };
    budgets.into_iter().filter_map(judge).collect()
}

/// Was it told in this day or month?
pub fn is_told(connection: &mut Connection, it: &Overspent, now: Time) -> QueryResult<bool> {
    let told = budget_alert::table
        .filter(budget_alert::period.eq(it.period))
        .filter(budget_alert::began_at.eq(alert_began(it, now)))
        .filter(budget_alert::percent.ge(stored(it.percent)))
        .select(budget_alert::percent);
    Ok(told.first::<i64>(connection).optional()?.is_some())
}

/// Notes that it is told; false when another one has told it before.
pub fn note_told(connection: &mut Connection, it: &Overspent, now: Time) -> QueryResult<bool> {
    let row = (
        budget_alert::period.eq(it.period),
        budget_alert::began_at.eq(alert_began(it, now)),
        budget_alert::percent.eq(stored(it.percent)),
    );
    let added = on_each!(connection, |it| diesel::insert_into(budget_alert::table)
        .values(row)
        .on_conflict_do_nothing()
        .execute(it))?;
    Ok(added == 1)
}

fn alert_began(it: &Overspent, now: Time) -> Time {
    if it.period == "month" { month_began(now) } else { Period::Day.began(now) }
}

/// Is there anything by hour before the one, or by day before the other?
pub fn has_before(connection: &mut Connection, hours: Time, days: Time) -> QueryResult<bool> {
    let before = |period: Period, time: Time| {
        way_traffic::table
            .filter(way_traffic::period.eq(period.as_str()))
            .filter(way_traffic::began_at.lt(time))
            .select(way_traffic::requests)
    };
    let hour = before(Period::Hour, hours).first::<i64>(connection).optional()?;
    let day = before(Period::Day, days).first::<i64>(connection).optional()?;
    Ok(hour.or(day).is_some())
}

/// Throws away what is by hour before the one, and by day before the other.
pub fn forget(connection: &mut Connection, hours: Time, days: Time) -> QueryResult<()> {
    for (period, before) in [(Period::Hour, hours), (Period::Day, days)] {
        let old = way_traffic::table
            .filter(way_traffic::period.eq(period.as_str()))
            .filter(way_traffic::began_at.lt(before));
        diesel::delete(old).execute(connection)?;
    }
    diesel::delete(country_traffic::table.filter(country_traffic::day.lt(days))).execute(connection)?;
    diesel::delete(budget_alert::table.filter(budget_alert::began_at.lt(days))).execute(connection)?;
    traffic::forget(connection, hours, days)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        database::testing::{add_host, on_both},
        mirrorlist::load::Demand,
    };

    fn at(text: &str) -> Time {
        format!("2026-{text}:00Z").parse::<Timestamp>().unwrap().into()
    }

    fn of(requests: u64, bytes: u64) -> Count {
        Count { requests, bytes }
    }

    #[test]
    fn hours_and_days_are_counted_at_once_and_forgotten_by_themselves() {
        on_both(|database| {
            let host = add_host(database, "m1").id;
            let before = database.generations().unwrap();
            let traffic = Traffic { requests: 1, bytes: 70, demand: Demand { own: 0, others: 70 } };
            let batch = Batch {
                ways: [(Way::Tag, of(2, 0)), (Way::Mirror, of(1, 70)), (Way::Cdn, of(1, u64::MAX))].into(),
                hosts: [(host, traffic), (HostId(99), traffic)].into(),
                countries: [("DE".parse().unwrap(), of(2, 71))].into(),
            };
            for hour in ["11-20T23:00", "11-21T00:00", "11-21T01:00", "11-21T01:00"] {
                database.write_log(|it| add(it, at(hour), &batch)).unwrap();
            }
            assert_eq!(database.generations().unwrap(), before);
            let tags = |period| {
                let found = database.read(|it| list(it, period, at("11-20T00:00"))).unwrap();
                found.iter().map(|(time, ways)| (*time, ways[&Way::Tag])).collect::<Vec<_>>()
            };
            let hours = [("11-20T23:00", 2), ("11-21T00:00", 2), ("11-21T01:00", 4)];
            assert_eq!(tags(Period::Hour), hours.map(|it| (at(it.0), of(it.1, 0))));
            assert_eq!(tags(Period::Day), [(at("11-20T00:00"), of(2, 0)), (at("11-21T00:00"), of(6, 0))]);
            let days = database.read(|it| traffic::list_days(it, at("11-21T00:00"))).unwrap();
            assert_eq!(days, [(host, at("11-21T00:00"), of(3, 210))]);
            let countries = database.read(|it| list_countries(it, at("11-21T00:00"))).unwrap();
            assert_eq!(countries, [("DE".parse().unwrap(), of(6, 213))].into());
            assert_eq!(database.read(|it| find_spent(it, at("11-21T05:00"))).unwrap().day, 3 << 50);

            let (hours, days) = (at("11-21T01:00"), at("11-21T00:00"));
            assert!(database.read(|it| has_before(it, hours, days)).unwrap());
            database.write_log(|it| forget(it, hours, days)).unwrap();
            assert!(!database.read(|it| has_before(it, hours, days)).unwrap());
            assert_eq!((tags(Period::Hour).len(), tags(Period::Day).len()), (1, 1));
            assert_eq!(database.read(|it| traffic::list(it, host, 9)).unwrap().len(), 1);
        });
    }

    #[test]
    fn a_month_is_spent_day_by_day_and_each_level_is_told_once() {
        on_both(|database| {
            let config =
                StatisticsConfig { budget_per_day: 100, budget_per_month: 1_000, ..Default::default() };
            let pay = |day: &str, bytes| {
                let ways = [(Way::FallbackTree, of(1, bytes)), (Way::Mirror, of(1, 9_999))].into();
                let batch = Batch { ways, ..Batch::default() };
                database.write_log(|it| add(it, at(day), &batch)).unwrap();
            };
            let told = |now: &str| {
                let now = at(now);
                let spent = database.read(|it| find_spent(it, now)).unwrap();
                let tell = |it: &Overspent| {
                    let is_told = database.read(|connection| is_told(connection, it, now)).unwrap();
                    let is_new = database.write_log(|connection| note_told(connection, it, now)).unwrap();
                    assert!(!(is_told && is_new && it.percent == 100), "{it:?}");
                    (!is_told).then_some((it.period, it.percent))
                };
                find_overspent(&config, spent).iter().filter_map(tell).collect::<Vec<_>>()
            };
            pay("10-31T23:00", 5_000);
            pay("11-01T00:00", 79);
            assert_eq!(told("11-01T01:00"), []);
            pay("11-01T00:00", 1);
            assert_eq!(told("11-01T01:00"), [("day", 80)]);
            assert_eq!(told("11-01T02:00"), []);
            pay("11-01T03:00", 20);
            assert_eq!(told("11-01T03:00"), [("day", 100)]);
            pay("11-02T00:00", 900);
            assert_eq!(told("11-02T03:00"), [("day", 100), ("month", 100)]);
            assert_eq!(told("11-02T04:00"), []);
            assert_eq!(told("11-03T00:00"), [], "another day");
            assert_eq!(find_overspent(&StatisticsConfig::default(), Spent { day: 9, month: 9 }), []);
        });
    }
}
