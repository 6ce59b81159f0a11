use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{
    ImageError,
    collect::Takers,
    image::{Manifests, Wanted},
    run::Run,
    source::Image,
};
use crate::{
    oci::{Digest, Manifest, MediaType, RepositoryName, Tag},
    tree::{State, Tree},
};

/// What refers to what in a state: subject → manifests, with their sizes.
pub(super) type Subjects = HashMap<Digest, Vec<(Digest, MediaType, u64)>>;

impl Run<'_> {
    /// The whole repository failed: all its tags stay as they are.
    pub(super) async fn keep_repository(&mut self, name: &RepositoryName, reason: &str) {
        self.add_fault(name.as_str(), None, reason);
        for (tag, takers) in self.kept_tags(name) {
            self.keep_tag(name, &tag, &takers).await;
        }
    }

    /// The tags of a repository that stay if all of it stays as it is, and in which categories.
    pub(super) fn kept_tags(&self, name: &RepositoryName) -> BTreeMap<Tag, Takers> {
        let mut kept: BTreeMap<Tag, Takers> = BTreeMap::new();
        for (number, (selection, previous)) in self.exporter.selections.iter().zip(&self.previous).enumerate()
        {
            let is_taken = |tag: &&Tag| {
                let is_attached = selection.takes_repository(name) && tag.subject().is_some();
                selection.takes(name, tag) || (is_attached && !selection.excludes(tag))
            };
            let tags = previous.repositories.get(name).into_iter().flat_map(|it| it.keys());
            for tag in tags.filter(is_taken) {
                kept.entry(tag.clone()).or_default().insert(number);
            }
        }
        kept
    }

    /// Takes a tag over from the tree into those of these categories that had it.
    pub(super) async fn keep_tag(&mut self, name: &RepositoryName, tag: &Tag, takers: &Takers) {
        for number in takers.iter().copied() {
            match self.load_kept(name, tag, number).await {
                Ok(Some(image)) => self.add_kept(name, tag, number, &image),
                Ok(None) => {}
                Err(error) => self.add_fault(name.as_str(), Some(tag.as_str()), error),
            }
        }
    }

    /// The image that a category has under a tag, from the tree; `None` if it has none.
    pub(super) async fn load_kept(
        &mut self,
        name: &RepositoryName,
        tag: &Tag,
        number: usize,
    ) -> Result<Option<Image>, ImageError> {
        let digest = self.previous[number].repositories.get(name).and_then(|it| it.get(tag)).copied();
        match digest {
            Some(digest) => self.load_image(number, name, digest).await.map(Some),
            None => Ok(None),
        }
    }

    /// Adds what [`Run::load_kept`] found to its category, unless it is withdrawn.
    pub(super) fn add_kept(&mut self, name: &RepositoryName, tag: &Tag, number: usize, image: &Image) {
        match image.closures[0].find_withdrawn(&self.source.withdrawn) {
            Some(digest) => self.add_withdrawn(name, tag, digest),
            None => self.add_image(name, image, tag, &[number].into()),
        }
    }

    /// An image that a category has, all of it and of what refers to it, without asking the origin.
    async fn load_image(
        &mut self,
        number: usize,
        name: &RepositoryName,
        digest: Digest,
    ) -> Result<Image, ImageError> {
        let pool = Manifests { origin: None, ..self.source.manifests.clone() };
        let platforms = &self.exporter.selections[number].platforms;
        let entry = digest.sha256().and_then(|it| self.previous[number].entries.get(it));
        let (size, kind) = *entry.ok_or(ImageError::Missing(digest))?;
        let media_type = kind.media_type().ok_or(ImageError::Missing(digest))?;
        let wanted = Wanted { digest, media_type, size, platform: None };
        let closure = pool.resolve(name, wanted, !platforms.is_empty()).await?;
        let is_missing = |(digest, size): &(Digest, u64)| !pool.tree.has_blob(digest, *size);
        if let Some((missing, _)) = closure.blobs(platforms).find(is_missing) {
            return Err(ImageError::Missing(missing));
        }
        let mut open: Vec<_> = closure.manifests().collect();
        let mut seen: BTreeSet<_> = open.iter().copied().collect();
        let mut image = Image::new(digest, vec![closure]);
        let subjects =
            self.subjects.entry(number).or_insert_with(|| list_subjects(&pool.tree, &self.previous[number]));
        while let Some(subject) = open.pop() {
            for (digest, media_type, size) in subjects.get(&subject).into_iter().flatten().copied() {
                if seen.insert(digest) {
                    let wanted = Wanted { digest, media_type, size, platform: None };
                    let closure = pool.resolve(name, wanted, false).await?;
                    if closure.find_withdrawn(&self.source.withdrawn).is_none() {
                        open.extend(closure.manifests());
                        image.closures.push(closure);
                    }
                }
            }
        }
        Ok(image)
    }
}

/// Reads all manifests that some tag leads to, or that refer to such.
fn list_subjects(tree: &Tree, state: &State) -> Subjects {
    let mut subjects = Subjects::new();
    for (digest, (size, kind)) in &state.entries {
        let digest = Digest::Sha256(*digest);
        let Some(media_type) = kind.media_type().filter(|_| !state.former.contains_key(&digest)) else {
            continue;
        };
        let bytes = tree.read_manifest(&digest).ok().flatten();
        let manifest = bytes.and_then(|it| Manifest::parse(media_type, &it).ok());
        if let Some(subject) = manifest.and_then(|it| it.subject) {
            subjects.entry(subject.digest).or_default().push((digest, media_type, *size));
        }
    }
    subjects
}
