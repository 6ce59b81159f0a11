//! Which networks this server sends to which host, and which come back, until it is stored.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, PoisonError},
};

use crate::{
    mirror::{HostId, Region},
    mirrorlist::{Client, Experience, Networks, rows::HostRow},
};

/// What is seen in this time counts together, in seconds.
const WINDOW: i64 = 10 * 60;

/// So many pairs of host and region are told apart in a window (3 MiB); further ones are not seen.
const MOST: usize = 32_768;

/// A region is of interest when so many of its networks came back from one host.
const OF_INTEREST: f64 = 2.5;

/// Both kinds of networks, by host and region.
#[derive(Default)]
pub(super) struct Experiences(Mutex<Window>);

#[derive(Default)]
struct Window {
    /// When the first of these was seen, Unix seconds.
    began_at: i64,
    seen: HashMap<(HostId, Region), (Networks, Networks)>,
}

impl Experiences {
    /// A client begins a download at this host.
    pub(super) fn sent(&self, host: &HostRow, client: &Client<'_>) {
        self.note(host, client, |it, networks| it.0.insert(networks));
    }

    /// A client came back from this host.
    pub(super) fn came_back(&self, host: &HostRow, client: &Client<'_>) {
        self.note(host, client, |it, networks| it.1.insert(networks));
    }

    fn note(
        &self,
        host: &HostRow,
        client: &Client<'_>,
        note: impl Fn(&mut (Networks, Networks), std::net::IpAddr),
    ) {
        // Who may be named to few is judged by nobody. A request waits for nobody, either: what another one holds
        // at this moment is not seen.
        let Some(mut window) = (!host.private).then(|| self.0.try_lock().ok()).flatten() else { return };
        if window.seen.is_empty() {
            window.began_at = client.at;
        }
        let country = client.country.map(Region::Country);
        for region in country.into_iter().chain(client.asn.map(Region::Asn)) {
            let key = (host.id, region);
            if window.seen.len() < MOST || window.seen.contains_key(&key) {
                note(window.seen.entry(key).or_default(), client.network());
            }
        }
    }

    /// All that was seen in this window in the regions of interest, and since when. When the window is over it
    /// begins anew after that.
    pub(super) fn list(&self, at: i64) -> (i64, Vec<Experience>) {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let failing = window.seen.iter().filter(|(_, (_, failed))| failed.count() >= OF_INTEREST);
        let regions: BTreeSet<Region> = failing.map(|(key, _)| key.1).collect();
        let of_interest = window.seen.iter().filter(|(key, _)| regions.contains(&key.1));
        let row = |(&(host, region), &(asked, failed)): (&(HostId, Region), &(Networks, Networks))| {
            Experience { host, region, asked, failed }
        };
        let listed = (window.began_at, of_interest.map(row).collect());
        if at - window.began_at >= WINDOW {
            window.seen.clear();
        }
        listed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        mirror::Scheme,
        mirrorlist::{Hosts, Location, Policy, rows::HostRows, testing},
    };

    fn host(id: i64, private: bool) -> HostRow {
        HostRow { private, ..testing::host(id) }
    }

    #[test]
    fn regions_where_some_come_back_are_told_with_all_their_hosts() {
        let (experiences, policy) = (Experiences::default(), Policy::default());
        let hosts = Hosts::new(HostRows::default());
        let client = |network: u8, country: &str, asn| {
            let location = Location { country: country.parse().ok(), place: None, asn };
            let address = [10, 0, network, 7].into();
            Client::new(&hosts, address, location, Scheme::Https, 1_000, &policy)
        };
        let list = |at| {
            let (began_at, rows) = experiences.list(at);
            let mut rows: Vec<_> = rows
                .into_iter()
                .map(|it| {
                    (it.host.0, it.region.to_string(), it.asked.count().round(), it.failed.count().round())
                })
                .collect();
            rows.sort_by_key(|it| (it.0, it.1.clone()));
            (began_at, rows)
        };
        let row = |host, region: &str, asked, failed| (host, region.to_owned(), asked, failed);
        assert_eq!(list(1_000).1, []);
        for network in 0..3 {
            experiences.sent(&host(1, false), &client(network, "DE", Some(64500)));
            experiences.sent(&host(2, false), &client(network, "DE", None));
            experiences.sent(&host(2, false), &client(network, "FR", None));
            experiences.came_back(&host(3, true), &client(network, "FR", None));
        }
        experiences.came_back(&host(1, false), &client(0, "DE", None));
        experiences.came_back(&host(1, false), &client(0, "DE", None));
        experiences.came_back(&host(1, false), &client(1, "DE", None));
        assert_eq!(list(1_001).1, [], "two networks are of no interest");
        experiences.came_back(&host(1, false), &client(2, "DE", None));
        let expected = vec![row(1, "DE", 3.0, 3.0), row(2, "DE", 3.0, 0.0)];
        assert_eq!(list(1_599), (1_000, expected.clone()));
        assert_eq!(list(1_600), (1_000, expected), "all of a window is told at its end");
        assert_eq!(list(1_601).1, [], "a new one");
    }

    #[test]
    fn it_is_bounded() {
        let experiences = Experiences::default();
        let (hosts, policy) = (Hosts::new(HostRows::default()), Policy::default());
        for number in 1..40_000 {
            let location = Location { country: None, place: None, asn: Some(number) };
            let client = Client::new(&hosts, [10, 0, 0, 1].into(), location, Scheme::Https, 0, &policy);
            experiences.sent(&host(1, false), &client);
        }
        assert_eq!(experiences.0.lock().unwrap().seen.len(), MOST);
    }
}
