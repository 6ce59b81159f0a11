//! A mirror that misbehaves in ways that nginx cannot: cuts bodies, sends wrong bytes, lies about sizes.

use std::fs;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::namespace::Namespace;
use super::server::{Cut, Point, Reply, Request, Server};

/// What is wrong with blobs (nothing else is touched).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// The body ends after so many bytes.
    Cut(usize, Cut),
    /// The connection ends, or hangs, when the request was read.
    NoAnswer(Cut),
    /// Good to the crawler; for all others the body stalls after so many bytes.
    StallForClients(usize),
    /// One bit of every blob of this size or more is flipped.
    WrongBytes(usize),
    /// Every blob of this size or more is one byte longer.
    WrongSize(usize),
}

/// Serves [`Faulty::root`] by HTTPS.
pub(crate) struct Faulty {
    root: PathBuf,
    fault: Arc<Mutex<Fault>>,
    server: Server,
}

impl Faulty {
    /// Starts a mirror at the IPv4 address of the host name `name`.
    pub(crate) fn start(namespace: &Namespace, name: &str) -> Faulty {
        let root = namespace.folder.join(name).join("root");
        fs::create_dir_all(&root).expect("the mirror's folder");
        let fault = Arc::new(Mutex::new(Fault::None));
        let identity = namespace.authority.issue(&[name]);
        let (folder, current) = (root.clone(), fault.clone());
        let mut addresses = format!("{name}:443").to_socket_addrs().expect("the mirror's address");
        let address = addresses.find(SocketAddr::is_ipv4).expect("an IPv4 address").to_string();
        let server = Server::start(&address, Some(&identity), move |request| {
            answer(&folder, request, *current.lock().expect("the fault"))
        });
        Faulty { root, fault, server }
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.root.clone()
    }

    /// From now on goes wrong like this.
    pub(crate) fn set(&self, fault: Fault) {
        *self.fault.lock().expect("the fault") = fault;
    }

    pub(crate) fn server(&self) -> &Server {
        &self.server
    }
}

fn answer(root: &Path, request: &Request, fault: Fault) -> Reply {
    let Ok(mut body) = fs::read(root.join(request.path.trim_start_matches('/'))) else {
        return Reply::new(404, "text/plain", "not found");
    };
    let is_blob = request.path.contains("/blobs/");
    match fault {
        Fault::WrongBytes(least) if is_blob && body.len() >= least => body[0] ^= 1,
        Fault::WrongSize(least) if is_blob && body.len() >= least => body.push(0),
        _ => {}
    }
    let mut reply = serve_range(request.range.as_deref(), body);
    reply.cut = match fault {
        Fault::Cut(after, how) => Some((Point::Body(after), how)),
        Fault::NoAnswer(how) => Some((Point::Start, how)),
        Fault::StallForClients(after) if !request.agent.starts_with("portolan/") => {
            Some((Point::Body(after), Cut::Stall))
        }
        _ => None,
    }
    .filter(|_| is_blob);
    reply
}

/// The whole body, or the one range that was asked for; several ranges are ignored, as a server may.
fn serve_range(range: Option<&str>, body: Vec<u8>) -> Reply {
    let wanted = range.and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
    let Some((first, last)) = wanted.filter(|(first, last)| !first.is_empty() && !last.contains(',')) else {
        return Reply::new(200, "application/octet-stream", body).header("Accept-Ranges", "bytes");
    };
    let first: usize = first.parse().expect("a number");
    let last = last.parse().unwrap_or(usize::MAX).min(body.len() - 1);
    let content_range = format!("bytes {first}-{last}/{}", body.len());
    Reply::new(206, "application/octet-stream", &body[first..=last]).header("Content-Range", content_range)
}
