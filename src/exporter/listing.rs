use std::collections::{BTreeMap, BTreeSet};

use super::{
    Unmatched,
    collect::{Takers, WantedTags},
    selection::Selection,
};
use crate::oci::{RepositoryName, Tag};

/// How many names an error shows of what is there.
const SHOWN: usize = 5;

/// What the origin has, as far as it was asked.
#[derive(Default)]
pub(super) struct Listing {
    /// All repositories, if a list of them was needed.
    pub(super) known: Vec<RepositoryName>,
    /// The tags of each repository that was looked at; `None` if they could not be listed.
    pub(super) tags: BTreeMap<RepositoryName, Option<BTreeSet<Tag>>>,
}

impl Listing {
    /// Every image that any of the categories takes by its name.
    pub(super) fn images(&self, selections: &[Selection]) -> WantedTags {
        let all = self.tags.iter().flat_map(|(name, tags)| tags.iter().flatten().map(move |tag| (name, tag)));
        let takers = |name: &_, tag: &_| -> Takers {
            selections.iter().enumerate().filter(|(_, it)| it.takes(name, tag)).map(|it| it.0).collect()
        };
        all.map(|(name, tag)| ((name.clone(), tag.clone()), takers(name, tag)))
            .filter(|(_, takers)| !takers.is_empty())
            .collect()
    }

    /// Does the origin have this tag?
    pub(super) fn has(&self, name: &RepositoryName, tag: &Tag) -> bool {
        self.tags.get(name).is_some_and(|tags| tags.as_ref().is_some_and(|it| it.contains(tag)))
    }

    /// The patterns of a category that fit nothing.
    pub(super) fn unmatched(&self, selection: &Selection) -> Vec<Unmatched> {
        let unmatched = |key| {
            let category = selection.category.clone();
            move |pattern: &str| Unmatched { category: category.clone(), key, pattern: pattern.to_owned() }
        };
        let names = self.tags.keys().map(RepositoryName::as_str);
        let mut found: Vec<_> =
            selection.repositories.unmatched(names).map(unmatched("repositories")).collect();
        let lists: Vec<_> = self.looked_at(selection).map(|(_, tags)| tags).collect();
        // What could not be listed may well have the tag.
        if lists.iter().all(|it| it.is_some()) {
            let tags = lists.iter().copied().flatten().flatten().map(Tag::as_str);
            found.extend(selection.tags.unmatched(tags).map(unmatched("tags")));
        }
        found
    }

    /// Why a category would have nothing in it, and what is there instead.
    pub(super) fn why_empty(&self, selection: &Selection) -> String {
        const ADVICE: &str = "the tree stays as it was; to end a category take it out of the configuration";
        let looked_at: Vec<_> = self.looked_at(selection).collect();
        if looked_at.is_empty() {
            let known = few(self.known.iter().map(ToString::to_string), "none");
            return format!("its `repositories` fit none of the origin, which has {known}; {ADVICE}");
        }
        let takes_any = |(name, tags): &(&RepositoryName, &Option<BTreeSet<Tag>>)| {
            tags.iter().flatten().any(|tag| selection.takes(name, tag))
        };
        if looked_at.iter().any(takes_any) {
            let reason = match selection.max_age {
                Some(_) => "none of its images could be exported, or all are older than its `max_age`",
                None => "none of its images could be exported",
            };
            return format!("{reason}; the tree stays as it was");
        }
        let seen = looked_at.into_iter().map(|(name, tags)| match tags {
            None => format!("{name} could not be listed"),
            Some(tags) => format!("{name} has {}", few(tags.iter().map(ToString::to_string), "no tag")),
        });
        format!("its `tags` fit no tag of its repositories: {}; {ADVICE}", few(seen, ""))
    }

    fn looked_at(
        &self,
        selection: &Selection,
    ) -> impl Iterator<Item = (&RepositoryName, &Option<BTreeSet<Tag>>)> {
        self.tags.iter().filter(|(name, _)| selection.takes_repository(name))
    }
}

/// The first of these, or `none`.
fn few(mut texts: impl Iterator<Item = String>, none: &str) -> String {
    let mut shown: Vec<_> = texts.by_ref().take(SHOWN).collect();
    if shown.is_empty() {
        return none.to_owned();
    }
    let left = texts.count();
    if left > 0 {
        shown.push(format!("and {left} more"));
    }
    shown.join(", ")
}
