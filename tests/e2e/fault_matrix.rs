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
//! Then the crawler runs, and
//!
//! 3. every fault that it can see takes the mirror out, which is waited for and measured;
//! 4. who had failed in 1 pulls an image that nobody asked for before: that must succeed at once.

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
use crate::rig::portolan::Portolan;
use crate::rig::program::{Finished, finish_within};
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

/// How long the crawler may take to see all faults that it can see.
const OUT_WITHIN: Duration = Duration::from_secs(90);

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
    for fault in &FAULTS {
        assert!(matrix.is_near(fault, TAGS[0]), "{}: the near mirror is not the first", fault.name);
    }
    println!("the world stands after {:.1?}", began.elapsed());
    for (fault, mirror) in FAULTS.iter().zip(&matrix.near) {
        mirror.lock().expect("a mirror").fail(namespace, fault);
    }
    let mut table = matrix.pull_early();
    println!("everybody has pulled after {:.1?}", began.elapsed());
    let crawl = matrix.portolan.start("crawl");
    matrix.wait_until_out(&mut table);
    matrix.pull_late(&mut table);
    drop(crawl);
    println!("{}\nall of it took {:.1?}", table.render(), began.elapsed());
    table.write(file);
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

    /// Whether a client who comes for the first time would be sent to the near mirror. To ask does not count as
    /// coming: a closed range never does.
    fn is_near(&self, fault: &Fault, tag: &str) -> bool {
        let repository = repository(fault, &self.clients[0]);
        let digest = image::digest(image_of(&repository, tag).blobs()[1]);
        let url = format!("https://registry.test/v2/{repository}/blobs/{digest}");
        let answer = http::get(&url, &["Range: bytes=0-0"]);
        let number = FAULTS.iter().position(|it| it.name == fault.name).expect("a fault of the table");
        let near = format!("https://{}/", near_name(number));
        answer.header("location").is_some_and(|location| location.starts_with(&near))
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

    /// Step 3.
    fn wait_until_out(&self, table: &mut Table) {
        let started = Instant::now();
        let mut offered: Vec<&Fault> = FAULTS.iter().collect();
        while offered.iter().any(|fault| fault.visible) && started.elapsed() < OUT_WITHIN {
            offered.retain(|fault| {
                let near = self.is_near(fault, TAGS[1]);
                if !near {
                    println!("{}: out after {:.1?}", fault.name, started.elapsed());
                    table.insert_out(fault, started.elapsed());
                }
                near
            });
        }
        let names: Vec<&str> = offered.iter().filter(|it| it.visible).map(|it| it.name).collect();
        assert!(names.is_empty(), "still offered after {OUT_WITHIN:?}: {names:?}");
    }

    /// Step 4.
    fn pull_late(&self, table: &mut Table) {
        for (fault, client) in table.list_failed() {
            let begun = Instant::now();
            let client = self.clients.iter().find(|it| it.name == client).expect("a client");
            // A crawl that looks elsewhere may have let the mirror in again.
            let cell = pull_until_good(client, &reference(fault, client, TAGS[1]));
            let (name, took) = (&client.name, begun.elapsed());
            let pulls = cell
                .good
                .unwrap_or_else(|| panic!("{}, {name}: the mirror is out and pulls fail", fault.name));
            println!("{}, {name}: ✔ by pull {pulls} after {took:.1?} once the mirror is out", fault.name);
        }
    }
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
