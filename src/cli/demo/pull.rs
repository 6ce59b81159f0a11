use anyhow::{Context, bail, ensure};

use super::{image::NAME, world::World};
use crate::{
    connector::{self, Registry},
    oci::{Descriptor, Digest, Manifest, Reference, RepositoryName, Verifier},
};

/// Who serves what no mirror has to serve.
pub(super) const OURSELVES: &str = "portolan itself";

/// A part of the image that came whole and with the right bytes.
pub(super) struct Pulled {
    /// Of which platform, or of which came first with it.
    pub(super) platform: String,
    /// `config` or `layer`.
    pub(super) what: &'static str,
    /// By which it was verified.
    pub(super) digest: Digest,
    /// In bytes.
    pub(super) size: u64,
    /// The mirror's name, or [`OURSELVES`].
    pub(super) sender: String,
}

/// Pulls the newest image from `url` as a client does, for all its platforms; each part once.
pub(super) async fn pull(world: &World, url: &str) -> anyhow::Result<Vec<Pulled>> {
    let config = connector::Config { url: Some(url.parse()?), ..connector::Config::default() };
    let (registry, name) = (Registry::new(&config)?, NAME.parse()?);
    let index = fetch(&registry, &name, &Reference::Tag("latest".parse()?)).await?;
    let mut pulled: Vec<Pulled> = Vec::new();
    for image in &index.manifests {
        let manifest = fetch(&registry, &name, &Reference::Digest(image.digest)).await?;
        let platform = image.platform.as_ref().context("a manifest without a platform")?.to_string();
        let config = manifest.config.iter().map(|it| ("config", it));
        for (what, part) in config.chain(manifest.layers.iter().map(|it| ("layer", it))) {
            if pulled.iter().all(|it| it.digest != part.digest) {
                let sender = verify(&registry, &name, part).await?;
                let sender = name_sender(world, url, &sender)?;
                let (platform, digest, size) = (platform.clone(), part.digest, part.size);
                pulled.push(Pulled { platform, what, digest, size, sender });
            }
        }
    }
    ensure!(!pulled.is_empty(), "the image has no parts");
    Ok(pulled)
}

/// A manifest; the connector verifies its digest.
async fn fetch(
    registry: &Registry,
    name: &RepositoryName,
    reference: &Reference,
) -> anyhow::Result<Manifest> {
    let fetched = registry.fetch_manifest(name, reference).await?;
    Ok(Manifest::parse(fetched.media_type, &fetched.bytes)?)
}

/// Reads a blob to its end and returns the URL that it came from.
async fn verify(registry: &Registry, name: &RepositoryName, part: &Descriptor) -> anyhow::Result<String> {
    let mut body = registry.open_blob(name, &part.digest, 0).await?;
    let sender = body.sender().to_owned();
    let (mut verifier, mut size) = (Verifier::new(part.digest), 0);
    while let Some(chunk) = body.chunk().await? {
        verifier.update(&chunk);
        size += chunk.len() as u64;
    }
    if let Err(found) = verifier.finish() {
        bail!("{sender} sent other bytes than {}: they are {found}", part.digest);
    }
    ensure!(size == part.size, "{sender} sent {size} bytes, the manifest says {}", part.size);
    Ok(sender)
}

fn name_sender(world: &World, ourselves: &str, sender: &str) -> anyhow::Result<String> {
    let is_below = |url: &str| sender.strip_prefix(url).is_some_and(|it| it.starts_with('/'));
    let mirror = world.mirrors().iter().find(|it| is_below(it.url.as_str()));
    match mirror {
        Some(mirror) => Ok(mirror.name.to_string()),
        None if is_below(ourselves) => Ok(OURSELVES.to_owned()),
        None => bail!("{sender} is neither a mirror nor we"),
    }
}
