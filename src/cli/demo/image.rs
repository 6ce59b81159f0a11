use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    oci::{Digest, MediaType},
    server::StandInAnswer,
};

/// The only repository of the demo, and the category it is in.
pub(super) const NAME: &str = "demo";

const ARCHITECTURES: [&str; 2] = ["amd64", "arm64"];

/// How much noise is in each of the two layers that all images share, in bytes.
const SHARED_LAYERS: [usize; 2] = [1_600_000, 1_300_000];

/// How much noise is in the layer that is made for one architecture and version, in bytes.
const OWN_LAYER: usize = 1_200_000;

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// All that a registry with one repository answers, by path.
#[derive(Clone)]
pub(super) struct Registry {
    answers: BTreeMap<String, StandInAnswer>,
}

impl Registry {
    /// A registry with the first `versions` versions of the image, tagged `1`, `2` and so on, the last also
    /// `latest`. The same images every time.
    pub(super) fn with_versions(versions: u64) -> Self {
        let mut registry = Self { answers: BTreeMap::new() };
        registry.insert("/v2/".to_owned(), "application/json", b"{}".to_vec());
        let mut tags = vec!["latest".to_owned()];
        for version in 1..=versions {
            let index = registry.push(version);
            for tag in [&version.to_string(), "latest"] {
                registry.insert(manifest_path(tag), MediaType::OciIndex.as_str(), index.clone());
            }
            tags.push(version.to_string());
        }
        let list = json!({ "name": NAME, "tags": tags });
        registry.insert(format!("/v2/{NAME}/tags/list"), "application/json", bytes(&list));
        registry
    }

    /// What is at this path?
    pub(super) fn find(&self, path: &str) -> Option<StandInAnswer> {
        self.answers.get(path).cloned()
    }

    /// Adds one version for all architectures, and returns its index.
    fn push(&mut self, version: u64) -> Vec<u8> {
        let mut manifests = Vec::new();
        for (seed, architecture) in (first_seed(version)..).zip(ARCHITECTURES) {
            let mut layers: Vec<_> = (1..).zip(SHARED_LAYERS).map(|(at, length)| layer(at, length)).collect();
            layers.push(layer(seed, OWN_LAYER));
            let diff_ids: Vec<_> = layers.iter().map(|it| Digest::of(it).to_string()).collect();
            let config = bytes(&json!({
                "architecture": architecture,
                "os": "linux",
                "config": { "Labels": { "version": version.to_string() } },
                // The layers are not compressed: these are their digests.
                "rootfs": { "type": "layers", "diff_ids": diff_ids },
            }));
            let config = self.push_blob(CONFIG, config);
            let layers: Vec<_> = layers.into_iter().map(|it| self.push_blob(LAYER, it)).collect();
            let manifest = json!({
                "schemaVersion": 2,
                "mediaType": MediaType::OciManifest.as_str(),
                "config": config,
                "layers": layers,
            });
            let mut descriptor = self.push_manifest(MediaType::OciManifest, bytes(&manifest));
            descriptor["platform"] = json!({ "architecture": architecture, "os": "linux" });
            manifests.push(descriptor);
        }
        let media_type = MediaType::OciIndex;
        let index = json!({ "schemaVersion": 2, "mediaType": media_type.as_str(), "manifests": manifests });
        let index = bytes(&index);
        self.push_manifest(media_type, index.clone());
        index
    }

    fn push_manifest(&mut self, media_type: MediaType, bytes: Vec<u8>) -> Value {
        let descriptor = descriptor(media_type.as_str(), &bytes);
        self.insert(manifest_path(&Digest::of(&bytes).to_string()), media_type.as_str(), bytes);
        descriptor
    }

    fn push_blob(&mut self, media_type: &str, bytes: Vec<u8>) -> Value {
        let descriptor = descriptor(media_type, &bytes);
        let path = format!("/v2/{NAME}/blobs/{}", Digest::of(&bytes));
        self.insert(path, "application/octet-stream", bytes);
        descriptor
    }

    fn insert(&mut self, path: String, content_type: &'static str, bytes: Vec<u8>) {
        self.answers.insert(path, StandInAnswer { content_type, bytes });
    }
}

/// The lowest layer of all images.
pub(super) fn shared_layer() -> Digest {
    Digest::of(&layer(1, SHARED_LAYERS[0]))
}

/// The layer that is made for `amd64` and this version.
pub(super) fn own_layer(version: u64) -> Digest {
    Digest::of(&layer(first_seed(version), OWN_LAYER))
}

/// The seed of a version's first own layer; the next ones follow.
fn first_seed(version: u64) -> u64 {
    100 * version
}

fn manifest_path(reference: &str) -> String {
    format!("/v2/{NAME}/manifests/{reference}")
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": Digest::of(bytes).to_string(), "size": bytes.len() })
}

fn bytes(document: &Value) -> Vec<u8> {
    document.to_string().into_bytes()
}

/// A layer with one file of noise, which cannot be compressed.
fn layer(seed: u64, length: usize) -> Vec<u8> {
    let noise = noise(seed, length);
    let mut header = tar::Header::new_gnu();
    header.set_size(length as u64);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    let mut archive = tar::Builder::new(Vec::new());
    archive
        .append_data(&mut header, format!("noise-{seed}"), noise.as_slice())
        .and_then(|()| archive.into_inner())
        .expect("a vector takes all that is written")
}

/// SplitMix64.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let word = |at: u64| {
        let mut mixed = (seed << 32 | at).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)).to_le_bytes()
    };
    let mut noise: Vec<u8> = (0..length.div_ceil(8) as u64).flat_map(word).collect();
    noise.truncate(length);
    noise
}
