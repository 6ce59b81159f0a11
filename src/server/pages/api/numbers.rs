use actix_web::{HttpRequest, HttpResponse, web::Data};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    super::{
        Figures, PageError, SharedState,
        figures::Traffic,
        parameter,
        propagation::{count_carriers, spread},
    },
    answer,
};
use crate::{
    database::{
        Time,
        statistics::{Count, Way, Ways, total},
    },
    mirror::{CategoryName, Country, Serial},
    mirrorlist::rows::HostRow,
    server::api::Problem,
};

/// How fast the mirrors come to each state of a category.
#[derive(Serialize, JsonSchema)]
pub(super) struct PropagationView {
    category: String,
    /// Hosts that should hold it, private ones too.
    carriers: usize,
    /// Newest first.
    states: Vec<StateView>,
}

/// A state of a category.
#[derive(Serialize, JsonSchema)]
struct StateView {
    serial: Serial,
    published_at: Time,
    /// After how many seconds each host had come to it or to a newer one, in order.
    after: Vec<i64>,
    /// Hosts that hold it now.
    hold: usize,
}

/// Pulls, and from where the bytes came.
#[derive(Serialize, JsonSchema)]
pub(super) struct StatisticsView {
    /// Of the last 90, oldest first.
    days: Vec<DayView>,
    /// Of the last 30 days.
    mirrors: Vec<CountView>,
    /// Of the last 30 days.
    countries: Vec<CountView>,
}

/// A day, by UTC.
#[derive(Serialize, JsonSchema)]
struct DayView {
    day: String,
    /// Tags that were asked for.
    pulls: u64,
    bytes_from_mirrors: u64,
    bytes_from_cdns: u64,
    bytes_from_fallback: u64,
}

/// What clients were sent to fetch from a mirror, or from a country.
#[derive(Serialize, JsonSchema)]
struct CountView {
    name: String,
    requests: u64,
    bytes: u64,
}

/// `GET /api/v1/propagation?category=NAME`
pub(super) async fn propagation(
    request: HttpRequest,
    state: SharedState,
    figures: Data<Figures>,
) -> Result<HttpResponse, Problem> {
    let asked = parameter(&request, "category").unwrap_or_default();
    let current = state.current();
    answer(&request, async {
        let is_there = current.snapshot.content.list_categories().any(|it| it.0.name == asked);
        let name: Option<CategoryName> = asked.parse().ok().filter(|_| is_there);
        let name = name.ok_or_else(|| PageError::Missing(format!("There is no category {asked} here.")))?;
        let found = figures.propagation(&name).await.ok_or_else(Problem::no_database)?;
        let states = spread(&found).into_iter().map(|it| StateView {
            serial: it.state.serial,
            published_at: it.state.published_at,
            after: it.after,
            hold: it.hold,
        });
        let carriers = count_carriers(&current.snapshot, &asked);
        Ok(PropagationView { category: asked, carriers, states: states.collect() })
    })
    .await
}

/// `GET /api/v1/statistics`
pub(super) async fn statistics(
    request: HttpRequest,
    state: SharedState,
    figures: Data<Figures>,
) -> Result<HttpResponse, Problem> {
    let current = state.current();
    answer(&request, async {
        let traffic = figures.traffic().await.ok_or_else(Problem::no_database)?;
        let mirror = |it: &HostRow| Some(CountView::new(it.name.clone(), traffic.of(it.id)?.1));
        let country = |(country, count): (&Country, &Count)| CountView::new(country.to_string(), *count);
        let last = traffic.days.len().saturating_sub(1);
        Ok(StatisticsView {
            days: traffic
                .days
                .iter()
                .enumerate()
                .map(|(at, it)| DayView::new(&traffic, last - at, it))
                .collect(),
            mirrors: current
                .snapshot
                .hosts
                .list()
                .iter()
                .filter(|it| !it.private)
                .filter_map(mirror)
                .collect(),
            countries: traffic.countries.iter().map(country).collect(),
        })
    })
    .await
}

impl DayView {
    fn new(traffic: &Traffic, before_today: usize, ways: &Ways) -> Self {
        Self {
            day: traffic.day(before_today),
            pulls: total(ways, &[Way::Tag]).requests,
            bytes_from_mirrors: total(ways, &[Way::Mirror]).bytes,
            bytes_from_cdns: total(ways, &[Way::Cdn]).bytes,
            bytes_from_fallback: total(ways, &Way::FALLBACK).bytes,
        }
    }
}

impl CountView {
    fn new(name: String, count: Count) -> Self {
        Self { name, requests: count.requests, bytes: count.bytes }
    }
}
