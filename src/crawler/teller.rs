//! Tells people what crawls found. Crawls never wait for it: what cannot be queued is dropped, and said so.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::{sync::mpsc, task::JoinHandle};

use super::visit::blocking;
use crate::{
    connector::{self, Webhook},
    database::{
        self, Database,
        crawl::{CrawlHost, CrawlResult},
    },
    mirror::CrawlState,
    notice::{self, Event, Mailer, Notice},
};

/// Notices that wait to be sent.
const QUEUE: usize = 1_000;

/// How long the end waits for notices that are not sent yet.
const LAST_WAIT: Duration = Duration::from_secs(10);

/// Why notices cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum TellerError {
    /// Not by mail.
    #[error(transparent)]
    Mail(#[from] notice::Error),
    /// Not to the webhook.
    #[error(transparent)]
    Webhook(#[from] connector::Error),
}

/// Sends notices, one after the other.
pub(super) struct Teller {
    queue: mpsc::Sender<Notice>,
    worker: JoinHandle<()>,
}

impl Teller {
    /// `None` when nobody is to be told.
    pub(super) fn start(config: &notice::Config, user_agent: &str) -> Result<Option<Self>, TellerError> {
        let mailer = Mailer::new(config)?;
        let timeout = config.timeout.unsigned_abs();
        let webhook = match config.webhook.as_str() {
            "" => None,
            url => Some(Webhook::new(url, user_agent, timeout)?),
        };
        if mailer.is_none() && webhook.is_none() {
            return Ok(None);
        }
        let (queue, waiting) = mpsc::channel(QUEUE);
        Ok(Some(Self { queue, worker: tokio::spawn(send_all(waiting, mailer, webhook)) }))
    }

    /// Tells what a crawl has changed. Call it when its result is stored.
    pub(super) async fn tell(&self, database: &Arc<Database>, host: &CrawlHost, result: &CrawlResult) {
        let events = events(host, result);
        if events.is_empty() {
            return;
        }
        let name = host.name.clone();
        let found = blocking(database, move |it| it.read(|it| database::host::find(it, &name))).await;
        let contacts: Vec<String> = match found {
            Ok(row) => row.map(|it| it.contacts.lines().map(str::to_owned).collect()).unwrap_or_default(),
            Err(error) => {
                tracing::warn!(host.name = %host.name, %error, "its contacts cannot be read; they are not told");
                Vec::new()
            }
        };
        for (event, reason) in events {
            let notice = Notice {
                event,
                host: host.name.clone(),
                at: Timestamp::from(result.started_at),
                reason,
                log: result.log.lines().map(str::to_owned).collect(),
                contacts: contacts.clone(),
            };
            if self.queue.try_send(notice).is_err() {
                tracing::warn!(host.name = %host.name, "too many notices wait; this one is not sent");
            }
        }
    }

    /// Waits a while for what is not sent yet.
    pub(super) async fn finish(self) {
        drop(self.queue);
        if tokio::time::timeout(LAST_WAIT, self.worker).await.is_err() {
            tracing::warn!("not all notices were sent before the end");
        }
    }
}

/// What there is to tell, and why. Only what is new.
fn events(host: &CrawlHost, result: &CrawlResult) -> Vec<(Event, String)> {
    let mut events = Vec::new();
    match (&host.auto_disabled, &result.auto_disabled) {
        (None, Some(reason)) => events.push((Event::Off, reason.clone())),
        (Some(_), None) => events.push((Event::On, String::new())),
        _ => {}
    }
    let was_lying = |id| {
        let known = host.categories.iter().find(|it| it.host_category == id);
        let state = known.and_then(|it| it.holdings.as_ref()).map(|it| it.state);
        state == Some(CrawlState::Lying)
    };
    let lies = result.holdings.iter().filter(|it| it.state == CrawlState::Lying);
    let mut new = lies.filter(|it| !was_lying(it.host_category));
    if let Some(first) = new.next() {
        events.push((Event::Lying, first.reason.clone()));
    }
    events
}

async fn send_all(mut waiting: mpsc::Receiver<Notice>, mailer: Option<Mailer>, webhook: Option<Webhook>) {
    while let Some(notice) = waiting.recv().await {
        if let Some(mailer) = &mailer {
            for fault in mailer.send(&notice).await {
                tracing::warn!(host.name = %notice.host, "{fault}");
            }
        }
        let Some(webhook) = &webhook else { continue };
        let json = serde_json::to_vec(&notice).unwrap_or_default();
        if let Err(reason) = webhook.post(json).await {
            tracing::warn!(host.name = %notice.host, reason, "the webhook was not told");
        }
    }
}
