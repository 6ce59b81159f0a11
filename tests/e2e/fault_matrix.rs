//! What becomes of a pull when the nearest mirror fails: every fault, every client.
//!
//! Each fault has a category and a mirror of its own, the nearest for that category's images; two more mirrors are
//! good and hold everything. All are crawled while good. Then every near mirror fails in its way, and before any
//! crawler can see that,
//!
//! 1. every client pulls an image through every near mirror: what the client can heal must be healed at once;
//! 2. where that fails, the same pull is tried again: the repeat memory must lead it to another mirror, whatever
//!    the fault. A client for which that does nothing is named with the fault ([`Fault::stuck`]).
//!
//! Then all mirrors are made good again, crawler and prober run, clients are sent to all near mirrors, and these fail
//! anew, all in one moment:
//!
//! 3. every fault that can be seen takes its mirror out, which is measured, printed with its bound, and must not take
//!    longer than [`TOLERANCE`] times that;
//! 4. who had failed in 1 pulls an image that nobody asked for before: that must succeed at once.

mod behind_agent;
mod clients;
mod faults;
mod nine_of_ten;
mod table;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use clients::{Client, Clients};
use faults::{FAULTS, Fault, Mirror};
use table::{Cell, Table};

use crate::rig::image::{self, Image};
use crate::rig::namespace::{self, CLIENT_DE, Namespace, REGISTRY};
use crate::rig::nginx::{Nginx, Scheme};
use crate::rig::portolan::{Portolan, Serve};
use crate::rig::program::{Finished, finish_within, wait_for};
use crate::rig::raw_registry::{Contents, RawRegistry};
use crate::rig::root::Root;
use crate::rig::world::{self, CATEGORY};
use crate::rig::{http, rsync};

/// A client that is not through by then hangs. docker's own pauses are shorter.
const HANG: Duration = Duration::from_secs(15);

/// How often an image is pulled until it counts as lost. Newer containerds keep the first bytes of a download that
/// went wrong, and go on from there until their next garbage collection, some changes of their database later.
const PULLS: u32 = 50;

/// How many of these pulls may hang.
const HANGS: u32 = 2;

/// A dead mirror that clients are sent to is known within 5 s, and in all answers 2 s later.
const BOUND: Duration = Duration::from_secs(7);

/// 19 mirrors fail in one moment, on a machine of two cores that does much else: so many times the bound pass.
const TOLERANCE: u32 = 2;

/// How long a client that watches waits from one look to the next.
const LOOK: Duration = Duration::from_millis(500);

/// How long crawler and prober may take to begin.
const BEGUN_WITHIN: Duration = Duration::from_secs(60);

/// So long all near mirrors are in use before they fail anew: each is probed several times.
const IN_USE: Duration = Duration::from_secs(6);

/// Pulls that run at once, besides those that are expected to hang.
const AT_ONCE: usize = 3;

/// Bytes of the one layer of an image: more than what Portolan sends itself.
const LAYER: usize = 200_000;

/// The tag that is pulled while the mirror is bad and nobody knows, and the one that is pulled when it is out.
const TAGS: [&str; 2] = ["early", "late"];

/// Mirrors that hold everything and never fail.
const GOOD: [&str; 2] = ["fr.mirror.test", "us.mirror.test"];

/// The folder of [`Clients::modern`]'s Debian; `make test-clients` sets it.
const MODERN: &str = "PORTOLAN_CLIENTS";

#[test]
fn with_debian_12() {
    namespace::enter(|namespace| tell(namespace, &Clients::debian_12(namespace), "fault-matrix.md"));
}

#[test]
#[ignore = "needs the Debian that `make test-clients` fetches"]
fn with_modern_clients() {
    let folder = PathBuf::from(std::env::var_os(MODERN).expect(MODERN));
    namespace::enter(move |namespace| {
        let clients = Clients::modern(namespace, Root::over(namespace, &folder));
        tell(namespace, &clients, "fault-matrix-modern.md");
    });
}

fn tell(namespace: &Namespace, clients: &Clients, file: &str) {
    let began = Instant::now();
    let matrix = Matrix::new(namespace, clients);
    let serve = matrix.portolan.serve();
    namespace::connect_from(CLIENT_DE, REGISTRY);
    matrix.check_near();
    println!("the world stands after {:.1?}", began.elapsed());
    matrix.fail(namespace);
    let mut table = matrix.pull_early();
    println!("everybody has pulled after {:.1?}", began.elapsed());
    matrix.heal(namespace);
    let crawl = matrix.portolan.start("crawl");
    let layers = matrix.list_layers(TAGS[1]);
    matrix.use_all(&serve, &layers);
    matrix.fail_and_wait_until_out(namespace, &layers, &mut table);
    matrix.pull_late(&mut table);
    drop(crawl);
    println!("{}\nall of it took {:.1?}", table.render(), began.elapsed());
    Table::write(file, &table.render());
    for (category, client) in table.list_lost() {
        let log = serve.log();
        let lines = log.lines().filter(|it| it.contains(&format!("/v2/{category}/{client}/")));
        lines.for_each(|it| println!("{it}"));
    }
    table.check();
    serve.stop();
}

struct Matrix<'a> {
    portolan: Portolan,
    clients: &'a [Client],
    /// By fault.
    near: Vec<Mutex<Mirror>>,
    _origin: RawRegistry,
    _good: Vec<Nginx>,
}

impl<'a> Matrix<'a> {
    fn new(namespace: &Namespace, clients: &'a Clients) -> Matrix<'a> {
        let origin = RawRegistry::start(namespace);
        origin.set(contents(clients.list()));
        let portolan = world::configure(namespace, None);
        let one =
            format!("[[category]]\nname = \"{CATEGORY}\"\nrepositories = [\"*\", \"*/*\"]\ntags = [\"*\"]\n");
        portolan.configure(&one, &FAULTS.iter().map(render_category).collect::<String>());
        for line in ["migrate", "site add volunteers", "export", "scan"] {
            portolan.done(line);
        }
        let good = GOOD.map(|name| Nginx::start(namespace, name, Scheme::Https));
        for mirror in &good {
            register(&portolan, mirror.name());
            FAULTS
                .iter()
                .for_each(|fault| carry(&portolan, mirror.name(), &mirror.root(), &fault.category()));
        }
        let near = FAULTS.iter().enumerate().map(|(number, fault)| {
            let mirror = Mirror::start(namespace, &near_name(number), fault);
            register(&portolan, &near_name(number));
            carry(&portolan, &near_name(number), &mirror.root(), &fault.category());
            Mutex::new(mirror)
        });
        let near = near.collect();
        portolan.done("crawl --once");
        Matrix { portolan, clients: clients.list(), near, _origin: origin, _good: good.into() }
    }

    /// Steps 1 and 2.
    fn pull_early(&self) -> Table {
        let table = Mutex::new(Table::new(self.clients));
        let cells = FAULTS.iter().flat_map(|fault| self.clients.iter().map(move |client| (fault, client)));
        let (hanging, others): (Vec<_>, Vec<_>) = cells.partition(|(fault, _)| fault.hangs);
        let pull = &|(fault, client): (&Fault, &Client)| {
            let cell = pull_until_good(client, &reference(fault, client, TAGS[0]));
            println!("{}, {}: {}", fault.name, client.name, cell.render());
            table.lock().expect("the table").insert(fault, client, cell);
        };
        let queue = Mutex::new(VecDeque::from(others));
        let next = || queue.lock().expect("the queue").pop_front();
        thread::scope(|scope| {
            for cell in hanging {
                scope.spawn(move || pull(cell));
            }
            for _ in 0..AT_ONCE {
                scope.spawn(|| std::iter::from_fn(next).for_each(pull));
            }
        });
        table.into_inner().expect("the table")
    }

    fn fail(&self, namespace: &Namespace) {
        for (fault, mirror) in FAULTS.iter().zip(&self.near) {
            mirror.lock().expect("a mirror").fail(namespace, fault);
        }
    }

    /// All mirrors are as before, and hold everything.
    fn heal(&self, namespace: &Namespace) {
        for (fault, mirror) in FAULTS.iter().zip(&self.near) {
            let mut mirror = mirror.lock().expect("a mirror");
            rsync::copy(&self.portolan.category(&fault.category()), &mirror.root().join(fault.category()));
            mirror.heal(namespace);
        }
    }

    /// The URL of one layer for each fault.
    fn list_layers(&self, tag: &str) -> Vec<String> {
        FAULTS.iter().map(|it| layer(it, &self.clients[0], tag)).collect()
    }

    #[track_caller]
    fn check_near(&self) {
        for (fault, layer) in FAULTS.iter().zip(self.list_layers(TAGS[0])) {
            assert!(is_near(fault, &layer), "{}: the near mirror is not the first", fault.name);
        }
    }

    /// Clients are sent to all near mirrors, and the prober knows of that.
    fn use_all(&self, serve: &Serve, layers: &[String]) {
        let is_alive =
            || http::get(&format!("{}/readyz", serve.management), &[]).json()["probe"]["state"] == "alive";
        assert!(wait_for(BEGUN_WITHIN, is_alive), "no prober");
        let all_near =
            || FAULTS.iter().zip(layers).filter(|(fault, layer)| !is_near(fault, layer)).count() == 0;
        assert!(wait_for(BEGUN_WITHIN, all_near), "a near mirror that is good is not offered");
        let started = Instant::now();
        while started.elapsed() < IN_USE {
            assert!(all_near(), "a near mirror that is good is not offered");
        }
    }

    /// Step 3.
    fn fail_and_wait_until_out(&self, namespace: &Namespace, layers: &[String], table: &mut Table) {
        let come = |layer: &String| drop(http::get(layer, &[]));
        layers.iter().for_each(come);
        let started = Instant::now();
        self.fail(namespace);
        println!("all near mirrors failed within {:.1?}", started.elapsed());
        let failed = table.list_failed();
        let others = |fault: &Fault| -> Vec<String> {
            let clients = failed.iter().filter(|(of, _)| of.name == fault.name);
            let client = |name: &str| self.clients.iter().find(|it| it.name == name).expect("a client");
            clients.map(|(_, name)| layer(fault, client(name), TAGS[1])).collect()
        };
        let (outs, late) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
        let watch = |fault: &'static Fault, layer: &String| {
            // A client that did not get its layer comes back.
            come(layer);
            // That layer first, then those of the others, whom nobody asked for.
            for layer in [vec![layer.clone()], others(fault)].concat() {
                while is_near(fault, &layer) {
                    if started.elapsed() > BOUND * TOLERANCE {
                        return late.lock().expect("the late").push(fault.name);
                    }
                    thread::sleep(LOOK);
                }
            }
            outs.lock().expect("the others").push((started.elapsed(), fault));
        };
        thread::scope(|scope| {
            for (fault, layer) in FAULTS.iter().zip(layers).filter(|(fault, _)| fault.visible) {
                let watch = &watch;
                scope.spawn(move || watch(fault, layer));
            }
        });
        for (took, fault) in outs.into_inner().expect("the others") {
            let is_late = if took > BOUND { "LATE: " } else { "" };
            println!("{}: {is_late}out after {took:.1?} of {BOUND:?}", fault.name);
            table.insert_out(fault, took);
        }
        let late = late.into_inner().expect("the late");
        assert!(late.is_empty(), "still offered after {:?}: {late:?}", BOUND * TOLERANCE);
    }

    /// Step 4.
    fn pull_late(&self, table: &mut Table) {
        for (fault, client) in table.list_failed() {
            let client = self.clients.iter().find(|it| it.name == client).expect("a client");
            let begun = Instant::now();
            let pulled = pull(client, &reference(fault, client, TAGS[1]));
            let (name, took) = (&client.name, begun.elapsed());
            assert!(pulled.success(), "{}, {name}: the mirror is out and a pull fails: {pulled}", fault.name);
            println!("{}, {name}: ✔ after {took:.1?} once the mirror is out", fault.name);
        }
    }
}

/// Whether a client who comes for this layer for the first time would be sent to the near mirror. To ask does not
/// count as coming: a closed range never does.
fn is_near(fault: &Fault, layer: &str) -> bool {
    let answer = http::get(layer, &["Range: bytes=0-0"]);
    let number = FAULTS.iter().position(|it| it.name == fault.name).expect("a fault of the table");
    let near = format!("https://{}/", near_name(number));
    answer.header("location").is_some_and(|location| location.starts_with(&near))
}

/// Pulls, and pulls again until it succeeds.
fn pull_until_good(client: &Client, reference: &str) -> Cell {
    let begun = Instant::now();
    let mut last = pull(client, reference);
    let mut cell = Cell { took: begun.elapsed(), hung: last.timed_out(), good: None };
    let (mut pulls, mut hangs) = (1, u32::from(cell.hung));
    while !last.success() && pulls < PULLS && hangs < HANGS {
        println!(
            "{}: pull {pulls} of {reference}: {}",
            client.name,
            last.stderr.lines().last().unwrap_or("hangs")
        );
        last = pull(client, reference);
        pulls += 1;
        hangs += u32::from(last.timed_out());
    }
    cell.good = last.success().then_some(pulls);
    if cell.good.is_none() {
        println!("{}: {reference} was pulled {pulls} times: {last}", client.name);
    }
    cell
}

fn pull(client: &Client, reference: &str) -> Finished {
    finish_within(HANG, client.pull_command(reference))
}

/// Two images for every fault and client: none of them is ever asked for by another client.
fn contents(clients: &[Client]) -> Contents {
    let mut contents = Contents::default();
    for (fault, client) in FAULTS.iter().flat_map(|fault| clients.iter().map(move |client| (fault, client))) {
        for tag in TAGS {
            let repository = repository(fault, client);
            contents.add_image(&repository, tag, &image_of(&repository, tag));
        }
    }
    contents
}

fn image_of(repository: &str, tag: &str) -> Image {
    Image::new(&format!("{repository}:{tag}").replace('/', "-"), "amd64", &[LAYER])
}

fn repository(fault: &Fault, client: &Client) -> String {
    format!("{}/{}", fault.category(), client.kind.word())
}

/// The URL of the layer of a client's image.
fn layer(fault: &Fault, client: &Client, tag: &str) -> String {
    let repository = repository(fault, client);
    let digest = image::digest(image_of(&repository, tag).blobs()[1]);
    format!("https://registry.test/v2/{repository}/blobs/{digest}")
}

fn reference(fault: &Fault, client: &Client, tag: &str) -> String {
    format!("registry.test/{}:{tag}", repository(fault, client))
}

fn near_name(fault: usize) -> String {
    format!("de{}.mirror.test", 11 + fault)
}

fn render_category(fault: &Fault) -> String {
    let name = fault.category();
    format!("[[category]]\nname = \"{name}\"\nrepositories = [\"{name}/*\"]\ntags = [\"*\"]\n")
}

fn register(portolan: &Portolan, host: &str) {
    let country = host[..2].to_uppercase();
    portolan.done(&format!("host add {host} --site volunteers --country {country}"));
}

/// Copies a category to a mirror and opts that in.
fn carry(portolan: &Portolan, host: &str, root: &Path, category: &str) {
    rsync::copy(&portolan.category(category), &root.join(category));
    portolan.done(&format!("host opt-in {host} {category} --url https://{host}/{category}"));
}
