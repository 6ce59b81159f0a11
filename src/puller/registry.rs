use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use url::{Host, Url};

/// A registry as users name it: `registry.example.org`, with a port if it is not 443.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RegistryName(String);

/// Why a text names no registry.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "`{}` is no registry's name: it is a host with its domain, and a port if that is not 443, as registry.example.org or \
     registry.example.org:5000, without https:// and without a repository", .0.escape_debug()
)]
pub struct RegistryNameError(String);

impl RegistryName {
    /// As it was named, in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Without the port.
    pub fn host(&self) -> &str {
        let is_port = |it: &str| it.bytes().all(|byte| byte.is_ascii_digit());
        self.0.rsplit_once(':').filter(|it| is_port(it.1)).map_or(self.as_str(), |it| it.0)
    }

    /// Does a connection to this host and port mean this registry?
    pub(super) fn is_at(&self, host: &str, port: u16) -> bool {
        let own = self.url("https").port_or_known_default();
        own == Some(port) && self.host().trim_matches(['[', ']']).eq_ignore_ascii_case(host)
    }

    /// Where it answers. Only one on this very machine is asked without TLS.
    pub(super) fn base(&self) -> Url {
        let secure = self.url("https");
        let is_loopback = match secure.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        if is_loopback { self.url("http") } else { secure }
    }

    fn url(&self, scheme: &str) -> Url {
        Url::parse(&format!("{scheme}://{}/", self.0)).expect("it was parsed like this before")
    }
}

impl FromStr for RegistryName {
    type Err = RegistryNameError;

    fn from_str(text: &str) -> Result<Self, RegistryNameError> {
        let error = || RegistryNameError(text.chars().take(100).collect());
        let lower = text.to_ascii_lowercase();
        // A URL's host that comes out as it went in: no path, login, escape or other spelling of an address.
        let url = Url::parse(&format!("https://{lower}/")).map_err(|_| error())?;
        let host = url.host_str().unwrap_or_default();
        let printed = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let has_domain = host == "localhost" || printed.contains(['.', ':']);
        let is_complete = host.split('.').all(|label| !label.is_empty());
        if printed == lower && has_domain && is_complete { Ok(Self(lower)) } else { Err(error()) }
    }
}

impl fmt::Display for RegistryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for RegistryName {
    type Error = RegistryNameError;

    fn try_from(text: String) -> Result<Self, RegistryNameError> {
        text.parse()
    }
}

impl From<RegistryName> for String {
    fn from(name: RegistryName) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_asked_without_tls() {
        #[track_caller]
        fn check(name: &str, host: &str, base: &str) {
            let name: RegistryName = name.parse().unwrap();
            assert_eq!((name.host(), name.base().as_str()), (host, base));
        }
        check("registry.example.org", "registry.example.org", "https://registry.example.org/");
        check("Registry.example.org:5000", "registry.example.org", "https://registry.example.org:5000/");
        check("127.0.0.1:5000", "127.0.0.1", "http://127.0.0.1:5000/");
        check("[::1]:5000", "[::1]", "http://[::1]:5000/");
        check("[2001:db8::1]", "[2001:db8::1]", "https://[2001:db8::1]/");
        check("localhost", "localhost", "http://localhost/");
        check("127.0.0.1.example.org", "127.0.0.1.example.org", "https://127.0.0.1.example.org/");
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for text in [
            "",
            "fedora",
            "a.test/b",
            "a.test/",
            "a.test?b",
            "u@a.test",
            "a.test#b",
            "a .test",
            "https://a.test",
            "..",
            "a..test",
            "a.test.",
            ".test",
            "a.test:",
            "a.test:443",
            "a.test:99999",
            "a%2etest",
            "0x7f.1",
            "a.test\\b",
            "a.test\n",
        ] {
            let error = text.parse::<RegistryName>().unwrap_err().to_string();
            assert!(error.contains("without https://"), "{text}: {error}");
        }
    }

    #[test]
    fn a_connection_is_to_a_host_and_a_port() {
        let [plain, other] = ["r.test", "r.test:5000"].map(|it| it.parse::<RegistryName>().unwrap());
        assert!(plain.is_at("R.test", 443) && !plain.is_at("r.test", 5000) && !plain.is_at("x.r.test", 443));
        assert!(other.is_at("r.test", 5000) && !other.is_at("r.test", 443));
    }
}
