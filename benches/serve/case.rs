//! What is measured, against what, and what it should come to.

use std::{
    fs,
    path::Path,
    rc::Rc,
    time::{Duration, Instant},
};

use serde::Serialize;

use crate::{
    load::Requests,
    server::Server,
    world::{LARGE, Mode, SMALL, World},
};

/// Layers that are asked for.
const LAYERS: usize = 50_000;

/// Starts that are measured; the median of them counts.
const STARTS: usize = 5;

/// One row of the table: the cost of a request here and there.
pub(crate) struct Case {
    name: &'static str,
    /// None was set.
    goal: Option<f64>,
    ours: Side,
    floor: Side,
}

/// A server and what it is asked.
type Side = (Rc<Server>, Requests);

/// What a case came to. With a floor the goal is for the ratio, else for the value.
#[derive(Serialize)]
pub(crate) struct Result {
    case: &'static str,
    unit: &'static str,
    value: f64,
    floor: Option<f64>,
    ratio: Option<f64>,
    goal: Option<f64>,
    holds: Option<bool>,
}

impl Result {
    fn new(
        case: &'static str,
        unit: &'static str,
        value: f64,
        floor: Option<f64>,
        goal: Option<f64>,
    ) -> Self {
        let ratio = floor.map(|it| value / it);
        let holds = goal.map(|it| ratio.unwrap_or(value) <= it);
        Self { case, unit, value, floor, ratio, goal, holds }
    }
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
        let holds = self.goal.map(|it| ratio <= it);
        let result = Result::new(self.name, "µs CPU per request", value, Some(floor), self.goal);
        // The median of the ratios, for the two are not always slow in the same turn.
        Result { ratio: Some(ratio), holds, ..result }
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

/// The worlds alone, to look at a server closely by other means.
pub(crate) fn make_worlds(folder: &Path) {
    write_pair(folder);
    for (name, size) in [("small", SMALL), ("large", LARGE)] {
        let mut world = World::make(folder, name, size);
        let layers: Vec<String> = (0..LAYERS).map(|_| world.draw_layer().to_string()).collect();
        fs::write(world.folder.join("layers"), layers.join("\n")).expect("the list of layers");
        fs::write(world.folder.join("clients"), world.clients().join("\n")).expect("the list of clients");
        for mode in [Mode::Plain, Mode::Logged, Mode::Tls] {
            world.configure(mode);
        }
        println!("{}: manifest {}", world.folder.display(), world.manifest);
    }
}

/// A certificate for us: `tls.pem` and `tls.key`.
fn write_pair(folder: &Path) {
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    fs::write(folder.join("tls.pem"), pair.cert.pem()).expect("the certificate is written");
    fs::write(folder.join("tls.key"), pair.signing_key.serialize_pem()).expect("the key is written");
}

/// All cases, and what was measured already. Their worlds and servers are below `folder` and live as long as they do.
pub(crate) fn all(folder: &Path) -> (Vec<Case>, Vec<Result>) {
    write_pair(folder);
    let [mut small, mut large] =
        [("small", SMALL), ("large", LARGE)].map(|it| World::make(folder, it.0, it.1));
    let at_once = start(&large);
    let [ours, growing] = [&small, &large].map(|it| Rc::new(Server::portolan(it, Mode::Plain)));
    let logged = Rc::new(Server::portolan(&small, Mode::Logged));
    let secure = Rc::new(Server::portolan(&small, Mode::Tls));
    let [floor, secure_floor] = [None, Some(folder)].map(|it| Rc::new(Server::floor(it)));

    let [near, far] = [&mut small, &mut large].map(|it| redirects(folder, it));
    let [short, long] = [&small, &large].map(|it| metalinks(folder, it));
    let (pull, bare_pull) = pulls(&mut small);
    let [kept, bare_kept] = [&pull, &bare_pull].map(|it| Requests::write(folder, it, &small.clients()));
    let [new, bare_new] = [&pull, &bare_pull].map(|it| Requests::write_closing(folder, it, &small.clients()));
    let one = |path: &str| Requests::write(folder, &[path.to_owned()], &[]);
    let fixed = || one("/fixed/4096");
    let manifest = format!("/v2/fedora/manifests/{}", small.manifest);
    let case = |name, goal, ours: (&Rc<Server>, Requests), floor: (&Rc<Server>, Requests)| Case {
        name,
        goal,
        ours: (ours.0.clone(), ours.1),
        floor: (floor.0.clone(), floor.1),
    };
    let cases = vec![
        case("blob 302, 400 hosts, 100,000 blobs", Some(1.5), (&ours, near.clone()), (&floor, near.clone())),
        case(
            "the same with 4,000 hosts and 1 million blobs",
            Some(1.2),
            (&growing, far),
            (&ours, near.clone()),
        ),
        case("the same with the access log : without", None, (&logged, near.clone()), (&ours, near)),
        case("metalink, 60 URLs", Some(2.5), (&ours, short.clone()), (&floor, short)),
        case("metalink, 246 URLs", Some(2.5), (&growing, long), (&floor, one("/fixed/44000"))),
        case("manifest by tag, 4 KB", Some(1.3), (&ours, one("/v2/fedora/manifests/0")), (&floor, fixed())),
        case("manifest by digest, 4 KB", Some(1.3), (&ours, one(&manifest)), (&floor, fixed())),
        case("ping", Some(1.1), (&ours, one("/v2/")), (&floor, one("/v2/"))),
        case("a pull over TLS, kept connections", Some(1.15), (&secure, kept), (&secure_floor, bare_kept)),
        case("a pull over TLS, a new connection each", Some(1.15), (&secure, new), (&secure_floor, bare_new)),
    ];
    let memory = (growing.memory() >> 20) as f64;
    let memory =
        Result::new("RssAnon with 4,000 hosts and 1 million blobs", "MiB", memory, None, Some(512.0));
    (cases, vec![at_once, memory])
}

/// From the start of the process to its first answer, with the snapshot in the disk's cache.
fn start(world: &World) -> Result {
    let once = |_| {
        let begin = Instant::now();
        let server = Server::portolan(world, Mode::Plain);
        server.ask();
        begin.elapsed().as_secs_f64()
    };
    let value = median((0..STARTS).map(once));
    Result::new("start from a saved snapshot of 1 million blobs", "s", value, None, Some(0.25))
}

/// The requests of a pull with five layers, and as large answers of the floor.
fn pulls(world: &mut World) -> (Vec<String>, Vec<String>) {
    let manifest = format!("/v2/fedora/manifests/{}", world.manifest);
    let mut ours = vec!["/v2/".to_owned(), "/v2/fedora/manifests/0".to_owned(), manifest];
    let mut floor: Vec<_> = ["/v2/", "/fixed/4096", "/fixed/4096"].map(str::to_owned).to_vec();
    for layer in (0..5).map(|_| format!("/v2/fedora/blobs/{}", world.draw_layer())) {
        ours.push(layer.clone());
        floor.push(layer);
    }
    (ours, floor)
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
    let mut text = String::from(
        "| case | unit | value | floor | ratio | goal | holds |\n|---|---|---|---|---|---|---|\n",
    );
    let number = |it: Option<f64>| it.map(|it| format!("{it:.2}")).unwrap_or_default();
    for it in results {
        let holds = it.holds.map_or("", |it| if it { "yes" } else { "no" });
        let [value, floor, ratio, goal] = [Some(it.value), it.floor, it.ratio, it.goal].map(number);
        text.push_str(&format!(
            "| {} | {} | {value} | {floor} | {ratio} | {goal} | {holds} |\n",
            it.case, it.unit
        ));
    }
    text
}
