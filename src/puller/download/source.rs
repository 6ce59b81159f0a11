//! What one source of a blob has shown of itself.

use std::time::{Duration, Instant};

/// After so many failures without progress a source is given up for this blob.
pub(crate) const STRIKES: u32 = 4;

/// How long a source is left alone after a failure; it doubles with each.
const REST: Duration = Duration::from_millis(500);

/// Why a request did not bring all that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It makes no sense to ask this source again: it lacks the blob, or has other bytes.
    Final(String),
    /// It may be better the next time: no answer, too many requests, a body that broke off.
    Passing(String),
}

/// A place that a blob can be fetched from, best first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// Of the blob itself.
    pub(crate) url: String,
    /// The service itself: asked when no mirror is left.
    pub(crate) is_service: bool,
}

impl Source {
    /// The host's name, and its port if that is not the usual one.
    pub(crate) fn host(&self) -> &str {
        let rest = self.url.split_once("://").map_or(self.url.as_str(), |it| it.1);
        rest.split('/').next().unwrap_or(rest)
    }
}

/// A source and what became of it.
pub(super) struct Standing {
    pub(super) source: Source,
    /// Answers now.
    pub(super) busy: bool,
    /// Sends the whole whatever is asked for.
    pub(super) ignores_range: bool,
    strikes: u32,
    /// Bytes since the last failure.
    progress: u64,
    rest_until: Option<Instant>,
    /// Why it is given up.
    pub(super) out: Option<String>,
    /// The last trouble with it.
    pub(super) last: Option<String>,
    /// In bytes a second, of its last requests.
    pub(super) rate: Option<f64>,
    /// Bytes from it that were taken.
    pub(super) taken: u64,
}

impl Standing {
    pub(super) fn new(source: Source) -> Self {
        Self {
            source,
            busy: false,
            ignores_range: false,
            strikes: 0,
            progress: 0,
            rest_until: None,
            out: None,
            last: None,
            rate: None,
            taken: 0,
        }
    }

    /// As if nothing had gone wrong with it.
    pub(super) fn forgive(self) -> Self {
        Self { taken: self.taken, rate: self.rate, ..Self::new(self.source) }
    }

    /// May it be asked now?
    pub(super) fn is_free(&self, now: Instant) -> bool {
        self.out.is_none() && !self.busy && self.rest_until.is_none_or(|it| it <= now)
    }

    /// The lower, the earlier it is asked; among equals the list decides.
    pub(super) fn order(&self) -> (bool, u32) {
        (self.source.is_service, self.strikes)
    }

    pub(super) fn advance(&mut self, bytes: u64) {
        self.progress += bytes;
        self.taken += bytes;
    }

    /// No failure, but others go first from now on.
    pub(super) fn demote(&mut self, reason: &str, now: Instant) {
        self.strikes = self.strikes.max(1);
        self.rest_until = Some(now + REST);
        self.last = Some(reason.to_owned());
    }

    /// A failure. After more than `enough` bytes of progress it counts as the first.
    pub(super) fn strike(&mut self, trouble: Trouble, enough: u64, now: Instant) {
        match trouble {
            // The service may send us elsewhere, and elsewhere again the next time.
            Trouble::Final(reason) if !self.source.is_service => {
                self.last = Some(reason.clone());
                self.out = Some(reason);
            }
            Trouble::Final(reason) | Trouble::Passing(reason) => {
                self.strikes = if self.progress >= enough { 1 } else { self.strikes + 1 };
                self.progress = 0;
                self.rest_until = Some(now + REST * 2u32.pow(self.strikes - 1));
                self.last = Some(reason.clone());
                if self.strikes >= STRIKES {
                    self.out = Some(reason);
                }
            }
        }
    }
}
