use std::{
    collections::HashMap,
    sync::{Arc, Mutex as SyncMutex, PoisonError},
};

use tokio::sync::{Mutex, OnceCell};

use super::origin::Origin;
use crate::{
    connector,
    oci::{Descriptor, Digest, RepositoryName},
};

/// Shared by all that want the same.
type Shared<K, V> = SyncMutex<HashMap<K, Arc<V>>>;

/// What the origin's referrers API says. It is asked about each manifest once; where a repository's first answer
/// is that there is no such API, not again.
pub(super) struct Referrers {
    origin: Arc<Origin>,
    /// Does it have the API? Held while the first of the repository asks.
    has_api: Shared<RepositoryName, Mutex<Option<bool>>>,
    lists: Shared<(RepositoryName, Digest), OnceCell<Vec<Descriptor>>>,
}

impl Referrers {
    pub(super) fn new(origin: Arc<Origin>) -> Self {
        Self { origin, has_api: Shared::default(), lists: Shared::default() }
    }

    /// What refers to a manifest, as far as an API tells.
    pub(super) async fn list(
        &self,
        name: &RepositoryName,
        subject: Digest,
    ) -> Result<Vec<Descriptor>, connector::Error> {
        let cell = share(&self.lists, (name.clone(), subject));
        cell.get_or_try_init(|| self.ask(name, subject)).await.cloned()
    }

    async fn ask(&self, name: &RepositoryName, subject: Digest) -> Result<Vec<Descriptor>, connector::Error> {
        let has_api = share(&self.has_api, name.clone());
        let mut known = has_api.lock().await;
        match *known {
            Some(false) => Ok(Vec::new()),
            Some(true) => {
                drop(known);
                Ok(self.origin.list_referrers(name, &subject).await?.unwrap_or_default())
            }
            None => {
                let list = self.origin.list_referrers(name, &subject).await?;
                *known = Some(list.is_some());
                Ok(list.unwrap_or_default())
            }
        }
    }
}

fn share<K: Eq + std::hash::Hash, V: Default>(shared: &Shared<K, V>, key: K) -> Arc<V> {
    shared.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default().clone()
}
