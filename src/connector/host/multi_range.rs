//! A request for two ranges at once, as clients that pull parts of images send it (RFC 9110, section 14).

use reqwest::{
    Response, StatusCode,
    header::{CONTENT_RANGE, CONTENT_TYPE},
};

use super::answer::header;
use crate::mirror::MultiRange;

/// The longest answer that is read, in bytes: two parts of one byte, with their headers.
pub(super) const BODY_LIMIT: usize = 4 * 1024;

/// Asks for the first byte and the last one of a file of `size` bytes.
pub(super) fn ask(size: usize) -> String {
    let last = size.saturating_sub(1);
    format!("bytes=0-0,{last}-{last}")
}

/// What the answer is; `Err` when it gives bytes that are not what it says they are.
pub(super) fn judge(response: &Response, body: &[u8], known: &[u8]) -> Result<MultiRange, String> {
    let content_range = header(response, CONTENT_RANGE);
    let content_type = header(response, CONTENT_TYPE).unwrap_or_default();
    if response.status() == StatusCode::OK {
        return if body == known { Ok(MultiRange::Whole) } else { Err(wrong("other bytes")) };
    }
    match (content_range, boundary(&content_type)) {
        (None, Some(boundary)) => judge_parts(body, boundary, known),
        (Some(range), _) if is_part(&range, body, known) => Ok(MultiRange::Single),
        (Some(_), _) => Err(wrong("bytes of another range")),
        (None, None) => Err(wrong("neither Content-Range nor multipart/byteranges")),
    }
}

fn wrong(what: &str) -> String {
    format!("it answers a request for two ranges with {what}")
}

fn boundary(content_type: &str) -> Option<&str> {
    let (kind, rest) = content_type.split_once(';')?;
    let boundary = rest.trim().strip_prefix("boundary=")?;
    kind.trim().eq_ignore_ascii_case("multipart/byteranges").then(|| boundary.trim_matches('"'))
}

/// RFC 2046, section 5.1.1: each part follows `--BOUNDARY`, and `--BOUNDARY--` ends it.
fn judge_parts(body: &[u8], boundary: &str, known: &[u8]) -> Result<MultiRange, String> {
    let text = std::str::from_utf8(body).map_err(|_| wrong("bytes of another range"))?;
    let delimiter = format!("--{boundary}");
    let mut parts = text.split(delimiter.as_str()).skip(1);
    let mut count = 0;
    let is_closed = loop {
        let Some(part) = parts.next() else { break false };
        if part.starts_with("--") {
            break true;
        }
        let (head, content) = part.split_once("\r\n\r\n").ok_or_else(|| wrong("a part without a head"))?;
        let content = content.strip_suffix("\r\n").unwrap_or(content);
        let range = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.trim().eq_ignore_ascii_case("content-range").then(|| value.trim())
        });
        if !range.is_some_and(|it| is_part(it, content.as_bytes(), known)) {
            return Err(wrong("bytes of another range"));
        }
        count += 1;
    };
    if is_closed && count == 2 { Ok(MultiRange::Parts) } else { Err(wrong(&format!("{count} parts"))) }
}

/// Are these the bytes that `bytes FIRST-LAST/SIZE` says?
fn is_part(content_range: &str, bytes: &[u8], known: &[u8]) -> bool {
    let parse = || {
        let (range, size) = content_range.strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        (size.parse() == Ok(known.len())).then(|| known.get(first..last.checked_add(1)?))?
    };
    parse().is_some_and(|it| it == bytes)
}
