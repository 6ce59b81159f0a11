//! Exports of some repositories, the others staying as they are.

use std::num::NonZeroUsize;

use super::*;

impl World {
    /// Exports these repositories only, and checks that every category is whole.
    async fn export_some(&mut self, names: &[&str], now: i64) -> Summary {
        self.asked = self.server.requests().len();
        let scope = Scope::Some(names.iter().map(|it| it.parse().unwrap()).collect());
        let now = Timestamp::from_second(now).unwrap();
        let summary = self.exporter().unwrap().run(&scope, now, &self.notes).await.unwrap();
        for category in &summary.categories {
            self.tree().verify(&self.read(category.name.as_str())).unwrap();
        }
        summary
    }

    /// What a category has, whatever its serial.
    fn state(&self, name: &str) -> (tree::Inventory, String) {
        let category = self.read(name);
        (tree::Inventory { serial: 0, ..category.inventory }, format!("{:?}", category.repositories))
    }
}

#[tokio::test]
async fn only_what_is_named_is_asked_for_and_the_rest_stays_as_it_is() {
    let mut world = World::new().await;
    world.category("lib", &["lib"]);
    world.change(|content| {
        for name in ["app", "lib", "other"] {
            let image = content.image(&format!("old {name}"));
            content.tag(&format!("{name}:1"), &image);
        }
    });
    world.export(1000).await;
    world.change(|content| {
        for name in ["app", "new", "other"] {
            let image = content.image(&format!("new {name}"));
            content.tag(&format!("{name}:1"), &image);
        }
    });
    let summary = world.export_some(&["app", "new", "nowhere"], 2000).await;
    assert!(summary.is_whole() && summary.unmatched.is_empty(), "{summary:?}");
    assert_eq!(world.tags(), ["app:1", "lib:1", "new:1", "other:1"]);
    assert!(world.requests().iter().all(|it| !it.contains("_catalog")), "{:?}", world.requests());
    assert!(world.requests().iter().all(|it| !it.contains("/lib/") && !it.contains("/other/")));
    assert!(world.holds("main", b"new app") && !world.holds("main", b"new other"));
    let serials: Vec<_> = summary.categories.iter().map(|it| (it.serial, it.changed)).collect();
    assert_eq!(serials, [(2000, true), (1000, false)]);

    // An export of all, at the same time by its clock, adds what was not named, and changes nothing else.
    world.change(|content| {
        let image = content.image("old other");
        content.tag("other:1", &image);
    });
    let some = world.state("main");
    let summary = world.export(2000).await;
    assert!(summary.categories.iter().all(|it| !it.changed), "{summary:?}");
    assert_eq!(world.state("main"), some);
}

#[tokio::test]
async fn deleted_images_leave_and_an_unknown_category_is_no_fault() {
    let mut world = World::new().await;
    world.category("later", &["later"]);
    world.change(|content| {
        for image in ["app:1", "app:2", "lib:1"] {
            let manifest = content.image(image);
            content.tag(image, &manifest);
        }
    });
    assert_eq!(world.try_export(1000).await.unwrap().refused.len(), 1);
    world.change(|content| content.tags.retain(|it, _| it.0 == "lib" || it.1 == "2"));
    let summary = world.export_some(&["app"], 2000).await;
    assert!(summary.is_whole(), "{summary:?}");
    assert_eq!(world.tags(), ["app:2", "lib:1"]);
    assert!(world.holds("main", b"app:1"), "former content stays for a while");
    world.change(|content| content.tags.retain(|it, _| it.0 == "lib"));
    assert!(world.export_some(&["app"], 3000).await.is_whole());
    assert_eq!(world.tags(), ["lib:1"]);
    world.change(|content| content.tags.clear());
    let summary = world.export_some(&["lib"], 4000).await;
    assert_eq!(summary.refused.len(), 1, "the last image never goes: {summary:?}");
    assert_eq!(world.tags(), ["lib:1"]);
}

#[tokio::test]
async fn what_the_tree_lost_of_another_repository_is_brought_back() {
    let mut world = World::new().await;
    let (app, lib) = world.change(|content| {
        let (app, lib) = (content.image("app"), content.image("lib"));
        content.tag("app:1", &app);
        content.tag("lib:1", &lib);
        (app, lib)
    });
    world.export(1000).await;
    let before = world.state("main");
    for digest in [Digest::of(b"lib"), digest_of(&lib)] {
        fs::remove_file(world.tree().pool_path(&digest)).unwrap();
    }
    let summary = world.export_some(&["app"], 2000).await;
    assert!(summary.is_whole(), "{summary:?}");
    assert_eq!(world.state("main"), before);
    assert!(
        world.tree().has_blob(&Digest::of(b"lib"), 3)
            && world.read("main").inventory.find(&digest_of(&app)).is_some()
    );
}

#[tokio::test]
async fn ages_and_waiting_content_of_others_are_kept() {
    let mut world = World::new().await;
    world.categories[0].newest = NonZeroUsize::new(5);
    world.change(|content| {
        for image in ["app:1", "lib:1", "lib:broken"] {
            let manifest = content.image(image);
            content.tag(image, &manifest);
        }
        let broken = format!("/v2/lib/blobs/{}", Digest::of(b"config of lib:broken"));
        content.broken.insert(broken, vec![Answer::new(500, b"")]);
    });
    world.try_export(1000).await.unwrap();
    let ages = world.tree().load_created();
    world.export_some(&["app"], 2000).await;
    assert_eq!(world.tree().load_created(), ages);
    world.change(|content| {
        content.broken.clear();
        content.tags.retain(|it, _| it.1 != "broken");
    });
    let waiting = Digest::of(b"lib:broken");
    assert!(world.tree().has_blob(&waiting, 10));
    world.export(3000).await;
    assert!(!world.tree().has_blob(&waiting, 10), "an export of all tidies the pool");
}
