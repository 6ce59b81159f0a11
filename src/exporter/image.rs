use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    ImageError, blocking,
    closure::{Closure, Part},
    origin::Origin,
};
use crate::{
    connector::ManifestHead,
    oci::{Descriptor, Digest, ImageConfig, Manifest, ManifestError, MediaType, Platform, RepositoryName},
    tree::{Tree, Writer},
};

/// How deep indexes may be nested.
pub const DEPTH_LIMIT: usize = 8;
/// How many manifests one index may name.
pub const CHILDREN_LIMIT: usize = 1_000;
/// How many manifests one image may have in all.
pub const MANIFESTS_LIMIT: usize = 5_000;

/// One manifest to look into.
pub(super) struct Wanted {
    pub(super) digest: Digest,
    pub(super) media_type: MediaType,
    /// By the one that named it.
    pub(super) size: u64,
    /// By the one that named it.
    pub(super) platform: Option<Platform>,
}

impl From<&ManifestHead> for Wanted {
    fn from(head: &ManifestHead) -> Self {
        Self { digest: head.digest, media_type: head.media_type, size: head.size, platform: None }
    }
}

/// Where manifests, and other small content, come from.
#[derive(Clone)]
pub(super) struct Manifests {
    pub(super) tree: Tree,
    /// What is fetched goes into the pool; none: it is only looked at.
    pub(super) writer: Option<Arc<Writer>>,
    /// What the pool lacks is fetched from here; none: it is missing.
    pub(super) origin: Option<Arc<Origin>>,
    /// How many manifests were fetched.
    pub(super) fetched: Arc<AtomicU64>,
}

impl Manifests {
    /// Reads the manifests of an image, and lists all that they name. `by_platform`: also finds out what those
    /// are made for whose index does not say it.
    pub(super) async fn resolve(
        &self,
        name: &RepositoryName,
        root: Wanted,
        by_platform: bool,
    ) -> Result<Closure, ImageError> {
        let mut closure = Closure::default();
        let mut open = vec![(root, 1)];
        while let Some((wanted, depth)) = open.pop() {
            let key = (
                *wanted.digest.sha256().ok_or(crate::tree::Error::Algorithm(wanted.digest))?,
                wanted.media_type,
            );
            if let Some(part) = closure.parts.get_mut(&key) {
                part.add_platform(wanted.platform); // two indexes may share a manifest
                continue;
            }
            if wanted.media_type.is_index() && depth > DEPTH_LIMIT {
                return Err(ImageError::Depth(wanted.digest));
            }
            if closure.parts.len() >= MANIFESTS_LIMIT {
                return Err(ImageError::Manifests);
            }
            let manifest = self.load(name, &wanted).await?;
            if manifest.manifests.len() > CHILDREN_LIMIT {
                let count = manifest.manifests.len();
                return Err(ImageError::Children { digest: wanted.digest, count });
            }
            let mut part = Part::new(&manifest, wanted.size);
            for child in manifest.children() {
                match manifest_type(&manifest, child, wanted.digest)? {
                    Some(media_type) => open.push((child_of(child, media_type), depth + 1)),
                    None if child.is_foreign() => closure.foreign.push(child.digest),
                    None => {
                        self.store_content(child).await?;
                        part.add_blob(child)?;
                    }
                }
            }
            self.add_platform(name, &manifest, &mut part, wanted.platform, by_platform).await?;
            closure.parts.insert(key, part);
        }
        Ok(closure)
    }

    /// Notes what a manifest is made for: by its index, else by its own configuration.
    async fn add_platform(
        &self,
        name: &RepositoryName,
        manifest: &Manifest,
        part: &mut Part,
        claim: Option<Platform>,
        by_platform: bool,
    ) -> Result<(), ImageError> {
        match (claim, &manifest.config) {
            (None, Some(config)) if by_platform && manifest.is_image() => {
                let config = self.read_config(name, config.digest, config.size).await?;
                part.keep_config();
                part.add_platform(config.platform);
            }
            (claim, _) => part.add_platform(claim),
        }
        Ok(())
    }

    /// When an image was made, in Unix seconds: as its newest configuration says, else the annotation
    /// `org.opencontainers.image.created`.
    pub(super) async fn find_created(
        &self,
        name: &RepositoryName,
        head: &ManifestHead,
    ) -> Result<Option<i64>, ImageError> {
        let closure = self.resolve(name, head.into(), false).await?;
        let configs: BTreeSet<_> = closure.parts.values().filter_map(Part::image_config).collect();
        let mut newest = None;
        for (digest, size) in configs {
            newest = newest.max(self.read_config(name, digest, size).await?.created);
        }
        let annotated = closure.parts.values().filter_map(|it| it.created).max();
        Ok(newest.or(annotated).map(|it| it.as_second()))
    }

    async fn read_config(
        &self,
        name: &RepositoryName,
        digest: Digest,
        size: u64,
    ) -> Result<ImageConfig, ImageError> {
        let bytes = self.read_blob(name, digest, size).await?;
        ImageConfig::parse(&bytes).map_err(|source| ImageError::Config { digest, source })
    }

    /// A small blob, from the pool, else from the origin into the pool.
    pub(super) async fn read_blob(
        &self,
        name: &RepositoryName,
        digest: Digest,
        size: u64,
    ) -> Result<Vec<u8>, ImageError> {
        if self.tree.has_blob(&digest, size)
            && let Some(bytes) = self.tree.read_manifest(&digest)?
        {
            return Ok(bytes);
        }
        let origin = self.origin.as_ref().ok_or(ImageError::Missing(digest))?;
        let bytes = origin.read_blob(name, digest, size).await?;
        self.store(digest, bytes).await
    }

    /// A manifest, from the pool, else from the origin into the pool.
    pub(super) async fn load(&self, name: &RepositoryName, wanted: &Wanted) -> Result<Manifest, ImageError> {
        let digest = wanted.digest;
        let refused = |source| ImageError::Manifest { digest, source };
        let bytes = match (self.tree.read_manifest(&digest)?, &self.origin) {
            (Some(bytes), _) => bytes,
            (None, None) => return Err(ImageError::Missing(digest)),
            (None, Some(origin)) => {
                let manifest = origin.fetch_manifest(name, digest).await?;
                self.fetched.fetch_add(1, Ordering::Relaxed);
                if manifest.media_type != wanted.media_type {
                    let (sent, own) = (manifest.media_type, wanted.media_type);
                    return Err(refused(ManifestError::Mismatch { sent, own }));
                }
                self.store(digest, manifest.bytes).await?
            }
        };
        if bytes.len() as u64 != wanted.size {
            let found = bytes.len() as u64;
            return Err(crate::tree::Error::WrongSize { digest, size: wanted.size, found }.into());
        }
        Manifest::parse(wanted.media_type, &bytes).map_err(refused)
    }

    /// Takes content from a descriptor that carries it: the registry need not have it as a blob.
    async fn store_content(&self, descriptor: &Descriptor) -> Result<(), ImageError> {
        if self.writer.is_some()
            && !self.tree.has_blob(&descriptor.digest, descriptor.size)
            && let Some(bytes) = descriptor.content()
        {
            self.store(descriptor.digest, bytes).await?;
        }
        Ok(())
    }

    /// Puts verified bytes into the pool, if that may be written to.
    pub(super) async fn store(&self, digest: Digest, bytes: Vec<u8>) -> Result<Vec<u8>, ImageError> {
        match self.writer.clone() {
            Some(writer) => Ok(blocking(move || writer.store(&digest, &bytes).map(|()| bytes)).await?),
            None => Ok(bytes),
        }
    }
}

fn child_of(descriptor: &Descriptor, media_type: MediaType) -> Wanted {
    let platform = descriptor.platform.clone();
    Wanted { digest: descriptor.digest, media_type, size: descriptor.size, platform }
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
