use std::net::IpAddr;

use ipnet::IpNet;
use prefix_trie::joint::JointPrefixMap;

/// Values by network, found by the addresses inside. IPv4-mapped addresses count as IPv4.
#[derive(Clone, Debug)]
pub struct NetblockMap<T>(JointPrefixMap<IpNet, T>);

impl<T> Default for NetblockMap<T> {
    fn default() -> Self {
        Self(JointPrefixMap::new())
    }
}

impl<T> NetblockMap<T> {
    /// The value of exactly this network, made if there is none.
    pub fn entry(&mut self, network: IpNet) -> &mut T
    where
        T: Default,
    {
        self.0.entry(network.trunc()).or_default()
    }

    /// The value of the longest network that contains the address.
    pub fn find(&self, address: IpAddr) -> Option<&T> {
        self.0.get_lpm(&address.to_canonical().into()).map(|(_, value)| value)
    }

    /// The values of all networks that contain the address, longest network first.
    pub fn list(&self, address: IpAddr) -> Vec<&T> {
        let mut values: Vec<&T> = self.0.cover_values(&address.to_canonical().into()).collect();
        values.reverse();
        values
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same by looking at every network: slow, and too simple to be wrong.
    fn brute_force(networks: &[IpNet], address: IpAddr) -> Vec<IpNet> {
        let mut found: Vec<IpNet> =
            networks.iter().map(IpNet::trunc).filter(|it| it.contains(&address.to_canonical())).collect();
        found.sort_by_key(|it| std::cmp::Reverse(it.prefix_len()));
        found.dedup();
        found
    }

    fn network() -> impl Strategy<Value = IpNet> {
        // Few different bits, so that networks contain each other.
        let v4 =
            (0u32..4, 0u8..=32).prop_map(|(bits, length)| (IpAddr::from((bits << 22).to_be_bytes()), length));
        let v6 = (0u128..4, 0u8..=128)
            .prop_map(|(bits, length)| (IpAddr::from((bits << 90).to_be_bytes()), length));
        prop_oneof![v4, v6].prop_map(|(address, length)| IpNet::new(address, length).unwrap())
    }

    proptest! {
        #[test]
        fn equals_the_brute_force_twin(
            networks in prop::collection::vec(network(), 0..40),
            address in network().prop_map(|it| it.addr()),
            mapped: bool,
        ) {
            let mut map = NetblockMap::<Option<IpNet>>::default();
            for network in &networks {
                *map.entry(*network) = Some(network.trunc());
            }
            let asked = match address {
                IpAddr::V4(v4) if mapped => IpAddr::V6(v4.to_ipv6_mapped()),
                other => other,
            };
            let expected = brute_force(&networks, asked);
            let found: Vec<IpNet> = map.list(asked).into_iter().filter_map(|it| *it).collect();
            prop_assert_eq!(&found, &expected);
            prop_assert_eq!(map.find(asked).copied().flatten(), expected.first().copied());
        }
    }
}
