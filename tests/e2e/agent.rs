//! `portolan agent` between container engines and mirrors.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;
use std::{fs, thread};

use crate::rig::agent::{Agent, LISTEN, PROXY};
use crate::rig::containerd::Containerd;
use crate::rig::docker::Docker;
use crate::rig::image::{self, Image};
use crate::rig::namespace::{self, CLIENT_DE, Namespace, REGISTRY};
use crate::rig::nginx::{Nginx, Scheme};
use crate::rig::podman::Podman;
use crate::rig::portolan::Serve;
use crate::rig::program::{Finished, command, finish, wait_for};
use crate::rig::root::Root;
use crate::rig::world::{Engine, World};
use crate::rig::{origin, skopeo, tree};

/// By which mirrors know the agent.
const AGENT: &str = "portolan-client/";

/// Engines with a repository each, so that none finds what another has left with the agent.
const REPOSITORIES: [&str; 4] = ["for/docker", "for/containerd", "for/podman", "for/skopeo"];

/// A large layer, in bytes.
const LARGE: usize = 8_000_000;

#[test]
fn every_engine_pulls_through_it() {
    namespace::enter(|namespace| {
        let images = REPOSITORIES.map(|name| (name, Image::ordinary(name)));
        let story = Story::new(namespace, &images);
        let agent = Agent::start(namespace);
        for engine in ["docker", "containerd", "podman"] {
            println!("{}", agent.set_up(&format!("{engine} --write"), &Root::Machine));
        }
        let docker = Docker::start_behind(namespace, &Root::Machine, PROXY);
        let containerd = Containerd::start(namespace, &Root::Machine);
        let podman = Podman::new(namespace);
        let reference = |number: usize| format!("registry.test/{}:latest", REPOSITORIES[number]);
        let digest = |number: usize| story.digests[number].clone();

        assert_eq!(docker.pull(&reference(0)), digest(0));
        story.assert_only_the_agent_came(0, &images[0].1);
        let hosts = Path::new("/etc/containerd/certs.d");
        finish(containerd.pull_with_hosts_command(hosts, &reference(1))).expect_success();
        story.assert_only_the_agent_came(1, &images[1].1);
        assert_eq!(podman.pull(&reference(2)), digest(2));
        story.assert_only_the_agent_came(2, &images[2].1);
        assert_eq!(skopeo::copy(namespace, &reference(3)), digest(3));
        story.assert_only_the_agent_came(3, &images[3].1);

        only_named_hosts_are_opened(&agent);
        lists_are_the_registrys_own();
        setup_can_be_undone(&agent);
        agent.stop();
        story.serve.stop();
    });
}

#[test]
fn each_blob_is_fetched_once() {
    namespace::enter(|namespace| {
        let images = [("fedora", Image::new("fedora", "amd64", &[LARGE, LARGE / 4]))];
        let story = Story::new(namespace, &images);
        let agent = Agent::start(namespace);
        agent.set_up("podman --write", &Root::Machine);
        let layer = image::digest(images[0].1.blobs()[1]);
        thread::scope(|scope| {
            scope.spawn(|| {
                let url = format!("http://{LISTEN}/v2/fedora/blobs/{layer}");
                let mut curl = command("curl");
                curl.args(["--silent", "--show-error", "--fail", "--parallel", "--parallel-max", "200"]);
                (0..200).for_each(|_| {
                    curl.args(["--output", "/dev/null", &url]);
                });
                finish(curl).expect_success();
            });
            for _ in 0..8 {
                scope.spawn(|| skopeo::copy(namespace, "registry.test/fedora:latest"));
            }
        });
        let mut asked: BTreeMap<String, u64> = BTreeMap::new();
        let size = |digest: &str| {
            fs::metadata(story.world.category().join(tree::blob_path(digest))).expect("a blob").len()
        };
        for request in story.near.blob_requests().into_iter().chain(story.far.blob_requests()) {
            let digest = request.digest().expect("a blob");
            let bytes = request.bytes(size(&digest));
            *asked.entry(digest).or_default() += bytes;
        }
        println!("{asked:#?}, at most {} bytes of memory", agent.peak_memory());
        let once = |(digest, bytes): (&String, &u64)| *bytes == size(digest);
        assert!(asked.len() >= 4 && asked.iter().all(once), "fetched more than once: {asked:#?}");
        assert!(agent.metric("sent_bytes_total") >= 200 * LARGE as u64);
        assert!(agent.peak_memory() < 200 << 20, "{} bytes of memory", agent.peak_memory());
        agent.stop();
        story.serve.stop();
    });
}

#[test]
fn systemd_hands_it_its_sockets() {
    namespace::enter(|namespace| {
        let agent = Agent::start_by(namespace, "", |agent| {
            let mut activate = command("systemd-socket-activate");
            activate.args(["--listen", "127.0.0.1:6055", "--listen", "127.0.0.1:6056"]);
            activate.arg(agent.get_program()).args(agent.get_args());
            activate.current_dir(agent.get_current_dir().expect("a folder"));
            // It starts the agent with the first connection.
            let ask = || crate::rig::http::try_get("http://127.0.0.1:6055/v2/", &[]).is_some();
            thread::spawn(move || wait_for(Duration::from_secs(20), ask));
            activate
        });
        assert!(agent.log().contains("listening on http://127.0.0.1:6055\nproxy on http://127.0.0.1:6056\n"));
        assert_eq!(crate::rig::http::get("http://127.0.0.1:6055/v2/", &[]).text(), "{}");
        agent.stop();
    });
}

struct Story<'a> {
    world: World<'a>,
    near: Nginx,
    far: Nginx,
    serve: Serve,
    digests: Vec<String>,
}

impl<'a> Story<'a> {
    fn new(namespace: &'a Namespace, images: &[(&str, Image)]) -> Story<'a> {
        let world = World::new(namespace, Engine::Sqlite);
        let digests = images.iter().map(|(name, image)| image.push(origin::URL, name, "latest")).collect();
        world.publish();
        let near = world.mirror("de.mirror.test", Scheme::Https, "");
        let far = world.mirror("fr.mirror.test", Scheme::Https, "");
        world.fill(&near.root());
        world.fill(&far.root());
        world.crawl();
        let serve = world.portolan.serve();
        namespace::connect_from(CLIENT_DE, REGISTRY);
        near.forget_requests();
        far.forget_requests();
        Story { world, near, far, serve, digests }
    }

    /// Looks at the near mirror's log since the last look.
    #[track_caller]
    fn assert_only_the_agent_came(&self, repository: usize, image: &Image) {
        let asked = self.near.requests();
        assert!(asked.iter().all(|it| it.agent.starts_with(AGENT)), "others came: {asked:#?}");
        for blob in image.blobs() {
            let digest = Some(image::digest(blob));
            let served = asked.iter().filter(|it| it.digest() == digest).count();
            assert_eq!(served, 1, "{:?} of {}: {asked:#?}", digest, REPOSITORIES[repository]);
        }
        assert_eq!(self.far.requests().len(), 0);
        self.near.forget_requests();
        let by_clients = self.serve.log().lines().filter(|it| it.contains("decision=\"mirror\"")).count();
        assert_eq!(by_clients, 0, "an engine went to the registry itself");
        assert!(self.world.category().exists());
    }
}

/// The proxy shows its own certificate for registry.test, and others' connections stay as they are.
fn only_named_hosts_are_opened(agent: &Agent) {
    let curl = |url: &str, authority: Option<&Path>| -> Finished {
        let mut curl = command("curl");
        curl.args(["--silent", "--show-error", "--fail", "--proxy", PROXY]);
        curl.args(authority.into_iter().flat_map(|it| ["--cacert".as_ref(), it.as_os_str()])).arg(url);
        finish(curl)
    };
    let authority = agent.state().join("authority.pem");
    curl("https://registry.test/v2/", Some(&authority)).expect_success();
    curl("https://registry.test/v2/", None).expect_failure();
    curl("https://origin.test/v2/", None).expect_success();
    curl("https://origin.test/v2/", Some(&authority)).expect_failure();
    curl("http://registry.test/v2/", None).expect_failure();
    assert_eq!(agent.metric("tunnels_total"), 2);
    let key = fs::metadata(agent.state().join("authority.key")).unwrap();
    assert_eq!(key.permissions().mode() & 0o777, 0o600);
}

fn lists_are_the_registrys_own() {
    let get = |path: &str| crate::rig::http::get(&format!("http://{LISTEN}/v2/{path}"), &[]);
    assert_eq!(get("for/docker/tags/list").json()["tags"], serde_json::json!(["latest"]));
    assert_eq!(get("registry.test/for/docker/tags/list?n=1").status, 200);
    assert_eq!(get("none/tags/list").status, 404);
    assert_eq!(get("for/docker/manifests/none").json()["errors"][0]["code"], "MANIFEST_UNKNOWN");
    let blob = get(&format!("for/docker/blobs/{}", image::digest(b"none")));
    assert_eq!((blob.status, blob.json()["errors"][0]["code"].clone()), (404, "BLOB_UNKNOWN".into()));
    assert_eq!(get("for/docker/manifests/latest?ns=other.test").status, 404, "not ours");
}

fn setup_can_be_undone(agent: &Agent) {
    for engine in ["docker", "containerd", "podman"] {
        let removed = agent.set_up(&format!("{engine} --undo"), &Root::Machine);
        assert!(removed.starts_with("removed /etc/"), "{removed}");
    }
    for folder in ["/etc/docker/certs.d", "/etc/containerd/certs.d", "/etc/containers/registries.conf.d"] {
        let left = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
        let ours: Vec<_> =
            left.filter(|it| it.file_name().to_string_lossy().contains("registry.test")).collect();
        assert!(ours.is_empty(), "{ours:?}");
    }
}
