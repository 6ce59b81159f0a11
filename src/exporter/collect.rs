use std::collections::{BTreeMap, BTreeSet, HashMap};

use futures_util::{StreamExt, stream};

use super::{
    Error, Fault, ForeignLayer, WithdrawnImage,
    run::Run,
    source::{Brought, Failure, Image},
};
use crate::{
    connector::{self, ManifestHead},
    oci::{Digest, RepositoryName, Tag},
};

/// The numbers of the categories that take a tag.
pub(super) type Takers = BTreeSet<usize>;

/// Tags, and who takes them.
pub(super) type WantedTags = BTreeMap<(RepositoryName, Tag), Takers>;

/// What the origin says that tags mean; `None` where it has none.
pub(super) type Heads = HashMap<(RepositoryName, Tag), Option<ManifestHead>>;

/// A tag, and what it means.
pub(super) struct Found {
    pub(super) name: RepositoryName,
    pub(super) tag: Tag,
    pub(super) head: ManifestHead,
    pub(super) takers: Takers,
}

/// An image of a repository, and its tags.
struct Group {
    name: RepositoryName,
    head: ManifestHead,
    tags: Vec<(Tag, Takers)>,
}

impl Run<'_> {
    /// Fetches all that is chosen, and what is said about it, and fills `next`.
    pub(super) async fn collect(&mut self) -> Result<(), Error> {
        self.survey().await?;
        let found = self.find(self.listing.images(&self.exporter.selections)).await;
        let found = self.limit(found).await;
        let found = self.promote(found).await;
        self.bring(found).await;
        self.follow_attached().await;
        self.attach_to_former();
        self.follow_attached().await;
        self.list_referrers().await;
        Ok(())
    }

    /// Asks what tags mean; each tag once. Where that fails, they stay as they were.
    async fn find(&mut self, wanted: WantedTags) -> Vec<Found> {
        self.summary.tags += wanted.keys().filter(|it| !self.done.contains_key(it)).count();
        for (image, takers) in &wanted {
            self.done.entry(image.clone()).or_default().extend(takers);
        }
        let (source, heads) = (self.source.clone(), &self.heads);
        let results: Vec<_> = stream::iter(wanted)
            .map(|(image, takers)| {
                let (origin, known) = (source.origin.clone(), heads.get(&image).cloned());
                async move {
                    let head = match known {
                        Some(known) => Ok(known),
                        None => origin.head(&image.0, &image.1).await,
                    };
                    (image, takers, head)
                }
            })
            .buffer_unordered(self.exporter.connections)
            .collect()
            .await;
        let mut found = Vec::new();
        for ((name, tag), takers, head) in results {
            match head {
                Ok(head) => {
                    self.heads.insert((name.clone(), tag.clone()), head.clone());
                    // None: removed since the list was made.
                    found.extend(head.map(|head| Found { name, tag, head, takers }));
                }
                Err(error) => self.fail(&name, &tag, &takers, &error).await,
            }
        }
        found
    }

    /// What one tag means.
    pub(super) async fn find_head(
        &mut self,
        name: &RepositoryName,
        tag: &Tag,
    ) -> Result<Option<ManifestHead>, connector::Error> {
        let key = (name.clone(), tag.clone());
        if let Some(known) = self.heads.get(&key) {
            return Ok(known.clone());
        }
        let head = self.source.origin.head(name, tag).await?;
        self.heads.insert(key, head.clone());
        Ok(head)
    }

    /// Brings images in, each once, whatever tags it has.
    async fn bring(&mut self, found: Vec<Found>) {
        let mut groups: BTreeMap<(RepositoryName, Digest), Group> = BTreeMap::new();
        for Found { name, tag, head, takers } in found.into_iter().filter(|it| !it.takers.is_empty()) {
            let key = (name.clone(), head.digest);
            let group = groups.entry(key).or_insert_with(|| Group { name, head, tags: Vec::new() });
            group.tags.push((tag, takers));
        }
        let (exporter, source) = (self.exporter, self.source.clone());
        let mut results = stream::iter(groups.into_values())
            .map(|group| {
                let source = source.clone();
                async move {
                    let takers: Takers = group.tags.iter().flat_map(|it| &it.1).copied().collect();
                    let platforms: Vec<_> =
                        takers.iter().map(|it| exporter.selections[*it].platforms.as_slice()).collect();
                    let result = source.bring(&group.name, &group.head, &platforms).await;
                    (group, result)
                }
            })
            .buffer_unordered(exporter.connections);
        while let Some((group, result)) = results.next().await {
            self.add_result(group, result).await;
        }
    }

    /// Adds an image to the categories that take it; if it failed, as it was before.
    async fn add_result(&mut self, group: Group, result: Result<Brought, Failure>) {
        let Group { name, tags, .. } = group;
        match result {
            Ok(Brought::Image(image)) => {
                for (tag, takers) in &tags {
                    self.add_foreign(&name, tag, &image);
                    self.add_image(&name, &image, tag, takers);
                }
                let (tag, _) = &tags[0];
                for (digest, error) in &image.faults {
                    let reason = format!("{digest}, which refers to it, is left out: {error}");
                    self.add_fault(name.as_str(), Some(tag.as_str()), reason);
                }
                for digest in &image.withdrawn {
                    self.add_withdrawn(&name, tag, *digest);
                }
            }
            Ok(Brought::Withdrawn(digest)) => {
                tags.iter().for_each(|(tag, _)| self.add_withdrawn(&name, tag, digest));
            }
            Err(failure) => {
                self.keep.extend(failure.keep);
                for (tag, takers) in &tags {
                    self.fail(&name, tag, takers, &failure.error).await;
                }
            }
        }
    }

    /// Adds an image to categories, and looks what tags say something about it.
    pub(super) fn add_image(&mut self, name: &RepositoryName, image: &Image, tag: &Tag, takers: &Takers) {
        for number in takers.iter().copied() {
            let state = &mut self.next[number];
            state.repositories.entry(name.clone()).or_default().insert(tag.clone(), image.digest);
            image.add_to(&mut state.entries, &self.exporter.selections[number].platforms);
            for (subject, referrer) in &image.listed {
                self.listed.add(number, name, subject, referrer);
            }
        }
        for manifest in image.manifests() {
            self.attach(name, &manifest, takers);
        }
    }

    /// Wants the tags that say something about a manifest.
    fn attach(&mut self, name: &RepositoryName, subject: &Digest, takers: &Takers) {
        for tag in Tag::attached_to(subject).filter(|it| self.listing.has(name, it)) {
            let is_taken = |it: &&usize| !self.exporter.selections[**it].excludes(&tag);
            let takers: Vec<usize> = takers.iter().filter(is_taken).copied().collect();
            self.attached.entry((name.clone(), tag)).or_default().extend(takers);
        }
    }

    /// Brings in what tags say about images, and what tags say about that, and so on.
    async fn follow_attached(&mut self) {
        loop {
            let mut wanted = std::mem::take(&mut self.attached);
            for (image, takers) in &mut wanted {
                let done = self.done.get(image);
                takers.retain(|it| !done.is_some_and(|done| done.contains(it)));
            }
            wanted.retain(|_, takers| !takers.is_empty());
            if wanted.is_empty() {
                return;
            }
            let found = self.find(wanted).await;
            self.bring(found).await;
        }
    }

    /// What tags say about former manifests stays as long as these: whoever pinned one checks its signature.
    fn attach_to_former(&mut self) {
        let mut pairs = Vec::new();
        for (number, (selection, previous)) in self.exporter.selections.iter().zip(&self.previous).enumerate()
        {
            if self.next[number].repositories.is_empty() {
                continue; // without an image it is not written at all
            }
            for (name, tags) in previous.repositories.iter().filter(|it| selection.takes_repository(it.0)) {
                let subjects = tags.keys().filter_map(Tag::subject);
                let is_held = |it: &Digest| self.former_since(previous, it).is_some();
                pairs.extend(subjects.filter(is_held).map(|subject| (name.clone(), subject, number)));
            }
        }
        for (name, subject, number) in pairs {
            self.attach(&name, &subject, &[number].into());
        }
    }

    /// A tag could not be exported: it stays as it was.
    pub(super) async fn fail(
        &mut self,
        name: &RepositoryName,
        tag: &Tag,
        takers: &Takers,
        reason: &impl ToString,
    ) {
        self.add_fault(name.as_str(), Some(tag.as_str()), reason.to_string());
        self.keep_tag(name, tag, takers).await;
    }

    pub(super) fn add_withdrawn(&mut self, name: &RepositoryName, tag: &Tag, digest: Digest) {
        self.observer.note(&format!("{name}:{tag} is left out: {digest} is withdrawn"));
        let (repository, tag) = (name.clone(), tag.to_string());
        self.summary.withdrawn.push(WithdrawnImage { repository, tag, digest });
    }

    fn add_foreign(&mut self, name: &RepositoryName, tag: &Tag, image: &Image) {
        for digest in image.closures.iter().flat_map(|it| &it.foreign) {
            self.observer
                .note(&format!("{name}:{tag}: layer {digest} is left out; its owner forbids copies"));
            self.summary.foreign_layers.push(ForeignLayer {
                repository: name.clone(),
                tag: tag.to_string(),
                digest: *digest,
            });
        }
    }

    pub(super) fn add_fault(&mut self, repository: &str, tag: Option<&str>, reason: impl ToString) {
        let (repository, tag) = (repository.to_owned(), tag.map(str::to_owned));
        let fault = Fault { repository, tag, reason: reason.to_string() };
        self.observer.note(&fault.to_string());
        self.summary.faults.push(fault);
    }
}
