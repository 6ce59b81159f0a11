//! The publish gate: a tag that moved answers its former manifest until enough hosts hold the new one.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::SignedDuration;
use roaring::RoaringBitmap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    ranking::{HOLDINGS_AGE, is_switched_on},
    rows::{Hash, HostRow, MovedTagRow},
    snapshot::Snapshot,
};
use crate::{
    mirror::{CategoryId, HostKind, Reach},
    oci::Digest,
};

/// No rule holds a tag back for longer: 7 days.
pub const LONGEST_HOLD: SignedDuration = SignedDuration::from_hours(168);

/// When a tag that moved is answered anew: as soon as one of these is so.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Publish {
    /// So many hosts hold all that is new, or all that are offered if they are fewer: 1 to 10000.
    #[serde(default)]
    #[schemars(range(min = 1, max = 10_000))]
    pub hosts: Option<usize>,
    /// So many percent of the hosts that are offered hold all that is new: 1 to 100.
    #[serde(default)]
    #[schemars(range(min = 1, max = 100))]
    pub share: Option<usize>,
    /// So long ago it moved, whoever holds it: 0s to 168h.
    #[schemars(with = "String")]
    #[serde(serialize_with = "jiff::fmt::serde::duration::friendly::compact::required")]
    pub after: SignedDuration,
}

/// The rules of categories, by name; one without a rule publishes at once.
pub type PublishRules = BTreeMap<String, Publish>;

/// Which tags are held back. Made anew whenever the snapshot is, never for a request.
#[derive(Debug, Default)]
pub struct Gate {
    held: HashMap<String, HashMap<String, HeldTag>>,
    /// What was let through stays so, also when a host that holds it goes.
    published: HashSet<(String, String, Hash)>,
}

/// A tag that is held back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HeldTag {
    /// Its repository.
    pub repository: String,
    /// Its name.
    pub tag: String,
    /// The category that it moved in.
    #[serde(skip)]
    pub category: CategoryId,
    /// The manifest that it answers.
    #[serde(serialize_with = "as_digest")]
    pub former: Hash,
    /// The manifest that waits.
    #[serde(serialize_with = "as_digest")]
    pub newest: Hash,
    /// Hosts that hold all that is new.
    pub holders: usize,
    /// Hosts that have to; `None`: only time counts.
    pub needed: Option<usize>,
    /// When it is let through at the latest, Unix seconds.
    pub until: i64,
}

fn as_digest<S: serde::Serializer>(hash: &Hash, serializer: S) -> Result<S::Ok, S::Error> {
    Digest::Sha256(*hash).serialize(serializer)
}

impl Gate {
    /// Decides for all tags that moved. `before` is the decision before, `at` is in Unix seconds.
    pub fn new(rules: &PublishRules, snapshot: &Snapshot, before: &Self, at: i64) -> Self {
        let mut gate = Self::default();
        for (moved, new_blobs) in snapshot.content.list_moved_tags() {
            let category = snapshot.content.list_categories().find(|it| it.0.id == moved.category);
            let Some(rule) = category.and_then(|it| rules.get(&it.0.name)) else { continue };
            let Some(newest) = find_newest(snapshot, moved) else { continue };
            let key = (moved.repository.clone(), moved.tag.clone(), newest);
            let held = held(rule, snapshot, moved, newest, new_blobs, at);
            match held.filter(|_| !before.published.contains(&key)) {
                Some(held) => {
                    let tags = gate.held.entry(moved.repository.clone()).or_default();
                    tags.insert(moved.tag.clone(), held);
                }
                None => {
                    gate.published.insert(key);
                }
            }
        }
        gate
    }

    /// What is known of a tag that is held back.
    pub fn find(&self, repository: &str, tag: &str) -> Option<&HeldTag> {
        self.held.get(repository)?.get(tag)
    }

    /// All that are held back, sorted.
    pub fn list(&self) -> Vec<&HeldTag> {
        let mut all: Vec<_> = self.held.values().flat_map(HashMap::values).collect();
        all.sort_by_key(|it| (&it.repository, &it.tag));
        all
    }
}

fn find_newest(snapshot: &Snapshot, moved: &MovedTagRow) -> Option<Hash> {
    let repository = snapshot.content.find_repository(&moved.repository.parse().ok()?)?;
    repository.find_tag(&moved.tag.parse().ok()?)
}

/// `None` when the tag may be answered anew.
fn held(
    rule: &Publish,
    snapshot: &Snapshot,
    moved: &MovedTagRow,
    newest: Hash,
    new_blobs: &RoaringBitmap,
    at: i64,
) -> Option<HeldTag> {
    let until = moved.moved_at.saturating_add(rule.after.as_secs());
    // A former manifest that is gone or withdrawn answers nobody; a withdrawn newest one hides nothing.
    let is_withdrawn = |it: &Hash| snapshot.hosts.find_withdrawn(it).is_some();
    let is_there = snapshot.content.find_blob(&Digest::Sha256(moved.former)).is_some();
    if at >= until
        || new_blobs.is_empty()
        || !is_there
        || is_withdrawn(&moved.former)
        || is_withdrawn(&newest)
    {
        return None;
    }
    let offered: Vec<_> =
        snapshot.hosts.list().iter().filter_map(|it| find_held(snapshot, it, moved.category, at)).collect();
    let holders = offered.iter().filter(|it| it.is_superset(new_blobs)).count();
    let by_share = rule.share.map(|it| (offered.len() * it).div_ceil(100));
    let by_count = rule.hosts.map(|it| it.min(offered.len()));
    let needed = by_count.into_iter().chain(by_share).min();
    // Without any host there is nothing to wait for.
    if offered.is_empty() || needed.is_some_and(|it| holders >= it) {
        return None;
    }
    let (repository, tag) = (moved.repository.clone(), moved.tag.clone());
    let (category, former) = (moved.category, moved.former);
    Some(HeldTag { repository, tag, category, former, newest, holders, needed, until })
}

/// What a host holds of a category in which the world is sent to it; `None` if nobody is.
fn find_held<'a>(
    snapshot: &'a Snapshot,
    host: &HostRow,
    category: CategoryId,
    at: i64,
) -> Option<&'a RoaringBitmap> {
    if host.private || host.kind != HostKind::Static || is_switched_on(host).is_err() {
        return None;
    }
    let is_up = |opt_in: &&super::rows::HostCategoryRow| {
        !opt_in.drained && opt_in.urls.iter().any(|it| it.ipv4 == Reach::Up || it.ipv6 == Reach::Up)
    };
    let opt_in = host.categories.iter().filter(is_up).find(|it| it.category == category)?;
    let holding = snapshot.holdings.find(opt_in.id)?;
    (at - holding.crawled_at <= HOLDINGS_AGE).then_some(&*holding.blobs)
}

#[cfg(test)]
mod tests;
