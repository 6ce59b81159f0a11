use std::{fmt::Display, str::FromStr, time::Duration};

use actix_web::web::Payload;
use tokio::time::timeout;

use super::{PageError, Refusal};
use crate::mirror::{Country, is_invisible};

/// The largest form, in bytes.
const LARGEST: usize = 64 * 1024;

/// How long a form may take to arrive.
const ARRIVES_WITHIN: Duration = Duration::from_secs(10);

/// What a form says besides its fields: that it is ours.
pub(super) const SEAL: &str = "seal";

/// What somebody has filled in.
#[derive(Default)]
pub(super) struct Form {
    fields: Vec<(String, String)>,
}

impl Form {
    pub(super) fn new(fields: Vec<(String, String)>) -> Self {
        Self { fields }
    }

    pub(super) async fn read(body: Payload) -> Result<Self, PageError> {
        let body = timeout(ARRIVES_WITHIN, body.to_bytes_limited(LARGEST)).await;
        let body = body.map_err(|_| PageError::Slow)?.map_err(|_| PageError::TooLarge)?;
        let body = body.map_err(|error| PageError::Form(error.to_string()))?;
        Ok(Self { fields: url::form_urlencoded::parse(&body).into_owned().collect() })
    }

    /// The first value of a field, without white space around it; empty if there is none.
    pub(super) fn text(&self, name: &str) -> &str {
        self.raw(name).trim()
    }

    /// The same as it was typed: a password.
    pub(super) fn raw(&self, name: &str) -> &str {
        self.fields.iter().find(|it| it.0 == name).map_or("", |it| &it.1)
    }

    /// Is the box ticked?
    pub(super) fn is_ticked(&self, name: &str) -> bool {
        !self.text(name).is_empty()
    }

    /// A form has these fields and no others: what no form offers is nobody's to set.
    pub(super) fn has_only(&self, names: &[&str]) -> Result<(), Refusal> {
        match self.fields.iter().find(|it| it.0 != SEAL && !names.contains(&it.0.as_str())) {
            Some((name, _)) => Err(Refusal::Bad(format!("The form has no field {name:?}."))),
            None => Ok(()),
        }
    }

    /// A value that must be there. `label` is what people call it.
    pub(super) fn value<T: FromStr<Err: Display>>(&self, name: &str, label: &str) -> Result<T, Refusal> {
        parse(self.text(name), label)
    }

    /// A value that may be left out.
    pub(super) fn optional<T: FromStr<Err: Display>>(
        &self,
        name: &str,
        label: &str,
    ) -> Result<Option<T>, Refusal> {
        let text = self.text(name);
        if text.is_empty() { Ok(None) } else { parse(text, label).map(Some) }
    }

    /// A country that is on the map, so that UK for GB is noticed.
    pub(super) fn country(&self, name: &str) -> Result<Option<Country>, Refusal> {
        let country: Option<Country> = self.optional(name, "Country")?;
        match country.filter(|it| it.continent().is_none()) {
            None => Ok(country),
            Some(other) if other.to_string() == "UK" => {
                Err(Refusal::Bad("Country: the United Kingdom is GB.".to_owned()))
            }
            Some(other) => Err(Refusal::Bad(format!("Country: ISO 3166-1 has no country {other}."))),
        }
    }

    /// Values, one a line or with spaces or commas between them.
    pub(super) fn list<T: FromStr<Err: Display>>(&self, name: &str, label: &str) -> Result<Vec<T>, Refusal> {
        let words = self.text(name).split([' ', ',', '\r', '\n', '\t']).filter(|it| !it.is_empty());
        words.map(|it| parse(it, label)).collect()
    }

    /// Free words: no control characters but line ends, no invisible ones, at most `most` bytes.
    pub(super) fn words(&self, name: &str, label: &str, most: usize) -> Result<String, Refusal> {
        let text = self.text(name).replace("\r\n", "\n");
        if text.len() > most {
            return Err(Refusal::Bad(format!("{label}: at most {most} bytes.")));
        }
        if text.chars().any(|it| it != '\n' && is_invisible(it)) {
            return Err(Refusal::Bad(format!("{label}: it has a character that nobody can see.")));
        }
        Ok(text)
    }
}

fn parse<T: FromStr<Err: Display>>(text: &str, label: &str) -> Result<T, Refusal> {
    text.parse().map_err(|error| Refusal::Bad(format!("{label}: {error}.")))
}
