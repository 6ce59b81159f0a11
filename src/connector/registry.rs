//! The pull side of the distribution specification, asked of the origin registry. The operator
//! names the origin, so there is no address guard; what it sends is bounded and verified all the same.

use reqwest::{
    Method, Response, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, LINK},
};
use serde::Deserialize;
use url::Url;

use super::{
    BlobBody, Config, Error,
    ask::Ask,
    authorizations::Authorizations,
    credentials::Credentials,
    transport::{Transport, header, read_body},
};
use crate::{
    mirror::HostUrl,
    oci::{self, Descriptor, MANIFEST_LIMIT, Manifest, MediaType, Reference, RepositoryName},
};

/// How many entries of a list (tags of a repository, repositories) we take.
pub const LIST_LIMIT: usize = 200_000;
/// How many pages a list may have.
pub const PAGE_LIMIT: usize = 2_000;
/// The longest page of a list, in bytes.
const PAGE_BODY_LIMIT: usize = 32 * 1024 * 1024;

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

/// The origin registry.
pub struct Registry {
    base: HostUrl,
    transport: Transport,
    authorizations: Authorizations,
}

impl Registry {
    /// Reads the files that the configuration names; sends nothing yet.
    pub fn new(config: &Config) -> Result<Self, Error> {
        let base = config.url.clone().ok_or(Error::NoOrigin)?;
        let url = parse_url(base.as_str())?;
        if url.path().ends_with("/v2") {
            return Err(Error::ApiPath(base));
        }
        let transport = Transport::new(&url, config.ca_file.as_deref())?;
        let authorizations = Authorizations::new(&url, Credentials::load(config)?);
        Ok(Self { base, transport, authorizations })
    }

    /// Is there a registry that answers? One that asks for a login does.
    pub async fn ping(&self) -> Result<(), Error> {
        let ask = self.ask(Method::GET, "/v2/", None)?;
        let response = self.transport.send(&ask, None).await?;
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

    /// What the registry says refers to a manifest, by its referrers API; `None` if it has no such API.
    ///
    /// Distribution specification, "Listing Referrers".
    pub async fn list_referrers(
        &self,
        name: &RepositoryName,
        subject: &oci::Digest,
    ) -> Result<Option<Vec<Descriptor>>, Error> {
        #[derive(Deserialize)]
        struct Page {
            manifests: Option<Vec<Descriptor>>,
        }
        let path = format!("/v2/{name}/referrers/{subject}");
        self.list(&path, Some(name), |body| Ok(serde_json::from_slice::<Page>(body)?.manifests)).await
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
    async fn list<T>(
        &self,
        path: &str,
        repository: Option<&RepositoryName>,
        entries: impl Fn(&[u8]) -> Result<Option<Vec<T>>, serde_json::Error>,
    ) -> Result<Option<Vec<T>>, Error> {
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
        let known = self.authorizations.find(ask);
        let response = self.transport.send(ask, known.as_deref()).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        let authorization = self.authorizations.make(&self.transport, ask, response.headers()).await?;
        self.transport.send(ask, Some(&authorization)).await
    }
}

fn parse_url(text: &str) -> Result<Url, Error> {
    Url::parse(text).map_err(|error| Error::Answer { url: text.to_owned(), reason: error.to_string() })
}

fn content_digest(headers: &HeaderMap) -> Option<oci::Digest> {
    header(headers, "docker-content-digest")?.parse().ok()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::testing::{Answer, Server};

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
    async fn referrers_are_listed_where_there_is_an_api() {
        let digest = oci::Digest::of(b"");
        let server = Server::start(move |request| {
            let page = |descriptors: &str| format!(r#"{{"schemaVersion":2,"manifests":[{descriptors}]}}"#);
            let one = format!(r#"{{"mediaType":"{OCI}","digest":"{digest}","size":1}}"#);
            let path = format!("/v2/team/app/referrers/{digest}");
            match request.path.strip_prefix(&path) {
                Some("") => Answer::new(200, page(&one).as_bytes())
                    .header("link", format!("<{path}?last=1>; rel=\"next\"")),
                Some("?last=1") => Answer::new(200, page(&one.replace(":1}", ":2}")).as_bytes()),
                _ => Answer::new(404, b"404 page not found"),
            }
        })
        .await;
        let registry = Registry::new(&config(&server)).unwrap();
        let found = registry.list_referrers(&name(), &digest).await.unwrap().unwrap();
        assert_eq!(found.iter().map(|it| it.size).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(registry.list_referrers(&name(), &oci::Digest::of(b"x")).await.unwrap(), None);
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
