//! The simulation (`make simulate`) adds up: it is read, and decided upon, by people.

#![allow(dead_code, clippy::unwrap_used, reason = "the simulation itself uses all of it")]

#[path = "../benches/simulate/day.rs"]
mod day;
#[path = "../benches/simulate/formula.rs"]
mod formula;
#[path = "../benches/simulate/near.rs"]
mod near;
#[path = "../benches/simulate/world.rs"]
mod world;

use day::{Outcome, Plan};
use formula::{ALL, Formula};
use indicatif::ProgressBar;
use near::Near;
use world::{Shape, World};

fn world(hosts: usize) -> World {
    World::make(Shape { clients: 100, hosts, seed: 1, with_places: false })
}

fn day(world: &World, formula: Formula) -> Outcome {
    let plan =
        Plan { formula, seed: 1, pulls: 1, rush: 5, failing: 3, crowds: 1, gate: Some(2), notice: 600 };
    day::run(world, plan, &ProgressBar::hidden())
}

#[test]
fn every_byte_is_counted_once() {
    let world = world(20);
    for formula in ALL {
        let outcome = day(&world, formula);
        assert_eq!(outcome.all.sum(), outcome.asked);
        assert_eq!(outcome.parts.iter().map(|it| it.sum()).sum::<u64>(), outcome.asked);
        assert_eq!(outcome.asked, outcome.pulls * world::LAYERS.iter().sum::<u64>());
        assert_eq!(outcome.pulls, 23 * 60 + 60 * 5 + 500);
        assert!(outcome.all.mirrors > outcome.all.fallback, "{outcome:?}");
    }
}

#[test]
fn the_only_host_gets_everything() {
    let world = world(1);
    for formula in ALL {
        let near = Near::run(&world, formula, 1, &ProgressBar::hidden());
        assert_eq!(near.load, [100 * near::IMAGES]);
        assert_eq!(near.distance, 1.0);
    }
}

#[test]
fn the_same_seed_has_the_same_outcome() {
    for formula in ALL {
        assert_eq!(day(&world(20), formula), day(&world(20), formula));
        let loads = || Near::run(&world(20), formula, 1, &ProgressBar::hidden()).load;
        assert_eq!(loads(), loads());
    }
}
