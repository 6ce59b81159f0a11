//! Keeps what strangers typed from leading us into our own network.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use ipnet::IpNet;
use reqwest::{
    dns::{Addrs, Name, Resolve, Resolving},
    redirect::Policy,
};
use url::{Host, Url};

use super::host::Family;

/// How many redirects of a mirror are followed.
pub const REDIRECT_LIMIT: usize = 3;

/// Lets only public addresses through, and those of the networks an operator allows.
///
/// URL, redirects and every address that a name resolves to pass through it; the address that was
/// checked is the one that is dialled, so a name that changes its mind in between gains nothing.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    allow: Arc<[IpNet]>,
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
    /// A redirect away from TLS.
    #[error("it redirects from https to http")]
    Downgrade,
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
        Self { allow: allow.into_iter().collect() }
    }

    /// May this address be dialled?
    pub fn check_address(&self, address: IpAddr) -> Result<(), Refusal> {
        let canonical = address.to_canonical();
        let is_allowed = self.allow.iter().any(|it| it.contains(&canonical) || it.contains(&address));
        if is_allowed || is_public(address) { Ok(()) } else { Err(Refusal::Address(address)) }
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
        match url.host() {
            None | Some(Host::Domain("")) => Err(Refusal::NoHost),
            Some(Host::Domain(_)) => Ok(()),
            Some(Host::Ipv4(address)) => self.check_address(address.into()),
            Some(Host::Ipv6(address)) => self.check_address(address.into()),
        }
    }

    /// Follows redirects under the same rules, and never away from TLS.
    pub(super) fn redirect_policy(&self) -> Policy {
        let guard = self.clone();
        Policy::custom(move |attempt| {
            let is_downgrade = attempt.url().scheme() == "http"
                && attempt.previous().last().is_some_and(|it| it.scheme() == "https");
            if attempt.previous().len() > REDIRECT_LIMIT {
                return attempt.error(Refusal::Redirects);
            }
            if is_downgrade {
                return attempt.error(Refusal::Downgrade);
            }
            match guard.check_url(attempt.url()) {
                Ok(()) => attempt.follow(),
                Err(refusal) => attempt.error(refusal),
            }
        })
    }
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

/// Resolves names by the system, and keeps only what guard and family let through.
pub(super) struct GuardedResolver {
    pub(super) guard: Guard,
    pub(super) family: Family,
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (guard, family) = (self.guard.clone(), self.family);
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0))
                .await
                .map_err(|error| Refusal::Name(name.as_str().to_owned(), error.to_string()))?;
            let found = found.filter(|it| family.includes(it.ip())).collect();
            let passed = passed(&guard, family, name.as_str(), found)?;
            Ok(Box::new(passed.into_iter()) as Addrs)
        })
    }
}

/// The addresses of a name that may be dialled; a refusal if there is none.
fn passed(
    guard: &Guard,
    family: Family,
    name: &str,
    found: Vec<SocketAddr>,
) -> Result<Vec<SocketAddr>, Refusal> {
    let first = found.first().copied().ok_or_else(|| Refusal::Family(name.to_owned(), family))?;
    let passed: Vec<_> = found.into_iter().filter(|it| guard.check_address(it.ip()).is_ok()).collect();
    if passed.is_empty() { Err(Refusal::Address(first.ip())) } else { Ok(passed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_text(guard: &Guard, text: &str) -> Result<(), String> {
        let url = Url::parse(text).map_err(|error| error.to_string())?;
        guard.check_url(&url).map_err(|error| error.to_string())
    }

    #[test]
    fn hostile_urls_are_refused() {
        for text in [
            "http://127.0.0.1/",
            "http://127.1/",
            "http://2130706433/",
            "http://0x7f000001/",
            "http://0x7f.1/",
            "http://017700000001/",
            "http://0177.0.0.1/",
            "http://0/",
            "http://0.0.0.0:80/",
            "http://10.0.0.1/",
            "http://172.16.0.1/",
            "http://172.31.255.255/",
            "http://192.168.1.1/",
            "http://169.254.169.254/",
            "http://100.64.0.1/",
            "http://100.127.255.255/",
            "http://192.0.0.8/",
            "http://192.0.2.1/",
            "http://198.18.0.1/",
            "http://198.19.255.255/",
            "http://198.51.100.1/",
            "http://203.0.113.1/",
            "http://192.88.99.1/",
            "http://224.0.0.1/",
            "http://239.255.255.255/",
            "http://240.0.0.1/",
            "http://255.255.255.255/",
            "http://１２７.0.0.1/",
            "http://127。0。0。1/",
            "http://[::1]/",
            "http://[::]/",
            "http://[::ffff:127.0.0.1]/",
            "http://[::ffff:7f00:1]/",
            "http://[::ffff:8.8.8.8]/",
            "http://[::127.0.0.1]/",
            "http://[64:ff9b::7f00:1]/",
            "http://[64:ff9b:1::1]/",
            "http://[2002:7f00:1::]/",
            "http://[2001::1]/",
            "http://[2001:db8::1]/",
            "http://[3fff::1]/",
            "http://[2001:2::1]/",
            "http://[fe80::1]/",
            "http://[fc00::1]/",
            "http://[fd00::1]/",
            "http://[ff02::1]/",
            "http://[100::1]/",
            "http://[5f00::1]/",
            "ftp://example.org/",
            "file:///etc/passwd",
            "gopher://example.org/",
            "http://user@example.org/",
            "http://:secret@example.org/",
            "data:,x",
        ] {
            check_text(&Guard::default(), text).expect_err(text);
        }
    }

    #[test]
    fn public_urls_pass() {
        for text in [
            "http://example.org/x",
            "https://8.8.8.8/",
            "https://[2a00:1450::1]/",
            "http://100.128.0.1/",
            "http://172.32.0.1/",
            "http://198.20.0.1/",
            "http://[2001:200::1]/",
            "http://[3fff:1000::1]/",
        ] {
            assert_eq!(check_text(&Guard::default(), text), Ok(()), "{text}");
        }
    }

    #[test]
    fn allowed_networks_pass_in_every_form() {
        let guard = Guard::new(["127.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()]);
        for text in
            ["http://127.0.0.1/", "http://2130706433/", "http://[::ffff:127.0.0.1]/", "http://[fd00::1]/"]
        {
            assert_eq!(check_text(&guard, text), Ok(()), "{text}");
        }
        check_text(&guard, "http://10.0.0.1/").expect_err("is in no allowed network");
    }

    #[test]
    fn a_name_keeps_only_its_public_addresses() {
        let address = |text: &str| SocketAddr::new(text.parse().unwrap(), 0);
        let found = vec![address("127.0.0.1"), address("8.8.8.8")];
        let kept = passed(&Guard::default(), Family::Any, "m", found).unwrap();
        assert_eq!(kept, [address("8.8.8.8")]);
        let refused = passed(&Guard::default(), Family::Any, "m", vec![address("127.0.0.1")]);
        assert_eq!(refused, Err(Refusal::Address("127.0.0.1".parse().unwrap())));
        let none = passed(&Guard::default(), Family::Ipv6, "m", vec![]);
        assert_eq!(none.unwrap_err().to_string(), "m has no IPv6 address");
    }
}
