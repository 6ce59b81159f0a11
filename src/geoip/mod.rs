//! Tells where an address is, from MaxMind DB files: country, place and autonomous system.
//!
//! Files are read whole into memory and replaced while we run when they change on disk.

mod file;
mod record;

use std::{net::IpAddr, path::PathBuf};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::file::{Content, File};
use crate::mirror::{Country, Place};

pub use self::file::{Error, FILE_LIMIT, Fault};

/// Where the GeoIP databases are. Any file in MaxMind DB format: GeoLite2, GeoIP2, DB-IP and others.
/// A file that changes is read again while `serve` runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// File with the country of each network. When neither this nor `city` is given, a database that is part
    /// of the program is used; its data is old.
    pub country: Option<PathBuf>,
    /// File with the place of each network; its countries go before those of `country`.
    pub city: Option<PathBuf>,
    /// File with the autonomous system of each network. Without it, hosts are not matched by AS number.
    pub asn: Option<PathBuf>,
}

/// What is known about an address; often a part only, or nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Location {
    /// The country it is used in, or registered in.
    pub country: Option<Country>,
    /// Where it is, if a city database knows; see [`Country::place`] for a rough answer.
    pub place: Option<Place>,
    /// Its autonomous system's number, never 0.
    pub asn: Option<u32>,
}

/// The open databases.
pub struct GeoIp {
    country: Option<File>,
    city: Option<File>,
    asn: Option<File>,
}

impl GeoIp {
    /// Opens all configured databases, or the embedded one.
    pub fn open(config: &Config) -> Result<Self, Error> {
        let open = |path: &Option<PathBuf>, content| {
            path.as_ref().map(|path| File::open(path.clone(), content)).transpose()
        };
        let city = open(&config.city, Content::Country)?;
        let country = match &config.country {
            None if city.is_none() => Some(File::embedded()),
            path => open(path, Content::Country)?,
        };
        Ok(Self { country, city, asn: open(&config.asn, Content::Asn)? })
    }

    /// Where `address` is. An IPv4 address written as IPv6 (`::ffff:192.0.2.1`) counts as IPv4.
    pub fn find(&self, address: IpAddr) -> Location {
        let address = address.to_canonical();
        let find = |file: &Option<File>| file.as_ref().map(|it| it.find(address)).unwrap_or_default();
        let mut location = find(&self.city);
        if location.country.is_none() {
            location.country = find(&self.country).country;
        }
        location.asn = find(&self.asn).asn;
        location
    }

    /// Whether the countries come from the embedded database, whose data grows old.
    pub fn is_default(&self) -> bool {
        self.country.as_ref().is_some_and(File::is_embedded)
    }

    /// When the database that countries come from was built, by its own word.
    pub fn built(&self) -> Option<Timestamp> {
        self.city.as_ref().or(self.country.as_ref()).and_then(File::built)
    }

    /// Reads again each file whose time or size has changed: the paths of those replaced, and errors for those that
    /// cannot be used. Such a file's former content stays in use, and it is reported once for each change.
    ///
    /// Blocks on the disk: call it off the request threads.
    pub fn reload_if_changed(&self) -> Vec<Result<PathBuf, Error>> {
        [&self.country, &self.city, &self.asn]
            .into_iter()
            .flatten()
            .filter_map(File::reload_if_changed)
            .collect()
    }
}

#[cfg(test)]
mod tests;
