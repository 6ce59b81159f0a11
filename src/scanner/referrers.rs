use std::collections::HashSet;

use super::category::{Error, parse, read_blob, sha256};
use crate::{
    database::content::ContentReferrer,
    oci::{Descriptor, Digest, Manifest},
    tree::{Category, Entry, Tree},
};

/// Who says something about whom: the new manifests that name a subject, and those listed under a tag
/// `sha256-HEX`, where registries without a referrers API keep them (distribution specification,
/// "Referrers Tag Schema").
pub(super) fn list(
    tree: &Tree,
    category: &Category,
    new: &[(&Entry, Manifest)],
) -> Result<Vec<ContentReferrer>, Error> {
    let mut referrers: Vec<_> =
        new.iter().filter_map(|(entry, manifest)| by_subject(entry, manifest)).collect();
    for (subject, index) in fallback_tags(category) {
        let Some(entry) = category.inventory.find(&index) else { continue };
        let Some(media_type) = entry.kind.media_type().filter(|it| it.is_index()) else { continue };
        let bytes = read_blob(tree, &category.inventory.category, entry)?;
        for descriptor in parse(entry, media_type, &bytes)?.manifests {
            let is_manifest =
                category.inventory.find(&descriptor.digest).is_some_and(|it| it.kind.media_type().is_some());
            if is_manifest {
                referrers.extend(referrer(&subject, descriptor));
            }
        }
    }
    let mut seen = HashSet::new();
    referrers.retain(|it| seen.insert((it.subject, it.manifest)));
    Ok(referrers)
}

fn by_subject(entry: &Entry, manifest: &Manifest) -> Option<ContentReferrer> {
    let subject = manifest.subject.as_ref()?;
    let descriptor = Descriptor {
        media_type: manifest.media_type.as_str().to_owned(),
        digest: entry.digest(),
        size: entry.size,
        urls: Vec::new(),
        platform: None,
        artifact_type: manifest.artifact_type.clone(),
        annotations: manifest.annotations.clone(),
        data: None,
    };
    referrer(&subject.digest, descriptor)
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
