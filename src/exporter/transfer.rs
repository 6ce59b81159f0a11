use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::{OnceCell, Semaphore};

use super::{ImageError, Observer, Transfer, blocking};
use crate::{
    connector::Registry,
    oci::{Digest, RepositoryName},
    tree::{self, NewBlob, Writer},
};

/// How often a body that breaks off is taken up again, within one run.
const RESUME_LIMIT: u32 = 5;
/// The first wait before that; it grows each time.
const RESUME_WAIT: Duration = Duration::from_millis(200);

/// Brings blobs into the pool, each once, however many images want it.
pub(super) struct Transfers<'a> {
    pub(super) registry: Arc<Registry>,
    pub(super) writer: Arc<Writer>,
    pub(super) permits: Arc<Semaphore>,
    pub(super) observer: &'a dyn Observer,
    running: Mutex<HashMap<Digest, Arc<OnceCell<()>>>>,
    blobs: AtomicU64,
    bytes: AtomicU64,
}

impl<'a> Transfers<'a> {
    pub(super) fn new(
        registry: Arc<Registry>,
        writer: Arc<Writer>,
        permits: Arc<Semaphore>,
        observer: &'a dyn Observer,
    ) -> Self {
        Self {
            registry,
            writer,
            permits,
            observer,
            running: Mutex::default(),
            blobs: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    /// Blobs and bytes so far.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.blobs.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    /// Makes sure that a blob is in the pool. If another image is fetching it, waits for that; if that
    /// fails, tries by itself, for its own repository may be better.
    pub(super) async fn fetch(
        &self,
        repository: &RepositoryName,
        digest: Digest,
        size: u64,
    ) -> Result<(), ImageError> {
        if self.writer.tree().has_blob(&digest, size) {
            return Ok(());
        }
        let cell = {
            let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            running.entry(digest).or_default().clone()
        };
        let transfer = Transfer { digest, size, repository: repository.clone() };
        cell.get_or_try_init(|| self.transfer(&transfer)).await?;
        match self.writer.tree().blob_size(&digest) {
            Some(found) if found == size => Ok(()),
            // The bytes are right, but the image that brought them in said another size.
            found => Err(tree::Error::WrongSize { digest, size, found: found.unwrap_or_default() }.into()),
        }
    }

    async fn transfer(&self, transfer: &Transfer) -> Result<(), ImageError> {
        let _permit = self.permits.acquire().await.expect("it is never closed");
        self.observer.started(transfer);
        let result = self.pour_and_finish(transfer).await;
        self.observer.finished(transfer);
        result?;
        self.blobs.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(transfer.size, Ordering::Relaxed);
        Ok(())
    }

    async fn pour_and_finish(&self, transfer: &Transfer) -> Result<(), ImageError> {
        let mut blob = self.writer.start(&transfer.digest, transfer.size)?;
        let mut tries = 0;
        while let Err(error) = self.pour(transfer, &mut blob).await {
            let is_passing = matches!(&error, ImageError::Origin(it) if it.is_passing());
            tries += 1;
            if !is_passing || tries >= RESUME_LIMIT {
                return Err(error);
            }
            tokio::time::sleep(RESUME_WAIT * tries).await;
        }
        Ok(blocking(move || blob.finish()).await?)
    }

    /// Reads from where the blob stands to its end.
    async fn pour(&self, transfer: &Transfer, blob: &mut NewBlob) -> Result<(), ImageError> {
        if blob.written() == transfer.size && transfer.size > 0 {
            return Ok(());
        }
        let mut body =
            self.registry.open_blob(&transfer.repository, &transfer.digest, blob.written()).await?;
        if body.offset() != blob.written() {
            blob.restart()?;
        }
        while let Some(chunk) = body.chunk().await? {
            // A chunk is some kilobytes into the page cache; finish() waits for the disk.
            blob.write(&chunk)?;
            self.observer.advanced(transfer, blob.written());
        }
        Ok(())
    }
}
