//! `POST /api/v1/hosts/HOST/report`: a host's own script tells that it has finished a serial. The only request
//! that asks the database, away from the threads that answer.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use actix_web::{
    HttpRequest, HttpResponse, ResponseError,
    http::{StatusCode, header},
    web::{self, Data},
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::{sync::Semaphore, time::timeout};

use super::{access::Decision, bearer, state::decided};
use crate::{
    database::{
        self, Connection, Database, QueryResult, Sha256, category,
        crawl::{self, Checks, CrawlCategory, CrawlHoldings, CrawlResult, UrlReach},
        host_token::{self, Reporter},
        lease, secret,
    },
    mirror::{CategoryName, CrawlState, Reach, Serial},
    oci::Digest,
};

/// The largest report, in bytes.
const BODY_LIMIT: usize = 4096;

/// How long a report may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Reports that ask the database at once; others wait.
const AT_ONCE: usize = 4;

/// How long a report waits for its turn.
const TURN_TIMEOUT: Duration = Duration::from_secs(10);

/// So many reports may one token make in [`WINDOW`].
const MOST_IN_WINDOW: u32 = 10;

/// The time in which the reports of a token are counted.
const WINDOW: Duration = Duration::from_secs(60);

/// Tokens that are counted before those of former windows are forgotten.
const COUNTED_TOKENS: usize = 10_000;

/// What reports need.
pub(super) struct Reports {
    database: Arc<Database>,
    max_age: SignedDuration,
    turns: Semaphore,
    /// By token: when its window began, and how many reports came in it.
    counts: Mutex<HashMap<i64, (Instant, u32)>>,
}

/// The body of a report.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Report {
    category: CategoryName,
    serial: Serial,
    /// The digest in `zz/serial`. With it a private host need not be crawled.
    #[serde(default)]
    inventory: Option<Digest>,
}

/// What becomes of a report.
#[derive(Debug, Serialize)]
struct Accepted {
    message: &'static str,
}

/// Why a report is not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReportError {
    #[error("a report is sent by POST")]
    Method,
    #[error("a report has at most {BODY_LIMIT} bytes")]
    TooLarge,
    #[error("the report did not arrive in time")]
    Slow,
    #[error("the report is not understood: {0}")]
    Body(String),
    #[error("a report needs `Authorization: Bearer TOKEN` with a token that is valid")]
    Token,
    #[error("the token is not one of this host")]
    Host,
    #[error("the host has not opted in to the category {0}")]
    Category(CategoryName),
    #[error("serial {0} with this inventory is not known here")]
    Unknown(Serial),
    #[error("more than {MOST_IN_WINDOW} reports in {} s", WINDOW.as_secs())]
    TooMany,
    #[error("reports cannot be taken now; try again later")]
    Unavailable(#[source] Option<database::Error>),
}

impl From<database::Error> for ReportError {
    fn from(error: database::Error) -> Self {
        Self::Unavailable(Some(error))
    }
}

impl ResponseError for ReportError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::Body(_) => StatusCode::BAD_REQUEST,
            Self::Token => StatusCode::UNAUTHORIZED,
            Self::Host => StatusCode::FORBIDDEN,
            Self::Category(_) => StatusCode::NOT_FOUND,
            Self::Unknown(_) => StatusCode::CONFLICT,
            Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        match self {
            Self::Method => response.insert_header((header::ALLOW, "POST")),
            Self::Token => response.insert_header((header::WWW_AUTHENTICATE, "Bearer")),
            Self::TooMany => response.insert_header((header::RETRY_AFTER, WINDOW.as_secs())),
            Self::Unavailable(cause) => {
                if let Some(error) = cause {
                    tracing::error!(%error, "a report could not be taken");
                }
                response.insert_header((header::RETRY_AFTER, 30))
            }
            _ => &mut response,
        };
        let body = serde_json::json!({ "error": self.to_string() });
        response.insert_header((header::CACHE_CONTROL, "no-store")).json(body)
    }
}

/// Answers a report.
pub(super) async fn answer(
    request: HttpRequest,
    host: web::Path<String>,
    body: web::Payload,
    reports: Data<Reports>,
) -> Result<HttpResponse, ReportError> {
    let hash = bearer::token(&request).map(secret::hash).ok_or(ReportError::Token)?;
    let body = timeout(BODY_TIMEOUT, body.to_bytes_limited(BODY_LIMIT)).await;
    let body = body.map_err(|_| ReportError::Slow)?.map_err(|_| ReportError::TooLarge)?;
    let body = body.map_err(|error| ReportError::Body(error.to_string()))?;
    let report: Report =
        serde_json::from_slice(&body).map_err(|error| ReportError::Body(error.to_string()))?;
    let turn = timeout(TURN_TIMEOUT, reports.turns.acquire()).await;
    let _turn = turn.map_err(|_| ReportError::Unavailable(None))?;
    let work = {
        let (reports, now) = (reports.clone(), Timestamp::now());
        web::block(move || reports.take(hash, &host, &report, now))
    };
    let accepted = work.await.map_err(|_| ReportError::Unavailable(None))??;
    decided(&request, Decision::Report);
    Ok(HttpResponse::Accepted().insert_header((header::CACHE_CONTROL, "no-store")).json(accepted))
}

/// Answers other methods.
pub(super) async fn refuse_method() -> Result<HttpResponse, ReportError> {
    Err(ReportError::Method)
}

impl Reports {
    /// A private host's own report counts for `max_age`.
    pub(super) fn new(database: Arc<Database>, max_age: SignedDuration) -> Self {
        Self { database, max_age, turns: Semaphore::new(AT_ONCE), counts: Mutex::default() }
    }

    /// Takes a report of the host with this name or id. Blocks.
    fn take(
        &self,
        hash: Sha256,
        host: &str,
        report: &Report,
        now: Timestamp,
    ) -> Result<Accepted, ReportError> {
        let at = now.into();
        let reporter = self.database.read(|it| host_token::find_reporter(it, hash, at))?;
        let reporter = reporter.ok_or(ReportError::Token)?;
        if reporter.name.as_str() != host && reporter.host.0.to_string() != host {
            return Err(ReportError::Host);
        }
        if !self.admit(reporter.token, Instant::now()) {
            return Err(ReportError::TooMany);
        }
        let category = self.database.read(|it| find_opt_in(it, &reporter, &report.category))?;
        let category = category.ok_or_else(|| ReportError::Category(report.category.clone()))?;
        self.database.write_log(|it| host_token::note_use(it, reporter.token, at))?;
        if reporter.private
            && let Some(inventory) = report.inventory
        {
            return self.believe(&reporter, &category, report.serial, inventory, now);
        }
        self.database.write_log(|it| lease::make_due(it, reporter.host, at))?;
        Ok(Accepted { message: "thank you; the host will be crawled within seconds" })
    }

    /// A private host that we may have no way to: it holds what it says, until its report is too old. Then it
    /// is crawled, for better or worse.
    fn believe(
        &self,
        reporter: &Reporter,
        category: &CrawlCategory,
        serial: Serial,
        inventory: Digest,
        now: Timestamp,
    ) -> Result<Accepted, ReportError> {
        let state = self.database.read(|it| category::find_state(it, category.category, serial))?;
        let state = state.filter(|it| inventory == it.inventory_digest.into());
        let state = state.ok_or(ReportError::Unknown(serial))?;
        let until = now.checked_add(self.max_age).unwrap_or(now).into();
        let url = |id| UrlReach { url: id, ipv4: Reach::Up, ipv6: Reach::Up, reason: None };
        let urls: Vec<UrlReach> = category.urls.iter().map(|it| url(it.id)).collect();
        self.database.leave_alone(reporter.host, until, &urls, now.into())?;
        let reason = format!("it reported serial {serial} itself");
        let crawl_state = if state.is_newest { CrawlState::UpToDate } else { CrawlState::Behind };
        let result = CrawlResult {
            host: reporter.host,
            started_at: now.into(),
            duration: SignedDuration::ZERO,
            state: crawl_state,
            log: format!("{}: {crawl_state}: {reason}", category.name),
            auto_disabled: None,
            holdings: vec![CrawlHoldings {
                host_category: category.host_category,
                serial: Some(serial),
                state: crawl_state,
                reason,
                blobs: Some(state.blobs),
            }],
            urls: Vec::new(),
            checks: Checks::default(),
        };
        self.database.store_crawl(&result)?;
        Ok(Accepted { message: "thank you; clients of your networks are sent to the host for this" })
    }

    /// Counts a report; false when there were too many.
    fn admit(&self, token: i64, now: Instant) -> bool {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= COUNTED_TOKENS {
            counts.retain(|_, (began, _)| now - *began < WINDOW);
        }
        let (began, count) = counts.entry(token).or_insert((now, 0));
        if now - *began >= WINDOW {
            (*began, *count) = (now, 0);
        }
        *count += 1;
        *count <= MOST_IN_WINDOW
    }
}

fn find_opt_in(
    connection: &mut Connection,
    reporter: &Reporter,
    name: &CategoryName,
) -> QueryResult<Option<CrawlCategory>> {
    let hosts = crawl::list_hosts(connection, &[reporter.host])?;
    Ok(hosts.into_iter().flat_map(|it| it.categories).find(|it| it.name == *name))
}
