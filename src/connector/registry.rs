//! The pull side of the distribution specification, asked of the origin registry. The operator
//! names the origin, so there is no address guard; what it sends is bounded and verified all the same.

use std::{
    collections::HashMap,
    fmt, fs,
    net::IpAddr,
    ops::Deref,
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use reqwest::{
    Method, Response, StatusCode,
    header::{
        ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, LINK,
        RANGE, RETRY_AFTER, WWW_AUTHENTICATE,
    },
};
use serde::{Deserialize, Serialize};
use url::Url;

use super::{
    Error, challenge,
    credentials::{Credentials, Login},
    error::{advice, causes},
};
use crate::{
    mirror::HostUrl,
    oci::{self, MANIFEST_LIMIT, Manifest, MediaType, Reference, RepositoryName},
};

/// How long a connection to the origin may take to be made.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// How long the origin may send nothing.
pub const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// How often a request is sent while the origin asks for patience (429, or 503 with Retry-After).
pub const PATIENT_TRIES: u32 = 5;
/// How often a request is sent while the origin fails or cannot be reached.
pub const TRIES: u32 = 3;
/// The longest we wait between two tries, whatever Retry-After says.
pub const WAIT_LIMIT: Duration = Duration::from_secs(60);
/// The first wait after a failure; it doubles each time.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// How many entries of a list (tags of a repository, repositories) we take.
pub const LIST_LIMIT: usize = 200_000;
/// How many pages a list may have.
pub const PAGE_LIMIT: usize = 2_000;
/// The longest page of a list, in bytes.
const PAGE_BODY_LIMIT: usize = 32 * 1024 * 1024;
/// The longest answer of a token server, in bytes.
const TOKEN_BODY_LIMIT: usize = 1024 * 1024;

/// `[origin]`: the registry that images are exported from.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The registry's URL, without `/v2/`: `https://registry.internal.example`. HTTPS_PROXY and NO_PROXY
    /// of the environment are followed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub url: Option<HostUrl>,
    /// The user to log in as, by Basic or at the registry's token server; empty: `auth_file`, or none.
    /// The environment variable PORTOLAN_ORIGIN_USERNAME wins.
    pub username: String,
    /// The user's password. Better kept in the environment variable PORTOLAN_ORIGIN_PASSWORD, which wins.
    #[schemars(with = "String")]
    pub password: Password,
    /// A containers auth.json with the login (as `podman login --authfile` writes it; no credential helpers).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_file: Option<PathBuf>,
    /// A PEM file of certificate authorities to trust beside the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// The repositories that globs choose from, when the registry has no _catalog or its list is too long.
    #[schemars(with = "Vec<String>")]
    pub repositories: Vec<RepositoryName>,
    /// How many requests are sent at once.
    pub connections: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            url: None,
            username: String::new(),
            password: Password::default(),
            auth_file: None,
            ca_file: None,
            repositories: Vec::new(),
            connections: 4,
        }
    }
}

/// A password, which prints as dots.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Password(String);

impl Password {
    /// The password itself, to be sent and never printed.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Password {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "\"\"" } else { "\"…\"" })
    }
}

/// What the registry says of a manifest without sending it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestHead {
    /// Of its bytes.
    pub digest: oci::Digest,
    /// From Content-Type.
    pub media_type: MediaType,
    /// In bytes.
    pub size: u64,
}

/// A manifest whose bytes have the digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedManifest {
    /// Of the bytes.
    pub digest: oci::Digest,
    /// From Content-Type.
    pub media_type: MediaType,
    /// As they were sent; never written anew.
    pub bytes: Vec<u8>,
}

/// A blob on its way. Nothing is verified yet.
pub struct BlobBody {
    response: Response,
    url: String,
    offset: u64,
}

impl BlobBody {
    /// Where in the blob the body begins: what was asked for, or 0 if the registry cannot resume.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Who sends it: the URL at the end of all redirects.
    pub fn sender(&self) -> &str {
        self.response.url().as_str()
    }

    /// The next bytes; `None` at the end, which may come early.
    pub async fn chunk(&mut self) -> Result<Option<impl Deref<Target = [u8]> + use<>>, Error> {
        self.response.chunk().await.map_err(|error| broken(&self.url, &error))
    }
}

/// The origin registry.
pub struct Registry {
    http: reqwest::Client,
    base: HostUrl,
    /// `name[:port]`, as `auth_file` spells it.
    host: String,
    credentials: Credentials,
    /// The Authorization header that worked last, by scope.
    authorizations: Mutex<HashMap<String, String>>,
}

/// Is it a registry on this machine?
fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|it| it.is_loopback())
}

/// One request.
struct Ask<'a> {
    method: Method,
    url: Url,
    repository: Option<&'a RepositoryName>,
    /// First byte wanted.
    offset: u64,
}

impl Ask<'_> {
    /// Docker's token specification, "Requesting a Token".
    fn scope(&self) -> String {
        self.repository
            .map_or_else(|| "registry:catalog:*".to_owned(), |name| format!("repository:{name}:pull"))
    }

    fn method(&self) -> &'static str {
        if self.method == Method::HEAD { "HEAD" } else { "GET" }
    }

    /// The error for an answer with a useless status.
    fn refused(&self, status: StatusCode) -> Error {
        let status = status.as_u16();
        Error::Status { method: self.method(), url: self.url.to_string(), status, advice: advice(status) }
    }
}

impl Registry {
    /// Reads the files that the configuration names; sends nothing yet.
    pub fn new(config: &Config) -> Result<Self, Error> {
        super::install_cryptography();
        let base = config.url.clone().ok_or(Error::NoOrigin)?;
        let url = parse_url(base.as_str())?;
        let host = match (url.host_str(), url.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (host, _) => host.unwrap_or_default().to_owned(),
        };
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("portolan/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT);
        if is_loopback(&url) {
            builder = builder.no_proxy(); // a proxy's loopback is another one
        }
        if let Some(path) = &config.ca_file {
            let refused = |reason: String| Error::File { option: "ca_file", path: path.clone(), reason };
            let pem = fs::read(path).map_err(|error| refused(error.to_string()))?;
            let authorities = reqwest::Certificate::from_pem_bundle(&pem)
                .ok()
                .filter(|it| !it.is_empty())
                .ok_or_else(|| refused("it holds no certificate in PEM form".to_owned()))?;
            builder = builder.tls_certs_merge(authorities);
        }
        let http = builder.build().map_err(|error| Error::Setup(causes(&error)))?;
        let credentials = Credentials::load(config)?;
        Ok(Self { http, base, host, credentials, authorizations: Mutex::default() })
    }

    /// Is there a registry that answers? One that asks for a login does.
    pub async fn ping(&self) -> Result<(), Error> {
        let ask = self.ask(Method::GET, "/v2/", None)?;
        let response = self.send_patiently(&ask, None).await?;
        match response.status() {
            StatusCode::OK | StatusCode::UNAUTHORIZED => Ok(()),
            status => Err(ask.refused(status)),
        }
    }

    /// The names of all repositories, as the registry spells them.
    pub async fn list_repositories(&self) -> Result<Vec<String>, Error> {
        #[derive(Deserialize)]
        struct Page {
            repositories: Option<Vec<String>>,
        }
        let path = "/v2/_catalog?n=1000";
        let list =
            self.list(path, None, |body| Ok(serde_json::from_slice::<Page>(body)?.repositories)).await?;
        list.ok_or_else(|| Error::Answer {
            url: format!("{}/v2/_catalog", self.base),
            reason: "the registry has no list of its repositories; name them in [origin] repositories, \
                     or without wildcards in [[category]]"
                .to_owned(),
        })
    }

    /// The tags of a repository, as the registry spells them, which may break the grammar; `None` if
    /// there is no such repository.
    pub async fn list_tags(&self, name: &RepositoryName) -> Result<Option<Vec<String>>, Error> {
        #[derive(Deserialize)]
        struct Page {
            tags: Option<Vec<String>>,
        }
        let path = format!("/v2/{name}/tags/list?n=1000");
        self.list(&path, Some(name), |body| Ok(serde_json::from_slice::<Page>(body)?.tags)).await
    }

    /// What a tag or digest means now, by one HEAD; `None` if there is no such manifest.
    pub async fn head_manifest(
        &self,
        name: &RepositoryName,
        reference: &Reference,
    ) -> Result<Option<ManifestHead>, Error> {
        let ask = self.ask(Method::HEAD, &format!("/v2/{name}/manifests/{reference}"), Some(name))?;
        let response = self.send(&ask).await?;
        match response.status() {
            StatusCode::NOT_FOUND => return Ok(None),
            StatusCode::OK => {}
            status => return Err(ask.refused(status)),
        }
        let headers = response.headers();
        let digest = content_digest(headers);
        let size = header(headers, CONTENT_LENGTH.as_str()).and_then(|it| it.parse().ok());
        let (Some(digest), Some(size), Some(media_type)) =
            (digest, size, header(headers, CONTENT_TYPE.as_str()))
        else {
            // Docker-Content-Digest is only a SHOULD; the bytes tell what it would have said.
            let manifest = self.fetch_manifest(name, reference).await?;
            let size = manifest.bytes.len() as u64;
            return Ok(Some(ManifestHead { digest: manifest.digest, media_type: manifest.media_type, size }));
        };
        let media_type =
            media_type.parse().map_err(|source| Error::Manifest { url: ask.url.to_string(), source })?;
        Ok(Some(ManifestHead { digest, media_type, size }))
    }

    /// A manifest, verified: its bytes have the digest it was asked by or sent under, it is of one of
    /// the four types, can be read and is no longer than [`MANIFEST_LIMIT`].
    pub async fn fetch_manifest(
        &self,
        name: &RepositoryName,
        reference: &Reference,
    ) -> Result<FetchedManifest, Error> {
        let ask = self.ask(Method::GET, &format!("/v2/{name}/manifests/{reference}"), Some(name))?;
        let url = ask.url.to_string();
        let refused = |source| Error::Manifest { url: url.clone(), source };
        let response = self.send(&ask).await?;
        if response.status() != StatusCode::OK {
            return Err(ask.refused(response.status()));
        }
        let sent_under = content_digest(response.headers());
        let media_type: MediaType =
            header(response.headers(), CONTENT_TYPE.as_str()).unwrap_or_default().parse().map_err(refused)?;
        let bytes = read_body(&url, response, MANIFEST_LIMIT)
            .await?
            .ok_or_else(|| refused(oci::ManifestError::TooLarge))?;
        let expected = match reference {
            Reference::Digest(digest) => *digest,
            Reference::Tag(_) => sent_under.unwrap_or_else(|| oci::Digest::of(&bytes)),
        };
        let mut verifier = oci::Verifier::new(expected);
        verifier.update(&bytes);
        verifier.finish().map_err(|found| Error::Answer {
            url: url.clone(),
            reason: format!("the registry sent other bytes than {expected}: they are {found}"),
        })?;
        Manifest::parse(media_type, &bytes).map_err(refused)?;
        Ok(FetchedManifest { digest: expected, media_type, bytes })
    }

    /// Begins to read a blob at `offset`, by Range unless it is 0.
    pub async fn open_blob(
        &self,
        name: &RepositoryName,
        digest: &oci::Digest,
        offset: u64,
    ) -> Result<BlobBody, Error> {
        let ask = Ask { offset, ..self.ask(Method::GET, &format!("/v2/{name}/blobs/{digest}"), Some(name))? };
        let response = self.send(&ask).await?;
        let url = ask.url.to_string();
        match response.status() {
            StatusCode::OK => Ok(BlobBody { response, url, offset: 0 }),
            StatusCode::PARTIAL_CONTENT if offset > 0 => {
                let range = header(response.headers(), CONTENT_RANGE.as_str()).unwrap_or_default();
                if range.starts_with(&format!("bytes {offset}-")) {
                    Ok(BlobBody { response, url, offset })
                } else {
                    Err(Error::Answer { url, reason: format!("a Range request was answered with `{range}`") })
                }
            }
            status => Err(ask.refused(status)),
        }
    }

    fn ask<'a>(
        &self,
        method: Method,
        path: &str,
        repository: Option<&'a RepositoryName>,
    ) -> Result<Ask<'a>, Error> {
        Ok(Ask { method, url: parse_url(&format!("{}{path}", self.base))?, repository, offset: 0 })
    }

    /// All pages of a list, by their Link headers (distribution specification, "Content Discovery").
    /// `None` if the registry does not have it.
    async fn list(
        &self,
        path: &str,
        repository: Option<&RepositoryName>,
        entries: impl Fn(&[u8]) -> Result<Option<Vec<String>>, serde_json::Error>,
    ) -> Result<Option<Vec<String>>, Error> {
        let mut list = Vec::new();
        let mut ask = self.ask(Method::GET, path, repository)?;
        let endless = |url: &Url| Error::Answer {
            url: url.to_string(),
            reason: format!("the list has more than {LIST_LIMIT} entries or {PAGE_LIMIT} pages"),
        };
        for _ in 0..PAGE_LIMIT {
            let response = self.send(&ask).await?;
            match response.status() {
                StatusCode::OK => {}
                StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => return Ok(None),
                status => return Err(ask.refused(status)),
            }
            let next = header(response.headers(), LINK.as_str()).and_then(|it| next_page(&ask.url, it));
            let url = ask.url.to_string();
            let body = read_body(&url, response, PAGE_BODY_LIMIT).await?.ok_or_else(|| endless(&ask.url))?;
            let page = entries(&body).map_err(|error| Error::Answer {
                url,
                reason: format!("the list cannot be read: {error}"),
            })?;
            list.extend(page.unwrap_or_default());
            match next {
                _ if list.len() > LIST_LIMIT => return Err(endless(&ask.url)),
                None => return Ok(Some(list)),
                Some(next) => ask.url = next,
            }
        }
        Err(endless(&ask.url))
    }

    /// Sends a request, and once more with a login if the registry wants one.
    async fn send(&self, ask: &Ask<'_>) -> Result<Response, Error> {
        let known = self.authorizations().get(&ask.scope()).cloned();
        let response = self.send_patiently(ask, known.as_deref()).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        let Some(authorization) = self.authorize(ask, response.headers()).await? else {
            return Err(ask.refused(StatusCode::UNAUTHORIZED));
        };
        self.authorizations().insert(ask.scope(), authorization.clone());
        self.send_patiently(ask, Some(&authorization)).await
    }

    fn authorizations(&self) -> std::sync::MutexGuard<'_, HashMap<String, String>> {
        // Nothing that holds it can leave it half written.
        self.authorizations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The Authorization header that answers the challenges of a 401; `None` if we have no login for them.
    async fn authorize(&self, ask: &Ask<'_>, headers: &HeaderMap) -> Result<Option<String>, Error> {
        let login = self.credentials.find(&self.host, ask.repository);
        let challenges: Vec<_> = headers
            .get_all(WWW_AUTHENTICATE)
            .iter()
            .filter_map(|it| it.to_str().ok())
            .flat_map(challenge::parse)
            .collect();
        if let Some(bearer) = challenges.iter().find(|it| it.scheme == "bearer") {
            let realm = bearer.parameters.get("realm").map(String::as_str).unwrap_or_default();
            let service = bearer.parameters.get("service").map(String::as_str);
            return self.fetch_token(ask, realm, service, login).await.map(Some);
        }
        let takes_basic = challenges.iter().any(|it| it.scheme == "basic");
        Ok(login.filter(|_| takes_basic).map(basic))
    }

    /// Docker's token specification: a GET of the realm, which may be another host.
    async fn fetch_token(
        &self,
        ask: &Ask<'_>,
        realm: &str,
        service: Option<&str>,
        login: Option<&Login>,
    ) -> Result<String, Error> {
        #[derive(Deserialize)]
        struct Token {
            token: Option<String>,
            access_token: Option<String>,
        }
        let refused = |reason: &str| Error::Answer { url: ask.url.to_string(), reason: reason.to_owned() };
        let mut url = Url::parse(realm).map_err(|_| refused("its token server's URL cannot be read"))?;
        if login.is_some() && ask.url.scheme() == "https" && url.scheme() != "https" {
            return Err(refused("its token server has no TLS; the login is not sent there"));
        }
        url.query_pairs_mut()
            .extend_pairs(service.map(|it| ("service", it)))
            .append_pair("scope", &ask.scope());
        let token_ask = Ask { method: Method::GET, url, repository: ask.repository, offset: 0 };
        let authorization = login.map(basic);
        let response = self.send_patiently(&token_ask, authorization.as_deref()).await?;
        if response.status() != StatusCode::OK {
            return Err(token_ask.refused(response.status()));
        }
        let body = read_body(token_ask.url.as_str(), response, TOKEN_BODY_LIMIT).await?.unwrap_or_default();
        // The reason must not repeat the body: it may hold the token.
        let token = serde_json::from_slice(&body).ok().and_then(|it: Token| it.token.or(it.access_token));
        token
            .map(|it| format!("Bearer {it}"))
            .ok_or_else(|| refused("its token server answers without a token"))
    }

    /// Sends a request until the answer is neither "not now" nor a failure, within limits.
    async fn send_patiently(&self, ask: &Ask<'_>, authorization: Option<&str>) -> Result<Response, Error> {
        let mut tries = 1;
        loop {
            let result = self.request(ask, authorization).send().await;
            let wait = FIRST_WAIT * 2u32.pow(tries - 1);
            let (wait, limit) = match &result {
                Ok(response) => match (response.status().as_u16(), retry_after(response.headers())) {
                    (429, asked) => (asked.unwrap_or(wait), PATIENT_TRIES),
                    (503, Some(asked)) => (asked, PATIENT_TRIES),
                    (500.., _) => (wait, TRIES),
                    _ => (wait, 0),
                },
                Err(error) if error.is_builder() || error.is_redirect() => (wait, 0),
                Err(_) => (wait, TRIES),
            };
            if tries >= limit {
                return result.map_err(|error| Error::Unreachable {
                    method: ask.method(),
                    url: ask.url.to_string(),
                    reason: causes(&error),
                });
            }
            tokio::time::sleep(wait.min(WAIT_LIMIT)).await;
            tries += 1;
        }
    }

    fn request(&self, ask: &Ask<'_>, authorization: Option<&str>) -> reqwest::RequestBuilder {
        let mut request =
            self.http.request(ask.method.clone(), ask.url.clone()).header(ACCEPT_ENCODING, "identity");
        request =
            request.header(ACCEPT, format!("{}, */*", MediaType::ALL.map(MediaType::as_str).join(", ")));
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        if ask.offset > 0 {
            request = request.header(RANGE, format!("bytes={}-", ask.offset));
        }
        request
    }
}

fn parse_url(text: &str) -> Result<Url, Error> {
    Url::parse(text).map_err(|error| Error::Answer { url: text.to_owned(), reason: error.to_string() })
}

fn basic(login: &Login) -> String {
    use base64::{Engine, prelude::BASE64_STANDARD};
    let text = format!("{}:{}", login.username, login.password.reveal());
    format!("Basic {}", BASE64_STANDARD.encode(text))
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn content_digest(headers: &HeaderMap) -> Option<oci::Digest> {
    header(headers, "docker-content-digest")?.parse().ok()
}

/// Retry-After in seconds; its form as a date is rare, and then our own wait serves.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    header(headers, RETRY_AFTER.as_str())?.trim().parse().ok().map(Duration::from_secs)
}

/// The next page from a Link header. Only path and query are taken: registries behind a proxy often
/// name a host or scheme of their own there, and a login must not follow it.
fn next_page(page: &Url, link: &str) -> Option<Url> {
    let (target, parameters) = link.strip_prefix('<')?.split_once('>')?;
    if !parameters.replace(['"', ' '], "").contains("rel=next") {
        return None;
    }
    let target = page.join(target).ok()?;
    let mut next = page.clone();
    next.set_path(target.path());
    next.set_query(target.query());
    Some(next)
}

/// A whole body; `None` if it is longer than `limit` bytes, of which no more are then read.
async fn read_body(url: &str, mut response: Response, limit: usize) -> Result<Option<Vec<u8>>, Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| broken(url, &error))? {
        if body.len() + chunk.len() > limit {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

fn broken(url: &str, error: &reqwest::Error) -> Error {
    let reason = format!("the answer broke off: {}", causes(error));
    Error::Unreachable { method: "GET", url: url.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::connector::testing::{Answer, Request, Server};

    const OCI: &str = MediaType::OciManifest.as_str();
    const IMAGE: &str = r#"{"schemaVersion":2,"layers":[]}"#;

    fn config(server: &Server) -> Config {
        Config { url: Some(server.url().parse().unwrap()), ..Config::default() }
    }

    fn name() -> RepositoryName {
        "team/app".parse().unwrap()
    }

    fn tag(text: &str) -> Reference {
        text.parse().unwrap()
    }

    fn manifest(text: &str) -> Answer {
        let digest = oci::Digest::of(text.as_bytes()).to_string();
        Answer::new(200, text.as_bytes()).header("content-type", OCI).header("docker-content-digest", digest)
    }

    #[tokio::test]
    async fn lists_are_read_page_by_page() {
        let server = Server::start(|request| match request.path.as_str() {
            "/v2/team/app/tags/list?n=1000" => Answer::new(200, br#"{"tags":["a","../../etc/passwd"]}"#)
                .header("link", r#"<http://inside.example/v2/team/app/tags/list?last=a>; rel="next""#),
            "/v2/team/app/tags/list?last=a" => Answer::new(200, br#"{"tags":["b"]}"#),
            "/v2/empty/tags/list?n=1000" => Answer::new(200, br#"{"tags":null}"#),
            "/v2/endless/tags/list?n=1000" => Answer::new(200, br#"{"tags":["a"]}"#)
                .header("link", "</v2/endless/tags/list?n=1000>; rel=next"),
            _ => Answer::new(404, b""),
        })
        .await;
        let registry = Registry::new(&config(&server)).unwrap();
        let tags = registry.list_tags(&name()).await.unwrap().unwrap();
        assert_eq!(tags, ["a", "../../etc/passwd", "b"]);
        assert_eq!(registry.list_tags(&"empty".parse().unwrap()).await.unwrap(), Some(vec![]));
        assert_eq!(registry.list_tags(&"none".parse().unwrap()).await.unwrap(), None);
        let endless = registry.list_tags(&"endless".parse().unwrap()).await.unwrap_err();
        assert!(endless.to_string().contains("2000 pages"), "{endless}");
        let none = registry.list_repositories().await.unwrap_err();
        assert!(none.to_string().contains("[origin] repositories"), "{none}");
    }

    #[tokio::test]
    async fn manifests_are_verified() {
        let server = Server::start(|request| {
            let long = format!("{{\"schemaVersion\":2,\"x\":\"{}\"}}", "x".repeat(MANIFEST_LIMIT));
            match request.path.rsplit('/').next().unwrap_or_default() {
                "good" => manifest(IMAGE),
                "plain" => Answer::new(200, IMAGE.as_bytes()).header("content-type", OCI),
                "long" => Answer::new(200, long.as_bytes()).header("content-type", OCI),
                "old" => Answer::new(200, b"{}")
                    .header("content-type", "application/vnd.docker.distribution.manifest.v1+prettyjws")
                    .header("docker-content-digest", oci::Digest::of(b"{}").to_string()),
                "swapped" => manifest(IMAGE).header("docker-content-digest", "x"),
                it if it.starts_with("sha256:") => manifest(IMAGE),
                _ => Answer::new(404, b""),
            }
        })
        .await;
        let registry = Registry::new(&config(&server)).unwrap();
        let digest = oci::Digest::of(IMAGE.as_bytes());
        let head = ManifestHead { digest, media_type: MediaType::OciManifest, size: IMAGE.len() as u64 };
        for text in ["good", "plain"] {
            assert_eq!(registry.head_manifest(&name(), &tag(text)).await.unwrap(), Some(head.clone()));
        }
        assert_eq!(registry.head_manifest(&name(), &tag("none")).await.unwrap(), None);
        assert_eq!(registry.fetch_manifest(&name(), &tag("good")).await.unwrap().bytes, IMAGE.as_bytes());
        for (text, part) in [("long", "longer than 4 MiB"), ("old", "schema 1"), ("none", "404")] {
            let error = registry.fetch_manifest(&name(), &tag(text)).await.unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("/v2/team/app/manifests/"), "{error}");
        }
        let old = registry.head_manifest(&name(), &tag("old")).await.unwrap_err();
        assert!(old.to_string().contains("schema 1"), "{old}");
        let other = Reference::Digest(oci::Digest::of(b"other"));
        let error = registry.fetch_manifest(&name(), &other).await.unwrap_err().to_string();
        assert!(error.contains("sent other bytes"), "{error}");
    }

    fn basic_of(user: &str, password: &str) -> String {
        let login = Login { username: user.to_owned(), password: Password(password.to_owned()) };
        basic(&login)
    }

    #[tokio::test]
    async fn tokens_are_fetched_kept_and_renewed() {
        let issued = std::sync::Arc::new(AtomicUsize::new(0));
        let counter = issued.clone();
        let realm = Server::start(move |request: &Request| {
            if request.headers.get("authorization") != Some(&basic_of("me", "secret")) {
                return Answer::new(401, b"");
            }
            assert_eq!(request.path, "/token?service=the+registry&scope=repository%3Ateam%2Fapp%3Apull");
            let number = counter.fetch_add(1, Ordering::SeqCst) + 1;
            Answer::new(200, format!(r#"{{"token":"t{number}"}}"#).as_bytes())
        })
        .await;
        let (challenge, valid) =
            (format!(r#"Bearer realm="{}/token",service="the registry""#, realm.url()), issued.clone());
        let server = Server::start(move |request: &Request| {
            // The second token is valid only from the third request on.
            let current = format!("Bearer t{}", valid.load(Ordering::SeqCst));
            match request.headers.get("authorization") {
                Some(it) if *it == current && !request.path.ends_with("expired") => manifest(IMAGE),
                Some(it) if *it == "Bearer t2" => manifest(IMAGE),
                _ => Answer::new(401, b"").header("www-authenticate", challenge.clone()),
            }
        })
        .await;
        let login = Config { username: "me".into(), password: Password("secret".into()), ..config(&server) };
        let registry = Registry::new(&login).unwrap();
        for text in ["a", "b"] {
            registry.head_manifest(&name(), &tag(text)).await.unwrap().unwrap();
        }
        assert_eq!((server.requests().len(), issued.load(Ordering::SeqCst)), (3, 1), "one token for both");
        registry.head_manifest(&name(), &tag("expired")).await.unwrap().unwrap();
        assert_eq!(issued.load(Ordering::SeqCst), 2);

        let wrong = Config { password: Password("wrong".into()), ..login };
        assert!(!format!("{wrong:?}").contains("wrong"), "{wrong:?}");
        let error =
            Registry::new(&wrong).unwrap().head_manifest(&name(), &tag("a")).await.unwrap_err().to_string();
        assert!(error.contains("401: check username and password"), "{error}");
        assert!(!error.contains("wrong"), "{error}");
    }

    #[tokio::test]
    async fn basic_is_sent_only_when_asked_for() {
        let server = Server::start(|request| match request.headers.get("authorization") {
            Some(it) if *it == basic_of("me", "secret") => manifest(IMAGE),
            _ => Answer::new(401, b"").header("www-authenticate", "Basic realm=x"),
        })
        .await;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("auth.json");
        let host = server.url().strip_prefix("http://").unwrap();
        let auth = basic_of("me", "secret").replace("Basic ", "");
        fs::write(&path, format!(r#"{{"auths":{{"{host}/team":{{"auth":"{auth}"}}}}}}"#)).unwrap();
        let registry = Registry::new(&Config { auth_file: Some(path), ..config(&server) }).unwrap();
        registry.head_manifest(&name(), &tag("a")).await.unwrap().unwrap();
        assert!(!server.requests()[0].headers.contains_key("authorization"));
        let other = registry.head_manifest(&"other".parse().unwrap(), &tag("a")).await.unwrap_err();
        assert!(other.to_string().contains("auth_file"), "{other}");
    }

    #[tokio::test]
    async fn patience_has_an_end() {
        let answered = AtomicUsize::new(0);
        let server = Server::start(move |request| {
            if request.path.ends_with("never") || answered.fetch_add(1, Ordering::SeqCst) < 2 {
                return Answer::new(429, b"").header("retry-after", "0");
            }
            manifest(IMAGE)
        })
        .await;
        let registry = Registry::new(&config(&server)).unwrap();
        registry.head_manifest(&name(), &tag("a")).await.unwrap().unwrap();
        assert_eq!(server.requests().len(), 3);
        let error = registry.head_manifest(&name(), &tag("never")).await.unwrap_err();
        assert!(error.is_passing() && error.to_string().contains("429"), "{error}");
        assert_eq!(server.requests().len(), 3 + PATIENT_TRIES as usize);
    }

    #[tokio::test]
    async fn blobs_resume() {
        let server = Server::start(|request| match request.headers.get("range").map(String::as_str) {
            Some("bytes=3-") => Answer::new(206, b"lo").header("content-range", "bytes 3-4/5"),
            _ => Answer::new(200, b"hello"),
        })
        .await;
        let registry = Registry::new(&config(&server)).unwrap();
        let digest = oci::Digest::of(b"hello");
        for (offset, begins, text) in [(0, 0, "hello"), (3, 3, "lo"), (4, 0, "hello")] {
            let mut body = registry.open_blob(&name(), &digest, offset).await.unwrap();
            assert_eq!(body.offset(), begins);
            assert_eq!(&*body.chunk().await.unwrap().unwrap(), text.as_bytes());
        }
    }

    #[tokio::test]
    async fn an_origin_that_is_not_there_is_named() {
        let config = Config { url: Some("http://127.0.0.1:1".parse().unwrap()), ..Config::default() };
        let error = Registry::new(&config).unwrap().ping().await.unwrap_err();
        assert!(error.is_passing() && error.to_string().contains("GET http://127.0.0.1:1/v2/"), "{error}");
        assert!(matches!(Registry::new(&Config::default()), Err(Error::NoOrigin)));
    }
}
