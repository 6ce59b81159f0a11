use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use futures_util::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Semaphore;

use super::{
    CategoryConfig, CategorySummary, Error, Fault, ForeignLayer, ImageError, Observer, Refusal, Summary,
    WithdrawnImage, blocking,
    image::{Closure, Manifests, Wanted, add_entry},
    listing::Listing,
    selection::Selection,
    transfer::Transfers,
};
use crate::{
    connector::{self, ManifestHead, Registry},
    mirror::Serial,
    oci::{Digest, Reference, RepositoryName, Tag},
    tree::{self, CANARY, CANARY_DIGEST, Kind, State, Tree, Writer},
};

/// How many blobs of one image wait for a connection at once.
const BLOBS_AT_ONCE: usize = 16;

/// Brings the configured images from the origin into the tree, again and again.
pub struct Exporter {
    registry: Arc<Registry>,
    tree: Tree,
    selections: Vec<Selection>,
    /// For patterns to choose from, when the origin shall not be asked for a list.
    repositories: Vec<RepositoryName>,
    connections: usize,
    keep_former: SignedDuration,
}

/// An image as a tag led to it.
struct Image {
    digest: Digest,
    closure: Closure,
}

/// What became of a tag.
enum Exported {
    /// All of it is in the pool.
    Image(Image),
    /// The origin does not have it any more.
    Gone,
    /// This of it is withdrawn.
    Withdrawn(Digest),
}

impl Exporter {
    /// Judges the configuration; touches neither origin nor tree.
    pub fn new(
        origin: &connector::Config,
        tree: &tree::Config,
        categories: &[CategoryConfig],
    ) -> Result<Self, Error> {
        if categories.is_empty() {
            return Err(Error::NoCategory);
        }
        let mut names = BTreeSet::new();
        if let Some(twice) = categories.iter().find(|it| !names.insert(&it.name)) {
            return Err(Error::Twice(twice.name.clone()));
        }
        Ok(Self {
            registry: Arc::new(Registry::new(origin)?),
            tree: Tree::open(tree),
            selections: categories.iter().map(Selection::new).collect::<Result<_, _>>()?,
            repositories: origin.repositories.clone(),
            connections: origin.connections.max(1),
            keep_former: tree.keep_former,
        })
    }

    /// Exports once. What failed image by image is in the summary; `Err` means that the origin or the
    /// tree could not be used at all. Every category is whole before and after, or says that it is
    /// not. May be dropped, or killed, at any moment: the next run goes on from there.
    pub async fn run(&self, now: Timestamp, observer: &dyn Observer) -> Result<Summary, Error> {
        let tree = self.tree.clone();
        let writer = Arc::new(blocking(move || tree.lock()).await?);
        self.registry.ping().await?;
        let permits = Arc::new(Semaphore::new(self.connections));
        let transfers = Transfers::new(self.registry.clone(), writer.clone(), permits.clone(), observer);
        let mut run = Run {
            exporter: self,
            withdrawn: self.tree.list_withdrawn()?,
            manifests: Manifests { writer: writer.clone(), origin: Some((self.registry.clone(), permits)) },
            transfers: Arc::new(transfers),
            previous: load_states(&writer, &self.selections)?,
            next: Vec::new(),
            listing: Listing::default(),
            keep: HashSet::new(),
            summary: Summary::default(),
            writer,
            observer,
        };
        run.next = self.selections.iter().map(empty_state).collect();
        run.collect().await?;
        run.publish(now).await?;
        Ok(run.summary)
    }
}

/// Nothing but the canary.
fn empty_state(selection: &Selection) -> State {
    let canary = *CANARY_DIGEST.sha256().expect("it is a sha256");
    State {
        selection: selection.text.clone(),
        repositories: BTreeMap::new(),
        entries: BTreeMap::from([(canary, (CANARY.len() as u64, Kind::Blob))]),
        former: BTreeMap::new(),
    }
}

fn load_states(writer: &Writer, selections: &[Selection]) -> Result<Vec<State>, tree::Error> {
    selections.iter().map(|it| writer.load_state(&it.category)).collect()
}

/// One export under way.
struct Run<'a> {
    exporter: &'a Exporter,
    /// What no category may have.
    withdrawn: BTreeSet<Digest>,
    writer: Arc<Writer>,
    manifests: Manifests,
    transfers: Arc<Transfers<'a>>,
    observer: &'a dyn Observer,
    /// By category, as the selections are.
    previous: Vec<State>,
    /// By category, as the selections are.
    next: Vec<State>,
    listing: Listing,
    /// Content of images that failed half way: it waits in the pool for the next run.
    keep: HashSet<Digest>,
    summary: Summary,
}

impl Run<'_> {
    /// Fetches all that is chosen, and fills `next`.
    async fn collect(&mut self) -> Result<(), Error> {
        let repositories = self.choose_repositories().await?;
        self.summary.repositories = repositories.len();
        let images = self.list_images(repositories).await;
        self.summary.tags = images.len();
        let (exporter, manifests, transfers) =
            (self.exporter, self.manifests.clone(), self.transfers.clone());
        let withdrawn = self.withdrawn.clone();
        let withdrawn = &withdrawn;
        let mut results = stream::iter(images)
            .map(|(name, tag)| {
                let (manifests, transfers) = (manifests.clone(), transfers.clone());
                async move {
                    let image = (&name, &tag);
                    let result =
                        export_image(&exporter.registry, &manifests, &transfers, withdrawn, image).await;
                    (name, tag, result)
                }
            })
            .buffer_unordered(exporter.connections);
        while let Some((name, tag, result)) = results.next().await {
            self.add_result(name, tag, result).await;
        }
        Ok(())
    }

    /// The repositories that any category takes.
    async fn choose_repositories(&mut self) -> Result<Vec<RepositoryName>, Error> {
        let exporter = self.exporter;
        let mut names: BTreeSet<RepositoryName> =
            exporter.selections.iter().flat_map(|it| it.named.clone()).collect();
        if exporter.selections.iter().any(|it| it.has_patterns) {
            self.listing.known = if exporter.repositories.is_empty() {
                self.list_catalog().await?
            } else {
                exporter.repositories.clone()
            };
            let is_taken =
                |name: &RepositoryName| exporter.selections.iter().any(|it| it.takes_repository(name));
            names.extend(self.listing.known.iter().filter(|it| is_taken(it)).cloned());
        }
        Ok(names.into_iter().collect())
    }

    async fn list_catalog(&mut self) -> Result<Vec<RepositoryName>, Error> {
        let mut names = Vec::new();
        for text in self.exporter.registry.list_repositories().await? {
            match text.parse() {
                Ok(name) => names.push(name),
                Err(error) => self.add_fault(&text, None, error),
            }
        }
        Ok(names)
    }

    /// Repository and tag of every image that any category takes. Where tags cannot be listed, the
    /// previous ones stay.
    async fn list_images(&mut self, repositories: Vec<RepositoryName>) -> Vec<(RepositoryName, Tag)> {
        let registry = &self.exporter.registry;
        let lists: Vec<_> = stream::iter(repositories)
            .map(|name| async move { (registry.list_tags(&name).await, name) })
            .buffer_unordered(self.exporter.connections)
            .collect()
            .await;
        for (list, name) in lists {
            let tags = match list {
                Ok(Some(tags)) => Ok(self.parse_tags(&name, tags)),
                // The catalog of many registries still names a repository whose last tag is gone.
                Ok(None) if !self.is_named(&name) => Ok(BTreeSet::new()),
                Ok(None) => Err("the origin has no such repository".to_owned()),
                Err(error) => Err(error.to_string()),
            };
            if let Err(reason) = &tags {
                self.keep_repository(&name, reason).await;
            }
            self.listing.tags.insert(name, tags.ok());
        }
        self.listing.images(&self.exporter.selections)
    }

    fn is_named(&self, name: &RepositoryName) -> bool {
        self.exporter.selections.iter().any(|it| it.named.contains(name))
    }

    /// The tags of a repository; those that break the grammar are faults.
    fn parse_tags(&mut self, name: &RepositoryName, texts: Vec<String>) -> BTreeSet<Tag> {
        let mut tags = BTreeSet::new();
        for text in texts {
            match text.parse() {
                Ok(tag) => {
                    tags.insert(tag);
                }
                Err(error) => self.add_fault(name.as_str(), Some(&text), error),
            }
        }
        tags
    }

    /// Adds an image to the categories that take it; if it failed, as it was before.
    async fn add_result(&mut self, name: RepositoryName, tag: Tag, result: Result<Exported, Failure>) {
        match result {
            Ok(Exported::Image(image)) => {
                self.summary.fetched.manifests += image.closure.fetched;
                self.add_foreign(&name, &tag, &image.closure);
                let selections = &self.exporter.selections;
                for (selection, state) in selections.iter().zip(&mut self.next) {
                    if selection.takes(&name, &tag) {
                        add_image(state, &name, &tag, &image);
                    }
                }
            }
            // Removed since the list was made.
            Ok(Exported::Gone) => {}
            Ok(Exported::Withdrawn(digest)) => self.add_withdrawn(&name, &tag, digest),
            Err(failure) => {
                self.keep.extend(failure.keep);
                self.add_fault(name.as_str(), Some(tag.as_str()), failure.error);
                self.keep_tag(&name, &tag).await;
            }
        }
    }

    fn add_withdrawn(&mut self, name: &RepositoryName, tag: &Tag, digest: Digest) {
        self.observer.note(&format!("{name}:{tag} is left out: {digest} is withdrawn"));
        let (repository, tag) = (name.clone(), tag.to_string());
        self.summary.withdrawn.push(WithdrawnImage { repository, tag, digest });
    }

    fn add_foreign(&mut self, name: &RepositoryName, tag: &Tag, closure: &Closure) {
        for digest in &closure.foreign {
            self.observer
                .note(&format!("{name}:{tag}: layer {digest} is left out; its owner forbids copies"));
            self.summary.foreign_layers.push(ForeignLayer {
                repository: name.clone(),
                tag: tag.to_string(),
                digest: *digest,
            });
        }
    }

    fn add_fault(&mut self, repository: &str, tag: Option<&str>, reason: impl ToString) {
        let (repository, tag) = (repository.to_owned(), tag.map(str::to_owned));
        let fault = Fault { repository, tag, reason: reason.to_string() };
        self.observer.note(&fault.to_string());
        self.summary.faults.push(fault);
    }

    /// The whole repository failed: all its tags stay as they are.
    async fn keep_repository(&mut self, name: &RepositoryName, reason: &str) {
        self.add_fault(name.as_str(), None, reason);
        let tags: BTreeSet<Tag> = self
            .previous
            .iter()
            .filter_map(|it| it.repositories.get(name))
            .flat_map(|it| it.keys().cloned())
            .collect();
        for tag in tags {
            self.keep_tag(name, &tag).await;
        }
    }

    /// Takes a tag over from the tree into the categories that had it.
    async fn keep_tag(&mut self, name: &RepositoryName, tag: &Tag) {
        for number in 0..self.next.len() {
            if !self.exporter.selections[number].takes(name, tag) {
                continue;
            }
            let previous = &self.previous[number];
            let Some(digest) = previous.repositories.get(name).and_then(|it| it.get(tag)).copied() else {
                continue;
            };
            match self.load_image(previous, name, digest).await {
                Ok(image) => match image.closure.find_withdrawn(&self.withdrawn) {
                    Some(digest) => self.add_withdrawn(name, tag, digest),
                    None => add_image(&mut self.next[number], name, tag, &image),
                },
                Err(error) => self.add_fault(name.as_str(), Some(tag.as_str()), error),
            }
        }
    }

    /// An image that the tree has, all of it, without asking the origin.
    async fn load_image(
        &self,
        state: &State,
        name: &RepositoryName,
        digest: Digest,
    ) -> Result<Image, ImageError> {
        let entry = digest.sha256().and_then(|it| state.entries.get(it));
        let (size, kind) = *entry.ok_or(ImageError::Missing(digest))?;
        let media_type = kind.media_type().ok_or(ImageError::Missing(digest))?;
        let pool = Manifests { writer: self.writer.clone(), origin: None };
        let closure = pool.resolve(name, Wanted { digest, media_type, size }).await?;
        let missing = closure.blobs().find(|(digest, size)| !self.writer.has_blob(digest, *size));
        match missing {
            Some((missing, _)) => Err(ImageError::Missing(missing)),
            None => Ok(Image { digest, closure }),
        }
    }

    /// Writes the categories that changed, and removes what none of them holds any more.
    async fn publish(&mut self, now: Timestamp) -> Result<(), Error> {
        let serial = now.as_second().max(self.writer.last_serial()? + 1);
        let states = std::mem::take(&mut self.next).into_iter().zip(std::mem::take(&mut self.previous));
        for (selection, (mut state, previous)) in self.exporter.selections.iter().zip(states) {
            if state.repositories.is_empty() && !self.lost_to_withdrawal(selection) {
                self.refuse(selection);
                continue;
            }
            self.summary.unmatched.extend(self.listing.unmatched(selection));
            self.keep_former(&mut state, &previous, now);
            let (writer, name) = (self.writer.clone(), selection.category.clone());
            let summary = blocking(move || publish_one(&writer, name, &state, serial)).await?;
            self.summary.categories.push(summary);
        }
        self.note_strangers()?;
        let (writer, keep) = (self.writer.clone(), std::mem::take(&mut self.keep));
        self.summary.removed = blocking(move || writer.prune_pool(&keep)).await?;
        (self.summary.fetched.blobs, self.summary.fetched.bytes) = self.transfers.counts();
        self.summary.faults.sort();
        self.summary.foreign_layers.sort();
        self.summary.withdrawn.sort();
        self.summary.withdrawn.dedup();
        Ok(())
    }

    /// Is something of this category left out because it is withdrawn?
    fn lost_to_withdrawal(&self, selection: &Selection) -> bool {
        let takes =
            |it: &WithdrawnImage| it.tag.parse().is_ok_and(|tag: Tag| selection.takes(&it.repository, &tag));
        self.summary.withdrawn.iter().any(takes)
    }

    /// A category without any image is a slip in the configuration, or at the origin: written, it would
    /// withdraw all images from all mirrors.
    fn refuse(&mut self, selection: &Selection) {
        let category = selection.category.clone();
        let refusal = Refusal { category, reason: self.listing.why_empty(selection) };
        self.observer.note(&refusal.to_string());
        self.summary.refused.push(refusal);
    }

    /// Content that no tag leads to any more stays for a while: digests are pinned, mirrors are slow.
    fn keep_former(&self, state: &mut State, previous: &State, now: Timestamp) {
        let limit = self.exporter.keep_former.as_secs();
        for (digest, (size, kind)) in &previous.entries {
            let name = Digest::Sha256(*digest);
            let since = previous.former.get(&name).copied().unwrap_or(now.as_second());
            let is_former = !state.entries.contains_key(digest) && !self.withdrawn.contains(&name);
            if is_former && now.as_second() - since < limit && self.writer.has_blob(&name, *size) {
                state.entries.insert(*digest, (*size, *kind));
                state.former.insert(name, since);
            }
        }
    }

    /// Says which folders of the tree no category of the configuration writes to.
    fn note_strangers(&self) -> Result<(), Error> {
        for name in self.exporter.tree.category_names()? {
            if !self.exporter.selections.iter().any(|it| it.category == name) {
                let text = format!(
                    "category {name} is in the tree but not in the configuration; it stays as it is; to end it, \
                     remove its folder from the tree, then run `portolan scan`"
                );
                self.observer.note(&text);
            }
        }
        Ok(())
    }
}

fn add_image(state: &mut State, name: &RepositoryName, tag: &Tag, image: &Image) {
    state.repositories.entry(name.clone()).or_default().insert(tag.clone(), image.digest);
    for (digest, (size, kind)) in &image.closure.entries {
        add_entry(&mut state.entries, *digest, *size, *kind);
    }
}

/// Publishes a state unless it stands there already.
fn publish_one(
    writer: &Writer,
    name: crate::mirror::CategoryName,
    state: &State,
    serial: Serial,
) -> Result<CategorySummary, tree::Error> {
    let changed = !writer.is_published(&name, state);
    if changed {
        writer.publish(&name, state, serial)?;
    }
    let serial = writer.tree().read_category(&name)?.inventory.serial;
    Ok(CategorySummary {
        name,
        serial,
        changed,
        tags: state.repositories.values().map(BTreeMap::len).sum(),
        files: state.entries.len(),
        bytes: state.entries.values().map(|it| it.0).sum(),
        former: state.former.len(),
    })
}

/// Why an image failed, and what of it is in the pool already.
struct Failure {
    error: ImageError,
    keep: Vec<Digest>,
}

impl<T: Into<ImageError>> From<T> for Failure {
    fn from(error: T) -> Self {
        Self { error: error.into(), keep: Vec::new() }
    }
}

/// Brings all of an image into the pool: one HEAD, and then only what is not there yet.
async fn export_image(
    registry: &Registry,
    manifests: &Manifests,
    transfers: &Transfers<'_>,
    withdrawn: &BTreeSet<Digest>,
    (name, tag): (&RepositoryName, &Tag),
) -> Result<Exported, Failure> {
    let head = {
        let _permit = transfers.permits.acquire().await.expect("it is never closed");
        registry.head_manifest(name, &Reference::Tag(tag.clone())).await?
    };
    let Some(ManifestHead { digest, media_type, size }) = head else { return Ok(Exported::Gone) };
    if withdrawn.contains(&digest) {
        return Ok(Exported::Withdrawn(digest));
    }
    let closure = manifests.resolve(name, Wanted { digest, media_type, size }).await?;
    if let Some(digest) = closure.find_withdrawn(withdrawn) {
        return Ok(Exported::Withdrawn(digest));
    }
    // One bad blob does not stop the others: they wait in the pool for the next run.
    let results: Vec<_> = stream::iter(closure.blobs().collect::<Vec<_>>())
        .map(|(digest, size)| transfers.fetch(name, digest, size))
        .buffer_unordered(BLOBS_AT_ONCE)
        .collect()
        .await;
    let fetched: Result<(), ImageError> = results.into_iter().collect();
    match fetched {
        Ok(()) => Ok(Exported::Image(Image { digest, closure })),
        Err(error) => {
            let keep = closure.entries.keys().map(|it| Digest::Sha256(*it)).collect();
            Err(Failure { error, keep })
        }
    }
}
