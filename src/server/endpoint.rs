//! Host names by which clients come, and what each of them promises.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::config::Config;
use crate::{
    mirror::{Continent, Country},
    mirrorlist::{Hosts, Policy},
};

/// A host name by which clients come, and what it promises.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EndpointConfig {
    /// The name, without a port. The certificate of a `[[listen]]` has to be for it, too.
    pub host: String,
    /// Never send anyone to a mirror: always the fallback.
    #[serde(default)]
    pub direct: bool,
    /// Only mirrors in these countries.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub countries: Vec<Country>,
    /// Only mirrors, and a fallback, with HTTPS, whatever the client came by.
    #[serde(default)]
    pub https_only: bool,
    /// Only hosts of the kind `cdn`.
    #[serde(default)]
    pub cdn_only: bool,
    /// No mirrors of these sites.
    #[serde(default)]
    pub avoided_sites: Vec<String>,
    /// Leave it out of the first page.
    #[serde(default)]
    pub hidden: bool,
}

impl EndpointConfig {
    /// What it promises, in words. Names only those avoided sites that may be told.
    pub fn promise(&self, is_told: impl Fn(&str) -> bool) -> String {
        if self.direct {
            return "never from a mirror".to_owned();
        }
        let countries: Vec<_> = self.countries.iter().map(Country::as_str).collect();
        let avoided: Vec<_> =
            self.avoided_sites.iter().map(String::as_str).filter(|it| is_told(it)).collect();
        let parts = [
            (!countries.is_empty()).then(|| format!("only from mirrors in {}", countries.join(", "))),
            self.cdn_only.then(|| "only from content delivery networks".to_owned()),
            self.https_only.then(|| "only by HTTPS".to_owned()),
            (!avoided.is_empty()).then(|| format!("never from mirrors of {}", avoided.join(", "))),
        ];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        if parts.is_empty() { "as by any other name".to_owned() } else { parts.join("; ") }
    }

    fn has_choice(&self) -> bool {
        !self.countries.is_empty() || self.https_only || self.cdn_only || !self.avoided_sites.is_empty()
    }
}

impl Config {
    /// What those may be sent to who come by the name of this endpoint; none: by any other name.
    pub fn policy(&self, endpoint: Option<&EndpointConfig>) -> Policy {
        let promised = endpoint.cloned().unwrap_or_default();
        Policy {
            countries: promised.countries,
            http_mirrors: self.http_mirrors,
            https_only: promised.https_only,
            cdn_only: promised.cdn_only,
            avoided_sites: promised.avoided_sites,
            embargoed: self.embargoed.clone(),
        }
    }
}

/// Why an endpoint cannot be meant.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum EndpointError {
    /// No client sends such a name.
    #[error(
        "the endpoint `{0}`: `host` is a name alone, without scheme, port and path, as eu.registry.example.org"
    )]
    Host(String),
    /// Two have one name.
    #[error("the endpoint {0} is there twice")]
    Twice(String),
    /// It says how to choose, and that nothing is chosen.
    #[error("the endpoint {0}: `direct` sends nobody to a mirror; leave out which mirrors")]
    Direct(String),
    /// No mirror could be there.
    #[error("the endpoint {host}: there is no country {country}{advice}")]
    Country {
        /// Of the endpoint.
        host: String,
        /// As it stands there.
        country: Country,
        /// What may be meant.
        advice: String,
    },
}

/// Can all of them be meant?
pub(super) fn judge(endpoints: &[EndpointConfig]) -> Result<(), EndpointError> {
    for (number, endpoint) in endpoints.iter().enumerate() {
        let host = &endpoint.host;
        let is_name = url::Host::parse(host).is_ok_and(|it| it.to_string().eq_ignore_ascii_case(host));
        if !is_name {
            return Err(EndpointError::Host(host.clone()));
        }
        if endpoints[..number].iter().any(|it| it.host.eq_ignore_ascii_case(host)) {
            return Err(EndpointError::Twice(host.clone()));
        }
        if endpoint.direct && endpoint.has_choice() {
            return Err(EndpointError::Direct(host.clone()));
        }
        if let Some(country) = endpoint.countries.iter().copied().find(|it| it.place().is_none()) {
            return Err(EndpointError::Country { host: host.clone(), country, advice: advise(country) });
        }
    }
    Ok(())
}

/// Endpoints, and sites that they avoid and no host is of.
pub(super) fn list_strange_sites<'a>(
    endpoints: &'a [EndpointConfig],
    hosts: &Hosts,
) -> Vec<(&'a str, &'a str)> {
    let all = endpoints.iter().flat_map(|it| it.avoided_sites.iter().map(move |site| (&*it.host, &**site)));
    all.filter(|(_, site)| !hosts.list().iter().any(|it| it.site_name == *site)).collect()
}

/// What may be meant by a country that there is not.
fn advise(country: Country) -> String {
    let text = country.as_str();
    let swapped: String = text.chars().rev().collect();
    let near = match text {
        "UK" | "EN" => "GB",
        "EL" => "GR",
        _ if swapped.parse().is_ok_and(|it: Country| it.place().is_some()) => &swapped,
        _ if text.parse::<Continent>().is_ok() => {
            return ": it is a continent; name its countries".to_owned();
        }
        _ => return String::new(),
    };
    format!(" (near: {near})")
}

/// A host name by which clients come.
#[derive(Debug)]
pub(super) struct Endpoint {
    /// None: it is none that is configured.
    pub(super) config: Option<EndpointConfig>,
    pub(super) policy: Policy,
}

impl Endpoint {
    fn new(serve: &Config, config: Option<EndpointConfig>) -> Self {
        Self { policy: serve.policy(config.as_ref()), config }
    }

    /// Is no mirror ever named to those who come by it?
    pub(super) fn is_direct(&self) -> bool {
        self.config.as_ref().is_some_and(|it| it.direct)
    }
}

/// All names by which clients come.
#[derive(Debug)]
pub(super) struct Endpoints {
    /// By the name in lower case.
    named: BTreeMap<String, Endpoint>,
    other: Endpoint,
}

impl Endpoints {
    pub(super) fn new(serve: &Config, endpoints: &[EndpointConfig]) -> Self {
        let named =
            |it: &EndpointConfig| (it.host.to_ascii_lowercase(), Endpoint::new(serve, Some(it.clone())));
        Self { named: endpoints.iter().map(named).collect(), other: Endpoint::new(serve, None) }
    }

    /// The one of this name, with or without a port, in upper or lower case.
    pub(super) fn find(&self, host: &str) -> &Endpoint {
        if self.named.is_empty() {
            return &self.other;
        }
        let name = host.rsplit_once(':').filter(|it| !it.1.ends_with(']')).map_or(host, |it| it.0);
        self.named.get(&name.to_ascii_lowercase()).unwrap_or(&self.other)
    }

    /// Those that everybody may know, sorted.
    pub(super) fn list_public(&self) -> impl Iterator<Item = &EndpointConfig> {
        self.named.values().filter_map(|it| it.config.as_ref()).filter(|it| !it.hidden)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(text: &str) -> EndpointConfig {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        #[track_caller]
        fn check(texts: &[&str], expected: &str) {
            let endpoints: Vec<_> = texts.iter().map(|it| endpoint(it)).collect();
            let told = judge(&endpoints).map_or_else(|it| it.to_string(), |()| String::new());
            let is_it = if expected.is_empty() { told.is_empty() } else { told.ends_with(expected) };
            assert!(is_it, "{told}");
        }
        for host in ["https://eu.test", "eu.test:443", "eu.test/v2", "", "h@x", "eu test"] {
            check(&[&format!("host = \"{host}\"")], "as eu.registry.example.org");
        }
        for host in ["eu.test", "EU.test", "a_b", "192.0.2.1", "[::1]"] {
            check(&[&format!("host = \"{host}\"")], "");
        }
        check(&["host = \"eu.test\"", "host = \"EU.test\""], "EU.test is there twice");
        check(&["host = \"a\"\ndirect = true\nhttps_only = true"], "leave out which mirrors");
        check(&["host = \"a\"\ndirect = true\navoided_sites = [\"x\"]"], "leave out which mirrors");
        check(&["host = \"a\"\ncountries = [\"de\", \"FR\"]\ncdn_only = true"], "");
        for (country, expected) in [
            ("UK", "the endpoint a: there is no country UK (near: GB)"),
            ("EL", "EL (near: GR)"),
            ("ED", "ED (near: DE)"),
            ("EU", "EU: it is a continent; name its countries"),
            ("QQ", "no country QQ"),
        ] {
            check(&[&format!("host = \"a\"\ncountries = [\"DE\", \"{country}\"]")], expected);
        }
    }

    #[test]
    fn promises_are_told_in_words() {
        #[track_caller]
        fn check(text: &str, expected: &str) {
            assert_eq!(endpoint(&format!("host = \"a\"\n{text}")).promise(|it| it != "secret"), expected);
        }
        check("", "as by any other name");
        check("direct = true", "never from a mirror");
        check("countries = [\"DE\", \"FR\"]", "only from mirrors in DE, FR");
        check("https_only = true\ncdn_only = true", "only from content delivery networks; only by HTTPS");
        check("avoided_sites = [\"One\", \"secret\", \"Two\"]", "never from mirrors of One, Two");
        check("avoided_sites = [\"secret\"]", "as by any other name");
    }

    #[test]
    fn names_are_found_with_a_port_and_in_any_case() {
        let endpoints = ["eu.test", "[::1]"].map(|it| endpoint(&format!("host = \"{it}\"\ndirect = true")));
        let endpoints = Endpoints::new(&Config::default(), &endpoints);
        for name in ["eu.test", "EU.test:443", "eu.test:", "[::1]", "[::1]:5000"] {
            assert!(endpoints.find(name).is_direct(), "{name}");
        }
        for name in ["", "test", "xeu.test", "eu.test.", "::1"] {
            assert!(!endpoints.find(name).is_direct(), "{name}");
        }
    }
}
