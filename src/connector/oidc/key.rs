use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256,
    RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::Deserialize;
use serde_json::Value;

use super::TokenError;

/// Keys of a provider that are looked at; the rest is left alone.
const MOST_KEYS: usize = 100;

/// How a token may be signed. Not `none`, and nothing with a shared secret: then whoever knows a public key could sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256 (RFC 7518, section 3.3).
    Rs256,
    /// RSASSA-PSS with SHA-256 (section 3.5).
    Ps256,
    /// ECDSA on P-256 with SHA-256 (section 3.4).
    Es256,
    /// Ed25519 (RFC 8037, section 3.1).
    EdDsa,
}

impl Algorithm {
    pub(super) fn find(name: &str) -> Result<Self, TokenError> {
        match name {
            "RS256" => Ok(Self::Rs256),
            "PS256" => Ok(Self::Ps256),
            "ES256" => Ok(Self::Es256),
            "EdDSA" => Ok(Self::EdDsa),
            other => Err(TokenError::Algorithm(other.chars().take(20).collect())),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }
}

/// A public key (RFC 7517), of a kind that is understood here.
#[derive(Debug, Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

#[derive(Debug)]
enum Material {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// A key that signs tokens.
#[derive(Debug)]
pub(super) struct Key {
    id: Option<String>,
    /// It is for this alone.
    algorithm: Option<String>,
    material: Material,
}

/// The keys of a provider.
#[derive(Debug)]
pub(super) struct Keys(Vec<Key>);

impl Keys {
    /// Reads a key set. Keys that are not understood, and those for other ends, are left out (RFC 7517, section 5).
    pub(super) fn parse(json: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let set: Set = serde_json::from_slice(json).map_err(|it| it.to_string())?;
        let parse = |it: Value| serde_json::from_value::<Jwk>(it).ok().and_then(Key::new);
        Ok(Self(set.keys.into_iter().take(MOST_KEYS).filter_map(parse).collect()))
    }

    /// The key that is meant. A token may leave out which only where there is no choice (Core 1.0, section 10.1).
    pub(super) fn find(&self, algorithm: Algorithm, id: Option<&str>) -> Option<&Key> {
        let mut fitting = self.0.iter().filter(|it| it.fits(algorithm));
        match id {
            Some(id) => fitting.find(|it| it.id.as_deref() == Some(id)),
            None => fitting.next().filter(|_| fitting.next().is_none()),
        }
    }
}

impl Key {
    fn new(jwk: Jwk) -> Option<Self> {
        if jwk.purpose.is_some_and(|it| it != "sig") {
            return None;
        }
        let bytes = |text: Option<String>| URL_SAFE_NO_PAD.decode(text?).ok();
        let material = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => Material::Rsa { n: bytes(jwk.n)?, e: bytes(jwk.e)? },
            // An uncompressed point (SEC 1, section 2.3.3).
            ("EC", Some("P-256")) => Material::P256([vec![4], bytes(jwk.x)?, bytes(jwk.y)?].concat()),
            ("OKP", Some("Ed25519")) => Material::Ed25519(bytes(jwk.x)?),
            _ => return None,
        };
        Some(Self { id: jwk.kid, algorithm: jwk.alg, material })
    }

    /// A key is used only as what it is: that a token names another algorithm changes nothing.
    fn fits(&self, algorithm: Algorithm) -> bool {
        let is_of_kind = matches!(
            (&self.material, algorithm),
            (Material::Rsa { .. }, Algorithm::Rs256 | Algorithm::Ps256)
                | (Material::P256(_), Algorithm::Es256)
                | (Material::Ed25519(_), Algorithm::EdDsa)
        );
        is_of_kind && self.algorithm.as_deref().is_none_or(|it| it == algorithm.name())
    }

    pub(super) fn verify(
        &self,
        algorithm: Algorithm,
        signed: &[u8],
        signature: &[u8],
    ) -> Result<(), TokenError> {
        let verified = match (&self.material, algorithm) {
            (Material::Rsa { n, e }, Algorithm::Rs256) => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, signed, signature)
            }
            (Material::Rsa { n, e }, Algorithm::Ps256) => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PSS_2048_8192_SHA256, signed, signature)
            }
            (Material::P256(point), Algorithm::Es256) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(signed, signature)
            }
            (Material::Ed25519(point), Algorithm::EdDsa) => {
                UnparsedPublicKey::new(&ED25519, point).verify(signed, signature)
            }
            _ => return Err(TokenError::Signature),
        };
        verified.map_err(|_| TokenError::Signature)
    }
}
