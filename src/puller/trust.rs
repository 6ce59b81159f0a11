//! Whose images are taken: those that a key of `signed_by` has signed, as cosign does (cosign, "Signature
//! specification"): in a manifest with the tag `sha256-….sig`, or in one that refers to the image.

use std::{
    collections::VecDeque,
    fs, io,
    ops::Range,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use super::{
    ServiceError,
    download::Download,
    fetch::{FetchError, Target, fetch},
    service::{Located, Service},
};
use crate::{
    connector::Outcome,
    oci::{
        Digest, MANIFEST_LIMIT, Manifest, MediaType, PublicKey, PublicKeyError, Reference, RepositoryName,
        Signature, SignatureError, Tag,
    },
};

/// How many signatures of an image are looked at, and how many manifests with signatures.
const SIGNATURES_LIMIT: usize = 100;

/// The longest text that may be signed, in bytes.
const PAYLOAD_LIMIT: u64 = 64 * 1024;

/// Of so many manifests it is remembered that they are signed; then the oldest is forgotten.
const MEMORY_LIMIT: usize = 10_000;

/// The keys, and what is known to be signed by them.
pub(super) struct Trust {
    /// None: no signature is asked for.
    keys: Vec<PublicKey>,
    /// Manifests that are signed, and what they name; the oldest first.
    signed: Mutex<VecDeque<(RepositoryName, Digest)>>,
}

impl Trust {
    pub(super) fn load(files: &[PathBuf]) -> Result<Self, ServiceError> {
        let load = |path: &PathBuf| {
            let refused = |reason: String| ServiceError::Key { path: path.clone(), reason };
            let pem = fs::read_to_string(path).map_err(|error| refused(error.to_string()))?;
            pem.parse().map_err(|error: PublicKeyError| refused(error.to_string()))
        };
        let keys = files.iter().map(load).collect::<Result<_, _>>()?;
        Ok(Self { keys, signed: Mutex::default() })
    }

    fn knows(&self, name: &RepositoryName, digest: Digest) -> bool {
        let signed = self.signed.lock().unwrap_or_else(PoisonError::into_inner);
        signed.iter().any(|it| it.1 == digest && it.0 == *name)
    }

    fn learn(&self, name: &RepositoryName, digests: impl Iterator<Item = Digest>) {
        for digest in digests.filter(|it| !self.knows(name, *it)) {
            let mut signed = self.signed.lock().unwrap_or_else(PoisonError::into_inner);
            if signed.len() >= MEMORY_LIMIT {
                signed.pop_front();
            }
            signed.push_back((name.clone(), digest));
        }
    }
}

impl Service {
    /// Has a key signed this manifest, or an index that names it and was looked at before? Manifests with nothing
    /// but signatures are let through: they are no images, and others verify by them.
    pub(super) async fn check_signed(
        &self,
        name: &RepositoryName,
        digest: Digest,
        manifest: &Manifest,
    ) -> Result<(), ServiceError> {
        if self.trust.keys.is_empty() || manifest.is_signature() {
            return Ok(());
        }
        if !self.trust.knows(name, digest) {
            self.find_signature(name, digest).await?;
        }
        let children = manifest.manifests.iter().map(|it| it.digest);
        self.trust.learn(name, children.chain([digest]));
        Ok(())
    }

    /// Looks for one good signature.
    async fn find_signature(&self, name: &RepositoryName, subject: Digest) -> Result<(), ServiceError> {
        let mut why = "it has no signature".to_owned();
        for located in self.list_signatures(name, subject).await? {
            let manifest = self.fetch_whole(subject, located, MANIFEST_LIMIT as u64).await?;
            let Ok(manifest) = Manifest::parse_untyped(&manifest) else { continue };
            for layer in manifest.layers.iter().take(SIGNATURES_LIMIT) {
                let Some(value) = Signature::beside(layer) else { continue };
                let located = self.locate_blob(name, layer.digest).await?;
                let payload = self.fetch_whole(subject, located, PAYLOAD_LIMIT).await?;
                let signature = Signature { payload, value: value.to_owned() };
                match signature.verify(&self.trust.keys, name, &subject) {
                    Ok(()) => return Ok(()),
                    Err(error) => why = SignatureError::to_string(&error),
                }
            }
        }
        Err(ServiceError::Unsigned(subject, why))
    }

    /// Manifests that may hold signatures of `subject`.
    async fn list_signatures(
        &self,
        name: &RepositoryName,
        subject: Digest,
    ) -> Result<Vec<Located>, ServiceError> {
        let mut found = Vec::new();
        if let Some(tag) = Tag::of_signatures(&subject) {
            match self.locate_manifest(name, &Reference::Tag(tag)).await {
                Ok(located) => found.push(located),
                Err(ServiceError::Unknown(..)) => {}
                Err(error) => return Err(error),
            }
        }
        let path = format!("v2/{name}/referrers/{subject}");
        let index = match self.fetch_page(&path, MediaType::OciIndex.as_str(), MANIFEST_LIMIT).await {
            Outcome::Present(page) => Manifest::parse(MediaType::OciIndex, &page.body).ok(),
            _ => None, // the tag decides
        };
        let referrers = index.into_iter().flat_map(|it| it.manifests).filter(Signature::may_be_in);
        for referrer in referrers.take(SIGNATURES_LIMIT) {
            found.push(self.locate_manifest(name, &Reference::Digest(referrer.digest)).await?);
        }
        Ok(found)
    }

    /// A small file, in memory.
    async fn fetch_whole(&self, of: Digest, located: Located, limit: u64) -> Result<Vec<u8>, ServiceError> {
        let size = located.size();
        let failed = |error| ServiceError::Signature(of, error);
        let too_long = || failed(FetchError::Lost(format!("{} has more than {limit} bytes", located.digest)));
        let length = usize::try_from(size).ok().filter(|_| size <= limit).ok_or_else(too_long)?;
        let mut target = ToMemory(vec![0; length]);
        fetch(self, &located, &mut located.download(), &mut target).await.map_err(failed)?;
        Ok(target.0)
    }
}

/// As long as what comes.
struct ToMemory(Vec<u8>);

impl Target for ToMemory {
    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let place = self.0.get_mut(range(offset, bytes));
        place.ok_or(io::ErrorKind::FileTooLarge)?.copy_from_slice(bytes);
        Ok(())
    }

    fn read(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        bytes.copy_from_slice(self.0.get(range(offset, bytes)).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn advanced(&mut self, _: &Download) -> io::Result<()> {
        Ok(())
    }
}

fn range(offset: u64, bytes: &[u8]) -> Range<usize> {
    let start = usize::try_from(offset).unwrap_or(usize::MAX);
    start..start.saturating_add(bytes.len())
}
