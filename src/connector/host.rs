//! What the crawler asks of one mirror. Mirrors are strangers: every answer is bounded, in bytes and
//! in time, and is judged rather than trusted.

mod answer;
mod body;
mod certificate;
mod multi_range;
mod rsync;

#[cfg(test)]
mod tests;

use std::{fmt, net::IpAddr, ops::Range, sync::Arc, time::Duration};

use reqwest::{
    Method, Response, StatusCode,
    header::{ACCEPT, ACCEPT_ENCODING, CONTENT_RANGE, RANGE},
};
use tokio::time::Instant;
use url::{Host, Url};

use super::{
    Error, Meter,
    error::causes,
    guard::{Guard, GuardedResolver, REDIRECT_LIMIT, Refusal},
    pace::{self, Pace},
};
use crate::{
    mirror::{HostUrl, MultiRange},
    oci,
};
use answer::{
    Fault, check_plain, check_size, fault, header, judge_status, keeps_alive, length, not_followed, quote,
    redirect, short,
};
pub use body::{MirrorBody, Page};

/// How long a connection may take to be made, TLS apart.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a mirror may send nothing in the middle of an answer.
pub const READ_TIMEOUT: Duration = Duration::from_secs(20);

/// The slowest mirror we read a large body from, in bytes a second: it adds to the deadline.
pub const SLOWEST_BODY: u64 = 64 * 1024;

/// How long [`Connector::read_start`] waits for the next bytes.
const STALL: Duration = Duration::from_millis(1_500);

/// How long it reads at most, once [`LEAST_START`] came.
const START: Duration = Duration::from_secs(3);

/// So many bytes of a file come within [`START`] from any mirror that clients can be sent to.
const LEAST_START: u64 = 64 * 1024;

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
    /// The file has another size or other bytes than its digest says: nothing of the mirror is believed.
    Damaged(String),
    /// The file begins to come, and stalls or breaks off: most clients would wait for it for ever, or give up.
    Broken(String),
    /// The mirror gave something else: another form, a login, a way to where we do not go.
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

impl<T> Outcome<T> {
    /// The same judgement about something else that was there.
    pub fn map<U>(self, of: impl FnOnce(T) -> U) -> Outcome<U> {
        match self {
            Self::Present(value) => Outcome::Present(of(value)),
            Self::Absent => Outcome::Absent,
            Self::Damaged(reason) => Outcome::Damaged(reason),
            Self::Broken(reason) => Outcome::Broken(reason),
            Self::Wrong(reason) => Outcome::Wrong(reason),
            Self::Unreachable(reason) => Outcome::Unreachable(reason),
            Self::NoRoute(reason) => Outcome::NoRoute(reason),
        }
    }
}

/// How a mirror answers, beside what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manners {
    /// What it makes of a request for two ranges.
    pub multi_range: MultiRange,
    /// Takes a second request on the same connection.
    pub keeps_alive: bool,
    /// When its certificate ends, Unix seconds; `None` without TLS.
    pub certificate_ends_at: Option<i64>,
}

/// What a request says beside where it goes.
#[derive(Clone, Copy, Default)]
struct Wish<'a> {
    range: Option<&'a str>,
    /// For the header of that name.
    accept: Option<&'a str>,
    allows_gzip: bool,
}

/// Asks mirrors, by one address family, behind the address guard. Cheap to clone.
#[derive(Clone)]
pub struct Connector {
    http: reqwest::Client,
    /// For the host that the guard trusts, if it has authorities of its own.
    pinned: Option<reqwest::Client>,
    guard: Guard,
    family: Family,
    timeout: Duration,
    pace: Option<Arc<Pace>>,
    meter: Arc<Meter>,
}

impl Connector {
    /// `timeout` is for a whole answer; large bodies get more by [`SLOWEST_BODY`].
    pub fn new(guard: Guard, family: Family, user_agent: &str, timeout: Duration) -> Result<Self, Error> {
        let http = client(&guard, family, user_agent, timeout);
        let http = http.build().map_err(|error| Error::Setup(causes(&error)))?;
        Ok(Self { http, pinned: None, guard, family, timeout, meter: Arc::default(), pace: None })
    }

    /// The same, but each request goes by a connection of its own.
    pub fn without_kept_connections(
        guard: Guard,
        family: Family,
        user_agent: &str,
        timeout: Duration,
    ) -> Result<Self, Error> {
        let http = client(&guard, family, user_agent, timeout).pool_max_idle_per_host(0);
        let http = http.build().map_err(|error| Error::Setup(causes(&error)))?;
        Ok(Self { http, pinned: None, guard, family, timeout, meter: Arc::default(), pace: None })
    }

    /// The same for one host, with the manners that it is due.
    pub fn paced(&self, pace: Arc<Pace>) -> Self {
        Self { pace: Some(pace), ..self.clone() }
    }

    /// The same connector, whose requests and bytes are counted there.
    pub fn counted_by(&self, meter: Arc<Meter>) -> Self {
        Self { meter, ..self.clone() }
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
            self.read_body(&mut response, limit).await
        };
        fetch.await.into()
    }

    /// Does the small file `path` below `base` have exactly these bytes? On a kept connection where there is one.
    pub async fn probe(&self, base: &HostUrl, path: &str, bytes: &[u8]) -> Probed {
        let fetch = async {
            let mut response = self.ask(Method::GET, base, path, None, self.timeout).await?;
            check_plain(&response)?;
            self.read_body(&mut response, bytes.len()).await
        };
        match fetch.await {
            Ok(found) if found == bytes => Probed::Good,
            Ok(_) => Probed::Failed(format!("{path} has other bytes")),
            Err(Fault::Absent) => Probed::Failed(format!("it answers, but lacks {path}")),
            Err(
                Fault::Damaged(reason)
                | Fault::Broken(reason)
                | Fault::Wrong(reason)
                | Fault::Unreachable(reason),
            ) => Probed::Failed(reason),
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
            let mut response = self.ask(Method::GET, base, path, Some(&asked), self.timeout).await?;
            if response.status() == StatusCode::OK {
                return Err(Fault::Wrong("it ignores Range requests (200 instead of 206)".to_owned()));
            }
            check_plain(&response)?;
            let answered = header(&response, CONTENT_RANGE).unwrap_or_default();
            if answered != format!("bytes {}-{last}/{size}", range.start) {
                return Err(Fault::Wrong(format!("it answers a Range request with `{}`", quote(&answered))));
            }
            let breaks_off = |fault| match fault {
                Fault::Unreachable(reason) | Fault::Refused(reason) => Fault::Broken(reason),
                other => other,
            };
            let body = self.read_body(&mut response, wanted).await.map_err(breaks_off)?;
            if body.len() == wanted {
                Ok(body)
            } else {
                Err(short(body.len() as u64, range.end - range.start))
            }
        };
        fetch.await.into()
    }

    /// How the mirror answers a request for two ranges of a file whose bytes are `known`, and whether it keeps
    /// the connection.
    pub async fn probe_manners(&self, base: &HostUrl, path: &str, known: &[u8]) -> Outcome<Manners> {
        let probe = async {
            let asked = multi_range::ask(known.len());
            let mut response = self.ask(Method::GET, base, path, Some(&asked), self.timeout).await?;
            let keeps_alive = keeps_alive(&response);
            let certificate_ends_at = certificate::end(&response);
            check_plain(&response)?;
            let body = self.read_body(&mut response, multi_range::BODY_LIMIT).await?;
            let multi_range = multi_range::judge(&response, &body, known).map_err(Fault::Wrong)?;
            Ok(Manners { multi_range, keeps_alive, certificate_ends_at })
        };
        probe.await.into()
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
            while let Some(chunk) = response.chunk().await.map_err(|error| broken_off(&error, read, size))? {
                self.meter.count_bytes(chunk.len());
                read += chunk.len() as u64;
                if read > size {
                    return Err(Fault::Damaged(format!("it sends more than {size} bytes")));
                }
                verifier.update(&chunk);
            }
            if read < size {
                return Err(short(read, size));
            }
            verifier.finish().map_err(|found| other_digest(&found))
        };
        hash.await.into()
    }

    /// Reads the beginning of a file as a client would: all of one of at most `most` bytes, which is compared with the
    /// digest. One that sends nothing for 1.5 s, or less than 64 KiB within 3 s, is broken.
    pub async fn read_start(
        &self,
        base: &HostUrl,
        path: &str,
        digest: oci::Digest,
        size: u64,
        most: u64,
    ) -> Outcome {
        let read = async {
            let ask = self.ask(Method::GET, base, path, None, self.timeout + START);
            let mut response = tokio::time::timeout(self.timeout, ask)
                .await
                .map_err(|_| Fault::Unreachable("no answer in time".to_owned()))??;
            check_plain(&response)?;
            if let Some(found) = length(&response) {
                check_size(&response, found, size)?;
            }
            let (began, mut verifier, mut read) = (Instant::now(), oci::Verifier::new(digest), 0);
            let stalls = |read| Fault::Broken(format!("it stalls after {read} of {size} bytes"));
            while read < size.min(most) && (began.elapsed() < START || read < LEAST_START) {
                let left = if read < LEAST_START { START.saturating_sub(began.elapsed()) } else { STALL };
                let chunk = tokio::time::timeout(left.min(STALL), response.chunk()).await;
                let chunk = chunk.map_err(|_| stalls(read))?;
                let chunk = chunk.map_err(|error| broken_off(&error, read, size))?;
                let Some(chunk) = chunk else { return Err(short(read, size)) };
                self.meter.count_bytes(chunk.len());
                verifier.update(&chunk);
                read += chunk.len() as u64;
            }
            match read {
                _ if read < size => Ok(()),
                _ if read > size => Err(Fault::Damaged(format!("it sends more than {size} bytes"))),
                _ => verifier.finish().map_err(|found| other_digest(&found)),
            }
        };
        read.await.into()
    }

    /// Does the mirror leave the file as it is also for a client that allows gzip, as most do? Only the head of the
    /// answer is read.
    pub async fn check_plain_for_clients(&self, base: &HostUrl, path: &str) -> Outcome {
        let ask = async {
            let asked = file_url(base, path)?;
            let wish = Wish { allows_gzip: true, ..Wish::default() };
            let response = self.ask_url(Method::GET, asked, wish, self.timeout).await?;
            check_plain(&response)
        };
        match ask.await {
            Err(Fault::Wrong(reason)) => Outcome::Wrong(format!(
                "{reason} to clients that allow it, so they cannot tell its length or go on where they were: nothing \
                 below this URL may be compressed on the way"
            )),
            other => other.into(),
        }
    }

    /// Sends a request, follows redirects, and judges the last status: 200 passes, and 206 when a range was
    /// asked for. `timeout` is for all of it, and the body.
    async fn ask(
        &self,
        method: Method,
        base: &HostUrl,
        path: &str,
        range: Option<&str>,
        timeout: Duration,
    ) -> Result<Response, Fault> {
        let wish = Wish { range, ..Wish::default() };
        self.ask_url(method, file_url(base, path)?, wish, timeout).await
    }

    /// The same for a whole URL.
    async fn ask_url(
        &self,
        method: Method,
        asked: Url,
        wish: Wish<'_>,
        timeout: Duration,
    ) -> Result<Response, Fault> {
        self.guard.check_url(&asked).map_err(|refusal| Fault::Unreachable(refusal.to_string()))?;
        self.check_family(&asked)?;
        let deadline = Instant::now() + timeout;
        let mut url = asked.clone();
        for hop in 0..=REDIRECT_LIMIT {
            let left = deadline.saturating_duration_since(Instant::now());
            let pinned = self.pinned.as_ref().filter(|_| self.guard.is_trusted(&url));
            let http = pinned.unwrap_or(&self.http);
            let mut request = http.request(method.clone(), url.clone()).timeout(left);
            request = request.header(ACCEPT_ENCODING, if wish.allows_gzip { "gzip" } else { "identity" });
            if let Some(accept) = wish.accept {
                request = request.header(ACCEPT, accept);
            }
            if let Some(range) = wish.range {
                request = request.header(RANGE, range);
            }
            let permit = pace::wait(self.pace.as_deref()).await.map_err(Fault::Unreachable)?;
            self.meter.count_request();
            let mut response = request.send().await.map_err(|error| fault(&error, hop > 0))?;
            pace::note(self.pace.as_deref(), &mut response, permit);
            let Some(next) = redirect(&response, &url) else {
                return judge_status(response, &asked, wish.range.is_some());
            };
            let next = next.map_err(|refusal| not_followed(&refusal))?;
            self.guard.check_redirect(&url, &next).map_err(|refusal| not_followed(&refusal))?;
            self.check_family(&next)?;
            url = next;
        }
        Err(not_followed(&Refusal::Redirects))
    }

    /// An address in the URL itself never reaches the resolver.
    fn check_family(&self, url: &Url) -> Result<(), Fault> {
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

    /// Reads a body of at most `limit` bytes.
    async fn read_body(&self, response: &mut Response, limit: usize) -> Result<Vec<u8>, Fault> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| fault(&error, false))? {
            self.meter.count_bytes(chunk.len());
            if body.len() + chunk.len() > limit {
                return Err(Fault::Wrong(format!("it sends more than {limit} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

/// What every client of a connector is built from.
fn client(guard: &Guard, family: Family, user_agent: &str, timeout: Duration) -> reqwest::ClientBuilder {
    super::install_cryptography();
    reqwest::Client::builder()
        .no_proxy() // a proxy would resolve the name, past the guard
        .dns_resolver(Arc::new(GuardedResolver { guard: guard.clone(), family }))
        .redirect(reqwest::redirect::Policy::none()) // `ask` follows them: each is checked and counted
        .retry(reqwest::retry::never())
        .referer(false)
        .user_agent(user_agent)
        .connect_timeout(CONNECT_TIMEOUT.min(timeout))
        .read_timeout(READ_TIMEOUT.min(timeout))
        .pool_max_idle_per_host(2)
        .tls_info(true)
}

fn file_url(base: &HostUrl, path: &str) -> Result<Url, Fault> {
    Url::parse(&format!("{base}/{path}"))
        .map_err(|error| Fault::Wrong(format!("its URL cannot be read: {error}")))
}

/// A large body that did not come to its end.
fn broken_off(error: &reqwest::Error, read: u64, size: u64) -> Fault {
    if error.is_timeout() {
        return Fault::Broken(format!("it sent only {read} of {size} bytes in time"));
    }
    Fault::Broken(format!("it breaks off after {read} of {size} bytes: {}", causes(error)))
}

fn other_digest(found: &oci::Digest) -> Fault {
    Fault::Damaged(format!("its bytes have the digest {found}"))
}
