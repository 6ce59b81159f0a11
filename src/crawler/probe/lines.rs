//! How one question is put: on a kept connection, and when its answer is late, on a new one beside that.

use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;

use super::{
    life::FAILURES_UNTIL_DOWN,
    watch::{Asked, Question},
};
use crate::{
    connector::{self, Connector, Family, Guard, Probed},
    mirror::{HostUrl, blob_path},
    tree::{CANARY, CANARY_DIGEST},
};

/// An answer that is not there after so long is late: where clients are sent, the question is put a second time,
/// on a new connection, beside the first.
pub(super) const LATE: Duration = Duration::from_millis(400);

/// Our timer and the connector's are so far apart at most.
const APART: Duration = Duration::from_millis(100);

/// The ways to ask by one family.
pub(super) struct Lines {
    /// On kept connections.
    pub(super) kept: Connector,
    /// On new ones.
    pub(super) new: Connector,
    /// How long an answer may take.
    pub(super) timeout: Duration,
}

/// A question on its way.
pub(super) enum Way<'a> {
    Asked(Question, Asked),
    /// No answer yet, since then.
    Late(Question, Instant, BoxFuture<'a, Probed>),
}

impl Lines {
    /// Fails when the HTTP client cannot be made.
    pub(super) fn new(
        guard: &Guard,
        family: Family,
        name: &str,
        timeout: Duration,
    ) -> Result<Self, connector::Error> {
        let kept = Connector::new(guard.clone(), family, name, timeout)?;
        let new = Connector::without_kept_connections(guard.clone(), family, name, timeout)?;
        Ok(Self { kept, new, timeout })
    }

    /// Asks on a kept connection. Ends early where the question is to be put a second time.
    pub(super) async fn ask(&self, question: Question) -> Way<'_> {
        let (began, url) = (Instant::now(), question.url.clone());
        let answer = async move { ask_canary(&self.kept, &url).await };
        let mut answer: BoxFuture<'_, Probed> = Box::pin(answer);
        if question.in_use {
            tokio::select! {
                probed = &mut answer => Way::Asked(question, Asked { probed, weight: 1 }),
                () = tokio::time::sleep(LATE) => Way::Late(question, began, answer),
            }
        } else {
            Way::Asked(question, Asked { probed: answer.await, weight: 1 })
        }
    }

    /// Asks a second time, beside the first. The first good answer counts; two bad ones for two, and for more when
    /// there was none in time on either connection.
    pub(super) async fn ask_beside<'a>(
        &'a self,
        question: Question,
        began: Instant,
        mut first: BoxFuture<'a, Probed>,
    ) -> Way<'a> {
        let url = question.url.clone();
        let second = ask_canary(&self.new, &url);
        let second = tokio::time::timeout(self.timeout.saturating_sub(LATE), second);
        tokio::pin!(second);
        let in_time =
            |it: Result<Probed, _>| it.unwrap_or_else(|_| Probed::Failed("no answer in time".into()));
        let (one, other) = tokio::select! {
            one = &mut first => match one {
                Probed::Good => (Probed::Good, None),
                one => (one, Some(in_time(second.await))),
            },
            other = &mut second => match in_time(other) {
                Probed::Good => (Probed::Good, None),
                other => (first.await, Some(other)),
            },
        };
        let probed = if other == Some(Probed::Good) { Probed::Good } else { one };
        let is_silent = began.elapsed() + APART >= self.timeout;
        let weight = if is_silent { FAILURES_UNTIL_DOWN } else { 2 };
        Way::Asked(question, Asked { probed, weight })
    }
}

async fn ask_canary(connector: &Connector, url: &HostUrl) -> Probed {
    connector.probe(url, &blob_path(&CANARY_DIGEST), CANARY).await
}
