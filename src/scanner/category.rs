use std::{collections::BTreeMap, io::Read as _};

use super::referrers;
use crate::{
    database::{
        Sha256,
        content::{CategoryContent, ContentBlob, ContentManifest, Known},
    },
    mirror::CategoryName,
    oci::{Digest, MANIFEST_LIMIT, Manifest, ManifestError, MediaType, RepositoryName, Tag},
    tree::{self, Category, Entry, Tree},
};

/// Why a category is left as it is.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Tree(#[from] tree::Error),
    #[error("manifest {digest}: {source}")]
    Manifest { digest: Digest, source: ManifestError },
    #[error("{0} is longer than the {MANIFEST_LIMIT} bytes that a manifest may have")]
    TooLarge(Digest),
    #[error("{0} has gone while it was read: an export is under way")]
    Gone(Digest),
    #[error("the file of {0} holds other bytes: run `portolan export` again")]
    WrongBytes(Digest),
    #[error("{digest} cannot be read: {source}")]
    Read { digest: Digest, source: std::io::Error },
}

/// Reads a category whose files agree; `None` when the database has this state already.
pub(super) fn read(
    tree: &Tree,
    name: &CategoryName,
    known: &Known,
    small_blob_limit: u64,
) -> Result<Option<CategoryContent>, Error> {
    let category = tree.read_category(name)?;
    let inventory_digest = sha256(&category.inventory_digest);
    let is_known = |it: &crate::database::category::Category| {
        it.name == *name && Some(it.inventory_digest) == inventory_digest
    };
    if known.categories.iter().any(is_known) {
        return Ok(None);
    }
    tree.verify(&category)?;
    let (mut bodies, mut parsed) = (Vec::new(), Vec::new());
    for entry in &category.inventory.entries {
        let digest = Sha256(entry.digest);
        let media_type = entry.kind.media_type();
        let new_manifest = media_type.filter(|_| !known.manifests.contains(&digest));
        let small = media_type.is_some() || entry.size <= small_blob_limit;
        let new_body = small && !known.bodies.contains(&digest);
        if new_manifest.is_none() && !new_body {
            continue;
        }
        let bytes = read_blob(tree, name, entry)?;
        if let Some(media_type) = new_manifest {
            parsed.push((entry, parse(entry, media_type, &bytes)?));
        }
        if new_body {
            bodies.push((digest, bytes));
        }
    }
    let manifests = parsed.iter().map(|(entry, manifest)| content_manifest(entry, manifest)).collect();
    Ok(Some(CategoryContent {
        name: name.clone(),
        selection: category.inventory.selection.clone(),
        serial: category.inventory.serial,
        inventory_digest: inventory_digest.unwrap_or_default(),
        blobs: category.inventory.entries.iter().map(content_blob).collect(),
        repositories: repositories(&category),
        manifests,
        referrers: referrers::list(tree, &category, &parsed)?,
        bodies,
    }))
}

/// A whole small file of a category, verified by its digest.
pub(super) fn read_blob(tree: &Tree, name: &CategoryName, entry: &Entry) -> Result<Vec<u8>, Error> {
    let digest = entry.digest();
    if entry.kind.media_type().is_some() && entry.size > MANIFEST_LIMIT as u64 {
        return Err(Error::TooLarge(digest));
    }
    let file = tree.open_blob(name, &digest)?.ok_or(Error::Gone(digest))?;
    let mut bytes = Vec::new();
    file.take(entry.size + 1).read_to_end(&mut bytes).map_err(|source| Error::Read { digest, source })?;
    if Digest::of(&bytes) == digest { Ok(bytes) } else { Err(Error::WrongBytes(digest)) }
}

pub(super) fn parse(entry: &Entry, media_type: MediaType, bytes: &[u8]) -> Result<Manifest, Error> {
    Manifest::parse(media_type, bytes).map_err(|source| Error::Manifest { digest: entry.digest(), source })
}

/// A tree holds nothing but SHA-256.
pub(super) fn sha256(digest: &Digest) -> Option<Sha256> {
    digest.sha256().copied().map(Sha256)
}

fn content_blob(entry: &Entry) -> ContentBlob {
    ContentBlob { digest: Sha256(entry.digest), size: entry.size }
}

fn content_manifest(entry: &Entry, manifest: &Manifest) -> ContentManifest {
    ContentManifest {
        digest: Sha256(entry.digest),
        media_type: manifest.media_type,
        artifact_type: manifest.artifact_type.clone(),
        children: manifest.children().filter_map(|it| sha256(&it.digest)).collect(),
    }
}

fn repositories(category: &Category) -> BTreeMap<RepositoryName, BTreeMap<Tag, Sha256>> {
    let tags = |tags: &BTreeMap<Tag, Digest>| {
        tags.iter().filter_map(|(tag, digest)| Some((tag.clone(), sha256(digest)?))).collect()
    };
    category.repositories.iter().map(|(name, it)| (name.clone(), tags(it))).collect()
}
