//! The container of deploy/Containerfile, as `tests/container.sh` has built it: `make test-container`.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::rig::http;
use crate::rig::image::{self, Image};
use crate::rig::namespace::{self, REGISTRY};
use crate::rig::origin::{self, Origin};
use crate::rig::program::{Program, command, finish, wait_for};

/// The folder in which the image was built.
const FOLDER: &str = "PORTOLAN_CONTAINER";

const IMAGE: &str = "localhost/portolan";

/// An export, a scan, and the way of the content into answers.
const FOLLOWED_WITHIN: Duration = Duration::from_secs(60);

/// The user that the image starts it as.
const USER: u32 = 10001;

/// `podman run` with these options, image and arguments.
fn podman_run(arguments: &[&str]) -> Command {
    let folder =
        std::env::var(FOLDER).unwrap_or_else(|_| panic!("{FOLDER} is not set: `make test-container`"));
    let mut podman = command("podman");
    podman.arg("--root").arg(Path::new(&folder).join("storage"));
    podman.args(["--runroot", "/run/portolan-container", "--storage-driver=overlay"]);
    podman.args(["--events-backend=none", "--cgroup-manager=cgroupfs"]);
    // crun refuses machines with control groups of both versions, and not everybody may raise limits.
    podman.args(["--runtime=runc", "run", "--rm", "--network=host"]);
    podman.args(["--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024"]).args(arguments);
    podman
}

/// As whom programs of this name run.
fn list_users(program: &str) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").unwrap().map(|it| it.unwrap().path());
    let is_it = |it: &std::path::PathBuf| {
        std::fs::read_to_string(it.join("comm")).is_ok_and(|it| it.trim_end() == program)
    };
    processes.filter(is_it).map(|it| std::fs::metadata(it).unwrap().uid()).collect()
}

#[test]
#[ignore = "it takes a minute and the network to build the image: make test-container"]
fn the_container_runs_as_nobody_special_and_answers() {
    namespace::enter(|namespace| {
        let version = finish(podman_run(&[IMAGE, "--version"])).expect_success();
        assert_eq!(version, format!("portolan {}\n", env!("CARGO_PKG_VERSION")));
        for program in ["rsync", "update-ca-certificates"] {
            let entry = format!("--entrypoint={program}");
            finish(podman_run(&[&entry, IMAGE, "--help"])).expect_success();
        }

        let _origin = Origin::start(namespace);
        let image = Image::ordinary("fedora");
        image.push(origin::URL, "fedora", "latest");
        let identity = namespace.authority.issue(&["registry.test"]);
        let etc = namespace.folder.join("etc-portolan");
        std::fs::create_dir(&etc).unwrap();
        std::fs::copy(identity.certificate, etc.join("crt")).unwrap();
        std::fs::copy(identity.key, etc.join("key")).unwrap();
        let config = format!(
            "[origin]\nurl = \"{}\"\n[tree]\npath = \"/srv/portolan/tree\"\n[[category]]\nname = \"containers\"\n\
             repositories = [\"*\"]\n[serve]\nmanagement = \"127.0.0.1:8081\"\n[[listen]]\n\
             address = \"{REGISTRY}:8443\"\ncertificate = \"/etc/portolan/crt\"\nkey = \"/etc/portolan/key\"\n\
             [fallback]\ntree = true\n",
            origin::URL
        );
        std::fs::write(etc.join("portolan.toml"), config).unwrap();
        let mounts = [
            format!("--volume={}:/etc/portolan:ro", etc.display()),
            // Our authority signed the origin's certificate.
            "--volume=/etc/ssl/certs/ca-certificates.crt:/etc/ssl/certs/ca-certificates.crt:ro".to_owned(),
        ];
        let run = podman_run(&[&mounts[0], &mounts[1], IMAGE]);
        let mut run = Program::start("container", &namespace.folder, run);
        let manifest = "https://registry.test:8443/v2/fedora/manifests/latest";
        let is_there = || http::try_get(manifest, &[]).is_some_and(|it| it.status == 200);
        assert!(wait_for(FOLLOWED_WITHIN, is_there), "{}", run.log_tail());
        assert!(http::get(manifest, &[]).body == image.manifest);
        for blob in image.blobs() {
            let url = format!("https://registry.test:8443/v2/fedora/blobs/{}", image::digest(blob));
            let answer = http::get(&url, &[]);
            assert!(answer.status == 200 && answer.body == *blob, "{url}: {}", answer.status);
        }
        assert_eq!(http::get("https://registry.test:8443/v2/", &[]).status, 200);
        assert_eq!(http::get("http://127.0.0.1:8081/readyz", &[]).status, 200);

        assert_eq!(list_users("portolan"), [USER]);
        // podman hands the signal on to the program, which ends well.
        assert_eq!(run.stop_by("TERM"), Some(0), "{}", run.log_tail());
    });
}
