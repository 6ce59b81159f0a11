//! What a client of ours asks: a stretch of a blob, from a mirror or the service, and documents of the service.

use std::{ops::Range, path::Path, time::Duration};

use reqwest::{
    Method, Response, StatusCode,
    header::{CONTENT_RANGE, CONTENT_TYPE, LINK},
};
use tokio_util::bytes::Bytes;
use url::Url;

use super::{
    CONNECT_TIMEOUT, Connector, Fault, Outcome, SLOWEST_BODY, Wish,
    answer::{check_plain, check_size, header, length, quote},
    client,
};
use crate::connector::{Error, authorities::read_authorities, error::causes, guard::Guard, host::Family};

/// A stretch of a blob on its way. Nothing is verified yet.
pub struct MirrorBody {
    response: Response,
    offset: u64,
}

/// A whole answer of the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Its Content-Type, or nothing.
    pub content_type: String,
    /// Its Link header.
    pub link: Option<String>,
    /// Its bytes.
    pub body: Vec<u8>,
}

impl MirrorBody {
    /// Where in the blob it begins: as asked for, or 0 if the mirror sends the whole instead.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next bytes; `None` at the end, which may come early. An error says what broke off.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, String> {
        self.response.chunk().await.map_err(|error| format!("its answer broke off: {}", causes(&error)))
    }
}

impl Connector {
    /// A connector for a program on a client's machine: `service` is the host that its user has named, and may be
    /// at any address; with `ca_file` only the authorities in that PEM file are believed for it. All others, and
    /// every redirect, must pass `guard`. `timeout` is for the beginning of an answer, and for the whole of a page.
    pub fn for_client(
        guard: Guard,
        service: &Url,
        ca_file: Option<&Path>,
        user_agent: &str,
        timeout: Duration,
    ) -> Result<Self, Error> {
        let guard = guard.trusting(service);
        let pinned = ca_file.map(|path| {
            let refused = |reason| Error::CaFile { path: path.to_owned(), reason };
            let authorities = read_authorities(path).map_err(refused)?;
            let http = client(&guard, Family::Any, user_agent, timeout).tls_certs_only(authorities);
            http.build().map_err(|error| Error::Setup(causes(&error)))
        });
        let pinned = pinned.transpose()?;
        Ok(Self { pinned, ..Self::new(guard, Family::Any, user_agent, timeout)? })
    }

    /// Begins to read `range` of a blob of `size` bytes at `url`. An answer that cannot be this blob is refused
    /// before its first byte.
    pub async fn open(&self, url: &str, range: Range<u64>, size: u64) -> Outcome<MirrorBody> {
        let open = async {
            let url = parse(url)?;
            let is_whole = range == (0..size);
            let asked = (!is_whole).then(|| format!("bytes={}-{}", range.start, range.end.saturating_sub(1)));
            let bytes = range.end.saturating_sub(range.start);
            let timeout = self.timeout.max(CONNECT_TIMEOUT) + Duration::from_secs(bytes / SLOWEST_BODY);
            let response = self
                .ask_url(Method::GET, url, Wish { range: asked.as_deref(), ..Wish::default() }, timeout)
                .await?;
            check_plain(&response)?;
            if response.status() == StatusCode::OK {
                if let Some(found) = length(&response) {
                    check_size(&response, found, size)?;
                }
                return Ok(MirrorBody { response, offset: 0 });
            }
            let answered = header(&response, CONTENT_RANGE).unwrap_or_default();
            let last = range.end.saturating_sub(1);
            if answered != format!("bytes {}-{last}/{size}", range.start) {
                return Err(Fault::Wrong(format!("it answers a Range request with `{}`", quote(&answered))));
            }
            Ok(MirrorBody { response, offset: range.start })
        };
        open.await.into()
    }

    /// A whole document of at most `limit` bytes; `accept` names the media type that is wanted. The service itself
    /// gives it: a redirect to another host is refused.
    pub async fn fetch_page(&self, url: &str, accept: &str, limit: usize) -> Outcome<Page> {
        let fetch = async {
            let url = parse(url)?;
            let mut response = self
                .ask_url(Method::GET, url, Wish { accept: Some(accept), ..Wish::default() }, self.timeout)
                .await?;
            if !self.guard.is_trusted(response.url()) {
                let host = response.url().host_str().unwrap_or_default();
                return Err(Fault::Wrong(format!("it sends us to {}, which nobody has named", quote(host))));
            }
            check_plain(&response)?;
            let content_type = header(&response, CONTENT_TYPE).unwrap_or_default();
            let link = header(&response, LINK);
            let body = self.read_body(&mut response, limit).await?;
            Ok(Page { content_type, link, body })
        };
        fetch.await.into()
    }
}

fn parse(url: &str) -> Result<Url, Fault> {
    Url::parse(url).map_err(|error| Fault::Wrong(format!("its URL cannot be read: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::testing::{Answer, Server};

    const BLOB: &[u8] = b"0123456789";

    /// What comes of asking for bytes 2 to 5 of a blob of ten.
    async fn ask(answer: impl Fn() -> Answer + Send + Sync + 'static) -> Result<(u64, Vec<u8>), String> {
        let server = Server::start(move |_| answer()).await;
        let url: Url = server.url().parse().unwrap();
        let connector =
            Connector::for_client(Guard::default(), &url, None, "test", Duration::from_secs(5)).unwrap();
        match connector.open(&format!("{url}x"), 2..6, BLOB.len() as u64).await {
            Outcome::Present(mut body) => {
                assert_eq!(server.requests()[0].headers["range"], "bytes=2-5");
                let mut bytes = Vec::new();
                while let Some(chunk) = body.chunk().await? {
                    bytes.extend_from_slice(&chunk);
                }
                Ok((body.offset(), bytes))
            }
            other => Err(format!("{:?}", other.map(|_| ()))),
        }
    }

    #[tokio::test]
    async fn only_what_can_be_the_blob_is_read() {
        let part = |range: &str| Answer::new(206, &BLOB[2..6]).header("content-range", range);
        assert_eq!(ask(move || part("bytes 2-5/10")).await, Ok((2, BLOB[2..6].to_vec())));
        assert_eq!(ask(|| Answer::new(200, BLOB)).await, Ok((0, BLOB.to_vec())));
        #[track_caller]
        fn check(told: Result<(u64, Vec<u8>), String>, expected: &str) {
            let told = told.unwrap_err();
            assert!(told.contains(expected), "{told}");
        }
        check(ask(move || part("bytes 2-5/11")).await, "Wrong(\"it answers a Range request with");
        check(ask(move || part("bytes 0-3/10")).await, "Wrong(\"it answers a Range request with");
        check(ask(|| Answer::new(200, b"<html>")).await, "Damaged(\"it has a file of 6 bytes");
        check(ask(|| Answer::new(404, b"")).await, "Absent");
        check(ask(|| Answer::new(503, b"")).await, "Unreachable");
        check(ask(move || part("bytes 2-5/10").header("content-encoding", "gzip")).await, "encoded as gzip");
        check(ask(|| Answer::new(302, b"").header("location", "http://10.0.0.1/")).await, "10.0.0.1");
        check(ask(move || part("bytes 2-5/10").cut(1)).await, "broke off");
    }

    #[tokio::test]
    async fn a_file_of_authorities_must_hold_some() {
        let url = "https://registry.test/".parse().unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        let made =
            Connector::for_client(Guard::default(), &url, Some(file.path()), "test", Duration::from_secs(5));
        let error = made.err().unwrap().to_string();
        assert!(error.contains("holds no certificate"), "{error}");
    }

    #[tokio::test]
    async fn documents_are_the_services_own() {
        let other = Server::start(|_| Answer::new(200, b"other")).await;
        let to = format!("{}/x", other.url());
        let server = Server::start(move |request| match request.path.as_str() {
            "/away" => Answer::new(302, b"").header("location", to.clone()),
            "/here" => Answer::new(302, b"").header("location", "/there"),
            _ => Answer::new(200, b"own"),
        })
        .await;
        let url: Url = server.url().parse().unwrap();
        let guard = Guard::new(["127.0.0.1/32".parse().unwrap()]);
        let connector = Connector::for_client(guard, &url, None, "test", Duration::from_secs(5)).unwrap();
        let fetch = async |path: &str| connector.fetch_page(&format!("{url}{path}"), "*/*", 100).await;
        assert_eq!(fetch("here").await.map(|it| it.body), Outcome::Present(b"own".to_vec()));
        let refused = "it sends us to 127.0.0.1, which nobody has named".to_owned();
        assert_eq!(fetch("away").await, Outcome::Wrong(refused));
    }
}
