//! HTTP by real `curl`, which trusts what the namespace trusts.

use std::path::Path;

use super::program::{command, finish};

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The first header of this name (lower case).
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("no JSON: {e}\n{}", self.text()))
    }
}

/// GET without following redirects; `None` when nobody answers.
pub(crate) fn try_get(url: &str, headers: &[&str]) -> Option<Answer> {
    request(url, headers, &[])
}

#[track_caller]
pub(crate) fn get(url: &str, headers: &[&str]) -> Answer {
    try_get(url, headers).unwrap_or_else(|| panic!("{url} does not answer"))
}

#[track_caller]
pub(crate) fn head(url: &str, headers: &[&str]) -> Answer {
    request(url, headers, &["--head"]).unwrap_or_else(|| panic!("{url} does not answer"))
}

/// Sends `body` by `method` and expects `status`.
#[track_caller]
pub(crate) fn send(method: &str, url: &str, media_type: &str, body: &[u8], status: u16) -> Answer {
    send_with(method, url, media_type, &[], body, status)
}

/// The same with more headers.
#[track_caller]
pub(crate) fn send_with(
    method: &str,
    url: &str,
    media_type: &str,
    headers: &[&str],
    body: &[u8],
    status: u16,
) -> Answer {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), body).expect("the body's file");
    let data = format!("@{}", path(file.path()));
    let header = format!("Content-Type: {media_type}");
    let headers: Vec<_> = headers.iter().copied().chain([header.as_str()]).collect();
    let answer = request(url, &headers, &["--request", method, "--data-binary", &data]);
    let answer = answer.unwrap_or_else(|| panic!("{url} does not answer"));
    assert_eq!(answer.status, status, "{method} {url}: {}", answer.text());
    answer
}

fn request(url: &str, headers: &[&str], arguments: &[&str]) -> Option<Answer> {
    let body = tempfile::NamedTempFile::new().expect("a temporary file");
    let mut curl = command("curl");
    curl.args(["--silent", "--show-error", "--max-time", "60", "--globoff", "--path-as-is", "--http1.1"]);
    curl.args(["--dump-header", "-", "--output", path(body.path())]).args(arguments);
    for header in headers {
        curl.args(["--header", header]);
    }
    curl.arg(url);
    let finished = finish(curl);
    if !finished.success() {
        return None;
    }
    let (status, headers) = parse_head(&finished.stdout);
    Some(Answer { status, headers, body: std::fs::read(body.path()).expect("the body") })
}

/// Reads the last head that curl printed (a 100 Continue comes before).
fn parse_head(text: &str) -> (u16, Vec<(String, String)>) {
    let mut status = 0;
    let mut headers = Vec::new();
    for line in text.lines() {
        if line.starts_with("HTTP/") {
            status = line.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status line");
            headers.clear();
        } else if let Some((name, value)) = line.split_once(':') {
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    (status, headers)
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}
