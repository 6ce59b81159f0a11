//! What people see in a browser: which images and mirrors there are, and which mirror they get. Plain HTML, made from the
//! snapshot; a mirror's own page and statistics ask the database, and do without if they must. Private hosts are on no page.

pub(super) mod api;
mod category;
mod figures;
mod home;
mod image;
mod images;
mod map;
mod mirror;
mod mirrors;
mod overview;
mod plot;
mod propagation;
mod statistics;
pub(super) mod text;
mod which;

use actix_web::{
    HttpRequest, HttpResponse, ResponseError, guard,
    http::{StatusCode, header},
    web::{self, Data, ServiceConfig},
};
use askama::Template;

use super::{
    access::Decision,
    endpoint::EndpointConfig,
    error::RegistryError,
    lists::query,
    state::{State, decided},
};
use crate::{
    database,
    mirrorlist::{Hosts, Missing},
};
use mirror::Found;
pub(super) use {figures::Figures, mirror::Crawls, overview::OverviewCache};

/// Nothing but our own style sheet, and forms that lead back to us.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";

/// Rows of a long table on one page.
const ROWS: usize = 200;

const STYLE: &str = include_str!("../../templates/assets/style.css");
const ICON: &str = include_str!("../../templates/assets/icon.svg");

pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .service(resource("/", web::to(home::answer)))
        .service(resource("/mirrors", web::to(mirrors::answer)))
        .service(resource("/mirrors/{host}", web::to(mirror::answer)))
        .service(resource("/categories/{category}", web::to(category::answer)))
        .service(resource("/images", web::to(images::answer)))
        .service(resource("/images/{image:.+}", web::to(image::answer)))
        .service(resource("/propagation", web::to(propagation::answer)))
        .service(resource("/statistics", web::to(statistics::answer)))
        .service(resource("/which", web::to(which::answer)))
        .service(resource(
            "/assets/style.css",
            web::to(async |it| asset(&it, "text/css; charset=utf-8", STYLE)),
        ))
        .service(resource("/assets/icon.svg", web::to(async |it| asset(&it, "image/svg+xml", ICON))));
}

/// HEAD is answered as GET is, without the body.
fn resource(path: &str, get: actix_web::Route) -> actix_web::Resource {
    web::resource(path)
        .route(get.guard(guard::Any(guard::Get()).or(guard::Head())))
        .default_service(web::to(async || Err::<HttpResponse, _>(PageError::Method)))
}

fn asset(request: &HttpRequest, media_type: &'static str, bytes: &'static str) -> HttpResponse {
    decided(request, Decision::Page);
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, media_type))
        .insert_header((header::CACHE_CONTROL, "public, max-age=3600"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .body(bytes)
}

/// What every page has around it.
pub(super) struct Frame {
    /// Of the page.
    pub(super) title: String,
    /// The host name under which the reader came: that of the registry, in commands.
    pub(super) registry: String,
    /// Which entry of the navigation it is.
    pub(super) section: &'static str,
    /// Can one sign in here?
    pub(super) has_desk: bool,
    /// Who is signed in. Only the desk asks.
    pub(super) signed: Option<Signed>,
}

/// Somebody who is signed in.
pub(super) struct Signed {
    pub(super) name: String,
    pub(super) is_operator: bool,
    /// What forms carry.
    pub(super) seal: String,
}

impl Frame {
    fn new(
        request: &HttpRequest,
        state: &State,
        section: &'static str,
        title: &str,
    ) -> Result<Self, PageError> {
        let peer = state.peer(request)?;
        let (title, has_desk) = (title.to_owned(), state.has_desk);
        Ok(Self { title, registry: peer.host, section, has_desk, signed: None })
    }
}

/// Makes the page. It says of itself that nobody may keep it without asking again.
fn page(request: &HttpRequest, template: &impl Template) -> Result<HttpResponse, PageError> {
    decided(request, Decision::Page);
    let body = template.render().map_err(|error| PageError::Internal(error.to_string()))?;
    Ok(respond(StatusCode::OK, body))
}

pub(super) fn respond(status: StatusCode, body: String) -> HttpResponse {
    HttpResponse::build(status)
        .insert_header((header::CONTENT_TYPE, "text/html; charset=utf-8"))
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::REFERRER_POLICY, "same-origin"))
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .body(body)
}

/// What an endpoint promises. Sites that no public host is of are named to nobody.
fn promise(endpoint: &EndpointConfig, hosts: &Hosts) -> String {
    endpoint.promise(|site| hosts.list().iter().any(|it| !it.private && it.site_name == site))
}

/// Why there is no page, as a page.
#[derive(Debug, thiserror::Error)]
pub(super) enum PageError {
    #[error("pages are only read")]
    Method,
    #[error("{0}")]
    Missing(String),
    #[error("this is not available for legal reasons")]
    Legal,
    #[error(transparent)]
    Refused(#[from] RegistryError),
    #[error("passwords and sessions need HTTPS: come by https")]
    NoTls,
    #[error(
        "this form does not come from our own page, or its session is over: go back, load the page anew, and send it again"
    )]
    Foreign,
    #[error("your account may not do this")]
    Forbidden,
    #[error("the form is too large")]
    TooLarge,
    #[error("the form did not arrive in time")]
    Slow,
    #[error("{0}")]
    Form(String),
    #[error("too much is tried from your network: wait a while")]
    TooMany,
    #[error("too much is asked at once: try again in a moment")]
    Busy,
    #[error("the database cannot be asked now. Nothing was changed; try again in a moment")]
    Database(#[source] database::Error),
    #[error("{0}")]
    Internal(String),
}

impl PageError {
    fn no_image(image: &str, missing: Missing) -> Self {
        match missing {
            Missing::Withdrawn { legal: true } => Self::Legal,
            Missing::Repository => Self::Missing(format!("There is no repository {image} here.")),
            _ => Self::Missing(format!("There is no image {image} here.")),
        }
    }

    /// In a sentence for those who asked. What is our own fault stands in the log.
    pub(super) fn tell(&self) -> String {
        match self {
            Self::Internal(detail) => {
                tracing::error!(%detail, "a page failed by our own fault");
                "Something failed here. The operators find it in their log.".to_owned()
            }
            Self::Database(error) => {
                tracing::error!(%error, "a page could not ask the database");
                sentence(&self.to_string())
            }
            other => sentence(&other.to_string()),
        }
    }
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage {
    status: u16,
    message: String,
    frame: Frame,
}

impl ResponseError for PageError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Missing(_) => StatusCode::NOT_FOUND,
            Self::Legal => StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS,
            Self::Refused(error) => error.status_code(),
            Self::NoTls | Self::Foreign | Self::Forbidden => StatusCode::FORBIDDEN,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::Form(_) => StatusCode::BAD_REQUEST,
            Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Self::Busy | Self::Database(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let message = self.tell();
        let (status, title) = (self.status_code(), "No such page".to_owned());
        let frame = Frame { title, registry: String::new(), section: "", has_desk: false, signed: None };
        let body = ErrorPage { status: status.as_u16(), message, frame }.render().unwrap_or_default();
        let mut response = respond(status, body);
        if let Self::Method = self {
            response.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("GET, HEAD"));
        }
        response
    }
}

/// With a large letter first and a full stop last.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|it| it.to_uppercase().to_string()).unwrap_or_default();
    let end = if text.ends_with('.') { "" } else { "." };
    format!("{first}{}{end}", letters.as_str())
}

/// The first value of a parameter, if it is not empty.
fn parameter(request: &HttpRequest, name: &str) -> Option<String> {
    query(request).into_iter().find(|it| it.0 == name).map(|it| it.1).filter(|it| !it.is_empty())
}

/// One page of a long list, and where the others are.
struct Part<T> {
    rows: Vec<T>,
    /// How many there are in all.
    count: usize,
    /// The number of this page, from 1.
    number: usize,
    former: Option<String>,
    next: Option<String>,
}

impl<T> Part<T> {
    /// The page that `?page=` names; others keep the rest of the query.
    fn cut(request: &HttpRequest, rows: Vec<T>) -> Self {
        let count = rows.len();
        let last = count.div_ceil(ROWS).max(1);
        let asked = parameter(request, "page").and_then(|it| it.parse().ok()).unwrap_or(1);
        let number = usize::clamp(asked, 1, last);
        let link = |number: usize| {
            let others = query(request).into_iter().filter(|it| it.0 != "page" && !it.1.is_empty());
            let mut link = url::form_urlencoded::Serializer::new(String::new());
            link.extend_pairs(others).append_pair("page", &number.to_string());
            format!("{}?{}", request.path(), link.finish())
        };
        let rows = rows.into_iter().skip((number - 1) * ROWS).take(ROWS).collect();
        let former = (number > 1).then(|| link(number - 1));
        Self { rows, count, number, former, next: (number < last).then(|| link(number + 1)) }
    }
}

/// What makes a page may look at many hosts: not on the threads that answer clients.
async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PageError> + Send + 'static,
) -> Result<T, PageError> {
    web::block(work).await.unwrap_or_else(|error| Err(PageError::Internal(error.to_string())))
}

type SharedState = Data<State>;
