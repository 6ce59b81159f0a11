//! The main job: real clients pull from us, and the layers come from the nearest mirror that holds them.

use std::fs;

use crate::rig::docker::Docker;
use crate::rig::image::Image;
use crate::rig::namespace::{self, CLIENT_DE, CLIENT_FR, CLIENT_SIX, Namespace, REGISTRY, REGISTRY_SIX};
use crate::rig::nginx::{Nginx, Request, Scheme};
use crate::rig::podman::Podman;
use crate::rig::world::{Engine, World, place};
use crate::rig::{http, rsync, skopeo, tree};

on_both_engines!(layers_are_near, |namespace, engine| layers_come_from_near_mirrors(namespace, engine));

/// Clients' own repositories; `fedora` is the image that some mirrors lack something of.
const REPOSITORIES: [&str; 3] = ["fedora", "for/skopeo", "for/podman"];

/// The mirrors of this story. All but `fresh` and `far` are in Germany, lack something, and have so much more
/// bandwidth than `fresh` that they would be chosen for nearly everything, if only bandwidth decided.
struct Mirrors {
    fresh: Nginx,
    stale: Nginx,
    lacking: Nginx,
    plain: Nginx,
    stopped: Nginx,
    far: Nginx,
}

impl Mirrors {
    fn new(world: &World<'_>) -> Mirrors {
        let wide = "--bandwidth 10000";
        Mirrors {
            fresh: world.mirror("de.mirror.test", Scheme::Https, "--bandwidth 1"),
            stale: world.mirror("de2.mirror.test", Scheme::Https, wide),
            lacking: world.mirror("de3.mirror.test", Scheme::Https, wide),
            plain: world.mirror("de4.mirror.test", Scheme::Http, wide),
            stopped: world.mirror("de5.mirror.test", Scheme::Https, wide),
            far: world.mirror("fr.mirror.test", Scheme::Https, wide),
        }
    }

    fn all(&self) -> [&Nginx; 6] {
        [&self.fresh, &self.stale, &self.lacking, &self.plain, &self.stopped, &self.far]
    }
}

fn layers_come_from_near_mirrors(namespace: &Namespace, engine: Engine) {
    let world = World::new(namespace, engine);
    let publisher = Docker::start(namespace, "publisher");
    for repository in &REPOSITORIES[1..] {
        publisher.push(&Image::ordinary(repository), &format!("origin.test/{repository}:latest"));
    }
    world.publish();
    let mirrors = Mirrors::new(&world);
    world.fill(&mirrors.stale.root());
    world.fill(&mirrors.stopped.root());
    publisher.push(&Image::ordinary("fedora"), "origin.test/fedora:latest");
    world.publish();
    for mirror in [&mirrors.fresh, &mirrors.lacking, &mirrors.plain, &mirrors.far] {
        world.fill(&mirror.root());
    }
    rsync::copy_and_kill(&world.category(), &place(&mirrors.stopped.root()), 1);
    let lost = &world.origin.layers("fedora", "latest")[0];
    fs::remove_file(place(&mirrors.lacking.root()).join(tree::blob_path(lost))).unwrap();
    world.crawl();
    let serve = world.portolan.serve();

    namespace::connect_from(CLIENT_DE, REGISTRY);
    forget(&mirrors);
    let docker = Docker::start(namespace, "client");
    assert_eq!(docker.pull("registry.test/fedora:latest"), world.origin.digest("fedora", "latest"));
    assert_layers_came_from_germany(&world, &mirrors, "fedora");
    let digest = skopeo::copy(namespace, "registry.test/for/skopeo:latest");
    assert_eq!(digest, world.origin.digest("for/skopeo", "latest"));
    assert_layers_came_from_germany(&world, &mirrors, "for/skopeo");
    let digest = Podman::new(namespace).pull("registry.test/for/podman:latest");
    assert_eq!(digest, world.origin.digest("for/podman", "latest"));
    assert_layers_came_from_germany(&world, &mirrors, "for/podman");

    a_client_far_away_is_sent_to_its_own_mirror(&world, &mirrors);
    a_client_with_ipv6_is_sent_to_a_mirror_with_ipv6(&world);
    a_direct_endpoint_uses_no_mirror(&world, &mirrors);
    serve.stop();
}

fn forget(mirrors: &Mirrors) {
    for mirror in mirrors.all() {
        mirror.forget_requests();
    }
}

/// Looks at the access logs since the last look: who served which layer of `repository`, and who was asked for what.
#[track_caller]
fn assert_layers_came_from_germany(world: &World<'_>, mirrors: &Mirrors, repository: &str) {
    assert_nobody_was_asked_for_what_it_lacks(mirrors);
    let german = [&mirrors.fresh, &mirrors.stale, &mirrors.lacking, &mirrors.stopped];
    let served: Vec<Request> = german.iter().flat_map(|mirror| mirror.blob_requests()).collect();
    for layer in world.origin.layers(repository, "latest") {
        let count = served.iter().filter(|request| request.digest().as_ref() == Some(&layer)).count();
        assert!(count >= 1, "no German mirror served {layer} of {repository}; they served {served:#?}");
    }
    assert_eq!(mirrors.far.requests().len(), 0, "a mirror in France was asked by a German client");
    assert_eq!(mirrors.plain.requests().len(), 0, "an https client was sent to an http mirror");
    forget(mirrors);
}

#[track_caller]
fn assert_nobody_was_asked_for_what_it_lacks(mirrors: &Mirrors) {
    for mirror in mirrors.all() {
        for request in mirror.requests() {
            let good = matches!(request.status, 200 | 206);
            assert!(good, "a client was sent for what is not there: {request:?}");
        }
    }
}

fn a_client_far_away_is_sent_to_its_own_mirror(world: &World<'_>, mirrors: &Mirrors) {
    namespace::connect_from(CLIENT_FR, REGISTRY);
    skopeo::copy(world.namespace, "registry.test/fedora:latest");
    let served = mirrors.far.blob_requests();
    for layer in world.origin.layers("fedora", "latest") {
        let came = served.iter().any(|request| request.digest().as_ref() == Some(&layer));
        assert!(came, "the French mirror did not serve {layer}: {served:#?}");
    }
    assert_nobody_was_asked_for_what_it_lacks(mirrors);
    forget(mirrors);
}

/// Only one mirror has IPv6, in another country and with the least bandwidth.
fn a_client_with_ipv6_is_sent_to_a_mirror_with_ipv6(world: &World<'_>) {
    namespace::connect_from(CLIENT_SIX, REGISTRY_SIX);
    for layer in world.origin.layers("fedora", "latest") {
        let answer = http::get(&format!("https://six.registry.test/v2/fedora/blobs/{layer}"), &[]);
        assert_eq!(answer.status, 302, "{answer:?}");
        let location = answer.header("location").unwrap();
        assert!(location.starts_with("https://de.mirror.test/"), "{location} has no IPv6");
    }
}

fn a_direct_endpoint_uses_no_mirror(world: &World<'_>, mirrors: &Mirrors) {
    namespace::connect_from(CLIENT_DE, REGISTRY);
    let digest = skopeo::copy(world.namespace, "direct.registry.test/fedora:latest");
    assert_eq!(digest, world.origin.digest("fedora", "latest"));
    for mirror in mirrors.all() {
        assert_eq!(mirror.requests().len(), 0, "the direct endpoint sent a client to a mirror");
    }
}
