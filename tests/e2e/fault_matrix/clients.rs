//! The clients of the matrix, and the daemons they need.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use crate::rig::agent::{self, Agent, PROXY};
use crate::rig::containerd::Containerd;
use crate::rig::docker::Docker;
use crate::rig::namespace::Namespace;
use crate::rig::podman::Podman;
use crate::rig::program::finish;
use crate::rig::root::Root;
use crate::rig::skopeo;

/// The clients of one Debian.
pub(super) struct Clients {
    list: Vec<Client>,
}

pub(super) struct Client {
    /// With its version.
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) modern: bool,
    /// The agent stands between it and the registry.
    behind: bool,
    daemons: Arc<Daemons>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Docker,
    Containerd,
    /// containerd with a `hosts.toml` whose second entry is the endpoint that uses no mirrors.
    TwoHosts,
    Podman,
    Skopeo,
    /// `portolan pull`: what the agent does for the others, each time without a memory of mirrors that failed.
    Pull,
}

struct Daemons {
    root: Root,
    /// The folder of everything.
    world: PathBuf,
    /// Where skopeo stores what it copied.
    folder: PathBuf,
    docker: Docker,
    containerd: Containerd,
    podman: Podman,
}

impl Clients {
    /// Those of this machine; docker with its own store.
    pub(super) fn debian_12(namespace: &Namespace) -> Clients {
        let containerd = Containerd::start(namespace, &Root::Machine);
        let docker = Docker::start(namespace, "docker");
        Clients::new(namespace, Root::Machine, docker, containerd, false)
    }

    /// The same, told to ask the agent.
    pub(super) fn debian_12_behind(namespace: &Namespace, agent: &Agent) -> Clients {
        set_up(agent, &Root::Machine);
        let containerd = Containerd::start(namespace, &Root::Machine);
        let docker = Docker::start_behind(namespace, &Root::Machine, PROXY);
        Clients::new(namespace, Root::Machine, docker, containerd, true)
    }

    /// Those of a newer Debian; docker with containerd's store.
    pub(super) fn modern(namespace: &Namespace, root: Root) -> Clients {
        let containerd = Containerd::start(namespace, &root);
        let docker = Docker::start_over(namespace, &root, &containerd, None);
        Clients::new(namespace, root, docker, containerd, false)
    }

    /// The same, told to ask the agent.
    pub(super) fn modern_behind(namespace: &Namespace, root: Root, agent: &Agent) -> Clients {
        set_up(agent, &root);
        let containerd = Containerd::start(namespace, &root);
        let docker = Docker::start_over(namespace, &root, &containerd, Some(PROXY));
        Clients::new(namespace, root, docker, containerd, true)
    }

    fn new(
        namespace: &Namespace,
        root: Root,
        docker: Docker,
        containerd: Containerd,
        behind: bool,
    ) -> Clients {
        containerd.write_hosts("registry.test", "direct.registry.test");
        let folder = namespace.folder.join("skopeo");
        fs::create_dir_all(&folder).expect("skopeo's folder");
        let modern = matches!(root, Root::Folder(_));
        let store = if modern { ", containerd's store" } else { "" };
        let name = |kind| match kind {
            Kind::Docker => format!("docker {}{store}", version(&root, "dockerd")),
            Kind::Containerd => format!("containerd {}", version(&root, "containerd")),
            Kind::TwoHosts => format!("containerd {}, two hosts", version(&root, "containerd")),
            Kind::Podman => format!("podman {}", version(&root, "podman")),
            Kind::Skopeo => format!("skopeo {}", version(&root, "skopeo")),
            Kind::Pull => "portolan pull".to_owned(),
        };
        let kinds = [Kind::Docker, Kind::Containerd, Kind::TwoHosts, Kind::Podman, Kind::Skopeo];
        // The agent is the first of two hosts already.
        let kinds = kinds.into_iter().filter(|kind| !behind || *kind != Kind::TwoHosts);
        let kinds = kinds.chain(behind.then_some(Kind::Pull));
        let names: Vec<(Kind, String)> = kinds.map(|kind| (kind, name(kind))).collect();
        let podman = Podman::of(&root, namespace.folder.join("podman"));
        let daemons =
            Arc::new(Daemons { root, world: namespace.folder.clone(), folder, docker, containerd, podman });
        let client = |(kind, name)| Client { name, kind, modern, behind, daemons: daemons.clone() };
        Clients { list: names.into_iter().map(client).collect() }
    }

    pub(super) fn list(&self) -> &[Client] {
        &self.list
    }
}

impl Client {
    /// A command that pulls `reference`. What it has stored of other images does not help it.
    pub(super) fn pull_command(&self, reference: &str) -> Command {
        let Daemons { root, world, folder, docker, containerd, podman } = self.daemons.as_ref();
        match self.kind {
            Kind::Docker => docker.command(&["pull", reference]),
            Kind::Containerd if self.behind => containerd.pull_with_hosts_command(HOSTS.as_ref(), reference),
            Kind::Containerd => containerd.pull_command(reference),
            Kind::TwoHosts => containerd.pull_from_two_command(reference),
            Kind::Podman => podman.command(&["pull", "--quiet", reference]),
            Kind::Skopeo => {
                skopeo::copy_command(root, reference, &folder.join(reference.replace(['/', ':'], "-")))
            }
            Kind::Pull => {
                agent::pull_command(world, reference, &folder.join(reference.replace(['/', ':'], "+")))
            }
        }
    }
}

impl Kind {
    /// In one word.
    pub(super) fn word(self) -> &'static str {
        match self {
            Kind::Docker => "docker",
            Kind::Containerd => "containerd",
            Kind::TwoHosts => "two-hosts",
            Kind::Podman => "podman",
            Kind::Skopeo => "skopeo",
            Kind::Pull => "pull",
        }
    }
}

/// Where `portolan agent setup` tells containerd whom to ask.
const HOSTS: &str = "/etc/containerd/certs.d";

fn set_up(agent: &Agent, root: &Root) {
    for engine in ["docker", "containerd", "podman"] {
        agent.set_up(&format!("{engine} --write"), root);
    }
}

/// Major and minor version, as the program itself says.
fn version(root: &Root, program: &str) -> String {
    let mut command = root.command(program);
    command.arg("--version");
    let printed = finish(command).expect_success();
    let mut words = printed.split_whitespace().map(|word| word.trim_start_matches('v'));
    let version = words.find(|word| word.starts_with(|letter: char| letter.is_ascii_digit()));
    let version = version.unwrap_or_else(|| panic!("no version in {printed}"));
    version.split('.').take(2).collect::<Vec<_>>().join(".")
}
