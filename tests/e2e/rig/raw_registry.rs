//! An origin registry that says what it is told to say, true or not.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;

use super::image::{self, Image, OCI_MANIFEST};
use super::namespace::Namespace;
use super::server::{Cut, Point, Reply, Request, Server};

/// What the registry claims to have.
#[derive(Default, Clone)]
pub(crate) struct Contents {
    tags: BTreeMap<String, Vec<String>>,
    /// By `REPOSITORY/manifests/REFERENCE`.
    manifests: BTreeMap<String, Manifest>,
    /// By digest, for all repositories.
    blobs: BTreeMap<String, Blob>,
    /// Before each blob, so that an export has a middle.
    pub(crate) delay: Duration,
}

#[derive(Clone)]
struct Manifest {
    media_type: &'static str,
    /// What the header `Docker-Content-Digest` says.
    digest: String,
    bytes: Vec<u8>,
}

#[derive(Clone)]
struct Blob {
    bytes: Vec<u8>,
    /// Ends after so many bytes, each time.
    cut: Option<usize>,
}

impl Contents {
    /// Adds an honest image.
    pub(crate) fn add_image(&mut self, repository: &str, tag: &str, image: &Image) {
        for bytes in image.blobs() {
            self.blobs.insert(image::digest(bytes), Blob { bytes: bytes.to_vec(), cut: None });
        }
        self.add_manifest(repository, tag, OCI_MANIFEST, image.manifest.clone());
    }

    /// Adds a manifest under its digest and a tag.
    pub(crate) fn add_manifest(
        &mut self,
        repository: &str,
        tag: &str,
        media_type: &'static str,
        bytes: Vec<u8>,
    ) {
        let digest = self.add_untagged(repository, media_type, bytes);
        let manifest = self.manifests[&format!("{repository}/manifests/{digest}")].clone();
        self.manifests.insert(format!("{repository}/manifests/{tag}"), manifest);
        self.add_tag(repository, tag);
    }

    /// Adds a manifest under its digest only, and gives that.
    pub(crate) fn add_untagged(
        &mut self,
        repository: &str,
        media_type: &'static str,
        bytes: Vec<u8>,
    ) -> String {
        let digest = image::digest(&bytes);
        let manifest = Manifest { media_type, digest: digest.clone(), bytes };
        self.manifests.insert(format!("{repository}/manifests/{digest}"), manifest);
        digest
    }

    /// Lists a tag, whether there is such a thing or not.
    pub(crate) fn add_tag(&mut self, repository: &str, tag: &str) {
        let tags = self.tags.entry(repository.to_owned()).or_default();
        if !tags.iter().any(|known| known == tag) {
            tags.push(tag.to_owned());
        }
    }

    /// Sends other bytes of the same length for this blob.
    pub(crate) fn flip(&mut self, digest: &str) {
        self.blobs.get_mut(digest).expect("a blob").bytes[0] ^= 1;
    }

    /// Sends other bytes of the same length for every way to this manifest, and still calls it by its digest.
    pub(crate) fn flip_manifest(&mut self, digest: &str) {
        for manifest in self.manifests.values_mut().filter(|manifest| manifest.digest == digest) {
            *manifest.bytes.last_mut().expect("a manifest") = b' ';
        }
    }

    /// Ends this blob's body in its middle.
    pub(crate) fn truncate(&mut self, digest: &str) {
        let blob = self.blobs.get_mut(digest).expect("a blob");
        blob.cut = Some(blob.bytes.len() / 2);
    }
}

/// The registry, at `https://origin.test`.
pub(crate) struct RawRegistry {
    contents: Arc<Mutex<Contents>>,
    server: Server,
}

impl RawRegistry {
    pub(crate) fn start(namespace: &Namespace) -> RawRegistry {
        let contents = Arc::new(Mutex::new(Contents::default()));
        let identity = namespace.authority.issue(&["origin.test"]);
        let current = contents.clone();
        let server = Server::start("origin.test:443", Some(&identity), move |request| {
            let (reply, delay) = {
                let contents = current.lock().expect("the contents");
                (answer(&contents, request), contents.delay)
            };
            if request.path.contains("/blobs/") {
                std::thread::sleep(delay);
            }
            reply
        });
        RawRegistry { contents, server }
    }

    /// From now on has this.
    pub(crate) fn set(&self, contents: Contents) {
        *self.contents.lock().expect("the contents") = contents;
    }

    pub(crate) fn server(&self) -> &Server {
        &self.server
    }
}

fn answer(contents: &Contents, request: &Request) -> Reply {
    let path = request.path.split('?').next().unwrap_or_default();
    match path.strip_prefix("/v2/") {
        Some("") => Reply::new(200, "application/json", "{}"),
        Some("_catalog") => {
            let names: Vec<&String> = contents.tags.keys().collect();
            json_reply(&json!({"repositories": names}))
        }
        Some(rest) => find(contents, rest).unwrap_or_else(not_found),
        None => not_found(),
    }
}

fn find(contents: &Contents, rest: &str) -> Option<Reply> {
    if let Some(name) = rest.strip_suffix("/tags/list") {
        return Some(json_reply(&json!({"name": name, "tags": contents.tags.get(name)?})));
    }
    if let Some((_, digest)) = rest.split_once("/blobs/") {
        let blob = contents.blobs.get(digest)?;
        let mut reply = Reply::new(200, "application/octet-stream", blob.bytes.clone());
        reply.cut = blob.cut.map(|after| (Point::Body(after), Cut::Fin));
        return Some(reply);
    }
    let manifest = contents.manifests.get(rest)?;
    let reply = Reply::new(200, manifest.media_type, manifest.bytes.clone());
    Some(reply.header("Docker-Content-Digest", manifest.digest.clone()))
}

fn json_reply(value: &serde_json::Value) -> Reply {
    Reply::new(200, "application/json", value.to_string())
}

fn not_found() -> Reply {
    let body = json!({"errors": [{"code": "NOT_FOUND", "message": "not found"}]});
    Reply::new(404, "application/json", body.to_string())
}
