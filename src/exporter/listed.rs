use std::collections::{BTreeMap, BTreeSet};

use super::{ImageError, image::Wanted, run::Run};
use crate::{
    oci::{Descriptor, Digest, MediaType, RepositoryName, Tag},
    tree::{self, Kind},
};

/// Referrers that do not say themselves what they are about, by category, repository and subject.
#[derive(Default)]
pub(super) struct Listed(BTreeMap<(usize, RepositoryName, Digest), List>);

struct List {
    subject: Descriptor,
    referrers: BTreeMap<Digest, Descriptor>,
}

impl Listed {
    pub(super) fn add(
        &mut self,
        category: usize,
        name: &RepositoryName,
        subject: &Descriptor,
        referrer: &Descriptor,
    ) {
        let key = (category, name.clone(), subject.digest);
        let new = || List { subject: subject.clone(), referrers: BTreeMap::new() };
        self.0.entry(key).or_insert_with(new).referrers.insert(referrer.digest, referrer.clone());
    }
}

impl Run<'_> {
    /// Adds lists of what only the origin's referrers API says, for scan to read: neither the referrer says it, nor
    /// the tag of its subject's referrers.
    pub(super) async fn list_referrers(&mut self) {
        for ((number, name, digest), mut list) in std::mem::take(&mut self.listed).0 {
            let tagged = self.list_tagged(number, &name, &digest).await;
            let result = match tagged {
                Ok(tagged) => {
                    list.referrers.retain(|it, _| !tagged.contains(it));
                    self.add_lists(number, &list).await
                }
                Err(error) => Err(error),
            };
            if let Err(error) = result {
                self.add_fault(name.as_str(), None, format!("the referrers of {digest}: {error}"));
            }
        }
    }

    /// What the category says of a manifest by the tag of its referrers.
    async fn list_tagged(
        &self,
        number: usize,
        name: &RepositoryName,
        subject: &Digest,
    ) -> Result<BTreeSet<Digest>, ImageError> {
        let state = &self.next[number];
        let tags = state.repositories.get(name);
        let index = Tag::of_referrers(subject).and_then(|tag| tags?.get(&tag)).copied();
        let Some(digest) = index else { return Ok(BTreeSet::new()) };
        let entry = digest.sha256().and_then(|it| state.entries.get(it));
        let (size, kind) = *entry.ok_or(ImageError::Missing(digest))?;
        let media_type = kind.media_type().ok_or(ImageError::Missing(digest))?;
        let wanted = Wanted { digest, media_type, size, platform: None };
        let index = self.source.manifests.load(name, &wanted).await?;
        Ok(index.manifests.iter().map(|it| it.digest).collect())
    }

    async fn add_lists(&mut self, number: usize, list: &List) -> Result<(), ImageError> {
        for bytes in tree::render_referrer_lists(&list.subject, list.referrers.values()) {
            let (digest, size) = (Digest::of(&bytes), bytes.len() as u64);
            let Some(hash) = digest.sha256().filter(|_| !self.source.withdrawn.contains(&digest)) else {
                continue;
            };
            self.source.manifests.store(digest, bytes).await?;
            let kind = Kind::Manifest(MediaType::OciIndex);
            self.next[number].entries.insert(*hash, (size, kind));
        }
        Ok(())
    }
}
