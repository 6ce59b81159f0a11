use std::{collections::BTreeMap, fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde::{Deserialize, Serialize};

use super::{Digest, ImageConfig, Platform, Signature};

/// The longest manifest we take or give, in bytes: what every client takes (distribution
/// specification, "Pushing manifests": at least 4 MiB).
pub const MANIFEST_LIMIT: usize = 4 * 1024 * 1024;

/// The media types of manifests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MediaType {
    /// One image or artifact, by the OCI image specification.
    OciManifest,
    /// One manifest per platform, by the OCI image specification.
    OciIndex,
    /// Docker's image manifest, version 2, schema 2.
    DockerManifest,
    /// Docker's manifest list.
    DockerList,
}

impl MediaType {
    /// All four.
    pub const ALL: [Self; 4] = [Self::OciManifest, Self::OciIndex, Self::DockerManifest, Self::DockerList];

    /// As it stands in `Content-Type`, without parameters.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OciManifest => "application/vnd.oci.image.manifest.v1+json",
            Self::OciIndex => "application/vnd.oci.image.index.v1+json",
            Self::DockerManifest => "application/vnd.docker.distribution.manifest.v2+json",
            Self::DockerList => "application/vnd.docker.distribution.manifest.list.v2+json",
        }
    }

    /// Does it list manifests rather than layers?
    pub const fn is_index(self) -> bool {
        matches!(self, Self::OciIndex | Self::DockerList)
    }
}

impl FromStr for MediaType {
    type Err = ManifestError;

    /// Reads a `Content-Type`; parameters are ignored.
    fn from_str(text: &str) -> Result<Self, ManifestError> {
        let essence = text.split(';').next().unwrap_or_default().trim();
        Self::ALL.into_iter().find(|it| it.as_str() == essence).ok_or_else(|| {
            if essence.starts_with("application/vnd.docker.distribution.manifest.v1+") {
                ManifestError::Schema1
            } else {
                ManifestError::MediaType(essence.chars().take(100).collect())
            }
        })
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why bytes are not a manifest that can be served.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Docker's first manifest format, given up by all clients.
    #[error(
        "it is a schema 1 manifest, which docker has given up; push the image again with a docker of this decade"
    )]
    Schema1,
    /// A media type that is none of the four.
    #[error("its media type `{0}` is none of the four manifest types")]
    MediaType(String),
    /// The media type of the answer and the one in the body differ.
    #[error("the registry sent it as {sent}, but it calls itself {own}")]
    Mismatch {
        /// From `Content-Type`.
        sent: MediaType,
        /// From the field `mediaType`.
        own: MediaType,
    },
    /// Longer than [`MANIFEST_LIMIT`].
    #[error("it is longer than {} MiB", MANIFEST_LIMIT / 1024 / 1024)]
    TooLarge,
    /// Not JSON, or without the fields a manifest needs.
    #[error("it cannot be read: {0}")]
    Json(#[from] serde_json::Error),
}

/// What a manifest says of another piece of content.
///
/// OCI image specification, "Content descriptors".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Of the content described.
    pub media_type: String,
    /// Of the content described.
    pub digest: Digest,
    /// In bytes.
    pub size: u64,
    /// Where else it may be had. Layers that have these are foreign: their owner forbids copies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// What it is made for, in an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// What kind of artifact it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Free words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
    /// The content itself, in Base64, if it is short.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
}

impl Descriptor {
    /// Of a manifest, without what need not be said.
    pub fn new(media_type: MediaType, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.as_str().to_owned(),
            digest,
            size,
            urls: Vec::new(),
            platform: None,
            artifact_type: None,
            annotations: None,
            data: None,
        }
    }

    /// The content, if the descriptor carries it, and truly.
    pub fn content(&self) -> Option<Vec<u8>> {
        let bytes = BASE64.decode(self.data.as_ref()?).ok()?;
        (bytes.len() as u64 == self.size && Digest::of(&bytes) == self.digest).then_some(bytes)
    }

    /// Is it a layer that must not be copied ("non-distributable")?
    pub fn is_foreign(&self) -> bool {
        self.media_type.contains("nondistributable") || self.media_type.contains(".foreign.")
    }
}

/// What we need to know of a manifest. The bytes themselves are kept apart and never written anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The one it was sent under.
    pub media_type: MediaType,
    /// Its configuration; none in an index.
    pub config: Option<Descriptor>,
    /// Its layers, lowest first; empty in an index.
    pub layers: Vec<Descriptor>,
    /// The manifests of an index; empty otherwise.
    pub manifests: Vec<Descriptor>,
    /// The manifest that this one says something about, as a signature does.
    pub subject: Option<Descriptor>,
    /// What kind of artifact it is: its own field, else the media type of its configuration.
    pub artifact_type: Option<String>,
    /// Free words.
    pub annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    schema_version: u32,
    media_type: Option<String>,
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
    #[serde(default)]
    manifests: Vec<Descriptor>,
    subject: Option<Descriptor>,
    artifact_type: Option<String>,
    annotations: Option<BTreeMap<String, String>>,
}

impl Manifest {
    /// Reads a manifest that was sent under `media_type`.
    pub fn parse(media_type: MediaType, bytes: &[u8]) -> Result<Self, ManifestError> {
        if bytes.len() > MANIFEST_LIMIT {
            return Err(ManifestError::TooLarge);
        }
        let wire: Wire = serde_json::from_slice(bytes)?;
        if wire.schema_version == 1 {
            return Err(ManifestError::Schema1);
        }
        // An OCI image may leave its type out; what it says must agree, or two clients could read
        // the same digest in two ways (CVE-2021-41190).
        if let Some(own) = wire.media_type {
            let own = own.parse()?;
            if own != media_type {
                return Err(ManifestError::Mismatch { sent: media_type, own });
            }
        }
        let artifact_type =
            wire.artifact_type.or_else(|| wire.config.as_ref().map(|it| it.media_type.clone()));
        let is_index = media_type.is_index();
        Ok(Self {
            media_type,
            config: wire.config.filter(|_| !is_index),
            layers: if is_index { Vec::new() } else { wire.layers },
            manifests: if is_index { wire.manifests } else { Vec::new() },
            subject: wire.subject,
            artifact_type,
            annotations: wire.annotations,
        })
    }

    /// Is it an image, with a configuration that tells platform and age? Else it is a signature, a chart or the like.
    pub fn is_image(&self) -> bool {
        self.config.as_ref().is_some_and(|it| ImageConfig::MEDIA_TYPES.contains(&it.media_type.as_str()))
    }

    /// Is there nothing in it but signatures, as cosign keeps them?
    pub fn is_signature(&self) -> bool {
        let mut layers = self.layers.iter();
        !self.layers.is_empty() && layers.all(|it| Signature::beside(it).is_some())
    }

    /// Reads a manifest that came without a media type, as from a mirror: it is what it says, or what only one type
    /// could say.
    pub fn parse_untyped(bytes: &[u8]) -> Result<Self, ManifestError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Outline {
            media_type: Option<String>,
            manifests: Option<serde::de::IgnoredAny>,
            layers: Option<serde::de::IgnoredAny>,
            config: Option<serde::de::IgnoredAny>,
        }
        if bytes.len() > MANIFEST_LIMIT {
            return Err(ManifestError::TooLarge);
        }
        let outline: Outline = serde_json::from_slice(bytes)?;
        let is_image = outline.layers.is_some() || outline.config.is_some();
        let media_type = match (outline.media_type, outline.manifests.is_some(), is_image) {
            (Some(own), ..) => own.parse()?,
            (None, true, false) => MediaType::OciIndex,
            (None, false, true) => MediaType::OciManifest,
            // Two clients could read it in two ways (CVE-2021-41190).
            (None, ..) => return Err(ManifestError::MediaType(String::new())),
        };
        Self::parse(media_type, bytes)
    }

    /// Everything it names: the manifests of an index, or configuration and layers.
    pub fn children(&self) -> impl Iterator<Item = &Descriptor> {
        self.manifests.iter().chain(&self.config).chain(&self.layers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const D: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn media_types_print_as_they_are_read() {
        for media_type in MediaType::ALL {
            assert_eq!(media_type.to_string().parse::<MediaType>().unwrap(), media_type);
        }
    }

    #[test]
    fn an_image_is_read() {
        let text = format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"c","digest":"{D}","size":2}},
                "layers":[{{"mediaType":"l","digest":"{D}","size":0}}]}}"#
        );
        let manifest = Manifest::parse(MediaType::OciManifest, text.as_bytes()).unwrap();
        assert_eq!(manifest.children().map(|it| it.size).collect::<Vec<_>>(), [2, 0]);
        assert_eq!(manifest.artifact_type.as_deref(), Some("c"));
    }

    #[test]
    fn a_descriptor_carries_its_content_or_none() {
        #[track_caller]
        fn check(data: &str, size: u64, content: Option<&[u8]>) {
            let digest = Digest::of(b"{}");
            let json = serde_json::json!({"mediaType": "c", "digest": digest, "size": size, "data": data});
            let descriptor: Descriptor = serde_json::from_value(json).unwrap();
            assert_eq!(descriptor.content().as_deref(), content);
        }
        check("e30=", 2, Some(b"{}"));
        check("e30=", 3, None);
        check("e31=", 2, None);
        check("?", 2, None);
    }

    #[test]
    fn what_cannot_be_served_is_refused_by_name() {
        #[track_caller]
        fn check(media_type: &str, text: &str, part: &str) {
            let error = media_type
                .parse()
                .and_then(|media_type| Manifest::parse(media_type, text.as_bytes()))
                .expect_err("is refused");
            assert!(error.to_string().contains(part), "{error}");
        }
        let oci = MediaType::OciManifest.as_str();
        check("application/vnd.docker.distribution.manifest.v1+prettyjws", "{}", "schema 1");
        check(MediaType::DockerManifest.as_str(), r#"{"schemaVersion":1}"#, "schema 1");
        check("text/html; charset=utf-8", "", "`text/html` is none");
        check(oci, "<html>", "cannot be read");
        check(
            oci,
            r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json"}"#,
            "calls itself",
        );
        check(oci, &format!("{{\"schemaVersion\":2,\"x\":\"{}\"}}", "x".repeat(MANIFEST_LIMIT)), "4 MiB");
        let escape = r#"{"schemaVersion":2,"config":{"mediaType":"c","digest":"sha256:../..","size":2}}"#;
        check(oci, escape, "hexadecimal");
    }
}
