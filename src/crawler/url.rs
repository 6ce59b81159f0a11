//! One visit to one URL of a host.

use std::{collections::BTreeMap, future::Future};

use futures_util::{StreamExt, stream};
use tokio::time::{Instant, timeout_at};

use super::{
    Claim, Config,
    plan::{Findings, Plan, Verdict, unanswered},
};
use crate::{
    connector::{self, Connector, Family, Guard, Outcome},
    database::{
        crawl::{CategoryTruth, CrawlBlob, UrlReach},
        host_category::HostCategoryUrl,
    },
    mirror::{HostUrl, Reach, Serial, blob_path},
    oci,
    tree::{CANARY, CANARY_DIGEST, SERIAL_PATH},
};

/// How many requests in a row may stay without an answer until a URL is left alone.
const FAILURES_IN_A_ROW: usize = 5;

/// The longest `zz/serial` that is read, in bytes.
const SERIAL_LIMIT: usize = 200;

/// Why the rest of a host was not asked for.
pub(super) const TOO_LONG: &str = "the crawl of this host took too long";

/// Asks the URLs of hosts, by either address family.
pub(super) struct Visitor {
    ipv4: Connector,
    ipv6: Connector,
    connections: usize,
    hash_bytes: u64,
}

/// Whether one URL answers.
pub(super) struct Probe {
    /// `None` if even that took too long.
    pub(super) reach: Option<UrlReach>,
    /// By IPv4 and by IPv6.
    canaries: [Outcome; 2],
}

/// What one URL gave.
pub(super) struct Visit {
    /// `None` if even that took too long.
    pub(super) reach: Option<UrlReach>,
    pub(super) serial: Option<Serial>,
    pub(super) verdict: Verdict,
}

impl Visitor {
    pub(super) fn new(config: &Config) -> Result<Self, connector::Error> {
        let guard =
            Guard::new(config.allow_networks.iter().copied()).with_ports(config.allow_ports.iter().copied());
        let timeout = config.timeout.unsigned_abs();
        let connector = |family| Connector::new(guard.clone(), family, &config.user_agent(), timeout);
        Ok(Self {
            ipv4: connector(Family::Ipv4)?,
            ipv6: connector(Family::Ipv6)?,
            connections: config.connections.max(1),
            hash_bytes: config.hash_bytes,
        })
    }

    /// Asks whether the URL can be reached, and what it holds of the category. Ends at the deadline.
    pub(super) async fn visit(
        &self,
        url: &HostCategoryUrl,
        truth: &CategoryTruth,
        seed: u64,
        deadline: Instant,
    ) -> Visit {
        let Probe { reach, canaries: [ipv4, ipv6] } = self.probe(url, deadline).await;
        if reach.is_none() {
            return Visit { reach, serial: None, verdict: Verdict::unreachable(TOO_LONG) };
        }
        let connector = match self.choose(&ipv4, &ipv6) {
            Ok(connector) => connector,
            Err(verdict) => return Visit { reach, serial: None, verdict },
        };
        let look = Look { visitor: self, connector, url: &url.url, deadline };
        let (serial, verdict) = look.judge(truth, seed).await;
        Visit { reach, serial, verdict }
    }

    /// Asks whether the URL can be reached. Ends at the deadline.
    pub(super) async fn probe(&self, url: &HostCategoryUrl, deadline: Instant) -> Probe {
        let probe = async { [probe(&self.ipv4, &url.url).await, probe(&self.ipv6, &url.url).await] };
        let Ok(canaries) = timeout_at(deadline, probe).await else {
            let canaries = [(); 2].map(|()| Outcome::Unreachable(TOO_LONG.to_owned()));
            return Probe { reach: None, canaries };
        };
        let [ipv4, ipv6] = &canaries;
        let reach =
            UrlReach { url: url.id, ipv4: reach(ipv4), ipv6: reach(ipv6), reason: down_reason(ipv4, ipv6) };
        Probe { reach: Some(reach), canaries }
    }

    /// By which family to look on: one that gave the canary; else one that answered, for a first rsync that
    /// has not come to the canary may have come to others.
    fn choose(&self, ipv4: &Outcome, ipv6: &Outcome) -> Result<&Connector, Verdict> {
        match (ipv4, ipv6) {
            (Outcome::Present(()), _) => Ok(&self.ipv4),
            (_, Outcome::Present(())) => Ok(&self.ipv6),
            (Outcome::Damaged(reason) | Outcome::Wrong(reason), _)
            | (_, Outcome::Damaged(reason) | Outcome::Wrong(reason)) => {
                Err(Verdict::lying(format!("the blob {CANARY_DIGEST}: {reason}")))
            }
            (Outcome::Absent, _) => Ok(&self.ipv4),
            (_, Outcome::Absent) => Ok(&self.ipv6),
            (Outcome::Unreachable(reason), _)
            | (_, Outcome::Unreachable(reason))
            | (Outcome::NoRoute(reason), Outcome::NoRoute(_)) => Err(Verdict::unreachable(reason.clone())),
        }
    }
}

/// Reads the canary, whose two bytes every serial of every category has.
async fn probe(connector: &Connector, url: &HostUrl) -> Outcome {
    match connector.fetch(url, &blob_path(&CANARY_DIGEST), CANARY.len()).await {
        Outcome::Present(bytes) if bytes != CANARY => Outcome::Damaged("it has other bytes".into()),
        outcome => outcome.map(drop),
    }
}

fn reach(canary: &Outcome) -> Reach {
    match canary {
        Outcome::Present(()) => Reach::Up,
        Outcome::NoRoute(_) => Reach::Unknown,
        Outcome::Absent | Outcome::Damaged(_) | Outcome::Wrong(_) | Outcome::Unreachable(_) => Reach::Down,
    }
}

fn down_reason(ipv4: &Outcome, ipv6: &Outcome) -> Option<String> {
    let reason = |canary: &Outcome| match canary {
        Outcome::Present(()) | Outcome::NoRoute(_) => None,
        Outcome::Absent => Some(format!("it answers, but lacks the blob {CANARY_DIGEST}")),
        Outcome::Damaged(reason) | Outcome::Wrong(reason) | Outcome::Unreachable(reason) => {
            Some(reason.clone())
        }
    };
    let (one, other) = (Family::Ipv4, Family::Ipv6);
    match (reason(ipv4), reason(ipv6)) {
        (Some(first), Some(second)) if first == second => Some(format!("{one} and {other}: {first}")),
        (Some(first), Some(second)) => Some(format!("{one}: {first}; {other}: {second}")),
        (Some(reason), None) => Some(format!("{one}: {reason}")),
        (None, Some(reason)) => Some(format!("{other}: {reason}")),
        (None, None) => None,
    }
}

/// What is asked of a URL once it can be reached.
struct Look<'a> {
    visitor: &'a Visitor,
    connector: &'a Connector,
    url: &'a HostUrl,
    deadline: Instant,
}

impl Look<'_> {
    /// Asks as the plan says. The serial is the one that the host shows.
    async fn judge(&self, truth: &CategoryTruth, seed: u64) -> (Option<Serial>, Verdict) {
        let answer = self.in_time(self.connector.fetch(self.url, SERIAL_PATH, SERIAL_LIMIT)).await;
        let claim = match Claim::judge(self.url, &answer, &truth.states) {
            Ok(claim) => claim,
            Err(reason) => return (None, Verdict::unreachable(reason)),
        };
        let plan = Plan::new(truth, &claim, seed);
        let mut findings = Findings::default();
        let mut files = plan.first_files();
        while !files.is_empty() && findings.stopped.is_none() {
            let round = self.ask(files, |it| self.head(it)).await;
            findings.heads.extend(round.answers);
            findings.stopped = round.stopped;
            files = plan.further_files(&findings);
        }
        if findings.stopped.is_none() {
            self.look_inside(&plan, &mut findings).await;
        }
        (claim.serial(), plan.verdict(&findings))
    }

    /// Range and bodies of files that are there.
    async fn look_inside(&self, plan: &Plan<'_>, findings: &mut Findings) {
        if let Some((file, range)) = plan.range(findings) {
            let path = path(&file);
            let answer = self.connector.fetch_range(self.url, &path, range, file.size);
            let answer = self.in_time(answer).await.map(drop);
            let is_good = answer == Outcome::Present(());
            findings.range = Some(answer);
            if !is_good {
                return;
            }
        }
        let files = plan.bodies(findings, self.visitor.hash_bytes);
        findings.bodies = self.ask(files, |it| self.hash(it)).await.answers;
    }

    async fn head(&self, file: CrawlBlob) -> Outcome {
        self.in_time(self.connector.head(self.url, &path(&file), file.size)).await
    }

    async fn hash(&self, file: CrawlBlob) -> Outcome {
        let path = path(&file);
        self.in_time(self.connector.hash(self.url, &path, file.digest.into(), file.size)).await
    }

    /// Asks about files, in their order, so many at once; leaves off when the host answers no more.
    async fn ask<F: Future<Output = Outcome>>(
        &self,
        files: Vec<CrawlBlob>,
        question: impl Fn(CrawlBlob) -> F,
    ) -> Round {
        let asked = files.into_iter().map(|file| {
            let answer = question(file);
            async move { (file.number, answer.await) }
        });
        let mut answered = stream::iter(asked).buffer_unordered(self.visitor.connections);
        let mut round = Round { answers: BTreeMap::new(), stopped: None };
        let mut failures = 0;
        while let Some((number, outcome)) = answered.next().await {
            failures = unanswered(&outcome).map_or(0, |_| failures + 1);
            if failures == FAILURES_IN_A_ROW {
                let reason = unanswered(&outcome).unwrap_or_default();
                round.stopped = Some(format!("{failures} requests in a row failed: {reason}"));
            }
            round.answers.insert(number, outcome);
            if round.stopped.is_some() {
                break;
            }
        }
        round
    }

    /// No answer counts after the deadline.
    async fn in_time<T>(&self, answer: impl Future<Output = Outcome<T>>) -> Outcome<T> {
        timeout_at(self.deadline, answer).await.unwrap_or_else(|_| Outcome::Unreachable(TOO_LONG.into()))
    }
}

/// The answers to one kind of question.
struct Round {
    answers: BTreeMap<u32, Outcome>,
    /// Why not all files were asked for.
    stopped: Option<String>,
}

fn path(file: &CrawlBlob) -> String {
    blob_path(&oci::Digest::from(file.digest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mirror::CrawlState;

    #[test]
    fn each_family_counts_by_itself() {
        let visitor = Visitor::new(&Config::default()).unwrap();
        let (up, absent, none) = (Outcome::Present(()), Outcome::Absent, Outcome::NoRoute("no route".into()));
        let (wrong, dead) = (Outcome::Wrong("a page".into()), Outcome::Unreachable("no answer".into()));
        #[track_caller]
        fn check(
            visitor: &Visitor,
            ipv4: &Outcome,
            ipv6: &Outcome,
            chosen: &str,
            reaches: [Reach; 2],
            why: &str,
        ) {
            let found = match visitor.choose(ipv4, ipv6) {
                Ok(connector) if std::ptr::eq(connector, &visitor.ipv4) => "IPv4".to_owned(),
                Ok(_) => "IPv6".to_owned(),
                Err(verdict) => {
                    assert_eq!(verdict.held.is_some(), verdict.state == CrawlState::Lying);
                    verdict.state.to_string()
                }
            };
            assert_eq!((found.as_str(), [reach(ipv4), reach(ipv6)]), (chosen, reaches));
            assert_eq!(down_reason(ipv4, ipv6).unwrap_or_default(), why);
        }
        use Reach::{Down, Unknown, Up};
        check(&visitor, &up, &none, "IPv4", [Up, Unknown], "");
        check(&visitor, &none, &up, "IPv6", [Unknown, Up], "");
        check(&visitor, &dead, &up, "IPv6", [Down, Up], "IPv4: no answer");
        check(&visitor, &up, &wrong, "IPv4", [Up, Down], "IPv6: a page");
        check(&visitor, &wrong, &none, "lying", [Down, Unknown], "IPv4: a page");
        check(&visitor, &dead, &wrong, "lying", [Down, Down], "IPv4: no answer; IPv6: a page");
        check(&visitor, &dead, &dead, "unreachable", [Down, Down], "IPv4 and IPv6: no answer");
        check(&visitor, &dead, &none, "unreachable", [Down, Unknown], "IPv4: no answer");
        check(&visitor, &none, &none, "unreachable", [Unknown, Unknown], "");
        let lacks = format!("IPv6: it answers, but lacks the blob {CANARY_DIGEST}");
        check(&visitor, &dead, &absent, "IPv6", [Down, Down], &format!("IPv4: no answer; {lacks}"));
    }
}
