use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::ImageError;
use crate::{
    oci::{Descriptor, Digest, Manifest, MediaType, Platform},
    tree::{self, Kind},
};

/// Where a manifest says when it was made.
const CREATED: &str = "org.opencontainers.image.created";

/// Files by digest, with size and kind.
pub(super) type Entries = BTreeMap<[u8; 32], (u64, Kind)>;

/// Everything that a manifest leads to.
#[derive(Debug, Default)]
pub(super) struct Closure {
    /// All manifests, itself among them.
    pub(super) parts: BTreeMap<([u8; 32], MediaType), Part>,
    /// Layers that must not be copied.
    pub(super) foreign: Vec<Digest>,
}

/// A manifest, and the blobs that it names itself.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) size: u64,
    /// What it says something about.
    pub(super) subject: Option<Digest>,
    /// What it is made for; none: for all.
    platforms: Option<BTreeSet<Platform>>,
    /// Is its configuration read to find that out, so that it is needed whatever the platform?
    keeps_config: bool,
    is_image: bool,
    config: Option<(Digest, u64)>,
    blobs: Vec<(Digest, u64)>,
    /// As its annotation says.
    pub(super) created: Option<Timestamp>,
}

impl Part {
    pub(super) fn new(manifest: &Manifest, size: u64) -> Self {
        let created = manifest.annotations.as_ref().and_then(|it| it.get(CREATED)?.parse().ok());
        Self {
            size,
            subject: manifest.subject.as_ref().map(|it| it.digest),
            platforms: Some(BTreeSet::new()),
            keeps_config: false,
            is_image: manifest.is_image(),
            config: manifest.config.as_ref().map(|it| (it.digest, it.size)),
            blobs: Vec::new(),
            created,
        }
    }

    pub(super) fn add_blob(&mut self, blob: &Descriptor) -> Result<(), ImageError> {
        blob.digest.sha256().ok_or(tree::Error::Algorithm(blob.digest))?;
        self.blobs.push((blob.digest, blob.size));
        Ok(())
    }

    /// Notes one more platform that it is made for; none, or an unknown one: it is for all.
    pub(super) fn add_platform(&mut self, platform: Option<Platform>) {
        match (platform.filter(|it| !it.is_unknown()), &mut self.platforms) {
            (Some(platform), Some(known)) => {
                known.insert(platform);
            }
            _ => self.platforms = None,
        }
    }

    pub(super) fn keep_config(&mut self) {
        self.keeps_config = true;
    }

    /// Its configuration, if it is an image.
    pub(super) fn image_config(&self) -> Option<(Digest, u64)> {
        self.config.filter(|_| self.is_image)
    }

    /// Is it for one of these? None means all.
    fn is_for(&self, chosen: &[Platform]) -> bool {
        let Some(own) = &self.platforms else { return true };
        let covers = |it: &Platform| chosen.iter().any(|chosen| chosen.covers(it));
        chosen.is_empty() || own.iter().any(covers)
    }

    /// The blobs that an export for these platforms has.
    fn blobs(&self, chosen: &[Platform]) -> impl Iterator<Item = (Digest, u64)> {
        let is_for = self.is_for(chosen);
        let config = self.config.filter(|_| self.keeps_config);
        self.blobs.iter().copied().filter(move |it| is_for || Some(*it) == config)
    }
}

impl Closure {
    /// Something in it that is withdrawn.
    pub(super) fn find_withdrawn(&self, withdrawn: &BTreeSet<Digest>) -> Option<Digest> {
        if withdrawn.is_empty() {
            return None;
        }
        let manifests = self.manifests();
        let mut all = manifests.chain(self.blobs(&[]).map(|it| it.0));
        all.find(|it| withdrawn.contains(it))
    }

    /// All manifests.
    pub(super) fn manifests(&self) -> impl Iterator<Item = Digest> {
        self.parts.keys().map(|(digest, _)| Digest::Sha256(*digest))
    }

    /// The blobs that an export for these platforms has. No platforms: all.
    pub(super) fn blobs(&self, platforms: &[Platform]) -> impl Iterator<Item = (Digest, u64)> {
        self.parts.values().flat_map(|it| it.blobs(platforms))
    }

    /// Adds all files that an export for these platforms has: every manifest, and the blobs of some.
    pub(super) fn add_to(&self, entries: &mut Entries, platforms: &[Platform]) {
        for ((digest, media_type), part) in &self.parts {
            add_entry(entries, *digest, part.size, Kind::Manifest(*media_type));
        }
        for (digest, size) in self.blobs(platforms) {
            let digest = digest.sha256().expect("no other digest is taken in");
            add_entry(entries, *digest, size, Kind::Blob);
        }
    }
}

/// Adds a file. Where two images disagree on what it is, a manifest is more than a blob.
fn add_entry(entries: &mut Entries, digest: [u8; 32], size: u64, kind: Kind) {
    let entry = entries.entry(digest).or_insert((size, kind));
    if entry.1 < kind {
        *entry = (size, kind);
    }
}
