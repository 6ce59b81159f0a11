use std::{collections::HashSet, sync::Arc};

use super::{
    content::Content,
    gate::Gate,
    holdings::{Holding, Holdings},
    hosts::Hosts,
    ranking::HOLDINGS_AGE,
    rows::{BlobRow, HostCategoryRow, HostRow, ReferrerRow, RepositoryRow},
};
use crate::{
    mirror::{CategoryId, HostId, HostKind},
    oci::{Digest, Reference, RepositoryName},
};

/// All that answers are made from. Never changed: a new one takes its place, part by part.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// What there is.
    pub content: Arc<Content>,
    /// Who holds what.
    pub holdings: Arc<Holdings>,
    /// Who could serve, and what is withdrawn.
    pub hosts: Arc<Hosts>,
    /// Which tags still answer their former manifest; decided from the other parts.
    pub gate: Arc<Gate>,
    /// Hosts to which this server has sent all that it may today.
    pub spent: Arc<HashSet<HostId>>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// No such repository.
    #[error("there is no such repository")]
    Repository,
    /// No such tag, manifest or blob.
    #[error("there is nothing of this name")]
    Content,
    /// The operators withdrew it.
    #[error("it is withdrawn: `portolan content list` says why")]
    Withdrawn {
        /// For legal reasons?
        legal: bool,
    },
}

impl Snapshot {
    /// What the repository of this name is called now: something else than `name` only if no repository is called so, and
    /// it is a former name at this moment, in Unix seconds.
    pub fn find_alias(&self, name: &RepositoryName, at: i64) -> Option<&RepositoryName> {
        let found = self.hosts.find_alias(name, at)?;
        self.content.find_repository(name).is_none().then_some(found)
    }

    /// The repository of this name.
    pub fn find_repository(&self, name: &RepositoryName) -> Result<&RepositoryRow, Missing> {
        self.content.find_repository(name).ok_or(Missing::Repository)
    }

    /// The blob or manifest of this digest, whatever repository it is in.
    pub fn find_blob(&self, digest: &Digest) -> Result<&BlobRow, Missing> {
        // A withdrawn digest stays so when its content is gone.
        if let Some(legal) = digest.sha256().and_then(|it| self.hosts.find_withdrawn(it)) {
            return Err(Missing::Withdrawn { legal });
        }
        self.content.find_blob(digest).ok_or(Missing::Content)
    }

    /// The manifest that a tag or digest names now. By digest it may be a former one, or another
    /// repository's; a tag that moved a moment ago may still name the one before ([`Gate`]).
    pub fn find_manifest(&self, name: &RepositoryName, reference: &Reference) -> Result<&BlobRow, Missing> {
        let repository = self.find_repository(name)?;
        let digest = match reference {
            Reference::Tag(tag) => {
                let newest = repository.find_tag(tag).ok_or(Missing::Content)?;
                let held_back = self.gate.find(name.as_str(), tag.as_str());
                Digest::Sha256(held_back.map_or(newest, |it| it.former))
            }
            Reference::Digest(digest) => *digest,
        };
        let found = self.find_blob(&digest)?;
        found.kind.media_type().map(|_| found).ok_or(Missing::Content)
    }

    /// The opt-in by which a host carries this category, if the last crawl found all of it there, at this moment not too
    /// long ago. A host that fetches what it lacks has all of it.
    pub fn find_whole<'a>(
        &self,
        host: &'a HostRow,
        category: CategoryId,
        at: i64,
    ) -> Option<&'a HostCategoryRow> {
        let (_, blobs) = self.content.list_categories().find(|it| it.0.id == category)?;
        let row = host.categories.iter().find(|it| it.category == category)?;
        let is_whole = |it: &Holding| blobs.is_subset(&it.blobs) && at - it.crawled_at <= HOLDINGS_AGE;
        let has_all = host.kind != HostKind::Static || self.holdings.find(row.id).is_some_and(is_whole);
        has_all.then_some(row)
    }

    /// The names of a repository's tags, sorted, but for those of withdrawn manifests.
    pub fn list_tags<'a>(&'a self, repository: &'a RepositoryRow) -> impl Iterator<Item = &'a str> {
        let is_answered = |(_, manifest): &&(String, _)| self.hosts.find_withdrawn(manifest).is_none();
        repository.tags.iter().filter(is_answered).map(|it| it.0.as_str())
    }

    /// Who names this digest as subject, but for what is withdrawn.
    pub fn list_referrers(&self, subject: &Digest) -> impl Iterator<Item = &ReferrerRow> {
        let is_answered = |it: &&ReferrerRow| {
            let is_withdrawn = |it| self.hosts.find_withdrawn(it).is_some();
            !is_withdrawn(&it.subject) && !is_withdrawn(&it.manifest)
        };
        self.content.list_referrers(subject).iter().filter(is_answered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mirrorlist::rows::{BlobKind, ContentRows, HostRows, WithdrawnRow};

    /// The tags `a` and `b` of `fedora` name manifests 1 and 2; 2 refers to 1, and 3 is a blob.
    fn snapshot(withdrawn: &[(u8, bool)]) -> Snapshot {
        let blob = |number: u8, kind| BlobRow { digest: [number; 32], number: number.into(), size: 1, kind };
        let manifest = |number| blob(number, BlobKind::OciManifest);
        let tags = vec![("a".to_owned(), [1; 32]), ("b".to_owned(), [2; 32])];
        let content = ContentRows {
            blobs: vec![manifest(1), manifest(2), blob(3, BlobKind::Blob)],
            repositories: vec![RepositoryRow { name: "fedora".to_owned(), tags }],
            referrers: vec![ReferrerRow {
                subject: [1; 32],
                manifest: [2; 32],
                artifact_type: None,
                descriptor: String::new(),
            }],
            ..ContentRows::default()
        };
        let row = |it: &(u8, bool)| WithdrawnRow { digest: [it.0; 32], legal: it.1 };
        let hosts = HostRows { withdrawn: withdrawn.iter().map(row).collect(), ..HostRows::default() };
        Snapshot {
            content: Arc::new(Content::new(content).unwrap()),
            hosts: Arc::new(Hosts::new(hosts)),
            ..Snapshot::default()
        }
    }

    fn digest(number: u8) -> Digest {
        Digest::Sha256([number; 32])
    }

    #[test]
    fn a_withdrawn_digest_is_found_in_no_way() {
        let name = "fedora".parse().unwrap();
        let number = |snapshot: &Snapshot, reference: &str| {
            snapshot.find_manifest(&name, &reference.parse().unwrap()).map(|it| it.number)
        };
        let tags = |snapshot: &Snapshot| -> Vec<String> {
            snapshot.list_tags(snapshot.find_repository(&name).unwrap()).map(str::to_owned).collect()
        };
        let all = snapshot(&[]);
        assert_eq!(
            (number(&all, "a"), number(&all, "b"), number(&all, "c")),
            (Ok(1), Ok(2), Err(Missing::Content))
        );
        assert_eq!(number(&all, &digest(3).to_string()), Err(Missing::Content), "a blob is no manifest");
        assert_eq!((tags(&all).len(), all.list_referrers(&digest(1)).count()), (2, 1));

        let some = snapshot(&[(2, false), (3, true), (9, true)]);
        assert_eq!((number(&some, "a"), tags(&some)), (Ok(1), vec!["a".to_owned()]));
        for reference in ["b".to_owned(), digest(2).to_string()] {
            assert_eq!(number(&some, &reference), Err(Missing::Withdrawn { legal: false }));
        }
        assert_eq!(some.list_referrers(&digest(1)).count(), 0, "who refers is withdrawn");
        assert_eq!(some.find_blob(&digest(3)).unwrap_err(), Missing::Withdrawn { legal: true });
        assert_eq!(
            some.find_blob(&digest(9)).unwrap_err(),
            Missing::Withdrawn { legal: true },
            "unknown here"
        );
        assert_eq!(snapshot(&[(1, false)]).list_referrers(&digest(1)).count(), 0, "the subject is withdrawn");
    }
}
