//! Who asks: the address, scheme and host name that a request really comes with.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use actix_web::http::header::{
    FORWARDED, HeaderMap, HeaderName, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO,
};
use ipnet::IpNet;

use super::config::ForwardedHeader;
use crate::mirror::Scheme;

/// More proxies in a row than this are a mistake or an attack.
const MOST_PROXIES: usize = 100;

/// Whom to believe.
#[derive(Clone, Debug)]
pub(super) struct Trust {
    pub(super) proxies: Vec<IpNet>,
    pub(super) header: ForwardedHeader,
}

/// Where a request comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) address: IpAddr,
    pub(super) scheme: Scheme,
    /// As the client wrote it, with the port if any; empty when it sent none.
    pub(super) host: String,
}

/// Why a trusted proxy is not understood.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PeerError {
    #[error("the proxy's forwarding header has an entry that is no address")]
    Address,
    #[error("the proxy's forwarding header names more than {MOST_PROXIES} proxies")]
    Proxies,
}

impl Peer {
    /// Can its host stand in a URL? Only the unusual ones need a parser.
    pub(super) fn is_named(&self) -> bool {
        let is_host = |byte: u8| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']')
        };
        let is_it = !self.host.is_empty() && self.host.bytes().all(is_host);
        is_it && (is_usual(&self.host) || url::Url::parse(&format!("http://{}/", self.host)).is_ok())
    }
}

/// Is this, of the bytes of a host, a name or IPv4 address that every URL takes, with or without a port? A name's last
/// part begins with a letter, so that it is no number, and no part of it is in Punycode.
fn is_usual(host: &str) -> bool {
    let (name, port) = host.split_once(':').unwrap_or((host, "0"));
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_name = last.starts_with(|it: char| it.is_ascii_alphabetic()) && !name.contains("--");
    port.parse::<u16>().is_ok() && !name.starts_with('[') && (is_name || name.parse::<Ipv4Addr>().is_ok())
}

impl Trust {
    pub(super) fn trusts(&self, address: IpAddr) -> bool {
        self.proxies.iter().any(|it| it.contains(&address.to_canonical()))
    }

    /// Finds out who asks. `direct` is how the connection itself came.
    ///
    /// The header is read from the right, for its left part is what the client wrote: the first
    /// address that is not a trusted proxy's is the client's. From anyone else it is ignored.
    pub(super) fn peer(&self, direct: Peer, headers: &HeaderMap) -> Result<Peer, PeerError> {
        if !self.trusts(direct.address) {
            return Ok(direct);
        }
        match self.header {
            ForwardedHeader::XForwardedFor => self.x_forwarded(direct, headers),
            ForwardedHeader::Forwarded => self.forwarded(direct, headers),
        }
    }

    fn x_forwarded(&self, direct: Peer, headers: &HeaderMap) -> Result<Peer, PeerError> {
        let last = |name| elements(headers, name).next();
        let scheme = last(X_FORWARDED_PROTO).and_then(scheme).unwrap_or(direct.scheme);
        let host = last(X_FORWARDED_HOST).map_or(direct.host, str::to_owned);
        let mut address = direct.address;
        for (count, element) in elements(headers, X_FORWARDED_FOR).enumerate() {
            address = self.next(element, count)?;
            if !self.trusts(address) {
                break;
            }
        }
        Ok(Peer { address, scheme, host })
    }

    /// RFC 7239, section 4: each proxy appends an element with what it knows of its client.
    fn forwarded(&self, direct: Peer, headers: &HeaderMap) -> Result<Peer, PeerError> {
        let mut peer = direct;
        for (count, element) in elements(headers, FORWARDED).enumerate() {
            let pairs = || element.split(';').filter_map(|it| it.trim().split_once('='));
            let value =
                |name: &str| pairs().find(|it| it.0.eq_ignore_ascii_case(name)).map(|it| unquote(it.1));
            peer.address = self.next(value("for").ok_or(PeerError::Address)?, count)?;
            peer.scheme = value("proto").and_then(scheme).unwrap_or(peer.scheme);
            peer.host = value("host").map_or(peer.host, str::to_owned);
            if !self.trusts(peer.address) {
                break;
            }
        }
        Ok(peer)
    }

    fn next(&self, element: &str, count: usize) -> Result<IpAddr, PeerError> {
        if count >= MOST_PROXIES {
            return Err(PeerError::Proxies);
        }
        address(element).ok_or(PeerError::Address)
    }
}

/// The elements of a comma-separated header, the last one first. One that is no text counts as empty.
fn elements(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let values: Vec<_> = headers.get_all(name).collect();
    values.into_iter().rev().flat_map(|it| it.to_str().unwrap_or_default().rsplit(',').map(str::trim))
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(text);
    let parsed = bare.parse::<IpAddr>().ok();
    parsed.or_else(|| text.parse::<SocketAddr>().ok().map(|it| it.ip())).map(|it| it.to_canonical())
}

fn scheme(text: &str) -> Option<Scheme> {
    match text {
        "https" => Some(Scheme::Https),
        "http" => Some(Scheme::Http),
        _ => None,
    }
}

fn unquote(text: &str) -> &str {
    text.strip_prefix('"').and_then(|it| it.strip_suffix('"')).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    proptest::proptest! {
        #[test]
        fn every_url_takes_what_is_usual(host in "[a-zA-Z0-9._:-]{1,12}|([a-z0-9x-]{0,5}\\.){0,3}[a-z0-9]{0,3}(:[0-9]{0,6})?") {
            let takes = !host.is_empty() && url::Url::parse(&format!("https://{host}/x?y")).is_ok();
            proptest::prop_assert!(!is_usual(&host) || takes, "{host}");
            let peer = Peer { host: host.clone(), ..direct("192.0.2.1") };
            proptest::prop_assert_eq!(peer.is_named(), takes, "{}", host);
        }
    }

    #[test]
    fn usual_hosts_need_no_parser() {
        for host in ["registry.example.org", "a_b", "127.0.0.1:5000", "EU.test:443"] {
            assert!(is_usual(host), "{host}");
        }
        for host in ["", "1.2.3.4.5", "0x7f", "a:65536", "xn--a", "[::1]", "a:b", "a:", ":1", "a.1"] {
            assert!(!is_usual(host), "{host}");
        }
    }

    fn direct(address: &str) -> Peer {
        Peer { address: address.parse().unwrap(), scheme: Scheme::Http, host: "own".to_owned() }
    }

    fn ask(header: ForwardedHeader, from: &str, headers: &[(&str, &str)]) -> Result<Peer, PeerError> {
        let trust =
            Trust { proxies: vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()], header };
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(
                name.parse::<HeaderName>().unwrap(),
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            );
        }
        trust.peer(direct(from), &map)
    }

    #[track_caller]
    fn check(headers: &[(&str, &str)], expected: &str) {
        let found = ask(ForwardedHeader::XForwardedFor, "10.0.0.1", headers).map(|it| it.address.to_string());
        assert_eq!(found.unwrap_or_else(|error| error.to_string()), expected);
    }

    #[test]
    fn the_right_most_untrusted_address_is_the_client() {
        check(&[], "10.0.0.1");
        check(&[("x-forwarded-for", "192.0.2.1")], "192.0.2.1");
        check(&[("x-forwarded-for", "6.6.6.6, 192.0.2.1")], "192.0.2.1");
        check(&[("x-forwarded-for", "6.6.6.6,192.0.2.1,10.2.3.4")], "192.0.2.1");
        check(&[("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "192.0.2.1, fd00::1")], "192.0.2.1");
        check(&[("x-forwarded-for", "not an address, 192.0.2.1")], "192.0.2.1");
        check(&[("x-forwarded-for", "::ffff:192.0.2.1")], "192.0.2.1");
        check(&[("x-forwarded-for", "[2001:db8::1]:443")], "2001:db8::1");
        check(&[("x-forwarded-for", "10.9.9.9, 10.2.3.4")], "10.9.9.9");
        check(&[("forwarded", "for=6.6.6.6"), ("x-forwarded-for", "192.0.2.1")], "192.0.2.1");
        check(&[("forwarded", "for=6.6.6.6")], "10.0.0.1");
    }

    #[test]
    fn a_proxy_that_is_not_understood_is_an_error() {
        let proxies = vec!["10.1.1.1"; 10_000].join(", ");
        let text = PeerError::Address.to_string();
        check(&[("x-forwarded-for", "unknown")], &text);
        check(&[("x-forwarded-for", "")], &text);
        check(&[("x-forwarded-for", "ü")], &text);
        check(&[("x-forwarded-for", &proxies)], &PeerError::Proxies.to_string());
        check(&[("x-forwarded-for", &vec!["192.0.2.1"; 10_000].join(", "))], "192.0.2.1");
    }

    #[test]
    fn nobody_else_is_believed() {
        let headers =
            [("x-forwarded-for", "192.0.2.1"), ("x-forwarded-proto", "https"), ("x-forwarded-host", "x")];
        assert_eq!(ask(ForwardedHeader::XForwardedFor, "192.0.2.99", &headers), Ok(direct("192.0.2.99")));
    }

    #[test]
    fn scheme_and_host_come_from_the_same_proxy() {
        let headers = [
            ("x-forwarded-for", "192.0.2.1"),
            ("x-forwarded-proto", "http, https"),
            ("x-forwarded-host", "evil, registry.example.org"),
        ];
        let expected = Peer {
            address: "192.0.2.1".parse().unwrap(),
            scheme: Scheme::Https,
            host: "registry.example.org".to_owned(),
        };
        assert_eq!(ask(ForwardedHeader::XForwardedFor, "10.0.0.1", &headers), Ok(expected.clone()));
        let forwarded =
            "for=6.6.6.6, for=\"192.0.2.1:4711\";Proto=https;host=registry.example.org, for=10.0.0.7";
        let headers = [("forwarded", forwarded), ("x-forwarded-for", "7.7.7.7")];
        assert_eq!(ask(ForwardedHeader::Forwarded, "10.0.0.1", &headers), Ok(expected));
        let hidden = [("forwarded", "for=_hidden")];
        assert_eq!(ask(ForwardedHeader::Forwarded, "10.0.0.1", &hidden), Err(PeerError::Address));
    }
}
