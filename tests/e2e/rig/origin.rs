//! The distribution's own registry: Debian's docker-registry, with TLS, at `https://origin.test`.

use std::fs;
use std::path::Path;

use super::http;
use super::namespace::Namespace;
use super::program::{Program, command};

/// Its base URL.
pub(crate) const URL: &str = "https://origin.test";

pub(crate) struct Origin {
    program: Program,
}

/// A line of its access log.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
}

impl Origin {
    pub(crate) fn start(namespace: &Namespace) -> Origin {
        let folder = namespace.folder.join("origin");
        fs::create_dir_all(&folder).expect("the origin's folder");
        let identity = namespace.authority.issue(&["origin.test"]);
        let config = folder.join("config.yml");
        fs::write(&config, render_config(&folder, &identity.certificate, &identity.key))
            .expect("its configuration");
        let mut registry = command("docker-registry");
        registry.arg("serve").arg(&config);
        let mut program = Program::start("docker-registry", &folder, registry);
        program.wait_until("answer to /v2/", || {
            http::try_get(&format!("{URL}/v2/"), &[]).is_some_and(|answer| answer.status == 200)
        });
        Origin { program }
    }

    /// The digest that a tag has here.
    pub(crate) fn digest(&self, repository: &str, tag: &str) -> String {
        let answer = self.manifest(repository, tag);
        answer.header("docker-content-digest").expect("the origin names the digest").to_owned()
    }

    /// A manifest in whatever type it has.
    pub(crate) fn manifest(&self, repository: &str, reference: &str) -> http::Answer {
        let accept = "Accept: application/vnd.docker.distribution.manifest.v2+json, \
            application/vnd.docker.distribution.manifest.list.v2+json, \
            application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json";
        let answer = http::get(&format!("{URL}/v2/{repository}/manifests/{reference}"), &[accept]);
        assert_eq!(answer.status, 200, "{repository}:{reference}: {}", answer.text());
        answer
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
