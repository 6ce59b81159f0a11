//! Nine of ten mirrors fail, each in its way. Before they send a byte: docker's own store does not notice. Anyhow:
//! nobody does who asks the agent.

use std::collections::BTreeMap;
use std::time::Instant;

use super::clients::Clients;
use super::faults::{FAULTS, Fault, Mirror};
use super::table::AT_ONCE;
use super::{carry, near_name, register};
use crate::rig::agent::Agent;
use crate::rig::docker::Docker;
use crate::rig::http;
use crate::rig::image::{self, Image};
use crate::rig::namespace::{self, CLIENT_DE, Namespace, REGISTRY};
use crate::rig::portolan::{Portolan, Serve};
use crate::rig::program::finish;
use crate::rig::raw_registry::{Contents, RawRegistry};
use crate::rig::world::{self, CATEGORY};

/// The faults, one for each mirror; the tenth stays good.
const AT_OPEN: [&str; 9] =
    ["404", "403", "429", "500", "503", "refused", "reset at open", "expired certificate", "blob removed"];

/// So many images that each mirror is the first for some of them. Which, is decided by names only.
const IMAGES: usize = 80;

/// So many of them, one for each client, have a second layer: one in pieces, for several mirrors at once.
const LARGE_IMAGES: usize = 5;

/// Bytes of that layer.
const LARGE: usize = 5_500_000;

/// Stalls, wrong bytes and wrong sizes, too.
const ANYHOW: [&str; 9] = [
    "404",
    "503",
    "refused",
    "never answers",
    "cut mid-body (RST)",
    "stalls mid-body",
    "truncated file",
    "one bit flipped",
    "HTML with 200",
];

/// How many images are pulled through the agent.
const PULLS: usize = 20;

#[test]
fn nine_of_ten_mirrors_fail_at_open() {
    namespace::enter(|namespace| {
        let mut ten = Ten::start(namespace, AT_OPEN);
        let first = list_first(&ten.images);
        ten.fail(namespace);
        let docker = Docker::start(namespace, "docker");
        for (number, fault) in AT_OPEN.iter().enumerate() {
            let image = first
                .get(&near_name(number))
                .unwrap_or_else(|| panic!("{} is first for no image", near_name(number)));
            let begun = Instant::now();
            docker.pull(&format!("registry.test/{}:latest", repository(*image)));
            println!("{fault}: pulled in {:.1?}", begun.elapsed());
            assert!(begun.elapsed() < AT_ONCE, "{fault}: docker noticed: {}", docker.log());
        }
        ten.serve.stop();
    });
}

#[test]
fn nine_of_ten_mirrors_fail_behind_the_agent() {
    namespace::enter(|namespace| {
        let mut ten = Ten::start(namespace, ANYHOW);
        let agent = Agent::start(namespace);
        let clients = Clients::debian_12_behind(namespace, &agent);
        ten.fail(namespace);
        for (image, client) in clients.list().iter().cycle().take(PULLS).enumerate() {
            let begun = Instant::now();
            let reference = format!("registry.test/{}:latest", repository(image));
            finish(client.pull_command(&reference)).expect_success();
            println!("{}: {reference} in {:.1?}", client.name, begun.elapsed());
        }
        let (mirrors, registry) = (agent.metric("mirror_bytes_total"), agent.metric("registry_bytes_total"));
        println!("{mirrors} bytes from mirrors, {registry} from the registry");
        assert!(mirrors > registry, "the one good mirror was not found");
        ten.serve.stop();
    });
}

/// Ten mirrors of equal rank and a registry that offers them.
struct Ten {
    images: Vec<Image>,
    /// The last has no fault.
    mirrors: Vec<(Mirror, Option<&'static Fault>)>,
    serve: Serve,
    _origin: RawRegistry,
}

impl Ten {
    fn start(namespace: &Namespace, faults: [&str; 9]) -> Ten {
        let origin = RawRegistry::start(namespace);
        let layers = |it| if it < LARGE_IMAGES { &[super::LAYER, LARGE][..] } else { &[super::LAYER] };
        let images: Vec<Image> =
            (0..IMAGES).map(|it| Image::new(&repository(it), "amd64", layers(it))).collect();
        let mut contents = Contents::default();
        for (number, image) in images.iter().enumerate() {
            contents.add_image(&repository(number), "latest", image);
        }
        origin.set(contents);
        let portolan = world::configure(namespace, None);
        for line in ["migrate", "site add volunteers", "export", "scan"] {
            portolan.done(line);
        }
        let find = |name| FAULTS.iter().find(|it| it.name == name).expect("a fault of the matrix");
        let faults = faults.into_iter().map(|name| Some(find(name))).chain([None]);
        let mirrors = faults.enumerate().map(|(number, fault)| {
            let mirror = start(namespace, &portolan, number, fault);
            (mirror, fault)
        });
        let mirrors = mirrors.collect();
        portolan.done("crawl --once");
        let serve = portolan.serve();
        namespace::connect_from(CLIENT_DE, REGISTRY);
        Ten { images, mirrors, serve, _origin: origin }
    }

    /// From now on all but the last fail, each in its way.
    fn fail(&mut self, namespace: &Namespace) {
        for (mirror, fault) in &mut self.mirrors {
            fault.iter().for_each(|fault| mirror.fail(namespace, fault));
        }
    }
}

fn repository(number: usize) -> String {
    format!("image{number}")
}

/// A mirror with everything; without a fault one that stays good.
fn start(namespace: &Namespace, portolan: &Portolan, number: usize, fault: Option<&Fault>) -> Mirror {
    let name = near_name(number);
    let mirror = Mirror::start(namespace, &name, fault.unwrap_or(&FAULTS[0]));
    register(portolan, &name);
    carry(portolan, &name, &mirror.root(), CATEGORY);
    mirror
}

/// For each host an image whose layer clients are first sent there for. To ask with a closed range is not to come.
fn list_first(images: &[Image]) -> BTreeMap<String, usize> {
    let locate = |(number, image): (usize, &Image)| {
        let digest = image::digest(image.blobs()[1]);
        let url = format!("https://registry.test/v2/{}/blobs/{digest}", repository(number));
        let answer = http::get(&url, &["Range: bytes=0-0"]);
        let location = answer.header("location").expect("a mirror");
        let host = location.trim_start_matches("https://").split('/').next().expect("a host");
        (host.to_owned(), number)
    };
    images.iter().enumerate().map(locate).collect()
}
