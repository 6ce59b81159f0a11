use std::net::IpAddr;

use super::hosts::Hosts;
use crate::mirror::{Continent, Country, Place, Scheme};

/// What GeoIP knows of an address.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Location {
    /// The country.
    pub country: Option<Country>,
    /// Where in it.
    pub place: Option<Place>,
    /// The autonomous system.
    pub asn: Option<u32>,
}

/// What an endpoint promises to those who come by its name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// If not empty: only hosts in these countries.
    pub countries: Vec<Country>,
    /// Clients that came by HTTPS may be sent to a host by plain HTTP.
    pub http_mirrors: bool,
    /// Nobody is sent to a host by plain HTTP.
    pub https_only: bool,
    /// Only hosts of the kind `cdn`.
    pub cdn_only: bool,
    /// Names of sites whose hosts are never named.
    pub avoided_sites: Vec<String>,
    /// Countries whose hosts are never named, by whatever name clients come.
    pub embargoed: Vec<Country>,
}

/// Who asks.
#[derive(Clone, Debug)]
pub struct Client<'a> {
    /// From where. IPv4-mapped addresses are IPv4 here.
    pub address: IpAddr,
    /// In which country.
    pub country: Option<Country>,
    /// In which continent.
    pub continent: Option<Continent>,
    /// Where exactly; the middle of the country if no better is known.
    pub place: Option<Place>,
    /// In which autonomous system.
    pub asn: Option<u32>,
    /// Hosts may be near by its netblock or autonomous system.
    pub by_network: bool,
    /// How it came to us.
    pub scheme: Scheme,
    /// When it asked, Unix seconds.
    pub at: i64,
    /// What the name it came by promises.
    pub policy: &'a Policy,
}

impl<'a> Client<'a> {
    /// Places a client: the operator's country for its network goes before GeoIP's.
    pub fn new(
        hosts: &Hosts,
        address: IpAddr,
        location: Location,
        scheme: Scheme,
        at: i64,
        policy: &'a Policy,
    ) -> Self {
        let address = address.to_canonical();
        let given = hosts.find_country(address);
        let country = given.or(location.country);
        // GeoIP's place is of no use where its country is wrong.
        let place = location.place.filter(|_| given.is_none() || given == location.country);
        Self {
            address,
            country,
            continent: country.and_then(|it| hosts.continent(it)),
            place: place.or_else(|| country.and_then(Country::place)),
            asn: location.asn,
            by_network: true,
            scheme,
            at,
            policy,
        }
    }

    /// The same client as if it were in another country, by its own wish.
    pub fn in_country(self, hosts: &Hosts, country: Country) -> Self {
        Self { country: Some(country), continent: hosts.continent(country), place: country.place(), ..self }
    }

    /// May it be sent to URLs of this scheme?
    pub fn takes(&self, scheme: Scheme) -> bool {
        let takes_http = !self.policy.https_only && (self.scheme == Scheme::Http || self.policy.http_mirrors);
        scheme == Scheme::Https || takes_http
    }

    /// The network whose clients share a choice: /24 or /48.
    pub fn network(&self) -> IpAddr {
        network(self.address)
    }
}

/// The /24 or /48 of an address: what may be written down about a client.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::from((u32::from(v4) & 0xffff_ff00).to_be_bytes()),
        IpAddr::V6(v6) => IpAddr::from((u128::from(v6) >> 80 << 80).to_be_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mirrorlist::rows::HostRows;

    #[test]
    fn the_operators_country_goes_before_geoip() {
        let rows = HostRows {
            netblock_countries: vec![("192.0.2.0/24".to_owned(), "IL".parse().unwrap())],
            continent_redirects: vec![("IL".parse().unwrap(), "EU".parse().unwrap())],
            ..HostRows::default()
        };
        let (hosts, policy) = (Hosts::new(rows), Policy::default());
        let germany = Location { country: "DE".parse().ok(), place: "52,13".parse().ok(), asn: None };
        let client =
            |address: &str| Client::new(&hosts, address.parse().unwrap(), germany, Scheme::Https, 0, &policy);
        let moved = client("::ffff:192.0.2.1");
        assert_eq!(moved.country.unwrap().as_str(), "IL");
        assert_eq!(moved.continent.unwrap().as_str(), "EU");
        assert_eq!(moved.place, moved.country.unwrap().place());
        assert_eq!(client("192.0.3.1").place, germany.place);
    }

    #[test]
    fn networks_hide_the_last_part_of_an_address() {
        let hidden = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(hidden("192.0.2.77"), "192.0.2.0");
        assert_eq!(hidden("::ffff:192.0.2.77"), "192.0.2.0");
        assert_eq!(hidden("2001:db8:1:2::3"), "2001:db8:1::");
    }
}
