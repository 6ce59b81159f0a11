use std::collections::BTreeSet;

use super::{ImageError, run::Run, source::Image};
use crate::oci::{RepositoryName, Tag};

/// So many repositories are named one by one; with more, all are looked at.
const REPOSITORIES_LIMIT: usize = 1000;

/// Which repositories an export asks the origin about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All that any category takes. Only such an export removes from the pool what no category holds any more.
    All,
    /// These, as far as any category takes them. All others stay in the tree as they are.
    Some(BTreeSet<RepositoryName>),
}

impl Scope {
    /// One repository.
    pub fn one(name: RepositoryName) -> Self {
        Self::Some([name].into())
    }

    /// Both, or all when these are too many to be named.
    pub fn with(self, other: Self) -> Self {
        match (self, other) {
            (Self::Some(mut names), Self::Some(others)) => {
                names.extend(others);
                if names.len() > REPOSITORIES_LIMIT { Self::All } else { Self::Some(names) }
            }
            _ => Self::All,
        }
    }
}

impl Run<'_> {
    /// Takes over, as they stand in the tree, all repositories but these. Returns those of which something is
    /// missing there: the origin must be asked for them, too.
    pub(super) async fn take_over_others(&mut self, names: &BTreeSet<RepositoryName>) -> Vec<RepositoryName> {
        let known = self.previous.iter().flat_map(|it| it.repositories.keys());
        let others: BTreeSet<_> = known.filter(|it| !names.contains(*it)).cloned().collect();
        let mut broken = Vec::new();
        for name in others {
            match self.load_repository(&name).await {
                Ok(images) => {
                    for (tag, number, image) in images {
                        self.add_kept(&name, &tag, number, &image);
                    }
                }
                Err(error) => {
                    self.observer.note(&format!("{name} is looked at again, for {error}"));
                    broken.push(name);
                }
            }
        }
        broken
    }

    /// All images of a repository that stay, by tag and category.
    async fn load_repository(
        &mut self,
        name: &RepositoryName,
    ) -> Result<Vec<(Tag, usize, Image)>, ImageError> {
        let mut images = Vec::new();
        for (tag, takers) in self.kept_tags(name) {
            for number in takers {
                if let Some(image) = self.load_kept(name, &tag, number).await? {
                    images.push((tag.clone(), number, image));
                }
            }
        }
        Ok(images)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_names_are_all() {
        let names = |range: std::ops::Range<usize>| {
            Scope::Some(range.map(|it| format!("app/{it}").parse().unwrap()).collect())
        };
        assert_eq!(names(0..600).with(names(400..1000)), names(0..1000));
        assert_eq!(names(0..1000).with(Scope::one("app/0".parse().unwrap())), names(0..1000));
        assert_eq!(names(0..1000).with(Scope::one("app".parse().unwrap())), Scope::All);
        assert_eq!(names(0..1).with(Scope::All), Scope::All);
    }
}
