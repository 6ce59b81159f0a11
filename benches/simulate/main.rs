//! `make simulate`: where the clients of a network of volunteers are sent, by Portolan's ranking and by two others.
//! Nothing is measured by a clock: the same seed has the same table everywhere.

mod day;
mod formula;
mod near;
mod picture;
mod world;

use std::{fs, path::Path};

use day::{Outcome, Plan};
use formula::{ALL, Formula};
use indicatif::{ProgressBar, ProgressStyle};
use near::Near;
use serde::Serialize;
use world::{Shape, World};

const SEED: u64 = 7;
const CLIENTS: usize = 10_000;
const HOSTS: usize = 400;

const DAY: Plan = Plan {
    formula: Formula::Portolan,
    seed: SEED,
    pulls: 20,
    rush: 15,
    failing: 50,
    crowds: 20,
    gate: Some(10),
    // `probe.interval`, and what it takes until it is in answers.
    notice: 7,
};

/// A row of the table.
#[derive(Serialize)]
struct Row {
    case: String,
    unit: &'static str,
    value: f64,
    goal: Option<f64>,
    holds: Option<bool>,
    formula: &'static str,
}

/// What a value is held against; the goals are Portolan's.
#[derive(Clone, Copy)]
enum Goal {
    Least(f64),
    Most(f64),
    None,
}

fn main() {
    let mut rows = Vec::new();
    let plain = World::make(Shape { clients: CLIENTS, hosts: HOSTS, seed: SEED, with_places: false });
    let placed = World::make(Shape { clients: CLIENTS, hosts: HOSTS, seed: SEED, with_places: true });
    let nears: Vec<Near> = ALL.map(|it| near(&mut rows, "countries known", &plain, it)).into();
    for formula in ALL {
        near(&mut rows, "places known", &placed, formula);
    }
    let days = [
        ("published when 10 hosts hold it", DAY),
        ("published at once", Plan { gate: None, ..DAY }),
        ("nobody probes", Plan { notice: 3_600, ..DAY }),
    ];
    let days: Vec<Outcome> = days.iter().map(|(name, plan)| day(&mut rows, name, &plain, *plan)).collect();
    for formula in [Formula::Shuffle, Formula::Distance] {
        day(&mut rows, "published when 10 hosts hold it", &plain, Plan { formula, ..DAY });
    }
    println!("{}", table(&rows));
    write("target/bench/simulate.json", &(serde_json::to_string_pretty(&rows).expect("plain values") + "\n"));
    write("docs/pictures/ranking-load.svg", &picture::load(&nears));
    write("docs/pictures/ranking-day.svg", &picture::day(&days[..2]));
}

fn near(rows: &mut Vec<Row>, world_name: &str, world: &World, formula: Formula) -> Near {
    let bar = bar(world.people.len(), formula.name());
    let near = Near::run(world, formula, SEED, &bar);
    bar.finish_and_clear();
    let mut add = |case: &str, unit, value, goal| {
        rows.push(Row::new(format!("{world_name}: {case}"), unit, value, goal, formula));
    };
    add(
        "sent to the own country or network, if it has a holder",
        "%",
        near.own_country * 100.0,
        Goal::Least(100.0),
    );
    add("way over that to the nearest, median", "×", near.distance, Goal::Most(1.25));
    add("way, median", "km", near.kilometres, Goal::None);
    let idle = near.load.iter().filter(|it| **it == 0).count();
    add("hosts that nobody is sent to", "%", idle as f64 * 100.0 / near.load.len() as f64, Goal::None);
    let unfair = near.unfair();
    // Between places the nearer of two equal hosts gets more, as it should.
    let goal = if world_name.starts_with("countries") { Goal::Most(10.0) } else { Goal::None };
    add("load against bandwidth in a country, largest difference", "%", unfair * 100.0, goal);
    near
}

fn day(rows: &mut Vec<Row>, name: &str, world: &World, plan: Plan) -> Outcome {
    let bar = bar(1, plan.formula.name());
    let outcome = day::run(world, plan, &bar);
    bar.finish_and_clear();
    let mut add = |case: &str, unit, value, goal| {
        rows.push(Row::new(format!("a day, {name}: {case}"), unit, value, goal, plan.formula));
    };
    let share = |part: u64, all: u64| part as f64 * 100.0 / all.max(1) as f64;
    let (all, crowds) = (outcome.all, outcome.crowds);
    add("bytes from mirrors", "%", share(all.mirrors, outcome.asked), Goal::Least(99.0));
    add("bytes from the fallback", "%", share(all.fallback, outcome.asked), Goal::None);
    add("bytes that failed", "%", share(all.failed, outcome.asked), Goal::None);
    add("bytes of crowds from the fallback", "%", share(crowds.fallback, crowds.sum()), Goal::Most(5.0));
    add("pulls from more than one source", "%", share(outcome.split, outcome.pulls), Goal::None);
    add("the fullest hour of a host, of its bandwidth", "%", outcome.fullest * 100.0, Goal::None);
    outcome
}

impl Row {
    fn new(case: String, unit: &'static str, value: f64, goal: Goal, formula: Formula) -> Self {
        let (goal, holds) = match goal {
            _ if formula != Formula::Portolan => (None, None),
            Goal::Least(goal) => (Some(goal), Some(value >= goal)),
            Goal::Most(goal) => (Some(goal), Some(value <= goal)),
            Goal::None => (None, None),
        };
        Self { case, unit, value, goal, holds, formula: formula.name() }
    }
}

/// Seen on a terminal only.
fn bar(length: usize, name: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:28} {bar:40} {pos}/{len}").expect("a template");
    ProgressBar::new(length as u64).with_style(style).with_message(name)
}

fn table(rows: &[Row]) -> String {
    let mut text =
        String::from("| case | formula | value | unit | goal | holds |\n|---|---|---|---|---|---|\n");
    for row in rows {
        let goal = row.goal.map(|it| it.to_string()).unwrap_or_default();
        let holds = row.holds.map_or("", |it| if it { "yes" } else { "no" });
        let (case, formula, value, unit) = (&row.case, row.formula, row.value, row.unit);
        text.push_str(&format!("| {case} | {formula} | {value:.2} | {unit} | {goal} | {holds} |\n"));
    }
    text
}

/// Paths are those of the package, where cargo starts a bench.
fn write(path: &str, text: &str) {
    let path = Path::new(path);
    fs::create_dir_all(path.parent().expect("a folder")).expect("the folder");
    fs::write(path, text).expect("the file is written");
    println!("{}", path.display());
}
