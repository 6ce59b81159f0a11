use std::{path::Path, time::Duration};

use reqwest::{Method, header::CONTENT_TYPE};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use url::Url;

use super::{
    Error, Password,
    authorities::read_authorities,
    error::causes,
    transport::{is_loopback, read_body},
};
use crate::mirror::is_invisible;

/// What all paths begin with.
const BASE: &str = "/api/v1";

/// How long a whole answer may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The longest answer that is read, in bytes.
const ANSWER_LIMIT: usize = 16 * 1024 * 1024;

/// Parts of one list: a hundred thousand items.
const MOST_PARTS: usize = 1_000;

/// Characters of what a server says is wrong.
const LONGEST_DETAIL: usize = 2_000;

/// The REST API of a server, for a program with a token of an account.
pub struct Api {
    http: reqwest::Client,
    server: Url,
    token: Password,
}

/// How something is changed (RFC 9110, section 9; RFC 5789).
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the names of HTTP's methods")]
pub enum Verb {
    Post,
    Put,
    Patch,
    Delete,
}

/// Why a server did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The server's address is none.
    #[error("{0} is no address of a server: write it as https://registry.example.org")]
    Address(String),
    /// A token is not sent for all to read.
    #[error("{0}: a token goes over https only, but for a server on this machine")]
    Plain(Url),
    /// The client cannot be made.
    #[error(transparent)]
    Setup(#[from] Error),
    /// No answer, or one that broke off.
    #[error("{server} does not answer: {reason}")]
    Unreachable {
        /// The server's address.
        server: Url,
        /// What the network said.
        reason: String,
    },
    /// It does not do it. Its own words say why, and what to do.
    #[error("{server} answers {status}: {detail}")]
    Refused {
        /// The server's address.
        server: Url,
        /// The HTTP status.
        status: u16,
        /// In words.
        detail: String,
    },
    /// An answer that cannot be Portolan's.
    #[error("{server} answers what is not understood: {reason}; is it a Portolan server, of this version?")]
    Answer {
        /// The server's address.
        server: Url,
        /// What is wrong with it.
        reason: String,
    },
}

#[derive(Deserialize)]
struct Listed<T> {
    items: Vec<T>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct Problem {
    detail: String,
}

impl Api {
    /// The API of the server at this address, such as `https://registry.example.org`. With `ca_file` only the authorities in
    /// that PEM file are believed. Asks nothing of the network.
    pub fn new(server: &str, token: Password, ca_file: Option<&Path>) -> Result<Self, ApiError> {
        let is_address = |it: &Url| {
            matches!(it.scheme(), "http" | "https")
                && it.has_host()
                && it.path() == "/"
                && it.query().is_none()
                && it.username().is_empty()
                && it.password().is_none()
        };
        let url = Url::parse(server).ok().filter(is_address);
        let url = url.ok_or_else(|| ApiError::Address(server.to_owned()))?;
        if url.scheme() == "http" && !is_loopback(&url) {
            return Err(ApiError::Plain(url));
        }
        Ok(Self { http: client(&url, ca_file)?, server: url, token })
    }

    /// Reads what is at a path below `/api/v1`.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ApiError> {
        self.ask(Method::GET, &format!("{BASE}{path}"), None).await
    }

    /// Reads all parts of a list.
    pub async fn list<T: DeserializeOwned>(&self, path: &str) -> Result<Vec<T>, ApiError> {
        let (mut items, mut at) = (Vec::new(), format!("{BASE}{path}"));
        for _ in 0..MOST_PARTS {
            let part: Listed<T> = self.ask(Method::GET, &at, None).await?;
            items.extend(part.items);
            match part.next {
                None => return Ok(items),
                Some(next) if next.starts_with(BASE) => at = next,
                Some(next) => return Err(self.unfit(format!("a list goes on at {next:?}"))),
            }
        }
        Err(self.unfit(format!("a list has more than {MOST_PARTS} parts")))
    }

    /// Changes something.
    pub async fn change<T: DeserializeOwned>(
        &self,
        verb: Verb,
        path: &str,
        body: Option<&Value>,
    ) -> Result<T, ApiError> {
        let method = match verb {
            Verb::Post => Method::POST,
            Verb::Put => Method::PUT,
            Verb::Patch => Method::PATCH,
            Verb::Delete => Method::DELETE,
        };
        self.ask(method, &format!("{BASE}{path}"), body).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<T, ApiError> {
        let url = self.server.join(path).map_err(|error| self.unfit(error.to_string()))?;
        let mut request = self.http.request(method, url).bearer_auth(self.token.reveal());
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(body.to_string());
        }
        let unreachable = |reason| ApiError::Unreachable { server: self.server.clone(), reason };
        let response = request.send().await.map_err(|error| unreachable(causes(&error)))?;
        let status = response.status();
        let json = read_body(self.server.as_str(), response, ANSWER_LIMIT).await;
        let json = json.map_err(|error| unreachable(error.to_string()))?;
        let json = json.ok_or_else(|| self.unfit(format!("it has more than {ANSWER_LIMIT} bytes")))?;
        if status.is_success() {
            return serde_json::from_slice(&json).map_err(|error| self.unfit(error.to_string()));
        }
        match serde_json::from_slice::<Problem>(&json) {
            Ok(problem) => Err(self.refused(status.as_u16(), &problem.detail)),
            Err(_) => Err(self.unfit(format!("status {status}, and no word why"))),
        }
    }

    fn refused(&self, status: u16, detail: &str) -> ApiError {
        let is_seen = |it: &char| !it.is_control() && !is_invisible(*it);
        let detail = detail.chars().filter(is_seen).take(LONGEST_DETAIL).collect();
        ApiError::Refused { server: self.server.clone(), status, detail }
    }

    fn unfit(&self, reason: String) -> ApiError {
        ApiError::Answer { server: self.server.clone(), reason }
    }
}

/// Redirects are not followed: the token is for this server.
fn client(server: &Url, ca_file: Option<&Path>) -> Result<reqwest::Client, Error> {
    super::install_cryptography();
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("portolan/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .timeout(TIMEOUT);
    if is_loopback(server) {
        builder = builder.no_proxy(); // a proxy's loopback is another one
    }
    if let Some(path) = ca_file {
        let refused = |reason| Error::CaFile { path: path.to_owned(), reason };
        builder = builder.tls_certs_only(read_authorities(path).map_err(refused)?);
    }
    builder.build().map_err(|error| Error::Setup(causes(&error)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::testing::{Answer, Server};

    fn open(server: &str) -> Result<Api, ApiError> {
        Api::new(server, Password::from("secret".to_owned()), None)
    }

    #[test]
    fn a_token_goes_to_no_address_that_all_can_read() {
        for address in ["registry.example.org", "https://x/api", "https://a:b@x/", "ftp://x", "https://x/?a"]
        {
            assert!(matches!(open(address), Err(ApiError::Address(_))), "{address}");
        }
        assert!(matches!(open("http://registry.example.org"), Err(ApiError::Plain(_))));
        for address in
            ["https://registry.example.org", "https://x:8443/", "http://127.0.0.1:80", "http://[::1]"]
        {
            assert!(open(address).is_ok(), "{address}");
        }
    }

    #[tokio::test]
    async fn lists_come_in_parts_and_refusals_in_words() {
        let server = Server::start(|request| match request.path.as_str() {
            "/api/v1/hosts" => Answer::new(200, br#"{"items":[1,2],"next":"/api/v1/hosts?after=2"}"#),
            "/api/v1/hosts?after=2" => Answer::new(200, br#"{"items":[3],"next":null}"#),
            "/api/v1/astray" => Answer::new(200, br#"{"items":[3],"next":"https://example.org/"}"#),
            "/api/v1/endless" => Answer::new(200, br#"{"items":[],"next":"/api/v1/endless"}"#),
            "/api/v1/moved" => Answer::new(302, b"").header("location", "/api/v1/hosts"),
            _ => Answer::new(403, br#"{"detail":"not \u001b[2J\u202eyou"}"#),
        })
        .await;
        let api = open(server.url()).unwrap();
        assert_eq!(api.list::<u8>("/hosts").await.unwrap(), [1, 2, 3]);
        for path in ["/astray", "/endless", "/moved"] {
            assert!(matches!(api.list::<u8>(path).await, Err(ApiError::Answer { .. })), "{path}");
        }
        let refused = api.get::<u8>("/other").await.unwrap_err().to_string();
        assert!(refused.ends_with(" answers 403: not [2Jyou"), "{refused}");
        assert!(server.requests().iter().all(|it| it.headers["authorization"] == "Bearer secret"));
    }
}
