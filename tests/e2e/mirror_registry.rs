//! A willing mirror is a registry by itself: files, and a fixed piece of its web server's configuration.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::rig::apache::Apache;
use crate::rig::containerd::Containerd;
use crate::rig::docker::Docker;
use crate::rig::image::{self, Image, OCI_INDEX, OCI_MANIFEST};
use crate::rig::namespace::{self, Namespace};
use crate::rig::nginx::{Nginx, Scheme};
use crate::rig::podman::Podman;
use crate::rig::program::{Finished, command, finish, run};
use crate::rig::root::Root;
use crate::rig::world::{CATEGORY, Engine, World, place};
use crate::rig::{http, origin, skopeo, tree};

const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// As it is shipped.
const SNIPPETS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/mirror");

/// One of the shipped snippets, with the one line that is the admin's changed for a mirror with this root.
fn snippet(name: &str, root: &Path) -> String {
    let text = fs::read_to_string(Path::new(SNIPPETS).join(name)).unwrap();
    let (line, folder) = ("/var/www/html/containers", place(root));
    assert_eq!(text.matches(line).count(), 1);
    text.replace(line, folder.to_str().unwrap())
}

fn world(namespace: &Namespace) -> World<'_> {
    let world = World::new(namespace, Engine::Sqlite);
    world.portolan.configure("tags = [\"*\"]", "tags = [\"*\"]\nregistry = true");
    world
}

/// A filled mirror with nginx.
fn start_nginx(world: &World, name: &str) -> Nginx {
    let mut nginx = world.mirror(name, Scheme::Https, "");
    world.fill(&nginx.root());
    nginx.restart_with(&snippet("nginx.conf", &nginx.root()));
    nginx
}

/// The same image as Docker's own types say it; gives the digest of its list.
fn push_docker_list(repository: &str, tag: &str) -> String {
    let image = Image::new("docker", "amd64", &[30_000]);
    for blob in image.blobs() {
        image::push_blob(origin::URL, repository, blob);
    }
    let [config, layer] = [image.blobs()[0], image.blobs()[1]];
    let manifest = json!({
        "schemaVersion": 2, "mediaType": DOCKER_MANIFEST,
        "config": image::descriptor("application/vnd.docker.container.image.v1+json", config),
        "layers": [image::descriptor("application/vnd.docker.image.rootfs.diff.tar.gzip", layer)],
    });
    let manifest = manifest.to_string().into_bytes();
    image::push_manifest(origin::URL, repository, "single", DOCKER_MANIFEST, &manifest);
    let mut entry = image::descriptor(DOCKER_MANIFEST, &manifest);
    entry["platform"] = json!({"os": "linux", "architecture": "amd64"});
    let list = json!({"schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": [entry]}).to_string();
    image::push_manifest(origin::URL, repository, tag, DOCKER_LIST, list.as_bytes())
}

#[test]
fn docker_podman_containerd_and_skopeo_pull_from_files() {
    namespace::enter(|namespace| {
        let world = world(namespace);
        let images = ["amd64", "arm64"].map(|it| Image::new("app", it, &[50_000]));
        let index = image::push_index(origin::URL, "lib/app", "latest", &images);
        let single = Image::new("single", "amd64", &[40_000]).push(origin::URL, "lib/app/blobs", "One.2.gz");
        let list = push_docker_list("lib/docker", "latest");
        world.publish();
        let nginx = start_nginx(&world, "de.mirror.test");
        let root = Apache::root_of(namespace, "fr.mirror.test");
        world.fill(&root);
        let apache = Apache::start(namespace, "fr.mirror.test", &snippet("apache.conf", &root));
        // The crawler minds none of these files.
        world.crawl();
        assert_eq!(world.found("de.mirror.test").0, "up-to-date");

        for host in ["de.mirror.test", "fr.mirror.test"] {
            check_answers(host, &index);
            let docker = Docker::start(namespace, &format!("docker-{host}"));
            let podman = Podman::of(&Root::Machine, namespace.folder.join(format!("podman-{}", &host[..2])));
            let containerd = Containerd::start(namespace, &Root::Machine);
            let pulls = [
                ("lib/app:latest", &index),
                ("lib/app/blobs:One.2.gz", &single),
                ("lib/docker:latest", &list),
            ];
            for (name, digest) in pulls {
                let reference = format!("{host}/{name}");
                assert_eq!(&docker.pull(&reference), digest, "docker, {reference}");
                assert_eq!(&skopeo::copy(namespace, &reference), digest, "skopeo, {reference}");
                podman.run(&["pull", "--quiet", &reference]).expect_success();
                finish(containerd.pull_command(&reference)).expect_success();
            }
            podman.run(&["pull", "--quiet", &format!("{host}/lib/app@{index}")]).expect_success();
            // The next one begins with nothing.
            drop(containerd);
            fs::remove_dir_all(namespace.folder.join("containerd")).unwrap();
        }
        drop((nginx, apache));
    });
}

/// Types, lists and errors, as the distribution specification has them.
fn check_answers(host: &str, index: &str) {
    let none = format!("sha256:{}", "0".repeat(64));
    let check = |path: &str, status: u16, media_type: &str, part: &str| {
        let url = format!("https://{host}/v2{path}");
        let answer = http::get(&url, &["Accept-Encoding: gzip"]);
        let found = (answer.status, answer.header("content-type"), answer.header("content-encoding"));
        assert_eq!(found, (status, Some(media_type), None), "{url}");
        assert!(answer.text().contains(part), "{url}: {}", answer.text());
        assert_eq!(http::head(&url, &[]).status, status, "{url}");
    };
    let json = "application/json";
    check("/", 200, json, "{}");
    check("", 200, json, "{}");
    check("/lib/app/manifests/latest", 200, OCI_INDEX, "manifests");
    check(&format!("/lib/app/manifests/{index}"), 200, OCI_INDEX, "manifests");
    check("/lib/app/blobs/manifests/One.2.gz", 200, OCI_MANIFEST, "layers");
    check("/lib/docker/manifests/latest", 200, DOCKER_LIST, "manifests");
    check("/lib/docker/manifests/single", 200, DOCKER_MANIFEST, "layers");
    check("/lib/docker/tags/list", 200, json, r#"{"name":"lib/docker","tags":["latest","single"]}"#);
    check(&format!("/lib/app/blobs/{index}"), 200, "application/octet-stream", "manifests");
    check("/lib/app/manifests/none", 404, json, "MANIFEST_UNKNOWN");
    check(&format!("/lib/app/manifests/{none}"), 404, json, "MANIFEST_UNKNOWN");
    check(&format!("/lib/app/blobs/{none}"), 404, json, "BLOB_UNKNOWN");
    check(&format!("/lib/app/referrers/{none}"), 404, json, "MANIFEST_UNKNOWN");
    check("/none/tags/list", 404, json, "NAME_UNKNOWN");
    check("/_catalog", 404, json, "UNSUPPORTED");
    let answer = http::head(&format!("https://{host}/v2/lib/app/manifests/{index}"), &[]);
    assert_eq!(answer.header("docker-content-digest"), Some(index));
}

/// The block of a document after the line that has `mark`, for the rig's names.
fn block(document: &str, mark: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(document);
    let text = fs::read_to_string(path).unwrap();
    let (_, rest) = text.split_once(mark).unwrap_or_else(|| panic!("{mark} is not in {document}"));
    let block = rest.split("```").nth(1).unwrap();
    let (_, block) = block.split_once('\n').unwrap();
    block
        .replace("registry.example.org", "registry.test")
        .replace("mirror.example.org", "de.mirror.test")
        .replace("signatures.example.org", "us.mirror.test")
}

/// A GnuPG home with one key, and the key's fingerprint.
fn make_key(home: &Path) -> String {
    fs::create_dir_all(home).unwrap();
    run("chmod", &["700", home.to_str().unwrap()]);
    let gpg = |arguments: &[&str]| {
        let mut gpg = command("gpg");
        gpg.env("GNUPGHOME", home).args(["--batch", "--passphrase", ""]).args(arguments);
        finish(gpg).expect_success()
    };
    gpg(&["--quick-generate-key", "Example <keys@example.org>", "rsa2048", "sign", "never"]);
    gpg(&["--output", "/etc/pki/example.gpg", "--export"]);
    let listed = gpg(&["--list-keys", "--with-colons"]);
    let line = listed.lines().find(|it| it.starts_with("fpr:")).unwrap();
    line.split(':').nth(9).unwrap().to_owned()
}

#[test]
fn a_signed_pull_straight_from_a_mirror_passes_and_others_are_refused() {
    namespace::enter(|namespace| {
        let world = world(namespace);
        let push = |name: &str, tag: &str| {
            Image::new(name, "amd64", &[20_000, 10_000]).push(origin::URL, "fedora", tag)
        };
        let digests =
            [("old", "41"), ("new", "42"), ("unsigned", "43")].map(|(name, tag)| (tag, push(name, tag)));
        world.publish();
        let mirror = start_nginx(&world, "de.mirror.test");
        let folder = place(&mirror.root());

        // What the documents say: policy, lookaside, and how the distribution signs.
        fs::create_dir_all("/etc/containers/registries.d").unwrap();
        fs::create_dir_all("/etc/pki").unwrap();
        fs::write("/etc/containers/policy.json", block("clients.md", "`/etc/containers/policy.json`"))
            .unwrap();
        let lookaside = block("clients.md", "`/etc/containers/registries.d/example.yaml`");
        fs::write("/etc/containers/registries.d/example.yaml", lookaside).unwrap();
        let signatures = Nginx::start(namespace, "us.mirror.test", Scheme::Https);
        let home = namespace.folder.join("gpg");
        let fingerprint = make_key(&home);
        for (tag, digest) in &digests[..2] {
            let place = signatures.root().join(format!("sigs/fedora@{}", digest.replace(':', "=")));
            fs::create_dir_all(&place).unwrap();
            let mut sign = command("skopeo");
            sign.env("GNUPGHOME", &home).arg("standalone-sign").arg(folder.join(tree::blob_path(digest)));
            sign.arg(format!("registry.test/fedora:{tag}")).arg(&fingerprint);
            sign.arg("--output").arg(place.join("signature-1"));
            finish(sign).expect_success();
        }

        let podman = Podman::new(namespace);
        let copied = namespace.folder.join("copied");
        let pull = |tag: &str| -> [Finished; 2] {
            let reference = format!("de.mirror.test/fedora:{tag}");
            podman.run(&["rmi", "--all", "--force"]);
            fs::remove_dir_all(&copied).ok();
            let mut skopeo = command("skopeo");
            skopeo.args(["copy", &format!("docker://{reference}"), &format!("dir:{}", copied.display())]);
            [podman.run(&["pull", "--quiet", &reference]), finish(skopeo)]
        };
        let refused = |tag: &str, part: &str| {
            for finished in pull(tag) {
                let is_told = finished.stderr.contains(part);
                assert!(!finished.success() && is_told, "{tag}: {part} is missing: {finished}");
            }
        };
        for finished in pull("42") {
            finished.expect_success();
        }
        refused("43", "A signature was required, but no signature exists");

        // The mirror serves another image under the tag: an unsigned one, then a signed one of another tag.
        let tag = folder.join("tags/fedora/_/42.oci-manifest");
        let right = fs::read(&tag).unwrap();
        for (digest, part) in [
            (&digests[2].1, "no signature exists"),
            (&digests[0].1, "registry.test/fedora:41 is not accepted"),
        ] {
            fs::copy(folder.join(tree::blob_path(digest)), &tag).unwrap();
            refused("42", part);
        }
        // It alters the manifest, then a layer.
        fs::write(&tag, [right.as_slice(), b" "].concat()).unwrap();
        refused("42", "no signature exists");
        fs::write(&tag, right).unwrap();
        let layer = folder.join(tree::blob_path(&world.origin.layers("fedora", "42")[1]));
        let mut bytes = fs::read(&layer).unwrap();
        bytes[5_000] ^= 1;
        fs::write(&layer, bytes).unwrap();
        for finished in pull("42") {
            assert!(!finished.success(), "{finished}");
        }
        assert!(folder.ends_with(CATEGORY));
    });
}
