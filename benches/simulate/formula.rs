//! Portolan's ranking, and two others to compare it with.

use portolan::{
    mirror::Country,
    mirrorlist::{Answer, Attempt, Client, Snapshot, Wanted, choose, rank},
};

use crate::world::{Dice, World, counted};

/// Who decides where a client is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Formula {
    /// The library's own, as `serve` asks it.
    Portolan,
    /// MirrorManager's: netblock, autonomous system, country, continent, world; inside, by chance and bandwidth.
    Shuffle,
    /// mirrorbits': a score of distance, country and autonomous system, and chance among the best.
    Distance,
}

pub(crate) const ALL: [Formula; 3] = [Formula::Portolan, Formula::Shuffle, Formula::Distance];

/// mirrorbits takes those in so many times the least distance for equally near (`WeightDistributionRange`).
const RANGE: f64 = 1.5;

/// mirrorbits answers with so many at most.
const MOST: usize = 5;

impl Formula {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Portolan => "Portolan",
            Self::Shuffle => "MirrorManager's shuffle",
            Self::Distance => "mirrorbits' distance score",
        }
    }
}

/// A question to a formula.
pub(crate) struct Asked<'a> {
    pub(crate) world: &'a World,
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) person: usize,
    pub(crate) at: i64,
    pub(crate) repository: &'a str,
    pub(crate) number: u32,
    pub(crate) size: u64,
    /// Who can serve it, for the other formulas: [`eligible`].
    pub(crate) eligible: &'a [usize],
}

/// All hosts that the library would send somebody to for this blob, wherever they are.
pub(crate) fn eligible(world: &World, snapshot: &Snapshot, number: u32, at: i64) -> Vec<usize> {
    let client = world.client(snapshot, 0, at);
    let anywhere = Client { country: None, continent: None, by_network: false, ..client };
    let wanted = Wanted { repository: "", number, size: 1, most: usize::MAX };
    rank(snapshot, &anywhere, &wanted).iter().map(|it| it.host.id.0 as usize).collect()
}

impl Asked<'_> {
    /// The host at this place of the formula's list, round and round.
    pub(crate) fn answer(&self, formula: Formula, attempt: Attempt, dice: &mut Dice) -> Option<usize> {
        let Attempt::Place(place) = attempt else { return None };
        if formula == Formula::Portolan {
            let client = self.world.client(self.snapshot, self.person, self.at);
            let wanted =
                Wanted { repository: self.repository, number: self.number, size: self.size, most: 1 };
            return match choose(self.snapshot, &client, &wanted, attempt) {
                Answer::Mirror { offer, .. } => Some(offer.host.id.0 as usize),
                Answer::Fallback => None,
            };
        }
        let list = if formula == Formula::Shuffle { self.shuffle(dice) } else { self.by_distance(dice) };
        list.get(place.checked_rem(list.len())?).copied()
    }

    /// Netblock 0, autonomous system 1, country 2, continent 3, world 4.
    pub(crate) fn class(&self, host: usize) -> u8 {
        let is_inside = self.world.is_inside(self.person, host);
        let (person, host) = (&self.world.people[self.person], &self.world.hosts[host]);
        let continent = |it: Option<Country>| it.and_then(|it| it.continent());
        if is_inside {
            0
        } else if host.asn.is_some() && host.asn == person.location.asn {
            1
        } else if host.country == person.location.country {
            2
        } else if continent(host.country) == continent(person.location.country) {
            3
        } else {
            4
        }
    }

    fn shuffle(&self, dice: &mut Dice) -> Vec<usize> {
        // To draw one after the other by weight is the same as to sort by these keys (Efraimidis and Spirakis 2006).
        let key = |host: usize, dice: &mut Dice| {
            (self.class(host), -dice.share().ln() / counted(&self.world.hosts[host]), host)
        };
        let mut all: Vec<_> = self.eligible.iter().map(|it| key(*it, dice)).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        let near = all.iter().filter(|it| it.0 < 4).count();
        all.truncate(if near < MOST { all.len() } else { near });
        all.into_iter().map(|it| it.2).collect()
    }

    fn by_distance(&self, dice: &mut Dice) -> Vec<usize> {
        let distance = |host: &usize| self.world.distance(self.person, *host);
        let farthest = self.eligible.iter().map(distance).fold(0.0, f64::max).floor();
        let closest = self.eligible.iter().map(distance).fold(f64::INFINITY, f64::min);
        let person = &self.world.people[self.person].location;
        let score = |host: &usize| {
            let (row, away) = (&self.world.hosts[*host], distance(host));
            let is_own = row.country == person.country;
            let mut score = farthest - away.floor() + 1.0;
            if away <= closest * RANGE {
                score += ((farthest - away) / if is_own { 1.0 } else { 2.0 }).trunc();
            } else if is_own {
                score += (farthest - away * 5.0).trunc();
            }
            if row.asn.is_some() && row.asn == person.asn {
                score += (farthest / 2.0).trunc();
            }
            (score.max(1.0), *host)
        };
        let scores: Vec<_> = self.eligible.iter().map(score).collect();
        let mut best: Vec<_> = scores
            .iter()
            .filter(|it| it.0 > farthest)
            .map(|it| (-dice.share().ln() / (it.0 - farthest), it.1))
            .collect();
        best.sort_by(|a, b| a.0.total_cmp(&b.0));
        if best.is_empty() {
            best = scores.iter().map(|it| (-it.0, it.1)).collect();
            best.sort_by(|a, b| a.0.total_cmp(&b.0));
        }
        best.into_iter().take(MOST).map(|it| it.1).collect()
    }
}
