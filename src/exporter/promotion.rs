use std::collections::HashMap;

use super::{
    ImageError,
    collect::{Found, Takers},
    image::Wanted,
    run::Run,
};
use crate::{
    connector::ManifestHead,
    oci::{Digest, Manifest, RepositoryName, Signature, Tag},
};

/// How many signatures of an image are looked at.
const SIGNATURES_LIMIT: usize = 100;

impl Run<'_> {
    /// Leaves out what a category does not take without a signature, and has not got one. Its tags stay as they
    /// were there.
    pub(super) async fn promote(&mut self, mut found: Vec<Found>) -> Vec<Found> {
        let exporter = self.exporter;
        let has_keys = |it: &usize| !exporter.selections[*it].keys.is_empty();
        let mut known: HashMap<(RepositoryName, Digest), Result<Vec<Signature>, String>> = HashMap::new();
        for it in found.iter_mut().filter(|it| it.takers.iter().any(has_keys)) {
            let key = (it.name.clone(), it.head.digest);
            let signatures = match known.get(&key) {
                Some(signatures) => signatures.clone(),
                None => {
                    let found = self.list_signatures(&it.name, it.head.digest).await;
                    known.entry(key).or_insert(found.map_err(|it| it.to_string())).clone()
                }
            };
            for number in it.takers.clone().into_iter().filter(has_keys) {
                let verdict = signatures.clone().and_then(|it_has| self.judge(number, it, &it_has));
                if let Err(reason) = verdict {
                    it.takers.remove(&number);
                    let reason = format!("category {}: {reason}", exporter.selections[number].category);
                    self.fail(&it.name, &it.tag, &Takers::from([number]), &reason).await;
                }
            }
        }
        found
    }

    /// Has a key of the category signed it?
    fn judge(&self, number: usize, found: &Found, signatures: &[Signature]) -> Result<(), String> {
        let keys = &self.exporter.selections[number].keys;
        let digest = &found.head.digest;
        let mut why = None;
        for signature in signatures {
            match signature.verify(keys, &found.name, digest) {
                Ok(()) => return Ok(()),
                Err(error) => why = Some(error),
            }
        }
        let why = why.map_or_else(|| "it has no signature".to_owned(), |it| it.to_string());
        Err(format!("{digest} is not exported, for no key of `signed_by` has signed it: {why}"))
    }

    /// The signatures that the origin has of a manifest, by cosign's tag and by the referrers API.
    async fn list_signatures(
        &mut self,
        name: &RepositoryName,
        digest: Digest,
    ) -> Result<Vec<Signature>, ImageError> {
        let mut manifests = Vec::new();
        if let Some(tag) = Tag::of_signatures(&digest).filter(|it| self.listing.has(name, it))
            && let Some(ManifestHead { digest, media_type, size }) = self.find_head(name, &tag).await?
        {
            manifests.push(Wanted { digest, media_type, size, platform: None });
        }
        for descriptor in self.source.referrers.list(name, digest).await? {
            if let (true, Ok(media_type)) = (Signature::may_be_in(&descriptor), descriptor.media_type.parse())
            {
                let (digest, size) = (descriptor.digest, descriptor.size);
                manifests.push(Wanted { digest, media_type, size, platform: None });
            }
        }
        let mut signatures = Vec::new();
        for wanted in manifests.into_iter().take(SIGNATURES_LIMIT) {
            let manifest = self.source.manifests.load(name, &wanted).await?;
            self.keep.insert(wanted.digest);
            self.read_signatures(name, &manifest, &mut signatures).await?;
        }
        Ok(signatures)
    }

    /// Adds the signatures that are layers of a manifest. They stay in the pool, so that what waits for its
    /// signature is not read again at each export.
    async fn read_signatures(
        &mut self,
        name: &RepositoryName,
        manifest: &Manifest,
        signatures: &mut Vec<Signature>,
    ) -> Result<(), ImageError> {
        for layer in &manifest.layers {
            if signatures.len() >= SIGNATURES_LIMIT {
                return Ok(());
            }
            if let Some(value) = Signature::beside(layer) {
                let payload = self.source.manifests.read_blob(name, layer.digest, layer.size).await?;
                self.keep.insert(layer.digest);
                signatures.push(Signature { payload, value: value.to_owned() });
            }
        }
        Ok(())
    }
}
