//! What is said about an image comes with it: by tags, and by the referrers API.

use super::*;
use crate::oci::Tag;

/// An artifact with `text` as its layer.
fn artifact(content: &mut Content, text: &str, subject: Option<&serde_json::Value>) -> serde_json::Value {
    let (config, layer) = (content.blob(b"{}"), content.blob(text.as_bytes()));
    let mut manifest = json!({
        "schemaVersion": 2, "mediaType": OCI.as_str(), "artifactType": "test/note", "config": config, "layers": [layer],
    });
    if let Some(subject) = subject {
        manifest["subject"] = subject.clone();
    }
    content.manifest(OCI, &manifest)
}

/// A tag that says something about a manifest.
fn attached(subject: &serde_json::Value, ending: &str) -> String {
    format!("app:sha256-{}{ending}", digest_of(subject).hex())
}

/// A multi-platform image with everything that can be said about it.
fn signed(content: &mut Content, text: &str) -> [serde_json::Value; 4] {
    let child = content.image(text);
    let index = content.index(std::slice::from_ref(&child));
    content.tag("app:42", &index);
    let signature = artifact(content, &format!("signature of {text}"), None);
    content.tag(&attached(&index, ".sig"), &signature);
    let second = artifact(content, &format!("signature of the signature of {text}"), None);
    content.tag(&attached(&signature, ".sig"), &second);
    let attestation = artifact(content, &format!("attestation of {text}"), None);
    content.tag(&attached(&child, ".att"), &attestation);
    let note = artifact(content, &format!("note on {text}"), Some(&child));
    let fallback = content.index(std::slice::from_ref(&note));
    content.tag(&attached(&child, ""), &fallback);
    [index, signature, child, note]
}

#[tokio::test]
async fn what_tags_say_about_an_image_comes_with_it() {
    let mut world = World::new().await;
    world.categories[0].tags = vec!["4?".to_owned()];
    world.categories[0].exclude_tags = vec!["*.sbom".to_owned()];
    let [index, signature, child, _] = world.change(|content| {
        let other = content.image("other");
        content.tag("app:other", &other);
        let stray = artifact(content, "of other", None);
        content.tag(&attached(&other, ".sig"), &stray);
        let signed = signed(content, "a");
        let sbom = artifact(content, "packages", None);
        content.tag(&attached(&signed[0], ".sbom"), &sbom);
        signed
    });
    let summary = world.export(1000).await;
    assert!(summary.faults.is_empty(), "{summary:?}");
    let mut expected = vec!["app:42".to_owned()];
    expected.extend([attached(&index, ".sig"), attached(&signature, ".sig")]);
    expected.extend([attached(&child, ""), attached(&child, ".att")]);
    expected.sort();
    assert_eq!(world.tags(), expected);
    for text in ["signature of a", "signature of the signature of a", "attestation of a", "note on a"] {
        assert!(world.holds("main", text.as_bytes()), "{text}");
    }
    assert!(!world.holds("main", b"of other") && !world.holds("main", b"packages"));
    assert_eq!(summary.tags, 5);

    world.export(2000).await;
    let requests = world.requests();
    let heads = requests.iter().filter(|it| it.starts_with("HEAD")).collect::<Vec<_>>();
    assert_eq!(heads.iter().collect::<BTreeSet<_>>().len(), 5, "{requests:?}");
    assert_eq!(requests.len(), 5 + 3 + 1, "ping, catalog, tags, one question for an API: {requests:?}");
}

#[tokio::test]
async fn signatures_of_former_images_stay_as_long_as_these() {
    let mut world = World::new().await;
    world.categories[0].tags = vec!["42".to_owned()];
    let [old, ..] = world.change(|content| signed(content, "old"));
    world.export(1000).await;
    world.change(|content| signed(content, "new"));
    let summary = world.export(2000).await;
    assert!(world.tags().contains(&attached(&old, ".sig")), "{:?}", world.tags());
    assert_eq!(
        (summary.categories[0].tags, summary.categories[0].former),
        (9, 4),
        "index, child and its two"
    );
    assert!(!world.export(2000 + 3599).await.categories[0].changed);
    world.export(2000 + 3600).await;
    assert!(!world.tags().contains(&attached(&old, ".sig")), "{:?}", world.tags());
    let summary = world.export(2000 + 7200).await;
    assert_eq!(summary.categories[0].tags, 5, "a signature's signature goes after it: {:?}", world.tags());
}

#[tokio::test]
async fn what_an_api_lists_comes_too_and_each_manifest_is_asked_about_once() {
    let mut world = World::new().await;
    world.categories[0].tags = vec!["42".to_owned()];
    let manifests = world.change(|content| {
        content.has_api = true;
        let child = content.image("a");
        let index = content.index(std::slice::from_ref(&child));
        content.tag("app:42", &index);
        content.tag("app:latest", &index);
        let bill = artifact(content, "packages", Some(&child));
        let signature = artifact(content, "signature", Some(&bill));
        let on_index = artifact(content, "of the index", Some(&index));
        [child, index, bill, signature, on_index]
    });
    world.categories[0].tags.push("latest".to_owned());
    let summary = world.export(1000).await;
    assert!(summary.faults.is_empty(), "{summary:?}");
    for text in ["packages", "signature", "of the index"] {
        assert!(world.holds("main", text.as_bytes()), "{text}");
    }
    let summary = world.export(2000).await;
    assert!(!summary.categories[0].changed && summary.fetched == Fetched::default());
    let mut expected = vec!["GET /v2/".to_owned(), "GET /v2/_catalog?n=1000".to_owned()];
    expected.push("GET /v2/app/tags/list?n=1000".to_owned());
    expected.extend(["42", "latest"].map(|it| format!("HEAD /v2/app/manifests/{it}")));
    expected.extend(manifests.iter().map(|it| format!("GET /v2/app/referrers/{}", digest_of(it))));
    let mut requests = world.requests();
    requests.sort();
    expected.sort();
    assert_eq!(requests, expected);

    // An image that fails keeps what refers to it; one referrer that fails does not hold the image back.
    let former = world.read("main").inventory;
    world.change(|content| {
        let path = format!("/v2/app/referrers/{}", digest_of(&manifests[1]));
        content.broken.insert(path, vec![Answer::new(403, b"")]);
    });
    assert_eq!(world.export(3000).await.faults.len(), 2, "one for each tag");
    assert_eq!(world.read("main").inventory, former);
    world.change(|content| {
        content.broken.clear();
        artifact(content, "gone", Some(&manifests[1]));
        content.blobs.remove(&Digest::of(b"gone"));
        artifact(content, "new", Some(&manifests[1]));
    });
    let summary = world.export(4000).await;
    let [fault] = &summary.faults[..] else { panic!("{summary:?}") };
    assert!(fault.reason.contains("which refers to it, is left out"), "{fault}");
    assert!(world.holds("main", b"new"));
}

/// What is under the lists of referrers that are in `main`: subject and referrers, without those of the past.
fn lists(world: &World) -> Vec<(Digest, Vec<oci::Descriptor>)> {
    let state = world.tree().load_state(&"main".parse().unwrap()).unwrap();
    let live = state.entries.iter().filter(|it| !state.former.contains_key(&Digest::Sha256(*it.0)));
    let read = |(digest, (_, kind)): (&[u8; 32], &(u64, tree::Kind))| {
        let bytes = world.tree().read_manifest(&Digest::Sha256(*digest)).unwrap()?;
        let manifest = oci::Manifest::parse(kind.media_type()?, &bytes).unwrap();
        let is_list = tree::is_referrer_list(&manifest);
        is_list.then(|| (manifest.subject.unwrap().digest, manifest.manifests))
    };
    live.filter_map(read).collect()
}

#[tokio::test]
async fn what_only_an_api_says_is_written_down() {
    let mut world = World::new().await;
    world.categories[0].tags = vec!["42".to_owned()];
    let (index, mut note) = world.change(|content| {
        content.has_api = true;
        let child = content.image("a");
        let index = content.index(std::slice::from_ref(&child));
        content.tag("app:42", &index);
        artifact(content, "says it itself", Some(&index));
        let mut note = artifact(content, "says nothing", None);
        note["artifactType"] = "test/note".into();
        note["annotations"] = json!({"for": "people"});
        content.listed = vec![(digest_of(&index), note.clone()), (digest_of(&child), note.clone())];
        (index, note)
    });
    let summary = world.export(1000).await;
    assert!(summary.faults.is_empty(), "{summary:?}");
    assert!(world.holds("main", b"says nothing"));
    let mut found = lists(&world);
    assert_eq!(found.len(), 2, "one for each subject: {found:?}");
    found.retain(|it| it.0 == digest_of(&index));
    let expected: oci::Descriptor = serde_json::from_value(note.clone()).unwrap();
    assert_eq!(found[0].1, [expected], "as the origin describes it, and not the one that says it itself");
    assert_eq!(world.tags(), ["app:42"]);
    let summary = world.export(2000).await;
    assert!(!summary.categories[0].changed && summary.fetched == Fetched::default());

    // What cannot be asked stays, and what is written down of it.
    let former = world.read("main").inventory;
    let path = format!("/v2/app/referrers/{}", digest_of(&index));
    world.change(|content| content.broken.insert(path, vec![Answer::new(403, b"")]));
    assert_eq!(world.export(3000).await.faults.len(), 1);
    assert_eq!(world.read("main").inventory, former);

    // What is said in another way, or not any more, is in no list.
    world.change(|content| {
        content.broken.clear();
        content.listed.truncate(1);
        let fallback = content.index(std::slice::from_ref(&note));
        content.tag(&attached(&index, ""), &fallback);
    });
    world.export(4000).await;
    assert_eq!(lists(&world), []);
    assert_eq!(world.tags(), ["app:42".to_owned(), attached(&index, "")]);
    // Unless that other way is not taken, or does not say it.
    world.categories[0].exclude_tags = vec!["sha256-*".to_owned()];
    world.export(5000).await;
    assert_eq!(lists(&world).len(), 1);
    world.categories[0].exclude_tags.clear();
    note = world.change(|content| {
        let other = artifact(content, "another that says nothing", None);
        content.listed.push((digest_of(&index), other.clone()));
        other
    });
    world.export(6000).await;
    let found: Vec<_> = lists(&world).into_iter().flat_map(|it| it.1).map(|it| it.digest).collect();
    assert_eq!(found, [digest_of(&note)]);

    // A withdrawn one is not listed.
    world.tree().replace_withdrawn(&[digest_of(&note)].into()).unwrap();
    world.export(7000).await;
    assert_eq!(lists(&world), []);
}

#[tokio::test]
async fn a_withdrawn_signature_is_left_out_and_its_image_stays() {
    let mut world = World::new().await;
    world.change(|content| {
        content.has_api = true;
        let image = content.image("a");
        content.tag("app:1", &image);
        artifact(content, "note", Some(&image));
    });
    world.export(1000).await;
    assert!(world.holds("main", b"note"));
    world.tree().replace_withdrawn(&[Digest::of(b"note")].into()).unwrap();
    let summary = world.export(2000).await;
    assert_eq!((summary.withdrawn.len(), world.tags()), (1, vec!["app:1".to_owned()]));
    assert!(!world.holds("main", b"note") && world.holds("main", b"a"));
}

#[tokio::test]
async fn content_in_a_descriptor_need_not_be_a_blob() {
    let mut world = World::new().await;
    let image = world.change(|content| {
        let mut config = content.blob(b"{}");
        content.blobs.clear();
        config["data"] = "e30=".into();
        let image = content.manifest(OCI, &json!({"schemaVersion": 2, "config": config, "layers": []}));
        content.tag("app:1", &image);
        image
    });
    let summary = world.export(1000).await;
    assert!(summary.faults.is_empty(), "{summary:?}");
    assert!(world.holds("main", b"{}"));
    assert_eq!(Tag::attached_to(&digest_of(&image)).count(), 4);
}
