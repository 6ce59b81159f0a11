use serde::Deserialize;
use url::Url;

use super::error::OidcError;
use crate::connector::transport::is_loopback;

/// Where a provider says what it can (OpenID Connect Discovery 1.0, section 4).
const WELL_KNOWN: &str = "/.well-known/openid-configuration";

/// What a provider says of itself, as far as we ask.
#[derive(Debug)]
pub(super) struct Discovery {
    issuer: String,
    pub(super) authorization: Url,
    pub(super) token: Url,
    pub(super) keys: Url,
    pub(super) userinfo: Option<Url>,
    /// The client's secret goes into the header; otherwise into the form (Core 1.0, section 9).
    pub(super) takes_basic: bool,
    names_issuer: bool,
}

/// The same as it is written.
#[derive(Deserialize)]
struct Document {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    userinfo_endpoint: Option<String>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

impl Discovery {
    /// Where the discovery of an issuer is.
    pub(super) fn url(issuer: &str) -> String {
        format!("{}{WELL_KNOWN}", issuer.trim_end_matches('/'))
    }

    /// Reads what this issuer says of itself. It leads nowhere that others can listen.
    pub(super) fn parse(json: &[u8], issuer: &str) -> Result<Self, String> {
        let document: Document = serde_json::from_slice(json).map_err(|it| it.to_string())?;
        if document.issuer != issuer {
            return Err(format!("it is of the issuer {:?}, not {issuer:?}", document.issuer));
        }
        let may_be_plain = issuer.starts_with("http://");
        let read = |text: String| {
            let url = Url::parse(&text).ok().filter(is_safe);
            let url = url.filter(|it| may_be_plain || it.scheme() == "https");
            url.ok_or_else(|| format!("it names {text:?}, which is no https URL"))
        };
        let methods = document.token_endpoint_auth_methods_supported;
        Ok(Self {
            issuer: document.issuer,
            authorization: read(document.authorization_endpoint)?,
            token: read(document.token_endpoint)?,
            keys: read(document.jwks_uri)?,
            userinfo: document.userinfo_endpoint.map(read).transpose()?,
            takes_basic: methods.is_none_or(|it| it.iter().any(|it| it == "client_secret_basic")),
            names_issuer: document.authorization_response_iss_parameter_supported,
        })
    }

    /// Is it an answer of this issuer? It must say so if it always does (RFC 9207, section 2.4).
    pub(super) fn admits(&self, issuer: Option<&str>) -> bool {
        issuer.map_or(!self.names_issuer, |it| it == self.issuer)
    }
}

/// An address that is asked only by HTTPS, or on this machine.
pub(super) fn parse(key: &'static str, text: &str) -> Result<Url, OidcError> {
    let url = Url::parse(text).ok().filter(|it| is_safe(it) && it.query().is_none());
    url.ok_or_else(|| OidcError::Url { key, text: text.to_owned() })
}

fn is_safe(url: &Url) -> bool {
    let is_plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    let is_secret = url.scheme() == "https" || url.scheme() == "http" && is_loopback(url);
    is_plain && is_secret && url.has_host()
}
