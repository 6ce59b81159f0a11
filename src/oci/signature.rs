use std::str::FromStr;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use p256::{
    ecdsa::{DerSignature, VerifyingKey, signature::Verifier as _},
    pkcs8::DecodePublicKey,
};
use serde::Deserialize;

use super::{Descriptor, Digest, RepositoryName};

/// The media type of a layer that is a signed payload ("simple signing").
const PAYLOAD_TYPE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

/// The annotation of such a layer that has the signature.
const ANNOTATION: &str = "dev.cosignproject.cosign/signature";

/// What cosign calls a manifest with signatures that refers to an image.
const ARTIFACT_TYPES: [&str; 2] = ["application/vnd.dev.cosign.artifact.sig.v1+json", PAYLOAD_TYPE];

/// What a payload calls itself.
const PAYLOAD_KIND: &str = "cosign container image signature";

/// A public key on the curve P-256, as `cosign.pub` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

/// Why a text is not a key that we can use.
#[derive(Debug, thiserror::Error)]
#[error("it is no public key of the curve P-256 in PEM (`-----BEGIN PUBLIC KEY-----`): {0}")]
pub struct PublicKeyError(p256::pkcs8::spki::Error);

impl FromStr for PublicKey {
    type Err = PublicKeyError;

    fn from_str(pem: &str) -> Result<Self, PublicKeyError> {
        VerifyingKey::from_public_key_pem(pem.trim()).map(Self).map_err(PublicKeyError)
    }
}

/// A signature as cosign keeps it: a layer of a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The layer's bytes: what is signed, and what it says.
    pub payload: Vec<u8>,
    /// Of the payload, in Base64.
    pub value: String,
}

/// Why a signature does not hold.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SignatureError {
    /// Not Base64, or not a signature.
    #[error("a signature cannot be read")]
    Form,
    /// By none of the keys.
    #[error("a signature is by none of the keys")]
    Key,
    /// The payload is no text of the kind that cosign signs.
    #[error("the signed text cannot be read")]
    Payload,
    /// Of something else.
    #[error("a signature is of the manifest `{}`", .0.escape_debug())]
    Digest(String),
    /// Of a manifest in another repository.
    #[error("a signature is for the repository `{}`", .0.escape_debug())]
    Repository(String),
}

#[derive(Deserialize)]
struct Payload {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    identity: Option<Identity>,
    image: SignedImage,
    r#type: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Identity {
    docker_reference: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct SignedImage {
    docker_manifest_digest: String,
}

impl Signature {
    /// The signature that stands beside a layer, if the layer is a signed payload.
    pub fn beside(layer: &Descriptor) -> Option<&str> {
        let value = layer.annotations.as_ref()?.get(ANNOTATION)?;
        (layer.media_type == PAYLOAD_TYPE).then_some(value.as_str())
    }

    /// May this be, of the manifests that refer to an image, one with signatures?
    pub fn may_be_in(referrer: &Descriptor) -> bool {
        referrer.artifact_type.as_deref().is_none_or(|it| ARTIFACT_TYPES.contains(&it))
    }

    /// Is it by one of these keys, and of this manifest in this repository?
    ///
    /// cosign, "Signature specification". Which registry the payload names does not count: images are signed
    /// under one name and brought to another.
    pub fn verify(
        &self,
        keys: &[PublicKey],
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<(), SignatureError> {
        let value = BASE64.decode(self.value.trim()).map_err(|_| SignatureError::Form)?;
        let value = DerSignature::from_bytes(&value).map_err(|_| SignatureError::Form)?;
        if !keys.iter().any(|it| it.0.verify(&self.payload, &value).is_ok()) {
            return Err(SignatureError::Key);
        }
        let payload: Payload = serde_json::from_slice(&self.payload).map_err(|_| SignatureError::Payload)?;
        let Critical { identity, image, r#type } = payload.critical;
        if r#type != PAYLOAD_KIND {
            return Err(SignatureError::Payload);
        }
        if image.docker_manifest_digest != digest.to_string() {
            return Err(SignatureError::Digest(image.docker_manifest_digest));
        }
        match identity.and_then(|it| it.docker_reference).filter(|it| !it.is_empty()) {
            Some(reference) if repository_of(&reference) != repository.as_str() => {
                Err(SignatureError::Repository(reference))
            }
            _ => Ok(()),
        }
    }
}

/// `registry.example.org:5000/team/app:tag@digest` → `team/app`
fn repository_of(reference: &str) -> &str {
    let named = reference.split('@').next().unwrap_or_default();
    let path = match named.split_once('/') {
        Some((registry, path)) if registry.contains(['.', ':']) || registry == "localhost" => path,
        _ => named,
    };
    path.split(':').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use p256::{
        ecdsa::{SigningKey, signature::Signer},
        pkcs8::{EncodePublicKey, LineEnding},
    };
    use serde_json::json;

    use super::*;

    fn key(seed: u8) -> (SigningKey, PublicKey) {
        let key = SigningKey::from_slice(&[seed; 32]).unwrap();
        let pem = p256::PublicKey::from(key.verifying_key()).to_public_key_pem(LineEnding::LF).unwrap();
        (key, format!("\n{pem}\n").parse().unwrap())
    }

    fn sign(key: &SigningKey, payload: &str) -> Signature {
        let value: DerSignature = key.sign(payload.as_bytes());
        Signature { payload: payload.as_bytes().to_vec(), value: BASE64.encode(value.as_bytes()) }
    }

    fn payload(reference: &str, digest: &str) -> String {
        json!({"critical": {
            "identity": {"docker-reference": reference},
            "image": {"docker-manifest-digest": digest},
            "type": PAYLOAD_KIND,
        }, "optional": null})
        .to_string()
    }

    #[test]
    fn only_a_signature_of_this_image_by_our_key_holds() {
        let digest = Digest::of(b"image");
        let (ours, public) = key(7);
        let (other, other_public) = key(8);
        let check = |signature: Signature, expected: Result<(), SignatureError>| {
            let keys = [other_public.clone(), public.clone()];
            assert_eq!(signature.verify(&keys, &"team/app".parse().unwrap(), &digest), expected);
        };
        let of = |reference: &str| payload(reference, &digest.to_string());
        for reference in ["", "team/app", "registry.test/team/app", "localhost:5000/team/app:1@sha256:x"] {
            check(sign(&ours, &of(reference)), Ok(()));
        }
        for reference in ["registry.test/app", "registry.test/x/team/app", "other/app"] {
            check(sign(&ours, &of(reference)), Err(SignatureError::Repository(reference.into())));
        }
        let (stranger, _) = key(9);
        check(sign(&stranger, &of("")), Err(SignatureError::Key));
        check(sign(&other, &of("")), Ok(()));
        let wrong = sign(&ours, &payload("", "sha256:0"));
        check(wrong.clone(), Err(SignatureError::Digest("sha256:0".into())));
        let swapped = Signature { payload: of("").into_bytes(), ..wrong.clone() };
        check(swapped, Err(SignatureError::Key));
        check(Signature { value: "AAAA".into(), ..wrong.clone() }, Err(SignatureError::Form));
        check(Signature { value: "?".into(), ..wrong }, Err(SignatureError::Form));
        check(sign(&ours, "{}"), Err(SignatureError::Payload));
        check(sign(&ours, &of("").replace("cosign", "other")), Err(SignatureError::Payload));
        let unnamed = of("").replace(r#""identity":{"docker-reference":""},"#, "");
        check(sign(&ours, &unnamed), Ok(()));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for text in ["", "cosign", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"] {
            assert!(text.parse::<PublicKey>().unwrap_err().to_string().contains("P-256"));
        }
    }
}
