//! Blobs under way and those that were fetched lately. Each is fetched once, however many ask for it, into a file
//! that has no name; readers follow the verified part of it.

use std::{
    collections::HashMap,
    fs::{self, File},
    future::Future,
    io,
    os::unix::fs::FileExt as _,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    runtime::Handle,
    sync::{OnceCell, Semaphore, watch},
};
use tokio_util::bytes::Bytes;

use super::counters::{Counters, add, count};
use crate::{
    oci::Digest,
    puller::{
        download::Download,
        fetch::{Target, fetch},
        service::{Located, Service, ServiceError},
    },
};

/// How many blobs are fetched at once; more wait.
const DOWNLOADS: usize = 16;

/// A blob that can only be verified whole is sent as it comes, but for so many bytes at its end: they are held back
/// until it is verified. One that is no longer is not sent before.
const HELD_BACK: u64 = 64 * 1024 * 1024;

/// A download that nobody waits for any more goes on for so long: clients come back.
const ABANDON: Duration = Duration::from_secs(30);

/// So much of a blob is read at once.
const CHUNK: u64 = 128 * 1024;

/// Why a blob is not there.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoreError {
    #[error(transparent)]
    Service(#[from] ServiceError),
    #[error("blobs cannot be kept in {}: {source}", folder.display())]
    Disk { folder: PathBuf, source: io::Error },
    #[error("{0}")]
    Lost(String),
}

/// How far a blob has come.
#[derive(Clone, Debug, Default)]
struct Progress {
    /// So many bytes from its start on may be sent.
    ready: u64,
    ended: Option<Result<(), String>>,
}

/// A blob on disk, or on its way there.
pub(super) struct Blob {
    digest: Digest,
    size: u64,
    file: File,
    progress: watch::Sender<Progress>,
    readers: AtomicUsize,
    used: Mutex<Instant>,
}

type Cell = Arc<OnceCell<Arc<Blob>>>;

pub(super) struct Store {
    folder: PathBuf,
    /// In bytes.
    limit: u64,
    blobs: Mutex<HashMap<Digest, Cell>>,
    permits: Semaphore,
    /// Downloads do not run where requests are answered.
    runtime: Handle,
    pub(super) counters: Counters,
}

impl Store {
    /// To be called where downloads are to run.
    pub(super) fn open(folder: PathBuf, limit: u64) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        let (permits, runtime) = (Semaphore::new(DOWNLOADS), Handle::current());
        Ok(Self { folder, limit, blobs: Mutex::default(), permits, runtime, counters: Counters::default() })
    }

    /// A reader of the blob. If nobody has asked for it lately, `locate` says where it is, and it is fetched.
    pub(super) async fn read(
        self: &Arc<Self>,
        service: &Arc<Service>,
        digest: Digest,
        locate: impl Future<Output = Result<Located, ServiceError>>,
    ) -> Result<Reader, StoreError> {
        let cell = self.blobs().entry(digest).or_default().clone();
        let begun = cell.get_or_try_init(async || self.begin(service.clone(), locate.await?)).await;
        if begun.is_err() {
            self.forget(&digest, &cell);
        }
        let reader = Reader::new(begun?.clone());
        self.evict();
        Ok(reader)
    }

    /// Bytes on disk.
    pub(super) fn bytes(&self) -> u64 {
        self.blobs().values().filter_map(|it| it.get()).map(|it| it.size).sum()
    }

    fn begin(self: &Arc<Self>, service: Arc<Service>, located: Located) -> Result<Arc<Blob>, StoreError> {
        // Without a name: it goes with its last reader, or with the process.
        let file = tempfile::tempfile_in(&self.folder);
        let file = file.map_err(|source| StoreError::Disk { folder: self.folder.clone(), source })?;
        let blob = Arc::new(Blob {
            digest: located.digest,
            size: located.size(),
            file,
            progress: watch::Sender::new(Progress::default()),
            readers: AtomicUsize::new(0),
            used: Mutex::new(Instant::now()),
        });
        self.runtime.spawn(self.clone().bring(service, located, blob.clone()));
        Ok(blob)
    }

    /// Fetches a blob to its end, good or bad.
    async fn bring(self: Arc<Self>, service: Arc<Service>, located: Located, blob: Arc<Blob>) {
        let _permit = self.permits.acquire().await.expect("it is never closed");
        add(&self.counters.running, 1);
        let mut download = located.download();
        let mut target = ToBlob { blob: &blob, unread_since: None, is_broken: false };
        let result = fetch(&service, &located, &mut download, &mut target).await;
        for (source, bytes) in download.list_taken() {
            let counter =
                if source.is_service { &self.counters.service_bytes } else { &self.counters.mirror_bytes };
            add(counter, bytes);
        }
        for (source, trouble) in download.list_troubles() {
            count(&self.counters.troubles);
            tracing::info!(digest = %blob.digest, host = source.host(), trouble, "another source was asked");
        }
        self.counters.running.fetch_sub(1, Ordering::Relaxed);
        match &result {
            Ok(()) => count(&self.counters.blobs),
            Err(error) => {
                count(&self.counters.lost_blobs);
                tracing::warn!(digest = %blob.digest, %error, "a blob did not come");
                let cell = self.blobs().get(&blob.digest).cloned();
                cell.inspect(|it| self.forget(&blob.digest, it));
            }
        }
        blob.progress.send_modify(|it| {
            it.ready = if result.is_ok() { blob.size } else { it.ready };
            it.ended = Some(result.map_err(|error| error.to_string()));
        });
        self.evict();
    }

    /// Lets the next one who asks begin anew.
    fn forget(&self, digest: &Digest, cell: &Cell) {
        let mut blobs = self.blobs();
        if blobs.get(digest).is_some_and(|it| Arc::ptr_eq(it, cell)) {
            blobs.remove(digest);
        }
    }

    /// Forgets the blobs that were not asked for the longest, until the others fit.
    fn evict(&self) {
        let mut blobs = self.blobs();
        let mut total: u64 = blobs.values().filter_map(|it| it.get()).map(|it| it.size).sum();
        let idle = |it: &Cell| it.get().filter(|blob| blob.is_idle()).cloned();
        let mut idle: Vec<Arc<Blob>> = blobs.values().filter_map(idle).collect();
        idle.sort_by_key(|it| *it.used.lock().unwrap_or_else(PoisonError::into_inner));
        for blob in idle {
            if total <= self.limit {
                return;
            }
            total -= blob.size;
            blobs.remove(&blob.digest);
        }
    }

    fn blobs(&self) -> MutexGuard<'_, HashMap<Digest, Cell>> {
        self.blobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Blob {
    fn is_idle(&self) -> bool {
        self.readers.load(Ordering::Relaxed) == 0 && self.progress.borrow().ended.is_some()
    }
}

/// Writes into a blob's file and tells its readers what they may have.
struct ToBlob<'a> {
    blob: &'a Blob,
    unread_since: Option<Instant>,
    /// What was sent turned out wrong.
    is_broken: bool,
}

impl Target for ToBlob<'_> {
    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.blob.file.write_all_at(bytes, offset)
    }

    fn read(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.blob.file.read_exact_at(bytes, offset)
    }

    /// The last piece waits until the whole is verified.
    fn advanced(&mut self, download: &Download) -> io::Result<()> {
        let ready = match download.is_in_pieces() {
            true => download.verified(),
            false => download.contiguous().saturating_sub(HELD_BACK),
        };
        let told = self.blob.progress.borrow().ready;
        self.is_broken |= download.contiguous() < told;
        if ready > told && !download.is_done() {
            self.blob.progress.send_modify(|it| it.ready = ready);
        }
        Ok(())
    }

    fn is_wanted(&mut self) -> bool {
        if self.blob.readers.load(Ordering::Relaxed) > 0 {
            self.unread_since = None;
        } else if self.unread_since.get_or_insert_with(Instant::now).elapsed() > ABANDON {
            return false;
        }
        !self.is_broken
    }
}

/// Follows a blob.
pub(super) struct Reader {
    blob: Arc<Blob>,
    progress: watch::Receiver<Progress>,
}

impl Reader {
    fn new(blob: Arc<Blob>) -> Self {
        blob.readers.fetch_add(1, Ordering::Relaxed);
        *blob.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        Self { progress: blob.progress.subscribe(), blob }
    }

    pub(super) fn size(&self) -> u64 {
        self.blob.size
    }

    /// Waits until bytes from `offset` on may be sent; returns up to where.
    pub(super) async fn ready(&mut self, offset: u64) -> Result<u64, StoreError> {
        let is_told = |it: &Progress| it.ready > offset || it.ended.is_some();
        let closed = |_| StoreError::Lost("the download has ended".to_owned());
        let progress = self.progress.wait_for(is_told).await.map_err(closed)?;
        match &progress.ended {
            Some(Err(reason)) if progress.ready <= offset => Err(StoreError::Lost(reason.clone())),
            _ => Ok(progress.ready),
        }
    }

    /// The next verified bytes from `offset` on, at most up to `end`; some at least.
    pub(super) async fn chunk(&mut self, offset: u64, end: u64) -> Result<Bytes, StoreError> {
        let ready = self.ready(offset).await?;
        let length = (end.min(ready) - offset).min(CHUNK) as usize;
        let blob = self.blob.clone();
        let read = move || {
            let mut bytes = vec![0; length];
            blob.file.read_exact_at(&mut bytes, offset).map(|()| Bytes::from(bytes))
        };
        let read = tokio::task::spawn_blocking(read).await;
        read.map_err(io::Error::other).flatten().map_err(|error| StoreError::Lost(error.to_string()))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.blob.readers.fetch_sub(1, Ordering::Relaxed);
    }
}
