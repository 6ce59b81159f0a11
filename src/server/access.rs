//! One line for every request: what was decided, and how long it took.

use std::{net::IpAddr, time::Instant};

use actix_web::{
    Error, HttpMessage as _,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    middleware::Next,
    web::Data,
};

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
#[derive(Clone, Debug, Default)]
pub(super) struct Trace {
    pub(super) decision: Option<Decision>,
    pub(super) address: Option<IpAddr>,
    pub(super) country: Option<Country>,
    pub(super) class: Option<Class>,
    pub(super) host: Option<String>,
    /// How it was answered, and with how many bytes, as statistics have it.
    pub(super) counted: Option<(Way, u64)>,
}

/// Counts the request and writes its line.
pub(super) async fn log(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let started = Instant::now();
    let peer = request.peer_addr().map(|it| it.ip());
    let (method, path) = (request.method().clone(), request.path().to_owned());
    let state = request.app_data::<Data<State>>().cloned();
    let response = next.call(request).await?;
    let trace = response.request().extensions().get::<Trace>().cloned().unwrap_or_default();
    let decision = trace.decision.unwrap_or(Decision::Refused).as_str();
    let whole = state.as_ref().is_some_and(|it| it.whole_addresses);
    let client = trace.address.or(peer).map(|it| if whole { it } else { mirrorlist::network(it) });
    metrics::counter!("portolan_requests_total", "decision" => decision).increment(1);
    if let (Some((way, bytes)), Some(state)) = (trace.counted, &state)
        && (response.status().is_success() || response.status().is_redirection())
    {
        state.notes.tally.add(way, bytes, trace.country);
    }
    tracing::info!(
        target: "portolan::access",
        decision,
        class = trace.class.map(tracing::field::display),
        country = trace.country.map(tracing::field::display),
        host = trace.host,
        client = client.map(tracing::field::display),
        %method,
        path,
        status = response.status().as_u16(),
        duration_us = started.elapsed().as_micros() as u64,
        "request"
    );
    Ok(response)
}
