//! A small HTTP server that can misbehave on purpose, for what nginx and docker-registry are too well bred to do.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::ca::Identity;

/// How long a client may keep us waiting.
const PATIENCE: Duration = Duration::from_secs(10);

/// A request and how it was answered.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    /// Header `Range`, if any.
    pub(crate) range: Option<String>,
    /// Header `Authorization`, if any.
    pub(crate) authorization: Option<String>,
    /// Header `User-Agent`, or nothing.
    pub(crate) agent: String,
    /// What was posted.
    pub(crate) body: Vec<u8>,
    /// The status that was sent.
    pub(crate) status: u16,
}

/// What to answer.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    /// The answer ends here although Content-Length promises it whole.
    pub(crate) cut: Option<(Point, Cut)>,
}

/// Where an answer ends too early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub(crate) enum Point {
    /// Before its first byte.
    Start,
    /// After so many bytes of the body.
    Body(usize),
}

/// How a connection is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The end of the stream (without TLS's close_notify).
    Fin,
    /// A reset.
    Rst,
    /// Nothing: the connection stays open until the client closes it.
    Stall,
}

impl Reply {
    pub(crate) fn new(status: u16, media_type: &str, body: impl Into<Vec<u8>>) -> Reply {
        Reply { status, headers: vec![("Content-Type", media_type.to_owned())], body: body.into(), cut: None }
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Reply {
        self.headers.push((name, value.into()));
        self
    }
}

/// A server that runs until it is dropped.
pub(crate) struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens at `address` (`name:port`), with TLS when there is an `identity`; one request per connection.
    pub(crate) fn start<F>(address: &str, identity: Option<&Identity>, answer: F) -> Server
    where
        F: Fn(&Request) -> Reply + Send + Sync + 'static,
    {
        let address = address.to_socket_addrs().expect("an address").next().expect("an address");
        let listener = TcpListener::bind(address).unwrap_or_else(|e| panic!("{address}: {e}"));
        let tls = identity.map(|identity| Arc::new(tls_config(identity)));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let ending = Arc::new(AtomicBool::new(false));
        let (log, end, answer) = (requests.clone(), ending.clone(), Arc::new(answer));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().take_while(|_| !end.load(Ordering::SeqCst)) {
                let (log, answer, tls) = (log.clone(), answer.clone(), tls.clone());
                let Ok(stream) = stream else { continue };
                // A client that goes away in the middle is no fault of the test.
                std::thread::spawn(move || serve(stream, tls, &log, answer.as_ref()).ok());
            }
        });
        Server { address, requests, ending, thread: Some(thread) }
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("the log").clone()
    }

    pub(crate) fn forget_requests(&self) {
        self.requests.lock().expect("the log").clear();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::SeqCst);
        TcpStream::connect(self.address).ok(); // wakes the listener
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn serve<F>(
    stream: TcpStream,
    tls: Option<Arc<ServerConfig>>,
    log: &Mutex<Vec<Request>>,
    answer: &F,
) -> io::Result<()>
where
    F: Fn(&Request) -> Reply,
{
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let raw = stream.try_clone()?;
    let cut = match tls {
        None => converse(stream, log, answer)?,
        Some(config) => {
            let connection = ServerConnection::new(config).map_err(io::Error::other)?;
            converse(StreamOwned::new(connection, stream), log, answer)?
        }
    };
    match cut {
        // A linger time of zero makes the close a reset.
        Some(Cut::Rst) => socket2::SockRef::from(&raw).set_linger(Some(Duration::ZERO))?,
        Some(Cut::Stall) => {
            raw.set_read_timeout(None)?;
            io::copy(&mut &raw, &mut io::sink())?;
        }
        Some(Cut::Fin) | None => {}
    }
    Ok(())
}

/// Reads one request and answers it; says whether the answer was cut.
fn converse<S, F>(stream: S, log: &Mutex<Vec<Request>>, answer: &F) -> io::Result<Option<Cut>>
where
    S: Read + Write,
    F: Fn(&Request) -> Reply,
{
    let mut stream = BufReader::new(stream);
    let mut request = read_request(&mut stream)?;
    let reply = answer(&request);
    request.status = reply.status;
    let is_head = request.method == "HEAD";
    log.lock().expect("the log").push(request);
    if let Some((Point::Start, how)) = reply.cut {
        return Ok(Some(how));
    }
    let stream = stream.get_mut();
    write!(stream, "HTTP/1.1 {} Whatever\r\nConnection: close\r\n", reply.status)?;
    write!(stream, "Content-Length: {}\r\n", reply.body.len())?;
    for (name, value) in &reply.headers {
        write!(stream, "{name}: {value}\r\n")?;
    }
    write!(stream, "\r\n")?;
    if is_head {
        stream.flush()?;
        return Ok(None);
    }
    let Some((Point::Body(end), how)) = reply.cut.filter(|(at, _)| *at < Point::Body(reply.body.len()))
    else {
        stream.write_all(&reply.body)?;
        stream.flush()?;
        return Ok(None);
    };
    stream.write_all(&reply.body[..end])?;
    stream.flush()?;
    // Lets what was sent arrive before the reset throws it away.
    std::thread::sleep(Duration::from_millis(200));
    Ok(Some(how))
}

fn read_request(stream: &mut impl BufRead) -> io::Result<Request> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let mut words = line.split(' ');
    let (Some(method), Some(path)) = (words.next(), words.next()) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let (method, path) = (method.to_owned(), path.to_owned());
    let (agent, body) = (String::new(), Vec::new());
    let mut request = Request { method, path, range: None, authorization: None, agent, body, status: 0 };
    let mut length = 0;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 || line == "\r\n" {
            stream.take(length).read_to_end(&mut request.body)?;
            return Ok(request);
        }
        let Some((name, value)) = line.split_once(':') else { continue };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().map_err(io::Error::other)?,
            "range" => request.range = Some(value.trim().to_owned()),
            "user-agent" => request.agent = value.trim().to_owned(),
            "authorization" => request.authorization = Some(value.trim().to_owned()),
            _ => {}
        }
    }
}

fn tls_config(identity: &Identity) -> ServerConfig {
    let chain = CertificateDer::pem_file_iter(&identity.certificate).expect("a certificate's file");
    let chain = chain.collect::<Result<Vec<_>, _>>().expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(&identity.key).expect("a key");
    ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider knows TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a certificate and its key")
}
