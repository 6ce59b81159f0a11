use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::Mutex;

use super::ProviderError;

/// After a failure nobody asks again for so long: whoever comes is told the same.
const FAILED_FOR: Duration = Duration::from_secs(5);

/// Something that is asked of the provider now and then, by one at a time, and kept.
pub(super) struct Kept<T>(Mutex<Option<(Instant, Outcome<T>)>>);

type Outcome<T> = Result<Arc<T>, ProviderError>;

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T> Kept<T> {
    /// What is kept, if it is not older than `oldest`; else what `fetch` brings.
    pub(super) async fn find(
        &self,
        oldest: Duration,
        fetch: impl Future<Output = Result<T, ProviderError>>,
    ) -> Outcome<T> {
        let mut kept = self.0.lock().await;
        if let Some((asked_at, outcome)) = &*kept {
            let lasts = if outcome.is_ok() { oldest } else { FAILED_FOR };
            if asked_at.elapsed() < lasts {
                return outcome.clone();
            }
        }
        let outcome = fetch.await.map(Arc::new);
        *kept = Some((Instant::now(), outcome.clone()));
        outcome
    }
}
