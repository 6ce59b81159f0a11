//! A containerd with its own data and socket, asked by `ctr`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::namespace::Namespace;
use super::program::{Program, finish};
use super::root::Root;

/// Plugins that want kernel modules, block devices or a network. Versions differ in which they have.
const DISABLED: [&str; 9] = [
    "io.containerd.cri.v1.images",
    "io.containerd.cri.v1.runtime",
    "io.containerd.grpc.v1.cri",
    "io.containerd.snapshotter.v1.blockfile",
    "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.erofs",
    "io.containerd.differ.v1.erofs",
    "io.containerd.snapshotter.v1.zfs",
];

/// Downloads at once; hanging ones would hold up the others with the default of three. (1.6 has no such limit.)
const DOWNLOADS: u32 = 200;

pub(crate) struct Containerd {
    root: Root,
    folder: PathBuf,
    _program: Program,
}

impl Containerd {
    pub(crate) fn start(namespace: &Namespace, root: &Root) -> Containerd {
        let folder = namespace.folder.join("containerd");
        fs::create_dir_all(&folder).expect("containerd's folder");
        let (place, disabled) = (folder.display(), DISABLED);
        let config = format!(
            "version = 2\nroot = \"{place}/data\"\nstate = \"{place}/run\"\n\
             disabled_plugins = {disabled:?}\n[grpc]\naddress = \"{place}/socket\"\n\
             [plugins.\"io.containerd.transfer.v1.local\"]\nmax_concurrent_downloads = {DOWNLOADS}\n"
        );
        fs::write(folder.join("config.toml"), config).expect("containerd's configuration");
        let mut containerd = root.command("containerd");
        containerd.arg("--config").arg(folder.join("config.toml"));
        let mut program = Program::start("containerd", &folder, containerd);
        program.wait_until("answer to ctr version", || {
            let mut version = ctr(root, &folder);
            version.arg("version");
            finish(version).success()
        });
        Containerd { root: root.clone(), folder, _program: program }
    }

    /// Where it listens.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.join("socket")
    }

    /// A command that pulls and unpacks `reference`.
    pub(crate) fn pull_command(&self, reference: &str) -> Command {
        let mut ctr = ctr(&self.root, &self.folder);
        ctr.args(["images", "pull"]).arg(reference);
        ctr
    }

    /// From now on [`Containerd::pull_from_two_command`] asks `server` where `registry` fails.
    pub(crate) fn write_hosts(&self, registry: &str, server: &str) {
        let folder = self.folder.join("hosts").join(registry);
        fs::create_dir_all(&folder).expect("a registry's folder");
        let text = format!(
            "server = \"https://{server}\"\n[host.\"https://{registry}\"]\ncapabilities = [\"pull\", \"resolve\"]\n"
        );
        fs::write(folder.join("hosts.toml"), text).expect("hosts.toml");
    }

    /// A command that pulls and unpacks `reference` from the hosts that were written.
    pub(crate) fn pull_from_two_command(&self, reference: &str) -> Command {
        self.pull_with_hosts_command(&self.folder.join("hosts"), reference)
    }

    /// The same from the hosts in a folder of its root.
    pub(crate) fn pull_with_hosts_command(&self, hosts: &Path, reference: &str) -> Command {
        let mut ctr = ctr(&self.root, &self.folder);
        ctr.args(["images", "pull", "--hosts-dir"]).arg(hosts).arg(reference);
        ctr
    }
}

fn ctr(root: &Root, folder: &Path) -> Command {
    let mut ctr = root.command("ctr");
    ctr.arg("--address").arg(folder.join("socket")).args(["--namespace", "tests"]);
    ctr
}
