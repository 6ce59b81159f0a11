use std::fmt;

use serde::{Deserialize, Deserializer, de::Visitor};

use super::Location;
use crate::mirror::{Country, Place};

/// A row of any of the databases: MaxMind's nested fields and the flat ones of others.
///
/// maxminddb's own structs read a flat row without an error and without a country, and refuse numbers of the other
/// width.
#[derive(Deserialize)]
pub(super) struct Record<'a> {
    #[serde(borrow)]
    country: Option<Nested<'a>>,
    #[serde(borrow)]
    registered_country: Option<Nested<'a>>,
    country_code: Option<&'a str>,
    location: Option<Coordinates>,
    latitude: Option<Number>,
    longitude: Option<Number>,
    autonomous_system_number: Option<u32>,
}

#[derive(Deserialize)]
struct Nested<'a> {
    iso_code: Option<&'a str>,
}

#[derive(Deserialize)]
struct Coordinates {
    latitude: Option<Number>,
    longitude: Option<Number>,
}

impl Record<'_> {
    pub(super) fn location(&self) -> Location {
        let nested = |it: &Option<Nested<'_>>| it.as_ref().and_then(|it| country(it.iso_code));
        let inner = self.location.as_ref().and_then(|it| place(it.latitude, it.longitude));
        Location {
            country: nested(&self.country)
                .or_else(|| country(self.country_code))
                .or_else(|| nested(&self.registered_country)),
            place: inner.or_else(|| place(self.latitude, self.longitude)),
            asn: self.autonomous_system_number.filter(|it| *it != 0),
        }
    }
}

fn country(code: Option<&str>) -> Option<Country> {
    code?.parse().ok()
}

fn place(latitude: Option<Number>, longitude: Option<Number>) -> Option<Place> {
    Place::new(latitude?.0, longitude?.0).ok()
}

/// A number of any type: MaxMind writes coordinates as doubles, DB-IP as floats.
#[derive(Clone, Copy)]
struct Number(f64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberVisitor)
    }
}

struct NumberVisitor;

impl Visitor<'_> for NumberVisitor {
    type Value = Number;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }

    fn visit_f64<E>(self, value: f64) -> Result<Number, E> {
        Ok(Number(value))
    }

    fn visit_f32<E>(self, value: f32) -> Result<Number, E> {
        Ok(Number(f64::from(value)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Number, E> {
        Ok(Number(value as f64))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Number, E> {
        Ok(Number(value as f64))
    }
}
