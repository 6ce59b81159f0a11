//! A small web server on loopback, whose answers a test gives by a function.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// One request as it came in; header names are lower-case, `path` has the query.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    #[cfg_attr(not(feature = "oidc"), expect(dead_code, reason = "only forms have one that is looked at"))]
    pub(crate) body: String,
}

/// One answer; Content-Length is that of the body unless it is chunked, also when it is cut.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    cut: Option<usize>,
    stalls: bool,
    hangs: bool,
    endless: bool,
    drips: bool,
    padding: usize,
    wait: Duration,
}

impl Answer {
    pub(crate) fn new(status: u16, body: &[u8]) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.to_vec(),
            cut: None,
            stalls: false,
            hangs: false,
            endless: false,
            drips: false,
            padding: 0,
            wait: Duration::ZERO,
        }
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Breaks the connection after so many bytes of the body.
    pub(crate) fn cut(mut self, bytes: usize) -> Self {
        self.cut = Some(bytes);
        self
    }

    /// Sends so many bytes of the body, and then nothing.
    pub(crate) fn stall(mut self, bytes: usize) -> Self {
        (self.cut, self.stalls) = (Some(bytes), true);
        self
    }

    /// Answers after this time. It holds up nothing else, which a thread that sleeps would.
    pub(crate) fn after(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// Never answers.
    pub(crate) fn hang(mut self) -> Self {
        self.hangs = true;
        self
    }

    /// Sends one byte a second, from the first one on.
    pub(crate) fn drip(mut self) -> Self {
        self.drips = true;
        self
    }

    /// Sends one header of so many bytes before the others.
    pub(crate) fn pad(mut self, bytes: usize) -> Self {
        self.padding = bytes;
        self
    }

    /// Sends the body again and again, without a length.
    pub(crate) fn endless(mut self) -> Self {
        self.endless = true;
        self
    }
}

type Respond = dyn Fn(&Request) -> Answer + Send + Sync;

/// Runs until it is dropped.
pub(crate) struct Server {
    url: String,
    requests: Arc<Mutex<Vec<Request>>>,
    task: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start(respond: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let respond: Arc<Respond> = Arc::new(respond);
        let task = tokio::spawn({
            let requests = requests.clone();
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(serve(stream, respond.clone(), requests.clone()));
                }
            }
        });
        Self { url, requests, task }
    }

    /// `http://127.0.0.1:PORT`
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// All requests so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(stream: TcpStream, respond: Arc<Respond>, requests: Arc<Mutex<Vec<Request>>>) {
    let mut stream = BufReader::new(stream);
    let Some(request) = read_request(&mut stream).await else { return };
    requests.lock().unwrap().push(request.clone());
    let answer = respond(&request);
    tokio::time::sleep(answer.wait).await;
    if answer.hangs {
        return std::future::pending().await;
    }
    if answer.padding > 0 {
        let _ = stream.write_all(b"HTTP/1.1 200 X\r\nx: ").await;
        let chunk = vec![b'x'; 64 * 1024];
        for _ in 0..answer.padding / chunk.len() {
            if stream.write_all(&chunk).await.is_err() {
                return;
            }
        }
    }
    let mut head = format!("HTTP/1.1 {} X\r\nconnection: close\r\n", answer.status);
    if !answer.endless {
        head += &format!("content-length: {}\r\n", answer.body.len());
    }
    for (name, value) in &answer.headers {
        head += &format!("{name}: {value}\r\n");
    }
    let sent = answer.cut.unwrap_or(answer.body.len());
    let body = if request.method == "HEAD" { &[] } else { &answer.body[..sent] };
    if answer.drips {
        for byte in head.bytes().chain(*b"\r\n").chain(body.iter().copied()) {
            if stream.write_all(&[byte]).await.is_err() || stream.flush().await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
    // The other side may have seen enough and gone.
    let _ = stream.write_all(format!("{head}\r\n").as_bytes()).await;
    while stream.write_all(body).await.is_ok() && answer.endless && !body.is_empty() {}
    if answer.stalls && !body.is_empty() {
        return std::future::pending().await;
    }
    let _ = stream.shutdown().await;
}

async fn read_request(stream: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut lines = (&mut *stream).lines();
    let line = lines.next_line().await.ok()??;
    let mut words = line.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    while let Some(line) = lines.next_line().await.ok()?.filter(|it| !it.is_empty()) {
        let (name, value) = line.split_once(':')?;
        headers
            .entry(name.to_lowercase())
            .and_modify(|it: &mut String| *it += &format!(", {}", value.trim()))
            .or_insert_with(|| value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|it| it.parse().ok()).unwrap_or_default();
    let mut body = String::new();
    stream.take(length).read_to_string(&mut body).await.ok()?;
    Some(Request { method, path, headers, body })
}
