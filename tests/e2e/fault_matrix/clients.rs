//! The clients of the matrix, and the daemons they need.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

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
}

struct Daemons {
    root: Root,
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
        Clients::new(namespace, Root::Machine, docker, containerd)
    }

    /// Those of a newer Debian; docker with containerd's store.
    pub(super) fn modern(namespace: &Namespace, root: Root) -> Clients {
        let containerd = Containerd::start(namespace, &root);
        let docker = Docker::start_over(namespace, &root, &containerd);
        Clients::new(namespace, root, docker, containerd)
    }

    fn new(namespace: &Namespace, root: Root, docker: Docker, containerd: Containerd) -> Clients {
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
        };
        let kinds = [Kind::Docker, Kind::Containerd, Kind::TwoHosts, Kind::Podman, Kind::Skopeo];
        let names = kinds.map(|kind| (kind, name(kind)));
        let podman = Podman::of(&root, namespace.folder.join("podman"));
        let daemons = Arc::new(Daemons { root, folder, docker, containerd, podman });
        let client = |(kind, name)| Client { name, kind, modern, daemons: daemons.clone() };
        Clients { list: names.into_iter().map(client).collect() }
    }

    pub(super) fn list(&self) -> &[Client] {
        &self.list
    }
}

impl Client {
    /// A command that pulls `reference`. What it has stored of other images does not help it.
    pub(super) fn pull_command(&self, reference: &str) -> Command {
        let Daemons { root, folder, docker, containerd, podman } = self.daemons.as_ref();
        match self.kind {
            Kind::Docker => docker.command(&["pull", reference]),
            Kind::Containerd => containerd.pull_command(reference),
            Kind::TwoHosts => containerd.pull_from_two_command(reference),
            Kind::Podman => podman.command(&["pull", "--quiet", reference]),
            Kind::Skopeo => {
                skopeo::copy_command(root, reference, &folder.join(reference.replace(['/', ':'], "-")))
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
        }
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
