//! Signs images as `cosign sign --key` does.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use p256::ecdsa::{DerSignature, SigningKey, signature::Signer};
use p256::pkcs8::{EncodePublicKey, LineEnding};
use serde_json::{Value, json};

use super::image::{self, OCI_INDEX, OCI_MANIFEST};
use super::origin;

pub(crate) struct Key(SigningKey);

impl Key {
    /// The same for the same seed, which is not 0.
    pub(crate) fn new(seed: u8) -> Key {
        Key(SigningKey::from_slice(&[seed; 32]).expect("a key"))
    }

    /// What stands in `cosign.pub`.
    pub(crate) fn public(&self) -> String {
        let key = p256::PublicKey::from(self.0.verifying_key());
        key.to_public_key_pem(LineEnding::LF).expect("a public key")
    }

    /// Signs an image of the origin, under the tag `sha256-….sig`.
    pub(crate) fn sign(&self, repository: &str, digest: &str) {
        let tag = format!("{}.sig", digest.replace(':', "-"));
        let manifest = self.manifest(repository, digest).to_string();
        image::push_manifest(origin::URL, repository, &tag, OCI_MANIFEST, manifest.as_bytes());
    }

    /// The same by a manifest that refers to the image, where an origin without a referrers API keeps them.
    pub(crate) fn refer(&self, repository: &str, digest: &str, subject: &[u8]) {
        let mut manifest = self.manifest(repository, digest);
        manifest["artifactType"] = "application/vnd.dev.cosign.artifact.sig.v1+json".into();
        manifest["subject"] = image::descriptor(OCI_MANIFEST, subject);
        let manifest = manifest.to_string();
        let own = image::digest(manifest.as_bytes());
        image::push_manifest(origin::URL, repository, &own, OCI_MANIFEST, manifest.as_bytes());
        let entry = image::descriptor(OCI_MANIFEST, manifest.as_bytes());
        let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}).to_string();
        let tag = digest.replace(':', "-");
        image::push_manifest(origin::URL, repository, &tag, OCI_INDEX, index.as_bytes());
    }

    fn manifest(&self, repository: &str, digest: &str) -> Value {
        let payload = json!({"critical": {
            "identity": {"docker-reference": format!("origin.test/{repository}")},
            "image": {"docker-manifest-digest": digest},
            "type": "cosign container image signature",
        }, "optional": null});
        let payload = payload.to_string().into_bytes();
        let value: DerSignature = self.0.sign(&payload);
        let mut layer = image::descriptor("application/vnd.dev.cosign.simplesigning.v1+json", &payload);
        layer["annotations"] = json!({"dev.cosignproject.cosign/signature": BASE64.encode(value.as_bytes())});
        let config = b"{\"config\":{}}";
        image::push_blob(origin::URL, repository, &payload);
        image::push_blob(origin::URL, repository, config);
        json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST,
            "config": image::descriptor(image::OCI_CONFIG, config), "layers": [layer],
        })
    }
}
