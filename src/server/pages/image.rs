use actix_web::{HttpRequest, HttpResponse};
use askama::Template;

use super::{Frame, PageError, Part, SharedState, apart, page, text};
use crate::{
    mirror::HostKind,
    mirrorlist::{
        Snapshot,
        rows::{BlobRow, HostRow},
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
    part: Part<Row>,
}

struct Row {
    tag: String,
    digest: String,
}

#[derive(Template)]
#[template(path = "image.html")]
struct ImagePage {
    frame: Frame,
    name: String,
    /// As it was asked for: `name:tag` or `name@digest`.
    image: String,
    digest: String,
    media_type: &'static str,
    size: String,
    /// With the registry's name before it.
    pull: String,
    held_back: Option<String>,
    platforms: Vec<Line>,
    layers: Vec<Line>,
    referrers: Vec<Line>,
    holders: usize,
    mirrors: usize,
}

/// Something that an image consists of, or that is said about it.
struct Line {
    what: String,
    digest: String,
    size: String,
    /// Its own page, if it has one.
    link: Option<String>,
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
    let found = apart(move || describe(frame, &current, &name, &reference, asked));
    page(&request, &found.await?)
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

fn list_tags(snapshot: &Snapshot, name: &RepositoryName) -> Option<Vec<Row>> {
    let repository = snapshot.find_repository(name).ok()?;
    let row = |tag: &str| {
        let blob = snapshot.find_manifest(name, &Reference::Tag(tag.parse().ok()?)).ok()?;
        Some(Row { tag: tag.to_owned(), digest: blob.name().to_string() })
    };
    Some(snapshot.list_tags(repository).filter_map(row).collect())
}

fn describe(
    frame: Frame,
    current: &Current,
    name: &RepositoryName,
    reference: &Reference,
    image: String,
) -> Result<ImagePage, PageError> {
    let snapshot = &current.snapshot;
    let blob = snapshot.find_manifest(name, reference).map_err(|it| PageError::no_image(&image, it))?;
    let media_type = blob.kind.media_type().ok_or_else(|| unknown(&image))?;
    let manifest = read(current, blob)?;
    let numbers = numbers(current, blob, &manifest);
    let digest = blob.name();
    let held_back = match reference {
        Reference::Tag(tag) => snapshot.gate.find(name.as_str(), tag.as_str()),
        Reference::Digest(_) => None,
    };
    let referrers = snapshot.list_referrers(&digest).take(MOST_PARTS).map(|it| {
        let manifest = Digest::Sha256(it.manifest);
        let size = snapshot.find_blob(&manifest).map(|it| text::bytes(it.size)).unwrap_or_default();
        let what = it.artifact_type.clone().unwrap_or_default();
        Line { what, link: Some(format!("/images/{name}@{manifest}")), digest: manifest.to_string(), size }
    });
    let public = || snapshot.hosts.list().iter().filter(|it| !it.private);
    Ok(ImagePage {
        pull: format!("{}/{image}", frame.registry),
        name: name.to_string(),
        digest: digest.to_string(),
        media_type: media_type.as_str(),
        size: text::bytes(size(&manifest, blob)),
        held_back: held_back.map(|it| Digest::Sha256(it.newest).to_string()),
        platforms: manifest.manifests.iter().take(MOST_PARTS).map(|it| platform_line(name, it)).collect(),
        layers: manifest.layers.iter().take(MOST_PARTS).map(layer_line).collect(),
        referrers: referrers.collect(),
        holders: public().filter(|it| holds_all(snapshot, it, &numbers)).count(),
        mirrors: public().count(),
        frame,
        image,
    })
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

fn platform_line(name: &RepositoryName, child: &Descriptor) -> Line {
    let platform = child.platform.as_ref().filter(|it| !it.is_unknown()).map(ToString::to_string);
    let other = || child.artifact_type.clone().unwrap_or_else(|| "attestation or other".to_owned());
    Line {
        what: platform.unwrap_or_else(other),
        link: Some(format!("/images/{name}@{}", child.digest)),
        digest: child.digest.to_string(),
        size: text::bytes(child.size),
    }
}

fn layer_line(layer: &Descriptor) -> Line {
    let what = layer.media_type.rsplit('.').next().unwrap_or_default().to_owned();
    Line { what, link: None, digest: layer.digest.to_string(), size: text::bytes(layer.size) }
}
