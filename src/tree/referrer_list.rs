use serde_json::json;

use crate::oci::{Descriptor, Manifest, MediaType};

/// What kind of artifact such a list is.
const ARTIFACT_TYPE: &str = "application/vnd.portolan.referrers.v1";

/// So many referrers are in one list: with their limit they stay below the 4 MiB of a manifest.
const LENGTH: usize = 100;

/// A descriptor that is longer, in bytes, is listed without its annotations.
const DESCRIPTOR_LIMIT: usize = 16 * 1024;

/// Is this a list of referrers that do not say themselves what they are about? It speaks for them, of its subject
/// alone, and is no referrer itself.
pub fn is_referrer_list(manifest: &Manifest) -> bool {
    manifest.media_type == MediaType::OciIndex && manifest.artifact_type.as_deref() == Some(ARTIFACT_TYPE)
}

/// Such lists of these referrers, of the type [`MediaType::OciIndex`]. The same referrers make the same bytes.
pub fn render_referrer_lists<'a>(
    subject: &Descriptor,
    referrers: impl IntoIterator<Item = &'a Descriptor>,
) -> Vec<Vec<u8>> {
    let referrers: Vec<_> = referrers.into_iter().map(shorten).collect();
    let list = |some: &[Descriptor]| {
        let list = json!({
            "schemaVersion": 2,
            "mediaType": MediaType::OciIndex.as_str(),
            "artifactType": ARTIFACT_TYPE,
            "manifests": some,
            "subject": subject,
        });
        list.to_string().into_bytes()
    };
    referrers.chunks(LENGTH).map(list).collect()
}

fn shorten(referrer: &Descriptor) -> Descriptor {
    let is_long = json!(referrer).to_string().len() > DESCRIPTOR_LIMIT;
    let annotations = referrer.annotations.clone().filter(|_| !is_long);
    let data = referrer.data.clone().filter(|_| !is_long);
    Descriptor { annotations, data, ..referrer.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::{Digest, MANIFEST_LIMIT};

    fn referrer(number: usize, note: &str) -> Descriptor {
        let text = json!({
            "mediaType": MediaType::OciManifest.as_str(), "digest": Digest::of(&number.to_be_bytes()), "size": number,
            "artifactType": "a/note", "annotations": {"note": note},
        });
        serde_json::from_value(text).unwrap()
    }

    fn parse(bytes: &[u8]) -> Manifest {
        Manifest::parse(MediaType::OciIndex, bytes).unwrap()
    }

    #[test]
    fn a_list_says_what_it_was_told_of_its_subject() {
        let (subject, referrers) = (referrer(0, "subject"), [referrer(1, "one"), referrer(2, "two")]);
        let lists = render_referrer_lists(&subject, &referrers);
        let [list] = &lists[..] else { panic!("{} lists", lists.len()) };
        let list = parse(list);
        assert!(is_referrer_list(&list));
        assert_eq!((list.subject, list.manifests), (Some(subject), referrers.to_vec()));
        let other =
            br#"{"schemaVersion":2,"artifactType":"application/vnd.portolan.referrers.v1","layers":[]}"#;
        assert!(!is_referrer_list(&Manifest::parse(MediaType::OciManifest, other).unwrap()));
        assert!(!is_referrer_list(&parse(br#"{"schemaVersion":2,"manifests":[]}"#)));
    }

    #[test]
    fn many_referrers_make_several_lists_that_are_no_longer_than_a_manifest_may_be() {
        let note = "x".repeat(DESCRIPTOR_LIMIT - 500);
        let mut referrers: Vec<_> = (0..2 * LENGTH).map(|it| referrer(it, &note)).collect();
        referrers.push(referrer(3 * LENGTH, &"x".repeat(MANIFEST_LIMIT)));
        let lists = render_referrer_lists(&referrer(0, ""), &referrers);
        assert!(lists.iter().all(|it| it.len() < MANIFEST_LIMIT));
        let listed: Vec<_> = lists.iter().flat_map(|it| parse(it).manifests).collect();
        assert_eq!((lists.len(), listed.len()), (3, referrers.len()));
        assert_eq!(listed[..2 * LENGTH], referrers[..2 * LENGTH]);
        assert_eq!(listed[2 * LENGTH].annotations, None);
    }
}
