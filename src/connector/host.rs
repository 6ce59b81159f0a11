//! What the crawler asks of one mirror. Mirrors are strangers: every answer is bounded, in bytes and
//! in time, and is judged rather than trusted.

use std::{error::Error as _, fmt, io, net::IpAddr, ops::Range, sync::Arc, time::Duration};

use reqwest::{
    Method, Response, StatusCode,
    header::{
        ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderName, RANGE,
    },
};
use url::{Host, Url};

use super::{
    Error,
    error::causes,
    guard::{Guard, GuardedResolver, Refusal},
    pace::{self, Pace},
};
use crate::{mirror::HostUrl, oci};

/// How long a connection may take to be made, TLS apart.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a mirror may send nothing in the middle of an answer.
pub const READ_TIMEOUT: Duration = Duration::from_secs(20);

/// The slowest mirror we read a large body from, in bytes a second: it adds to the deadline.
pub const SLOWEST_BODY: u64 = 64 * 1024;

/// How much of a status line or header from a mirror we repeat in a reason, in characters.
const QUOTE_LIMIT: usize = 100;

/// By which kind of address a host is visited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Family {
    /// Whatever the name has.
    #[default]
    Any,
    /// IPv4 only.
    Ipv4,
    /// IPv6 only.
    Ipv6,
}

impl Family {
    /// Is the address one of this family?
    pub fn includes(self, address: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::Ipv4 => address.is_ipv4(),
            Self::Ipv6 => address.is_ipv6(),
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "IP",
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
        })
    }
}

/// What a mirror answered. Reasons are short texts for its admin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<T = ()> {
    /// It is there as it should be.
    Present(T),
    /// The mirror says that it has no such file (404 or 410).
    Absent,
    /// The mirror gave something else: other bytes, another size, a page, a login.
    Wrong(String),
    /// No answer, or one that says "not now" (429, 5xx), or a place we do not visit.
    Unreachable(String),
    /// The host has no address of the family asked for, or we have no way to that family.
    NoRoute(String),
}

/// What a mirror says when it is asked only whether it lives. Reasons are short texts for its admin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probed {
    /// The file is there, byte for byte.
    Good,
    /// The connection was refused or reset, or TLS failed.
    Refused(String),
    /// Anything else that is not good.
    Failed(String),
    /// The host has no address of the family asked for, or we have no way to that family.
    NoRoute(String),
}

/// All outcomes but the good one, so that `?` works on the way to it.
enum Fault {
    Absent,
    Wrong(String),
    /// A kind of `Unreachable`: the host itself says no.
    Refused(String),
    Unreachable(String),
    NoRoute(String),
}

impl<T> From<Result<T, Fault>> for Outcome<T> {
    fn from(result: Result<T, Fault>) -> Self {
        match result {
            Ok(value) => Self::Present(value),
            Err(Fault::Absent) => Self::Absent,
            Err(Fault::Wrong(reason)) => Self::Wrong(reason),
            Err(Fault::Unreachable(reason) | Fault::Refused(reason)) => Self::Unreachable(reason),
            Err(Fault::NoRoute(reason)) => Self::NoRoute(reason),
        }
    }
}

/// Asks mirrors, by one address family, behind the address guard. Cheap to clone.
#[derive(Clone)]
pub struct Connector {
    http: reqwest::Client,
    guard: Guard,
    family: Family,
    timeout: Duration,
    pace: Option<Arc<Pace>>,
}

impl Connector {
    /// `timeout` is for a whole answer; large bodies get more by [`SLOWEST_BODY`].
    pub fn new(guard: Guard, family: Family, user_agent: &str, timeout: Duration) -> Result<Self, Error> {
        super::install_cryptography();
        let http = reqwest::Client::builder()
            .no_proxy() // a proxy would resolve the name, past the guard
            .dns_resolver(Arc::new(GuardedResolver { guard: guard.clone(), family }))
            .redirect(guard.redirect_policy())
            .retry(reqwest::retry::never())
            .referer(false)
            .user_agent(user_agent)
            .connect_timeout(CONNECT_TIMEOUT.min(timeout))
            .read_timeout(READ_TIMEOUT.min(timeout))
            .pool_max_idle_per_host(2)
            .build()
            .map_err(|error| Error::Setup(causes(&error)))?;
        Ok(Self { http, guard, family, timeout, pace: None })
    }

    /// The same for one host, with the manners that it is due.
    pub fn paced(&self, pace: Arc<Pace>) -> Self {
        Self { pace: Some(pace), ..self.clone() }
    }

    /// Is the file `path` below `base` there, with exactly `size` bytes? By HEAD.
    pub async fn head(&self, base: &HostUrl, path: &str, size: u64) -> Outcome {
        let head = async {
            let response = self.ask(Method::HEAD, base, path, None, self.timeout).await?;
            check_plain(&response)?;
            match length(&response) {
                Some(found) => check_size(&response, found, size),
                None => Err(Fault::Wrong("it gives no Content-Length".to_owned())),
            }
        };
        head.await.into()
    }

    /// The whole of a small file, of at most `limit` bytes.
    pub async fn fetch(&self, base: &HostUrl, path: &str, limit: usize) -> Outcome<Vec<u8>> {
        let fetch = async {
            let mut response = self.ask(Method::GET, base, path, None, self.timeout).await?;
            check_plain(&response)?;
            read_body(&mut response, limit).await
        };
        fetch.await.into()
    }

    /// Does the small file `path` below `base` have exactly these bytes? On a kept connection where there is one.
    pub async fn probe(&self, base: &HostUrl, path: &str, bytes: &[u8]) -> Probed {
        let fetch = async {
            let mut response = self.ask(Method::GET, base, path, None, self.timeout).await?;
            check_plain(&response)?;
            read_body(&mut response, bytes.len()).await
        };
        match fetch.await {
            Ok(found) if found == bytes => Probed::Good,
            Ok(_) => Probed::Failed(format!("{path} has other bytes")),
            Err(Fault::Absent) => Probed::Failed(format!("it answers, but lacks {path}")),
            Err(Fault::Wrong(reason) | Fault::Unreachable(reason)) => Probed::Failed(reason),
            Err(Fault::Refused(reason)) => Probed::Refused(reason),
            Err(Fault::NoRoute(reason)) => Probed::NoRoute(reason),
        }
    }

    /// Some bytes of a file of `size` bytes, held in memory. A mirror that sends the whole file instead
    /// is `Wrong`: clients that resume would start again there.
    pub async fn fetch_range(
        &self,
        base: &HostUrl,
        path: &str,
        range: Range<u64>,
        size: u64,
    ) -> Outcome<Vec<u8>> {
        let last = range.end.saturating_sub(1);
        let wanted = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
        let fetch = async {
            let asked = format!("bytes={}-{last}", range.start);
            let mut response = self.ask(Method::GET, base, path, Some(asked), self.timeout).await?;
            if response.status() == StatusCode::OK {
                return Err(Fault::Wrong("it ignores Range requests (200 instead of 206)".to_owned()));
            }
            let answered = header(&response, CONTENT_RANGE).unwrap_or_default();
            if answered != format!("bytes {}-{last}/{size}", range.start) {
                return Err(Fault::Wrong(format!("it answers a Range request with `{}`", quote(&answered))));
            }
            let body = read_body(&mut response, wanted).await?;
            if body.len() == wanted {
                Ok(body)
            } else {
                Err(short(body.len() as u64, range.end - range.start))
            }
        };
        fetch.await.into()
    }

    /// Reads a whole file and compares it with the digest it is kept under.
    pub async fn hash(&self, base: &HostUrl, path: &str, digest: oci::Digest, size: u64) -> Outcome {
        let hash = async {
            let timeout = self.timeout + Duration::from_secs(size / SLOWEST_BODY);
            let mut response = self.ask(Method::GET, base, path, None, timeout).await?;
            check_plain(&response)?;
            if let Some(found) = length(&response) {
                check_size(&response, found, size)?;
            }
            let mut verifier = oci::Verifier::new(digest);
            let mut read = 0;
            while let Some(chunk) = response.chunk().await.map_err(|error| fault(&error))? {
                read += chunk.len() as u64;
                if read > size {
                    return Err(Fault::Wrong(format!("it sends more than {size} bytes")));
                }
                verifier.update(&chunk);
            }
            if read < size {
                return Err(short(read, size));
            }
            verifier.finish().map_err(|found| Fault::Wrong(format!("its bytes have the digest {found}")))
        };
        hash.await.into()
    }

    /// Sends one request and judges its status: 200 passes, and 206 when a range was asked for.
    async fn ask(
        &self,
        method: Method,
        base: &HostUrl,
        path: &str,
        range: Option<String>,
        timeout: Duration,
    ) -> Result<Response, Fault> {
        let url = Url::parse(&format!("{base}/{path}"))
            .map_err(|error| Fault::Wrong(format!("its URL cannot be read: {error}")))?;
        self.check_url(&url)?;
        let is_ranged = range.is_some();
        let mut request =
            self.http.request(method, url.clone()).timeout(timeout).header(ACCEPT_ENCODING, "identity");
        if let Some(range) = range {
            request = request.header(RANGE, range);
        }
        let permit = pace::wait(self.pace.as_deref()).await.map_err(Fault::Unreachable)?;
        let mut response = request.send().await.map_err(|error| fault(&error))?;
        pace::note(self.pace.as_deref(), &mut response, permit);
        match response.status() {
            StatusCode::OK => Ok(response),
            StatusCode::PARTIAL_CONTENT if is_ranged => Ok(response),
            status => Err(refusal(status, &url, &response)),
        }
    }

    /// An address in the URL itself never reaches the resolver.
    fn check_url(&self, url: &Url) -> Result<(), Fault> {
        self.guard.check_url(url).map_err(|refusal| Fault::Unreachable(refusal.to_string()))?;
        let literal: Option<IpAddr> = match url.host() {
            Some(Host::Ipv4(address)) => Some(address.into()),
            Some(Host::Ipv6(address)) => Some(address.into()),
            _ => None,
        };
        match literal {
            Some(address) if !self.family.includes(address) => {
                Err(Fault::NoRoute(Refusal::Family(address.to_string(), self.family).to_string()))
            }
            _ => Ok(()),
        }
    }
}

/// Reads a body of at most `limit` bytes.
async fn read_body(response: &mut Response, limit: usize) -> Result<Vec<u8>, Fault> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| fault(&error))? {
        if body.len() + chunk.len() > limit {
            return Err(Fault::Wrong(format!("it sends more than {limit} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// What a status other than success means.
fn refusal(status: StatusCode, asked: &Url, response: &Response) -> Fault {
    let moved = if response.url() == asked {
        String::new()
    } else {
        format!(", after a redirect to {}", quote(response.url().as_str()))
    };
    match status.as_u16() {
        404 | 410 => Fault::Absent,
        401 => Fault::Wrong(format!("it wants a login (401){moved}")),
        403 => Fault::Wrong(format!("it forbids access (403){moved}")),
        429 => Fault::Unreachable(format!("it asks for fewer requests (429){moved}")),
        code @ 500.. => Fault::Unreachable(format!("it failed with status {code}{moved}")),
        code => Fault::Wrong(format!("it answers with status {code}{moved}")),
    }
}

/// A failed request: refused by us, no way there, or no answer.
fn fault(error: &reqwest::Error) -> Fault {
    let mut cause = error.source();
    while let Some(source) = cause {
        if let Some(refusal) = source.downcast_ref::<Refusal>() {
            return match refusal {
                _ if error.is_redirect() => Fault::Wrong(format!("a redirect is not followed: {refusal}")),
                Refusal::Family(..) => Fault::NoRoute(refusal.to_string()),
                _ => Fault::Unreachable(refusal.to_string()),
            };
        }
        let kind = source.downcast_ref::<io::Error>().map(io::Error::kind);
        if matches!(kind, Some(io::ErrorKind::NetworkUnreachable | io::ErrorKind::AddrNotAvailable)) {
            return Fault::NoRoute("this machine has no route to its address".to_owned());
        }
        if kind == Some(io::ErrorKind::ConnectionReset) {
            return Fault::Refused(causes(error));
        }
        cause = source.source();
    }
    if error.is_connect() && !error.is_timeout() {
        return Fault::Refused(causes(error));
    }
    if error.is_decode() || error.is_body() {
        return Fault::Unreachable(format!("its answer broke off: {}", causes(error)));
    }
    Fault::Unreachable(causes(error))
}

/// Any Content-Encoding means other bytes than the file's.
fn check_plain(response: &Response) -> Result<(), Fault> {
    match header(response, CONTENT_ENCODING) {
        Some(encoding) if encoding != "identity" => {
            Err(Fault::Wrong(format!("it sends the file encoded as {}", quote(&encoding))))
        }
        _ => Ok(()),
    }
}

fn check_size(response: &Response, found: u64, size: u64) -> Result<(), Fault> {
    if found == size {
        return Ok(());
    }
    let is_page = header(response, CONTENT_TYPE).is_some_and(|it| it.starts_with("text/html"));
    let what = if is_page { "an HTML page" } else { "a file" };
    Err(Fault::Wrong(format!("it has {what} of {found} bytes instead of {size}")))
}

fn short(read: u64, size: u64) -> Fault {
    Fault::Wrong(format!("it ends after {read} bytes instead of {size}"))
}

/// From the header, because a HEAD has no body to measure.
fn length(response: &Response) -> Option<u64> {
    header(response, CONTENT_LENGTH)?.parse().ok()
}

fn header(response: &Response, name: HeaderName) -> Option<String> {
    Some(response.headers().get(name)?.to_str().ok()?.to_owned())
}

/// A stranger's words, cut short and without control characters.
fn quote(text: &str) -> String {
    text.chars().filter(|it| !it.is_control()).take(QUOTE_LIMIT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::testing::{Answer, Request, Server};

    const BODY: &[u8] = b"bytes of a blob";
    const SIZE: u64 = BODY.len() as u64;

    fn mirror(request: &Request) -> Answer {
        match request.path.as_str() {
            "/m/blob" => match request.headers.get("range") {
                Some(_) => Answer::new(206, &BODY[2..5]).header("content-range", format!("bytes 2-4/{SIZE}")),
                None => Answer::new(200, BODY),
            },
            "/m/norange" => Answer::new(200, BODY),
            "/m/gzip" => Answer::new(200, BODY).header("content-encoding", "gzip"),
            "/m/page" => Answer::new(200, b"<html>").header("content-type", "text/html; charset=utf-8"),
            "/m/cut" => Answer::new(200, BODY).cut(5),
            "/m/flipped" => Answer::new(200, b"bytes of a bloc"),
            "/m/login" => Answer::new(302, b"").header("location", "/login"),
            "/login" => Answer::new(401, b""),
            "/m/inside" => Answer::new(302, b"").header("location", "http://169.254.169.254/x"),
            "/m/loop" => Answer::new(302, b"").header("location", "/m/loop"),
            "/m/moved" => Answer::new(302, b"").header("location", "/m/blob"),
            "/m/403" => Answer::new(403, b""),
            "/m/429" => Answer::new(429, b""),
            "/m/503" => Answer::new(503, b""),
            "/m/410" => Answer::new(410, b""),
            _ => Answer::new(404, b""),
        }
    }

    fn connector(family: Family) -> Connector {
        let guard = Guard::new(["127.0.0.0/8".parse().unwrap()]);
        Connector::new(guard, family, "test", Duration::from_secs(5)).unwrap()
    }

    fn wrong(text: &str) -> Outcome {
        Outcome::Wrong(text.to_owned())
    }

    #[tokio::test]
    async fn heads_are_judged() {
        let server = Server::start(mirror).await;
        let base: HostUrl = format!("{}/m", server.url()).parse().unwrap();
        let unreachable = |text: &str| Outcome::Unreachable(text.to_owned());
        for (path, outcome) in [
            ("blob", Outcome::Present(())),
            ("moved", Outcome::Present(())),
            ("none", Outcome::Absent),
            ("410", Outcome::Absent),
            ("gzip", wrong("it sends the file encoded as gzip")),
            ("page", wrong("it has an HTML page of 6 bytes instead of 15")),
            ("403", wrong("it forbids access (403)")),
            ("login", wrong(&format!("it wants a login (401), after a redirect to {}/login", server.url()))),
            ("inside", wrong("a redirect is not followed: its address 169.254.169.254 is not a public one")),
            ("loop", wrong("a redirect is not followed: it redirects more than 3 times")),
            ("429", unreachable("it asks for fewer requests (429)")),
            ("503", unreachable("it failed with status 503")),
        ] {
            assert_eq!(connector(Family::Any).head(&base, path, SIZE).await, outcome, "{path}");
        }
        assert!(server.requests().iter().all(|it| it.headers["accept-encoding"] == "identity"));
    }

    #[tokio::test]
    async fn bodies_are_judged() {
        let server = Server::start(mirror).await;
        let base: HostUrl = format!("{}/m", server.url()).parse().unwrap();
        let connector = connector(Family::Ipv4);
        let digest = oci::Digest::of(BODY);
        assert_eq!(connector.hash(&base, "blob", digest, SIZE).await, Outcome::Present(()));
        let found = oci::Digest::of(b"bytes of a bloc");
        assert_eq!(
            connector.hash(&base, "flipped", digest, SIZE).await,
            wrong(&format!("its bytes have the digest {found}"))
        );
        let cut = connector.hash(&base, "cut", digest, SIZE).await;
        assert!(
            matches!(&cut, Outcome::Unreachable(it) if it.starts_with("its answer broke off")),
            "{cut:?}"
        );
        assert_eq!(connector.fetch(&base, "blob", 15).await, Outcome::Present(BODY.to_vec()));
        assert_eq!(
            connector.fetch(&base, "blob", 14).await,
            Outcome::Wrong("it sends more than 14 bytes".to_owned())
        );
        assert_eq!(
            connector.fetch_range(&base, "blob", 2..5, SIZE).await,
            Outcome::Present(BODY[2..5].to_vec())
        );
        assert_eq!(
            connector.fetch_range(&base, "norange", 2..5, SIZE).await,
            Outcome::Wrong("it ignores Range requests (200 instead of 206)".to_owned())
        );
        let other = connector.fetch_range(&base, "blob", 2..6, SIZE).await;
        assert_eq!(other, Outcome::Wrong("it answers a Range request with `bytes 2-4/15`".to_owned()));
    }

    #[tokio::test]
    async fn life_is_told_by_the_bytes() {
        let server = Server::start(mirror).await;
        let base: HostUrl = format!("{}/m", server.url()).parse().unwrap();
        let failed = |text: &str| Probed::Failed(text.to_owned());
        for (path, expected) in [
            ("blob", Probed::Good),
            ("flipped", failed("flipped has other bytes")),
            ("page", failed("page has other bytes")),
            ("none", failed("it answers, but lacks none")),
            ("429", failed("it asks for fewer requests (429)")),
            ("503", failed("it failed with status 503")),
        ] {
            assert_eq!(connector(Family::Ipv4).probe(&base, path, BODY).await, expected, "{path}");
        }
        let found = connector(Family::Ipv6).probe(&base, "blob", BODY).await;
        assert_eq!(found, Probed::NoRoute("127.0.0.1 has no IPv6 address".to_owned()));
        let plain = base.as_str().replace("http:", "https:").parse().unwrap();
        let found = connector(Family::Ipv4).probe(&plain, "blob", BODY).await;
        assert!(matches!(found, Probed::Refused(_)), "no TLS: {found:?}");
        let nobody = "http://127.0.0.1:1/m".parse().unwrap();
        let found = connector(Family::Ipv4).probe(&nobody, "blob", BODY).await;
        assert!(matches!(found, Probed::Refused(_)), "nobody listens: {found:?}");
    }

    #[tokio::test]
    async fn places_we_do_not_visit_are_named() {
        let server = Server::start(mirror).await;
        let port = server.url().rsplit(':').next().unwrap().to_owned();
        let strict = Connector::new(Guard::default(), Family::Any, "test", Duration::from_secs(5)).unwrap();
        for host in ["127.0.0.1", "localhost"] {
            let outcome =
                strict.head(&format!("http://{host}:{port}/m").parse().unwrap(), "blob", SIZE).await;
            assert!(
                matches!(&outcome, Outcome::Unreachable(it) if it.ends_with("is not a public one")),
                "{outcome:?}"
            );
        }
        assert!(server.requests().is_empty(), "nothing was dialled");
        let base = format!("{}/m", server.url()).parse().unwrap();
        let outcome = connector(Family::Ipv6).head(&base, "blob", SIZE).await;
        assert_eq!(outcome, Outcome::NoRoute("127.0.0.1 has no IPv6 address".to_owned()));
    }
}
