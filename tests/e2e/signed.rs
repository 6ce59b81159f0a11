//! Who names a key gets signed images only, by `portolan pull` and by every engine behind the agent.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::rig::agent::{Agent, PROXY};
use crate::rig::containerd::Containerd;
use crate::rig::cosign::Key;
use crate::rig::docker::Docker;
use crate::rig::http;
use crate::rig::image::{self, Image};
use crate::rig::namespace::{self, CLIENT_DE, Namespace, REGISTRY};
use crate::rig::nginx::{Nginx, Scheme};
use crate::rig::origin;
use crate::rig::podman::Podman;
use crate::rig::portolan::Serve;
use crate::rig::program::finish;
use crate::rig::root::Root;
use crate::rig::skopeo;
use crate::rig::world::{Engine, World};

/// Repositories with an image, and why it is refused if it is.
const IMAGES: [(&str, Option<&str>); 4] = [
    ("good", None),
    ("referred", None),
    ("foreign", Some("a signature is by none of the keys")),
    ("unsigned", Some("it has no signature")),
];

/// The exit code of `portolan pull` for what is not signed.
const UNSIGNED: i32 = 5;

#[test]
fn a_pull_brings_only_what_is_signed() {
    namespace::enter(|namespace| {
        let story = Story::new(namespace);
        let key = story.key.display();
        let networks = r#"allow_networks = ["192.0.2.0/24"]"#;
        let client = format!("[client]\n{networks}\nsigned_by = [\"{key}\"]\n[fallback]");
        story.world.portolan.configure("[fallback]", &client);
        for (name, refused) in IMAGES {
            let pulled = story.world.portolan.run(&format!("pull registry.test/{name} --to oci:{name}"));
            println!("{name}: {pulled}");
            match refused {
                None => assert_eq!(pulled.code, Some(0), "{pulled}"),
                Some(reason) => {
                    assert_eq!(pulled.code, Some(UNSIGNED), "{pulled}");
                    assert!(pulled.stderr.contains(reason), "{pulled}");
                    let index = story.world.portolan.folder.join(name).join("index.json");
                    assert!(!index.exists(), "it was pulled nevertheless");
                }
            }
        }
        fs::write(&story.key, "no key").unwrap();
        let pulled = story.world.portolan.run("pull registry.test/good --to oci:good");
        assert!(pulled.code == Some(1) && pulled.stderr.contains("it is no public key"), "{pulled}");
        story.serve.stop();
    });
}

#[test]
fn no_engine_gets_what_is_not_signed() {
    namespace::enter(|namespace| {
        let story = Story::new(namespace);
        let agent = Agent::start_strict(namespace, &story.key);
        for engine in ["docker", "containerd", "podman"] {
            println!("{}", agent.set_up(&format!("{engine} --write"), &Root::Machine));
        }
        let docker = Docker::start_behind(namespace, &Root::Machine, PROXY);
        let containerd = Containerd::start(namespace, &Root::Machine);
        let podman = Podman::new(namespace);
        let folder = namespace.folder.join("skopeo");
        fs::create_dir_all(&folder).expect("skopeo's folder");
        for (name, refused) in IMAGES {
            let reference = format!("registry.test/{name}:latest");
            let commands: [(&str, Command); 4] = [
                ("docker", docker.command(&["pull", &reference])),
                ("containerd", containerd.pull_with_hosts_command(HOSTS.as_ref(), &reference)),
                ("podman", podman.command(&["pull", &reference])),
                ("skopeo", skopeo::copy_command(&Root::Machine, &reference, &folder.join(name))),
            ];
            for (engine, command) in commands {
                let pulled = finish(command);
                println!("{engine}, {name}: {pulled}");
                assert_eq!(pulled.success(), refused.is_none(), "{engine}, {name}: {pulled}");
            }
            let answer = http::get(&format!("{AGENT}/v2/{name}/manifests/latest"), &[]);
            let expected = refused.map_or(200, |_| 403);
            assert_eq!(answer.status, expected, "{}", answer.text());
            if let Some(reason) = refused {
                assert_eq!(answer.json()["errors"][0]["code"], "DENIED");
                assert!(answer.text().contains(reason), "{}", answer.text());
            }
        }
        // Who verifies by himself gets the signatures.
        let tag = format!("{}.sig", story.good.replace(':', "-"));
        assert_eq!(http::get(&format!("{AGENT}/v2/good/manifests/{tag}"), &[]).status, 200);
        let log = story.serve.log();
        assert!(!log.contains("decision=\"mirror\""), "an engine went past the agent: {log}");
        agent.stop();
        story.serve.stop();
    });
}

/// Where `portolan agent setup` tells containerd whom to ask.
const HOSTS: &str = "/etc/containerd/certs.d";

/// Where the agent answers.
const AGENT: &str = "http://127.0.0.1:5055";

/// A registry with the four images, and one mirror.
struct Story<'a> {
    world: World<'a>,
    serve: Serve,
    /// The file with the key that is trusted.
    key: std::path::PathBuf,
    /// The digest of the index that is signed.
    good: String,
    _mirror: Nginx,
}

impl<'a> Story<'a> {
    fn new(namespace: &'a Namespace) -> Story<'a> {
        let world = World::new(namespace, Engine::Sqlite);
        let [ours, strange] = [7, 8].map(Key::new);
        let [good, referred, foreign, unsigned] = IMAGES.map(|it| it.0);
        let images = ["amd64", "arm64"].map(|it| Image::new(good, it, &LAYERS));
        let index = image::push_index(origin::URL, good, "latest", &images);
        ours.sign(good, &index);
        let image = Image::new(referred, "amd64", &LAYERS);
        ours.refer(referred, &image.push(origin::URL, referred, "latest"), &image.manifest);
        strange.sign(foreign, &Image::new(foreign, "amd64", &LAYERS).push(origin::URL, foreign, "latest"));
        Image::new(unsigned, "amd64", &LAYERS).push(origin::URL, unsigned, "latest");
        world.publish();
        let mirror = world.mirror("de.mirror.test", Scheme::Https, "");
        world.fill(&mirror.root());
        world.crawl();
        let key = Path::new(&namespace.folder).join("cosign.pub");
        fs::write(&key, ours.public()).expect("a key");
        let serve = world.portolan.serve();
        namespace::connect_from(CLIENT_DE, REGISTRY);
        Story { world, serve, key, good: index, _mirror: mirror }
    }
}

/// Sizes of the layers of every image, in bytes.
const LAYERS: [usize; 2] = [300_000, 20_000];
