//! podman fetches only what it lacks of a layer (zstd:chunked), by requests for many ranges at once.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::rig::image::noise;
use crate::rig::namespace::{self, CLIENT_DE, Namespace, REGISTRY};
use crate::rig::nginx::{Request, Scheme};
use crate::rig::podman::Podman;
use crate::rig::program::finish;
use crate::rig::root::Root;
use crate::rig::world::{Engine, World};

/// Files of the image, each so many bytes.
const FILES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
const SIZE: usize = 300_000;

/// Those that the second version has changed: not neighbours, so that they are ranges of their own.
const CHANGED: [&str; 2] = ["b", "e"];

/// What podman logs when it fetched parts only.
const PARTIAL: &str = "Retrieved partial blob";

#[test]
fn podman_fetches_parts_of_layers() {
    namespace::enter(|namespace| {
        let world = World::new(namespace, Engine::Sqlite);
        let publisher = Podman::with_partial_images(&Root::Machine, namespace.folder.join("publisher"));
        let versions = [files(&[]), files(&CHANGED)];
        for (tag, files) in ["one", "two"].iter().zip(&versions) {
            publish(namespace, &publisher, tag, files);
        }
        world.publish();
        let mirror = world.mirror("de.mirror.test", Scheme::Https, "");
        world.fill(&mirror.root());
        world.crawl();
        let serve = world.portolan.serve();
        namespace::connect_from(CLIENT_DE, REGISTRY);
        mirror.forget_requests();

        let podman = Podman::with_partial_images(&Root::Machine, namespace.folder.join("client"));
        pull_and_compare(&podman, "registry.test/fedora:one", &versions[0]);
        let whole = sum_of_ranges(&mirror.blob_requests());
        mirror.forget_requests();
        pull_and_compare(&podman, "registry.test/fedora:two", &versions[1]);
        let part = sum_of_ranges(&mirror.blob_requests());
        println!("from the mirror: {whole} bytes of the first version, {part} of the second");
        assert!(whole > FILES.len() * SIZE, "the first version was not fetched by ranges");
        assert!((CHANGED.len() * SIZE..3 * SIZE).contains(&part), "more than the changed files came");

        // The same from us: the endpoint that uses no mirrors sends many ranges, too.
        let direct = Podman::with_partial_images(&Root::Machine, namespace.folder.join("direct"));
        mirror.forget_requests();
        for (tag, files) in ["one", "two"].iter().zip(&versions) {
            pull_and_compare(&direct, &format!("direct.registry.test/fedora:{tag}"), files);
        }
        assert_eq!(mirror.requests().len(), 0);
        serve.stop();
    });
}

/// Names and contents; those of `changed` differ from the others' version.
fn files(changed: &[&str]) -> BTreeMap<&'static str, Vec<u8>> {
    let content = |name: &&'static str| {
        let seed = if changed.contains(name) { format!("changed {name}") } else { (*name).to_owned() };
        (*name, noise(&seed, SIZE))
    };
    FILES.iter().map(content).collect()
}

/// Pushes an image of one layer in podman's chunked form to the origin.
fn publish(namespace: &Namespace, podman: &Podman, tag: &str, files: &BTreeMap<&str, Vec<u8>>) {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, content.as_slice()).unwrap();
    }
    let archive = namespace.folder.join(format!("{tag}.tar"));
    fs::write(&archive, builder.into_inner().unwrap()).unwrap();
    let image = format!("localhost/fedora:{tag}");
    podman.run(&["import", "--quiet", archive.to_str().unwrap(), &image]).expect_success();
    let target = format!("docker://origin.test/fedora:{tag}");
    podman
        .run(&["push", "--quiet", "--compression-format", "zstd:chunked", &image, &target])
        .expect_success();
}

#[track_caller]
fn pull_and_compare(podman: &Podman, reference: &str, files: &BTreeMap<&str, Vec<u8>>) {
    let pulled = finish(podman.command(&["pull", "--log-level=debug", reference]));
    assert!(pulled.success() && pulled.stderr.contains(PARTIAL), "{pulled}");
    let folder = podman.run(&["image", "mount", reference]).expect_success();
    for (name, content) in files {
        let found = fs::read(Path::new(folder.trim()).join(name)).unwrap();
        assert!(found == *content, "{reference}: the file {name} is not what was pushed");
    }
}

/// How many bytes a mirror was asked for. Every answer must have been partial, and some of many ranges.
#[track_caller]
fn sum_of_ranges(requests: &[Request]) -> usize {
    assert!(requests.iter().all(|it| it.status == 206), "{requests:?}");
    assert!(requests.iter().any(|it| it.range.contains(',')), "no request for many ranges: {requests:?}");
    let length = |range: &str| {
        let (first, last) = range.split_once('-').unwrap();
        last.parse::<usize>().unwrap() - first.parse::<usize>().unwrap() + 1
    };
    let ranges = requests.iter().flat_map(|it| it.range.trim_start_matches("bytes=").split(','));
    ranges.map(length).sum()
}
