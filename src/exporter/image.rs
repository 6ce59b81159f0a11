use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tokio::sync::Semaphore;

use super::{ImageError, blocking};
use crate::{
    connector::Registry,
    oci::{Descriptor, Digest, Manifest, ManifestError, MediaType, Reference, RepositoryName},
    tree::{Kind, Writer},
};

/// How deep indexes may be nested.
pub const DEPTH_LIMIT: usize = 8;
/// How many manifests one index may name.
pub const CHILDREN_LIMIT: usize = 1_000;
/// How many manifests one image may have in all.
pub const MANIFESTS_LIMIT: usize = 5_000;

/// Everything that a tag leads to.
#[derive(Debug, Default)]
pub(super) struct Closure {
    pub(super) entries: BTreeMap<[u8; 32], (u64, Kind)>,
    /// Layers that must not be copied.
    pub(super) foreign: Vec<Digest>,
    /// How many manifests had to be fetched.
    pub(super) fetched: u64,
}

impl Closure {
    /// Something in it that is withdrawn.
    pub(super) fn find_withdrawn(&self, withdrawn: &BTreeSet<Digest>) -> Option<Digest> {
        // Few are withdrawn, and most images are large.
        withdrawn.iter().find(|it| it.sha256().is_some_and(|it| self.entries.contains_key(it))).copied()
    }

    /// The blobs, manifests left out.
    pub(super) fn blobs(&self) -> impl Iterator<Item = (Digest, u64)> {
        let is_blob = |(_, (_, kind)): &(_, &(u64, Kind))| *kind == Kind::Blob;
        self.entries.iter().filter(is_blob).map(|(digest, (size, _))| (Digest::Sha256(*digest), *size))
    }
}

/// Adds a file. Where two images disagree on what it is, a manifest is more than a blob.
pub(super) fn add_entry(
    entries: &mut BTreeMap<[u8; 32], (u64, Kind)>,
    digest: [u8; 32],
    size: u64,
    kind: Kind,
) {
    let entry = entries.entry(digest).or_insert((size, kind));
    if entry.1 < kind {
        *entry = (size, kind);
    }
}

/// One manifest to look into.
pub(super) struct Wanted {
    pub(super) digest: Digest,
    pub(super) media_type: MediaType,
    /// By the one that named it.
    pub(super) size: u64,
}

/// Where manifests come from.
#[derive(Clone)]
pub(super) struct Manifests {
    pub(super) writer: Arc<Writer>,
    /// What the pool lacks is fetched from here; none: it is missing.
    pub(super) origin: Option<(Arc<Registry>, Arc<Semaphore>)>,
}

impl Manifests {
    /// Reads the manifests of an image, and lists all that they name.
    pub(super) async fn resolve(&self, name: &RepositoryName, root: Wanted) -> Result<Closure, ImageError> {
        let mut closure = Closure::default();
        let mut manifests = 0;
        let mut open = vec![(root, 1)];
        while let Some((wanted, depth)) = open.pop() {
            let key = *wanted.digest.sha256().ok_or(crate::tree::Error::Algorithm(wanted.digest))?;
            let kind = Kind::Manifest(wanted.media_type);
            if closure.entries.get(&key).is_some_and(|it| it.1 == kind) {
                continue; // two indexes may share a manifest
            }
            if wanted.media_type.is_index() && depth > DEPTH_LIMIT {
                return Err(ImageError::Depth(wanted.digest));
            }
            manifests += 1;
            if manifests > MANIFESTS_LIMIT {
                return Err(ImageError::Manifests);
            }
            let manifest = self.load(name, &wanted, &mut closure.fetched).await?;
            if manifest.manifests.len() > CHILDREN_LIMIT {
                let count = manifest.manifests.len();
                return Err(ImageError::Children { digest: wanted.digest, count });
            }
            add_entry(&mut closure.entries, key, wanted.size, kind);
            for child in manifest.children() {
                match manifest_type(&manifest, child, wanted.digest)? {
                    Some(media_type) => {
                        open.push((Wanted { digest: child.digest, media_type, size: child.size }, depth + 1));
                    }
                    None if child.is_foreign() => closure.foreign.push(child.digest),
                    None => {
                        let key = child.digest.sha256().ok_or(crate::tree::Error::Algorithm(child.digest))?;
                        add_entry(&mut closure.entries, *key, child.size, Kind::Blob);
                    }
                }
            }
        }
        Ok(closure)
    }

    /// From the pool, else from the origin into the pool.
    async fn load(
        &self,
        name: &RepositoryName,
        wanted: &Wanted,
        fetched: &mut u64,
    ) -> Result<Manifest, ImageError> {
        let digest = wanted.digest;
        let refused = |source| ImageError::Manifest { digest, source };
        let bytes = match (self.writer.read_manifest(&digest)?, &self.origin) {
            (Some(bytes), _) => bytes,
            (None, None) => return Err(ImageError::Missing(digest)),
            (None, Some((registry, permits))) => {
                let permit = permits.acquire().await.expect("it is never closed");
                let manifest = registry.fetch_manifest(name, &Reference::Digest(digest)).await?;
                drop(permit);
                *fetched += 1;
                if manifest.media_type != wanted.media_type {
                    let (sent, own) = (manifest.media_type, wanted.media_type);
                    return Err(refused(ManifestError::Mismatch { sent, own }));
                }
                let writer = self.writer.clone();
                blocking(move || writer.store(&digest, &manifest.bytes).map(|()| manifest.bytes)).await?
            }
        };
        if bytes.len() as u64 != wanted.size {
            let found = bytes.len() as u64;
            return Err(crate::tree::Error::WrongSize { digest, size: wanted.size, found }.into());
        }
        Manifest::parse(wanted.media_type, &bytes).map_err(refused)
    }
}

/// Is this child of an index a manifest? An index may name other content too, which is then a blob.
fn manifest_type(
    parent: &Manifest,
    child: &Descriptor,
    digest: Digest,
) -> Result<Option<MediaType>, ImageError> {
    if !parent.media_type.is_index() {
        return Ok(None);
    }
    match child.media_type.parse() {
        Ok(media_type) => Ok(Some(media_type)),
        Err(source @ ManifestError::Schema1) => Err(ImageError::Manifest { digest, source }),
        Err(_) => Ok(None),
    }
}
