use std::sync::Arc;

use tokio::sync::Semaphore;

use super::ImageError;
use crate::{
    connector::{self, FetchedManifest, ManifestHead, Registry},
    oci::{Descriptor, Digest, MANIFEST_LIMIT, Reference, RepositoryName, Tag},
    tree,
};

/// The origin registry, asked by few at once.
pub(super) struct Origin {
    pub(super) registry: Arc<Registry>,
    pub(super) permits: Arc<Semaphore>,
}

impl Origin {
    async fn permit(&self) -> tokio::sync::SemaphorePermit<'_> {
        self.permits.acquire().await.expect("it is never closed")
    }

    /// What a tag means now; `None` if there is no such tag.
    pub(super) async fn head(
        &self,
        name: &RepositoryName,
        tag: &Tag,
    ) -> Result<Option<ManifestHead>, connector::Error> {
        let _permit = self.permit().await;
        self.registry.head_manifest(name, &Reference::Tag(tag.clone())).await
    }

    /// A manifest, verified.
    pub(super) async fn fetch_manifest(
        &self,
        name: &RepositoryName,
        digest: Digest,
    ) -> Result<FetchedManifest, connector::Error> {
        let _permit = self.permit().await;
        self.registry.fetch_manifest(name, &Reference::Digest(digest)).await
    }

    /// What refers to a manifest; `None` if the origin has no referrers API.
    pub(super) async fn list_referrers(
        &self,
        name: &RepositoryName,
        subject: &Digest,
    ) -> Result<Option<Vec<Descriptor>>, connector::Error> {
        let _permit = self.permit().await;
        self.registry.list_referrers(name, subject).await
    }

    /// A small blob, verified; see [`MANIFEST_LIMIT`].
    pub(super) async fn read_blob(
        &self,
        name: &RepositoryName,
        digest: Digest,
        size: u64,
    ) -> Result<Vec<u8>, ImageError> {
        if size > MANIFEST_LIMIT as u64 {
            return Err(ImageError::TooLong { digest, size });
        }
        let _permit = self.permit().await;
        let mut body = self.registry.open_blob(name, &digest, 0).await?;
        let mut bytes = Vec::new();
        while let Some(chunk) = body.chunk().await? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() as u64 > size {
                break;
            }
        }
        let found = bytes.len() as u64;
        if found != size {
            return Err(tree::Error::WrongSize { digest, size, found }.into());
        }
        match Digest::of(&bytes) {
            found if found == digest => Ok(bytes),
            found => Err(tree::Error::WrongBytes { expected: digest, found: Box::new(found) }.into()),
        }
    }
}
