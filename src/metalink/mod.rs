//! Metalink documents and headers: what lists the mirrors of one file, with its size and hash.
//!
//! The rules that the writers keep are what aria2, librepo and wget2 were seen to need; each has a test.

mod element;
mod link;
mod pieces;
mod read;
mod scanner;
mod url;
mod v3;
mod v4;
mod version;

use jiff::Timestamp;

use crate::{mirror::Country, oci::Digest};

pub use self::{
    link::{DUPLICATES_LIMIT, describedby_link, duplicate_links, instance_digest},
    pieces::{PIECE_LENGTH, PIECES_LIMIT, PieceHasher, Pieces},
    read::{DOCUMENT_LIMIT, ReadError, read},
    url::{URL_LIMIT, WebUrl, WebUrlError},
    v3::render_v3,
    v4::render_v4,
    version::{MEDIA_TYPE_V3, MEDIA_TYPE_V4, Version},
};

/// The most URLs in one document, written or read.
pub const RESOURCES_LIMIT: usize = 1000;

/// The query with which a client of ours asks the last URL of a metalink, the service's own: it has tried the others.
pub const LAST_RESORT: &str = "mirrors=tried";

/// The longest name of a file, in bytes.
const NAME_LIMIT: usize = 255;

/// Who wrote the document.
const GENERATOR: &str = concat!("portolan/", env!("CARGO_PKG_VERSION"));

/// One file and where to get it; what both versions of the format say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    name: String,
    size: u64,
    digest: Digest,
    published: Timestamp,
    origin: Option<WebUrl>,
    pieces: Option<Pieces>,
    resources: Vec<Resource>,
}

/// A URL that the file can be fetched from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Of the file itself.
    pub url: WebUrl,
    /// Where the host stands.
    pub country: Option<Country>,
    /// The host serves its own network only. Version 3 says so (`mm0:private`); version 4 has no word for it.
    pub is_private: bool,
}

/// Why something cannot be said in a metalink.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DocumentError {
    /// RFC 5854 section 4.1.2.1, and no control characters.
    #[error("a metalink's file name is relative, has no `..` and is 1 to {NAME_LIMIT} characters long")]
    Name,
    /// A SHA-512 makes wget2 fail and, if wrong, hides a right SHA-256 from librepo and aria2.
    #[error("a metalink needs a sha256 digest")]
    Digest,
    /// Before 1970 or after 9999.
    #[error("a metalink's timestamp is in seconds since 1970 and before the year 10000")]
    Timestamp,
    /// RFC 5854 section 4.1.2 wants at least one; we limit the list at the other end.
    #[error("a metalink has 1 to {RESOURCES_LIMIT} URLs, not {0}")]
    Resources(usize),
    /// RFC 5854 section 4.1.3: all of the file, in order.
    #[error("a metalink's pieces are as many as its file's size needs")]
    Pieces,
}

impl Document {
    /// One file of `size` bytes. `timestamp` is in seconds since 1970: the file's, and so the document's.
    /// `origin` is where this document can be fetched again. `resources` are best first, each on a host of its
    /// own (aria2 keeps one URL a host).
    pub fn new(
        name: impl Into<String>,
        size: u64,
        digest: Digest,
        timestamp: i64,
        origin: Option<WebUrl>,
        resources: Vec<Resource>,
    ) -> Result<Self, DocumentError> {
        let name = name.into();
        if !is_file_name(&name) {
            return Err(DocumentError::Name);
        }
        if digest.sha256().is_none() {
            return Err(DocumentError::Digest);
        }
        if resources.is_empty() || resources.len() > RESOURCES_LIMIT {
            return Err(DocumentError::Resources(resources.len()));
        }
        let published = Timestamp::from_second(timestamp).map_err(|_| DocumentError::Timestamp)?;
        if published < Timestamp::UNIX_EPOCH {
            return Err(DocumentError::Timestamp);
        }
        Ok(Self { name, size, digest, published, origin, pieces: None, resources })
    }

    /// With the hashes of the file's pieces.
    pub fn with_pieces(self, pieces: Option<Pieces>) -> Result<Self, DocumentError> {
        match &pieces {
            Some(it) if !it.fits(self.size) => Err(DocumentError::Pieces),
            _ => Ok(Self { pieces, ..self }),
        }
    }

    /// The file's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file's size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The file's SHA-256.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// In seconds since 1970.
    pub fn timestamp(&self) -> i64 {
        self.published.as_second()
    }

    /// Where this document can be fetched again.
    pub fn origin(&self) -> Option<&WebUrl> {
        self.origin.as_ref()
    }

    /// The hashes of the file's pieces, if it is cut into any.
    pub fn pieces(&self) -> Option<&Pieces> {
        self.pieces.as_ref()
    }

    /// Best first; never empty.
    pub fn resources(&self) -> &[Resource] {
        &self.resources
    }

    /// How many bytes a document is likely to have: enough that the writers seldom have to grow.
    fn capacity(&self) -> usize {
        let pieces = self.pieces.as_ref().map_or(0, |it| it.digests().len());
        1024 + 100 * pieces + self.resources.iter().map(|it| it.url.as_str().len() + 100).sum::<usize>()
    }
}

/// The name of a file that is known by its digest: `sha256-HEX`.
pub fn digest_file_name(digest: &Digest) -> String {
    format!("{}-{}", digest.algorithm(), digest.hex())
}

fn is_file_name(name: &str) -> bool {
    (1..=NAME_LIMIT).contains(&name.len())
        && !name.starts_with('/')
        && !name.contains(|it: char| it.is_control() || it == '\\')
        && name.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
}

#[cfg(test)]
mod samples {
    use super::*;

    /// 2025-01-01T00:00:00Z.
    pub(super) const NEW_YEAR: i64 = 1_735_689_600;

    pub(super) fn resource(url: &str, country: &str) -> Resource {
        Resource { url: url.parse().unwrap(), country: country.parse().ok(), is_private: false }
    }

    /// Three mirrors, one of them private, and a URL with characters that XML must escape.
    pub(super) fn document() -> Document {
        let digest = Digest::of(b"portolan");
        let mut resources = vec![
            resource("https://m1.example/fedora/blobs/sha256/ab/x?a=1&b='2'", "DE"),
            resource("http://m2.example/blob", "FR"),
            resource("https://m3.example/blob", ""),
        ];
        resources[1].is_private = true;
        let origin = "https://registry.example/metalink?repo=fedora&tag=latest".parse().unwrap();
        let document =
            Document::new(digest_file_name(&digest), 3_145_851, digest, NEW_YEAR, Some(origin), resources);
        let pieces = Pieces::new(3_145_851, 2_097_152, vec![[0xab; 32], [0xcd; 32]]);
        document.unwrap().with_pieces(pieces).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::{samples::*, *};

    #[test]
    fn what_no_client_could_use_is_refused() {
        let one = vec![resource("https://m.example/x", "")];
        let new = |name: &str, digest, timestamp, resources: &[Resource]| {
            Document::new(name, 1, digest, timestamp, None, resources.to_vec()).err()
        };
        let sha256 = Digest::of(b"");
        for name in ["", "/a", "../a", "a/../b", "a//b", "a\nb", "a\\b", ".", "a/", &"a".repeat(256)] {
            assert_eq!(new(name, sha256, 0, &one), Some(DocumentError::Name), "{name}");
        }
        assert_eq!(new("a", Digest::Sha512([0; 64]), 0, &one), Some(DocumentError::Digest));
        assert_eq!(new("a", sha256, -1, &one), Some(DocumentError::Timestamp));
        assert_eq!(new("a", sha256, i64::MAX, &one), Some(DocumentError::Timestamp));
        assert_eq!(new("a", sha256, 0, &[]), Some(DocumentError::Resources(0)));
        let many = vec![one[0].clone(); RESOURCES_LIMIT + 1];
        assert_eq!(new("a", sha256, 0, &many), Some(DocumentError::Resources(RESOURCES_LIMIT + 1)));
        assert_eq!(new("fedora/latest", sha256, 0, &one), None);
        let document = Document::new("a", 10, sha256, 0, None, one).unwrap();
        assert_eq!(
            document.clone().with_pieces(Pieces::new(13, 4, vec![[0; 32]; 4])),
            Err(DocumentError::Pieces)
        );
        assert!(document.with_pieces(Pieces::new(10, 4, vec![[0; 32]; 3])).unwrap().pieces().is_some());
    }

    #[test]
    fn content_is_named_by_its_digest() {
        let empty = "sha256-e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(digest_file_name(&Digest::of(b"")), empty);
    }
}
