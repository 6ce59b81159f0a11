//! The registry API. The order of decisions is `docs/request-handling.md`'s.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        Method,
        header::{self, HeaderMap, HeaderName, HeaderValue, TryIntoHeaderPair},
    },
    web::{Bytes, Data},
};

use super::{
    access::{self, Decision},
    blob_body::{self, Source},
    error::RegistryError,
    lists, mirrorlist,
    peer::Peer,
    range::Ranges,
    state::{Current, State, counted, decided, now, trace},
};
use crate::{
    database::statistics::Way,
    metalink,
    mirror::{HostKind, blob_path},
    mirrorlist::{Answer, Attempt, Offer, Start, Wanted, choose, find_given, rows::BlobRow},
    oci::{Digest, DistributionPath, Reference, RepositoryName},
};

/// What a digest names never changes.
pub(super) const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// On every answer, errors too: docker's older clients look for it.
pub(super) const API_VERSION: (HeaderName, HeaderValue) =
    (HeaderName::from_static("docker-distribution-api-version"), HeaderValue::from_static("registry/2.0"));

/// RFC 3230.
const DIGEST: HeaderName = HeaderName::from_static("digest");

/// `Docker-Content-Digest`
pub(super) struct ContentDigest(pub(super) Digest);

impl TryIntoHeaderPair for ContentDigest {
    type Error = header::InvalidHeaderValue;

    fn try_into_pair(self) -> Result<(HeaderName, HeaderValue), Self::Error> {
        let name = HeaderName::from_static("docker-content-digest");
        let text = [self.0.algorithm(), ":", &self.0.hex()].concat();
        Ok((name, HeaderValue::from_maybe_shared(Bytes::from(text))?))
    }
}

/// Answers every path that no other route has.
pub(super) async fn answer(request: HttpRequest, state: Data<State>) -> Result<HttpResponse, RegistryError> {
    let mut response = decide(&request, &state).await?;
    response.headers_mut().insert(API_VERSION.0, API_VERSION.1);
    Ok(response)
}

async fn decide(request: &HttpRequest, state: &State) -> Result<HttpResponse, RegistryError> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Err(RegistryError::Method);
    }
    let path: DistributionPath = request.path().parse()?;
    let peer = state.peer(request)?;
    let current = state.current();
    let snapshot = &current.snapshot;
    let path = match path.name().and_then(|it| snapshot.find_alias(it, now())) {
        Some(name) => path.with_name(name.clone()),
        None => path,
    };
    match path {
        DistributionPath::Ping => {
            decided(request, Decision::Ping);
            Ok(HttpResponse::Ok().content_type("application/json").body("{}"))
        }
        DistributionPath::Catalog => lists::catalog(request, &snapshot.content),
        DistributionPath::Tags { name } => lists::tags(request, snapshot, snapshot.find_repository(&name)?),
        DistributionPath::Referrers { name, digest } => {
            snapshot.find_repository(&name)?;
            lists::referrers(request, snapshot, &name, &digest)
        }
        DistributionPath::Manifest { name, reference } => {
            manifest(request, state, &current, &peer, &name, &reference)
        }
        DistributionPath::Blob { name, digest } => {
            snapshot.find_repository(&name)?;
            let blob = snapshot.find_blob(&digest).map_err(RegistryError::no_blob)?;
            self::blob(request, state, &current, &peer, &name, blob).await
        }
    }
}

/// The manifest of a tag or digest, byte for byte; or, if asked for by name, its metalink.
fn manifest(
    request: &HttpRequest,
    state: &State,
    current: &Current,
    peer: &Peer,
    name: &RepositoryName,
    reference: &Reference,
) -> Result<HttpResponse, RegistryError> {
    let blob = current.snapshot.find_manifest(name, reference)?;
    let way = match reference {
        Reference::Tag(_) => Way::Tag,
        Reference::Digest(_) => Way::Digest,
    };
    counted(request, way, 0);
    if let Some(version) = accepted_metalink(request.headers()) {
        return mirrorlist::metalink(request, state, current, peer, name, blob, version);
    }
    decided(request, Decision::Manifest);
    let media_type = blob.kind.media_type().ok_or(RegistryError::ManifestUnknown)?;
    let entity_tag = entity_tag(&blob.name());
    let mut response = HttpResponse::Ok();
    response
        .insert_header((header::ETAG, entity_tag.as_str()))
        .insert_header((header::VARY, "Accept"))
        .insert_header(ContentDigest(blob.name()))
        .insert_header(match reference {
            Reference::Tag(_) => (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
            Reference::Digest(_) => (header::CACHE_CONTROL, IMMUTABLE),
        });
    if matches_entity_tag(request.headers(), &entity_tag) {
        return Ok(response.status(actix_web::http::StatusCode::NOT_MODIFIED).finish());
    }
    let body = read_body(current, blob)?.ok_or(RegistryError::ManifestUnknown)?;
    Ok(response.insert_header((header::CONTENT_TYPE, media_type.as_str())).body(body))
}

/// What names the bytes of a digest in `ETag` and the conditions on it.
pub(super) fn entity_tag(digest: &Digest) -> String {
    ["\"", digest.algorithm(), ":", &digest.hex(), "\""].concat()
}

/// The version that some `Accept` header asks for by name.
pub(super) fn accepted_metalink(headers: &HeaderMap) -> Option<metalink::Version> {
    let named = |it: &HeaderValue| it.to_str().ok().and_then(metalink::Version::from_accept);
    let found: Vec<_> = headers.get_all(header::ACCEPT).filter_map(named).collect();
    if found.contains(&metalink::Version::V4) { Some(metalink::Version::V4) } else { found.first().copied() }
}

/// RFC 9110, 13.1.2: any of the listed tags, weak or not, or `*`.
fn matches_entity_tag(headers: &HeaderMap, own: &str) -> bool {
    let values = headers.get_all(header::IF_NONE_MATCH).filter_map(|it| it.to_str().ok());
    values
        .flat_map(|it| it.split(','))
        .map(str::trim)
        .any(|it| it == "*" || it.trim_start_matches("W/") == own)
}

fn read_body(current: &Current, blob: &BlobRow) -> Result<Option<Bytes>, RegistryError> {
    let read =
        current.bodies.read(&blob.digest).map_err(|error| RegistryError::Internal(error.to_string()))?;
    Ok(read.map(Bytes::from_owner))
}

async fn blob(
    request: &HttpRequest,
    state: &State,
    current: &Current,
    peer: &Peer,
    name: &RepositoryName,
    blob: &BlobRow,
) -> Result<HttpResponse, RegistryError> {
    if request.method() == Method::HEAD {
        decided(request, Decision::Head);
        let nothing = Source::Memory(Bytes::new());
        return Ok(named(blob, blob_body::respond(&Method::HEAD, nothing, blob.size, &Ranges::default())));
    }
    let ranges = asked_ranges(request.headers(), &blob.name());
    if let Some(body) = read_body(current, blob)? {
        decided(request, Decision::Body);
        counted(request, Way::Body, ranges.bytes(blob.size));
        let body = Source::Memory(body);
        return Ok(named(blob, blob_body::respond(request.method(), body, blob.size, &ranges)));
    }
    let endpoint = state.endpoint(peer);
    let fallback = || state.fallback.respond(request, name, blob, &ranges, endpoint.policy.https_only);
    if endpoint.is_direct() {
        return fallback().await;
    }
    state.notes.demanded(blob.number);
    let client = state.client(request, &current.snapshot, peer);
    let wanted = Wanted { repository: name.as_str(), number: blob.number, size: blob.size, most: 0 };
    let attempt = attempt(request, state, &client.address, blob, &ranges, client.at);
    if let Some(place) = attempt.failed_place()
        && let Some(failed) = find_given(&current.snapshot, &client, &wanted, place)
    {
        state.notes.came_back(&failed, blob.number, &client);
    }
    match choose(&current.snapshot, &client, &wanted, attempt) {
        Answer::Mirror { offer, duplicates } => {
            let bytes = ranges.bytes(blob.size);
            state.sent.add(offer.host, bytes, client.at);
            state.notes.redirected(&offer, bytes);
            let is_cdn = offer.host.kind == HostKind::Cdn;
            counted(request, if is_cdn { Way::Cdn } else { Way::Mirror }, bytes);
            if (attempt, ranges.start()) == (Attempt::Place(0), Start::Beginning) {
                state.notes.began(&offer, &client);
            }
            Ok(redirect(request, peer, name, blob, &offer, &duplicates))
        }
        Answer::Fallback => fallback().await,
    }
}

/// The ranges to send. With an `If-Range` that is not ours the client's bytes may be another file's,
/// so it gets all (RFC 9110, 13.1.5).
fn asked_ranges(headers: &HeaderMap, digest: &Digest) -> Ranges {
    let text = |name| headers.get(name).and_then(|it| it.to_str().ok());
    let is_same =
        headers.get(header::IF_RANGE).is_none_or(|it| it.as_bytes() == entity_tag(digest).as_bytes());
    text(header::RANGE).filter(|_| is_same).map(Ranges::parse).unwrap_or_default()
}

/// Names the bytes of an answer: `Docker-Content-Digest` and `ETag`.
pub(super) fn named(blob: &BlobRow, mut response: HttpResponse) -> HttpResponse {
    let digest = blob.name();
    if let (Ok((name, value)), Ok(tag)) =
        (ContentDigest(digest).try_into_pair(), HeaderValue::try_from(entity_tag(&digest)))
    {
        response.headers_mut().insert(name, value);
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

fn attempt(
    request: &HttpRequest,
    state: &State,
    address: &std::net::IpAddr,
    blob: &BlobRow,
    ranges: &Ranges,
    at: i64,
) -> Attempt {
    let user_agent = request.headers().get(header::USER_AGENT).map_or(&b""[..], HeaderValue::as_bytes);
    let start =
        if request.query_string() == metalink::LAST_RESORT { Start::LastResort } else { ranges.start() };
    state.repeats.attempt(*address, user_agent, &blob.name(), start, at)
}

/// Sends the client to a host, and tells metalink-aware ones (RFC 6249) of others.
fn redirect(
    request: &HttpRequest,
    peer: &Peer,
    name: &RepositoryName,
    blob: &BlobRow,
    offer: &Offer<'_>,
    duplicates: &[Offer<'_>],
) -> HttpResponse {
    decided(request, Decision::Mirror);
    trace(request, |it| {
        it.class = Some(offer.class);
        it.host = access::is_on().then(|| offer.host.name.clone());
    });
    let digest = blob.name();
    let path = blob_path(&digest);
    let mut response = HttpResponse::Found();
    response
        .insert_header((header::LOCATION, [&offer.url.url, "/", &path].concat()))
        .insert_header((header::CACHE_CONTROL, HeaderValue::from_static("no-store")))
        .insert_header(ContentDigest(digest));
    for link in metalink::duplicate_links(&mirrorlist::resources(duplicates, &path)) {
        response.append_header((header::LINK, link));
    }
    if let Some(url) = mirrorlist::describedby(peer, name, &digest) {
        response.append_header((header::LINK, metalink::describedby_link(&url)));
    }
    if let Some(value) = metalink::instance_digest(&digest) {
        response.append_header((DIGEST, value));
    }
    response.finish()
}
