//! What people are told of hosts, sites and accounts: on the command line, at the desk and in the API, what their admins have to
//! repair, and, by mail and webhook, what happens. Nobody waits for the last: what cannot be queued is dropped, and said so.

mod account;
mod host;
mod repair;
mod site;

use std::time::Duration;

use tokio::{sync::mpsc, task::JoinHandle};

use crate::{
    connector::{self, Webhook},
    notice::{self, Mailer, Notice},
};

pub use account::AccountView;
pub use host::{CategoryView, ClientsView, CrawlView, HostView, SentView, UrlView};
pub use repair::{list_repair_files, list_repairs};
pub use site::SiteView;

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
pub struct Teller {
    queue: mpsc::Sender<Notice>,
    worker: JoinHandle<()>,
}

impl Teller {
    /// `None` when nobody is to be told.
    pub fn start(config: &notice::Config, user_agent: &str) -> Result<Option<Self>, TellerError> {
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

    /// Sends a notice when its turn comes; does not wait for it.
    pub fn tell(&self, notice: Notice) {
        if let Err(error) = self.queue.try_send(notice) {
            let notice = error.into_inner();
            tracing::warn!(about = notice.about(), "too many notices wait; this one is not sent");
        }
    }

    /// Waits a while for what is not sent yet.
    pub async fn finish(self) {
        drop(self.queue);
        if tokio::time::timeout(LAST_WAIT, self.worker).await.is_err() {
            tracing::warn!("not all notices were sent before the end");
        }
    }
}

async fn send_all(mut waiting: mpsc::Receiver<Notice>, mailer: Option<Mailer>, webhook: Option<Webhook>) {
    while let Some(notice) = waiting.recv().await {
        if let Some(mailer) = &mailer {
            for fault in mailer.send(&notice).await {
                tracing::warn!(about = notice.about(), "{fault}");
            }
        }
        let Some(webhook) = &webhook else { continue };
        let json = serde_json::to_vec(&notice).unwrap_or_default();
        if let Err(reason) = webhook.post(json).await {
            tracing::warn!(about = notice.about(), reason, "the webhook was not told");
        }
    }
}
