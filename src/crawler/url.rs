//! One visit to one URL of a host.

use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use tokio::time::{Instant, timeout_at};

use super::{
    Claim, Config,
    plan::{Findings, Known, Memory, Occasion, Plan, SPEED_BYTES, Verdict, unanswered},
};
use crate::{
    connector::{self, Connector, Family, Guard, Manners, Meter, Outcome, Pace},
    database::{
        Time,
        crawl::{CategoryTruth, CrawlBlob, UrlFacts, UrlReach},
        host_category::HostCategoryUrl,
    },
    mirror::{HostUrl, MultiRange, Reach, RsyncUrl, Serial, blob_path},
    oci,
    tree::{CANARY, CANARY_DIGEST, SERIAL_PATH},
};

/// How many requests in a row may stay without an answer until a URL is left alone.
const FAILURES_IN_A_ROW: usize = 5;

/// The longest `zz/serial` that is read, in bytes.
const SERIAL_LIMIT: usize = 200;

/// How old, in seconds, the facts of a URL may be before they are found out anew.
const FACTS_AGE: i64 = 23 * 60 * 60;

/// The least that is measured for a speed, in bytes: a quarter of what is asked for.
const SPEED_LEAST: u64 = SPEED_BYTES / 4;

/// Why the rest of a host was not asked for.
pub(super) const TOO_LONG: &str = "the crawl of this host took too long";

/// Asks the URLs of hosts, by either address family.
#[derive(Clone)]
pub(super) struct Visitor {
    ipv4: Connector,
    ipv6: Connector,
    connections: usize,
}

/// What to visit, and what is known of it.
pub(super) struct Target<'a> {
    pub(super) url: &'a HostCategoryUrl,
    pub(super) facts: Option<&'a UrlFacts>,
    pub(super) rsync_url: Option<&'a RsyncUrl>,
    pub(super) truth: &'a CategoryTruth,
    pub(super) known: &'a Known,
    pub(super) occasion: Occasion,
    /// After it nothing is asked.
    pub(super) deadline: Instant,
    /// After it no body is read, so that there is time for other URLs.
    pub(super) bodies_until: Instant,
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
    /// `None` when nothing was found out.
    pub(super) memory: Option<Memory>,
    /// `None` when they were not asked for.
    pub(super) facts: Option<UrlFacts>,
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
        })
    }

    /// The same for one host, with the manners that it is due.
    pub(super) fn paced(&self, pace: &Arc<Pace>) -> Self {
        let (ipv4, ipv6) = (self.ipv4.paced(pace.clone()), self.ipv6.paced(pace.clone()));
        Self { ipv4, ipv6, ..self.clone() }
    }

    /// The same visitor, whose requests are counted there.
    pub(super) fn counted_by(&self, meter: &Arc<Meter>) -> Self {
        let (ipv4, ipv6) = (self.ipv4.counted_by(meter.clone()), self.ipv6.counted_by(meter.clone()));
        Self { ipv4, ipv6, ..self.clone() }
    }

    /// Asks whether the URL can be reached, and what it holds of the category. Ends at the deadline.
    pub(super) async fn visit(&self, target: &Target<'_>) -> Visit {
        let nothing = |reach, verdict, memory| Visit { reach, serial: None, verdict, memory, facts: None };
        let Probe { reach, canaries: [ipv4, ipv6] } = self.probe(target.url, target.deadline).await;
        if reach.is_none() {
            return nothing(None, Verdict::unreachable(TOO_LONG), None);
        }
        let connector = match self.choose(&ipv4, &ipv6) {
            Ok(connector) => connector,
            Err(verdict) => {
                let caught = || Memory::caught(target.known, target.occasion.now);
                let memory = verdict.held.is_some().then(caught);
                return nothing(reach, verdict, memory);
            }
        };
        Visit { reach, ..Look { visitor: self, connector, target }.judge().await }
    }

    /// Asks whether the URL can be reached. Ends at the deadline.
    pub(super) async fn probe(&self, url: &HostCategoryUrl, deadline: Instant) -> Probe {
        let probe = async { [probe(&self.ipv4, &url.url).await, probe(&self.ipv6, &url.url).await] };
        let Ok(canaries) = timeout_at(deadline, probe).await else {
            return Probe { reach: None, canaries: [too_long(), too_long()] };
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
            (Outcome::Damaged(reason) | Outcome::Broken(reason) | Outcome::Wrong(reason), _)
            | (_, Outcome::Damaged(reason) | Outcome::Broken(reason) | Outcome::Wrong(reason)) => {
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
        Outcome::Absent
        | Outcome::Damaged(_)
        | Outcome::Broken(_)
        | Outcome::Wrong(_)
        | Outcome::Unreachable(_) => Reach::Down,
    }
}

fn down_reason(ipv4: &Outcome, ipv6: &Outcome) -> Option<String> {
    let reason = |canary: &Outcome| match canary {
        Outcome::Present(()) | Outcome::NoRoute(_) => None,
        Outcome::Absent => Some(format!("it answers, but lacks the blob {CANARY_DIGEST}")),
        Outcome::Damaged(reason)
        | Outcome::Broken(reason)
        | Outcome::Wrong(reason)
        | Outcome::Unreachable(reason) => Some(reason.clone()),
    };
    join_reasons(reason(ipv4), reason(ipv6))
}

/// Why a URL is down, of both families.
pub(super) fn join_reasons(ipv4: Option<String>, ipv6: Option<String>) -> Option<String> {
    let (one, other) = (Family::Ipv4, Family::Ipv6);
    match (ipv4, ipv6) {
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
    target: &'a Target<'a>,
}

impl Look<'_> {
    /// Asks as the plan says. The serial is the one that the host shows.
    async fn judge(&self) -> Visit {
        let Target { url, truth, known, occasion, .. } = *self.target;
        let answer = self.in_time(self.connector.fetch(&url.url, SERIAL_PATH, SERIAL_LIMIT)).await;
        let mut visit =
            Visit { reach: None, serial: None, verdict: Verdict::unreachable(""), memory: None, facts: None };
        let claim = match Claim::judge(&url.url, &answer, &truth.states) {
            Ok(claim) => self.listed(claim).await,
            Err(reason) => return Visit { verdict: Verdict::unreachable(reason), ..visit },
        };
        let plan = Plan::new(truth, &claim, known, occasion);
        let mut findings = Findings::default();
        let mut files = plan.first_files();
        while !files.is_empty() && findings.stopped.is_none() {
            let round = self.ask(files, |it| self.head(it)).await;
            findings.heads.extend(round.answers);
            findings.stopped = round.stopped;
            files = plan.further_files(&findings);
        }
        let mut notes = Vec::new();
        if findings.stopped.is_none() {
            visit.facts = self.look_inside(&plan, &mut findings, &mut notes).await;
        }
        visit.serial = claim.serial();
        visit.verdict = plan.verdict(&findings);
        visit.memory = plan.memory(&findings, &visit.verdict);
        visit.verdict.reasons.extend(notes);
        visit
    }

    /// Where the serial tells nothing, rsync may.
    async fn listed(&self, claim: Claim) -> Claim {
        let (Claim::Nothing(serial, reason), Some(url)) = (&claim, self.target.rsync_url) else {
            return claim;
        };
        let digests: HashMap<oci::Digest, &CrawlBlob> =
            self.target.truth.blobs.iter().map(|it| (it.digest.into(), it)).collect();
        let mut listed = roaring::RoaringBitmap::new();
        let found = |path: &str, size: u64| {
            let digest = path.rsplit('/').next().and_then(|it| format!("sha256:{it}").parse().ok());
            let Some(blob) = digest.as_ref().and_then(|it| digests.get(it)) else { return };
            if blob.size == size && path == self::path(blob) {
                listed.insert(blob.number);
            }
        };
        match self.in_time(self.connector.list_files(url, found)).await {
            Outcome::Present(()) => Claim::Listed(*serial, listed, reason.clone()),
            outcome => {
                let why = unanswered(&outcome).unwrap_or("its listing is not understood").to_owned();
                Claim::Nothing(*serial, format!("{reason}; {url}: {why}"))
            }
        }
    }

    /// Range, manners and bodies of files that are there. What is no reason to judge goes into `notes`.
    async fn look_inside(
        &self,
        plan: &Plan<'_>,
        findings: &mut Findings,
        notes: &mut Vec<String>,
    ) -> Option<UrlFacts> {
        let Occasion { now, is_asked_for, .. } = self.target.occasion;
        let is_old = |it: &UrlFacts| now.unix_seconds() - it.checked_at.unix_seconds() > FACTS_AGE;
        let is_due = is_asked_for || self.target.facts.is_none_or(is_old);
        let (file, range) = plan.range(findings, is_due)?;
        let (start, path) = (Instant::now(), path(&file));
        let answer = self.connector.fetch_range(&self.target.url.url, &path, range.clone(), file.size);
        let mut answer = self.in_time(answer).await.map(drop);
        let took = start.elapsed();
        if answer == Outcome::Present(()) {
            let plain = self.connector.check_plain_for_clients(&self.target.url.url, &path);
            answer = self.in_time(plain).await;
        }
        let is_good = answer == Outcome::Present(());
        findings.range = Some(answer);
        if !is_good {
            return None;
        }
        let facts = if is_due { Some(self.facts(speed(&range, took), notes).await) } else { None };
        self.read_bodies(plan.bodies(findings), findings, notes).await;
        facts
    }

    async fn facts(&self, bytes_per_second: Option<i64>, notes: &mut Vec<String>) -> UrlFacts {
        let canary = blob_path(&CANARY_DIGEST);
        let asked = self.connector.probe_manners(&self.target.url.url, &canary, CANARY);
        let (multi_range, keeps_alive, end) = match self.in_time(asked).await {
            Outcome::Present(Manners { multi_range, keeps_alive, certificate_ends_at }) => {
                (Some(multi_range), Some(keeps_alive), certificate_ends_at)
            }
            Outcome::Wrong(reason) | Outcome::Damaged(reason) | Outcome::Broken(reason) => {
                notes.push(reason);
                (Some(MultiRange::Wrong), None, None)
            }
            _ => (None, None, None),
        };
        UrlFacts {
            host_category_url_id: self.target.url.id,
            bytes_per_second,
            multi_range,
            keeps_alive,
            certificate_ends_at: end.and_then(|it| Timestamp::from_second(it).ok()).map(Time::from),
            checked_at: self.target.occasion.now,
        }
    }

    /// What is not read by its time says nothing of the mirror: another crawl reads it.
    async fn read_bodies(&self, files: Vec<CrawlBlob>, findings: &mut Findings, notes: &mut Vec<String>) {
        let wanted = files.len();
        let until = self.target.bodies_until;
        let round = self.ask(files, |it| async move { timeout_at(until, self.hash(it)).await.ok() }).await;
        findings.bodies = round.answers;
        if round.is_late {
            notes.push(format!("{} of {wanted} bodies were read: {TOO_LONG}", findings.bodies.len()));
        }
    }

    async fn head(&self, file: CrawlBlob) -> Option<Outcome> {
        let path = path(&file);
        let head = self.connector.head(&self.target.url.url, &path, file.size);
        Some(timeout_at(self.target.deadline, head).await.unwrap_or_else(|_| too_long()))
    }

    /// Twice where the first answer is bad: a connection that broke on the way is nobody's fault.
    async fn hash(&self, file: CrawlBlob) -> Outcome {
        let path = path(&file);
        let ask = || self.connector.hash(&self.target.url.url, &path, file.digest.into(), file.size);
        match ask().await {
            Outcome::Damaged(_) | Outcome::Broken(_) => ask().await,
            outcome => outcome,
        }
    }

    /// Asks about files, in their order, so many at once; leaves off when the host answers no more, or when a
    /// question has no time left.
    async fn ask<F: Future<Output = Option<Outcome>>>(
        &self,
        files: Vec<CrawlBlob>,
        question: impl Fn(CrawlBlob) -> F,
    ) -> Round {
        let asked = files.into_iter().map(|file| {
            let answer = question(file);
            async move { (file.number, answer.await) }
        });
        let mut answered = stream::iter(asked).buffer_unordered(self.visitor.connections);
        let mut round = Round { answers: BTreeMap::new(), stopped: None, is_late: false };
        let mut failures = 0;
        while let Some((number, outcome)) = answered.next().await {
            let Some(outcome) = outcome else {
                round.is_late = true;
                break;
            };
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
        timeout_at(self.target.deadline, answer).await.unwrap_or_else(|_| too_long())
    }
}

/// The answers to one kind of question.
struct Round {
    answers: BTreeMap<u32, Outcome>,
    /// Why not all files were asked for.
    stopped: Option<String>,
    /// There was no time for all of them.
    is_late: bool,
}

fn too_long<T>() -> Outcome<T> {
    Outcome::Unreachable(TOO_LONG.to_owned())
}

/// Of a part that is large enough to say something; as our machine sees it, from the request on.
fn speed(range: &std::ops::Range<u64>, took: Duration) -> Option<i64> {
    let bytes = range.end - range.start;
    let per_second = u128::from(bytes) * 1_000_000 / took.as_micros().max(1);
    (bytes >= SPEED_LEAST).then(|| i64::try_from(per_second).unwrap_or(i64::MAX))
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
