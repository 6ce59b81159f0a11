//! `/healthz`, `/readyz` and `/metrics`, on an address of their own.

use std::{collections::BTreeMap, time::SystemTime};

use actix_web::{
    HttpResponse, Responder,
    http::header::{self, CONTENT_TYPE},
    web::{self, Data, ServiceConfig},
};
use jiff::{SignedDuration, Timestamp};
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;

use super::state::State;
use crate::database::probe::SILENCE;

/// The routes of the management address.
pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .route("/healthz", web::get().to(async || "ok\n"))
        .route("/readyz", web::get().to(ready))
        .route("/metrics", web::get().to(render_metrics));
}

/// A part of the snapshot.
#[derive(Serialize)]
struct Part {
    /// Its generation in the database.
    generation: i64,
    /// Seconds since it was last known to be what the database has.
    age_seconds: u64,
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
#[derive(Serialize)]
struct Probe {
    /// `alive`; `silent`: no heartbeat for 5 minutes, hosts are offered by what was known then; `unknown`:
    /// none was ever seen.
    state: &'static str,
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

    fn of(state: &State) -> Self {
        Self::new(state.current().heartbeat.map(Timestamp::from), Timestamp::now())
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
        parts: parts(&state),
        database: current.database_fault().map_or_else(|| "up".to_owned(), |it| format!("down: {it}")),
        probe: Probe::of(&state),
        geoip: Geoip {
            default: state.geoip.is_default(),
            built: state.geoip.built().map(|it| it.to_string()),
        },
    };
    HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(readiness)
}

fn parts(state: &State) -> BTreeMap<&'static str, Part> {
    let current = state.current();
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

async fn render_metrics(state: Data<State>, recorder: Data<PrometheusHandle>) -> impl Responder {
    for (name, part) in parts(&state) {
        metrics::gauge!("portolan_snapshot_age_seconds", "part" => name).set(part.age_seconds as f64);
        metrics::gauge!("portolan_snapshot_generation", "part" => name).set(part.generation as f64);
    }
    if let Some(age) = Probe::of(&state).age_seconds {
        metrics::gauge!("portolan_probe_heartbeat_age_seconds").set(age as f64);
    }
    let current = state.current();
    let up = if current.database_fault().is_none() { 1.0 } else { 0.0 };
    metrics::gauge!("portolan_database_up").set(up);
    metrics::gauge!("portolan_hosts").set(current.snapshot.hosts.list().len() as f64);
    metrics::gauge!("portolan_blobs").set(current.snapshot.content.rows().blobs.len() as f64);
    HttpResponse::Ok().insert_header((CONTENT_TYPE, "text/plain; version=0.0.4")).body(recorder.render())
}

#[cfg(test)]
mod tests {
    use super::*;

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
