use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::{Error, host::Truths, visit::blocking};
use crate::{
    database::{
        self, Database,
        category::Category,
        crawl::{CategoryTruth, CrawlHost},
    },
    mirror::{CategoryId, Serial},
};

/// What hosts are compared with, loaded once for all of them and again when a category has changed.
#[derive(Default)]
pub(super) struct KnownTruths(Mutex<HashMap<CategoryId, (Serial, Arc<CategoryTruth>)>>);

impl KnownTruths {
    /// Of the categories that these hosts opted in to. Categories that were never scanned are left out.
    pub(super) async fn load(&self, database: &Arc<Database>, hosts: &[CrawlHost]) -> Result<Truths, Error> {
        let ids: Vec<CategoryId> = hosts.iter().flat_map(|it| &it.categories).map(|it| it.category).collect();
        if ids.is_empty() {
            return Ok(Truths::new());
        }
        let known = self.known().clone();
        let load = move |database: &Database| {
            database.read(|connection| {
                let mut loaded = HashMap::new();
                for Category { id, serial, .. } in database::category::list(connection)? {
                    let fresh = known.get(&id).filter(|it| it.0 == serial).cloned();
                    if let Some(fresh) = fresh {
                        loaded.insert(id, fresh);
                    } else if ids.contains(&id) {
                        let truth = database::crawl::load_category(connection, id)?;
                        loaded.insert(id, (serial, Arc::new(truth)));
                    }
                }
                Ok(loaded)
            })
        };
        let loaded = blocking(database, load).await?;
        let truths = loaded.iter().map(|(id, (_, truth))| (*id, truth.clone()));
        let truths = truths.filter(|(_, truth)| !truth.states.is_empty()).collect();
        *self.known() = loaded;
        Ok(truths)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<CategoryId, (Serial, Arc<CategoryTruth>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
