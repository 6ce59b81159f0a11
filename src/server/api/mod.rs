//! The REST API, `/api/v1`: what pages show and change, as JSON for programs. What everybody may see is told by the pages'
//! part of it, what needs an account by the desk's.

mod entry;
mod listed;
mod openapi;
mod problem;

use actix_web::{
    HttpRequest, HttpResponse,
    http::header,
    web::{self, ServiceConfig},
};
use serde::Serialize;

use super::{access::Decision, desk, pages, state::decided};

pub(super) use entry::{Entry, JSON, PAGING, Parameter, SchemaOf, may, must, must_some, of};
pub(super) use listed::{Listed, Paging};
pub use openapi::openapi;
pub(super) use problem::Problem;

/// What all paths begin with.
pub(super) const BASE: &str = "/api/v1";

pub(super) fn routes(config: &mut ServiceConfig, has_desk: bool) {
    pages::api::routes(config);
    if has_desk {
        desk::api::routes(config);
    }
    config.service(web::resource(format!("{BASE}/openapi.json")).route(web::get().to(describe))).service(
        web::resource(format!("{BASE}{{rest:.*}}")).to(async || Err::<HttpResponse, _>(Problem::no_path())),
    );
}

/// `GET /api/v1/openapi.json`
async fn describe(request: HttpRequest) -> HttpResponse {
    decided(&request, Decision::Api);
    json(&mut HttpResponse::Ok(), &openapi())
}

/// An answer that nobody keeps.
pub(super) fn json(response: &mut actix_web::HttpResponseBuilder, value: &impl Serialize) -> HttpResponse {
    response
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .json(value)
}
