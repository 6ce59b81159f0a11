//! Keeps what strangers typed from leading us into our own network.

use std::{
    future::Future,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::Pin,
    sync::Arc,
};

use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use super::host::Family;

/// How many redirects of a mirror are followed.
pub const REDIRECT_LIMIT: usize = 3;

/// Ports below 1024 that mirrors are visited at; others only if an operator lists them. Those from 1024 on are
/// free for all: no system service of a machine listens there by itself.
pub const WELL_KNOWN_PORTS: [u16; 3] = [80, 443, 873];

/// The first port that needs no permission.
pub const FIRST_FREE_PORT: u16 = 1024;

/// How a name is turned into addresses.
type Lookup = fn(String) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// Lets only public addresses through, and those of the networks an operator allows.
///
/// URL, redirects and every address that a name resolves to pass through it; a name is resolved once for a
/// connection and the address that was checked is the one that is dialled, so a name that changes its mind in
/// between gains nothing.
#[derive(Clone, Debug)]
pub struct Guard {
    allow: Arc<[IpNet]>,
    ports: Arc<[u16]>,
    trusted: Option<Arc<Trusted>>,
    lookup: Lookup,
}

/// A host that the user has named: wherever it is, it is asked.
#[derive(Debug)]
struct Trusted {
    host: Host,
    port: u16,
}

impl Default for Guard {
    fn default() -> Self {
        Self::new([])
    }
}

/// Why a URL or an address is not visited. The text is for the mirror's admin.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refusal {
    /// Neither HTTP nor HTTPS.
    #[error("its scheme `{0}` is neither http nor https")]
    Scheme(String),
    /// A user or password in the URL.
    #[error("its URL holds a login")]
    Credentials,
    /// No host in the URL.
    #[error("its URL has no host")]
    NoHost,
    /// An address that is not public and in no allowed network.
    #[error("its address {0} is not a public one")]
    Address(IpAddr),
    /// A public address where a host's name should be, in no allowed network.
    #[error("its URL has the address {0} instead of a host's name")]
    Literal(IpAddr),
    /// A port that is kept for other services.
    #[error("its port {0} is not one that mirrors are visited at")]
    Port(u16),
    /// A redirect away from TLS.
    #[error("it redirects from https to http")]
    Downgrade,
    /// A redirect to something that is no URL.
    #[error("it redirects to something that is no URL")]
    Redirect,
    /// More redirects than we follow.
    #[error("it redirects more than {REDIRECT_LIMIT} times")]
    Redirects,
    /// The name has no address of the family asked for.
    #[error("{0} has no {1} address")]
    Family(String, Family),
    /// The name has no address at all.
    #[error("{0} has no address: {1}")]
    Name(String, String),
}

impl Guard {
    /// A guard that lets through public addresses and `allow`.
    pub fn new(allow: impl IntoIterator<Item = IpNet>) -> Self {
        let allow = allow.into_iter().collect();
        Self { allow, ports: Arc::default(), trusted: None, lookup: |it| Box::pin(look_up(it)) }
    }

    /// The same, and these ports below [`FIRST_FREE_PORT`] beside [`WELL_KNOWN_PORTS`].
    pub fn with_ports(self, ports: impl IntoIterator<Item = u16>) -> Self {
        Self { ports: ports.into_iter().collect(), ..self }
    }

    /// The same, and the host of `url` at its port, whatever its address. A name is then asked at no other port.
    pub fn trusting(self, url: &Url) -> Self {
        let trusted = url.host().zip(url.port_or_known_default());
        let trusted = trusted.map(|(host, port)| Arc::new(Trusted { host: host.to_owned(), port }));
        Self { trusted, ..self }
    }

    /// Is it a URL of the host that the user has named?
    pub(super) fn is_trusted(&self, url: &Url) -> bool {
        let same = |it: &Arc<Trusted>| {
            url.host().is_some_and(|host| host == it.host) && url.port_or_known_default() == Some(it.port)
        };
        self.trusted.as_ref().is_some_and(same)
    }

    /// May this address be dialled?
    pub fn check_address(&self, address: IpAddr) -> Result<(), Refusal> {
        if self.is_listed(address) || is_public(address) { Ok(()) } else { Err(Refusal::Address(address)) }
    }

    /// May this URL be asked for, as far as its text tells? The URL parser has already turned the
    /// decimal, octal and hexadecimal forms of an address into the usual one.
    pub fn check_url(&self, url: &Url) -> Result<(), Refusal> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Refusal::Scheme(url.scheme().to_owned()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refusal::Credentials);
        }
        let host = url.host().ok_or(Refusal::NoHost)?;
        self.check_host(&host, url.port_or_known_default().unwrap_or_default())
    }

    /// May this host be asked at this port? An address in the place of a name passes only in an allowed
    /// network: certificates and moves need names.
    pub(super) fn check_host(&self, host: &Host<&str>, port: u16) -> Result<(), Refusal> {
        if let Some(trusted) = self.trusted.as_ref().filter(|it| *host == it.host) {
            match host {
                _ if port == trusted.port => return Ok(()),
                // Its address is not looked at, so that its other services must be safe from strangers' redirects.
                Host::Domain(_) => return Err(Refusal::Port(port)),
                Host::Ipv4(_) | Host::Ipv6(_) => {}
            }
        }
        match host {
            Host::Domain("") => return Err(Refusal::NoHost),
            Host::Domain(_) => {}
            Host::Ipv4(address) => self.check_literal((*address).into())?,
            Host::Ipv6(address) => self.check_literal((*address).into())?,
        }
        let is_open =
            port >= FIRST_FREE_PORT || WELL_KNOWN_PORTS.contains(&port) || self.ports.contains(&port);
        if is_open { Ok(()) } else { Err(Refusal::Port(port)) }
    }

    /// May we go on from the one URL to the other?
    pub(super) fn check_redirect(&self, from: &Url, to: &Url) -> Result<(), Refusal> {
        if from.scheme() == "https" && to.scheme() == "http" {
            return Err(Refusal::Downgrade);
        }
        self.check_url(to)
    }

    /// The addresses of a name that may be dialled, of one family; resolved anew with every call.
    pub(super) async fn resolve(&self, name: &str, family: Family) -> Result<Vec<SocketAddr>, Refusal> {
        let found = (self.lookup)(name.to_owned())
            .await
            .map_err(|error| Refusal::Name(name.to_owned(), error.to_string()))?;
        let found: Vec<_> = found.into_iter().filter(|it| family.includes(it.ip())).collect();
        let first = found.first().copied().ok_or_else(|| Refusal::Family(name.to_owned(), family))?;
        let is_trusted = self.trusted.as_ref().is_some_and(|it| it.host == Host::Domain(name));
        let passes = |it: &SocketAddr| is_trusted || self.check_address(it.ip()).is_ok();
        let passed: Vec<_> = found.into_iter().filter(passes).collect();
        if passed.is_empty() { Err(Refusal::Address(first.ip())) } else { Ok(passed) }
    }

    fn check_literal(&self, address: IpAddr) -> Result<(), Refusal> {
        self.check_address(address)?;
        if self.is_listed(address) { Ok(()) } else { Err(Refusal::Literal(address)) }
    }

    fn is_listed(&self, address: IpAddr) -> bool {
        let canonical = address.to_canonical();
        self.allow.iter().any(|it| it.contains(&canonical) || it.contains(&address))
    }
}

async fn look_up(name: String) -> io::Result<Vec<SocketAddr>> {
    Ok(tokio::net::lookup_host((name, 0)).await?.collect())
}

/// Is it global unicast, by IANA's special-purpose registries (RFC 6890)? Addresses that wrap an IPv4
/// address (mapped, NAT64, 6to4, Teredo) are not: no mirror needs one.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let special = address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation();
    let [a, b, c, _] = address.octets();
    let reserved = match (a, b, c) {
        (0, ..) | (240.., ..) => true,       // "this network"; reserved and broadcast
        (100, 64..=127, _) => true,          // shared by carriers (RFC 6598)
        (192, 0, 0) | (192, 88, 99) => true, // protocol assignments; 6to4 relays
        (198, 18..=19, _) => true,           // benchmarks (RFC 2544)
        _ => false,
    };
    !special && !reserved
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    let special = match (a, b) {
        (0x2001, ..=0x01ff) => true, // protocol assignments: Teredo, benchmarks, ORCHID
        (0x2001, 0x0db8) | (0x3fff, ..=0x0fff) => true, // documentation
        (0x2002, _) => true,         // 6to4
        _ => false,
    };
    // Only 2000::/3 is given out as global unicast (RFC 4291, section 2.4).
    a & 0xe000 == 0x2000 && !special
}

/// Resolves names for the HTTP client, and keeps only what guard and family let through.
pub(super) struct GuardedResolver {
    pub(super) guard: Guard,
    pub(super) family: Family,
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (guard, family) = (self.guard.clone(), self.family);
        Box::pin(async move {
            let passed = guard.resolve(name.as_str(), family).await?;
            Ok(Box::new(passed.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests;
