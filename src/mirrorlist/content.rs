use roaring::RoaringBitmap;

use super::rows::{
    BlobKind, BlobRow, CategoryRow, ContentRows, Hash, MovedTagRow, ReferrerRow, RepositoryRow,
};
use crate::{
    mirror::CategoryId,
    oci::{Digest, MediaType, RepositoryName, Tag},
};

/// What there is, ready to be asked.
#[derive(Debug, Default)]
pub struct Content {
    rows: ContentRows,
    /// For the first 16 bits of a digest: where in `rows.blobs` those that begin so start. The last
    /// entry is the number of blobs. Empty when there are none.
    starts: Vec<u32>,
    /// Of each category, in the order of `rows.categories`.
    sets: Vec<RoaringBitmap>,
    /// The new blobs of each of `rows.moved_tags`.
    new_blobs: Vec<RoaringBitmap>,
}

/// Why rows make no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum RowsError {
    /// The bytes of a set cannot be read.
    #[error("the set of blobs of {0} is damaged: {1}")]
    Set(String, std::io::Error),
    /// A holding names a set that is not there.
    #[error("a holding names set {0}, which is not there")]
    Missing(u32),
}

/// Reads a roaring bitmap in the portable format.
pub(super) fn read_set(bytes: &[u8], of: impl FnOnce() -> String) -> Result<RoaringBitmap, RowsError> {
    RoaringBitmap::deserialize_from(bytes).map_err(|error| RowsError::Set(of(), error))
}

impl Content {
    /// Sorts what has to be sorted and builds the indexes.
    pub fn new(mut rows: ContentRows) -> Result<Self, RowsError> {
        rows.blobs.sort_unstable_by_key(|it| it.digest);
        rows.repositories.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        for repository in &mut rows.repositories {
            repository.tags.sort_unstable();
        }
        rows.referrers.sort_unstable_by(|a, b| (a.subject, &a.descriptor).cmp(&(b.subject, &b.descriptor)));
        let read = |it: &CategoryRow| read_set(&it.blobs, || format!("the category {}", it.name));
        let sets = rows.categories.iter().map(read).collect::<Result<_, _>>()?;
        let read =
            |it: &MovedTagRow| read_set(&it.new_blobs, || format!("the tag {}:{}", it.repository, it.tag));
        let new_blobs = rows.moved_tags.iter().map(read).collect::<Result<_, _>>()?;
        let starts = starts(&rows.blobs);
        Ok(Self { rows, starts, sets, new_blobs })
    }

    /// What it was built from, sorted.
    pub fn rows(&self) -> &ContentRows {
        &self.rows
    }

    /// The blob or manifest of this digest, whatever repository it is in.
    pub fn find_blob(&self, digest: &Digest) -> Option<&BlobRow> {
        let hash = digest.sha256()?;
        let first = usize::from(u16::from_be_bytes([hash[0], hash[1]]));
        let range = *self.starts.get(first)? as usize..*self.starts.get(first + 1)? as usize;
        let blobs = self.rows.blobs.get(range)?;
        blobs.binary_search_by_key(hash, |it| it.digest).ok().map(|at| &blobs[at])
    }

    /// The repository of this name.
    pub fn find_repository(&self, name: &RepositoryName) -> Option<&RepositoryRow> {
        let all = &self.rows.repositories;
        all.binary_search_by(|it| it.name.as_str().cmp(name.as_str())).ok().map(|at| &all[at])
    }

    /// All repositories, by name.
    pub fn list_repositories(&self) -> &[RepositoryRow] {
        &self.rows.repositories
    }

    /// Who names this digest as subject.
    pub fn list_referrers(&self, subject: &Digest) -> &[ReferrerRow] {
        let Some(hash) = subject.sha256() else { return &[] };
        let all = &self.rows.referrers;
        let start = all.partition_point(|it| it.subject < *hash);
        let count = all[start..].partition_point(|it| it.subject == *hash);
        &all[start..start + count]
    }

    /// All categories and the numbers of the blobs they have.
    pub fn list_categories(&self) -> impl Iterator<Item = (&CategoryRow, &RoaringBitmap)> {
        self.rows.categories.iter().zip(&self.sets)
    }

    /// The tags that moved, and the numbers of what came with it.
    pub(super) fn list_moved_tags(&self) -> impl Iterator<Item = (&MovedTagRow, &RoaringBitmap)> {
        self.rows.moved_tags.iter().zip(&self.new_blobs)
    }

    /// The categories that have this blob.
    pub fn categories_of(&self, number: u32) -> Vec<CategoryId> {
        self.list_categories().filter(|it| it.1.contains(number)).map(|it| it.0.id).collect()
    }
}

/// Where the digests with each pair of first bytes begin.
fn starts(blobs: &[BlobRow]) -> Vec<u32> {
    const FIRSTS: usize = 1 << 16;
    if blobs.is_empty() {
        return Vec::new();
    }
    let mut starts = vec![0u32; FIRSTS + 1];
    for blob in blobs {
        starts[usize::from(u16::from_be_bytes([blob.digest[0], blob.digest[1]])) + 1] += 1;
    }
    for at in 1..starts.len() {
        starts[at] += starts[at - 1];
    }
    starts
}

impl BlobRow {
    /// Its name.
    pub fn name(&self) -> Digest {
        Digest::Sha256(self.digest)
    }
}

impl RepositoryRow {
    /// The manifest that a tag names.
    pub fn find_tag(&self, tag: &Tag) -> Option<Hash> {
        self.tags.binary_search_by(|it| it.0.as_str().cmp(tag.as_str())).ok().map(|at| self.tags[at].1)
    }
}

impl BlobKind {
    /// The media type of a manifest; `None` for any other blob.
    pub const fn media_type(self) -> Option<MediaType> {
        match self {
            Self::Blob => None,
            Self::OciManifest => Some(MediaType::OciManifest),
            Self::OciIndex => Some(MediaType::OciIndex),
            Self::DockerManifest => Some(MediaType::DockerManifest),
            Self::DockerList => Some(MediaType::DockerList),
        }
    }
}

impl From<Option<MediaType>> for BlobKind {
    fn from(media_type: Option<MediaType>) -> Self {
        match media_type {
            None => Self::Blob,
            Some(MediaType::OciManifest) => Self::OciManifest,
            Some(MediaType::OciIndex) => Self::OciIndex,
            Some(MediaType::DockerManifest) => Self::DockerManifest,
            Some(MediaType::DockerList) => Self::DockerList,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(digest: Digest, number: u32) -> BlobRow {
        BlobRow { digest: *digest.sha256().unwrap(), number, size: 1, kind: BlobKind::Blob }
    }

    proptest::proptest! {
        #[test]
        fn every_blob_is_found_and_no_other(words: Vec<u16>, other: u16) {
            let digest = |word: u16| Digest::of(&word.to_be_bytes());
            let mut words = words;
            words.sort_unstable();
            words.dedup();
            let blobs = words.iter().map(|word| blob(digest(*word), u32::from(*word))).collect();
            let content = Content::new(ContentRows { blobs, ..ContentRows::default() }).unwrap();
            for word in &words {
                proptest::prop_assert_eq!(content.find_blob(&digest(*word)).unwrap().number, u32::from(*word));
            }
            proptest::prop_assert_eq!(content.find_blob(&digest(other)).is_some(), words.contains(&other));
        }
    }

    #[test]
    fn the_first_and_last_digests_are_found() {
        let ends = [Digest::Sha256([0; 32]), Digest::Sha256([255; 32])];
        let blobs = ends.iter().map(|it| blob(*it, 7)).collect();
        let content = Content::new(ContentRows { blobs, ..ContentRows::default() }).unwrap();
        assert!(ends.iter().all(|it| content.find_blob(it).is_some()));
        assert!(content.find_blob(&Digest::Sha512([0; 64])).is_none());
    }

    #[test]
    fn referrers_are_those_of_the_subject() {
        let row = |subject: u8, descriptor: &str| ReferrerRow {
            subject: [subject; 32],
            manifest: [0; 32],
            artifact_type: None,
            descriptor: descriptor.to_owned(),
        };
        let referrers = vec![row(2, "b"), row(1, "x"), row(2, "a"), row(3, "y")];
        let content = Content::new(ContentRows { referrers, ..ContentRows::default() }).unwrap();
        let found = |subject| content.list_referrers(&Digest::Sha256([subject; 32]));
        assert_eq!(found(2).iter().map(|it| it.descriptor.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert!(found(0).is_empty() && found(4).is_empty());
    }

    #[test]
    fn a_damaged_set_is_refused() {
        let category =
            CategoryRow { id: CategoryId(1), name: "fedora".to_owned(), serial: 1, blobs: vec![1] };
        let rows = ContentRows { categories: vec![category], ..ContentRows::default() };
        assert!(Content::new(rows).unwrap_err().to_string().contains("fedora"));
    }
}
