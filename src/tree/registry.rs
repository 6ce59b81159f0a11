//! The files by which a mirror can be a registry by itself. They follow from a category's tags and inventory alone:
//!
//! ```text
//! manifests/sha256/ab/HEX.TYPE    every manifest, named by its media type; a link to blobs/sha256/ab/HEX
//! tags/NAME/_/TAG.TYPE            what a tag leads to; a link, too
//! tags/NAME/_list                 the answer to /v2/NAME/tags/list
//! ```
//!
//! A web server finds the type by the name's ending, so its configuration is the same for all content. `_` begins no
//! component of a repository's name, so no repository's folder is where another one's tags are. In this order of
//! names rsync sends content first.

use std::collections::{BTreeMap, HashMap};

use super::{Kind, Repositories};
use crate::oci::{Digest, MediaType, RepositoryName, Tag};

/// The folders of these files, the one that leads to the other first.
pub(super) const FOLDERS: [&str; 2] = ["tags", "manifests"];

/// What such a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RegistryFile {
    /// A link to a manifest.
    Manifest(Digest),
    /// A file of its own.
    List(Vec<u8>),
}

/// By their paths below the category.
pub(super) type RegistryFiles = BTreeMap<String, RegistryFile>;

/// Does a category with this choice, one line of JSON, have such files?
pub(super) fn is_chosen(selection: &str) -> bool {
    #[derive(Default, serde::Deserialize)]
    #[serde(default)]
    struct Selection {
        registry: bool,
    }
    serde_json::from_str::<Selection>(selection).unwrap_or_default().registry
}

/// The files for all manifests.
pub(super) fn manifests<'a>(entries: impl Iterator<Item = (&'a [u8; 32], Kind)>) -> RegistryFiles {
    let file = |(digest, kind): (&[u8; 32], Kind)| {
        let (digest, media_type) = (Digest::Sha256(*digest), kind.media_type()?);
        let hex = digest.hex();
        let path = format!("manifests/sha256/{}/{hex}.{}", &hex[..2], Kind::Manifest(media_type).as_str());
        Some((path, RegistryFile::Manifest(digest)))
    };
    entries.filter_map(file).collect()
}

/// The files for all tags whose manifests' types `find` knows. Names that not every file system can tell apart are left
/// out: such an image is the central registry's alone.
pub(super) fn tags(
    repositories: &Repositories,
    find: impl Fn(&Digest) -> Option<MediaType>,
) -> RegistryFiles {
    let mut files = RegistryFiles::new();
    for (name, tags) in repositories.iter().filter(|(name, _)| name.as_str().split('/').all(is_portable)) {
        let tags = portable_tags(tags);
        if tags.is_empty() {
            continue;
        }
        for (tag, digest) in &tags {
            if let Some(media_type) = find(digest) {
                let ending = Kind::Manifest(media_type).as_str();
                files.insert(format!("tags/{name}/_/{tag}.{ending}"), RegistryFile::Manifest(**digest));
            }
        }
        files.insert(format!("tags/{name}/_list"), RegistryFile::List(list(name, &tags)));
    }
    files
}

/// Without those that differ from another one in upper and lower case only.
fn portable_tags(tags: &BTreeMap<Tag, Digest>) -> BTreeMap<&Tag, &Digest> {
    let mut spellings: HashMap<String, usize> = HashMap::new();
    for tag in tags.keys() {
        *spellings.entry(tag.as_str().to_ascii_lowercase()).or_default() += 1;
    }
    let is_alone = |tag: &Tag| spellings.get(&tag.as_str().to_ascii_lowercase()) == Some(&1);
    tags.iter().filter(|(tag, _)| is_alone(tag) && is_portable(tag.as_str())).collect()
}

/// Windows takes these for devices, whatever ending they have.
fn is_portable(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let is_device = matches!(stem.as_str(), "con" | "prn" | "aux" | "nul");
    let port = stem.strip_prefix("com").or_else(|| stem.strip_prefix("lpt"));
    !is_device && !port.is_some_and(|it| it.len() == 1 && it.as_bytes()[0].is_ascii_digit())
}

/// Distribution specification, "Listing Tags".
fn list(name: &RepositoryName, tags: &BTreeMap<&Tag, &Digest>) -> Vec<u8> {
    #[derive(serde::Serialize)]
    struct List<'a> {
        name: &'a RepositoryName,
        tags: Vec<&'a Tag>,
    }
    let list = List { name, tags: tags.keys().copied().collect() };
    serde_json::to_vec(&list).expect("texts are JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(repositories: &[(&str, &[&str])]) -> Vec<String> {
        let tags = |it: &[&str]| it.iter().map(|it| (it.parse().unwrap(), Digest::of(b"m"))).collect();
        let repositories: Repositories =
            repositories.iter().map(|(name, it)| (name.parse().unwrap(), tags(it))).collect();
        super::tags(&repositories, |_| Some(MediaType::OciIndex)).into_keys().collect()
    }

    #[test]
    fn no_repository_is_in_the_way_of_another() {
        let found =
            paths(&[("a", &["b", "manifests"]), ("a/b", &["_"]), ("blobs/tags/manifests", &["sha256"])]);
        assert_eq!(
            found,
            [
                "tags/a/_/b.oci-index",
                "tags/a/_/manifests.oci-index",
                "tags/a/_list",
                "tags/a/b/_/_.oci-index",
                "tags/a/b/_list",
                "tags/blobs/tags/manifests/_/sha256.oci-index",
                "tags/blobs/tags/manifests/_list",
            ]
        );
    }

    #[test]
    fn what_not_every_file_system_can_hold_is_left_out() {
        assert_eq!(
            paths(&[("a", &["Latest", "latest", "v1.", "CON", "nul.1", "console"]), ("lib/aux", &["1"])]),
            ["tags/a/_/console.oci-index", "tags/a/_/v1..oci-index", "tags/a/_list"]
        );
        assert!(paths(&[("com1.x/a", &["1"]), ("b", &["LPT9"])]).is_empty());
        assert!(
            is_portable("com10") && is_portable("comx") && is_portable("con-x") && !is_portable("lpt0.y")
        );
    }

    #[test]
    fn manifests_are_named_by_their_types() {
        let (blob, manifest) = ([1; 32], [0xab; 32]);
        let entries = [(&blob, Kind::Blob), (&manifest, Kind::Manifest(MediaType::DockerList))];
        let files = super::manifests(entries.into_iter());
        let hex = "ab".repeat(32);
        let expected = (
            format!("manifests/sha256/ab/{hex}.docker-list"),
            RegistryFile::Manifest(Digest::Sha256(manifest)),
        );
        assert_eq!(files.into_iter().collect::<Vec<_>>(), [expected]);
    }

    #[test]
    fn the_choice_says_whether() {
        assert!(is_chosen(r#"{"repositories":["*"],"registry":true}"#));
        assert!(
            !is_chosen(r#"{"repositories":["*"]}"#) && !is_chosen("") && !is_chosen(r#"{"registry":false}"#)
        );
    }
}
