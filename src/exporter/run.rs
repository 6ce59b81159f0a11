use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::{Arc, atomic::Ordering},
};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Semaphore;

use super::{
    CategoryConfig, CategorySummary, Error, Observer, Plan, Refusal, Scope, Summary, WithdrawnImage,
    blocking,
    collect::{Heads, WantedTags},
    image::Manifests,
    keep::Subjects,
    listed::Listed,
    listing::Listing,
    origin::Origin,
    plan,
    referrers::Referrers,
    selection::Selection,
    source::Source,
    transfer::Transfers,
};
use crate::{
    connector::{self, Registry},
    metalink::PIECE_LENGTH,
    mirror::{CategoryName, Serial},
    oci::{Digest, RepositoryName, Tag},
    tree::{self, CANARY, CANARY_DIGEST, Created, Kind, State, Tree, Writer},
};

/// Of blobs that have no pieces yet, one export reads about so many bytes, after it has published all.
const CUT_LIMIT: u64 = 64 * 1024 * 1024 * 1024;

/// Brings the configured images from the origin into the tree, again and again.
pub struct Exporter {
    pub(super) registry: Arc<Registry>,
    tree: Tree,
    pub(super) selections: Vec<Selection>,
    /// For patterns to choose from, when the origin shall not be asked for a list.
    pub(super) repositories: Vec<RepositoryName>,
    pub(super) connections: usize,
    keep_former: SignedDuration,
    /// The category of what is in any, if there is to be one.
    pub(super) all: Option<CategoryName>,
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
        let all = tree.all.then(|| "all".parse().expect("a category's name"));
        if all.as_ref().is_some_and(|all| names.contains(all)) {
            return Err(Error::All);
        }
        Ok(Self {
            all,
            registry: Arc::new(Registry::new(origin)?),
            tree: Tree::open(tree),
            selections: categories.iter().map(Selection::new).collect::<Result<_, _>>()?,
            repositories: origin.repositories.clone(),
            connections: origin.connections.max(1),
            keep_former: tree.keep_former,
        })
    }

    /// Does any category take this repository?
    pub fn takes(&self, name: &RepositoryName) -> bool {
        let is_listed = self.repositories.is_empty() || self.repositories.contains(name);
        self.selections.iter().any(|it| it.named.contains(name) || (is_listed && it.takes_repository(name)))
    }

    /// Exports once what is in the scope; the rest of each category stays as it is. What failed image by image is in the summary; `Err` means that the origin or the
    /// tree could not be used at all. Every category is whole before and after, or says that it is
    /// not. May be dropped, or killed, at any moment: the next run goes on from there.
    pub async fn run(
        &self,
        scope: &Scope,
        now: Timestamp,
        observer: &dyn Observer,
    ) -> Result<Summary, Error> {
        self.export(scope, now, observer, false).await
    }

    /// Reads all files of the tree anew, and takes out those that are not what their name says; then exports all, which
    /// brings them in again.
    pub async fn verify(&self, now: Timestamp, observer: &dyn Observer) -> Result<Summary, Error> {
        self.export(&Scope::All, now, observer, true).await
    }

    async fn export(
        &self,
        scope: &Scope,
        now: Timestamp,
        observer: &dyn Observer,
        verify: bool,
    ) -> Result<Summary, Error> {
        let tree = self.tree.clone();
        let writer = Arc::new(blocking(move || tree.lock()).await?);
        let mut run = self.start(scope, Some(writer.clone()), now, observer)?;
        if verify {
            run.verify(&writer).await?;
        }
        self.registry.ping().await?;
        run.collect().await?;
        run.restore_former().await;
        run.publish(&writer).await?;
        Ok(run.summary)
    }

    /// What [`Exporter::run`] of all would change. Asks the origin, fetches no layer, and writes nothing.
    pub async fn plan(&self, now: Timestamp, observer: &dyn Observer) -> Result<Plan, Error> {
        let mut run = self.start(&Scope::All, None, now, observer)?;
        self.registry.ping().await?;
        run.collect().await?;
        Ok(plan::compare(run, &self.tree))
    }

    /// Does an export write to this category?
    pub(super) fn writes(&self, category: &CategoryName) -> bool {
        self.all.as_ref() == Some(category) || self.selections.iter().any(|it| it.category == *category)
    }

    /// Without a writer nothing is written, and only small things are fetched.
    fn start<'a>(
        &'a self,
        scope: &Scope,
        writer: Option<Arc<Writer>>,
        now: Timestamp,
        observer: &'a dyn Observer,
    ) -> Result<Run<'a>, Error> {
        let (registry, permits) = (self.registry.clone(), Arc::new(Semaphore::new(self.connections)));
        let transfers =
            |it: &Arc<Writer>| Transfers::new(registry.clone(), it.clone(), permits.clone(), observer);
        let transfers = writer.as_ref().map(transfers);
        let origin = Arc::new(Origin { registry, permits });
        let manifests = Manifests {
            tree: self.tree.clone(),
            writer,
            origin: Some(origin.clone()),
            fetched: Arc::default(),
        };
        let withdrawn = self.tree.list_withdrawn()?;
        let referrers = Referrers::new(origin.clone());
        let load = |it: &Selection| self.tree.load_state(&it.category);
        Ok(Run {
            exporter: self,
            scope: scope.clone(),
            observer,
            now,
            source: Arc::new(Source { origin, manifests, referrers, transfers, withdrawn }),
            previous: self.selections.iter().map(load).collect::<Result<_, _>>()?,
            next: self.selections.iter().map(empty_state).collect(),
            listing: Listing::default(),
            heads: Heads::new(),
            done: WantedTags::new(),
            attached: WantedTags::new(),
            listed: Listed::default(),
            subjects: HashMap::new(),
            created: match scope {
                Scope::All => Created::new(),
                Scope::Some(_) => self.tree.load_created(),
            },
            keep: HashSet::new(),
            summary: Summary::default(),
        })
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

/// One export under way. What it does before it publishes is in `survey`, `collect`, `age`,
/// `promotion`, `keep`, `listed`.
pub(super) struct Run<'a> {
    pub(super) exporter: &'a Exporter,
    pub(super) scope: Scope,
    pub(super) observer: &'a dyn Observer,
    pub(super) now: Timestamp,
    pub(super) source: Arc<Source<'a>>,
    /// By category, as the selections are.
    pub(super) previous: Vec<State>,
    /// By category, as the selections are.
    pub(super) next: Vec<State>,
    pub(super) listing: Listing,
    /// What the origin said of tags.
    pub(super) heads: Heads,
    /// What was exported, or could not be.
    pub(super) done: WantedTags,
    /// Tags that say something about images that were exported.
    pub(super) attached: WantedTags,
    /// What only the origin's referrers API says.
    pub(super) listed: Listed,
    /// What refers to what in the previous states, as far as it had to be found out.
    pub(super) subjects: HashMap<usize, Subjects>,
    /// When the images were made that were looked at.
    pub(super) created: Created,
    /// Content of images that failed half way: it waits in the pool for the next run.
    pub(super) keep: HashSet<Digest>,
    pub(super) summary: Summary,
}

impl Run<'_> {
    /// Writes the categories that changed, and removes what none of them holds any more.
    async fn publish(&mut self, writer: &Arc<Writer>) -> Result<(), Error> {
        let is_all = self.scope == Scope::All;
        let serial = self.now.as_second().max(writer.last_serial()? + 1);
        let states = std::mem::take(&mut self.next).into_iter().zip(std::mem::take(&mut self.previous));
        let mut large = BTreeMap::new();
        for (selection, (mut state, previous)) in self.exporter.selections.iter().zip(states) {
            if state.repositories.is_empty() && !self.lost_to_withdrawal(selection) {
                if is_all || !previous.repositories.is_empty() {
                    self.refuse(selection);
                }
                continue;
            }
            if is_all {
                self.summary.unmatched.extend(self.listing.unmatched(selection));
            }
            self.keep_former(&mut state, &previous);
            large.extend(
                state.entries.iter().filter(|it| it.1.0 > PIECE_LENGTH).map(|(digest, it)| (*digest, it.0)),
            );
            let (writer, name) = (writer.clone(), selection.category.clone());
            let summary = blocking(move || publish_one(&writer, name, &state, serial)).await?;
            self.summary.categories.push(summary);
        }
        self.relink_strangers(writer).await?;
        if let Some(all) = self.exporter.all.clone() {
            let writer = writer.clone();
            let summary = blocking(move || publish_all(&writer, all, serial)).await?;
            self.summary.categories.push(summary);
        }
        writer.store_created(&self.created)?;
        if is_all {
            self.note_strangers()?;
            let (pruned, keep) = (writer.clone(), std::mem::take(&mut self.keep));
            self.summary.removed = blocking(move || pruned.prune_pool(&keep)).await?;
            self.cut(writer.clone(), large).await?;
        }
        self.count_fetched();
        self.summary.faults.sort();
        self.summary.foreign_layers.sort();
        self.summary.withdrawn.sort();
        self.summary.withdrawn.dedup();
        Ok(())
    }

    /// Computes the pieces of large blobs that came before pieces were kept, or lost them.
    async fn cut(&mut self, writer: Arc<Writer>, large: BTreeMap<[u8; 32], u64>) -> Result<(), Error> {
        let results = blocking(move || {
            let blobs = large.into_iter().map(|(digest, size)| (Digest::Sha256(digest), size));
            let uncut = blobs.filter(|(digest, size)| writer.tree().lacks_pieces(digest, *size));
            let mut left = CUT_LIMIT;
            let within = uncut.take_while(|(_, size)| {
                let goes_on = left > 0;
                left = left.saturating_sub(*size);
                goes_on
            });
            within.map(|(digest, size)| writer.cut(&digest, size)).collect::<Vec<_>>()
        });
        for result in results.await {
            match result {
                Ok(()) => self.summary.cut += 1,
                Err(error) => self.observer.note(&format!("no pieces: {error}")),
            }
        }
        Ok(())
    }

    fn count_fetched(&mut self) {
        let (blobs, bytes) = self.source.transfers.as_ref().map_or((0, 0), Transfers::counts);
        let manifests = self.source.manifests.fetched.load(Ordering::Relaxed);
        self.summary.fetched = super::Fetched { manifests, blobs, bytes };
    }

    /// Is something of this category left out because it is withdrawn?
    pub(super) fn lost_to_withdrawal(&self, selection: &Selection) -> bool {
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
    fn keep_former(&self, state: &mut State, previous: &State) {
        for (digest, (size, kind)) in &previous.entries {
            let name = Digest::Sha256(*digest);
            if state.entries.contains_key(digest) || self.source.withdrawn.contains(&name) {
                continue;
            }
            if let Some(since) = self.former_since(previous, &name)
                && self.exporter.tree.has_blob(&name, *size)
            {
                state.entries.insert(*digest, (*size, *kind));
                state.former.insert(name, since);
            }
        }
    }

    /// Since when content would be former that no tag leads to; none if that is too long ago, or the category
    /// does not have it.
    pub(super) fn former_since(&self, previous: &State, digest: &Digest) -> Option<i64> {
        previous.entries.get(digest.sha256()?)?;
        let (now, limit) = (self.now.as_second(), self.exporter.keep_former.as_secs());
        let since = previous.former.get(digest).copied().unwrap_or(now);
        (now - since < limit).then_some(since)
    }

    /// A category that no export writes to has what was repaired from the pool.
    async fn relink_strangers(&self, writer: &Arc<Writer>) -> Result<(), Error> {
        for name in self.exporter.tree.category_names()? {
            if self.summary.verified.is_some() && !self.exporter.writes(&name) {
                let writer = writer.clone();
                blocking(move || writer.relink(&name)).await?;
            }
        }
        Ok(())
    }

    /// Says which folders of the tree no category of the configuration writes to.
    fn note_strangers(&self) -> Result<(), Error> {
        for name in self.exporter.tree.category_names()? {
            if !self.exporter.writes(&name) {
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

/// Publishes a state unless it stands there already.
fn publish_one(
    writer: &Writer,
    name: CategoryName,
    state: &State,
    serial: Serial,
) -> Result<CategorySummary, tree::Error> {
    let changed = !writer.is_published(&name, state);
    if changed {
        writer.publish(&name, state, serial)?;
    } else {
        writer.remove_strays(&name, state)?;
    }
    summarize(writer, name, state, changed)
}

/// Publishes the category of what is in any.
fn publish_all(writer: &Writer, name: CategoryName, serial: Serial) -> Result<CategorySummary, tree::Error> {
    let changed = writer.publish_all(&name, serial)?;
    let state = writer.tree().load_state(&name)?;
    summarize(writer, name, &state, changed)
}

fn summarize(
    writer: &Writer,
    name: CategoryName,
    state: &State,
    changed: bool,
) -> Result<CategorySummary, tree::Error> {
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
