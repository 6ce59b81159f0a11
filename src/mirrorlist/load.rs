//! What clients ask of a host, against what its bandwidth carries.

use super::{
    hosts::counted_bandwidth,
    ranking::{Class, Offer, Turn},
};

/// All of a thousand.
pub const ALL: u16 = 1_000;

/// Never fewer than this of a thousand: by those who stay it is known how many there are.
const FEWEST: u16 = 10;

/// The seconds of an hour.
const HOUR: f64 = 3_600.0;

/// What a host was asked for, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// By the clients of its own netblocks and autonomous systems. They are never sent elsewhere.
    pub own: u64,
    /// By all others that it is the nearest for, with those who were sent elsewhere.
    pub others: u64,
}

impl Demand {
    /// What it tells of the host's demand that a client was sent there for so many bytes. Of clients who are
    /// partly sent elsewhere, those who stay stand for all. A CDN takes whatever comes, and has none.
    pub fn of(offer: &Offer<'_>, bytes: u64) -> Self {
        match (offer.turn, offer.class) {
            (Turn::Spill | Turn::Crowded, _) => Self::default(),
            (_, Class::Netblock | Class::Asn) => Self { own: bytes, others: 0 },
            _ => {
                Self { own: 0, others: bytes.saturating_mul(ALL.into()) / u64::from(offer.host.kept.max(1)) }
            }
        }
    }
}

/// So many of a thousand of its clients may stay with a host in the next hour, when the demand of an hour was
/// this and no more than `fill` percent of its bandwidth, in Mbit/s, shall be filled on average. With 0 percent
/// there is no limit.
pub fn kept(bandwidth: Option<u32>, fill: u8, demand: &Demand) -> u16 {
    let bits = f64::from(counted_bandwidth(bandwidth)) * 1e6 * HOUR * f64::from(fill) / 100.0;
    let room = bits / 8.0 - demand.own as f64;
    if fill == 0 || demand.others as f64 <= room {
        return ALL;
    }
    let kept = room / demand.others as f64 * f64::from(ALL);
    (kept.max(0.0) as u16).clamp(FEWEST, ALL)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A host with 100 Mbit/s, of which half may be filled: 22.5 GB in an hour.
    fn kept_of(own: u64, others: u64) -> u16 {
        kept(Some(100), 50, &Demand { own: own * 1_000_000_000, others: others * 1_000_000_000 })
    }

    #[test]
    fn clients_stay_as_far_as_the_bandwidth_goes() {
        assert_eq!([kept_of(0, 0), kept_of(0, 22), kept_of(0, 45)], [1_000, 1_000, 500]);
        assert_eq!(kept_of(0, 90), 250);
        assert_eq!(kept_of(0, 1_000_000), 10, "some always stay, to be counted");
    }

    #[test]
    fn its_own_networks_go_first() {
        assert_eq!([kept_of(22, 0), kept_of(1_000, 0)], [1_000, 10]);
        assert_eq!(kept_of(18, 9), 500);
        assert_eq!(kept_of(30, 1), 10);
    }

    #[test]
    fn there_may_be_no_limit_and_an_unknown_bandwidth_counts_as_in_the_ranking() {
        let much = Demand { own: 0, others: u64::MAX };
        assert_eq!(kept(Some(1), 0, &much), 1_000);
        assert_eq!(kept(None, 50, &Demand { own: 0, others: 45_000_000_000 }), 500);
        assert_eq!(kept(Some(u32::MAX), 100, &Demand { own: 0, others: 4_500_000_000_000 }), 1_000);
    }
}
