//! Brings an image to disk: its manifests, then all that they name, each from the mirrors that have it.

use std::{collections::BTreeMap, io, path::Path};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;

use super::{
    Config, Destination, ImageName, ServiceError, Wanted,
    download::{Download, Source},
    fetch::{FetchError, Target, fetch, resume},
    layout::{Entry, Layout, LayoutError, Part},
    service::{Located, Service},
};
use crate::oci::{Descriptor, Digest, MANIFEST_LIMIT, Manifest, ManifestError, Platform, Reference};

/// How many blobs are fetched at once.
pub const BLOBS_AT_ONCE: usize = 4;

/// How many manifests an index may name, and images one pull may bring.
pub const MANIFESTS_LIMIT: usize = 1_000;

/// Watches a pull.
pub trait Observer: Sync {
    /// A blob begins, of which `there` bytes are left from an earlier pull.
    fn started(&self, transfer: &Transfer, there: u64);
    /// `there` of its bytes are on disk, and these hosts send more.
    fn advanced(&self, transfer: &Transfer, there: u64, hosts: &[&str]);
    /// It is whole.
    fn finished(&self, transfer: &Transfer);
}

/// A file of the image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Transfer {
    /// `manifest`, `config` or `layer`.
    pub kind: &'static str,
    /// Its name.
    pub digest: Digest,
    /// In bytes.
    pub size: u64,
}

/// A file that is on disk now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pulled {
    /// Which.
    #[serde(flatten)]
    pub transfer: Transfer,
    /// How many of its bytes were there already.
    pub there: u64,
    /// How many bytes each host has sent of it.
    pub from: BTreeMap<String, u64>,
    /// What went wrong with a host on the way.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub troubles: BTreeMap<String, String>,
}

/// What a pull has brought.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// As it was asked for.
    pub image: String,
    /// Of the manifest or index that the name means.
    pub digest: Digest,
    /// In the order in which they were finished, manifests first.
    pub files: Vec<Pulled>,
    /// Layers that their owners do not allow to be copied; they are left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub foreign: Vec<Digest>,
}

/// Why an image was not pulled whole. What has come is kept, and the next pull goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// The registry does not say what or where it is.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// The folder cannot be written.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// No source has sent the right bytes.
    #[error("{kind} {digest}: {reason}")]
    Lost {
        /// As in [`Transfer`].
        kind: &'static str,
        /// Which file.
        digest: Digest,
        /// What went wrong with each source.
        reason: String,
    },
    /// The bytes cannot be written.
    #[error("{digest} cannot be written: {source}")]
    Write {
        /// Which file.
        digest: Digest,
        /// What the system said.
        source: io::Error,
    },
    /// A manifest that no client could use.
    #[error("manifest {digest}: {source}")]
    Manifest {
        /// Which one.
        digest: Digest,
        /// What is wrong with it.
        source: ManifestError,
    },
    /// Registry and manifest disagree.
    #[error("{0} has {1} bytes by the manifest and {2} by the registry")]
    Size(Digest, u64, u64),
    /// More than we look at.
    #[error("manifest {0} is too large, or names more than {MANIFESTS_LIMIT} manifests")]
    Limit(Digest),
    /// The index has no such entry.
    #[error("there is no image for {wanted}; there are: {offered}")]
    Platform {
        /// What was asked for.
        wanted: String,
        /// What there is.
        offered: String,
    },
}

/// Pulls one image into a layout.
pub struct Puller<'a> {
    service: Service,
    layout: Layout,
    image: &'a ImageName,
    /// What the image's name means.
    root: Located,
    observer: &'a dyn Observer,
}

impl<'a> Puller<'a> {
    /// Asks the registry what the name means, then opens the layout in `folder`: a mistyped name leaves nothing there.
    pub async fn new(
        image: &'a ImageName,
        folder: &Path,
        config: &Config,
        observer: &'a dyn Observer,
    ) -> Result<Self, PullError> {
        let service = Service::new(&image.registry, config)?;
        let root = service.locate_manifest(&image.name, &image.reference).await?;
        Ok(Self { service, layout: Layout::open(folder)?, image, root, observer })
    }

    /// Pulls the image. Dropped in the middle it leaves what the next pull goes on from.
    pub async fn pull(&self, wanted: &Wanted, destination: &Destination) -> Result<Summary, PullError> {
        let (digest, size) = (self.root.digest, self.root.size());
        let mut files = Vec::new();
        let root = self.manifest(self.root.clone(), &mut files).await?;
        self.service.check_signed(&self.image.name, digest, &root).await?;
        let entry = Entry { digest, media_type: root.media_type, size, platform: None, name: None };
        let (images, entry) = self.choose(root, entry, wanted, &mut files).await?;
        let mut foreign = Vec::new();
        let mut blobs: BTreeMap<Digest, (&'static str, &Descriptor)> = BTreeMap::new();
        for image in &images {
            let config = image.config.iter().map(|it| ("config", it));
            for (kind, blob) in config.chain(image.layers.iter().map(|it| ("layer", it))) {
                if blob.is_foreign() {
                    foreign.push(blob.digest);
                } else {
                    blobs.insert(blob.digest, (kind, blob));
                }
            }
        }
        let pulled = blobs.values().map(|(kind, blob)| self.blob(kind, blob));
        let pulled: Vec<Pulled> = stream::iter(pulled).buffer_unordered(BLOBS_AT_ONCE).try_collect().await?;
        files.extend(pulled);
        let name = destination.name.clone().or_else(|| self.image.tag());
        self.layout.add(&Entry { name, ..entry })?;
        self.layout.tidy();
        Ok(Summary { image: self.image.to_string(), digest, files, foreign })
    }

    /// The images that are wanted of what the name means, and which of the manifests the layout names.
    async fn choose(
        &self,
        root: Manifest,
        entry: Entry,
        wanted: &Wanted,
        files: &mut Vec<Pulled>,
    ) -> Result<(Vec<Manifest>, Entry), PullError> {
        if !root.media_type.is_index() {
            return Ok((vec![root], entry));
        }
        if let Wanted::Platform { .. } = wanted {
            let chosen = wanted.find(&root.manifests).ok_or_else(|| PullError::Platform {
                wanted: wanted.to_string(),
                offered: offered(&root.manifests),
            })?;
            let image = self.child(chosen, files).await?;
            let (digest, size, platform) = (chosen.digest, chosen.size, chosen.platform.clone());
            let entry = Entry { digest, size, platform, media_type: image.media_type, name: None };
            return Ok((vec![image], entry));
        }
        let mut images = Vec::new();
        let mut open = vec![root];
        while let Some(index) = open.pop() {
            for child in &index.manifests {
                if images.len() + open.len() >= MANIFESTS_LIMIT {
                    return Err(PullError::Limit(entry.digest));
                }
                let manifest = self.child(child, files).await?;
                if manifest.media_type.is_index() { open.push(manifest) } else { images.push(manifest) }
            }
        }
        Ok((images, entry))
    }

    async fn child(&self, child: &Descriptor, files: &mut Vec<Pulled>) -> Result<Manifest, PullError> {
        let located =
            self.service.locate_manifest(&self.image.name, &Reference::Digest(child.digest)).await?;
        check_size(child, &located)?;
        self.manifest(located, files).await
    }

    async fn manifest(&self, located: Located, files: &mut Vec<Pulled>) -> Result<Manifest, PullError> {
        let digest = located.digest;
        if located.size() > MANIFEST_LIMIT as u64 {
            return Err(PullError::Limit(digest));
        }
        files.push(self.fetch("manifest", located).await?);
        let bytes = self.layout.read(&digest)?;
        let manifest = Manifest::parse_untyped(&bytes);
        let manifest = manifest.map_err(|source| PullError::Manifest { digest, source })?;
        let too_many = manifest.manifests.len() > MANIFESTS_LIMIT;
        if too_many { Err(PullError::Limit(digest)) } else { Ok(manifest) }
    }

    async fn blob(&self, kind: &'static str, blob: &Descriptor) -> Result<Pulled, PullError> {
        let (digest, size) = (blob.digest, blob.size);
        if self.layout.has(&digest, size) {
            return Ok(Pulled::known(Transfer { kind, digest, size }));
        }
        let located = self.service.locate_blob(&self.image.name, digest).await?;
        check_size(blob, &located)?;
        self.fetch(kind, located).await
    }

    async fn fetch(&self, kind: &'static str, located: Located) -> Result<Pulled, PullError> {
        let (digest, size) = (located.digest, located.size());
        let transfer = Transfer { kind, digest, size };
        if self.layout.has(&digest, size) {
            return Ok(Pulled::known(transfer));
        }
        let (part, mut download) = (self.layout.start(digest)?, located.download());
        let mut target = ToPart { part: &part, transfer: &transfer, observer: self.observer };
        let disk = |source| PullError::Write { digest, source };
        resume(&mut download, &target, part.length().map_err(disk)?.min(size)).map_err(disk)?;
        let there = download.taken();
        self.observer.started(&transfer, there);
        let fetched = fetch(&self.service, &located, &mut download, &mut target).await;
        fetched.map_err(|error| match error {
            FetchError::Write(source) => disk(source),
            other => PullError::Lost { kind, digest, reason: other.to_string() },
        })?;
        let finished = tokio::task::spawn_blocking(move || part.finish(size)).await;
        finished.map_err(|error| disk(io::Error::other(error)))??;
        self.observer.finished(&transfer);
        Ok(Pulled::new(transfer, there, &download))
    }
}

fn check_size(descriptor: &Descriptor, located: &Located) -> Result<(), PullError> {
    let (by_manifest, by_registry) = (descriptor.size, located.size());
    if by_manifest == by_registry {
        return Ok(());
    }
    Err(PullError::Size(descriptor.digest, by_manifest, by_registry))
}

fn offered(manifests: &[Descriptor]) -> String {
    let platforms = manifests.iter().filter_map(|it| it.platform.as_ref()).map(Platform::to_string);
    let known: Vec<String> = platforms.filter(|it| !it.starts_with("unknown/")).collect();
    known.join(", ")
}

/// Writes into the layout.
struct ToPart<'a> {
    part: &'a Part,
    transfer: &'a Transfer,
    observer: &'a dyn Observer,
}

impl Target for ToPart<'_> {
    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.part.write(offset, bytes)
    }

    fn read(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.part.read(offset, bytes)
    }

    fn advanced(&mut self, download: &Download) -> io::Result<()> {
        let hosts: Vec<&str> = download.list_senders().map(Source::host).collect();
        self.observer.advanced(self.transfer, download.taken(), &hosts);
        Ok(())
    }
}

impl Pulled {
    fn known(transfer: Transfer) -> Self {
        let there = transfer.size;
        Self { transfer, there, from: BTreeMap::new(), troubles: BTreeMap::new() }
    }

    fn new(transfer: Transfer, there: u64, download: &Download) -> Self {
        let mut from = BTreeMap::new();
        for (source, bytes) in download.list_taken() {
            *from.entry(source.host().to_owned()).or_default() += bytes;
        }
        let troubles = download.list_troubles();
        let troubles = troubles.map(|(source, reason)| (source.host().to_owned(), reason.to_owned()));
        Self { transfer, there, from, troubles: troubles.collect() }
    }
}

impl Summary {
    /// How many bytes each host has sent in all.
    pub fn totals(&self) -> BTreeMap<&str, u64> {
        let mut totals = BTreeMap::new();
        for (host, bytes) in self.files.iter().flat_map(|it| &it.from) {
            *totals.entry(host.as_str()).or_default() += bytes;
        }
        totals
    }

    /// How many bytes were there already.
    pub fn there(&self) -> u64 {
        self.files.iter().map(|it| it.there).sum()
    }
}
