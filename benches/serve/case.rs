//! What is measured, against what, and what it should come to.

use std::{path::Path, rc::Rc, time::Duration};

use serde::Serialize;

use crate::{
    load::Requests,
    server::Server,
    world::{Size, World},
};

/// Layers that are asked for.
const LAYERS: usize = 50_000;

const SMALL: Size = Size { hosts: 400, blobs: 100_000, manifests: 1000, max_urls: 60 };
const LARGE: Size = Size { hosts: 4000, blobs: 1_000_000, manifests: 150_000, max_urls: 246 };

/// One row of the table: the cost of a request here and there.
pub(crate) struct Case {
    name: &'static str,
    goal: f64,
    ours: Side,
    floor: Side,
}

/// A server and what it is asked.
type Side = (Rc<Server>, Requests);

/// What a case came to.
#[derive(Serialize)]
pub(crate) struct Result {
    case: &'static str,
    unit: &'static str,
    value: f64,
    floor: f64,
    ratio: f64,
    goal: f64,
    holds: bool,
}

impl Case {
    /// Takes turns, and the medians of them.
    pub(crate) fn measure(&self, rounds: usize) -> Result {
        let mut turns: Vec<[f64; 3]> = Vec::new();
        // The first turns fill caches and count for nothing.
        for round in 0..=rounds {
            let [floor, value] =
                [&self.floor, &self.ours].map(|(server, asked)| microseconds(asked.run(server)));
            if round > 0 {
                turns.push([value, floor, value / floor]);
            }
        }
        let [value, floor, ratio] = [0, 1, 2].map(|it| median(turns.iter().map(|turn| turn[it])));
        eprintln!("{}: {ratio:.2}", self.name);
        let holds = ratio <= self.goal;
        Result { case: self.name, unit: "µs CPU per request", value, floor, ratio, goal: self.goal, holds }
    }
}

fn microseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// All cases; their worlds and servers are below `folder` and live as long as they do.
pub(crate) fn all(folder: &Path) -> Vec<Case> {
    let [mut small, mut large] =
        [("small", SMALL), ("large", LARGE)].map(|it| World::make(folder, it.0, it.1));
    let floor = Rc::new(Server::floor());
    let [ours, growing] = [&small, &large].map(|it| Rc::new(Server::portolan(&it.folder)));
    let (started, memory) = (growing.started, growing.memory() >> 20);
    eprintln!("{LARGE:?}: listens after {started:?}, has {memory} MiB of its own");

    let [near, far] = [&mut small, &mut large].map(|it| redirects(folder, it));
    let [short, long] = [&small, &large].map(|it| metalinks(folder, it));
    let one = |path: &str| Requests::write(folder, &[path.to_owned()], &[]);
    let fixed = || one("/fixed/4096");
    let manifest = format!("/v2/fedora/manifests/{}", small.manifest);
    let case = |name, goal, ours, floor| Case { name, goal, ours, floor };
    let (ours, floor) = (|| ours.clone(), || floor.clone());
    vec![
        case("blob 302, 400 hosts, 100,000 blobs", 1.5, (ours(), near.clone()), (floor(), near.clone())),
        case("the same with 4,000 hosts and 1 million blobs", 1.2, (growing.clone(), far), (ours(), near)),
        case("metalink, 60 URLs", 2.5, (ours(), short.clone()), (floor(), short)),
        case("metalink, 246 URLs", 2.5, (growing, long), (floor(), one("/fixed/44000"))),
        case("manifest by tag, 4 KB", 1.3, (ours(), one("/v2/fedora/manifests/0")), (floor(), fixed())),
        case("manifest by digest, 4 KB", 1.3, (ours(), one(&manifest)), (floor(), fixed())),
        case("ping", 1.1, (ours(), one("/v2/")), (floor(), one("/v2/"))),
    ]
}

fn redirects(folder: &Path, world: &mut World) -> Requests {
    let paths: Vec<String> =
        (0..LAYERS).map(|_| format!("/v2/fedora/blobs/{}", world.draw_layer())).collect();
    Requests::write(folder, &paths, &world.clients())
}

fn metalinks(folder: &Path, world: &World) -> Requests {
    let path = format!("/metalink?repo=fedora&digest={}&version=4", world.manifest);
    Requests::write(folder, &[path], &world.clients())
}

/// For people.
pub(crate) fn table(results: &[Result]) -> String {
    let mut text =
        String::from("| case | µs | floor µs | ratio | goal | holds |\n|---|---|---|---|---|---|\n");
    for it in results {
        let holds = if it.holds { "yes" } else { "no" };
        text.push_str(&format!(
            "| {} | {:.1} | {:.1} | {:.2} | {:.1} | {holds} |\n",
            it.case, it.value, it.floor, it.ratio, it.goal
        ));
    }
    text
}
