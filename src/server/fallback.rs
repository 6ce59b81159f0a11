use std::{fs::File, sync::Arc};

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{CACHE_CONTROL, LOCATION},
};

use super::{
    access::Decision,
    blob_body::{self, Source},
    config::FallbackConfig,
    error::RegistryError,
    range::Ranges,
    registry::{ContentDigest, named},
    state::{counted, decided},
};
use crate::{
    database::statistics::Way,
    mirror::{HostUrl, Scheme, blob_path},
    mirrorlist::rows::BlobRow,
    oci::RepositoryName,
    tree::Tree,
};

/// Where blobs come from when no mirror is to serve them, in this order.
#[derive(Debug, Default)]
pub(super) struct Fallback {
    url: Option<HostUrl>,
    tree: Option<Tree>,
    origin: Option<HostUrl>,
}

impl Fallback {
    /// `origin` only if it needs no login: clients have none.
    pub(super) fn new(config: &FallbackConfig, tree: Tree, origin: Option<HostUrl>) -> Self {
        Self {
            url: config.url.clone(),
            tree: config.tree.then_some(tree),
            origin: origin.filter(|_| config.origin),
        }
    }

    /// Serves a blob without any mirror. `https_only`: sends nobody to plain HTTP.
    pub(super) async fn respond(
        &self,
        request: &HttpRequest,
        name: &RepositoryName,
        blob: &BlobRow,
        ranges: &Ranges,
        https_only: bool,
    ) -> Result<HttpResponse, RegistryError> {
        let suits = |it: &&HostUrl| it.scheme() == Scheme::Https || !https_only;
        let (digest, bytes) = (blob.name(), ranges.bytes(blob.size));
        let redirect = |location: String| {
            HttpResponse::Found()
                .insert_header((LOCATION, location))
                .insert_header((CACHE_CONTROL, "no-store"))
                .insert_header(ContentDigest(digest))
                .finish()
        };
        if let Some(url) = self.url.as_ref().filter(suits) {
            decided(request, Decision::FallbackUrl);
            counted(request, Way::FallbackUrl, bytes);
            return Ok(redirect(format!("{url}/{}", blob_path(&digest))));
        }
        if let Some(file) = self.open(blob).await {
            decided(request, Decision::FallbackTree);
            counted(request, Way::FallbackTree, bytes);
            let file = Source::File(Arc::new(file));
            return Ok(named(blob, blob_body::respond(request.method(), file, blob.size, ranges)));
        }
        if let Some(origin) = self.origin.as_ref().filter(suits) {
            decided(request, Decision::FallbackOrigin);
            counted(request, Way::FallbackOrigin, bytes);
            return Ok(redirect(format!("{origin}/v2/{name}/blobs/{digest}")));
        }
        Err(RegistryError::Unavailable)
    }

    /// The blob's file in the tree, if it is there and as long as it has to be.
    async fn open(&self, blob: &BlobRow) -> Option<File> {
        let path = self.tree.as_ref()?.pool_path(&blob.name());
        let size = blob.size;
        let open = move || File::open(path).ok().filter(|it| it.metadata().is_ok_and(|it| it.len() == size));
        tokio::task::spawn_blocking(open).await.ok().flatten()
    }
}
