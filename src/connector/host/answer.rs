//! Judges what came back: status, headers, and why nothing came.

use std::{error::Error as _, io};

use reqwest::{
    Response, StatusCode, Version,
    header::{CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, LOCATION},
};
use url::Url;

use super::{Outcome, certificate};
use crate::connector::{error::causes, guard::Refusal};

/// How much of a status line or header from a mirror we repeat in a reason, in characters.
const QUOTE_LIMIT: usize = 100;

/// All outcomes but the good one, so that `?` works on the way to it.
pub(super) enum Fault {
    Absent,
    Damaged(String),
    Broken(String),
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
            Err(Fault::Damaged(reason)) => Self::Damaged(reason),
            Err(Fault::Broken(reason)) => Self::Broken(reason),
            Err(Fault::Wrong(reason)) => Self::Wrong(reason),
            Err(Fault::Unreachable(reason) | Fault::Refused(reason)) => Self::Unreachable(reason),
            Err(Fault::NoRoute(reason)) => Self::NoRoute(reason),
        }
    }
}

/// Where the answer sends us, if anywhere.
pub(super) fn redirect(response: &Response, from: &Url) -> Option<Result<Url, Refusal>> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let location = response.headers().get(LOCATION)?;
    let next = location.to_str().ok().and_then(|it| from.join(it).ok());
    Some(next.ok_or(Refusal::Redirect))
}

/// A redirect that we do not follow says something wrong of the mirror.
pub(super) fn not_followed(refusal: &Refusal) -> Fault {
    Fault::Wrong(format!("a redirect is not followed: {refusal}"))
}

/// Lets 200 pass, and 206 when a range was asked for.
pub(super) fn judge_status(response: Response, asked: &Url, is_ranged: bool) -> Result<Response, Fault> {
    match response.status() {
        StatusCode::OK => Ok(response),
        StatusCode::PARTIAL_CONTENT if is_ranged => Ok(response),
        status => Err(refusal(status, asked, &response)),
    }
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
pub(super) fn fault(error: &reqwest::Error, is_redirected: bool) -> Fault {
    let mut cause = error.source();
    while let Some(source) = cause {
        if let Some(refusal) = source.downcast_ref::<Refusal>() {
            return match refusal {
                Refusal::Family(..) => Fault::NoRoute(refusal.to_string()),
                _ if is_redirected => not_followed(refusal),
                _ => Fault::Unreachable(refusal.to_string()),
            };
        }
        if let Some(reason) = certificate::fault(source) {
            return Fault::Refused(reason);
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
    if !error.is_timeout() && (error.is_decode() || error.is_body()) {
        return Fault::Unreachable(format!("its answer broke off: {}", causes(error)));
    }
    Fault::Unreachable(causes(error))
}

/// Any Content-Encoding means other bytes than the file's.
pub(super) fn check_plain(response: &Response) -> Result<(), Fault> {
    match header(response, CONTENT_ENCODING) {
        Some(encoding) if encoding != "identity" => {
            Err(Fault::Wrong(format!("it sends the file encoded as {}", quote(&encoding))))
        }
        _ => Ok(()),
    }
}

pub(super) fn check_size(response: &Response, found: u64, size: u64) -> Result<(), Fault> {
    if found == size {
        return Ok(());
    }
    let is_page = header(response, CONTENT_TYPE).is_some_and(|it| it.starts_with("text/html"));
    let what = if is_page { "an HTML page" } else { "a file" };
    Err(Fault::Damaged(format!("it has {what} of {found} bytes instead of {size}")))
}

pub(super) fn short(read: u64, size: u64) -> Fault {
    Fault::Damaged(format!("it ends after {read} bytes instead of {size}"))
}

/// Will the mirror take another request on this connection (RFC 9112, section 9.3)?
pub(super) fn keeps_alive(response: &Response) -> bool {
    let said = header(response, CONNECTION).unwrap_or_default().to_ascii_lowercase();
    if response.version() == Version::HTTP_10 { said == "keep-alive" } else { said != "close" }
}

/// From the header, because a HEAD has no body to measure.
pub(super) fn length(response: &Response) -> Option<u64> {
    header(response, CONTENT_LENGTH)?.parse().ok()
}

pub(super) fn header(response: &Response, name: HeaderName) -> Option<String> {
    Some(response.headers().get(name)?.to_str().ok()?.to_owned())
}

/// A stranger's words, cut short and without control characters.
pub(super) fn quote(text: &str) -> String {
    text.chars().filter(|it| !it.is_control()).take(QUOTE_LIMIT).collect()
}
