use std::{collections::HashSet, fs, num::NonZeroUsize, path::PathBuf};

use globset::{Glob, GlobSet, GlobSetBuilder};
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::Error;
use crate::{
    mirror::CategoryName,
    mirrorlist::Publish,
    oci::{Platform, PlatformError, PublicKey, PublicKeyError, RepositoryName, RepositoryNameError, Tag},
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
    /// Repositories that are never in it, whatever else matches.
    #[serde(default = "candidates")]
    pub exclude_repositories: Vec<String>,
    /// Tags that are never in it, whatever else matches; signatures by tag (`sha256-*.sig`) among them, if such
    /// a pattern stands here.
    #[serde(default)]
    pub exclude_tags: Vec<String>,
    /// Platforms, as `linux/amd64` or `linux/arm/v7`; none means all. Of others the manifests are in the tree,
    /// so that every digest stays true, but neither configurations nor layers. What names no platform
    /// (signatures, attestations, charts) is for all. Of an image that no index names the configuration stays,
    /// for it says the platform.
    #[serde(default)]
    pub platforms: Vec<String>,
    /// How old an image may be, by `created` in its configuration (the newest of its platforms), else by its
    /// annotation `org.opencontainers.image.created`: 1h to 87600h. One that does not say it is never too old.
    #[serde(default, serialize_with = "jiff::fmt::serde::duration::friendly::compact::optional")]
    #[schemars(with = "Option<String>")]
    pub max_age: Option<SignedDuration>,
    /// So many tags of each repository, those of the newest images, as for `max_age`; of equally new ones those
    /// first by name. One that does not say its age is the oldest. Signatures by tag do not count: they come with
    /// what they sign.
    #[serde(default)]
    pub newest: Option<NonZeroUsize>,
    /// Files with public keys (PEM, P-256, as `cosign.pub`). Only what one of them signed (`cosign sign`) is
    /// exported: a tag moves when the new image has a signature, as the tag `sha256-….sig` or as a referrer.
    /// Until then the former one stays, and the export fails. Empty: no signature is asked for.
    #[serde(default)]
    pub signed_by: Vec<PathBuf>,
    /// Shall mirrors be able to be registries by themselves? Then the category also has its manifests by media type,
    /// its tags as files and lists of tags, and a mirror with `deploy/mirror/nginx.conf` or `apache.conf` answers
    /// `/v2/`. It decides alone what its tags mean, so its clients should ask for signatures.
    #[serde(default)]
    pub registry: bool,
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

fn candidates() -> Vec<String> {
    vec!["candidate/*".to_owned()]
}

impl CategoryConfig {
    /// All that the origin has, as a `[[category]]` with nothing but a name.
    pub fn new(name: CategoryName) -> Self {
        Self {
            name,
            repositories: everything(),
            tags: everything(),
            exclude_repositories: candidates(),
            exclude_tags: Vec::new(),
            platforms: Vec::new(),
            max_age: None,
            newest: None,
            signed_by: Vec::new(),
            registry: false,
            publish: None,
        }
    }
}

/// A category's choice, ready to be asked.
pub(super) struct Selection {
    pub(super) category: CategoryName,
    pub(super) repositories: Patterns,
    pub(super) tags: Patterns,
    excluded_repositories: Patterns,
    excluded_tags: Patterns,
    /// None: all.
    pub(super) platforms: Vec<Platform>,
    pub(super) max_age: Option<SignedDuration>,
    pub(super) newest: Option<usize>,
    /// One of these must have signed an image; none: nobody need have.
    pub(super) keys: Vec<PublicKey>,
    /// Names without a pattern.
    pub(super) named: Vec<RepositoryName>,
    /// Is there a pattern, so that a list of all names is needed?
    pub(super) has_patterns: bool,
    /// For the inventory's head: one line of JSON.
    pub(super) text: String,
}

impl Selection {
    /// Reads the files with keys, too.
    pub(super) fn new(config: &CategoryConfig) -> Result<Self, Error> {
        let refused = |pattern: &str, reason: String| Error::Pattern {
            category: config.name.clone(),
            pattern: pattern.to_owned(),
            reason,
        };
        let patterns = |texts: &[String]| Patterns::new(texts).map_err(|(it, reason)| refused(&it, reason));
        let mut named: Vec<RepositoryName> = Vec::new();
        for name in config.repositories.iter().filter(|it| !is_pattern(it)) {
            named.push(name.parse().map_err(|error: RepositoryNameError| refused(name, error.to_string()))?);
        }
        let has_patterns = named.len() < config.repositories.len();
        let excluded_repositories = patterns(&config.exclude_repositories)?;
        named.retain(|it| !excluded_repositories.fits(it.as_str()));
        let platform =
            |it: &String| it.parse().map_err(|error: PlatformError| refused(it, error.to_string()));
        Ok(Self {
            category: config.name.clone(),
            repositories: patterns(&config.repositories)?,
            tags: patterns(&config.tags)?,
            excluded_repositories,
            excluded_tags: patterns(&config.exclude_tags)?,
            platforms: config.platforms.iter().map(platform).collect::<Result<_, _>>()?,
            max_age: config.max_age,
            newest: config.newest.map(NonZeroUsize::get),
            keys: load_keys(config)?,
            named,
            has_patterns,
            text: text(config),
        })
    }

    pub(super) fn takes_repository(&self, name: &RepositoryName) -> bool {
        self.repositories.fits(name.as_str()) && !self.excluded_repositories.fits(name.as_str())
    }

    /// Is this tag chosen by its name? Where age or a signature decides as well, what is said about an image is
    /// not chosen by itself: it comes with the image.
    pub(super) fn takes(&self, name: &RepositoryName, tag: &Tag) -> bool {
        self.takes_repository(name)
            && self.tags.fits(tag.as_str())
            && !self.excludes(tag)
            && (self.is_by_name() || tag.subject().is_none())
    }

    /// Is this tag left out, whatever it says?
    pub(super) fn excludes(&self, tag: &Tag) -> bool {
        self.excluded_tags.fits(tag.as_str())
    }

    /// Does age decide what is in it?
    pub(super) fn is_by_age(&self) -> bool {
        self.max_age.is_some() || self.newest.is_some()
    }

    /// Do names alone decide what is in it?
    pub(super) fn is_by_name(&self) -> bool {
        !self.is_by_age() && self.keys.is_empty()
    }
}

fn load_keys(config: &CategoryConfig) -> Result<Vec<PublicKey>, Error> {
    let load = |path: &PathBuf| {
        let refused = |reason: String| Error::Key { path: path.clone(), reason };
        let pem = fs::read_to_string(path).map_err(|error| refused(error.to_string()))?;
        pem.parse().map_err(|error: PublicKeyError| refused(error.to_string()))
    };
    config.signed_by.iter().map(load).collect()
}

/// What mirrors may read of a choice, as one line of JSON.
fn text(config: &CategoryConfig) -> String {
    #[derive(Serialize)]
    struct Text<'a> {
        repositories: &'a [String],
        tags: &'a [String],
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        exclude_repositories: &'a [String],
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        exclude_tags: &'a [String],
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        platforms: &'a [String],
        #[serde(skip_serializing_if = "Option::is_none")]
        max_age: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        newest: Option<NonZeroUsize>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        registry: bool,
    }
    let text = Text {
        repositories: &config.repositories,
        tags: &config.tags,
        exclude_repositories: &config.exclude_repositories,
        exclude_tags: &config.exclude_tags,
        platforms: &config.platforms,
        max_age: config.max_age.map(|it| format!("{it:#}")),
        newest: config.newest,
        registry: config.registry,
    };
    serde_json::to_string(&text).expect("texts are JSON")
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
    fn new(texts: &[String]) -> Result<Self, (String, String)> {
        let mut builder = GlobSetBuilder::new();
        for text in texts {
            builder.add(Glob::new(text).map_err(|error| (text.clone(), error.kind().to_string()))?);
        }
        let set = builder.build().map_err(|error| (String::new(), error.to_string()))?;
        Ok(Self { texts: texts.to_owned(), set })
    }

    fn fits(&self, name: &str) -> bool {
        self.set.is_match(name)
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

    fn config(repositories: &[&str], tags: &[&str]) -> CategoryConfig {
        let list = |it: &[&str]| it.iter().map(|it| (*it).to_owned()).collect();
        let all = CategoryConfig::new("c".parse().unwrap());
        CategoryConfig { repositories: list(repositories), tags: list(tags), ..all }
    }

    fn selection(repositories: &[&str], tags: &[&str]) -> Result<Selection, Error> {
        Selection::new(&config(repositories, tags))
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
        let text = r#"{"repositories":["a","b/*"],"tags":["*"],"exclude_repositories":["candidate/*"]}"#;
        assert_eq!(mixed.text, text);
    }

    #[test]
    fn what_is_excluded_is_never_taken() {
        let takes = |selection: &Selection, image: &str| {
            let (name, tag) = image.split_once(':').unwrap();
            selection.takes(&name.parse().unwrap(), &tag.parse().unwrap())
        };
        let all = selection(&["*", "candidate/app"], &["*"]).unwrap();
        assert!(takes(&all, "candidate:1") && takes(&all, "app/candidate/x:1"));
        assert!(!takes(&all, "candidate/app:1") && !takes(&all, "candidate/a/b:1"));
        assert!(all.named.is_empty());
        let excluded = CategoryConfig {
            exclude_repositories: vec!["app".into()],
            exclude_tags: vec!["*-rc?".into(), "*.att".into()],
            ..config(&["app", "candidate/*"], &["*"])
        };
        let selection = Selection::new(&excluded).unwrap();
        assert!(takes(&selection, "candidate/app:1") && !takes(&selection, "app:1"));
        assert!(!takes(&selection, "candidate/app:1-rc2"));
    }

    #[test]
    fn what_is_said_about_an_image_is_not_counted_by_age() {
        let tag = Tag::of_signatures(&crate::oci::Digest::of(b"")).unwrap();
        let name = "app".parse().unwrap();
        let mut config = config(&["*"], &["*"]);
        assert!(Selection::new(&config).unwrap().takes(&name, &tag));
        config.newest = NonZeroUsize::new(2);
        assert!(!Selection::new(&config).unwrap().takes(&name, &tag));
    }

    #[test]
    fn keys_and_platforms_are_judged() {
        let error = |config: CategoryConfig| Selection::new(&config).err().unwrap().to_string();
        let platforms = CategoryConfig { platforms: vec!["amd64".into()], ..config(&["*"], &["*"]) };
        assert!(error(platforms).contains("`amd64` cannot be read: a platform is written as `linux/amd64`"));
        let keys = CategoryConfig { signed_by: vec!["Cargo.toml".into()], ..config(&["*"], &["*"]) };
        assert!(error(keys).starts_with("the key Cargo.toml: it is no public key"));
    }
}
