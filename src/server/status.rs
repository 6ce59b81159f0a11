//! `/healthz`, `/readyz` and `/metrics`, on an address of their own.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::SystemTime,
};

use actix_web::{
    HttpResponse, Responder,
    http::header::{self, CONTENT_TYPE},
    web::{self, Data, ServiceConfig},
};
use jiff::{SignedDuration, Timestamp};
use metrics_exporter_prometheus::PrometheusHandle;
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    state::{Current, State, now},
    statistics::UNUSED,
};
use crate::{
    database::{probe::SILENCE, statistics::StatisticsConfig},
    mirror::{HostId, HostKind, Serial},
    mirrorlist::{
        Snapshot, Standing,
        rows::{CategoryRow, HostRow},
    },
};

/// The routes of the management address.
pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .route("/healthz", web::get().to(async || "ok\n"))
        .route("/readyz", web::get().to(ready))
        .route("/metrics", web::get().to(render_metrics));
}

/// A part of the snapshot.
#[derive(Serialize, JsonSchema)]
pub(super) struct Part {
    /// Its generation in the database.
    generation: i64,
    /// Seconds since it was last known to be what the database has.
    pub(super) age_seconds: u64,
}

#[derive(Serialize)]
struct Readiness {
    ready: bool,
    parts: BTreeMap<&'static str, Part>,
    database: String,
    probe: Probe,
    geoip: Geoip,
}

/// Is it kept known which mirrors answer?
#[derive(Serialize, JsonSchema)]
pub(super) struct Probe {
    /// `alive`; `silent`: no heartbeat for 5 minutes, hosts are offered by what was known then; `unknown`:
    /// none was ever seen.
    pub(super) state: &'static str,
    /// Seconds since the last heartbeat.
    age_seconds: Option<u64>,
}

impl Probe {
    fn new(heartbeat: Option<Timestamp>, now: Timestamp) -> Self {
        // Two machines' clocks may differ a little.
        let age = heartbeat.map(|it| now.duration_since(it).max(SignedDuration::ZERO));
        let state = match age {
            None => "unknown",
            Some(age) if age < SILENCE => "alive",
            Some(_) => "silent",
        };
        Self { state, age_seconds: age.map(|it| it.unsigned_abs().as_secs()) }
    }

    pub(super) fn of(current: &Current) -> Self {
        Self::new(current.heartbeat.map(Timestamp::from), Timestamp::now())
    }
}

#[derive(Serialize)]
struct Geoip {
    /// The one that comes with Portolan, which grows old?
    default: bool,
    /// When it was made.
    built: Option<String>,
}

/// A server that has a snapshot is ready, however old: its age is told, and alarms are the operator's.
async fn ready(state: Data<State>) -> impl Responder {
    let current = state.current();
    let readiness = Readiness {
        ready: true,
        parts: parts(&current),
        database: tell_database(&current),
        probe: Probe::of(&current),
        geoip: Geoip {
            default: state.geoip.is_default(),
            built: state.geoip.built().map(|it| it.to_string()),
        },
    };
    HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(readiness)
}

/// `up`, or `down` and why.
pub(super) fn tell_database(current: &Current) -> String {
    current.database_fault().map_or_else(|| "up".to_owned(), |it| format!("down: {it}"))
}

pub(super) fn parts(current: &Current) -> BTreeMap<&'static str, Part> {
    let snapshot = &current.snapshot;
    let generations = [
        ("content", snapshot.content.rows().generation),
        ("holdings", snapshot.holdings.rows().generation),
        ("hosts", snapshot.hosts.rows().generation),
    ];
    let age = |at: SystemTime| SystemTime::now().duration_since(at).unwrap_or_default().as_secs();
    let parts = generations.into_iter().zip(current.confirmed);
    parts.map(|((name, generation), at)| (name, Part { generation, age_seconds: age(at) })).collect()
}

async fn render_metrics(
    state: Data<State>,
    recorder: Data<PrometheusHandle>,
    statistics: Data<StatisticsConfig>,
) -> impl Responder {
    let current = state.current();
    for (name, part) in parts(&current) {
        metrics::gauge!("portolan_snapshot_age_seconds", "part" => name).set(part.age_seconds as f64);
        metrics::gauge!("portolan_snapshot_generation", "part" => name).set(part.generation as f64);
    }
    if let Some(age) = Probe::of(&current).age_seconds {
        metrics::gauge!("portolan_probe_heartbeat_age_seconds").set(age as f64);
    }
    let up = if current.database_fault().is_none() { 1.0 } else { 0.0 };
    metrics::gauge!("portolan_database_up").set(up);
    render_watched(&state, &current, &statistics);
    for (category, of) in rate_categories(&current.snapshot) {
        let gauge = |name: &'static str| metrics::gauge!(name, "category" => category.clone());
        gauge("portolan_category_serial").set(of.serial as f64);
        gauge("portolan_category_hosts").set(of.hosts as f64);
        gauge("portolan_category_hosts_whole").set(of.whole as f64);
    }
    metrics::gauge!("portolan_hosts").set(current.snapshot.hosts.list().len() as f64);
    metrics::gauge!("portolan_blobs").set(current.snapshot.content.rows().blobs.len() as f64);
    HttpResponse::Ok().insert_header((CONTENT_TYPE, "text/plain; version=0.0.4")).body(recorder.render())
}

/// What all servers counted together: the budgets, if there are any, and hosts that are of no use.
fn render_watched(state: &State, current: &Current, config: &StatisticsConfig) {
    let Some(watched) = state.notes.watched.load_full() else { return };
    let spent = watched.spent;
    let periods =
        [("day", spent.day, config.budget_per_day), ("month", spent.month, config.budget_per_month)];
    for (period, spent, budget) in periods {
        metrics::gauge!("portolan_budget_spent_bytes", "period" => period).set(spent as f64);
        metrics::gauge!("portolan_budget_bytes", "period" => period).set(budget as f64);
    }
    let (snapshot, at) = (&current.snapshot, now());
    let is_unused = |it: &&HostRow| is_unused(it, snapshot.standing(it, at), &watched.used, at);
    let unused = snapshot.hosts.list().iter().filter(is_unused).count();
    metrics::gauge!("portolan_hosts_unused").set(unused as f64);
}

/// Is it public, good and known for long, and was no client sent there?
fn is_unused(host: &HostRow, standing: Standing, used: &BTreeSet<HostId>, at: i64) -> bool {
    let is_old = host.clean_since <= at - UNUSED.as_secs();
    !host.private && is_old && standing <= Standing::Behind && !used.contains(&host.id)
}

/// How far the newest state of a category has come.
struct Spread {
    serial: Serial,
    /// That are switched on, and carry it.
    hosts: usize,
    /// That hold all of it.
    whole: usize,
}

fn rate_categories(snapshot: &Snapshot) -> BTreeMap<String, Spread> {
    let categories = snapshot.content.list_categories();
    let new = |it: &CategoryRow| Spread { serial: it.serial, hosts: 0, whole: 0 };
    let mut rated: BTreeMap<_, _> = categories.map(|(it, _)| (it.name.clone(), new(it))).collect();
    for host in snapshot.hosts.list().iter().filter(|it| it.kind == HostKind::Static) {
        if snapshot.standing(host, now()) == Standing::Off {
            continue;
        }
        for share in snapshot.shares(host) {
            if let Some(spread) = rated.get_mut(&share.category.name) {
                spread.hosts += 1;
                spread.whole += usize::from(share.held == share.of);
            }
        }
    }
    rated
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_good_host_without_clients_is_of_no_use() {
        let week = UNUSED.as_secs();
        let host = HostRow { clean_since: 1_000, private: false, ..crate::mirrorlist::testing::host(1) };
        let told = |host: &HostRow, standing, used: &[i64], at| {
            is_unused(host, standing, &used.iter().map(|it| HostId(*it)).collect(), at)
        };
        assert!(told(&host, Standing::Behind, &[2], 1_000 + week));
        assert!(!told(&host, Standing::Behind, &[2], 999 + week), "it is new");
        assert!(!told(&host, Standing::Unknown, &[2], 1_000 + week), "for a reason");
        assert!(!told(&host, Standing::Fresh, &[1], 1_000 + week));
        assert!(!told(&HostRow { private: true, ..host }, Standing::Fresh, &[], 1_000 + week));
    }

    #[test]
    fn a_prober_that_is_not_heard_of_is_silent() {
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        let told = |ago: i64| {
            let probe = Probe::new(Some(now - SignedDuration::from_secs(ago)), now);
            (probe.state, probe.age_seconds.unwrap())
        };
        assert_eq!((told(0), told(299)), (("alive", 0), ("alive", 299)));
        assert_eq!((told(300), told(-3)), (("silent", 300), ("alive", 0)));
        assert_eq!(Probe::new(None, now).state, "unknown");
    }
}
