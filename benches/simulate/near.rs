//! Where the clients of a whole world are sent: how near, and how fairly.

use std::collections::HashMap;

use indicatif::ProgressBar;
use portolan::{mirror::Country, mirrorlist::Attempt};

use crate::{
    formula::{Asked, Formula, eligible},
    world::{Dice, MIDNIGHT, World, counted},
};

/// Images that every client pulls: each is a choice of its own.
pub(crate) const IMAGES: usize = 20;

/// Two ways shorter than this, in kilometres, are equally long.
const SAME: f64 = 100.0;

/// A host of which fewer requests are expected says nothing: chance alone moves it by a twentieth.
const FEWEST: f64 = 1_000.0;

/// What became of all requests.
pub(crate) struct Near {
    /// Requests by host.
    pub(crate) load: Vec<usize>,
    /// Of those with a holder in their country: so many were sent to one there, or to one of their own network.
    pub(crate) own_country: f64,
    /// The median of the way over that to the nearest holder.
    pub(crate) distance: f64,
    /// The median way, in kilometres.
    pub(crate) kilometres: f64,
    /// Of hosts that compete for the clients of their country: expected, and got.
    pub(crate) fair: Vec<(f64, f64)>,
}

impl Near {
    pub(crate) fn run(world: &World, formula: Formula, seed: u64, bar: &ProgressBar) -> Self {
        let snapshot = world.snapshot(&world.known(), MIDNIGHT);
        let eligible = eligible(world, &snapshot, 1, MIDNIGHT);
        let repositories: Vec<String> = (0..IMAGES).map(|it| format!("image-{it}")).collect();
        let mut dice = Dice(seed);
        let mut load = vec![0; world.hosts.len()];
        let mut by_country = vec![0; world.hosts.len()];
        let (mut here, mut could, mut ways) = (0, 0, Vec::new());
        let mut ratios = Vec::new();
        for person in 0..world.people.len() {
            bar.inc(1);
            let country = world.people[person].location.country;
            let has_own = eligible.iter().any(|it| world.hosts[*it].country == country);
            let nearest = eligible.iter().map(|it| world.distance(person, *it)).fold(f64::INFINITY, f64::min);
            for repository in &repositories {
                let (number, size) = (1, 1);
                let asked = Asked {
                    world,
                    snapshot: &snapshot,
                    person,
                    at: MIDNIGHT,
                    repository,
                    number,
                    size,
                    eligible: &eligible,
                };
                let Some(host) = asked.answer(formula, Attempt::Place(0), &mut dice) else { continue };
                load[host] += 1;
                could += usize::from(has_own);
                here += usize::from(has_own && asked.class(host) <= 2);
                let way = world.distance(person, host);
                ways.push(way);
                ratios.push(way.max(SAME) / nearest.max(SAME));
                // Who is in a host's own network is no matter of competition.
                if world.hosts[host].country == country && asked.class(host) == 2 {
                    by_country[host] += 1;
                }
            }
        }
        Self {
            own_country: here as f64 / could.max(1) as f64,
            distance: median(ratios),
            kilometres: median(ways),
            fair: compare(world, &by_country),
            load,
        }
    }

    /// How far the load of a host is from its share at most, as a part of that.
    pub(crate) fn unfair(&self) -> f64 {
        let counted = self.fair.iter().filter(|it| it.0 >= FEWEST);
        counted.map(|it| (it.1 / it.0 - 1.0).abs()).fold(0.0, f64::max)
    }
}

/// What each host got of its own country, beside its share of the bandwidth there.
fn compare(world: &World, load: &[usize]) -> Vec<(f64, f64)> {
    let mut sums: HashMap<Option<Country>, (f64, f64)> = HashMap::new();
    for (host, load) in world.hosts.iter().zip(load) {
        let sum = sums.entry(host.country).or_default();
        *sum = (sum.0 + counted(host), sum.1 + *load as f64);
    }
    let expected = |host: &portolan::mirrorlist::rows::HostRow| {
        let (bandwidth, load) = sums[&host.country];
        load * counted(host) / bandwidth
    };
    world.hosts.iter().zip(load).map(|(host, load)| (expected(host), *load as f64)).collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
