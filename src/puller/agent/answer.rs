//! The registry API for container engines on this machine. What is not a blob or a manifest is the registry's own
//! answer.

use std::{io, sync::Arc, time::Duration};

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    body::SizedStream,
    http::{Method, StatusCode, header},
    web::{Bytes, Data},
};
use futures_util::stream;
use tokio::time::timeout;

use super::{
    counters::{add, count},
    store::{Reader, Store, StoreError},
};
use crate::{
    connector::Outcome,
    oci::{
        Digest, DistributionPath, ErrorBody, ErrorCode, MANIFEST_LIMIT, Manifest, Reference, RepositoryName,
    },
    puller::{
        RegistryName,
        service::{Located, Service, ServiceError},
    },
};

/// The head of an answer waits so long for the first verified bytes, so that an engine learns of a failure while it
/// can still ask elsewhere. containerd waits for 30 s.
const FIRST_BYTES: Duration = Duration::from_secs(20);

/// The longest list of tags or referrers that is handed on, in bytes.
const PAGE_LIMIT: usize = 8 * 1024 * 1024;

/// Answers engines.
pub(super) struct Agent {
    /// By name.
    pub(super) registries: Vec<(RegistryName, Arc<Service>)>,
    pub(super) store: Arc<Store>,
}

/// Why there is no good answer.
struct Refusal(StatusCode, ErrorCode, String);

impl Refusal {
    fn unknown(code: ErrorCode, text: impl Into<String>) -> Self {
        Self(StatusCode::NOT_FOUND, code, text.into())
    }

    fn unavailable(text: String) -> Self {
        Self(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Unknown, text)
    }

    fn of(error: &StoreError, unknown: ErrorCode) -> Self {
        match error {
            StoreError::Service(ServiceError::Unknown(..)) => Self::unknown(unknown, error.to_string()),
            StoreError::Service(ServiceError::Unsigned(..)) => {
                Self(StatusCode::FORBIDDEN, ErrorCode::Denied, error.to_string())
            }
            _ => Self::unavailable(error.to_string()),
        }
    }
}

/// Answers every path but `/metrics`.
pub(super) async fn answer(request: HttpRequest, agent: Data<Agent>) -> HttpResponse {
    count(&agent.store.counters.requests);
    let mut response = agent.decide(&request).await.unwrap_or_else(|Refusal(status, code, text)| {
        count(&agent.store.counters.failed_requests);
        tracing::info!(path = request.path(), %status, reason = text, "refused");
        HttpResponse::build(status).json(ErrorBody::new(code, text))
    });
    let version = header::HeaderName::from_static("docker-distribution-api-version");
    response.headers_mut().insert(version, header::HeaderValue::from_static("registry/2.0"));
    response
}

impl Agent {
    async fn decide(&self, request: &HttpRequest) -> Result<HttpResponse, Refusal> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let text = "the agent only pulls".to_owned();
            return Err(Refusal(StatusCode::METHOD_NOT_ALLOWED, ErrorCode::Unsupported, text));
        }
        let path: Result<DistributionPath, _> = request.path().parse();
        let path = path.map_err(|error| Refusal::unknown(ErrorCode::Unsupported, error.to_string()))?;
        match path {
            DistributionPath::Ping => Ok(HttpResponse::Ok().content_type("application/json").body("{}")),
            DistributionPath::Manifest { name, reference } => {
                let (service, name) = self.find_registry(request, &name)?;
                self.manifest(request, service, &name, &reference).await
            }
            DistributionPath::Blob { name, digest } => {
                let (service, name) = self.find_registry(request, &name)?;
                self.blob(request, service, &name, digest).await
            }
            DistributionPath::Tags { ref name } => {
                let (service, name) = self.find_registry(request, name)?;
                hand_on(service, &DistributionPath::Tags { name }, request.query_string()).await
            }
            DistributionPath::Referrers { ref name, digest } => {
                let (service, name) = self.find_registry(request, name)?;
                hand_on(service, &DistributionPath::Referrers { name, digest }, request.query_string()).await
            }
            DistributionPath::Catalog => {
                Err(Refusal::unknown(ErrorCode::Unsupported, "the agent has no list of repositories"))
            }
        }
    }

    /// Which registry is meant, and the repository's name there. An engine says it by containerd's `ns`, by the first
    /// part of the name (podman), or by the host it believes to speak with (dockerd).
    fn find_registry(
        &self,
        request: &HttpRequest,
        name: &RepositoryName,
    ) -> Result<(&Arc<Service>, RepositoryName), Refusal> {
        let named = |host: &str| {
            let found = self.registries.iter().find(|it| it.0.as_str().eq_ignore_ascii_case(host));
            found.map(|it| &it.1)
        };
        if let Some((host, rest)) = name.as_str().split_once('/')
            && let (Some(service), Ok(rest)) = (named(host), rest.parse())
        {
            return Ok((service, rest));
        }
        let space = url::form_urlencoded::parse(request.query_string().as_bytes()).find(|it| it.0 == "ns");
        let host = request.headers().get(header::HOST).and_then(|it| it.to_str().ok()).unwrap_or_default();
        let found = match (space, &self.registries[..]) {
            (Some((_, space)), _) => named(&space),
            (None, [(_, only)]) => Some(only),
            (None, _) => named(host.strip_suffix(":443").unwrap_or(host)),
        };
        let unknown = || Refusal::unknown(ErrorCode::NameUnknown, "the agent stands in for no such registry");
        found.map(|it| (it, name.clone())).ok_or_else(unknown)
    }

    async fn manifest(
        &self,
        request: &HttpRequest,
        service: &Arc<Service>,
        name: &RepositoryName,
        reference: &Reference,
    ) -> Result<HttpResponse, Refusal> {
        let refusal = |error: &StoreError| Refusal::of(error, ErrorCode::ManifestUnknown);
        let mut reader = match reference {
            Reference::Digest(digest) => {
                let locate = service.locate_manifest(name, reference);
                self.store.read(service, *digest, locate).await.map_err(|it| refusal(&it))?
            }
            Reference::Tag(_) => {
                let located: Located =
                    service.locate_manifest(name, reference).await.map_err(|it| refusal(&it.into()))?;
                let digest = located.digest;
                let reader = self.store.read(service, digest, async { Ok(located) }).await;
                reader.map_err(|it| refusal(&it))?
            }
        };
        if reader.size() > MANIFEST_LIMIT as u64 {
            return Err(Refusal::unavailable("the manifest is too long".to_owned()));
        }
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < reader.size() {
            let chunk = reader.chunk(bytes.len() as u64, reader.size()).await.map_err(|it| refusal(&it))?;
            bytes.extend_from_slice(&chunk);
        }
        let manifest = Manifest::parse_untyped(&bytes);
        let manifest = manifest.map_err(|error| Refusal::unavailable(error.to_string()))?;
        let digest = Digest::of(&bytes);
        service.check_signed(name, digest, &manifest).await.map_err(|it| refusal(&it.into()))?;
        let mut response = HttpResponse::Ok();
        response
            .insert_header((header::CONTENT_TYPE, manifest.media_type.as_str()))
            .insert_header((header::ETAG, format!("\"{digest}\"")))
            .insert_header(("docker-content-digest", digest.to_string()));
        if request.method() == Method::HEAD {
            return Ok(head(response, bytes.len() as u64));
        }
        Ok(response.body(bytes))
    }

    async fn blob(
        &self,
        request: &HttpRequest,
        service: &Arc<Service>,
        name: &RepositoryName,
        digest: Digest,
    ) -> Result<HttpResponse, Refusal> {
        let refusal = |error: &StoreError| Refusal::of(error, ErrorCode::BlobUnknown);
        let locate = service.locate_blob(name, digest);
        if request.method() == Method::HEAD {
            let located = locate.await.map_err(|it| refusal(&it.into()))?;
            return Ok(head(blob_response(StatusCode::OK, digest), located.size()));
        }
        let mut reader = self.store.read(service, digest, locate).await.map_err(|it| refusal(&it))?;
        let size = reader.size();
        let range = request.headers().get(header::RANGE).and_then(|it| it.to_str().ok());
        let range = range.and_then(|it| parse_range(it, size));
        let (start, end) = range.unwrap_or((0, size));
        if start >= end && size > 0 {
            let response = HttpResponse::RangeNotSatisfiable()
                .insert_header((header::CONTENT_RANGE, format!("bytes */{size}")))
                .finish();
            return Ok(response);
        }
        // Slower than that: the engine gets the head of the answer, and must do with a broken body if all fails.
        if start < end
            && let Ok(Err(error)) = timeout(FIRST_BYTES, reader.ready(start)).await
        {
            return Err(refusal(&error));
        }
        let mut response = match range {
            None => blob_response(StatusCode::OK, digest),
            Some(_) => blob_response(StatusCode::PARTIAL_CONTENT, digest),
        };
        if range.is_some() {
            let last = end - 1;
            response.insert_header((header::CONTENT_RANGE, format!("bytes {start}-{last}/{size}")));
        }
        Ok(response.body(SizedStream::new(end - start, body(self.store.clone(), reader, start, end))))
    }
}

fn blob_response(status: StatusCode, digest: Digest) -> HttpResponseBuilder {
    let mut response = HttpResponse::build(status);
    response
        .insert_header((header::CONTENT_TYPE, "application/octet-stream"))
        .insert_header((header::ACCEPT_RANGES, "bytes"))
        .insert_header(("docker-content-digest", digest.to_string()));
    response
}

/// The answer to a HEAD.
fn head(mut response: HttpResponseBuilder, size: u64) -> HttpResponse {
    response.body(SizedStream::new(size, stream::empty::<io::Result<Bytes>>()))
}

/// The verified bytes of a blob, as they come. It ends early when they cannot be had.
fn body(
    store: Arc<Store>,
    reader: Reader,
    start: u64,
    end: u64,
) -> impl futures_util::Stream<Item = io::Result<Bytes>> {
    stream::try_unfold((store, reader, start), move |(store, mut reader, at)| async move {
        if at >= end {
            return Ok(None);
        }
        let bytes = reader.chunk(at, end).await.map_err(io::Error::other)?;
        add(&store.counters.sent_bytes, bytes.len() as u64);
        let at = at + bytes.len() as u64;
        Ok(Some((bytes, (store, reader, at))))
    })
}

/// One range (RFC 9110, section 14.1.2) as start and end; what is no single range asks for the whole.
fn parse_range(text: &str, size: u64) -> Option<(u64, u64)> {
    let (first, last) = text.trim().strip_prefix("bytes=")?.split_once('-')?;
    let number = |it: &str| it.parse::<u64>().ok().filter(|_| it.bytes().all(|byte| byte.is_ascii_digit()));
    match (first, last) {
        ("", count) => Some((size.saturating_sub(number(count)?), size)),
        (first, "") => Some((number(first)?, size)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some((first, last.saturating_add(1).min(size)))
        }
    }
}

/// The registry's own answer.
async fn hand_on(service: &Service, path: &DistributionPath, query: &str) -> Result<HttpResponse, Refusal> {
    let path = path.to_string();
    let url = format!("{}?{query}", path.trim_start_matches('/'));
    match service.fetch_page(&url, "*/*", PAGE_LIMIT).await {
        Outcome::Present(page) => {
            let mut response = HttpResponse::Ok();
            response.insert_header((header::CONTENT_TYPE, page.content_type));
            if let Some(link) = page.link {
                response.insert_header((header::LINK, link));
            }
            Ok(response.body(page.body))
        }
        Outcome::Absent => Err(Refusal::unknown(ErrorCode::NameUnknown, "the registry has no such thing")),
        Outcome::Damaged(reason)
        | Outcome::Broken(reason)
        | Outcome::Wrong(reason)
        | Outcome::Unreachable(reason)
        | Outcome::NoRoute(reason) => Err(Refusal::unavailable(reason)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_is_understood() {
        #[track_caller]
        fn check(text: &str, expected: Option<(u64, u64)>) {
            assert_eq!(parse_range(text, 100), expected, "{text}");
        }
        check("bytes=0-", Some((0, 100)));
        check("bytes=10-19", Some((10, 20)));
        check("bytes=10-999", Some((10, 100)));
        check("bytes=-10", Some((90, 100)));
        check("bytes=200-", Some((200, 100)));
        check("bytes=9-3", None);
        check("bytes=0-1,5-6", None);
        check("bytes=+1-", None);
        check("lines=0-", None);
    }
}
