//! What a category takes: by platform and by age.

use std::num::NonZeroUsize;

use super::*;

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// An image that says for what and when it was made, with one layer of its own.
fn image(content: &mut Content, name: &str, architecture: &str, created: &str) -> serde_json::Value {
    let config = json!({"os": "linux", "architecture": architecture, "created": created, "name": name});
    let mut config = content.blob(config.to_string().as_bytes());
    config["mediaType"] = CONFIG.into();
    let layer = content.blob(format!("{name} {architecture}").as_bytes());
    content.manifest(OCI, &json!({"schemaVersion": 2, "config": config, "layers": [layer]}))
}

fn for_platform(mut manifest: serde_json::Value, os: &str, architecture: &str) -> serde_json::Value {
    manifest["platform"] = json!({"os": os, "architecture": architecture});
    manifest
}

const NEW: &str = "1970-01-01T00:10:00Z";

#[tokio::test]
async fn a_platform_drops_configurations_and_layers_of_others_only() {
    let mut world = World::new().await;
    world.category("all", &["*"]);
    world.categories[0].platforms = vec!["linux/amd64".to_owned()];
    let manifests = world.change(|content| {
        let [amd64, arm64] = ["amd64", "arm64"].map(|it| image(content, "app", it, NEW));
        let attestation = image(content, "attestation", "unknown", NEW);
        let unnamed = image(content, "unnamed", "arm64", NEW);
        let index = content.index(&[
            for_platform(amd64.clone(), "linux", "amd64"),
            for_platform(arm64.clone(), "linux", "arm64"),
            for_platform(attestation.clone(), "unknown", "unknown"),
            unnamed.clone(),
        ]);
        content.tag("app:1", &index);
        let bare = image(content, "bare", "arm64", NEW);
        content.tag("app:bare", &bare);
        [amd64, arm64, attestation, unnamed, index, bare]
    });
    let summary = world.export(1000).await;
    assert!(summary.faults.is_empty(), "{summary:?}");
    for manifest in &manifests {
        assert!(world.read("main").inventory.find(&digest_of(manifest)).is_some());
    }
    for (layer, held) in [
        ("app amd64", true),
        ("app arm64", false),
        ("attestation unknown", true),
        ("unnamed arm64", false),
        ("bare arm64", false),
    ] {
        assert_eq!(world.holds("main", layer.as_bytes()), held, "{layer}");
        assert!(world.holds("all", layer.as_bytes()), "{layer}");
    }
    let blobs = |name: &str| {
        let entries = world.read(name).inventory.entries;
        entries.iter().filter(|it| it.kind.as_str() == "blob").count()
    };
    // Two layers, the configurations of amd64, attestation, unnamed and bare, the canary.
    assert_eq!((blobs("main"), blobs("all")), (7, 11));
    assert_eq!(world.export(2000).await.fetched, Fetched::default());

    // Also when the origin does not answer for it any more.
    world.change(|content| {
        content.broken.insert("/v2/app/manifests/bare".to_owned(), vec![Answer::new(403, b"")]);
    });
    assert!(!world.export(3000).await.categories[0].changed);
}

#[tokio::test]
async fn the_newest_images_are_taken_and_nothing_is_read_twice() {
    let mut world = World::new().await;
    world.categories[0].newest = NonZeroUsize::new(2);
    world.category("recent", &["app"]);
    world.categories[1].max_age = Some(SignedDuration::from_mins(5));
    world.change(|content| {
        for (tag, created) in [("1", "1970-01-01T00:01:00Z"), ("2", "1970-01-01T00:02:00Z"), ("3", NEW)] {
            let [old, new] = [("x86", "1970-01-01T00:00:00Z"), ("amd64", created)]
                .map(|(architecture, created)| image(content, tag, architecture, created));
            let index = content.index(&[old, new]);
            content.tag(&format!("app:{tag}"), &index);
        }
        let signature = content.image("signature of 3");
        let subject = content.tags[&("app".to_owned(), "3".to_owned())];
        content.tag(&format!("app:sha256-{}.sig", subject.hex()), &signature);
        let subject = content.tags[&("app".to_owned(), "1".to_owned())];
        content.tag(&format!("app:sha256-{}.sig", subject.hex()), &signature);
        let annotated =
            json!({"schemaVersion": 2, "annotations": {"org.opencontainers.image.created": "1970-01-01T00:05:00Z"}});
        let chart = content.manifest(OCI, &annotated);
        content.tag("chart:old", &chart);
    });
    let summary = world.export(800).await;
    assert!(summary.faults.is_empty(), "{summary:?}");
    let tags = |world: &World, name: &str| {
        let tags = world.read(name).repositories.into_values().flat_map(|it| it.into_keys());
        let tags = tags.map(|it| it.to_string()).filter(|it| !it.starts_with("sha256"));
        tags.collect::<Vec<_>>()
    };
    assert_eq!(
        (tags(&world, "main"), tags(&world, "recent")),
        (vec!["2".into(), "3".into(), "old".into()], vec!["3".into()])
    );
    assert_eq!(world.read("recent").repositories.values().next().unwrap().len(), 2, "with its signature");
    assert!(world.holds("recent", b"signature of 3"));

    let summary = world.export(801).await;
    assert_eq!(summary.fetched, Fetched::default());
    assert!(
        !world.requests().iter().any(|it| it.starts_with("GET /v2/app/manifests") || it.contains("/blobs/"))
    );
    let age = Timestamp::from_second(600 + 301).unwrap();
    let summary = world.export(age.as_second()).await;
    assert!(summary.refused[0].reason.contains("older than its `max_age`"), "{summary:?}");

    // An image whose age cannot be found out stays as it was.
    world.change(|content| {
        let image = image(content, "4", "amd64", NEW);
        content.tag("app:4", &image);
        content.tag("app:3", &image);
        content.blobs.retain(|_, bytes| !String::from_utf8_lossy(bytes).contains("\"4\""));
    });
    let summary = world.export(802).await;
    assert_eq!((summary.faults.len(), tags(&world, "recent")), (2, vec!["3".to_owned()]), "{summary:?}");
}

#[tokio::test]
async fn candidates_never_leave() {
    let mut world = World::new().await;
    world.categories[0].repositories.push("candidate/app".to_owned());
    world.change(|content| {
        let image = content.image("a");
        content.tag("app:1", &image);
        content.tag("candidate/app:1", &image);
    });
    world.export(1000).await;
    assert_eq!(world.tags(), ["app:1"]);
    assert!(!world.requests().iter().any(|it| it.contains("candidate")));
}
