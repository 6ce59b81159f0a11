//! `portolan statistics`: what clients were answered, and from where.

use indicatif::HumanBytes;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::table::{self, Answer};
use crate::{
    config::Config,
    database::{
        Connection, Database, QueryResult, Time, host,
        statistics::{self, Count, Period, Spent, StatisticsConfig, Way, Ways},
        traffic,
    },
    mirror::{Country, HostKind, HostName},
};

/// Rows of a table of hosts or countries; `--json` has all.
const MOST_ROWS: usize = 20;

#[derive(clap::Args)]
pub(super) struct Options {
    /// So many days (UTC), with today
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=7300))]
    days: u16,
    /// Print JSON, for programs; with hours, all hosts and all countries
    #[arg(long)]
    json: bool,
}

pub(super) fn run(options: &Options, config: &Config, database: &Database) -> anyhow::Result<()> {
    let now = Timestamp::now();
    let view = database.read(|it| View::load(it, &config.statistics, options.days, now))?;
    view.answer()?.print(options.json)
}

#[derive(Serialize)]
struct View {
    /// Oldest first, without those on which nobody came.
    days: Vec<PeriodView>,
    /// The same, as long as hours are kept.
    hours: Vec<PeriodView>,
    /// Most bytes first.
    hosts: Vec<HostView>,
    countries: Vec<CountryView>,
    budgets: Vec<BudgetView>,
}

#[derive(Serialize)]
struct PeriodView {
    began_at: Time,
    ways: Ways,
}

#[derive(Serialize)]
struct HostView {
    host: HostName,
    kind: HostKind,
    #[serde(flatten)]
    count: Count,
}

#[derive(Serialize)]
struct CountryView {
    country: Country,
    #[serde(flatten)]
    count: Count,
}

#[derive(Serialize)]
struct BudgetView {
    period: &'static str,
    spent: u64,
    budget: u64,
}

impl View {
    fn load(
        connection: &mut Connection,
        config: &StatisticsConfig,
        days: u16,
        now: Timestamp,
    ) -> QueryResult<Self> {
        let since = now - SignedDuration::from_hours(24 * i64::from(days - 1));
        let since = Period::Day.began(since.into());
        let list = |connection: &mut Connection, period| {
            let found = statistics::list(connection, period, since)?.into_iter();
            QueryResult::Ok(found.map(|(began_at, ways)| PeriodView { began_at, ways }).collect())
        };
        let countries = statistics::list_countries(connection, since)?.into_iter();
        let countries = countries.map(|(country, count)| CountryView { country, count });
        Ok(Self {
            days: list(connection, Period::Day)?,
            hours: list(connection, Period::Hour)?,
            hosts: list_hosts(connection, since)?,
            countries: sorted(countries.collect(), |it| it.count),
            budgets: budgets(config, statistics::find_spent(connection, now.into())?),
        })
    }

    fn answer(&self) -> anyhow::Result<Answer> {
        let mut days = table::list(&["DAY", "PULLS", "MIRRORS", "CDNS", "FALLBACK", "FROM MIRRORS"]);
        for PeriodView { began_at, ways } in &self.days {
            let bytes = |of: &[Way]| table::cell(HumanBytes(statistics::total(ways, of).bytes));
            days.add_row([
                table::cell(Timestamp::from(*began_at).strftime("%F")),
                table::cell(statistics::total(ways, &[Way::Tag]).requests),
                bytes(&[Way::Mirror]),
                bytes(&[Way::Cdn]),
                bytes(&Way::FALLBACK),
                table::optional(statistics::percent_from_mirrors(ways).map(|it| format!("{it} %"))),
            ]);
        }
        let mut hosts = table::list(&["HOST", "KIND", "REDIRECTS", "BYTES"]);
        for HostView { host, kind, count } in self.hosts.iter().take(MOST_ROWS) {
            let bytes = HumanBytes(count.bytes);
            let kind = kind.as_str();
            hosts.add_row([
                table::cell(host),
                table::cell(kind),
                table::cell(count.requests),
                table::cell(bytes),
            ]);
        }
        let mut countries = table::list(&["COUNTRY", "REDIRECTS", "BYTES"]);
        for CountryView { country, count } in self.countries.iter().take(MOST_ROWS) {
            let bytes = HumanBytes(count.bytes);
            countries.add_row([table::cell(country), table::cell(count.requests), table::cell(bytes)]);
        }
        let mut answer = Answer::new(self)?.list(days, "nobody came");
        for (rows, of) in [(hosts, self.hosts.len()), (countries, self.countries.len())] {
            if of > 0 {
                answer = answer.table(rows);
            }
            if of > MOST_ROWS {
                answer = answer.line(format_args!("and {} more; --json has all", of - MOST_ROWS));
            }
        }
        for BudgetView { period, spent, budget } in &self.budgets {
            let percent = u128::from(*spent) * 100 / u128::from(*budget);
            let (spent, budget) = (HumanBytes(*spent), HumanBytes(*budget));
            answer = answer.line(format_args!(
                "CDNs and the fallback, this {period}: {spent} of a budget of {budget}, {percent} %"
            ));
        }
        Ok(answer)
    }
}

fn list_hosts(connection: &mut Connection, since: Time) -> QueryResult<Vec<HostView>> {
    let mut counts = std::collections::BTreeMap::<_, Count>::new();
    for (host, _, count) in traffic::list_days(connection, since)? {
        *counts.entry(host).or_default() += count;
    }
    let hosts = host::list(connection)?.into_iter();
    let view = |it: host::Host| Some(HostView { host: it.name, kind: it.kind, count: *counts.get(&it.id)? });
    Ok(sorted(hosts.filter_map(view).collect(), |it| it.count))
}

fn sorted<T>(mut rows: Vec<T>, count: impl Fn(&T) -> Count) -> Vec<T> {
    rows.sort_by_key(|it| std::cmp::Reverse((count(it).bytes, count(it).requests)));
    rows
}

/// Those that there are.
fn budgets(config: &StatisticsConfig, spent: Spent) -> Vec<BudgetView> {
    let budgets = [
        BudgetView { period: "day", spent: spent.day, budget: config.budget_per_day },
        BudgetView { period: "month", spent: spent.month, budget: config.budget_per_month },
    ];
    budgets.into_iter().filter(|it| it.budget > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        database::{statistics::Batch, testing::*, traffic::Traffic},
        mirrorlist::load::Demand,
    };

    #[test]
    fn people_see_days_hosts_countries_and_budgets() {
        on_both(|database| {
            let host = add_host(database, "m1").id;
            let of = |requests, bytes| Count { requests, bytes };
            let traffic = Traffic { requests: 2, bytes: 3 << 30, demand: Demand::default() };
            let batch = Batch {
                ways: [
                    (Way::Tag, of(3, 0)),
                    (Way::Mirror, of(2, 3 << 30)),
                    (Way::FallbackTree, of(1, 1 << 30)),
                ]
                .into(),
                hosts: [(host, traffic)].into(),
                countries: [("DE".parse().unwrap(), of(3, 4 << 30))].into(),
            };
            let config = StatisticsConfig { budget_per_day: 2 << 30, ..StatisticsConfig::default() };
            let view = |days| database.read(|it| View::load(it, &config, days, now().into())).unwrap();
            assert_eq!(
                view(30).answer().unwrap().text(),
                "nobody came\nCDNs and the fallback, this day: 0 B of a budget of 2.00 GiB, 0 %\n"
            );
            let yesterday = Timestamp::from(now()) - SignedDuration::from_hours(24);
            database.write_log(|it| statistics::add(it, yesterday.into(), &batch)).unwrap();
            database.write_log(|it| statistics::add(it, now(), &batch)).unwrap();
            insta::allow_duplicates! {
                insta::assert_snapshot!(view(1).answer().unwrap().text(), @r"
                ┌────────────┬───────┬──────────┬──────┬──────────┬──────────────┐
                │ DAY        ┆ PULLS ┆ MIRRORS  ┆ CDNS ┆ FALLBACK ┆ FROM MIRRORS │
                ╞════════════╪═══════╪══════════╪══════╪══════════╪══════════════╡
                │ 2026-11-21 ┆ 3     ┆ 3.00 GiB ┆ 0 B  ┆ 1.00 GiB ┆ 75 %         │
                └────────────┴───────┴──────────┴──────┴──────────┴──────────────┘
                ┌──────┬────────┬───────────┬──────────┐
                │ HOST ┆ KIND   ┆ REDIRECTS ┆ BYTES    │
                ╞══════╪════════╪═══════════╪══════════╡
                │ m1   ┆ static ┆ 2         ┆ 3.00 GiB │
                └──────┴────────┴───────────┴──────────┘
                ┌─────────┬───────────┬──────────┐
                │ COUNTRY ┆ REDIRECTS ┆ BYTES    │
                ╞═════════╪═══════════╪══════════╡
                │ DE      ┆ 3         ┆ 4.00 GiB │
                └─────────┴───────────┴──────────┘
                CDNs and the fallback, this day: 1.00 GiB of a budget of 2.00 GiB, 50 %
                ");
            }
            let json = view(2).answer().unwrap().json();
            assert_eq!(json["days"][0]["began_at"], "2026-11-20T00:00:00Z");
            assert_eq!(json["days"][1]["ways"]["fallback-tree"]["bytes"], 1u64 << 30);
            assert_eq!((&json["hosts"][0]["host"], &json["hosts"][0]["requests"]), (&"m1".into(), &4.into()));
            assert_eq!(
                (json["days"].as_array().unwrap().len(), json["hours"].as_array().unwrap().len()),
                (2, 2)
            );
        });
    }
}
