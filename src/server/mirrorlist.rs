//! `/metalink` and `/mirrorlist`: the whole ranking, for clients that can use it.

use std::fmt::Write as _;

use actix_web::{HttpRequest, HttpResponse, http::header, web::Data};

use super::{
    access::Decision,
    error::RegistryError,
    lists::query,
    peer::Peer,
    registry::accepted_metalink,
    state::{Current, State, decided},
};
use crate::{
    metalink::{self, Document, Resource, Version, WebUrl},
    mirror::{Country, Scheme, blob_path},
    mirrorlist::{Client, Offer, Wanted, rank, rows::BlobRow},
    oci::{Digest, Reference, RepositoryName},
};

/// What the query of `/metalink` and `/mirrorlist` asks for.
#[derive(Default)]
struct Question {
    repository: Option<RepositoryName>,
    reference: Option<Reference>,
    country: Option<Country>,
    version: Option<Version>,
}

impl Question {
    /// Reads `repo`, `tag` or `digest`, `country` and `version`; other parameters are for others.
    fn parse(request: &HttpRequest) -> Result<Self, RegistryError> {
        let mut question = Self::default();
        for (name, value) in query(request) {
            let wrong = |text| move |_| RegistryError::Query(text);
            match &*name {
                "repo" => {
                    let name = value.parse().map_err(wrong("repo is no repository's name"))?;
                    question.repository = Some(name);
                }
                "tag" => {
                    let tag = value.parse().map_err(|_| RegistryError::Query("tag is no tag"))?;
                    question.reference = Some(Reference::Tag(tag));
                }
                "digest" => {
                    let digest = value.parse().map_err(|_| RegistryError::Query("digest is no digest"))?;
                    question.reference = Some(Reference::Digest(digest));
                }
                "country" => {
                    let country =
                        value.parse().map_err(|_| RegistryError::Query("country is not two letters"))?;
                    question.country = Some(country);
                }
                "version" => {
                    question.version = Some(match &*value {
                        "3" => Version::V3,
                        "4" => Version::V4,
                        _ => return Err(RegistryError::Query("version is neither 3 nor 4")),
                    });
                }
                _ => {}
            }
        }
        Ok(question)
    }

    fn repository(&self) -> Result<&RepositoryName, RegistryError> {
        self.repository.as_ref().ok_or(RegistryError::Query("repo is missing: which repository?"))
    }

    /// The manifest of the tag (`latest` if none is named), or the manifest or blob of the digest.
    fn blob<'a>(&self, current: &'a Current) -> Result<&'a BlobRow, RegistryError> {
        let name = self.repository()?;
        let snapshot = &current.snapshot;
        match &self.reference {
            Some(Reference::Digest(digest)) => {
                snapshot.find_repository(name)?;
                snapshot.find_blob(digest).map_err(RegistryError::no_blob)
            }
            Some(tag) => Ok(snapshot.find_manifest(name, tag)?),
            None => {
                let latest = "latest".parse().map_err(|_| RegistryError::ManifestUnknown)?;
                Ok(snapshot.find_manifest(name, &latest)?)
            }
        }
    }
}

/// `GET /metalink?repo=&tag=|digest=`: version 3 unless 4 is named.
pub(super) async fn answer_metalink(
    request: HttpRequest,
    state: Data<State>,
) -> Result<HttpResponse, RegistryError> {
    let question = Question::parse(&request)?;
    let current = state.current();
    let blob = question.blob(&current)?;
    let version = question.version.or_else(|| accepted_metalink(request.headers())).unwrap_or(Version::V3);
    let peer = state.peer(&request)?;
    let client = in_country(state.client(&request, &current.snapshot, &peer), &current, question.country);
    document(&request, &state, &current, &peer, &client, question.repository()?, blob, version)
}

/// The metalink of a manifest in place of the manifest.
pub(super) fn metalink(
    request: &HttpRequest,
    state: &State,
    current: &Current,
    peer: &Peer,
    name: &RepositoryName,
    blob: &BlobRow,
    version: Version,
) -> Result<HttpResponse, RegistryError> {
    let client = state.client(request, &current.snapshot, peer);
    document(request, state, current, peer, &client, name, blob, version)
}

/// `GET /mirrorlist?…`: a comment, and one URL a host, best first.
pub(super) async fn answer_mirrorlist(
    request: HttpRequest,
    state: Data<State>,
) -> Result<HttpResponse, RegistryError> {
    let question = Question::parse(&request)?;
    let current = state.current();
    let (name, blob) = (question.repository()?, question.blob(&current)?);
    let peer = state.peer(&request)?;
    let client = in_country(state.client(&request, &current.snapshot, &peer), &current, question.country);
    decided(&request, Decision::Mirrorlist);
    let most = most_hosts(&state, &peer);
    let wanted = Wanted { repository: name.as_str(), number: blob.number, size: blob.size, most };
    let digest = blob.name();
    let mut text = format!("# repo = {name} digest = {digest}");
    if let Some(country) = client.country {
        let _ = write!(text, " country = {country}");
    }
    text.push('\n');
    for offer in rank(&current.snapshot, &client, &wanted) {
        let _ = writeln!(text, "{}/{}", offer.url.url, blob_path(&digest));
    }
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/plain; charset=utf-8"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(text))
}

/// How many hosts a list names: a direct endpoint names none.
fn most_hosts(state: &State, peer: &Peer) -> usize {
    if state.endpoint(peer).direct { 0 } else { state.max_urls }
}

fn in_country<'a>(client: Client<'a>, current: &Current, country: Option<Country>) -> Client<'a> {
    match country {
        Some(country) => client.in_country(&current.snapshot.hosts, country),
        None => client,
    }
}

#[allow(clippy::too_many_arguments, reason = "the parts of one answer, each from elsewhere")]
fn document(
    request: &HttpRequest,
    state: &State,
    current: &Current,
    peer: &Peer,
    client: &Client<'_>,
    name: &RepositoryName,
    blob: &BlobRow,
    version: Version,
) -> Result<HttpResponse, RegistryError> {
    decided(request, Decision::Metalink);
    let digest = blob.name();
    let most = most_hosts(state, peer);
    let wanted = Wanted { repository: name.as_str(), number: blob.number, size: blob.size, most };
    let offers = rank(&current.snapshot, client, &wanted);
    let mut resources = resources(&offers, &blob_path(&digest));
    // We come last: what no mirror gives, the fallback may.
    let kind = if blob.kind.media_type().is_some() { "manifests" } else { "blobs" };
    if let Some(url) = own_url(peer, &format!("/v2/{name}/{kind}/{digest}")) {
        resources.push(Resource { url, country: None, is_private: false });
    }
    if resources.is_empty() {
        return Err(RegistryError::Host);
    }
    let categories = current.snapshot.content.list_categories();
    let serials = categories.filter(|it| it.1.contains(blob.number)).map(|it| it.0.serial);
    let document = Document::new(
        metalink::digest_file_name(&digest),
        blob.size,
        digest,
        serials.max().unwrap_or_default(),
        describedby(peer, name, &digest),
        resources,
    );
    let document = document.map_err(|error| RegistryError::Internal(error.to_string()))?;
    let body = match version {
        Version::V3 => metalink::render_v3(&document),
        Version::V4 => metalink::render_v4(&document),
    };
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, version.media_type()))
        .insert_header((header::VARY, "Accept"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(body))
}

/// The URLs of a blob at some hosts.
pub(super) fn resources(offers: &[Offer<'_>], path: &str) -> Vec<Resource> {
    let resource = |offer: &Offer<'_>| {
        let url = WebUrl::try_from(format!("{}/{path}", offer.url.url)).ok()?;
        Some(Resource { url, country: offer.host.country, is_private: offer.host.private })
    };
    offers.iter().filter_map(resource).collect()
}

/// Where the metalink of a blob is.
pub(super) fn describedby(peer: &Peer, name: &RepositoryName, digest: &Digest) -> Option<WebUrl> {
    own_url(peer, &format!("/metalink?repo={name}&digest={digest}&version=4"))
}

/// A URL of ours, by the name the client came by. `None` if that is no name.
fn own_url(peer: &Peer, path: &str) -> Option<WebUrl> {
    let is_host =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']');
    let named = !peer.host.is_empty() && peer.host.bytes().all(is_host);
    let scheme = match peer.scheme {
        Scheme::Https => "https",
        Scheme::Http => "http",
    };
    let text = named.then(|| format!("{scheme}://{}{path}", peer.host))?;
    url::Url::parse(&text).ok()?;
    WebUrl::try_from(text).ok()
}
