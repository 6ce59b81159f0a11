//! All URLs that are probed, and which is to be asked when. Pure: time and dice are arguments.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::life::{Again, Answer, Life};
use crate::{
    connector::{Family, Probed},
    crawler::url::join_reasons,
    database::{crawl::UrlReach, probe::ProbeTarget},
    mirror::{HostCategoryUrlId, HostId, HostName, HostUrl, Reach},
};

/// After a first failure, and after a first good answer of a URL that was out.
const SOON: Duration = Duration::from_secs(1);

/// Between the good answers of a URL that flaps.
const SLOWLY: Duration = Duration::from_secs(10);

/// Within so long after its start a prober asks every URL that clients are not sent to for the first time.
const START_SPREAD: Duration = Duration::from_secs(10);

/// A URL is asked so much earlier than its pace says, as a share of it, so that the pace is kept also by a
/// machine that is busy; and by lot up to [`JITTER`] earlier than that, so that they are not all asked at once.
const EARLIER: f64 = 0.1;

/// See [`EARLIER`].
const JITTER: f64 = 0.2;

/// So many requests a day one host gets at most while no client is sent to it, about: all its URLs and both
/// families together. What is left of 3,000 is the crawl's.
const IDLE_REQUESTS: u32 = 1_000;

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
}

/// A URL that went out or came back, by one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) host: HostName,
    pub(super) reach: Reach,
    /// Why it is down.
    pub(super) reason: Option<String>,
}

/// How often URLs are asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Within so long it is known that a URL died that clients are sent to.
    pub(super) in_use: Duration,
    /// Between two questions to any other.
    pub(super) idle: Duration,
}

impl Pace {
    /// Between two questions to a URL in use: a second one, soon after, confirms that it died.
    fn brisk(self) -> Duration {
        self.in_use.saturating_sub(SOON).max(SOON)
    }
}

/// The URLs.
pub(super) struct Watch {
    pace: Pace,
    /// The state of the dice.
    dice: u64,
    urls: BTreeMap<HostCategoryUrlId, Url>,
    /// How many questions there are for each host.
    hosts: BTreeMap<HostId, u32>,
    /// Which differ from what is stored.
    changed: BTreeSet<HostCategoryUrlId>,
    /// The last good answers of two hosts, newest first: one of them is another host than the one in doubt.
    good: [Option<(HostId, Duration)>; 2],
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
        self.hosts.clear();
        for target in targets {
            *self.hosts.entry(target.host).or_default() += FAMILIES.len() as u32;
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
            Probing { life: Life::new(reach), due: Some(now + wait), reason: None }
        };
        let families = [probing(target.ipv4), probing(target.ipv6)];
        Url { target: target.clone(), in_use: false, families }
    }

    /// Takes over which URLs clients were sent to in the last minute.
    pub(super) fn use_only(&mut self, in_use: &BTreeSet<HostCategoryUrlId>, now: Duration) {
        let ids: Vec<_> = self.urls.keys().copied().collect();
        for id in ids {
            let latest = now + self.jitter(self.pace.brisk());
            let Some(url) = self.urls.get_mut(&id) else { continue };
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
                questions.push(Question { id, url: url.target.url.clone(), family: FAMILIES[index] });
            }
        }
        questions
    }

    /// Takes an answer into account; gives what has changed by it.
    pub(super) fn note(&mut self, question: &Question, probed: Probed, now: Duration) -> Option<Turn> {
        let (answer, reason) = match probed {
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
        let is_believed = |since| answered(since) || (answer != Answer::NoRoute && !has_witnesses);
        let probing = &mut url.families[usize::from(question.family == Family::Ipv6)];
        let before = probing.life.reach();
        let again = probing.life.note(answer, now, is_believed);
        let (reach, failing_since) = (probing.life.reach(), probing.life.failing_since());
        probing.reason = reason.filter(|_| reach == Reach::Down);
        let turn = Turn { host: url.target.host_name.clone(), reach, reason: probing.reason.clone() };
        let pace = if failing_since.is_some() { self.pace.brisk() } else { self.pace(question.id) };
        let wait = match again {
            Again::Usual => self.jitter(pace),
            Again::Soon => SOON,
            Again::Slowly => SLOWLY,
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

    pub(super) fn has_changes(&self) -> bool {
        !self.changed.is_empty()
    }

    fn schedule(&mut self, question: &Question, due: Duration) {
        if let Some(url) = self.urls.get_mut(&question.id) {
            url.families[usize::from(question.family == Family::Ipv6)].due = Some(due);
        }
    }

    /// How often a URL is asked while all is well.
    fn pace(&self, id: HostCategoryUrlId) -> Duration {
        let Some(url) = self.urls.get(&id) else { return self.pace.idle };
        if url.in_use {
            return self.pace.brisk();
        }
        let day = Duration::from_secs(24 * 60 * 60);
        let questions = self.hosts.get(&url.target.host).copied().unwrap_or_default();
        self.pace.idle.max(day * questions / IDLE_REQUESTS)
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
            if let Some((id, index)) = sound.get(at)
                && let Some(url) = self.urls.get_mut(id)
            {
                let due = &mut url.families[*index].due;
                *due = due.map(|it| it.min(now));
            }
        }
    }

    fn jitter(&mut self, pace: Duration) -> Duration {
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
