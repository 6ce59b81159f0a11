use std::{net::IpAddr, path::Path, time::Duration};

use reqwest::{
    Response,
    header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, HeaderMap, RANGE, RETRY_AFTER},
};
use url::Url;

use super::{Error, ask::Ask, authorities::read_authorities, error::causes};
use crate::oci::MediaType;

/// How long a connection to the origin may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// How long the origin may send nothing.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// How often a request is sent while the origin asks for patience (429, or 503 with Retry-After).
const PATIENT_TRIES: u32 = 5;
/// How often a request is sent while the origin fails or cannot be reached.
const TRIES: u32 = 3;
/// The longest we wait between two tries, whatever Retry-After says.
const WAIT_LIMIT: Duration = Duration::from_secs(60);
/// The first wait after a failure; it doubles each time.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// Sends requests to the origin and its token server, with patience and within limits.
pub(super) struct Transport {
    http: reqwest::Client,
}

impl Transport {
    /// Trusts the authorities in `ca_file` beside the system's.
    pub(super) fn new(origin: &Url, ca_file: Option<&Path>) -> Result<Self, Error> {
        super::install_cryptography();
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("portolan/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT);
        if is_loopback(origin) {
            builder = builder.no_proxy(); // a proxy's loopback is another one
        }
        if let Some(path) = ca_file {
            let refused = |reason| Error::File { option: "ca_file", path: path.to_owned(), reason };
            builder = builder.tls_certs_merge(read_authorities(path).map_err(refused)?);
        }
        let http = builder.build().map_err(|error| Error::Setup(causes(&error)))?;
        Ok(Self { http })
    }

    /// Sends a request until the answer is neither "not now" nor a failure, within limits.
    pub(super) async fn send(&self, ask: &Ask<'_>, authorization: Option<&str>) -> Result<Response, Error> {
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

/// Is it on this machine?
pub(super) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|it| it.is_loopback())
}

pub(super) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Retry-After in seconds; its form as a date is rare, and then our own wait serves.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    header(headers, RETRY_AFTER.as_str())?.trim().parse().ok().map(Duration::from_secs)
}

/// A whole body; `None` if it is longer than `limit` bytes, of which no more are then read.
pub(super) async fn read_body(
    url: &str,
    mut response: Response,
    limit: usize,
) -> Result<Option<Vec<u8>>, Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| broken(url, &error))? {
        if body.len() + chunk.len() > limit {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

pub(super) fn broken(url: &str, error: &reqwest::Error) -> Error {
    let reason = format!("the answer broke off: {}", causes(error));
    Error::Unreachable { method: "GET", url: url.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::connector::{
        Config, Registry,
        testing::{Answer, Server},
    };

    #[tokio::test]
    async fn patience_has_an_end() {
        let answered = AtomicUsize::new(0);
        let server = Server::start(move |request| {
            if request.path.contains("never") || answered.fetch_add(1, Ordering::SeqCst) < 2 {
                return Answer::new(429, b"").header("retry-after", "0");
            }
            Answer::new(200, br#"{"tags":["a"]}"#)
        })
        .await;
        let config = Config { url: Some(server.url().parse().unwrap()), ..Config::default() };
        let registry = Registry::new(&config).unwrap();
        registry.list_tags(&"team/app".parse().unwrap()).await.unwrap().unwrap();
        assert_eq!(server.requests().len(), 3);
        let error = registry.list_tags(&"never".parse().unwrap()).await.unwrap_err();
        assert!(error.is_passing() && error.to_string().contains("429"), "{error}");
        assert_eq!(server.requests().len(), 3 + PATIENT_TRIES as usize);
    }
}
