//! Lists of tags, repositories and referrers, in pages.

use actix_web::{HttpRequest, HttpResponse, http::header};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{access::Decision, error::RegistryError, state::decided};
use crate::{
    mirrorlist::{
        Content, Snapshot,
        rows::{ReferrerRow, RepositoryRow},
    },
    oci::{Digest, MediaType, RepositoryName},
};

/// Names in one page, at most and unless fewer are asked for.
const NAMES: usize = 10_000;

/// Referrers in one page: with some KiB of annotations each they stay below the 4 MiB that clients take.
const REFERRERS: usize = 500;

/// `?n=…&last=…`
#[derive(Debug, PartialEq, Eq)]
struct Page {
    most: usize,
    last: Option<String>,
}

impl Page {
    fn parse(request: &HttpRequest) -> Result<Self, RegistryError> {
        let mut page = Self { most: NAMES, last: None };
        for (name, value) in query(request) {
            match &*name {
                "n" => {
                    let asked: usize = value.parse().map_err(|_| RegistryError::Query("n is no number"))?;
                    page.most = asked.min(NAMES);
                }
                "last" => page.last = Some(value),
                _ => {}
            }
        }
        Ok(page)
    }

    /// The names of this page, and the last of them if more follow. `names` are sorted.
    fn cut<'a>(&self, names: impl Iterator<Item = &'a str>) -> (Vec<&'a str>, Option<&'a str>) {
        let is_later = |name: &&str| self.last.as_deref().is_none_or(|last| *name > last);
        let mut names = names.filter(is_later);
        let page: Vec<_> = names.by_ref().take(self.most).collect();
        let last = page.last().copied().filter(|_| names.next().is_some());
        (page, last)
    }
}

/// The parameters of the query, percent-decoded.
pub(super) fn query(request: &HttpRequest) -> Vec<(String, String)> {
    url::form_urlencoded::parse(request.query_string().as_bytes()).into_owned().collect()
}

/// `<PATH?n=…&last=…>; rel="next"`, the only link such an answer ever has: docker takes it unread.
fn next_link(request: &HttpRequest, most: usize, last: &str) -> (header::HeaderName, String) {
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("n", &most.to_string())
        .append_pair("last", last)
        .finish();
    (header::LINK, format!("<{}?{query}>; rel=\"next\"", request.path()))
}

fn names(request: &HttpRequest, page: &Page, last: Option<&str>, body: &impl Serialize) -> HttpResponse {
    decided(request, Decision::List);
    let mut response = HttpResponse::Ok();
    if let Some(last) = last {
        response.insert_header(next_link(request, page.most, last));
    }
    response.insert_header((header::CACHE_CONTROL, "no-cache")).json(body)
}

pub(super) fn catalog(request: &HttpRequest, content: &Content) -> Result<HttpResponse, RegistryError> {
    #[derive(Serialize)]
    struct Catalog<'a> {
        repositories: Vec<&'a str>,
    }
    let page = Page::parse(request)?;
    let (repositories, last) = page.cut(content.list_repositories().iter().map(|it| it.name.as_str()));
    Ok(names(request, &page, last, &Catalog { repositories }))
}

pub(super) fn tags(
    request: &HttpRequest,
    snapshot: &Snapshot,
    repository: &RepositoryRow,
) -> Result<HttpResponse, RegistryError> {
    #[derive(Serialize)]
    struct Tags<'a> {
        name: &'a str,
        tags: Vec<&'a str>,
    }
    let page = Page::parse(request)?;
    let (tags, last) = page.cut(snapshot.list_tags(repository));
    Ok(names(request, &page, last, &Tags { name: &repository.name, tags }))
}

/// An image index of what refers to a digest: always 200, for an unknown digest empty.
///
/// Distribution specification, "Listing Referrers". A page ends after so many; `last` of the
/// next one is how many came before it.
pub(super) fn referrers(
    request: &HttpRequest,
    snapshot: &Snapshot,
    name: &RepositoryName,
    subject: &Digest,
) -> Result<HttpResponse, RegistryError> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Index<'a> {
        schema_version: u32,
        media_type: &'static str,
        manifests: Vec<&'a RawValue>,
    }
    decided(request, Decision::List);
    let query = query(request);
    let types: Vec<&str> = query.iter().filter(|it| it.0 == "artifactType").map(|it| it.1.as_str()).collect();
    let suits = |it: &&ReferrerRow| {
        types.is_empty() || it.artifact_type.as_deref().is_some_and(|it| types.contains(&it))
    };
    let last = query.iter().find(|it| it.0 == "last").map_or(Ok(0), |it| it.1.parse());
    let start: usize = last.map_err(|_| RegistryError::Query("last is no number"))?;
    let mut rows = snapshot.list_referrers(subject).filter(suits).skip(start);
    let descriptors =
        rows.by_ref().take(REFERRERS).map(|it| serde_json::from_str::<&RawValue>(&it.descriptor));
    let manifests: Vec<_> = descriptors
        .collect::<Result<_, _>>()
        .map_err(|error| RegistryError::Internal(format!("a referrer of {name}@{subject}: {error}")))?;
    let media_type = MediaType::OciIndex.as_str();
    let mut response = HttpResponse::Ok();
    response
        .insert_header((header::CONTENT_TYPE, media_type))
        .insert_header((header::CACHE_CONTROL, "no-cache"));
    if !types.is_empty() {
        response.insert_header(("OCI-Filters-Applied", "artifactType"));
    }
    if rows.next().is_some() {
        let rest = types.iter().map(|it| ("artifactType", (*it).to_owned()));
        let next = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(rest.chain([("last", start.saturating_add(REFERRERS).to_string())]))
            .finish();
        response.insert_header((header::LINK, format!("<{}?{next}>; rel=\"next\"", request.path())));
    }
    let index = Index { schema_version: 2, media_type, manifests };
    let body = serde_json::to_vec(&index).map_err(|error| RegistryError::Internal(error.to_string()))?;
    Ok(response.body(body))
}
