//! How much memory `portolan agent` takes: as many clients make it, not as large blobs do. Run by `make bench-pull`.

use crate::rig::agent::{Agent, LISTEN};
use crate::rig::image::{self, Image};
use crate::rig::namespace::{self, CLIENT_DE, REGISTRY};
use crate::rig::nginx::Scheme;
use crate::rig::origin;
use crate::rig::program::{command, finish};
use crate::rig::world::{Engine, World};

/// Repositories, and how many bytes their one layer has.
const LAYERS: [(&str, usize); 2] = [("small", 10_000_000), ("large", 300_000_000)];

/// Clients that read the layer at once.
const CLIENTS: usize = 50;

/// How much more the large layer may take than the small one.
const MORE: f64 = 1.25;

#[test]
#[ignore = "measures; run by `make bench-pull`"]
fn it_does_not_grow_with_blobs() {
    namespace::enter(|namespace| {
        let world = World::new(namespace, Engine::Sqlite);
        let layers = LAYERS.map(|(name, size)| {
            let image = Image::new(name, "amd64", &[size]);
            image.push(origin::URL, name, "latest");
            image::digest(image.blobs()[1])
        });
        world.publish();
        let mirror = world.mirror("de.mirror.test", Scheme::Https, "");
        world.fill(&mirror.root());
        world.crawl();
        let serve = world.portolan.serve();
        namespace::connect_from(CLIENT_DE, REGISTRY);
        let peaks = [0, 1].map(|number| {
            let (name, size) = LAYERS[number];
            let agent = Agent::start(namespace);
            let before = agent.peak_memory();
            let mut curl = command("curl");
            curl.args(["--silent", "--show-error", "--fail", "--parallel", "--parallel-max"]);
            curl.arg(CLIENTS.to_string());
            let url = format!("http://{LISTEN}/v2/{name}/blobs/{}", layers[number]);
            (0..CLIENTS).for_each(|_| {
                curl.args(["--output", "/dev/null", &url]);
            });
            finish(curl).expect_success();
            let peak = agent.peak_memory();
            let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
            println!(
                "{CLIENTS} clients, {} MB: {:.1} MiB at the start, at most {:.1} MiB",
                size / 1_000_000,
                mib(before),
                mib(peak)
            );
            agent.stop();
            peak as f64
        });
        assert!(peaks[1] <= peaks[0] * MORE, "{peaks:?}");
        serve.stop();
    });
}
