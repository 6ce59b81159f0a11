use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// A network whose clients a host serves first. Host bits are cleared; IPv4-mapped IPv6 is IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Netblock(IpNet);

/// Why a text is not a netblock.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NetblockError {
    /// Neither address nor network.
    #[error("a netblock looks like 192.0.2.0/24, 192.0.2.0/255.255.255.0, 2001:db8::/32 or a single address")]
    Form,
    /// A mask such as 255.0.255.0.
    #[error("the netmask has a gap in it")]
    Mask,
}

impl Netblock {
    /// The network.
    pub fn network(&self) -> IpNet {
        self.0
    }

    /// Is the address in it? IPv4-mapped addresses count as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl From<IpAddr> for Netblock {
    fn from(address: IpAddr) -> Self {
        Self(address.to_canonical().into())
    }
}

impl FromStr for Netblock {
    type Err = NetblockError;

    /// Takes an address, `address/length`, or `address/netmask`.
    fn from_str(text: &str) -> Result<Self, NetblockError> {
        let (address, length) = match text.split_once('/') {
            None => return Ok(text.parse::<IpAddr>().map_err(|_| NetblockError::Form)?.into()),
            Some((address, length)) => (address.parse::<IpAddr>().map_err(|_| NetblockError::Form)?, length),
        };
        let network = if let Ok(mask) = length.parse::<IpAddr>() {
            IpNet::with_netmask(address, mask).map_err(|_| NetblockError::Mask)?
        } else {
            // `parse::<u8>` would take `+8`.
            let digits = !length.is_empty() && length.bytes().all(|it| it.is_ascii_digit());
            let length = length.parse().ok().filter(|_| digits).ok_or(NetblockError::Form)?;
            IpNet::new(address, length).map_err(|_| NetblockError::Form)?
        };
        Ok(Self(unmapped(network).trunc()))
    }
}

/// `::ffff:192.0.2.0/120` is `192.0.2.0/24`.
fn unmapped(network: IpNet) -> IpNet {
    match (network.addr().to_canonical(), network.prefix_len()) {
        (IpAddr::V4(address), length @ 96..) if network.addr().is_ipv6() => {
            ipnet::Ipv4Net::new(address, length - 96).map_or(network, IpNet::V4)
        }
        _ => network,
    }
}

impl fmt::Display for Netblock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TryFrom<String> for Netblock {
    type Error = NetblockError;

    fn try_from(text: String) -> Result<Self, NetblockError> {
        text.parse()
    }
}

impl From<Netblock> for String {
    fn from(netblock: Netblock) -> Self {
        netblock.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read() {
        #[track_caller]
        fn check(text: &str, network: &str) {
            assert_eq!(text.parse::<Netblock>().unwrap().to_string(), network);
        }
        check("192.0.2.7/24", "192.0.2.0/24");
        check("192.0.2.7", "192.0.2.7/32");
        check("192.0.2.7/255.255.255.0", "192.0.2.0/24");
        check("2001:db8::1/32", "2001:db8::/32");
        check("2001:db8::1", "2001:db8::1/128");
        check("::ffff:192.0.2.7/120", "192.0.2.0/24");
    }

    #[test]
    fn everything_else_is_refused() {
        for text in
            ["", "/", "192.0.2.0/", "192.0.2.0/33", "192.0.2.0/+8", "example.org", "192.0.2", "::/129"]
        {
            assert_eq!(text.parse::<Netblock>(), Err(NetblockError::Form), "{text}");
        }
        assert_eq!("192.0.2.0/255.0.255.0".parse::<Netblock>(), Err(NetblockError::Mask));
    }

    #[test]
    fn mapped_addresses_are_inside() {
        let netblock: Netblock = "192.0.2.0/24".parse().unwrap();
        assert!(netblock.contains("::ffff:192.0.2.9".parse().unwrap()));
        assert!(!netblock.contains("192.0.3.1".parse().unwrap()));
    }

    proptest::proptest! {
        #[test]
        fn round_trip(address: IpAddr, length in 0u8..=32) {
            let parsed: Netblock = format!("{address}/{length}").parse().unwrap();
            proptest::prop_assert_eq!(parsed.to_string().parse(), Ok(parsed));
            proptest::prop_assert!(parsed.contains(address) || address.to_canonical() != address);
        }
    }
}
