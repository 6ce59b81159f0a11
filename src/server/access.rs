//! One line for every request: what was decided, and how long it took.

use std::{net::IpAddr, sync::OnceLock, time::Instant};

use actix_web::{
    Error, HttpMessage as _, HttpRequest,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::StatusCode,
    middleware::Next,
    web::Data,
};
use metrics::Counter;

use super::state::State;
use crate::{
    database::statistics::Way,
    mirror::Country,
    mirrorlist::{self, Class},
};

/// What a request was decided to get, as the log and the metrics name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    Ping,
    Manifest,
    Metalink,
    Mirrorlist,
    Head,
    Body,
    Mirror,
    FallbackUrl,
    FallbackTree,
    FallbackOrigin,
    List,
    Report,
    Page,
    Api,
    Refused,
}

impl Decision {
    const COUNT: usize = Self::Refused as usize + 1;

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Manifest => "manifest",
            Self::Metalink => "metalink",
            Self::Mirrorlist => "mirrorlist",
            Self::Head => "head",
            Self::Body => "body",
            Self::Mirror => "mirror",
            Self::FallbackUrl => "fallback-url",
            Self::FallbackTree => "fallback-tree",
            Self::FallbackOrigin => "fallback-origin",
            Self::List => "list",
            Self::Report => "report",
            Self::Page => "page",
            Self::Api => "api",
            Self::Refused => "refused",
        }
    }
}

/// What the log tells of a request, left by its handler in the request's extensions.
#[derive(Debug, Default)]
pub(super) struct Trace {
    pub(super) decision: Option<Decision>,
    pub(super) address: Option<IpAddr>,
    pub(super) country: Option<Country>,
    pub(super) class: Option<Class>,
    /// Only if [`is_on`].
    pub(super) host: Option<String>,
    /// How it was answered, and with how many bytes, as statistics have it.
    pub(super) counted: Option<(Way, u64)>,
}

/// Is the log written at all? If not, nothing needs to be kept for it.
pub(super) fn is_on() -> bool {
    tracing::enabled!(target: "portolan::access", tracing::Level::INFO)
}

/// How many requests got what: one metric each, which is looked up once.
#[derive(Default)]
pub(super) struct Requests([OnceLock<Counter>; Decision::COUNT]);

impl Requests {
    fn count(&self, decision: Decision) {
        let metric = || metrics::counter!("portolan_requests_total", "decision" => decision.as_str());
        self.0[decision as usize].get_or_init(metric).increment(1);
    }
}

/// Counts the request and writes its line.
pub(super) async fn log(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let started = Instant::now();
    let response = next.call(request).await?;
    let (request, status) = (response.request(), response.status());
    let Some(state) = request.app_data::<Data<State>>() else { return Ok(response) };
    let (extensions, nothing) = (request.extensions(), Trace::default());
    let trace = extensions.get().unwrap_or(&nothing);
    state.requests.count(trace.decision.unwrap_or(Decision::Refused));
    if let Some((way, bytes)) = trace.counted
        && (status.is_success() || status.is_redirection())
    {
        state.notes.tally.add(way, bytes, trace.country);
    }
    if is_on() {
        write(request, trace, state.whole_addresses, status, started);
    }
    drop(extensions);
    Ok(response)
}

fn write(request: &HttpRequest, trace: &Trace, whole: bool, status: StatusCode, started: Instant) {
    let address = trace.address.or_else(|| request.peer_addr().map(|it| it.ip()));
    let client = address.map(|it| if whole { it } else { mirrorlist::network(it) });
    tracing::info!(
        target: "portolan::access",
        decision = trace.decision.unwrap_or(Decision::Refused).as_str(),
        class = trace.class.map(tracing::field::display),
        country = trace.country.map(tracing::field::display),
        host = trace.host,
        client = client.map(tracing::field::display),
        method = %request.method(),
        path = request.path(),
        status = status.as_u16(),
        duration_us = started.elapsed().as_micros() as u64,
        "request"
    );
}
