//! A docker daemon of Debian's, with its own data and socket. It answers to `docker` commands, runs no containers.

use std::fs;
use std::path::{Path, PathBuf};

use super::image::Image;
use super::namespace::Namespace;
use super::program::{self, Finished, Program, command, finish};

pub(crate) struct Docker {
    folder: PathBuf,
    program: Program,
}

impl Docker {
    /// Starts a daemon whose data are in a folder called `name`: an empty one knows no layer yet.
    pub(crate) fn start(namespace: &Namespace, name: &str) -> Docker {
        let folder = namespace.folder.join(name);
        fs::create_dir_all(&folder).expect("docker's folder");
        let mut dockerd = command("dockerd");
        dockerd.arg("--data-root").arg(folder.join("data"));
        dockerd.arg("--exec-root").arg(folder.join("run"));
        dockerd.arg("--pidfile").arg(folder.join("pid"));
        dockerd.arg("--host").arg(socket(&folder));
        // vfs works on every file system; the rest keeps its hands off the network.
        dockerd.args(["--storage-driver=vfs", "--iptables=false", "--ip6tables=false", "--bridge=none"]);
        program::find("containerd"); // its absence would only show in dockerd's log
        let mut program = Program::start("dockerd", &folder, dockerd);
        program.wait_until("answer to docker info", || docker(&folder, &["info"]).success());
        Docker { folder, program }
    }

    /// Runs `docker` with these arguments.
    pub(crate) fn run(&self, arguments: &[&str]) -> Finished {
        docker(&self.folder, arguments)
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

fn docker(folder: &Path, arguments: &[&str]) -> Finished {
    // Named whole: another docker may be first on PATH.
    let mut docker = command("/usr/bin/docker");
    docker.env("DOCKER_CONFIG", folder.join("config")).arg("--host").arg(socket(folder)).args(arguments);
    finish(docker)
}

fn socket(folder: &Path) -> String {
    format!("unix://{}", folder.join("docker.sock").display())
}
