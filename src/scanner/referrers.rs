use std::collections::HashSet;

use super::category::{Error, parse, read_blob, sha256};
use crate::{
    database::content::ContentReferrer,
    oci::{Descriptor, Digest, Manifest},
    tree::{self, Category, Entry, Tree},
};

/// Who says something about whom: the new manifests that name a subject, those that a new list of the exporter names, and
/// those listed under a tag `sha256-HEX`, where registries without a referrers API keep them (distribution
/// specification, "Referrers Tag Schema").
pub(super) fn list(
    tree: &Tree,
    category: &Category,
    new: &[(&Entry, Manifest)],
) -> Result<Vec<ContentReferrer>, Error> {
    let mut referrers: Vec<_> =
        new.iter().flat_map(|(entry, manifest)| by_subject(category, entry, manifest)).collect();
    for (subject, index) in fallback_tags(category) {
        let Some(entry) = category.inventory.find(&index) else { continue };
        let Some(media_type) = entry.kind.media_type().filter(|it| it.is_index()) else { continue };
        let bytes = read_blob(tree, &category.inventory.category, entry)?;
        let index = parse(entry, media_type, &bytes)?;
        referrers.extend(listed(category, &subject, index.manifests));
    }
    let mut seen = HashSet::new();
    referrers.retain(|it| seen.insert((it.subject, it.manifest)));
    Ok(referrers)
}

fn by_subject(category: &Category, entry: &Entry, manifest: &Manifest) -> Vec<ContentReferrer> {
    let Some(subject) = &manifest.subject else { return Vec::new() };
    if tree::is_referrer_list(manifest) {
        return listed(category, &subject.digest, manifest.manifests.clone()).collect();
    }
    let descriptor = Descriptor {
        artifact_type: manifest.artifact_type.clone(),
        annotations: manifest.annotations.clone(),
        ..Descriptor::new(manifest.media_type, entry.digest(), entry.size)
    };
    referrer(&subject.digest, descriptor).into_iter().collect()
}

/// Of the manifests that an index lists, those of the category.
fn listed(
    category: &Category,
    subject: &Digest,
    manifests: Vec<Descriptor>,
) -> impl Iterator<Item = ContentReferrer> {
    let is_manifest = |it: &Descriptor| {
        category.inventory.find(&it.digest).is_some_and(|it| it.kind.media_type().is_some())
    };
    manifests.into_iter().filter(is_manifest).filter_map(|it| referrer(subject, it))
}

fn referrer(subject: &Digest, descriptor: Descriptor) -> Option<ContentReferrer> {
    Some(ContentReferrer {
        subject: sha256(subject)?,
        manifest: sha256(&descriptor.digest)?,
        artifact_type: descriptor.artifact_type.clone(),
        descriptor: serde_json::to_string(&descriptor).expect("texts and numbers are JSON"),
    })
}

/// The subjects and indexes of the tags `sha256-HEX`; tags with an ending, as cosign's, are no such.
fn fallback_tags(category: &Category) -> impl Iterator<Item = (Digest, Digest)> {
    category.repositories.values().flatten().filter_map(|(tag, index)| {
        let is_index = !tag.as_str().contains('.');
        Some((tag.subject().filter(|_| is_index)?, *index))
    })
}
