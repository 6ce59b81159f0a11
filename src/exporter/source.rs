use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use futures_util::{StreamExt, TryStreamExt, stream};

use super::{
    ImageError,
    closure::{Closure, Entries},
    image::{MANIFESTS_LIMIT, Manifests, Wanted},
    origin::Origin,
    referrers::Referrers,
    transfer::Transfers,
};
use crate::{
    connector::ManifestHead,
    oci::{Descriptor, Digest, ManifestError, Platform, RepositoryName},
};

/// How many blobs, or lists of referrers, of one image wait for a connection at once.
const WAITING_AT_ONCE: usize = 16;

/// All of an image, and of what refers to it.
pub(super) struct Image {
    pub(super) digest: Digest,
    /// Its own first, then those of its referrers.
    pub(super) closures: Vec<Closure>,
    /// Referrers that could not be brought in, and why.
    pub(super) faults: Vec<(Digest, ImageError)>,
    /// Referrers that are left out, and what of them is withdrawn.
    pub(super) withdrawn: Vec<Digest>,
    /// What the origin lists of a manifest, which comes first, though the referrer does not name it.
    pub(super) listed: Vec<(Descriptor, Descriptor)>,
}

impl Image {
    pub(super) fn new(digest: Digest, closures: Vec<Closure>) -> Self {
        Self { digest, closures, faults: Vec::new(), withdrawn: Vec::new(), listed: Vec::new() }
    }

    pub(super) fn manifests(&self) -> impl Iterator<Item = Digest> {
        self.closures.iter().flat_map(Closure::manifests)
    }

    pub(super) fn add_to(&self, entries: &mut Entries, platforms: &[Platform]) {
        self.closures.iter().for_each(|it| it.add_to(entries, platforms));
    }

    /// Of what was listed for a subject, that which is here and does not say so itself.
    fn list_unsaid(&self, listed: Vec<(Digest, Descriptor)>) -> Vec<(Descriptor, Descriptor)> {
        let parts = self.closures.iter().flat_map(|it| &it.parts);
        let parts: HashMap<_, _> =
            parts.map(|((digest, media_type), part)| (Digest::Sha256(*digest), (media_type, part))).collect();
        let unsaid = |(subject, referrer): (Digest, Descriptor)| {
            let (media_type, part) = parts.get(&subject)?;
            let (_, own) = parts.get(&referrer.digest)?;
            let subject = Descriptor::new(**media_type, subject, part.size);
            (own.subject != Some(subject.digest)).then_some((subject, referrer))
        };
        listed.into_iter().filter_map(unsaid).collect()
    }
}

/// What became of an image.
pub(super) enum Brought {
    /// All of it is in the pool.
    Image(Image),
    /// This of it is withdrawn.
    Withdrawn(Digest),
}

/// Why an image failed, and what of it is in the pool already.
pub(super) struct Failure {
    pub(super) error: ImageError,
    pub(super) keep: Vec<Digest>,
}

impl<T: Into<ImageError>> From<T> for Failure {
    fn from(error: T) -> Self {
        Self { error: error.into(), keep: Vec::new() }
    }
}

/// Brings images from the origin into the pool, and fetches only what is not there yet.
pub(super) struct Source<'a> {
    pub(super) origin: Arc<Origin>,
    pub(super) manifests: Manifests,
    pub(super) referrers: Referrers,
    /// None: blobs are not fetched, for nothing is written.
    pub(super) transfers: Option<Transfers<'a>>,
    /// What no category may have.
    pub(super) withdrawn: BTreeSet<Digest>,
}

impl Source<'_> {
    /// Brings in all of an image for categories with these platforms.
    pub(super) async fn bring(
        &self,
        name: &RepositoryName,
        head: &ManifestHead,
        platforms: &[&[Platform]],
    ) -> Result<Brought, Failure> {
        if self.withdrawn.contains(&head.digest) {
            return Ok(Brought::Withdrawn(head.digest));
        }
        let by_platform = platforms.iter().any(|it| !it.is_empty());
        let closure = self.manifests.resolve(name, head.into(), by_platform).await?;
        if let Some(digest) = closure.find_withdrawn(&self.withdrawn) {
            return Ok(Brought::Withdrawn(digest));
        }
        let mut image = Image::new(head.digest, Vec::new());
        let result = match self.fetch_blobs(name, &closure, platforms).await {
            Ok(()) => self.follow_referrers(name, closure.manifests().collect(), platforms, &mut image).await,
            Err(error) => Err(error),
        };
        match result {
            Ok(listed) => {
                image.closures.insert(0, closure);
                image.listed = image.list_unsaid(listed);
                Ok(Brought::Image(image))
            }
            Err(error) => {
                let mut keep = Entries::new();
                closure.add_to(&mut keep, &[]);
                Err(Failure { error, keep: keep.into_keys().map(Digest::Sha256).collect() })
            }
        }
    }

    /// Brings in what refers to these manifests, and to that, and so on. Gives who was listed for whom.
    async fn follow_referrers(
        &self,
        name: &RepositoryName,
        manifests: BTreeSet<Digest>,
        platforms: &[&[Platform]],
        image: &mut Image,
    ) -> Result<Vec<(Digest, Descriptor)>, ImageError> {
        let mut listed = Vec::new();
        let mut open: Vec<_> = manifests.iter().copied().collect();
        let mut seen = manifests;
        while !open.is_empty() {
            let lists: Vec<_> = stream::iter(std::mem::take(&mut open))
                .map(async |subject| {
                    let list = self.referrers.list(name, subject).await?;
                    Ok::<_, ImageError>(list.into_iter().map(move |it| (subject, it)))
                })
                .buffer_unordered(WAITING_AT_ONCE)
                .try_collect()
                .await?;
            for (subject, descriptor) in lists.into_iter().flatten() {
                listed.push((subject, descriptor.clone()));
                if !seen.insert(descriptor.digest) {
                    continue;
                }
                if seen.len() > MANIFESTS_LIMIT {
                    return Err(ImageError::Manifests);
                }
                // One that cannot be had is no reason to hold the image back.
                match self.bring_referrer(name, &descriptor, platforms).await {
                    Err(error) => image.faults.push((descriptor.digest, error)),
                    Ok(closure) => match closure.find_withdrawn(&self.withdrawn) {
                        Some(digest) => image.withdrawn.push(digest),
                        None => {
                            seen.extend(closure.manifests());
                            open.extend(closure.manifests());
                            image.closures.push(closure);
                        }
                    },
                }
            }
        }
        Ok(listed)
    }

    async fn bring_referrer(
        &self,
        name: &RepositoryName,
        descriptor: &Descriptor,
        platforms: &[&[Platform]],
    ) -> Result<Closure, ImageError> {
        let Descriptor { digest, size, .. } = *descriptor;
        let refused = |source: ManifestError| ImageError::Manifest { digest, source };
        let media_type = descriptor.media_type.parse().map_err(refused)?;
        let wanted = Wanted { digest, media_type, size, platform: None };
        let closure = self.manifests.resolve(name, wanted, false).await?;
        if closure.find_withdrawn(&self.withdrawn).is_none() {
            self.fetch_blobs(name, &closure, platforms).await?;
        }
        Ok(closure)
    }

    /// Fetches the blobs that any of the categories has. One bad blob does not stop the others: they wait in
    /// the pool for the next run.
    async fn fetch_blobs(
        &self,
        name: &RepositoryName,
        closure: &Closure,
        platforms: &[&[Platform]],
    ) -> Result<(), ImageError> {
        let Some(transfers) = &self.transfers else { return Ok(()) };
        let blobs: BTreeSet<_> = platforms.iter().flat_map(|it| closure.blobs(it)).collect();
        let results: Vec<_> = stream::iter(blobs)
            .map(|(digest, size)| transfers.fetch(name, digest, size))
            .buffer_unordered(WAITING_AT_ONCE)
            .collect()
            .await;
        results.into_iter().collect()
    }
}
