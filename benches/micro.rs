//! `cargo bench --bench micro`: what the steps of an answer take by themselves.

#[path = "serve/world.rs"]
#[allow(dead_code, reason = "the other bench serves the world; this one reads it")]
mod world;

use std::{
    net::IpAddr,
    sync::{Arc, LazyLock},
};

use divan::Bencher;
use portolan::{
    geoip::{self, GeoIp},
    metalink::{Document, Resource, render_v3, render_v4},
    mirror::Scheme,
    mirrorlist::{Client, Content, Holdings, Hosts, Location, Policy, Snapshot, Wanted, rank},
    oci::Digest,
    store::{Part, Store},
};
use world::{LARGE, SMALL, Size, World};

fn main() {
    divan::Divan::from_args().sample_count(SAMPLES).main();
}

/// Enough that caches are warm and clients from everywhere have asked.
const SAMPLES: u32 = 2_000;

/// A world as a server has it in memory, and who asks there.
struct Rig {
    snapshot: Snapshot,
    geoip: GeoIp,
    clients: Vec<IpAddr>,
    layers: Vec<Digest>,
}

static FEW: LazyLock<Rig> = LazyLock::new(|| Rig::new(SMALL));
static MANY: LazyLock<Rig> = LazyLock::new(|| Rig::new(LARGE));

impl Rig {
    fn new(size: Size) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut world = World::make(folder.path(), "world", size);
        let store = Store::open(&world.folder.join("Plain")).expect("the state");
        fn load<P: Part>(store: &Store) -> P {
            store.load().expect("it can be read").expect("it was saved").part
        }
        let snapshot = Snapshot {
            content: Arc::new(Content::new(load(&store)).expect("the content")),
            holdings: Arc::new(Holdings::new(load(&store)).expect("the holdings")),
            hosts: Arc::new(Hosts::new(load(&store))),
            ..Snapshot::default()
        };
        Self {
            snapshot,
            geoip: GeoIp::open(&geoip::Config::default()).expect("the database that is built in"),
            clients: world.clients().iter().map(|it| it.parse().expect("an address")).collect(),
            layers: (0..10_000).map(|_| world.draw_layer()).collect(),
        }
    }

    /// One client after the other asks for a layer, and so many hosts are enough.
    fn rank(&self, bencher: Bencher<'_, '_>, most: usize) {
        let (policy, at) = (Policy::default(), self.snapshot.holdings.rows().holdings[0].crawled_at);
        let mut turns = self.clients.iter().zip(&self.layers).cycle();
        bencher.bench_local(|| {
            let (address, layer) = turns.next().expect("a cycle has no end");
            let found = self.geoip.find(*address);
            let location = Location { country: found.country, place: found.place, asn: found.asn };
            let hosts = &self.snapshot.hosts;
            let client = Client::new(hosts, *address, location, Scheme::Https, at, &policy);
            let blob = self.snapshot.find_blob(layer).expect("it is there");
            let wanted = Wanted { repository: "fedora", number: blob.number, size: blob.size, most };
            rank(&self.snapshot, &client, &wanted).len()
        });
    }
}

#[divan::bench(args = [4, 60])]
fn rank_400_hosts(bencher: Bencher<'_, '_>, most: usize) {
    FEW.rank(bencher, most);
}

#[divan::bench(args = [4, 246])]
fn rank_4000_hosts(bencher: Bencher<'_, '_>, most: usize) {
    MANY.rank(bencher, most);
}

#[divan::bench]
fn find_one_of_a_million_blobs(bencher: Bencher<'_, '_>) {
    let mut layers = MANY.layers.iter().cycle();
    bencher.bench_local(|| MANY.snapshot.find_blob(layers.next().expect("a cycle has no end")).is_ok());
}

#[divan::bench]
fn locate_a_client(bencher: Bencher<'_, '_>) {
    let mut clients = FEW.clients.iter().cycle();
    bencher.bench_local(|| FEW.geoip.find(*clients.next().expect("a cycle has no end")));
}

/// A document with so many URLs.
fn document(urls: usize) -> Document {
    let resource = |number: usize| Resource {
        url: format!("https://mirror-{number}.example.org/pub/containers/blobs/sha256/ab/{number:064}")
            .parse()
            .expect("a URL"),
        country: "DE".parse().ok(),
        is_private: false,
    };
    let digest = Digest::of(b"portolan");
    Document::new("name", 1, digest, 1_700_000_000, None, (0..urls).map(resource).collect())
        .expect("a document")
}

#[divan::bench(args = [60, 246])]
fn write_metalink_3(bencher: Bencher<'_, '_>, urls: usize) {
    bencher.with_inputs(|| document(urls)).bench_refs(|it| render_v3(it).len());
}

#[divan::bench(args = [60, 246])]
fn write_metalink_4(bencher: Bencher<'_, '_>, urls: usize) {
    bencher.with_inputs(|| document(urls)).bench_refs(|it| render_v4(it).len());
}
