use crate::rig::docker::Docker;
use crate::rig::image::{self, Image};
use crate::rig::namespace::{self, Namespace};
use crate::rig::nginx::{Nginx, Scheme};
use crate::rig::origin::{self, Origin};
use crate::rig::podman::Podman;
use crate::rig::postgres::Postgres;
use crate::rig::{http, rsync, server, skopeo};

fn rig(ns: &Namespace) {
    let t = std::time::Instant::now();
    let origin = Origin::start(ns);
    println!("origin {:?}", t.elapsed());
    let docker = Docker::start(ns, "docker");
    println!("docker {:?}", t.elapsed());
    let image = Image::ordinary("fedora");
    println!("image {:?}", t.elapsed());
    docker.push(&image, "origin.test/fedora:latest");
    println!("push {:?}", t.elapsed());
    let multi = [Image::new("multi", "amd64", &image::LAYERS), Image::new("multi", "arm64", &image::LAYERS)];
    let index = image::push_index(origin::URL, "multi", "latest", &multi);
    println!("push index {:?}", t.elapsed());
    assert_eq!(origin.digest("multi", "latest"), index);
    let empty = Docker::start(ns, "docker2");
    namespace::connect_from(namespace::CLIENT_FR, "192.0.2.5");
    assert_eq!(empty.pull("origin.test/fedora:latest"), origin.digest("fedora", "latest"));
    println!("pull {:?}", t.elapsed());
    assert_eq!(skopeo::copy(ns, "origin.test/multi:latest"), index);
    println!("skopeo {:?}", t.elapsed());
    println!("{}", Podman::new(ns).pull("origin.test/multi:latest"));
    println!("podman {:?}", t.elapsed());
    let requests = origin.requests();
    println!("{} {:?}", requests.len(), requests.last());
    let nginx = Nginx::start(ns, "de.mirror.test", Scheme::Both);
    rsync::copy(&ns.folder.join("ca"), &nginx.root().join("ca"));
    let a = http::get("https://de.mirror.test/ca/de.mirror.test.crt", &["Range: bytes=1-5"]);
    println!("{a:?} {:?}", nginx.requests());
    let id = ns.authority.issue(&["fr.mirror.test"]);
    let s = server::Server::start("fr.mirror.test:443", Some(&id), |_| server::Reply::new(200, "text/plain", "hallo"));
    println!("{:?} {:?}", http::get("https://fr.mirror.test/x", &[]), s.requests());
    println!("all {:?}", t.elapsed());
}

#[test]
fn one() {
    namespace::enter(|ns| rig(ns));
}
#[test]
fn two() {
    namespace::enter(|ns| {
        let t = std::time::Instant::now();
        let mut p = Postgres::start(ns);
        println!("pg {:?} {}", t.elapsed(), p.url());
        p.stop();
        p.start_again();
        println!("pg {:?} {}", t.elapsed(), p.query("portolan", "select 42"));
        rig(ns)
    });
}
