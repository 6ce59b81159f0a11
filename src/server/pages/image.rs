use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use schemars::JsonSchema;
use serde::Serialize;

use super::{Frame, PageError, Part, SharedState, apart, page, text};
use crate::{
    mirror::HostKind,
    mirrorlist::{
        Snapshot,
        rows::{BlobRow, HostRow, ReferrerRow},
    },
    oci::{Descriptor, Digest, Manifest, Reference, RepositoryName},
    server::state::Current,
};

/// Layers and platforms on one page; no image has more that people would read.
pub(super) const MOST_PARTS: usize = 500;

#[derive(Template)]
#[template(path = "repository.html")]
struct RepositoryPage {
    frame: Frame,
    name: String,
    part: Part<TagView>,
}

/// A tag.
#[derive(Serialize, JsonSchema)]
pub(super) struct TagView {
    pub(super) tag: String,
    /// What it is answered with.
    digest: String,
}

#[derive(Template)]
#[template(path = "image.html")]
struct ImagePage {
    frame: Frame,
    /// As it was asked for: `name:tag` or `name@digest`.
    image: String,
    /// With the registry's name before it.
    pull: String,
    /// Public ones.
    mirrors: usize,
    view: ImageView,
}

/// What an image is made of.
#[derive(Serialize, JsonSchema)]
pub(super) struct ImageView {
    repository: String,
    digest: String,
    media_type: &'static str,
    /// What a pull brings; of an index only itself.
    bytes: u64,
    /// The manifest that the tag is to answer with once enough mirrors hold it.
    waiting: Option<String>,
    /// Of an index: the images in it.
    platforms: Vec<PartView>,
    layers: Vec<PartView>,
    /// Signatures and what else refers to it.
    referrers: Vec<PartView>,
    /// Names of public mirrors that hold all that a pull may need.
    holders: Vec<String>,
}

/// Something that an image consists of, or that is said about it.
#[derive(Serialize, JsonSchema)]
struct PartView {
    /// A platform, a media type or the type of an artifact.
    what: String,
    digest: String,
    bytes: u64,
}

/// `GET /images/NAME`, `/images/NAME:TAG`, `/images/NAME@DIGEST`: tags, or what an image is made of and who holds it.
pub(super) async fn answer(request: HttpRequest, state: SharedState) -> Result<HttpResponse, PageError> {
    let asked = request.match_info().query("image").to_owned();
    let frame = Frame::new(&request, &state, "images", &asked)?;
    let current = state.current();
    let (name, reference) = parse_image(&asked).ok_or_else(|| unknown(&asked))?;
    let Some(reference) = reference else {
        let rows = list_tags(&current.snapshot, &name).ok_or_else(|| unknown(&asked))?;
        let part = Part::cut(&request, rows);
        return page(&request, &RepositoryPage { frame, name: name.to_string(), part });
    };
    let (pull, of) = (format!("{}/{asked}", frame.registry), asked.clone());
    let mirrors = current.snapshot.hosts.list().iter().filter(|it| !it.private).count();
    let view = apart(move || ImageView::load(&current, &name, &reference, &of)).await?;
    page(&request, &ImagePage { frame, image: asked, pull, mirrors, view })
}

fn unknown(image: &str) -> PageError {
    PageError::Missing(format!("There is no image {image} here."))
}

/// A repository's name, and a tag or digest behind it, if one is.
pub(super) fn parse_image(text: &str) -> Option<(RepositoryName, Option<Reference>)> {
    let (name, reference) = match (text.split_once('@'), text.split_once(':')) {
        (Some((name, digest)), _) => (name, Some(Reference::Digest(digest.parse().ok()?))),
        (None, Some((name, tag))) => (name, Some(Reference::Tag(tag.parse().ok()?))),
        (None, None) => (text, None),
    };
    Some((name.parse().ok()?, reference))
}

pub(super) fn list_tags(snapshot: &Snapshot, name: &RepositoryName) -> Option<Vec<TagView>> {
    let repository = snapshot.find_repository(name).ok()?;
    let view = |tag: &str| {
        let blob = snapshot.find_manifest(name, &Reference::Tag(tag.parse().ok()?)).ok()?;
        Some(TagView { tag: tag.to_owned(), digest: blob.name().to_string() })
    };
    Some(snapshot.list_tags(repository).filter_map(view).collect())
}

impl ImageView {
    /// `asked` is what the image was called.
    pub(super) fn load(
        current: &Current,
        name: &RepositoryName,
        reference: &Reference,
        asked: &str,
    ) -> Result<Self, PageError> {
        let snapshot = &current.snapshot;
        let blob = snapshot.find_manifest(name, reference).map_err(|it| PageError::no_image(asked, it))?;
        let media_type = blob.kind.media_type().ok_or_else(|| unknown(asked))?.as_str();
        let manifest = read(current, blob)?;
        let (digest, numbers) = (blob.name(), numbers(current, blob, &manifest));
        let held_back = match reference {
            Reference::Tag(tag) => snapshot.gate.find(name.as_str(), tag.as_str()),
            Reference::Digest(_) => None,
        };
        let public = snapshot.hosts.list().iter().filter(|it| !it.private);
        let referrer = |it: &ReferrerRow| PartView::of_referrer(snapshot, it);
        Ok(Self {
            repository: name.to_string(),
            digest: digest.to_string(),
            media_type,
            bytes: size(&manifest, blob),
            waiting: held_back.map(|it| Digest::Sha256(it.newest).to_string()),
            platforms: manifest.manifests.iter().take(MOST_PARTS).map(PartView::of_platform).collect(),
            layers: manifest.layers.iter().take(MOST_PARTS).map(PartView::of_layer).collect(),
            referrers: snapshot.list_referrers(&digest).take(MOST_PARTS).map(referrer).collect(),
            holders: public
                .filter(|it| holds_all(snapshot, it, &numbers))
                .map(|it| it.name.clone())
                .collect(),
        })
    }
}

impl PartView {
    fn new(what: String, it: &Descriptor) -> Self {
        Self { what, digest: it.digest.to_string(), bytes: it.size }
    }

    fn of_platform(child: &Descriptor) -> Self {
        let platform = child.platform.as_ref().filter(|it| !it.is_unknown()).map(ToString::to_string);
        let other = || child.artifact_type.clone().unwrap_or_else(|| "attestation or other".to_owned());
        Self::new(platform.unwrap_or_else(other), child)
    }

    fn of_layer(layer: &Descriptor) -> Self {
        Self::new(layer.media_type.clone(), layer)
    }

    fn of_referrer(snapshot: &Snapshot, referrer: &ReferrerRow) -> Self {
        let manifest = Digest::Sha256(referrer.manifest);
        let bytes = snapshot.find_blob(&manifest).map(|it| it.size).unwrap_or_default();
        let what = referrer.artifact_type.clone().unwrap_or_default();
        Self { what, digest: manifest.to_string(), bytes }
    }

    /// The last word of a media type: `tar+gzip`.
    fn kind(&self) -> &str {
        self.what.rsplit('.').next().unwrap_or_default()
    }
}

pub(super) fn read(current: &Current, blob: &BlobRow) -> Result<Manifest, PageError> {
    let bytes = current.bodies.read(&blob.digest).map_err(|error| PageError::Internal(error.to_string()))?;
    let (Some(bytes), Some(media_type)) = (bytes, blob.kind.media_type()) else {
        return Err(PageError::Internal(format!("the body of {} is not here", blob.name())));
    };
    Manifest::parse(media_type, &bytes).map_err(|error| PageError::Internal(error.to_string()))
}

/// The numbers of all that a pull of it may ask mirrors for.
pub(super) fn numbers(current: &Current, blob: &BlobRow, manifest: &Manifest) -> Vec<u32> {
    let find = |it: &Descriptor| current.snapshot.find_blob(&it.digest).ok();
    let own = |it: &Manifest| -> Vec<u32> {
        let parts = it.config.iter().chain(&it.layers).filter(|it| !it.is_foreign());
        parts.filter_map(find).map(|it| it.number).collect()
    };
    let mut numbers = own(manifest);
    numbers.push(blob.number);
    for child in manifest.manifests.iter().take(MOST_PARTS).filter_map(find) {
        numbers.push(child.number);
        numbers.extend(read(current, child).map(|it| own(&it)).unwrap_or_default());
    }
    numbers
}

/// The largest layer of an image, or of the first image in an index: what a pull needs mirrors for. If there is none, the
/// manifest itself.
pub(super) fn largest<'a>(current: &'a Current, blob: &'a BlobRow) -> Result<&'a BlobRow, PageError> {
    let mut manifest = read(current, blob)?;
    let find = |it: &Descriptor| current.snapshot.find_blob(&it.digest).ok();
    if let Some(child) = manifest.manifests.iter().find_map(find) {
        manifest = read(current, child)?;
    }
    let layers = manifest.layers.iter().filter_map(find);
    Ok(layers.max_by_key(|it| it.size).unwrap_or(blob))
}

/// What a pull brings: all layers, or of an index only itself, for that depends on the platform.
pub(super) fn size(manifest: &Manifest, blob: &BlobRow) -> u64 {
    let parts = manifest.config.iter().chain(&manifest.layers);
    blob.size + parts.map(|it| it.size).sum::<u64>()
}

/// Does the host hold all of them, in any of its categories?
pub(super) fn holds_all(snapshot: &Snapshot, host: &HostRow, numbers: &[u32]) -> bool {
    let holdings: Vec<_> = host.categories.iter().filter_map(|it| snapshot.holdings.find(it.id)).collect();
    let is_held = |number: &u32| holdings.iter().any(|it| it.blobs.contains(*number));
    !host.categories.is_empty() && (host.kind != HostKind::Static || numbers.iter().all(is_held))
}
