//! All URLs that are probed, and which is to be asked when. Pure: time and dice are arguments.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::life::{Again, Answer, Life};
use crate::{
    connector::{Family, Probed},
    crawler::{
        budget::{IDLE_EXTRAS, IDLE_PROBES},
        url::join_reasons,
    },
    database::{crawl::UrlReach, probe::ProbeTarget},
    mirror::{HostCategoryUrlId, HostId, HostName, HostUrl, Reach},
};

/// After a first failure, and after a first good answer of a URL that was out.
const SOON: Duration = Duration::from_secs(1);

/// Between the good answers of a URL that flaps.
const SLOWLY: Duration = Duration::from_secs(10);

/// Within so long after its start a prober asks every URL that clients are not sent to for the first time.
const START_SPREAD: Duration = Duration::from_secs(10);

/// A URL in use is asked so much earlier than its pace says, as a share of it, so that the pace is kept also by a
/// machine that is busy.
const EARLIER: f64 = 0.1;

/// By lot a URL in use is asked so much earlier still, and any other so much later, as a share of the pace: so they
/// are not all asked at once.
const JITTER: f64 = 0.2;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// So many hosts besides are asked at once when one fails for the first time: do they answer, this machine's
/// network is not the fault.
const WITNESSES: usize = 2;

/// With fewer hosts there are no witnesses, and each is believed to be dead when it looks so.
const HOSTS_FOR_WITNESSES: usize = 3;

/// One of the two families, as an index into [`Url::families`].
const FAMILIES: [Family; 2] = [Family::Ipv4, Family::Ipv6];

/// What to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) id: HostCategoryUrlId,
    pub(super) url: HostUrl,
    pub(super) family: Family,
    /// Clients are sent there: when its answer is late, it is asked a second time beside that.
    pub(super) in_use: bool,
}

/// What came of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) probed: Probed,
    /// For how many answers in a row it counts, if it is a bad one.
    pub(super) weight: u32,
}

/// A URL that went out or came back, by one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) host: HostName,
    pub(super) reach: Reach,
    /// Why it is down.
    pub(super) reason: Option<String>,
    /// How long ago it last gave a good answer; `None` when it never did.
    pub(super) last_good: Option<Duration>,
}

/// How often URLs are asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Within so long it is known that a URL died that clients are sent to.
    pub(super) in_use: Duration,
    /// How long an answer may take.
    pub(super) timeout: Duration,
    /// Between two questions to any other.
    pub(super) idle: Duration,
}

impl Pace {
    /// Between two questions to a URL in use: it may die after the one, and leave the other without an answer.
    fn brisk(self) -> Duration {
        self.in_use.saturating_sub(self.timeout).max(SOON)
    }
}

/// The URLs.
pub(super) struct Watch {
    pace: Pace,
    /// The state of the dice.
    dice: u64,
    urls: BTreeMap<HostCategoryUrlId, Url>,
    hosts: BTreeMap<HostId, Count>,
    /// Which differ from what is stored.
    changed: BTreeSet<HostCategoryUrlId>,
    /// The last good answers of two hosts, newest first: one of them is another host than the one in doubt.
    good: [Option<(HostId, Duration)>; 2],
}

/// What one host is asked.
#[derive(Clone, Copy, Default)]
struct Count {
    /// How many URLs it has, by either family.
    questions: u32,
    /// How many questions it was asked on one day out of turn while no client was sent there.
    extras: u32,
    /// Which day that is, counted from the start.
    day: u64,
}

struct Url {
    target: ProbeTarget,
    in_use: bool,
    families: [Probing; 2],
}

/// One URL by one family.
struct Probing {
    life: Life,
    /// When it is to be asked; `None` while it is.
    due: Option<Duration>,
    /// Since when the answer to the question that runs is late.
    late_since: Option<Duration>,
    last_good: Option<Duration>,
    /// Why it is down.
    reason: Option<String>,
}

impl Watch {
    pub(super) fn new(pace: Pace, seed: u64) -> Self {
        Self {
            pace,
            dice: seed,
            urls: BTreeMap::new(),
            hosts: BTreeMap::new(),
            changed: BTreeSet::new(),
            good: [None; 2],
        }
    }

    /// Takes over what the database has. What another found out of a URL goes before what we think, unless
    /// ours is not stored yet.
    pub(super) fn replace(&mut self, targets: Vec<ProbeTarget>, now: Duration) {
        let mut former = std::mem::take(&mut self.urls);
        let counts = std::mem::take(&mut self.hosts);
        for target in targets {
            let count = || Count { questions: 0, ..counts.get(&target.host).copied().unwrap_or_default() };
            self.hosts.entry(target.host).or_insert_with(count).questions += FAMILIES.len() as u32;
            let reaches = [target.ipv4, target.ipv6];
            let mut url = match former.remove(&target.id) {
                Some(url) => url,
                None => self.add(&target, now),
            };
            for (probing, reach) in url.families.iter_mut().zip(reaches) {
                if probing.life.reach() != reach && !self.changed.contains(&target.id) {
                    probing.life.adopt(reach);
                    probing.due = probing.due.map(|_| now);
                }
            }
            self.urls.insert(target.id, Url { target, ..url });
        }
        self.changed.retain(|it| self.urls.contains_key(it));
    }

    fn add(&mut self, target: &ProbeTarget, now: Duration) -> Url {
        let mut probing = |reach| {
            let wait =
                if reach == Reach::Unknown { Duration::ZERO } else { START_SPREAD.mul_f64(self.dice()) };
            let due = Some(now + wait);
            Probing { life: Life::new(reach), due, late_since: None, last_good: None, reason: None }
        };
        let families = [probing(target.ipv4), probing(target.ipv6)];
        Url { target: target.clone(), in_use: false, families }
    }

    /// Takes over which URLs clients were sent to in the last minute. One that is newly in use may have died since
    /// it was asked, and is asked at once.
    pub(super) fn use_only(&mut self, in_use: &BTreeSet<HostCategoryUrlId>, now: Duration) {
        let ids: Vec<_> = self.urls.keys().copied().collect();
        for id in ids {
            let next = now + self.earlier(self.pace.brisk());
            let Some(url) = self.urls.get_mut(&id) else { continue };
            let latest = if url.in_use { next } else { now };
            url.in_use = in_use.contains(&id);
            if url.in_use {
                for probing in &mut url.families {
                    probing.due = probing.due.map(|it| it.min(latest));
                }
            }
        }
    }

    /// At most so many questions whose time has come, the oldest first.
    pub(super) fn take_due(&mut self, now: Duration, most: usize) -> Vec<Question> {
        let mut due = Vec::new();
        for (id, url) in &self.urls {
            for (index, probing) in url.families.iter().enumerate() {
                due.extend(probing.due.filter(|it| *it <= now).map(|it| (it, *id, index)));
            }
        }
        due.sort_unstable();
        due.truncate(most);
        let mut questions = Vec::with_capacity(due.len());
        for (_, id, index) in due {
            if let Some(url) = self.urls.get_mut(&id) {
                url.families[index].due = None;
                let (family, in_use) = (FAMILIES[index], url.in_use);
                questions.push(Question { id, url: url.target.url.clone(), family, in_use });
            }
        }
        questions
    }

    /// The answer to this question is late. What other hosts answer from now on tells whether that is the fault of
    /// this machine.
    pub(super) fn note_late(&mut self, question: &Question, now: Duration) {
        let Some(url) = self.urls.get_mut(&question.id) else { return };
        let probing = &mut url.families[usize::from(question.family == Family::Ipv6)];
        probing.late_since = Some(now);
        if probing.life.reach() == Reach::Up {
            let host = url.target.host;
            self.call_witnesses(host, now);
        }
    }

    /// Takes an answer into account; gives what has changed by it.
    pub(super) fn note(&mut self, question: &Question, asked: Asked, now: Duration) -> Option<Turn> {
        let (answer, reason) = match asked.probed {
            Probed::Good => (Answer::Good, None),
            Probed::Refused(reason) => (Answer::Refused, Some(reason)),
            Probed::Failed(reason) => (Answer::Failed, Some(reason)),
            Probed::NoRoute(_) => (Answer::NoRoute, None),
        };
        let (good, has_witnesses) = (self.good, self.hosts.len() >= HOSTS_FOR_WITNESSES);
        let url = self.urls.get_mut(&question.id)?;
        let host = url.target.host;
        // That there is no way to a host is seen best by what else that host answers.
        let answered = |since| {
            good.iter().flatten().any(|it| it.1 >= since && (it.0 != host || answer == Answer::NoRoute))
        };
        let probing = &mut url.families[usize::from(question.family == Family::Ipv6)];
        // Silence may be this machine's, too: without witnesses it counts when it is not the first fault.
        let is_plain = asked.weight == 1 || probing.life.failing_since().is_some();
        let is_believed =
            |since| answered(since) || (answer != Answer::NoRoute && !has_witnesses && is_plain);
        let before = probing.life.reach();
        let since = probing.late_since.take().unwrap_or(now);
        let again = probing.life.note(answer, asked.weight, since, now, is_believed);
        let (reach, failing_since) = (probing.life.reach(), probing.life.failing_since());
        probing.reason = reason.filter(|_| reach == Reach::Down);
        let turn = Turn {
            host: url.target.host_name.clone(),
            reach,
            reason: probing.reason.clone(),
            last_good: probing.last_good.map(|it| now.saturating_sub(it)),
        };
        if answer == Answer::Good {
            probing.last_good = Some(now);
        }
        let in_use = url.in_use;
        let is_extra = again != Again::Usual || failing_since.is_some();
        let wait = match again {
            _ if is_extra && !in_use && !self.may_add(host, now) => self.idle(host),
            Again::Soon => SOON,
            Again::Slowly => SLOWLY,
            Again::Usual if in_use || failing_since.is_some() => self.earlier(self.pace.brisk()),
            Again::Usual => self.idle(host),
        };
        self.schedule(question, now + wait);
        match answer {
            Answer::Good => self.note_good(host, now),
            _ if failing_since.is_some() => self.call_witnesses(host, now),
            _ => {}
        }
        (reach != before).then(|| {
            self.changed.insert(question.id);
            turn
        })
    }

    /// What is to be stored; from then on it counts as stored.
    pub(super) fn take_changes(&mut self) -> Vec<UrlReach> {
        let changed = std::mem::take(&mut self.changed);
        let reach = |id: HostCategoryUrlId| {
            let [ipv4, ipv6] = &self.urls.get(&id)?.families;
            let told = |it: &Probing| (it.life.reach() == Reach::Down).then(|| it.told());
            let (one, other) = (told(ipv4), told(ipv6));
            let reason = join_reasons(one, other);
            Some(UrlReach { url: id, ipv4: ipv4.life.reach(), ipv6: ipv6.life.reach(), reason })
        };
        changed.into_iter().filter_map(reach).collect()
    }

    /// They could not be stored.
    pub(super) fn put_back(&mut self, changes: &[UrlReach]) {
        let ids = changes.iter().map(|it| it.url).filter(|it| self.urls.contains_key(it));
        self.changed.extend(ids);
    }

    pub(super) fn count_hosts(&self) -> usize {
        self.hosts.len()
    }

    pub(super) fn has_changes(&self) -> bool {
        !self.changed.is_empty()
    }

    fn schedule(&mut self, question: &Question, due: Duration) {
        if let Some(url) = self.urls.get_mut(&question.id) {
            url.families[usize::from(question.family == Family::Ipv6)].due = Some(due);
        }
    }

    /// How long any URL of a host waits that no client is sent to; no day has more than [`IDLE_PROBES`] of these.
    fn idle(&mut self, host: HostId) -> Duration {
        let questions = self.hosts.get(&host).map_or(0, |it| it.questions);
        self.pace.idle.max(DAY * questions / IDLE_PROBES).mul_f64(1.0 + JITTER * self.dice())
    }

    /// May a host that no client is sent to be asked once more out of turn today? It counts as done.
    fn may_add(&mut self, host: HostId, now: Duration) -> bool {
        let Some(count) = self.hosts.get_mut(&host) else { return false };
        let day = now.as_secs() / DAY.as_secs();
        if count.day != day {
            (count.day, count.extras) = (day, 0);
        }
        count.extras += 1;
        count.extras <= IDLE_EXTRAS
    }

    fn note_good(&mut self, host: HostId, now: Duration) {
        if self.good[0].is_none_or(|it| it.0 != host) {
            self.good[1] = self.good[0];
        }
        self.good[0] = Some((host, now));
    }

    /// Asks some other hosts, that are thought to be up, at once.
    fn call_witnesses(&mut self, host: HostId, now: Duration) {
        let is_sound = |it: &Probing| it.life.reach() == Reach::Up && it.life.failing_since().is_none();
        let others = self.urls.iter().filter(|(_, url)| url.target.host != host);
        let sound = others.flat_map(|(id, url)| {
            let indices = url.families.iter().enumerate().filter(|(_, it)| is_sound(it));
            indices.map(|(index, _)| (*id, index))
        });
        let sound: Vec<_> = sound.collect();
        for _ in 0..WITNESSES {
            let at = (self.dice() * sound.len() as f64) as usize;
            let Some((id, index)) = sound.get(at) else { return };
            let Some((host, in_use)) = self.urls.get(id).map(|it| (it.target.host, it.in_use)) else {
                return;
            };
            if !in_use && !self.may_add(host, now) {
                continue;
            }
            if let Some(url) = self.urls.get_mut(id) {
                let due = &mut url.families[*index].due;
                *due = due.map(|it| it.min(now));
            }
        }
    }

    fn earlier(&mut self, pace: Duration) -> Duration {
        pace.mul_f64(1.0 - EARLIER - JITTER * self.dice())
    }

    /// From 0 up to 1 (SplitMix64).
    fn dice(&mut self) -> f64 {
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.dice;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) as f64 / 2f64.powi(64)
    }
}

impl Probing {
    fn told(&self) -> String {
        self.reason.clone().unwrap_or_else(|| "it does not answer".to_owned())
    }
}

#[cfg(test)]
mod tests;
