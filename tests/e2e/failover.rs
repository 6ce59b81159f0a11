//! A mirror that fails in the middle of it all is not the client's problem.

use crate::rig::docker::Docker;
use crate::rig::faulty::{Fault, Faulty};
use crate::rig::image::Image;
use crate::rig::namespace::{self, CLIENT_DE, Namespace, REGISTRY};
use crate::rig::nginx::{Nginx, Scheme};
use crate::rig::origin;
use crate::rig::server::Cut;
use crate::rig::world::{Engine, World};

/// What dockerd logs when a layer failed twice and it waits five seconds before it comes again.
const RETRY: &str = "Download failed, retrying";

on_both_engines!(a_mirror_that_is_gone_costs_nothing, |namespace, engine| docker_falls_back_at_once(
    namespace,
    engine,
    Nginx::stop
));

on_both_engines!(a_mirror_that_lost_its_files_costs_nothing, |namespace, engine| docker_falls_back_at_once(
    namespace,
    engine,
    |near| near.answer_blobs_with(404)
));

on_both_engines!(a_mirror_with_a_broken_server_costs_nothing, |namespace, engine| docker_falls_back_at_once(
    namespace,
    engine,
    |near| near.answer_blobs_with(500)
));

/// dockerd asks again within milliseconds and takes a second failure as final, so the second answer has to be good.
fn docker_falls_back_at_once(namespace: &Namespace, engine: Engine, break_mirror: fn(&mut Nginx)) {
    let world = World::new(namespace, engine);
    Image::ordinary("fedora").push(origin::URL, "fedora", "latest");
    world.publish();
    let mut near = world.mirror("de.mirror.test", Scheme::Https, "");
    let far = world.mirror("fr.mirror.test", Scheme::Https, "");
    world.fill(&near.root());
    world.fill(&far.root());
    world.crawl();
    let serve = world.portolan.serve();
    near.forget_requests();
    far.forget_requests();
    break_mirror(&mut near);

    namespace::connect_from(CLIENT_DE, REGISTRY);
    let docker = Docker::start(namespace, "client");
    assert_eq!(docker.pull("registry.test/fedora:latest"), world.origin.digest("fedora", "latest"));
    assert!(!docker.log().contains(RETRY), "docker had to wait: {}", docker.log());
    assert_eq!(far.requests().len(), 0, "a repeat goes to the fallback, not to another mirror");
    serve.stop();
}

on_both_engines!(a_body_that_ends_early_is_resumed_from_the_next_mirror, |namespace, engine| docker_resumes(
    namespace,
    engine,
    Cut::Fin
));

on_both_engines!(a_body_that_is_reset_is_resumed_from_the_next_mirror, |namespace, engine| docker_resumes(
    namespace,
    engine,
    Cut::Rst
));

fn docker_resumes(namespace: &Namespace, engine: Engine, how: Cut) {
    let world = World::new(namespace, engine);
    Image::ordinary("fedora").push(origin::URL, "fedora", "latest");
    world.publish();
    let near = Faulty::start(namespace, "de.mirror.test");
    world.opt_in_https("de.mirror.test", "");
    let far = world.mirror("fr.mirror.test", Scheme::Https, "");
    world.fill(&near.root());
    world.fill(&far.root());
    world.crawl();
    assert_eq!(world.found("de.mirror.test").0, "up-to-date");
    let serve = world.portolan.serve();
    near.server().forget_requests();
    far.forget_requests();
    near.set(Fault::Cut(100_000, how));

    namespace::connect_from(CLIENT_DE, REGISTRY);
    let docker = Docker::start(namespace, "client");
    assert_eq!(docker.pull("registry.test/fedora:latest"), world.origin.digest("fedora", "latest"));
    assert!(!near.server().requests().is_empty(), "the near mirror was not even tried");
    let resumed = far.blob_requests();
    for layer in world.origin.layers("fedora", "latest") {
        let request = resumed.iter().find(|request| request.digest().as_ref() == Some(&layer));
        let request =
            request.unwrap_or_else(|| panic!("{layer} was not resumed from the next mirror: {resumed:#?}"));
        assert_eq!(request.status, 206, "{request:?}");
        assert!(request.range.starts_with("bytes=") && request.range != "bytes=0-", "{request:?}");
    }
    serve.stop();
}
