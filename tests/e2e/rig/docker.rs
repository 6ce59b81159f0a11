//! A docker daemon of Debian's, with its own data and socket. It answers to `docker` commands, runs no containers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::containerd::Containerd;
use super::image::Image;
use super::namespace::Namespace;
use super::program::{self, Finished, Program, finish};
use super::root::Root;

/// Layers in flight at once; hanging pulls would hold up the others with the default of three.
const DOWNLOADS: u32 = 200;

pub(crate) struct Docker {
    root: Root,
    folder: PathBuf,
    program: Program,
}

impl Docker {
    /// Starts a daemon whose data are in a folder called `name`: an empty one knows no layer yet.
    pub(crate) fn start(namespace: &Namespace, name: &str) -> Docker {
        program::find("containerd"); // its absence would only show in dockerd's log
        // vfs works on every file system.
        Docker::start_with(namespace, &Root::Machine, name, &["--storage-driver=vfs"], None)
    }

    /// Starts a daemon of `root` with a store of its own, that goes through an HTTPS proxy.
    pub(crate) fn start_behind(namespace: &Namespace, root: &Root, proxy: &str) -> Docker {
        Docker::start_with(namespace, root, "behind", &["--storage-driver=vfs"], Some(proxy))
    }

    /// Starts a daemon of `root` that keeps images in `containerd`'s store.
    pub(crate) fn start_over(
        namespace: &Namespace,
        root: &Root,
        containerd: &Containerd,
        proxy: Option<&str>,
    ) -> Docker {
        let trusted = root.path("etc/docker/certs.d/registry.test");
        fs::create_dir_all(&trusted).expect("docker's folder of certificates");
        fs::write(trusted.join("ca.crt"), namespace.authority.certificate()).expect("docker's certificate");
        let config = namespace.folder.join("daemon.json");
        let features = r#"{"features": {"containerd-snapshotter": true}}"#;
        fs::write(&config, features).expect("docker's configuration");
        let option = |name: &str, path: &Path| format!("--{name}={}", path.display());
        let options = [option("containerd", &containerd.socket()), option("config-file", &config)];
        let [socket, config] = &options;
        let options = [socket.as_str(), config, "--storage-driver=native"];
        Docker::start_with(namespace, root, "docker", &options, proxy)
    }

    fn start_with(
        namespace: &Namespace,
        root: &Root,
        name: &str,
        options: &[&str],
        proxy: Option<&str>,
    ) -> Docker {
        let folder = namespace.folder.join(name);
        fs::create_dir_all(&folder).expect("docker's folder");
        let mut dockerd = root.command("dockerd");
        dockerd.arg("--data-root").arg(folder.join("data"));
        dockerd.arg("--exec-root").arg(folder.join("run"));
        dockerd.arg("--pidfile").arg(folder.join("pid"));
        dockerd.arg("--host").arg(socket(&folder));
        // It keeps its hands off the network.
        dockerd.args(["--iptables=false", "--ip6tables=false", "--bridge=none"]).args(options);
        dockerd.arg(format!("--max-concurrent-downloads={DOWNLOADS}"));
        dockerd.envs(proxy.map(|it| ("HTTPS_PROXY", it)));
        let mut program = Program::start("dockerd", &folder, dockerd);
        program.wait_until("answer to docker info", || finish(docker(root, &folder, &["info"])).success());
        Docker { root: root.clone(), folder, program }
    }

    /// Runs `docker` with these arguments.
    pub(crate) fn run(&self, arguments: &[&str]) -> Finished {
        finish(self.command(arguments))
    }

    /// A command of `docker` with these arguments.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        docker(&self.root, &self.folder, arguments)
    }

    /// Loads `image` and pushes it as `reference` (with registry and tag) by a real `docker push`.
    #[track_caller]
    pub(crate) fn push(&self, image: &Image, reference: &str) {
        let archive = self.folder.join("archive.tar");
        fs::write(&archive, image.docker_archive(reference)).expect("an archive");
        self.run(&["load", "--quiet", "--input", archive.to_str().expect("a path in UTF-8")])
            .expect_success();
        self.run(&["push", "--quiet", reference]).expect_success();
    }

    /// Pulls and gives the digest that docker found.
    #[track_caller]
    pub(crate) fn pull(&self, reference: &str) -> String {
        self.run(&["pull", reference]).expect_success();
        self.digest(reference)
    }

    /// What the daemon has logged.
    pub(crate) fn log(&self) -> String {
        self.program.log()
    }

    /// The digest that docker remembers of an image it has pulled.
    #[track_caller]
    pub(crate) fn digest(&self, reference: &str) -> String {
        let format = "{{index .RepoDigests 0}}";
        let printed = self.run(&["image", "inspect", "--format", format, reference]).expect_success();
        let (_name, digest) = printed.trim().split_once('@').expect("NAME@DIGEST");
        digest.to_owned()
    }
}

fn docker(root: &Root, folder: &Path, arguments: &[&str]) -> Command {
    let mut docker = root.command("docker");
    docker.env("DOCKER_CONFIG", folder.join("config")).arg("--host").arg(socket(folder)).args(arguments);
    docker
}

fn socket(folder: &Path) -> String {
    format!("unix://{}", folder.join("docker.sock").display())
}
