use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web::Data};
use askama::Template;

use super::{
    Frame, OverviewCache, PageError, SharedState, apart,
    map::{self, Dot},
    overview::Overview,
    page, promise, text,
};
use crate::server::state::now;

#[derive(Template)]
#[template(path = "home.html")]
struct Home {
    frame: Frame,
    /// An image that there is, for commands.
    example: Option<String>,
    repositories: String,
    tags: String,
    bytes: String,
    offered: usize,
    countries: usize,
    land: &'static str,
    dots: Vec<Dot>,
    /// Other names of this registry, and what each promises.
    endpoints: Vec<(String, String)>,
}

/// `GET /`: what this is, how to pull, how much there is, and where.
pub(super) async fn answer(
    request: HttpRequest,
    state: SharedState,
    cache: Data<OverviewCache>,
) -> Result<HttpResponse, PageError> {
    let frame = Frame::new(&request, &state, "home", "Container images from mirrors near you")?;
    let current = state.current();
    let hosts = &current.snapshot.hosts;
    let endpoints = state.endpoints.list_public().map(|it| (it.host.clone(), promise(it, hosts))).collect();
    let home = apart(move || {
        let overview = cache.get(&current.snapshot, now());
        let repositories = current.snapshot.content.list_repositories();
        let example = repositories.iter().find_map(|it| {
            let tag = current.snapshot.list_tags(it).next()?;
            Some(if tag == "latest" { it.name.clone() } else { format!("{}:{tag}", it.name) })
        });
        Ok(Home { endpoints, ..home(frame, &overview, repositories.len(), example) })
    });
    page(&request, &home.await?)
}

fn home(frame: Frame, overview: &Arc<Overview>, repositories: usize, example: Option<String>) -> Home {
    let mut countries: Vec<_> = overview.mirrors.iter().filter_map(|it| it.country).collect();
    countries.sort_unstable();
    countries.dedup();
    Home {
        frame,
        example,
        repositories: text::count(repositories as u64),
        tags: text::count(overview.tags as u64),
        bytes: text::bytes(overview.bytes),
        offered: overview.count_offered(),
        countries: countries.len(),
        land: map::land(),
        dots: map::dots(&overview.mirrors),
        endpoints: Vec::new(),
    }
}
