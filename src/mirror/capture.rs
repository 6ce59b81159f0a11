//! What draws clients to a host who would go elsewhere, so that an operator has to agree to it.

use std::{fmt, net::IpAddr};

use super::{Asn, Bandwidth, CategoryName, HostUrl, Netblock};

/// What is wished for a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// To serve the clients of a network first.
    Netblock(Netblock),
    /// To stand in an autonomous system, and serve its clients first.
    Asn(Asn),
    /// To serve the clients of another autonomous system first.
    PeerAsn(Asn),
    /// To count as a host that can send so much.
    Bandwidth(Bandwidth),
    /// To carry a category under one more URL.
    Url(CategoryName, HostUrl),
}

impl Wish {
    /// What kind of wish it is, in one word, and of what: as they stand in the database.
    pub fn to_words(&self) -> (&'static str, String) {
        match self {
            Self::Netblock(netblock) => ("netblock", netblock.to_string()),
            Self::Asn(asn) => ("asn", asn.number().to_string()),
            Self::PeerAsn(asn) => ("peer-asn", asn.number().to_string()),
            Self::Bandwidth(bandwidth) => ("bandwidth", bandwidth.megabits().to_string()),
            Self::Url(category, url) => ("url", format!("{category} {url}")),
        }
    }

    /// The wish of these words; `None` if they say none.
    pub fn from_words(kind: &str, value: &str) -> Option<Self> {
        Some(match kind {
            "netblock" => Self::Netblock(value.parse().ok()?),
            "asn" => Self::Asn(value.parse().ok()?),
            "peer-asn" => Self::PeerAsn(value.parse().ok()?),
            "bandwidth" => Self::Bandwidth(value.parse().ok()?),
            "url" => {
                let (category, url) = value.split_once(' ')?;
                Self::Url(category.parse().ok()?, url.parse().ok()?)
            }
            _ => return None,
        })
    }
}

impl fmt::Display for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Netblock(netblock) => write!(f, "the network {netblock}"),
            Self::Asn(asn) => write!(f, "to stand in AS {}", asn.number()),
            Self::PeerAsn(asn) => write!(f, "the clients of AS {}", asn.number()),
            Self::Bandwidth(bandwidth) => write!(f, "{} Mbit/s", bandwidth.megabits()),
            Self::Url(category, url) => write!(f, "{url} for {category}"),
        }
    }
}

/// The widest network that a host may name without an operator: `/16`, and `/32` of IPv6.
const WIDEST: (u8, u8) = (16, 32);

/// Networks that a site's hosts have together without an operator: else many small ones were as good as a wide one.
const MOST_NETWORKS: usize = 8;

/// So far back it is counted how many networks an account named, whatever site they are of: 30 days.
pub const MEASURED: jiff::SignedDuration = jiff::SignedDuration::from_hours(30 * 24);

/// The most that a host may say of itself without an operator, in Mbit/s.
const LOUDEST: u32 = 10_000;

/// Why an operator has to agree to one more network of a site's host; `None` if they need not. `own` are the networks of the
/// site's hosts, `others` those of all other sites'.
pub fn of_netblock(netblock: &Netblock, own: &[Netblock], others: &[Netblock]) -> Option<String> {
    let network = netblock.network();
    let widest = if network.addr().is_ipv4() { WIDEST.0 } else { WIDEST.1 };
    if network.prefix_len() < widest {
        return Some(format!("a network wider than /{widest}"));
    }
    let overlaps = |it: &&Netblock| {
        let other = it.network();
        other.contains(&network) || network.contains(&other)
    };
    let other = others.iter().find(overlaps);
    let most = own.len() >= MOST_NETWORKS && !own.contains(netblock);
    other
        .map(|it| format!("it overlaps {it}, a network of another site's host"))
        .or(most.then(|| format!("the site has {} networks already", own.len())))
}

/// Why an operator has to agree to one more network of an account that has named so many of late: sites are made and given
/// away with ease.
pub fn of_many(named: i64) -> Option<String> {
    let is_many = usize::try_from(named).is_ok_and(|it| it >= MOST_NETWORKS);
    is_many.then(|| format!("the account has named {named} networks in 30 days"))
}

/// Why an operator has to agree to a bandwidth.
pub fn of_bandwidth(bandwidth: Bandwidth) -> Option<String> {
    (bandwidth.megabits() > LOUDEST).then(|| format!("more than {LOUDEST} Mbit/s"))
}

/// May a network be that of a host that all the world sees? Networks that stand in many places at once (RFC 1918, RFC
/// 4193, RFC 6598; loopback, link-local, NAT64) are for private hosts only.
pub fn is_one_place(netblock: &Netblock) -> bool {
    match netblock.network().addr() {
        IpAddr::V4(address) => {
            let [first, second, ..] = address.octets();
            let is_shared = (first, second & 0xc0) == (100, 64);
            let is_own = address.is_private() || address.is_loopback() || address.is_link_local();
            let is_special = address.is_multicast() || first == 0 || first >= 240;
            !(is_own || is_shared || is_special)
        }
        IpAddr::V6(address) => {
            let is_nat64 = address.segments()[..2] == [0x64, 0xff9b];
            let is_local = address.is_unique_local() || address.is_unicast_link_local();
            let is_special = address.is_loopback() || address.is_unspecified() || address.is_multicast();
            !(is_nat64 || is_local || is_special)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn netblock(text: &str) -> Netblock {
        text.parse().unwrap()
    }

    #[test]
    fn wide_networks_and_those_of_others_need_an_operator() {
        for (text, reason) in [
            ("192.0.0.0/15", "a network wider than /16"),
            ("2001::/31", "a network wider than /32"),
            ("198.51.100.0/25", "it overlaps 198.51.100.0/24, a network of another site's host"),
            ("198.51.0.0/16", "it overlaps 198.51.100.0/24, a network of another site's host"),
        ] {
            let others = [netblock("198.51.100.0/24")];
            assert_eq!(of_netblock(&netblock(text), &[], &others).as_deref(), Some(reason), "{text}");
        }
        for text in ["192.0.0.0/16", "2001:db8::/32", "198.51.101.0/24"] {
            assert_eq!(of_netblock(&netblock(text), &[], &[netblock("198.51.100.0/24")]), None, "{text}");
        }
    }

    #[test]
    fn many_networks_need_an_operator() {
        let own: Vec<_> = (0..8).map(|it| netblock(&format!("192.{it}.0.0/16"))).collect();
        assert_eq!(of_netblock(&netblock("192.7.0.0/16"), &own[..7], &[]), None);
        let reason = of_netblock(&netblock("192.8.0.0/16"), &own, &[]);
        assert_eq!(reason.as_deref(), Some("the site has 8 networks already"));
        assert_eq!(
            (of_many(7), of_many(8).as_deref()),
            (None, Some("the account has named 8 networks in 30 days"))
        );
    }

    #[test]
    fn a_loud_bandwidth_needs_an_operator() {
        assert_eq!(of_bandwidth(Bandwidth::new(10_000).unwrap()), None);
        assert_eq!(of_bandwidth(Bandwidth::new(10_001).unwrap()).unwrap(), "more than 10000 Mbit/s");
    }

    #[test]
    fn wishes_are_written_and_read() {
        let url = Wish::Url("fedora".parse().unwrap(), "https://m.example/f".parse().unwrap());
        let asn = || "64500".parse().unwrap();
        for wish in [
            Wish::Netblock(netblock("192.0.2.0/24")),
            Wish::Asn(asn()),
            Wish::PeerAsn(asn()),
            Wish::Bandwidth(Bandwidth::new(7).unwrap()),
            url,
        ] {
            let (kind, value) = wish.to_words();
            assert_eq!(Wish::from_words(kind, &value).as_ref(), Some(&wish), "{wish}");
        }
        assert_eq!(Wish::from_words("asn", "x"), None);
        assert_eq!(Wish::from_words("root", "1"), None);
    }

    #[test]
    fn networks_that_are_everywhere_are_for_private_hosts() {
        for text in [
            "10.1.0.0/16",
            "172.16.0.0/16",
            "192.168.7.0/24",
            "100.64.0.0/16",
            "fd00::/32",
            "127.0.0.0/16",
            "169.254.0.0/16",
            "0.0.0.0/16",
            "::1",
            "fe80::/32",
            "64:ff9b::/96",
        ] {
            assert!(!is_one_place(&netblock(text)), "{text}");
        }
        for text in ["192.0.2.0/24", "100.128.0.0/16", "172.32.0.0/16", "2001:db8::/32"] {
            assert!(is_one_place(&netblock(text)), "{text}");
        }
    }
}
