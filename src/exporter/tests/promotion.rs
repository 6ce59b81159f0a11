//! The gate: only what is signed is exported.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use p256::{
    ecdsa::{DerSignature, SigningKey, signature::Signer},
    pkcs8::{EncodePublicKey, LineEnding},
};

use super::*;

/// A key, and what is signed by it.
struct Signatory(SigningKey);

impl Signatory {
    fn new(seed: u8) -> Self {
        Self(SigningKey::from_slice(&[seed; 32]).unwrap())
    }

    fn write(&self, world: &World, name: &str) -> std::path::PathBuf {
        let pem = p256::PublicKey::from(self.0.verifying_key()).to_public_key_pem(LineEnding::LF).unwrap();
        let path = world.folder.path().join(name);
        fs::write(&path, pem).unwrap();
        path
    }

    /// A manifest with a signature of `digest`, as cosign makes it.
    fn sign(
        &self,
        content: &mut Content,
        digest: &Digest,
        subject: Option<&serde_json::Value>,
    ) -> serde_json::Value {
        let payload = json!({"critical": {
            "identity": {"docker-reference": "registry.internal.example/app"},
            "image": {"docker-manifest-digest": digest},
            "type": "cosign container image signature",
        }, "optional": null});
        let payload = payload.to_string();
        let value: DerSignature = self.0.sign(payload.as_bytes());
        let mut layer = content.blob(payload.as_bytes());
        layer["mediaType"] = "application/vnd.dev.cosign.simplesigning.v1+json".into();
        layer["annotations"] = json!({"dev.cosignproject.cosign/signature": BASE64.encode(value.as_bytes())});
        let config = content.blob(b"{}");
        let mut manifest = json!({"schemaVersion": 2, "config": config, "layers": [layer]});
        if let Some(subject) = subject {
            manifest["subject"] = subject.clone();
        }
        content.manifest(OCI, &manifest)
    }
}

fn signature_tag(image: &serde_json::Value) -> String {
    format!("app:sha256-{}.sig", digest_of(image).hex())
}

/// A world whose category `main` wants a signature by the first key; `open` wants none.
async fn gated() -> (World, Signatory) {
    let mut world = World::new().await;
    let signatory = Signatory::new(7);
    let other = Signatory::new(8).write(&world, "other.pub");
    world.categories[0].signed_by = vec![other, signatory.write(&world, "cosign.pub")];
    world.category("open", &["app"]);
    (world, signatory)
}

fn ordinary(world: &World, category: &str) -> Vec<(String, Digest)> {
    let tags = world.read(category).repositories.into_values().flatten();
    tags.filter(|it| it.0.subject().is_none()).map(|(tag, digest)| (tag.to_string(), digest)).collect()
}

#[tokio::test]
async fn a_tag_moves_when_the_image_is_signed() {
    let (mut world, signatory) = gated().await;
    let [old, new] = world.change(|content| {
        let images = ["old", "new"].map(|it| content.image(it));
        let signature = signatory.sign(content, &digest_of(&images[0]), None);
        content.tag(&signature_tag(&images[0]), &signature);
        content.tag("app:1", &images[0]);
        images
    });
    assert!(world.export(1000).await.is_whole());
    assert_eq!(ordinary(&world, "main"), [("1".to_owned(), digest_of(&old))]);

    // Unsigned; then signed by a stranger; then with the signature of another image.
    world.change(|content| content.tag("app:1", &new));
    let check = async |world: &mut World, now, why: &str| {
        let summary = world.export(now).await;
        let [fault] = &summary.faults[..] else { panic!("{summary:?}") };
        let start = format!("app:1: category main: {} is not exported", digest_of(&new));
        assert!(fault.to_string().starts_with(&start) && fault.reason.contains(why), "{fault}");
        assert_eq!(ordinary(world, "main"), [("1".to_owned(), digest_of(&old))]);
        assert_eq!(ordinary(world, "open"), [("1".to_owned(), digest_of(&new))]);
        assert!(!world.holds("main", b"new") && !summary.categories[0].changed);
    };
    check(&mut world, 2000, "it has no signature").await;
    let tag = signature_tag(&new);
    for (signatory, signed, why) in
        [(Signatory::new(9), &new, "by none of the keys"), (Signatory::new(7), &old, "is of the manifest")]
    {
        world.change(|content| {
            let signature = signatory.sign(content, &digest_of(signed), None);
            content.tag(&tag, &signature);
        });
        check(&mut world, 3000, why).await;
        check(&mut world, 3001, why).await;
        assert!(!world.requests().iter().any(|it| it.starts_with("GET") && it.contains("/blobs/")));
    }

    world.change(|content| {
        let signature = signatory.sign(content, &digest_of(&new), None);
        content.tag(&tag, &signature);
    });
    assert!(world.export(4000).await.is_whole());
    assert_eq!(ordinary(&world, "main"), [("1".to_owned(), digest_of(&new))]);
    assert!(world.tags().contains(&tag));
    let heads: Vec<_> = world.requests().into_iter().filter(|it| it.starts_with("HEAD")).collect();
    assert_eq!(heads.len(), heads.iter().collect::<BTreeSet<_>>().len(), "each tag once: {heads:?}");
}

#[tokio::test]
async fn a_signature_may_be_a_referrer() {
    let (mut world, signatory) = gated().await;
    let image = world.change(|content| {
        content.has_api = true;
        let image = content.image("a");
        content.tag("app:1", &image);
        image
    });
    let summary = world.try_export(1000).await.unwrap();
    assert_eq!((summary.faults.len(), summary.refused.len()), (1, 1), "{summary:?}");
    world.change(|content| signatory.sign(content, &digest_of(&image), Some(&image)));
    assert!(world.export(2000).await.is_whole());
    assert_eq!(ordinary(&world, "main"), [("1".to_owned(), digest_of(&image))]);
}
