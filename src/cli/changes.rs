use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use crate::exporter::Scope;

/// What waits for the next export. However much is told, it is no more than a [`Scope`].
#[derive(Default)]
pub(super) struct Changes {
    scope: Mutex<Option<Scope>>,
    added: Notify,
}

impl Changes {
    /// Adds to what waits. Never blocks for long.
    pub(super) fn add(&self, new: Scope) {
        let mut scope = self.scope.lock().unwrap_or_else(PoisonError::into_inner);
        *scope = Some(match scope.take() {
            Some(known) => known.with(new),
            None => new,
        });
        self.added.notify_one();
    }

    /// Takes all that waits.
    pub(super) fn take(&self) -> Option<Scope> {
        self.scope.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Ready when something waits. For one caller at a time.
    pub(super) async fn wait(&self) {
        while self.scope.lock().unwrap_or_else(PoisonError::into_inner).is_none() {
            self.added.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn what_is_told_waits_together() {
        let changes = Changes::default();
        let one = |name: &str| Scope::one(name.parse().unwrap());
        let is_ready = async || tokio::time::timeout(Duration::from_millis(20), changes.wait()).await.is_ok();
        assert!(!is_ready().await);
        for name in ["a", "b", "a"] {
            changes.add(one(name));
        }
        assert!(is_ready().await);
        assert_eq!(changes.take(), Some(one("a").with(one("b"))));
        assert!(!is_ready().await && changes.take().is_none());
    }
}
