use std::collections::BTreeSet;

use futures_util::{StreamExt, stream};

use super::{Error, Scope, run::Run};
use crate::oci::{RepositoryName, Tag};

impl Run<'_> {
    /// Lists the tags of all repositories that any category takes. Where tags cannot be listed, the previous ones
    /// stay.
    pub(super) async fn survey(&mut self) -> Result<(), Error> {
        let repositories = self.choose_repositories().await?;
        self.summary.repositories = repositories.len();
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
        Ok(())
    }

    /// The repositories that any category takes, of those that are to be looked at.
    async fn choose_repositories(&mut self) -> Result<Vec<RepositoryName>, Error> {
        let exporter = self.exporter;
        if let Scope::Some(names) = &self.scope {
            let mut names: BTreeSet<_> = names.iter().filter(|it| exporter.takes(it)).cloned().collect();
            names.extend(self.take_over_others(&names).await);
            return Ok(names.into_iter().collect());
        }
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
}
