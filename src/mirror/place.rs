use std::{collections::HashMap, fmt, str::FromStr, sync::LazyLock};

use serde::{Deserialize, Serialize};

/// Country, continent and one point in each, by ISO 3166-1 alpha-2. `geoip/README.md` has the source.
const COUNTRIES: &str = include_str!("../../geoip/countries.tsv");

static TABLE: LazyLock<HashMap<Country, (Continent, Place)>> =
    LazyLock::new(|| COUNTRIES.lines().filter_map(row).collect());

fn row(line: &str) -> Option<(Country, (Continent, Place))> {
    let mut fields = line.split('\t');
    let country = fields.next()?.parse().ok()?;
    let continent = fields.next()?.parse().ok()?;
    let latitude = fields.next()?.parse().ok()?;
    let longitude = fields.next()?.parse().ok()?;
    Some((country, (continent, Place::new(latitude, longitude).ok()?)))
}

/// Why a text is no country, continent or place.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PlaceError {
    /// Not two letters.
    #[error("a country is two letters by ISO 3166-1, such as DE")]
    Country,
    /// None of the seven.
    #[error("a continent is one of AF, AN, AS, EU, NA, OC, SA")]
    Continent,
    /// Not two numbers in range.
    #[error("a place is latitude and longitude in degrees, such as 52.52,13.40")]
    Place,
}

macro_rules! letters {
    ($name:ident) => {
        impl $name {
            /// Two upper-case letters.
            pub fn as_str(&self) -> &str {
                // Only upper-case letters are ever stored.
                std::str::from_utf8(&self.0).unwrap_or("??")
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl TryFrom<String> for $name {
            type Error = PlaceError;

            fn try_from(text: String) -> Result<Self, PlaceError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.as_str().to_owned()
            }
        }
    };
}

/// A country: two letters of ISO 3166-1, upper case.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    rkyv::Archive,
    rkyv::Serialize,
    rkyv::Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct Country([u8; 2]);
letters!(Country);

impl Country {
    /// The continent it lies in; `None` for codes the table does not know.
    pub fn continent(self) -> Option<Continent> {
        TABLE.get(&self).map(|it| it.0)
    }

    /// Both letters, upper case.
    pub fn letters(self) -> [u8; 2] {
        self.0
    }

    /// A point inside it; `None` for codes the table does not know.
    pub fn place(self) -> Option<Place> {
        TABLE.get(&self).map(|it| it.1)
    }
}

impl FromStr for Country {
    type Err = PlaceError;

    /// Takes either case.
    fn from_str(text: &str) -> Result<Self, PlaceError> {
        match text.as_bytes() {
            [a, b] if a.is_ascii_alphabetic() && b.is_ascii_alphabetic() => {
                Ok(Self([a.to_ascii_uppercase(), b.to_ascii_uppercase()]))
            }
            _ => Err(PlaceError::Country),
        }
    }
}

/// A continent: AF, AN, AS, EU, NA, OC or SA.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    rkyv::Archive,
    rkyv::Serialize,
    rkyv::Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct Continent([u8; 2]);
letters!(Continent);

impl FromStr for Continent {
    type Err = PlaceError;

    /// Takes either case.
    fn from_str(text: &str) -> Result<Self, PlaceError> {
        const ALL: [&str; 7] = ["AF", "AN", "AS", "EU", "NA", "OC", "SA"];
        let found = ALL.iter().find(|it| it.eq_ignore_ascii_case(text)).ok_or(PlaceError::Continent)?;
        Ok(Self([found.as_bytes()[0], found.as_bytes()[1]]))
    }
}

/// A point on the earth, in degrees.
#[derive(
    Clone, Copy, Debug, PartialEq, Serialize, Deserialize, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct Place {
    latitude: f64,
    longitude: f64,
}

impl Place {
    /// Latitude from -90 to 90, longitude from -180 to 180.
    pub fn new(latitude: f64, longitude: f64) -> Result<Self, PlaceError> {
        if latitude.abs() <= 90.0 && longitude.abs() <= 180.0 {
            Ok(Self { latitude, longitude })
        } else {
            Err(PlaceError::Place)
        }
    }

    /// Degrees north.
    pub fn latitude(self) -> f64 {
        self.latitude
    }

    /// Degrees east.
    pub fn longitude(self) -> f64 {
        self.longitude
    }

    /// The way along the great circle, in kilometres.
    pub fn distance(self, other: Self) -> f64 {
        Point::from(self).distance(&other.into())
    }
}

/// A place with what its distances to many others have in common.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    longitude: f64,
    /// In radians.
    latitude: f64,
    /// Of the latitude.
    cosine: f64,
}

impl From<Place> for Point {
    fn from(place: Place) -> Self {
        let latitude = place.latitude.to_radians();
        Self { longitude: place.longitude, latitude, cosine: latitude.cos() }
    }
}

impl Point {
    /// The way along the great circle, in kilometres (haversine formula, mean earth radius).
    pub fn distance(&self, other: &Self) -> f64 {
        const EARTH_RADIUS: f64 = 6371.0;
        let along = ((other.latitude - self.latitude) / 2.0).sin().powi(2);
        let across = ((other.longitude - self.longitude).to_radians() / 2.0).sin().powi(2);
        let half = along + self.cosine * other.cosine * across;
        2.0 * EARTH_RADIUS * half.sqrt().min(1.0).asin()
    }
}

impl FromStr for Place {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        let degrees = |text: &str| text.trim().parse().map_err(|_| PlaceError::Place);
        let (latitude, longitude) = text.split_once(',').ok_or(PlaceError::Place)?;
        Self::new(degrees(latitude)?, degrees(longitude)?)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{}", self.latitude, self.longitude)
    }
}

impl TryFrom<String> for Place {
    type Error = PlaceError;

    fn try_from(text: String) -> Result<Self, PlaceError> {
        text.parse()
    }
}

impl From<Place> for String {
    fn from(place: Place) -> Self {
        place.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_whole() {
        assert_eq!(TABLE.len(), COUNTRIES.lines().count());
        let germany: Country = "de".parse().unwrap();
        assert_eq!(germany.continent().unwrap().as_str(), "EU");
        assert!(germany.place().unwrap().distance("52.52,13.40".parse().unwrap()) < 500.0);
    }

    #[test]
    fn everything_else_is_refused() {
        for text in ["", "D", "DEU", "d1", "é", "N/A"] {
            assert_eq!(text.parse::<Country>(), Err(PlaceError::Country), "{text}");
        }
        for text in ["", "1", "91,0", "0,181", "NaN,0", "a,b"] {
            assert_eq!(text.parse::<Place>(), Err(PlaceError::Place), "{text}");
        }
        assert_eq!("XX".parse::<Continent>(), Err(PlaceError::Continent));
        for text in ["AF", "AN", "AS", "EU", "NA", "OC", "SA"] {
            assert_eq!(text.parse::<Continent>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn distances_are_those_of_an_atlas() {
        let (berlin, sydney): (Place, Place) =
            ("52.52,13.405".parse().unwrap(), "-33.87,151.21".parse().unwrap());
        assert!((berlin.distance(sydney) - 16_090.0).abs() < 30.0, "{}", berlin.distance(sydney));
        assert_eq!(berlin.distance(berlin), 0.0);
    }

    proptest::proptest! {
        #[test]
        fn round_trip(latitude in -90.0..=90.0f64, longitude in -180.0..=180.0f64, country in "[A-Z]{2}") {
            let place = Place::new(latitude, longitude).unwrap();
            proptest::prop_assert_eq!(place.to_string().parse(), Ok(place));
            proptest::prop_assert_eq!(country.parse::<Country>().unwrap().to_string(), country);
        }
    }
}
