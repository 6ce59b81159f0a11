//! Requests: by a client library, and byte by byte for what a library refuses to send.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use portolan::server::Addresses;
use reqwest::{Method, header::HeaderMap, redirect::Policy};

/// No answer takes so long.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Asks one server.
pub(crate) struct Http {
    runtime: tokio::runtime::Runtime,
    client: reqwest::Client,
    pub(crate) url: String,
    pub(crate) management: String,
}

/// An answer, with its whole body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// A header; empty if it is not there.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |it| it.to_str().unwrap())
    }

    /// All headers of one name.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.headers.get_all(name).iter().map(|it| it.to_str().unwrap()).collect()
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// It is this error, in the specification's form.
    #[track_caller]
    pub(crate) fn assert_error(&self, status: u16, code: &str) {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), "application/json");
        let body = self.json();
        assert_eq!(body["errors"][0]["code"], code, "{body}");
        assert!(!body["errors"][0]["message"].as_str().unwrap().is_empty(), "{body}");
    }

    /// The parts of `multipart/byteranges`: the Content-Range of each, and its bytes.
    pub(crate) fn parts(&self) -> Vec<(String, Vec<u8>)> {
        let boundary = self.header("content-type").strip_prefix("multipart/byteranges; boundary=").unwrap();
        let delimiter = format!("\r\n--{boundary}").into_bytes();
        let mut rest = &self.body[..];
        let mut parts = Vec::new();
        loop {
            let at = find(rest, &delimiter).unwrap();
            let part = &rest[..at];
            if !part.is_empty() {
                let head = find(part, b"\r\n\r\n").unwrap();
                let text = std::str::from_utf8(&part[..head]).unwrap();
                let range = text.lines().find_map(|it| it.strip_prefix("Content-Range: ")).unwrap();
                parts.push((range.to_owned(), part[head + 4..].to_vec()));
            }
            rest = &rest[at + delimiter.len()..];
            if rest == b"--\r\n" {
                return parts;
            }
        }
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|it| it == wanted)
}

/// An address that no other test, and no other call, has: clients are remembered.
pub(crate) fn new_client() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("10.{}.{}.1", number / 256, number % 256)
}

impl Http {
    pub(crate) fn new(addresses: &Addresses) -> Self {
        Self { management: addresses.management.clone(), ..Self::at(&addresses.listening[0]) }
    }

    /// For a server at this base URL that has no management address.
    pub(crate) fn at(url: &str) -> Self {
        portolan::connector::install_cryptography();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let client = reqwest::Client::builder().no_proxy().redirect(Policy::none()).timeout(TIMEOUT);
        Self { runtime, client: client.build().unwrap(), url: url.to_owned(), management: String::new() }
    }

    pub(crate) fn send(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.fetch(method, &format!("{}{path}", self.url), headers)
    }

    pub(crate) fn fetch(&self, method: Method, url: &str, headers: &[(&str, &str)]) -> Answer {
        self.finish(self.client.request(method, url), headers)
    }

    pub(crate) fn send_body(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let url = format!("{}{path}", self.url);
        self.finish(self.client.request(method, url).body(body.to_owned()), headers)
    }

    fn finish(&self, mut request: reqwest::RequestBuilder, headers: &[(&str, &str)]) -> Answer {
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.runtime.block_on(async {
            let response = request.send().await.unwrap();
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            Answer { status, headers, body: response.bytes().await.unwrap().to_vec() }
        })
    }

    pub(crate) fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(Method::GET, path, headers)
    }

    pub(crate) fn head(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(Method::HEAD, path, headers)
    }

    /// As a client at this address.
    pub(crate) fn get_as(&self, address: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.get(path, &[headers, &[("x-forwarded-for", address)]].concat())
    }

    /// Sends a GET with exactly this target and these header lines: status and body of the answer.
    pub(crate) fn raw_get(&self, target: &[u8], headers: &[u8]) -> (u16, String) {
        self.raw(&[b"GET ", target, b" HTTP/1.1\r\nHost: raw.test\r\n", headers].concat())
    }

    /// Sends these lines, and the end of a head.
    pub(crate) fn raw(&self, head: &[u8]) -> (u16, String) {
        let mut socket = TcpStream::connect(self.url.strip_prefix("http://").unwrap()).unwrap();
        socket.set_read_timeout(Some(TIMEOUT)).unwrap();
        // Who refuses what it has read so far need not read the rest.
        let _ = socket.write_all(&[head, b"Connection: close\r\n\r\n"].concat());
        let mut bytes = Vec::new();
        let ended = socket.read_to_end(&mut bytes);
        let text = String::from_utf8_lossy(&bytes);
        let status = text.split(' ').nth(1).and_then(|it| it.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no answer: {ended:?}, {text:?}"));
        (status, text.split_once("\r\n\r\n").map_or("", |it| it.1).to_owned())
    }
}
