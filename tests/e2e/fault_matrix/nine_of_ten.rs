//! Nine of ten mirrors fail before they send a byte, each in its way: docker's own store does not notice.

use std::collections::BTreeMap;
use std::time::Instant;

use super::faults::{FAULTS, Fault, Mirror};
use super::table::AT_ONCE;
use super::{carry, near_name, register};
use crate::rig::docker::Docker;
use crate::rig::http;
use crate::rig::image::{self, Image};
use crate::rig::namespace::{self, CLIENT_DE, Namespace, REGISTRY};
use crate::rig::portolan::Portolan;
use crate::rig::raw_registry::{Contents, RawRegistry};
use crate::rig::world::{self, CATEGORY};

/// The faults, one for each mirror; the tenth stays good.
const AT_OPEN: [&str; 9] =
    ["404", "403", "429", "500", "503", "refused", "reset at open", "expired certificate", "blob removed"];

/// So many images that each mirror is the first for some of them. Which, is decided by names only.
const IMAGES: usize = 80;

#[test]
fn nine_of_ten_mirrors_fail_at_open() {
    namespace::enter(|namespace| {
        let find = |name| FAULTS.iter().find(|it| it.name == name).expect("a fault of the matrix");
        docker_does_not_notice(namespace, AT_OPEN.map(find));
    });
}

fn docker_does_not_notice(namespace: &Namespace, faults: [&Fault; 9]) {
    let origin = RawRegistry::start(namespace);
    let images: Vec<Image> =
        (0..IMAGES).map(|it| Image::new(&repository(it), "amd64", &[super::LAYER])).collect();
    let mut contents = Contents::default();
    for (number, image) in images.iter().enumerate() {
        contents.add_image(&repository(number), "latest", image);
    }
    origin.set(contents);
    let portolan = world::configure(namespace, None);
    for line in ["migrate", "site add volunteers", "export", "scan"] {
        portolan.done(line);
    }
    let mut mirrors: Vec<Mirror> =
        (0..10).map(|number| start(namespace, &portolan, number, faults.get(number))).collect();
    portolan.done("crawl --once");
    let serve = portolan.serve();
    namespace::connect_from(CLIENT_DE, REGISTRY);
    let first = list_first(&images);
    for (mirror, fault) in mirrors.iter_mut().zip(faults) {
        mirror.fail(namespace, fault);
    }

    let docker = Docker::start(namespace, "docker");
    for (number, fault) in faults.iter().enumerate() {
        let image = first
            .get(&near_name(number))
            .unwrap_or_else(|| panic!("{} is first for no image", near_name(number)));
        let begun = Instant::now();
        docker.pull(&format!("registry.test/{}:latest", repository(*image)));
        println!("{}: pulled in {:.1?}", fault.name, begun.elapsed());
        assert!(begun.elapsed() < AT_ONCE, "{}: docker noticed: {}", fault.name, docker.log());
    }
    serve.stop();
}

fn repository(number: usize) -> String {
    format!("image{number}")
}

/// A mirror with everything; without a fault one that stays good.
fn start(namespace: &Namespace, portolan: &Portolan, number: usize, fault: Option<&&Fault>) -> Mirror {
    let name = near_name(number);
    let mirror = Mirror::start(namespace, &name, fault.copied().unwrap_or(&FAULTS[0]));
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
