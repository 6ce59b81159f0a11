//! The HTTPS proxy for dockerd: `CONNECT` (RFC 9110, section 9.3.6). Connections to our registries go to our own
//! listener, which has a certificate for them; all others are handed on without a look at what they carry.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};

use super::{counters::count, store::Store};
use crate::puller::RegistryName;

/// Connections at once; more wait.
const CONNECTIONS: usize = 512;

/// The longest head of a request, in bytes.
const HEAD_LIMIT: usize = 8 * 1024;

/// A client has so long to send it, and a host to take a connection.
const PATIENCE: Duration = Duration::from_secs(15);

/// How long to wait when the system has no more connections to give.
const PAUSE: Duration = Duration::from_millis(100);

/// What a proxy must know.
pub(super) struct Proxy {
    /// Those whose connections are ours.
    pub(super) registries: Vec<RegistryName>,
    /// Our listener with TLS.
    pub(super) secure: SocketAddr,
    pub(super) store: Arc<Store>,
}

impl Proxy {
    /// Takes connections for ever.
    pub(super) async fn run(self, listener: TcpListener) {
        let (proxy, permits) = (Arc::new(self), Arc::new(Semaphore::new(CONNECTIONS)));
        loop {
            let permit = permits.clone().acquire_owned().await.expect("it is never closed");
            match listener.accept().await {
                Ok((client, _)) => {
                    let proxy = proxy.clone();
                    tokio::spawn(async move {
                        if let Err(error) = proxy.serve(client).await {
                            tracing::debug!(%error, "a connection through the proxy ended");
                        }
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the proxy cannot take a connection");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        let head = timeout(PATIENCE, read_head(&mut client)).await??;
        let Some((host, port)) = parse_connect(&head) else {
            let refusal = "HTTP/1.1 405 Method Not Allowed\r\nAllow: CONNECT\r\nContent-Length: 0\r\n\r\n";
            return client.write_all(refusal.as_bytes()).await;
        };
        let is_ours = self.registries.iter().any(|it| it.is_at(host, port));
        let connected = if is_ours {
            TcpStream::connect(self.secure).await
        } else {
            count(&self.store.counters.tunnels);
            timeout(PATIENCE, TcpStream::connect((host, port))).await.map_err(io::Error::from).flatten()
        };
        let mut server = match connected {
            Ok(server) => server,
            Err(error) => {
                client.write_all(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n").await?;
                return Err(error);
            }
        };
        client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
        copy_bidirectional(&mut client, &mut server).await.map(|_| ())
    }
}

/// Up to the empty line, byte by byte: what follows belongs to the tunnel.
async fn read_head(client: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= HEAD_LIMIT {
            return Err(io::Error::other("the head of the request is too long"));
        }
        head.push(client.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// Host and port of `CONNECT host:port HTTP/1.1`.
fn parse_connect(head: &str) -> Option<(&str, u16)> {
    let mut words = head.lines().next()?.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    let (host, port) = target.rsplit_once(':').filter(|_| method == "CONNECT")?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Some((host, port.parse().ok()?)).filter(|it| !it.0.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_connect_is_understood() {
        #[track_caller]
        fn check(head: &str, expected: Option<(&str, u16)>) {
            assert_eq!(parse_connect(head), expected, "{head}");
        }
        check("CONNECT registry.test:443 HTTP/1.1\r\nHost: x\r\n\r\n", Some(("registry.test", 443)));
        check("CONNECT [::1]:8443 HTTP/1.1\r\n\r\n", Some(("::1", 8443)));
        check("CONNECT registry.test HTTP/1.1\r\n\r\n", None);
        check("CONNECT :443 HTTP/1.1\r\n\r\n", None);
        check("CONNECT a:99999 HTTP/1.1\r\n\r\n", None);
        check("GET http://registry.test:80/ HTTP/1.1\r\n\r\n", None);
        check("", None);
    }
}
