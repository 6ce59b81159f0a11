//! Images, built byte by byte, always the same for the same name.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::http;

pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// Sizes of the layers of an ordinary image of the rig, in bytes: several, the first over 1 MiB.
pub(crate) const LAYERS: [usize; 4] = [1_500_000, 1_100_000, 700_000, 300_000];

/// `sha256:…` of some bytes.
pub(crate) fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(bytes))
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A file-system layer, as tar and as gzip.
struct Layer {
    tar: Vec<u8>,
    gzip: Vec<u8>,
}

impl Layer {
    fn new(name: &str, size: usize) -> Layer {
        let content = noise(name, size);
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, content.as_slice()).expect("an entry of a tar");
        let tar = builder.into_inner().expect("a tar");
        let mut encoder = GzEncoder::new(Vec::new(), Compression::none());
        encoder.write_all(&tar).expect("gzip");
        Layer { gzip: encoder.finish().expect("gzip"), tar }
    }
}

/// `size` bytes that no compressor makes smaller, the same for the same seed (xorshift64).
pub(crate) fn noise(seed: &str, size: usize) -> Vec<u8> {
    let start: [u8; 8] = Sha256::digest(seed)[..8].try_into().expect("eight bytes");
    let mut state = u64::from_le_bytes(start) | 1;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

/// An image for one platform, OCI media types.
pub(crate) struct Image {
    architecture: String,
    layers: Vec<Layer>,
    config: Vec<u8>,
    pub(crate) manifest: Vec<u8>,
}

impl Image {
    /// An image whose content follows from `name` and `architecture`.
    pub(crate) fn new(name: &str, architecture: &str, sizes: &[usize]) -> Image {
        let layer =
            |(number, size): (usize, &usize)| Layer::new(&format!("{name}-{architecture}-{number}"), *size);
        let layers: Vec<Layer> = sizes.iter().enumerate().map(layer).collect();
        let config = json!({
            "architecture": architecture,
            "os": "linux",
            "created": "2026-01-01T00:00:00Z",
            "config": {"Cmd": ["/none"], "Labels": {"name": name}},
            "rootfs": {"type": "layers", "diff_ids": layers.iter().map(|l| digest(&l.tar)).collect::<Vec<_>>()},
        });
        let config = config.to_string().into_bytes();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": descriptor(OCI_CONFIG, &config),
            "layers": layers.iter().map(|l| descriptor(OCI_LAYER, &l.gzip)).collect::<Vec<_>>(),
        });
        let manifest = manifest.to_string().into_bytes();
        Image { architecture: architecture.to_owned(), layers, config, manifest }
    }

    /// The ordinary image of the rig.
    pub(crate) fn ordinary(name: &str) -> Image {
        Image::new(name, "amd64", &LAYERS)
    }

    /// What `docker load` reads. docker compresses layers itself, so their digests at the registry differ from ours.
    pub(crate) fn docker_archive(&self, reference: &str) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        let mut append = |name: &str, content: &[u8]| {
            let mut header = tar::Header::new_ustar();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, name, content).expect("an entry of a tar");
        };
        let names: Vec<String> = (0..self.layers.len()).map(|number| format!("{number}/layer.tar")).collect();
        for (name, layer) in names.iter().zip(&self.layers) {
            append(name, &layer.tar);
        }
        let config = format!("{}.json", hex(&self.config));
        append(&config, &self.config);
        let manifest = json!([{"Config": config, "RepoTags": [reference], "Layers": names}]);
        append("manifest.json", manifest.to_string().as_bytes());
        builder.into_inner().expect("a tar")
    }

    /// Every blob: config and layers.
    pub(crate) fn blobs(&self) -> Vec<&[u8]> {
        std::iter::once(&self.config).chain(self.layers.iter().map(|l| &l.gzip)).map(Vec::as_slice).collect()
    }

    /// Pushes this image without docker, whose 20.10 knows no OCI types, and gives its manifest's digest.
    pub(crate) fn push(&self, registry: &str, repository: &str, tag: &str) -> String {
        for blob in self.blobs() {
            push_blob(registry, repository, blob);
        }
        push_manifest(registry, repository, tag, OCI_MANIFEST, &self.manifest)
    }

    fn index_entry(&self) -> Value {
        let mut entry = descriptor(OCI_MANIFEST, &self.manifest);
        entry["platform"] = json!({"os": "linux", "architecture": self.architecture});
        entry
    }
}

/// An OCI index over `images`.
pub(crate) fn index(images: &[Image]) -> Vec<u8> {
    let manifests: Vec<Value> = images.iter().map(Image::index_entry).collect();
    json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}).to_string().into_bytes()
}

/// Pushes a multi-architecture image and gives the digest of its index.
pub(crate) fn push_index(registry: &str, repository: &str, tag: &str, images: &[Image]) -> String {
    for image in images {
        image.push(registry, repository, &digest(&image.manifest));
    }
    push_manifest(registry, repository, tag, OCI_INDEX, &index(images))
}

/// A descriptor of `content`.
pub(crate) fn descriptor(media_type: &str, content: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": digest(content), "size": content.len()})
}

/// Pushes a blob, unless it is there.
pub(crate) fn push_blob(registry: &str, repository: &str, content: &[u8]) {
    let digest = digest(content);
    if http::head(&format!("{registry}/v2/{repository}/blobs/{digest}"), &[]).status == 200 {
        return;
    }
    let uploads = format!("{registry}/v2/{repository}/blobs/uploads/");
    let started = http::send("POST", &uploads, "application/octet-stream", b"", 202);
    let location = started.header("location").expect("an upload's location").to_owned();
    let location = if location.starts_with('/') { format!("{registry}{location}") } else { location };
    let separator = if location.contains('?') { '&' } else { '?' };
    let url = format!("{location}{separator}digest={digest}");
    http::send("PUT", &url, "application/octet-stream", content, 201);
}

/// Pushes a manifest and gives its digest.
pub(crate) fn push_manifest(
    registry: &str,
    repository: &str,
    reference: &str,
    media_type: &str,
    content: &[u8],
) -> String {
    http::send("PUT", &format!("{registry}/v2/{repository}/manifests/{reference}"), media_type, content, 201);
    digest(content)
}
