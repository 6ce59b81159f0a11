//! An ID token, and whether it proves who somebody is (OpenID Connect Core 1.0, section 3.1.3.7).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::{
    TokenError,
    key::{Algorithm, Key},
};

/// Clocks may differ by so many seconds.
const LEEWAY: f64 = 60.0;

/// A token is so many seconds old at most: it was made for this sign-in.
const OLDEST: f64 = 600.0;

/// Bytes of a subject (Core 1.0, section 2).
const LONGEST_SUBJECT: usize = 255;

/// What a token must say.
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    pub(super) client_id: &'a str,
    pub(super) nonce: &'a str,
    /// Unix seconds.
    pub(super) now: i64,
}

/// A token whose signature has not been checked yet: nothing that it claims can be read.
pub(super) struct Unverified<'a> {
    pub(super) algorithm: Algorithm,
    pub(super) key_id: Option<String>,
    signed: &'a str,
    payload: &'a str,
    signature: Vec<u8>,
}

/// What a token of the provider claims.
#[derive(Debug, Deserialize)]
pub(super) struct Claims {
    iss: String,
    pub(super) sub: String,
    aud: Audience,
    azp: Option<String>,
    exp: f64,
    iat: f64,
    nbf: Option<f64>,
    nonce: Option<String>,
    #[serde(flatten)]
    pub(super) others: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl<'a> Unverified<'a> {
    pub(super) fn parse(token: &'a str) -> Result<Self, TokenError> {
        #[derive(Deserialize)]
        struct Header {
            alg: String,
            kid: Option<String>,
            crit: Option<Value>,
        }
        let form = |why: &str| TokenError::Form(why.to_owned());
        let (signed, signature) = token.rsplit_once('.').ok_or_else(|| form("it has no dots"))?;
        let (header, payload) = signed.split_once('.').ok_or_else(|| form("it has one dot"))?;
        let header: Header = parse(header)?;
        if header.crit.is_some() {
            return Err(form("it has a critical extension"));
        }
        let algorithm = Algorithm::find(&header.alg)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|it| TokenError::Form(it.to_string()))?;
        Ok(Self { algorithm, key_id: header.kid, signed, payload, signature })
    }

    /// What it claims, if this key has signed it and it is the one that is expected.
    pub(super) fn verify(&self, key: &Key, expected: &Expected<'_>) -> Result<Claims, TokenError> {
        key.verify(self.algorithm, self.signed.as_bytes(), &self.signature)?;
        let claims: Claims = parse(self.payload)?;
        claims.check(expected)?;
        Ok(claims)
    }
}

impl Claims {
    fn check(&self, expected: &Expected<'_>) -> Result<(), TokenError> {
        if self.iss != expected.issuer {
            return Err(TokenError::Issuer(self.iss.clone()));
        }
        let audience = match &self.aud {
            Audience::One(one) => std::slice::from_ref(one),
            Audience::Many(many) => many,
        };
        // No other audience is trusted.
        if audience != [expected.client_id] {
            return Err(TokenError::Audience(audience.to_vec()));
        }
        if let Some(party) = self.azp.as_ref().filter(|it| *it != expected.client_id) {
            return Err(TokenError::Party(party.clone()));
        }
        let now = expected.now as f64;
        if self.exp <= now - LEEWAY {
            return Err(TokenError::Expired);
        }
        let is_future = |it: f64| it > now + LEEWAY;
        if is_future(self.iat) || self.iat < now - OLDEST - LEEWAY || self.nbf.is_some_and(is_future) {
            return Err(TokenError::Age);
        }
        if self.nonce.as_deref() != Some(expected.nonce) {
            return Err(TokenError::Nonce);
        }
        let is_subject = (1..=LONGEST_SUBJECT).contains(&self.sub.len()) && self.sub.is_ascii();
        if is_subject { Ok(()) } else { Err(TokenError::Subject) }
    }
}

fn parse<T: DeserializeOwned>(part: &str) -> Result<T, TokenError> {
    let json = URL_SAFE_NO_PAD.decode(part).map_err(|it| TokenError::Form(it.to_string()))?;
    serde_json::from_slice(&json).map_err(|it| TokenError::Form(it.to_string()))
}
