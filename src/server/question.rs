//! What the query of `/metalink` and `/mirrorlist` asks for, in MirrorManager's words and ours.

use std::net::IpAddr;

use actix_web::HttpRequest;

use super::{error::RegistryError, lists::query, state::Current};
use crate::{
    metalink::Version,
    mirror::{CategoryId, CategoryName, Country, Scheme, blob_path},
    mirrorlist::{Snapshot, rows::BlobRow},
    oci::{Digest, ImageConfig, Manifest, Platform, Reference, RepositoryName},
    tree::{CANARY_DIGEST, INVENTORY_PATH, REPOSITORIES_PATH, SERIAL_PATH},
};

/// More countries, or protocols, than this nobody means.
const MOST_LISTED: usize = 20;

/// Read once; what cannot be read goes no further.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Question {
    pub(super) repository: Option<RepositoryName>,
    reference: Option<Reference>,
    /// As it was written, and what we call it.
    pub(super) arch: Option<(String, Platform)>,
    path: Option<TreePath>,
    /// Rank as if the client were in these.
    pub(super) countries: Vec<Country>,
    /// `country=global`: hosts all over the world join in any case.
    pub(super) is_global: bool,
    /// Only URLs of these; `None`: of any that suits.
    pub(super) schemes: Option<Vec<Scheme>>,
    /// Neither netblocks nor autonomous systems count.
    pub(super) without_networks: bool,
    pub(super) redirect: bool,
    pub(super) time: bool,
    /// Instead of the caller's address, if the caller may say so.
    pub(super) address: Option<IpAddr>,
    pub(super) version: Option<Version>,
}

/// Files of a category beside its blobs and manifests, and its folder itself. Who holds all of the newest content has
/// the newest of these.
const OTHER_FILES: [&str; 4] = ["", INVENTORY_PATH, REPOSITORIES_PATH, SERIAL_PATH];

/// A file of a category, by its place in the tree.
#[derive(Clone, Debug, PartialEq)]
struct TreePath {
    category: CategoryName,
    file: TreeFile,
}

#[derive(Clone, Debug, PartialEq)]
enum TreeFile {
    /// A blob or a manifest.
    Blob(Digest),
    /// One of [`OTHER_FILES`].
    Other(&'static str),
}

/// What is asked for.
pub(super) struct Asked<'a> {
    pub(super) blob: &'a BlobRow,
    /// Where that is in the category.
    pub(super) path: String,
    /// Only hosts that hold all of this category: a file is asked for that is no blob.
    pub(super) whole: Option<CategoryId>,
    /// What one client stays with one host for: the repository, or the category.
    pub(super) key: String,
    /// By which repository we serve it ourselves.
    pub(super) repository: Option<RepositoryName>,
}

impl Question {
    pub(super) fn parse(request: &HttpRequest) -> Result<Self, RegistryError> {
        let mut question = Self::default();
        for (name, value) in query(request) {
            question.read(&name, &value)?;
        }
        Ok(question)
    }

    /// Of a parameter that comes twice, the last counts. Those that we do not know are for others.
    fn read(&mut self, name: &str, value: &str) -> Result<(), RegistryError> {
        let wrong = RegistryError::Query;
        match name {
            "repo" => {
                self.repository = Some(value.parse().map_err(|_| wrong("repo is no repository's name"))?)
            }
            "tag" => {
                self.reference = Some(Reference::Tag(value.parse().map_err(|_| wrong("tag is no tag"))?))
            }
            "digest" => {
                let digest = value.parse().map_err(|_| wrong("digest is no digest"))?;
                self.reference = Some(Reference::Digest(digest));
            }
            "arch" => {
                let platform = platform(value).ok_or(wrong("arch is none that is known, as x86_64"))?;
                self.arch = Some((value.to_owned(), platform));
            }
            "path" => self.path = Some(TreePath::parse(value).ok_or(wrong("path is no file of a category"))?),
            "country" => self.read_countries(value)?,
            "protocol" => {
                let schemes = value.split(',').take(MOST_LISTED).filter_map(|it| match it.trim() {
                    "https" => Some(Scheme::Https),
                    "http" => Some(Scheme::Http),
                    _ => None,
                });
                self.schemes = Some(schemes.collect());
            }
            "netblock" => self.without_networks = value != "1",
            "redirect" => self.redirect = true,
            "time" => self.time = true,
            "ip" => self.address = Some(value.parse().map_err(|_| wrong("ip is no address"))?),
            "version" => {
                self.version = Some(match value {
                    "3" => Version::V3,
                    "4" => Version::V4,
                    _ => return Err(wrong("version is neither 3 nor 4")),
                });
            }
            _ => {}
        }
        Ok(())
    }

    fn read_countries(&mut self, value: &str) -> Result<(), RegistryError> {
        (self.countries, self.is_global) = (Vec::new(), false);
        for text in value.split(',').map(str::trim).take(MOST_LISTED) {
            if text.eq_ignore_ascii_case("global") {
                self.is_global = true;
            } else {
                let country = text.parse().map_err(|_| RegistryError::Query("country is not two letters"))?;
                self.countries.push(country);
            }
        }
        Ok(())
    }

    /// The manifest of the tag (`latest` if none is named), or of the platform in it; the manifest or blob of the digest;
    /// or the file at the path.
    pub(super) fn find<'a>(&self, current: &'a Current, at: i64) -> Result<Asked<'a>, RegistryError> {
        let snapshot = &current.snapshot;
        if let (Some(path), None) = (&self.path, &self.repository) {
            return path.find(snapshot);
        }
        let name = self.repository.as_ref();
        let name = name.ok_or(RegistryError::Query("repo is missing: which repository?"))?;
        let name = snapshot.find_alias(name, at).unwrap_or(name).clone();
        let blob = match &self.reference {
            Some(Reference::Digest(digest)) => {
                snapshot.find_repository(&name)?;
                snapshot.find_blob(digest).map_err(RegistryError::no_blob)?
            }
            Some(tag) => snapshot.find_manifest(&name, tag)?,
            None => {
                let latest = "latest".parse().map_err(|_| RegistryError::ManifestUnknown)?;
                snapshot.find_manifest(&name, &latest)?
            }
        };
        let blob = match &self.arch {
            Some((_, platform)) => find_platform(current, blob, platform)?,
            None => blob,
        };
        let (path, key) = (blob_path(&blob.name()), name.as_str().to_owned());
        Ok(Asked { blob, path, whole: None, key, repository: Some(name) })
    }
}

/// The manifest of a platform in an index; a single image has to be of that platform itself.
fn find_platform<'a>(
    current: &'a Current,
    blob: &'a BlobRow,
    platform: &Platform,
) -> Result<&'a BlobRow, RegistryError> {
    let body = |digest: &Digest| {
        let hash = digest.sha256().ok_or(RegistryError::ManifestUnknown)?;
        let read = current.bodies.read(hash).map_err(|error| RegistryError::Internal(error.to_string()))?;
        read.ok_or(RegistryError::ManifestUnknown)
    };
    let media_type = blob.kind.media_type().ok_or(RegistryError::ManifestUnknown)?;
    let bytes = body(&blob.name())?;
    let manifest = Manifest::parse(media_type, bytes.as_ref()).map_err(|_| RegistryError::ManifestUnknown)?;
    let is_it = |it: &Platform| platform.covers(it);
    if !media_type.is_index() {
        let config = manifest.config.ok_or(RegistryError::ManifestUnknown)?;
        let config = ImageConfig::parse(body(&config.digest)?.as_ref());
        let own = config.ok().and_then(|it| it.platform);
        return own.filter(is_it).map(|_| blob).ok_or(RegistryError::ManifestUnknown);
    }
    let child = manifest.manifests.iter().find(|it| it.platform.as_ref().is_some_and(is_it));
    let child = child.ok_or(RegistryError::ManifestUnknown)?;
    Ok(current.snapshot.find_blob(&child.digest)?)
}

/// What distributions call processors, and what images call them.
fn platform(arch: &str) -> Option<Platform> {
    let text = match arch {
        "x86_64" | "amd64" => "linux/amd64",
        "aarch64" | "arm64" => "linux/arm64",
        "i386" | "i486" | "i586" | "i686" | "386" => "linux/386",
        "armhfp" | "armv7hl" | "armhf" => "linux/arm/v7",
        "ppc64le" => "linux/ppc64le",
        "ppc64" => "linux/ppc64",
        "s390x" => "linux/s390x",
        "riscv64" => "linux/riscv64",
        "mips64el" | "mips64le" => "linux/mips64le",
        "loongarch64" | "loong64" => "linux/loong64",
        _ => return None,
    };
    text.parse().ok()
}

impl TreePath {
    /// `CATEGORY/blobs/sha256/ab/HEX`, or one of [`OTHER_FILES`]; slashes at the ends and double ones do not count.
    fn parse(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split('/').filter(|it| !it.is_empty()).collect();
        let (category, rest) = parts.split_first()?;
        let (category, path) = (category.parse().ok()?, rest.join("/"));
        if let Some(other) = OTHER_FILES.into_iter().find(|it| *it == path) {
            return Some(Self { category, file: TreeFile::Other(other) });
        }
        let digest: Digest = format!("sha256:{}", rest.last()?).parse().ok()?;
        let is_its_place = path == blob_path(&digest);
        is_its_place.then_some(Self { category, file: TreeFile::Blob(digest) })
    }

    fn find<'a>(&self, snapshot: &'a Snapshot) -> Result<Asked<'a>, RegistryError> {
        let mut categories = snapshot.content.list_categories();
        let category = categories.find(|it| it.0.name == self.category.as_str());
        let (category, blobs) = category.ok_or(RegistryError::BlobUnknown)?;
        // Every category has the canary.
        let (digest, path, whole) = match self.file {
            TreeFile::Blob(digest) => (digest, blob_path(&digest), None),
            TreeFile::Other(path) => (CANARY_DIGEST, path.to_owned(), Some(category.id)),
        };
        let blob = snapshot.find_blob(&digest).map_err(RegistryError::no_blob)?;
        if !blobs.contains(blob.number) {
            return Err(RegistryError::BlobUnknown);
        }
        Ok(Asked { blob, path, whole, key: self.category.as_str().to_owned(), repository: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Question, String> {
        let mut question = Question::default();
        pairs.iter().try_for_each(|it| question.read(it.0, it.1)).map_err(|it| it.to_string())?;
        Ok(question)
    }

    #[test]
    fn the_last_of_each_parameter_counts() {
        let question =
            read(&[("country", "de,GLOBAL"), ("country", "fr,se"), ("netblock", "0"), ("x", "y")]).unwrap();
        let countries: Vec<_> = question.countries.iter().map(|it| it.as_str()).collect();
        assert_eq!(
            (countries, question.is_global, question.without_networks),
            (vec!["FR", "SE"], false, true)
        );
        let schemes = |text| read(&[("protocol", text)]).unwrap().schemes.unwrap();
        assert_eq!(schemes("https,http"), [Scheme::Https, Scheme::Http]);
        assert_eq!(schemes("rsync,ftp"), []);
        for (name, value) in
            [("ip", "x"), ("country", "deu"), ("arch", "z80"), ("path", "a/b"), ("version", "2")]
        {
            assert!(read(&[(name, value)]).is_err(), "{name}={value}");
        }
    }

    #[test]
    fn a_path_names_a_file_of_a_category() {
        let digest = Digest::of(b"x");
        let path = format!("//fedora//{}/", blob_path(&digest));
        let named = |file| Some(TreePath { category: "fedora".parse().unwrap(), file });
        assert_eq!(TreePath::parse(&path), named(TreeFile::Blob(digest)));
        assert_eq!(TreePath::parse("fedora/zz//serial"), named(TreeFile::Other("zz/serial")));
        assert_eq!(TreePath::parse("/fedora/"), named(TreeFile::Other("")));
        let hex = digest.hex();
        for path in [
            format!("fedora/{hex}"),
            "fedora/zz".to_owned(),
            "fedora/.portolan".to_owned(),
            "/".to_owned(),
            format!("fedora/blobs/sha256/zz/{hex}"),
            format!("../blobs/sha256/{}/{hex}", &hex[..2]),
        ] {
            assert_eq!(TreePath::parse(&path), None, "{path}");
        }
    }
}
