use std::collections::BTreeMap;

use serde::Serialize;

use super::{Fault, Refusal, run::Run};
use crate::{
    mirror::CategoryName,
    oci::{Digest, RepositoryName, Tag},
    tree::{Kind, State, Tree},
};

/// What an export would change. As JSON it is what `portolan export --plan --json` prints.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Plan {
    /// Each configured category that would stand in the tree as it is configured.
    pub categories: Vec<CategoryPlan>,
    /// Bytes that would come from the origin, because no category has them yet.
    pub fetched_bytes: u64,
    /// What could not be exported.
    pub faults: Vec<Fault>,
    /// Categories that would have nothing in them, and would stay as they are.
    pub refused: Vec<Refusal>,
    /// Categories that are in the tree but not in the configuration: they stay.
    pub unconfigured: Vec<CategoryName>,
}

impl Plan {
    /// Could everything be exported that the configuration asks for?
    pub fn is_whole(&self) -> bool {
        self.faults.is_empty() && self.refused.is_empty()
    }
}

/// What would change in a category. What goes stays in the tree for `tree.keep_former`, but no tag leads to it.
#[derive(Clone, Debug, Serialize)]
pub struct CategoryPlan {
    /// The category.
    pub name: CategoryName,
    /// Repositories that it would have and has not.
    pub added_repositories: Vec<RepositoryName>,
    /// Repositories that it has and would not have.
    pub removed_repositories: Vec<RepositoryName>,
    /// `REPOSITORY:TAG` that it would have and has not.
    pub added_tags: Vec<String>,
    /// Tags that would lead to another manifest.
    pub moved_tags: Vec<String>,
    /// Tags that it has and would not have.
    pub removed_tags: Vec<String>,
    /// Blobs and manifests that would come.
    pub added: Files,
    /// Blobs and manifests that no tag would lead to any more.
    pub removed: Files,
}

/// Files, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Files {
    /// Manifests.
    pub manifests: u64,
    /// Layers, configurations and the like.
    pub blobs: u64,
    /// Bytes of both.
    pub bytes: u64,
}

/// Compares what was collected with what stands in the tree.
pub(super) fn compare(run: Run<'_>, tree: &Tree) -> Plan {
    let mut plan = Plan::default();
    let mut fetched: BTreeMap<[u8; 32], u64> = BTreeMap::new();
    for (number, selection) in run.exporter.selections.iter().enumerate() {
        let (next, previous) = (&run.next[number], &run.previous[number]);
        if next.repositories.is_empty() && !run.lost_to_withdrawal(selection) {
            let reason = run.listing.why_empty(selection);
            plan.refused.push(Refusal { category: selection.category.clone(), reason });
            continue;
        }
        let is_new = |(digest, (size, _)): &(&[u8; 32], &(u64, Kind))| {
            !tree.has_blob(&Digest::Sha256(**digest), *size)
        };
        fetched.extend(next.entries.iter().filter(is_new).map(|(digest, (size, _))| (*digest, *size)));
        plan.categories.push(compare_category(selection.category.clone(), previous, next));
    }
    let is_unknown = |it: &CategoryName| !run.exporter.writes(it);
    plan.unconfigured = tree.category_names().unwrap_or_default().into_iter().filter(is_unknown).collect();
    plan.fetched_bytes = fetched.values().sum();
    plan.faults = run.summary.faults;
    plan.faults.sort();
    plan
}

fn compare_category(name: CategoryName, previous: &State, next: &State) -> CategoryPlan {
    let (before, after) = (tags(previous), tags(next));
    let text = |(name, tag): &(&RepositoryName, &Tag)| format!("{name}:{tag}");
    let repositories = |of: &State, other: &State| -> Vec<_> {
        of.repositories.keys().filter(|it| !other.repositories.contains_key(*it)).cloned().collect()
    };
    let missing =
        |of: &Tags<'_>, other: &Tags<'_>| of.keys().filter(|it| !other.contains_key(*it)).map(text).collect();
    let is_moved = |(image, digest): &(&(&RepositoryName, &Tag), &Digest)| {
        before.get(*image).is_some_and(|it| it != *digest)
    };
    CategoryPlan {
        name,
        added_repositories: repositories(next, previous),
        removed_repositories: repositories(previous, next),
        added_tags: missing(&after, &before),
        moved_tags: after.iter().filter(is_moved).map(|(image, _)| text(image)).collect(),
        removed_tags: missing(&before, &after),
        added: count(next, previous),
        removed: count(previous, next),
    }
}

type Tags<'a> = BTreeMap<(&'a RepositoryName, &'a Tag), Digest>;

fn tags(state: &State) -> Tags<'_> {
    let all = state
        .repositories
        .iter()
        .flat_map(|(name, tags)| tags.iter().map(move |(tag, it)| ((name, tag), *it)));
    all.collect()
}

/// What tags lead to in one state and not in the other.
fn count(of: &State, other: &State) -> Files {
    let leads_to = |state: &State, digest: &[u8; 32]| {
        state.entries.contains_key(digest) && !state.former.contains_key(&Digest::Sha256(*digest))
    };
    let mut files = Files::default();
    for (digest, (size, kind)) in &of.entries {
        if leads_to(of, digest) && !leads_to(other, digest) {
            match kind {
                Kind::Blob => files.blobs += 1,
                Kind::Manifest(_) => files.manifests += 1,
            }
            files.bytes += size;
        }
    }
    files
}
