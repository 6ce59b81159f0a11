use actix_web::{HttpRequest, HttpResponse, http::StatusCode};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    super::{
        PageError, SharedState, apart,
        image::{ImageView, list_tags, parse_image},
        parameter,
    },
    answer, answer_part,
};
use crate::{
    oci::{Reference, RepositoryName},
    server::{
        api::{Paging, Problem},
        lists::query,
    },
};

/// A repository.
#[derive(Serialize, JsonSchema)]
pub(super) struct RepositoryView {
    name: String,
    tags: usize,
}

/// `GET /api/v1/repositories`
pub(super) async fn repositories(request: HttpRequest, state: SharedState) -> Result<HttpResponse, Problem> {
    let words = parameter(&request, "q").unwrap_or_default().to_lowercase();
    let current = state.current();
    answer_part(&request, async {
        let query = query(&request);
        let paging = Paging::new(request.path(), &query)?;
        let all = current.snapshot.content.list_repositories().iter().filter(|it| it.name.contains(&words));
        let view = |it: &crate::mirrorlist::rows::RepositoryRow| RepositoryView {
            name: it.name.clone(),
            tags: current.snapshot.list_tags(it).count(),
        };
        Ok(paging.cut(all.collect(), |it| &it.name, view))
    })
    .await
}

/// `GET /api/v1/tags?repository=NAME`
pub(super) async fn tags(request: HttpRequest, state: SharedState) -> Result<HttpResponse, Problem> {
    let name = parameter(&request, "repository").unwrap_or_default();
    let current = state.current();
    answer_part(&request, async {
        let query = query(&request);
        let paging = Paging::new(request.path(), &query)?;
        let missing = || PageError::Missing(format!("There is no repository {name} here."));
        let repository: RepositoryName = name.parse().map_err(|_| missing())?;
        let all = list_tags(&current.snapshot, &repository).ok_or_else(missing)?;
        Ok(paging.cut(all, |it| &it.tag, |it| it))
    })
    .await
}

/// `GET /api/v1/image?image=NAME:TAG`
pub(super) async fn show(request: HttpRequest, state: SharedState) -> Result<HttpResponse, Problem> {
    let asked = parameter(&request, "image").unwrap_or_default();
    let current = state.current();
    answer(&request, async {
        let named = parse_image(&asked);
        let (name, reference) = named.ok_or_else(|| {
            let why = format!("image: {asked:?} is no image; it is NAME, NAME:TAG or NAME@DIGEST.");
            Problem::new(StatusCode::BAD_REQUEST, why)
        })?;
        let latest = || "latest".parse().map(Reference::Tag);
        let reference = reference.map_or_else(latest, Ok);
        let reference = reference.map_err(|_| PageError::Internal("no tag latest".to_owned()))?;
        Ok(apart(move || ImageView::load(&current, &name, &reference, &asked)).await?)
    })
    .await
}
