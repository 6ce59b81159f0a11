use actix_web::{HttpRequest, HttpResponse, web::Data};
use askama::Template;

use super::{
    Figures, Frame, PageError, SharedState,
    figures::{RECENT, Traffic},
    page,
    plot::{Caption, Column, Plot, Spark},
    text,
};
use crate::{
    database::statistics::{Count, Way, Ways, percent_from_mirrors, total},
    mirrorlist::rows::HostRow,
};

/// Rows of a table of mirrors or countries.
const MOST_ROWS: usize = 100;

#[derive(Template)]
#[template(path = "statistics.html")]
struct StatisticsPage {
    frame: Frame,
    recent: i64,
    /// `None` when the database cannot be asked.
    shown: Option<Shown>,
}

struct Shown {
    pulls: String,
    bytes: String,
    percent: Option<u64>,
    plots: [Plot; 2],
    /// Newest first.
    days: Vec<Day>,
    mirrors: Vec<Row>,
    countries: Vec<Row>,
}

struct Day {
    name: String,
    pulls: String,
    mirrors: String,
    cdns: String,
    fallback: String,
    percent: Option<u64>,
}

/// Of a mirror or a country.
struct Row {
    name: String,
    requests: String,
    bytes: String,
    /// Of the bytes of all of them, with those that are not listed.
    percent: u64,
    spark: Option<Spark>,
}

/// `GET /statistics`: pulls by day, and from where the bytes came.
pub(super) async fn answer(
    request: HttpRequest,
    state: SharedState,
    figures: Data<Figures>,
) -> Result<HttpResponse, PageError> {
    let frame = Frame::new(&request, &state, "statistics", "Statistics")?;
    let traffic = figures.traffic().await;
    let current = state.current();
    let shown = traffic.map(|it| show(&it, current.snapshot.hosts.list()));
    page(&request, &StatisticsPage { frame, recent: RECENT, shown })
}

fn show(traffic: &Traffic, hosts: &[HostRow]) -> Shown {
    let recent = &traffic.days[traffic.days.len().saturating_sub(RECENT as usize)..];
    let mut sum = Ways::new();
    recent.iter().flatten().for_each(|(way, count)| *sum.entry(*way).or_default() += *count);
    let large = total(&sum, &[Way::Mirror]).bytes.saturating_add(total(&sum, &Way::PAID).bytes);
    let days = recent.iter().rev().enumerate().filter(|it| !it.1.is_empty());
    Shown {
        pulls: text::count(total(&sum, &[Way::Tag]).requests),
        bytes: text::bytes(large),
        percent: percent_from_mirrors(&sum),
        plots: [plot_pulls(traffic), plot_bytes(traffic)],
        days: days.map(|(before, ways)| Day::new(traffic.day(before), ways)).collect(),
        mirrors: list_mirrors(traffic, hosts, large),
        countries: list_countries(traffic, large),
    }
}

impl Day {
    fn new(name: String, ways: &Ways) -> Self {
        let bytes = |of: &[Way]| text::bytes(total(ways, of).bytes);
        Self {
            name,
            pulls: text::count(total(ways, &[Way::Tag]).requests),
            mirrors: bytes(&[Way::Mirror]),
            cdns: bytes(&[Way::Cdn]),
            fallback: bytes(&Way::FALLBACK),
            percent: percent_from_mirrors(ways),
        }
    }
}

/// A column for each day; `tell` says in words what is in it.
fn columns(
    traffic: &Traffic,
    values: impl Fn(&Ways) -> Vec<u64>,
    tell: impl Fn(&[u64]) -> String,
) -> Vec<Column> {
    let column = |(place, ways): (usize, &Ways)| {
        let (values, day) = (values(ways), traffic.day(traffic.days.len() - 1 - place));
        Column { label: day[5..].to_owned(), title: format!("{day}: {}", tell(&values)), values }
    };
    traffic.days.iter().enumerate().map(column).collect()
}

fn plot_pulls(traffic: &Traffic) -> Plot {
    let values = |ways: &Ways| vec![total(ways, &[Way::Tag]).requests];
    let columns = columns(traffic, values, |it| format!("{} pulls", text::count(it[0])));
    let most = columns.iter().map(|it| it.values[0]).max().unwrap_or(0);
    let description = format!(
        "A bar for each of the last {} days. At most {} on one day.",
        columns.len(),
        text::count(most)
    );
    let caption = Caption { id: "pulls", title: "Pulls per day", description };
    Plot::bars(caption, &["pulls"], &columns, text::count)
}

fn plot_bytes(traffic: &Traffic) -> Plot {
    let values = |ways: &Ways| {
        [&[Way::Mirror][..], &[Way::Cdn], &Way::FALLBACK].map(|it| total(ways, it).bytes).into()
    };
    let tell = |it: &[u64]| {
        let [mirrors, cdns, fallback] = [0, 1, 2].map(|place| text::bytes(it[place]));
        format!("{mirrors} from mirrors, {cdns} from CDNs, {fallback} from the fallback")
    };
    let columns = columns(traffic, values, tell);
    let most = columns.iter().map(|it| it.values.iter().sum()).max().unwrap_or(0);
    let description = format!(
        "A bar for each of the last {} days: bytes from mirrors, above them those from CDNs and from the fallback. At most {} on one day.",
        columns.len(),
        text::bytes(most)
    );
    let caption = Caption { id: "bytes", title: "Bytes per day", description };
    Plot::bars(caption, &["from mirrors", "from CDNs", "from the fallback"], &columns, text::bytes)
}

/// The small picture of a mirror's last days.
pub(super) fn spark(days: &[Count]) -> Spark {
    let bytes: Vec<u64> = days.iter().map(|it| it.bytes).collect();
    let most = bytes.iter().copied().max().unwrap_or(0);
    Spark::new(format!("at most {} on one of {} days", text::bytes(most), bytes.len()), &bytes)
}

fn list_mirrors(traffic: &Traffic, hosts: &[HostRow], large: u64) -> Vec<Row> {
    let mut rows: Vec<_> = hosts
        .iter()
        .filter(|it| !it.private)
        .filter_map(|it| Some((it.name.clone(), traffic.of(it.id)?)))
        .collect();
    rows.sort_by_key(|(_, (_, total))| std::cmp::Reverse(total.bytes));
    let row = |(name, (days, total))| Row { spark: Some(spark(days)), ..Row::new(name, total, large) };
    rows.into_iter().take(MOST_ROWS).map(row).collect()
}

fn list_countries(traffic: &Traffic, large: u64) -> Vec<Row> {
    let mut rows: Vec<_> = traffic.countries.iter().collect();
    rows.sort_by_key(|(_, total)| std::cmp::Reverse(total.bytes));
    rows.into_iter()
        .take(MOST_ROWS)
        .map(|(country, total)| Row::new(country.to_string(), *total, large))
        .collect()
}

impl Row {
    fn new(name: String, total: Count, large: u64) -> Self {
        let percent = (u128::from(total.bytes) * 100).checked_div(u128::from(large)).unwrap_or(0);
        Self {
            name,
            requests: text::count(total.requests),
            bytes: text::bytes(total.bytes),
            percent: u64::try_from(percent).unwrap_or(u64::MAX),
            spark: None,
        }
    }
}
