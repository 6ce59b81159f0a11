//! The distribution's own registry: Debian's docker-registry, with TLS, at `https://origin.test`.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::http;
use super::namespace::Namespace;
use super::program::{Program, command};
use super::token_server::{self, TokenServer};

/// Its base URL.
pub(crate) const URL: &str = "https://origin.test";

/// The one user of an origin with [`Access::Password`].
pub(crate) const USERNAME: &str = "exporter";

/// Their password; a colon is allowed in it, and easily lost.
pub(crate) const PASSWORD: &str = "correct-horse:battery";

/// USERNAME and PASSWORD as `htpasswd -B` writes them. docker-registry takes bcrypt only.
const HTPASSWD: &str = "exporter:$2b$04$qgcuJ15l8QSNXFvyDNq/FevZLGFDyZ5Df3m9SQ8fTjRWnOoCVu59a\n";

/// Who may read and write.
pub(crate) enum Access<'a> {
    Everybody,
    /// By Basic authentication.
    Password,
    /// Who brings a token that this issuer has signed.
    Token(&'a TokenServer),
}

pub(crate) struct Origin {
    program: Program,
    /// Where it keeps its data.
    storage: PathBuf,
}

/// A line of its access log.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
}

impl Origin {
    /// An origin that asks nobody for a login.
    pub(crate) fn start(namespace: &Namespace) -> Origin {
        Origin::guarded(namespace, &Access::Everybody)
    }

    /// An origin with what former origins of this world have stored.
    pub(crate) fn guarded(namespace: &Namespace, access: &Access) -> Origin {
        Origin::with(namespace, |folder| render_access(folder, access))
    }

    /// An origin that tells `url` of all that happens, with this token.
    pub(crate) fn telling(namespace: &Namespace, url: &str, token: &str) -> Origin {
        Origin::with(namespace, |_| {
            format!(
                "notifications:\n  endpoints:\n    - {{name: portolan, url: \"{url}\", timeout: 2s, threshold: 3, \
                 backoff: 1s, headers: {{Authorization: [\"Bearer {token}\"]}}}}\n"
            )
        })
    }

    /// An origin with more sections in its configuration.
    fn with(namespace: &Namespace, sections: impl FnOnce(&Path) -> String) -> Origin {
        let folder = namespace.folder.join("origin");
        fs::create_dir_all(&folder).expect("the origin's folder");
        let identity = namespace.authority.issue(&["origin.test"]);
        let config = folder.join("config.yml");
        let text = render_config(&folder, &identity.certificate, &identity.key);
        fs::write(&config, format!("{text}{}", sections(&folder))).expect("its configuration");
        let mut registry = command("docker-registry");
        registry.arg("serve").arg(&config);
        let mut program = Program::start("docker-registry", &folder, registry);
        program.wait_until("answer to /v2/", || {
            http::try_get(&format!("{URL}/v2/"), &[])
                .is_some_and(|answer| [200, 401].contains(&answer.status))
        });
        Origin { program, storage: folder.join("data") }
    }

    /// Ends it; what it has stored stays.
    pub(crate) fn stop(&mut self) {
        self.program.kill();
    }

    /// Takes a file over as a blob of a repository, without copying it, and gives its digest.
    pub(crate) fn adopt(&self, repository: &str, file: &Path) -> String {
        let (mut hasher, mut chunk) = (Sha256::new(), vec![0; 1024 * 1024]);
        let mut opened = File::open(file).expect("the file");
        loop {
            match opened.read(&mut chunk).expect("the file's bytes") {
                0 => break,
                length => hasher.update(&chunk[..length]),
            }
        }
        let hex: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        let storage = self.storage.join("docker/registry/v2");
        let blob = storage.join("blobs/sha256").join(&hex[..2]).join(&hex);
        let layer = storage.join("repositories").join(repository).join("_layers/sha256").join(&hex);
        for folder in [&blob, &layer] {
            fs::create_dir_all(folder).expect("a folder of the origin");
        }
        fs::rename(file, blob.join("data")).expect("the blob");
        fs::write(layer.join("link"), format!("sha256:{hex}")).expect("the blob's link");
        format!("sha256:{hex}")
    }

    /// The digest that a tag has here.
    pub(crate) fn digest(&self, repository: &str, tag: &str) -> String {
        let answer = self.manifest(repository, tag);
        answer.header("docker-content-digest").expect("the origin names the digest").to_owned()
    }

    /// A manifest in whatever type it has.
    pub(crate) fn manifest(&self, repository: &str, reference: &str) -> http::Answer {
        manifest_at(URL, repository, reference)
    }

    /// The digests of a single-platform image's layers, first to last.
    pub(crate) fn layers(&self, repository: &str, tag: &str) -> Vec<String> {
        let manifest = self.manifest(repository, tag).json();
        let layers = manifest["layers"].as_array().expect("an image with layers");
        layers.iter().map(|layer| layer["digest"].as_str().expect("a digest").to_owned()).collect()
    }

    /// Every request so far, from its access log (Apache's combined format).
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.program.log().lines().filter_map(parse_request).collect()
    }
}

/// A manifest of any registry, in whatever type it has.
pub(crate) fn manifest_at(registry: &str, repository: &str, reference: &str) -> http::Answer {
    let accept = "Accept: application/vnd.docker.distribution.manifest.v2+json, \
        application/vnd.docker.distribution.manifest.list.v2+json, \
        application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json";
    let answer = http::get(&format!("{registry}/v2/{repository}/manifests/{reference}"), &[accept]);
    assert_eq!(answer.status, 200, "{repository}:{reference}: {}", answer.text());
    answer
}

fn parse_request(line: &str) -> Option<Request> {
    let quoted = line.split('"').nth(1)?;
    let mut words = quoted.split(' ');
    let (method, path, protocol) = (words.next()?, words.next()?, words.next()?);
    protocol.starts_with("HTTP/").then(|| Request { method: method.into(), path: path.into() })
}

fn render_config(folder: &Path, certificate: &Path, key: &Path) -> String {
    let (folder, certificate, key) = (folder.display(), certificate.display(), key.display());
    format!(
        r#"version: 0.1
log: {{level: info, accesslog: {{disabled: false}}}}
storage:
  filesystem: {{rootdirectory: "{folder}/data"}}
  delete: {{enabled: true}}
http:
  addr: origin.test:443
  secret: tests
  tls: {{certificate: "{certificate}", key: "{key}"}}
"#
    )
}

/// The section `auth` of its configuration.
fn render_access(folder: &Path, access: &Access) -> String {
    match access {
        Access::Everybody => String::new(),
        Access::Password => {
            let path = folder.join("htpasswd");
            fs::write(&path, HTPASSWD).expect("the origin's htpasswd");
            format!("auth:\n  htpasswd: {{realm: tests, path: \"{}\"}}\n", path.display())
        }
        Access::Token(server) => format!(
            "auth:\n  token: {{realm: \"{}\", service: {}, issuer: {}, rootcertbundle: \"{}\"}}\n",
            token_server::REALM,
            token_server::SERVICE,
            token_server::ISSUER,
            server.roots.display()
        ),
    }
}
