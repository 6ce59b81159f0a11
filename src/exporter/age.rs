use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
};

use futures_util::{StreamExt, stream};
use jiff::Timestamp;

use super::{
    collect::{Found, Takers},
    run::Run,
    selection::Selection,
};
use crate::oci::{Digest, RepositoryName, Tag};

impl Run<'_> {
    /// Leaves out what is too old for a category, or not among its newest.
    pub(super) async fn limit(&mut self, mut found: Vec<Found>) -> Vec<Found> {
        let exporter = self.exporter;
        let by_age: Takers =
            (0..exporter.selections.len()).filter(|it| exporter.selections[*it].is_by_age()).collect();
        self.find_ages(&mut found, &by_age).await;
        for number in by_age {
            let mut tags: BTreeMap<&RepositoryName, Vec<(Option<i64>, &Tag)>> = BTreeMap::new();
            for it in found.iter().filter(|it| it.takers.contains(&number)) {
                let created = self.created.get(&it.head.digest).copied().flatten();
                tags.entry(&it.name).or_default().push((created, &it.tag));
            }
            let selection = &exporter.selections[number];
            let taken: BTreeMap<RepositoryName, Vec<Tag>> = tags
                .into_iter()
                .map(|(name, tags)| (name.clone(), choose(selection, tags, self.now)))
                .collect();
            for it in &mut found {
                if !taken.get(&it.name).is_some_and(|tags| tags.contains(&it.tag)) {
                    it.takers.remove(&number);
                }
            }
        }
        found
    }

    /// Finds out when images were made, as far as a category wants to know. Where that fails, they stay as they
    /// were there.
    async fn find_ages(&mut self, found: &mut [Found], by_age: &Takers) {
        let known = self.source.manifests.tree.load_created();
        let mut open = HashMap::new();
        for it in found.iter().filter(|it| !it.takers.is_disjoint(by_age)) {
            match known.get(&it.head.digest) {
                Some(created) => {
                    self.created.insert(it.head.digest, *created);
                }
                None => {
                    open.entry(it.head.digest).or_insert_with(|| (it.name.clone(), it.head.clone()));
                }
            }
        }
        let source = self.source.clone();
        let results: Vec<_> = stream::iter(open)
            .map(|(digest, (name, head))| {
                let source = source.clone();
                async move { (digest, source.manifests.find_created(&name, &head).await) }
            })
            .buffer_unordered(self.exporter.connections)
            .collect()
            .await;
        let mut failed: HashMap<Digest, String> = HashMap::new();
        for (digest, result) in results {
            match result {
                Ok(created) => {
                    self.created.insert(digest, created);
                }
                Err(error) => {
                    failed.insert(digest, error.to_string());
                }
            }
        }
        for it in found {
            if let Some(reason) = failed.get(&it.head.digest) {
                let takers = it.takers.extract_if(.., |it| by_age.contains(it)).collect();
                self.fail(&it.name, &it.tag, &takers, reason).await;
            }
        }
    }
}

/// The tags of one repository that a category takes by their age.
fn choose(selection: &Selection, mut tags: Vec<(Option<i64>, &Tag)>, now: Timestamp) -> Vec<Tag> {
    if let Some(limit) = selection.max_age {
        tags.retain(|(created, _)| {
            created.is_none_or(|it| now.as_second().saturating_sub(it) <= limit.as_secs())
        });
    }
    tags.sort_by_key(|(created, tag)| (Reverse(*created), *tag));
    tags.truncate(selection.newest.unwrap_or(usize::MAX));
    tags.into_iter().map(|it| it.1.clone()).collect()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use jiff::SignedDuration;

    use super::*;
    use crate::exporter::CategoryConfig;

    #[test]
    fn the_newest_are_chosen_and_of_equals_the_first_by_name() {
        #[track_caller]
        fn check(newest: Option<usize>, hours: Option<i64>, taken: &[&str]) {
            let config = CategoryConfig {
                newest: newest.and_then(NonZeroUsize::new),
                max_age: hours.map(SignedDuration::from_hours),
                ..CategoryConfig::new("c".parse().unwrap())
            };
            let selection = Selection::new(&config).unwrap();
            let tags =
                [("old", Some(0)), ("b", Some(7200)), ("a", Some(7200)), ("none", None), ("new", Some(7201))];
            let tags: Vec<(_, Tag)> = tags.into_iter().map(|(tag, it)| (it, tag.parse().unwrap())).collect();
            let tags = tags.iter().map(|(created, tag)| (*created, tag)).collect();
            let chosen = choose(&selection, tags, Timestamp::from_second(10_800).unwrap());
            assert_eq!(chosen.iter().map(Tag::as_str).collect::<Vec<_>>(), taken);
        }
        check(Some(2), None, &["new", "a"]);
        check(Some(9), None, &["new", "a", "b", "old", "none"]);
        check(None, Some(3), &["new", "a", "b", "old", "none"]);
        check(None, Some(1), &["new", "a", "b", "none"]);
        check(Some(1), Some(1), &["new"]);
    }
}
