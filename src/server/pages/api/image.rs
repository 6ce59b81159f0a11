use actix_web::{HttpRequest, HttpResponse, http::StatusCode};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    super::{
        PageError, SharedState, apart,
        image::{MOST_PARTS, holds_all, numbers, parse_image, read, size},
        parameter,
    },
    answer, answer_part,
};
use crate::{
    oci::{Descriptor, Digest, Reference, RepositoryName},
    server::{
        api::{Paging, Problem},
        lists::query,
        state::Current,
    },
};

/// A repository.
#[derive(Serialize, JsonSchema)]
pub(super) struct RepositoryView {
    name: String,
    tags: usize,
}

/// A tag.
#[derive(Serialize, JsonSchema)]
pub(super) struct TagView {
    tag: String,
    /// What it is answered with.
    digest: String,
}

/// What an image is made of.
#[derive(Serialize, JsonSchema)]
pub(super) struct ImageView {
    repository: String,
    digest: String,
    media_type: String,
    /// What a pull brings; of an index only itself.
    bytes: u64,
    /// Of an index: the images in it.
    platforms: Vec<PartView>,
    layers: Vec<PartView>,
    /// Signatures and what else refers to it.
    referrers: Vec<PartView>,
    /// Names of public mirrors that hold all that a pull may need.
    holders: Vec<String>,
}

/// Something that an image consists of, or that is said about it.
#[derive(Serialize, JsonSchema)]
struct PartView {
    /// A platform, a media type or the type of an artifact.
    what: String,
    digest: String,
    bytes: u64,
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
        let row = current.snapshot.find_repository(&repository).map_err(|_| missing())?;
        let digest = |tag: &str| {
            let blob =
                current.snapshot.find_manifest(&repository, &Reference::Tag(tag.parse().ok()?)).ok()?;
            Some(blob.name().to_string())
        };
        let all = current.snapshot.list_tags(row);
        let all = all.filter_map(|it| Some(TagView { tag: it.to_owned(), digest: digest(it)? })).collect();
        Ok(paging.cut(all, |it: &TagView| &it.tag, |it| it))
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
        Ok(apart(move || describe(&current, &name, reference, &asked)).await?)
    })
    .await
}

fn describe(
    current: &Current,
    name: &RepositoryName,
    reference: Option<Reference>,
    asked: &str,
) -> Result<ImageView, PageError> {
    let snapshot = &current.snapshot;
    let missing = |it| PageError::no_image(asked, it);
    let reference = match reference {
        Some(reference) => reference,
        None => {
            Reference::Tag("latest".parse().map_err(|_| PageError::Internal("no tag latest".to_owned()))?)
        }
    };
    let blob = snapshot.find_manifest(name, &reference).map_err(missing)?;
    let manifest = read(current, blob)?;
    let numbers = numbers(current, blob, &manifest);
    let digest = blob.name();
    let part =
        |what: String, it: &Descriptor| PartView { what, digest: it.digest.to_string(), bytes: it.size };
    let platform = |it: &Descriptor| {
        let platform = it.platform.as_ref().filter(|it| !it.is_unknown()).map(ToString::to_string);
        part(platform.or_else(|| it.artifact_type.clone()).unwrap_or_default(), it)
    };
    let referrers = snapshot.list_referrers(&digest).take(MOST_PARTS).map(|it| {
        let manifest = Digest::Sha256(it.manifest);
        let bytes = snapshot.find_blob(&manifest).map(|it| it.size).unwrap_or_default();
        PartView { what: it.artifact_type.clone().unwrap_or_default(), digest: manifest.to_string(), bytes }
    });
    let public = snapshot.hosts.list().iter().filter(|it| !it.private);
    Ok(ImageView {
        repository: name.to_string(),
        digest: digest.to_string(),
        media_type: blob.kind.media_type().map(|it| it.as_str().to_owned()).unwrap_or_default(),
        bytes: size(&manifest, blob),
        platforms: manifest.manifests.iter().take(MOST_PARTS).map(platform).collect(),
        layers: manifest.layers.iter().take(MOST_PARTS).map(|it| part(it.media_type.clone(), it)).collect(),
        referrers: referrers.collect(),
        holders: public.filter(|it| holds_all(snapshot, it, &numbers)).map(|it| it.name.clone()).collect(),
    })
}
