use std::{collections::BTreeSet, sync::Arc};

use tokio::sync::watch;

use super::{Error, Fault, blocking, image::Wanted, run::Run};
use crate::{
    oci::{Digest, RepositoryName},
    tree::{Kind, Writer},
};

/// So many repositories are asked for content that no tag leads to.
const REPOSITORIES_LIMIT: usize = 100;

impl Run<'_> {
    /// Takes out of the tree what is not what its name says. The export that follows brings it in again.
    pub(super) async fn verify(&mut self, writer: &Arc<Writer>) -> Result<(), Error> {
        let (verifier, (sender, mut steps)) = (writer.clone(), watch::channel((0, 0)));
        let reading = blocking(move || {
            verifier.verify(&|bytes, total| {
                sender.send_replace((bytes, total));
            })
        });
        let telling = async {
            while steps.changed().await.is_ok() {
                let (bytes, total) = *steps.borrow_and_update();
                self.observer.verified(bytes, total);
            }
        };
        let (verified, ()) = tokio::join!(reading, telling);
        let verified = verified?;
        for damage in &verified.damaged {
            self.observer.note(&format!("damaged: {damage}"));
        }
        self.summary.verified = Some(verified);
        Ok(())
    }

    /// Brings damaged content in again to which no tag leads any more: whatever repository of its category still has
    /// it.
    pub(super) async fn restore_former(&mut self) {
        let damaged = self.summary.verified.iter().flat_map(|it| &it.damaged).map(|it| it.digest);
        let damaged: BTreeSet<Digest> = damaged.collect();
        for digest in damaged {
            let Some((size, kind, repositories)) = self.find_former(&digest) else { continue };
            let mut reason = None;
            for name in repositories {
                match self.fetch_again(&name, digest, size, kind).await {
                    Ok(()) => {
                        reason = None;
                        break;
                    }
                    Err(error) => reason = Some((name, error.to_string())),
                }
            }
            if let Some((name, reason)) = reason {
                let reason = format!("{digest}, to which no tag leads, was damaged and is lost: {reason}");
                let fault = Fault { repository: name.to_string(), tag: None, reason };
                self.observer.note(&fault.to_string());
                self.summary.faults.push(fault);
            }
        }
    }

    /// Former content that the pool lacks, and who may have it.
    fn find_former(&self, digest: &Digest) -> Option<(u64, Kind, Vec<RepositoryName>)> {
        let mut states = self.previous.iter().filter(|it| self.former_since(it, digest).is_some());
        let state = states.next()?;
        let (size, kind) = *state.entries.get(digest.sha256()?)?;
        let is_missing = !self.source.manifests.tree.has_blob(digest, size);
        let repositories = state.repositories.keys().take(REPOSITORIES_LIMIT).cloned().collect();
        is_missing.then_some((size, kind, repositories))
    }

    async fn fetch_again(
        &self,
        name: &RepositoryName,
        digest: Digest,
        size: u64,
        kind: Kind,
    ) -> Result<(), super::ImageError> {
        match (kind.media_type(), &self.source.transfers) {
            (Some(media_type), _) => {
                let wanted = Wanted { digest, media_type, size, platform: None };
                self.source.manifests.load(name, &wanted).await.map(drop)
            }
            (None, Some(transfers)) => transfers.fetch(name, digest, size).await,
            (None, None) => Ok(()),
        }
    }
}
