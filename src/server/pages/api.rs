//! What everybody may see, for programs: the pages' part of the REST API. Private hosts are in no answer.

mod image;
mod mirror;
mod network;
mod numbers;

use std::future::Future;

use actix_web::{
    HttpRequest, HttpResponse,
    web::{self, ServiceConfig},
};
use serde::Serialize;

use super::{
    Found,
    image::{ImageView, TagView},
};
use crate::server::{
    access::Decision,
    api::{self, BASE, Entry, JSON, Listed, PAGING, Parameter, Problem, SchemaOf, may, must, must_some, of},
    state::decided,
};

/// Something that everybody may see.
struct Operation {
    /// Below `/api/v1`.
    path: &'static str,
    summary: &'static str,
    parameters: &'static [Parameter],
    answer: SchemaOf,
    /// `None`: it stands elsewhere.
    route: Option<fn() -> actix_web::Route>,
}

/// Of the list of mirrors.
const MIRRORS: &[Parameter] = &[
    PAGING[0],
    PAGING[1],
    may("country", "only those there: two letters"),
    may("category", "only those that carry it"),
    may("standing", "only those that are fresh, behind, stale, unknown or off"),
    may("q", "only those whose name or site has these words in it"),
];

/// Of the list of repositories.
const REPOSITORIES: &[Parameter] =
    &[PAGING[0], PAGING[1], may("q", "only those that have these letters in their name")];

const OPERATIONS: &[Operation] = &[
    Operation {
        path: "/status",
        summary: "How much there is, and on how many mirrors",
        parameters: &[],
        answer: of::<mirror::StatusView>,
        route: Some(|| web::get().to(mirror::status)),
    },
    Operation {
        path: "/mirrors",
        summary: "All public mirrors with their state",
        parameters: MIRRORS,
        answer: of::<Listed<mirror::MirrorView>>,
        route: Some(|| web::get().to(mirror::list)),
    },
    Operation {
        path: "/mirrors/{name}",
        summary: "A public mirror",
        parameters: &[],
        answer: of::<mirror::MirrorView>,
        route: Some(|| web::get().to(mirror::show)),
    },
    Operation {
        path: "/mirrors/{name}/crawl",
        summary: "What crawls found at a public mirror, and what is to be repaired",
        parameters: &[],
        answer: of::<Found>,
        route: Some(|| web::get().to(mirror::crawl)),
    },
    Operation {
        path: "/mirror-names",
        summary: "All host names that clients are sent to: what a firewall has to let through",
        parameters: &[],
        answer: of::<mirror::NamesView>,
        route: Some(|| web::get().to(mirror::names)),
    },
    Operation {
        path: "/categories",
        summary: "All categories, what each weighs, and which of its tags wait for mirrors",
        parameters: &[],
        answer: of::<Vec<mirror::CategoryView>>,
        route: Some(|| web::get().to(mirror::categories)),
    },
    Operation {
        path: "/repositories",
        summary: "All repositories",
        parameters: REPOSITORIES,
        answer: of::<Listed<image::RepositoryView>>,
        route: Some(|| web::get().to(image::repositories)),
    },
    Operation {
        path: "/tags",
        summary: "The tags of a repository",
        parameters: &[PAGING[0], PAGING[1], must("repository", "its name")],
        answer: of::<Listed<TagView>>,
        route: Some(|| web::get().to(image::tags)),
    },
    Operation {
        path: "/image",
        summary: "What an image is made of, and which mirrors hold all of it",
        parameters: &[must("image", "NAME, NAME:TAG or NAME@DIGEST")],
        answer: of::<ImageView>,
        route: Some(|| web::get().to(image::show)),
    },
    Operation {
        path: "/which",
        summary: "Which mirrors the asker is sent to, in which order, and why others are not",
        parameters: &[may("image", "NAME, NAME:TAG or NAME@DIGEST; without it one of those here")],
        answer: of::<network::WhichView>,
        route: Some(|| web::get().to(network::which)),
    },
    Operation {
        path: "/propagation",
        summary: "How fast the mirrors come to each state of a category",
        parameters: &[must("category", "its name")],
        answer: of::<numbers::PropagationView>,
        route: Some(|| web::get().to(numbers::propagation)),
    },
    Operation {
        path: "/statistics",
        summary: "Pulls by day, and from where the bytes came",
        parameters: &[],
        answer: of::<numbers::StatisticsView>,
        route: Some(|| web::get().to(numbers::statistics)),
    },
    Operation {
        path: "/serials",
        summary: "The serials of categories, a line `CATEGORY SERIAL` each, for scripts that wait for a new one",
        parameters: &[must_some("category", "its name; once for each category")],
        answer: of::<String>,
        route: None,
    },
];

pub(in crate::server) fn list_entries() -> impl Iterator<Item = Entry> {
    let entry = |it: &Operation| Entry {
        method: "GET",
        path: it.path,
        summary: it.summary,
        parameters: it.parameters,
        body: None,
        answer: it.answer,
        media_type: if it.route.is_some() { JSON } else { "text/plain" },
        needs: None,
        takes_version: false,
        // By the serials it knows whether there is anything new.
        gives_version: it.route.is_none(),
    };
    OPERATIONS.iter().map(entry)
}

pub(in crate::server) fn routes(config: &mut ServiceConfig) {
    let refuse = async || Err::<HttpResponse, _>(Problem::method("GET".to_owned()));
    for Operation { path, route, .. } in OPERATIONS {
        let Some(route) = route else { continue };
        let resource = web::resource(format!("{BASE}{path}")).route(route());
        config.service(resource.default_service(web::to(refuse)));
    }
}

/// Answers with what `work` finds.
async fn answer<T: Serialize>(
    request: &HttpRequest,
    work: impl Future<Output = Result<T, Problem>>,
) -> Result<HttpResponse, Problem> {
    decided(request, Decision::Api);
    Ok(api::json(&mut HttpResponse::Ok(), &work.await?))
}

/// The same of a part of a long list.
async fn answer_part<T: Serialize>(
    request: &HttpRequest,
    work: impl Future<Output = Result<Listed<T>, Problem>>,
) -> Result<HttpResponse, Problem> {
    decided(request, Decision::Api);
    let listed = work.await?;
    let mut response = HttpResponse::Ok();
    if let Some(next) = &listed.next {
        response.insert_header(("Link", format!("<{next}>; rel=\"next\"")));
    }
    Ok(api::json(&mut response, &listed))
}
