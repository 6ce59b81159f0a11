//! What clients experience with a host that is good to the crawler: how many networks of a region came back.

use std::{collections::BTreeMap, net::IpAddr};

use crate::mirror::{HostId, Region};

/// Fewer networks than this that came back say nothing: among them may be one person with many machines.
const FEWEST_FAILED: f64 = 8.0;

/// At least this share of the networks that were sent to a host came back from it.
const FAILED_SHARE: f64 = 0.3;

/// Its peers must have been asked by so many networks of the region, or there is nothing to compare with.
const FEWEST_OF_PEERS: f64 = 8.0;

/// The share must be so many times that of its peers.
const TIMES_PEERS: f64 = 5.0;

/// About how many different networks there were: by linear counting (Whang et al. 1990) in 256 bits, within a
/// tenth up to some 500 networks; about 1,600 is the most that it tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Networks(pub [u64; 4]);

impl Networks {
    const BITS: u32 = 256;

    /// Counts a client's network, as `Client::network` gives it.
    pub fn insert(&mut self, network: IpAddr) {
        let octets = match network {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        };
        // The same bit on every server: what they counted is put together.
        let mut hash = u128::from_be_bytes(octets) as u64 ^ (u128::from_be_bytes(octets) >> 64) as u64;
        hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let bit = (hash >> 56) as usize;
        self.0[bit / 64] |= 1 << (bit % 64);
    }

    /// These and those.
    pub fn merge(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(one, other)| *one |= other);
    }

    /// About how many.
    pub fn count(&self) -> f64 {
        let set: u32 = self.0.iter().map(|it| it.count_ones()).sum();
        let (all, unset) = (f64::from(Self::BITS), f64::from(Self::BITS - set).max(0.5));
        all * (all / unset).ln()
    }
}

/// What the clients of one region experienced with one host.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Experience {
    /// With which host.
    pub host: HostId,
    /// Whose clients.
    pub region: Region,
    /// The networks that were sent there.
    pub asked: Networks,
    /// Those that came back.
    pub failed: Networks,
}

/// A host that clients of a region are not sent to for a while.
#[derive(Clone, Debug, PartialEq)]
pub struct Demotion {
    /// Which host.
    pub host: HostId,
    /// Whose clients.
    pub region: Region,
    /// In words.
    pub reason: String,
}

/// The hosts that fail the clients of a region far more often than their peers do. The rows of one host and
/// region count together. Never all hosts: each is measured by the others.
pub fn find_demoted(rows: &[Experience]) -> Vec<Demotion> {
    let mut regions: BTreeMap<Region, BTreeMap<HostId, (Networks, Networks)>> = BTreeMap::new();
    for row in rows {
        let (asked, failed) = regions.entry(row.region).or_default().entry(row.host).or_default();
        asked.merge(&row.asked);
        // Who came back had been sent there, if by another server.
        asked.merge(&row.failed);
        failed.merge(&row.failed);
    }
    let mut found = Vec::new();
    for (region, hosts) in regions {
        let counted: Vec<_> =
            hosts.into_iter().map(|(host, (asked, failed))| (host, asked.count(), failed.count())).collect();
        let sum = |of: fn(&(HostId, f64, f64)) -> f64| counted.iter().map(of).sum::<f64>();
        let (all_asked, all_failed) = (sum(|it| it.1), sum(|it| it.2));
        for &(host, asked, failed) in &counted {
            let (peers_asked, peers_failed) = (all_asked - asked, all_failed - failed);
            let enough = failed >= FEWEST_FAILED && peers_asked >= FEWEST_OF_PEERS;
            let far_more = failed * peers_asked >= TIMES_PEERS * peers_failed * asked;
            if enough && failed >= FAILED_SHARE * asked && far_more {
                let reason = format!(
                    "of {asked:.0} networks in {region} that were sent there {failed:.0} came back, \
                     from others {peers_failed:.0} of {peers_asked:.0}"
                );
                found.push(Demotion { host, region, reason });
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn networks(from: u32, count: u32) -> Networks {
        let mut networks = Networks::default();
        (from..from + count).for_each(|it| networks.insert(Ipv4Addr::from(it << 8).into()));
        networks
    }

    fn row(host: i64, asked: u32, failed: u32) -> Experience {
        Experience {
            host: HostId(host),
            region: Region::Asn(64500),
            asked: networks(0x000a_0000, asked),
            failed: networks(0x000a_0000, failed),
        }
    }

    fn demoted(rows: &[Experience]) -> Vec<i64> {
        find_demoted(rows).into_iter().map(|it| it.host.0).collect()
    }

    #[test]
    fn different_networks_are_counted() {
        for count in [0, 1, 8, 40, 200, 500] {
            let found = networks(0x0001_0000, count).count();
            assert!((found - f64::from(count)).abs() <= f64::from(count) * 0.12 + 0.5, "{count}: {found}");
        }
        let mut same = Networks::default();
        (0..100).for_each(|_| same.insert("192.0.2.0".parse().unwrap()));
        assert_eq!(same.count().round(), 1.0);
        assert!(networks(0, 100_000).count() < 1_700.0);
    }

    #[test]
    fn a_host_that_fails_far_more_than_its_peers_is_demoted_with_the_reason() {
        let rows = [row(1, 20, 18), row(2, 20, 0), row(3, 20, 1)];
        let found = find_demoted(&rows);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].host, found[0].region), (HostId(1), Region::Asn(64500)));
        let words = "networks in AS64500 that were sent there";
        assert!(found[0].reason.contains(words), "{}", found[0].reason);
    }

    #[test]
    fn a_crowd_that_comes_back_from_all_demotes_none() {
        assert_eq!(demoted(&[row(1, 20, 18), row(2, 20, 16), row(3, 20, 17)]), [0; 0]);
        assert_eq!(demoted(&[row(1, 40, 20), row(2, 40, 8), row(3, 40, 8)]), [0; 0], "not far above");
    }

    #[test]
    fn too_few_networks_say_nothing() {
        assert_eq!(demoted(&[row(1, 7, 7), row(2, 20, 0)]), [0; 0]);
        assert_eq!(demoted(&[row(1, 200, 20), row(2, 200, 0)]), [0; 0], "one of ten");
        assert_eq!(demoted(&[row(1, 20, 20), row(2, 4, 0)]), [0; 0], "nobody to compare with");
        assert_eq!(demoted(&[row(1, 20, 20)]), [0; 0]);
    }

    #[test]
    fn what_several_servers_saw_counts_together_and_regions_apart() {
        let second = |mut row: Experience| {
            (row.asked, row.failed) = (networks(0x000b_0000, 6), networks(0x000b_0000, 6));
            row
        };
        assert_eq!(demoted(&[row(1, 6, 6), second(row(1, 6, 6)), row(2, 20, 0)]), [1]);
        let elsewhere = Experience { region: Region::Country("DE".parse().unwrap()), ..second(row(1, 6, 6)) };
        assert_eq!(demoted(&[row(1, 6, 6), elsewhere, row(2, 20, 0)]), [0; 0]);
    }
}
