//! Carries out what a [`Download`] decides.

use std::{collections::HashMap, future::Future, io, time::Instant};

use futures_util::{
    StreamExt as _,
    future::{AbortHandle, Abortable, abortable},
    stream::FuturesUnordered,
};
use tokio::time::{Duration, MissedTickBehavior, interval};
use tokio_util::bytes::Bytes;

use super::{
    download::{Ask, Delivered, Download, Trouble},
    service::{Located, Service},
    whole::Whole,
};
use crate::connector::{Connector, MirrorBody, Outcome};

/// How often it is looked whether requests stand still.
const TICK: Duration = Duration::from_millis(100);

/// So much of a target is read at once.
const CHUNK: usize = 256 * 1024;

/// Where the bytes of a blob go.
pub(super) trait Target {
    /// Bytes that belong at `offset`. They are not verified yet.
    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Bytes that were written at `offset`, as many as `bytes` takes.
    fn read(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()>;

    /// Bytes were written.
    fn advanced(&mut self, download: &Download) -> io::Result<()>;

    /// Does anybody still want the blob?
    fn is_wanted(&mut self) -> bool {
        true
    }
}

/// Why a blob did not come.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No source is left. What came is kept.
    #[error("nobody sends the right bytes: {0}")]
    Lost(String),
    /// The bytes cannot be kept.
    #[error("writing the blob: {0}")]
    Write(#[from] io::Error),
    /// Nobody wants it any more.
    #[error("nobody wants the blob any more")]
    Unwanted,
}

/// What became of a request, one step further.
enum Heard {
    Opened(MirrorBody),
    Bytes(MirrorBody, Bytes),
    Ended(Result<(), Trouble>),
}

/// One step of a request.
enum Step {
    Open(Ask),
    Read(MirrorBody),
}

/// Fetches what is missing of a blob. Then all of it is in `target`, and has the right digest.
pub(super) async fn fetch(
    service: &Service,
    located: &Located,
    download: &mut Download,
    target: &mut impl Target,
) -> Result<(), FetchError> {
    let result = if download.is_in_pieces() {
        by_pieces(service, located, download, target).await
    } else {
        work(&service.connector, located.size(), download, target).await
    };
    service.learn(download);
    result
}

/// Right pieces need not be the right blob, and right bytes may be refused by wrong hashes of pieces. The blob's
/// digest decides: where the hashes are wrong, it goes on without them.
async fn by_pieces(
    service: &Service,
    located: &Located,
    download: &mut Download,
    target: &mut impl Target,
) -> Result<(), FetchError> {
    let mut whole = Whole::new(located.digest, target);
    let result = work(&service.connector, located.size(), download, &mut whole).await;
    let kept = match result {
        Ok(()) => match whole.judge(located.size()).await? {
            true => return Ok(()),
            false => 0,
        },
        Err(FetchError::Lost(_)) if download.doubts_pieces() => download.verified(),
        Err(error) => return Err(error),
    };
    tracing::warn!(digest = %located.digest, "the registry has wrong hashes of its pieces; it goes without them");
    service.distrust_pieces(located.digest);
    download.start_again(located.whole());
    resume(download, target, kept)?;
    work(&service.connector, located.size(), download, target).await
}

/// Takes over what is in `target` already, up to `end`; `download` judges it.
pub(super) fn resume(download: &mut Download, target: &impl Target, end: u64) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    for offset in (0..end).step_by(CHUNK) {
        let length = usize::try_from(end - offset).unwrap_or(CHUNK).min(CHUNK);
        target.read(offset, &mut chunk[..length])?;
        download.resume(offset, &chunk[..length]);
    }
    Ok(())
}

async fn work(
    connector: &Connector,
    size: u64,
    download: &mut Download,
    target: &mut impl Target,
) -> Result<(), FetchError> {
    let mut steps = FuturesUnordered::new();
    let mut handles = HashMap::new();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        while let Some(ask) = download.next(Instant::now()) {
            let id = ask.id;
            tracing::debug!(url = ask.url, from = ask.range.start, to = ask.range.end, "asking");
            steps.push(start(&mut handles, id, take_step(connector, id, size, Step::Open(ask))));
        }
        if download.is_done() {
            return Ok(());
        }
        if download.is_lost() {
            return Err(FetchError::Lost(render_troubles(download)));
        }
        tokio::select! {
            Some(heard) = steps.next(), if !steps.is_empty() => {
                let Ok((id, heard)) = heard else { continue }; // it was cancelled
                if let Some(body) = take(download, target, &handles, id, heard)? {
                    steps.push(start(&mut handles, id, take_step(connector, id, size, Step::Read(body))));
                }
            }
            _ = ticks.tick() => {
                cancel(&handles, &download.tick(Instant::now()));
                if !target.is_wanted() {
                    return Err(FetchError::Unwanted);
                }
            }
        }
    }
}

fn start<F: Future>(handles: &mut HashMap<u32, AbortHandle>, id: u32, step: F) -> Abortable<F> {
    let (step, handle) = abortable(step);
    handles.insert(id, handle);
    step
}

fn cancel(handles: &HashMap<u32, AbortHandle>, ids: &[u32]) {
    ids.iter().filter_map(|id| handles.get(id)).for_each(AbortHandle::abort);
}

async fn take_step(connector: &Connector, id: u32, size: u64, step: Step) -> (u32, Heard) {
    let heard = match step {
        Step::Open(ask) => match connector.open(&ask.url, ask.range, size).await {
            Outcome::Present(body) => Heard::Opened(body),
            Outcome::Absent => Heard::Ended(Err(Trouble::Final("it has no such file".to_owned()))),
            Outcome::Damaged(reason) | Outcome::Broken(reason) | Outcome::Wrong(reason) => {
                Heard::Ended(Err(Trouble::Final(reason)))
            }
            Outcome::Unreachable(reason) | Outcome::NoRoute(reason) => {
                Heard::Ended(Err(Trouble::Passing(reason)))
            }
        },
        Step::Read(mut body) => match body.chunk().await {
            Ok(Some(bytes)) => Heard::Bytes(body, bytes),
            Ok(None) => Heard::Ended(Ok(())),
            Err(reason) => Heard::Ended(Err(Trouble::Passing(reason))),
        },
    };
    (id, heard)
}

/// Takes over what a request has brought. Returns the body if more of it is to be read.
fn take(
    download: &mut Download,
    target: &mut impl Target,
    handles: &HashMap<u32, AbortHandle>,
    id: u32,
    heard: Heard,
) -> Result<Option<MirrorBody>, FetchError> {
    let now = Instant::now();
    match heard {
        Heard::Opened(body) => Ok(download.opened(id, body.offset(), now).then_some(body)),
        Heard::Ended(result) => {
            if let Err(trouble) = &result {
                tracing::debug!(?trouble, "a request failed");
            }
            download.end(id, result, now);
            Ok(None)
        }
        Heard::Bytes(body, bytes) => {
            let Delivered { writes, cancelled } = download.deliver(id, &bytes, now);
            for (offset, range) in writes {
                target.write(offset, &bytes[range])?;
            }
            target.advanced(download)?;
            cancel(handles, &cancelled);
            if download.is_through(id) {
                download.end(id, Ok(()), now);
                return Ok(None);
            }
            Ok(Some(body))
        }
    }
}

fn render_troubles(download: &Download) -> String {
    let told = download.list_troubles().map(|(source, reason)| format!("{}: {reason}", source.host()));
    let told: Vec<String> = told.collect();
    if told.is_empty() { "there is no source".to_owned() } else { told.join("; ") }
}
