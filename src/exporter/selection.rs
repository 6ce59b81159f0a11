use std::collections::HashSet;

use globset::{Glob, GlobSet, GlobSetBuilder};
use serde::{Deserialize, Serialize};

use super::Error;
use crate::{
    mirror::CategoryName,
    mirrorlist::Publish,
    oci::{RepositoryName, Tag},
};

/// `[[category]]`: a folder of the tree that mirrors opt in to, and the images in it.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CategoryConfig {
    /// The category's name, and its folder's.
    #[schemars(with = "String")]
    pub name: CategoryName,
    /// Repositories in it, by name or pattern: `fedora`, `fedora/*`. `*` matches any text, also with `/` in
    /// it; `?`, `[ab]` and `{a,b}` work too. Without a pattern the origin needs no _catalog.
    #[serde(default = "everything")]
    pub repositories: Vec<String>,
    /// Tags of these repositories, by name or pattern.
    #[serde(default = "everything")]
    pub tags: Vec<String>,
    /// When a tag that moved is answered anew, by every machine that serves with this: a table of `hosts` (so
    /// many mirrors hold all that is new), `share` (so many percent of them do) and `after` (so long ago it
    /// moved, at the latest): the first that is so. Until then it answers its former manifest. Without it: at
    /// once.
    #[serde(default)]
    pub publish: Option<Publish>,
}

fn everything() -> Vec<String> {
    vec!["*".to_owned()]
}

/// A category's choice, ready to be asked.
pub(super) struct Selection {
    pub(super) category: CategoryName,
    pub(super) repositories: Patterns,
    pub(super) tags: Patterns,
    /// Names without a pattern.
    pub(super) named: Vec<RepositoryName>,
    /// Is there a pattern, so that a list of all names is needed?
    pub(super) has_patterns: bool,
    /// For the inventory's head: one line of JSON.
    pub(super) text: String,
}

impl Selection {
    pub(super) fn new(config: &CategoryConfig) -> Result<Self, Error> {
        #[derive(Serialize)]
        struct Text<'a> {
            repositories: &'a [String],
            tags: &'a [String],
        }
        let refused = |pattern: &str, reason: String| Error::Pattern {
            category: config.name.clone(),
            pattern: pattern.to_owned(),
            reason,
        };
        let mut named = Vec::new();
        for name in config.repositories.iter().filter(|it| !is_pattern(it)) {
            named.push(
                name.parse()
                    .map_err(|error: crate::oci::RepositoryNameError| refused(name, error.to_string()))?,
            );
        }
        let text = Text { repositories: &config.repositories, tags: &config.tags };
        Ok(Self {
            category: config.name.clone(),
            repositories: Patterns::new(&config.repositories).map_err(|(it, reason)| refused(it, reason))?,
            tags: Patterns::new(&config.tags).map_err(|(it, reason)| refused(it, reason))?,
            has_patterns: named.len() < config.repositories.len(),
            named,
            text: serde_json::to_string(&text).expect("texts are JSON"),
        })
    }

    pub(super) fn takes_repository(&self, name: &RepositoryName) -> bool {
        self.repositories.set.is_match(name.as_str())
    }

    pub(super) fn takes(&self, name: &RepositoryName, tag: &Tag) -> bool {
        self.takes_repository(name) && self.tags.set.is_match(tag.as_str())
    }
}

fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '[', '{'])
}

/// Names and patterns, as they stand under one key.
pub(super) struct Patterns {
    texts: Vec<String>,
    /// In the same order.
    set: GlobSet,
}

impl Patterns {
    /// The error has the pattern, and what is wrong with it.
    fn new(texts: &[String]) -> Result<Self, (&str, String)> {
        let mut builder = GlobSetBuilder::new();
        for text in texts {
            builder.add(Glob::new(text).map_err(|error| (text.as_str(), error.kind().to_string()))?);
        }
        let set = builder.build().map_err(|error| ("", error.to_string()))?;
        Ok(Self { texts: texts.to_owned(), set })
    }

    /// Those that fit none of these names.
    pub(super) fn unmatched<'a>(&self, names: impl Iterator<Item = &'a str>) -> impl Iterator<Item = &str> {
        let found: HashSet<usize> = names.flat_map(|it| self.set.matches(it)).collect();
        let texts = self.texts.iter().enumerate();
        texts.filter(move |(number, _)| !found.contains(number)).map(|(_, text)| text.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(repositories: &[&str], tags: &[&str]) -> Result<Selection, Error> {
        let list = |it: &[&str]| it.iter().map(|it| (*it).to_owned()).collect();
        let name = "c".parse().unwrap();
        Selection::new(&CategoryConfig {
            name,
            repositories: list(repositories),
            tags: list(tags),
            publish: None,
        })
    }

    #[test]
    fn names_and_patterns_choose() {
        #[track_caller]
        fn check(repositories: &[&str], tags: &[&str], image: &str, taken: bool) {
            let (name, tag) = image.split_once(':').unwrap();
            let selection = selection(repositories, tags).unwrap();
            assert_eq!(selection.takes(&name.parse().unwrap(), &tag.parse().unwrap()), taken);
        }
        check(&["fedora"], &["*"], "fedora:42", true);
        check(&["fedora"], &["*"], "fedora/x:42", false);
        check(&["fedora/*"], &["*"], "fedora/x:42", true);
        check(&["fedora/*"], &["*"], "fedora/x/y:42", true);
        check(&["fedora/*"], &["*"], "fedora:42", false);
        check(&["a", "{b,c}"], &["4?"], "c:42", true);
        check(&["a", "{b,c}"], &["4?"], "c:421", false);
        check(&[], &["*"], "c:421", false);
    }

    #[test]
    fn faults_name_the_pattern() {
        let error =
            |repositories: &[&str], tags: &[&str]| selection(repositories, tags).err().unwrap().to_string();
        assert!(error(&["a["], &["*"]).contains("category c: the pattern `a[`"));
        assert!(error(&["a"], &["{x"]).contains("`{x`"));
        assert!(error(&["../x"], &["*"]).contains("`../x`"));
    }

    #[test]
    fn only_patterns_need_a_list() {
        let selection_of = |it: &[&str]| selection(it, &["*"]).unwrap();
        assert!(!selection_of(&["a", "b/c"]).has_patterns);
        let mixed = selection_of(&["a", "b/*"]);
        assert!(mixed.has_patterns && mixed.named == ["a".parse().unwrap()]);
        assert_eq!(mixed.text, r#"{"repositories":["a","b/*"],"tags":["*"]}"#);
    }
}
