//! What an edited configuration would change.

use super::*;

impl World {
    async fn plan(&self) -> Plan {
        self.exporter().unwrap().plan(Timestamp::from_second(5000).unwrap(), &self.notes).await.unwrap()
    }

    /// Every file of the tree with its bytes.
    fn files(&self) -> BTreeMap<std::path::PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        let mut open = vec![self.folder.path().to_owned()];
        while let Some(path) = open.pop() {
            if path.is_dir() {
                open.extend(fs::read_dir(&path).unwrap().map(|it| it.unwrap().path()));
            } else {
                files.insert(path.clone(), fs::read(&path).unwrap());
            }
        }
        files
    }
}

#[tokio::test]
async fn a_plan_tells_what_an_export_would_do_and_writes_nothing() {
    let mut world = World::new().await;
    world.change(|content| {
        let [old, lib] = ["old", "library"].map(|it| content.image(it));
        content.tag("app:1", &old);
        content.tag("app:2", &old);
        content.tag("lib:1", &lib);
    });
    let plan = world.plan().await;
    assert_eq!(plan.categories[0].added_tags, ["app:1", "app:2", "lib:1"]);
    assert!(world.files().is_empty(), "a plan needs no tree");
    world.export(1000).await;
    let before = world.files();
    let plan = world.plan().await;
    let [category] = &plan.categories[..] else { panic!("{plan:?}") };
    assert_eq!(
        (category.added, category.removed, plan.fetched_bytes),
        (Files::default(), Files::default(), 0)
    );

    world.categories[0].repositories = vec!["app".to_owned(), "new/*".to_owned()];
    world.categories[0].exclude_tags = vec!["2".to_owned()];
    world.category("gone", &["nothing/*"]);
    world.change(|content| {
        let [new, added] = ["new", "added"].map(|it| content.image(it));
        content.tag("app:1", &new);
        content.tag("new/x:1", &added);
    });
    world.asked = world.server.requests().len();
    let plan = world.plan().await;
    let [category] = &plan.categories[..] else { panic!("{plan:?}") };
    assert_eq!(category.added_repositories, ["new/x".parse().unwrap()]);
    assert_eq!(category.removed_repositories, ["lib".parse().unwrap()]);
    assert_eq!(category.added_tags, ["new/x:1"]);
    assert_eq!(category.moved_tags, ["app:1"]);
    assert_eq!(category.removed_tags, ["app:2", "lib:1"]);
    assert_eq!((category.added.manifests, category.added.blobs), (2, 4), "base is there already");
    assert_eq!((category.removed.manifests, category.removed.blobs), (2, 4), "base stays");
    assert_eq!(plan.fetched_bytes, category.added.bytes);
    assert_eq!(plan.refused.len(), 1);
    assert!(!plan.is_whole());
    assert_eq!(world.files(), before, "nothing is written");
    assert!(!world.requests().iter().any(|it| it.contains("/blobs/")), "no layer is read");

    world.categories.pop();
    let summary = world.export(5000).await;
    assert_eq!(summary.fetched.bytes, 4 * 3 + "newadded".len() as u64 + 2 * "config of ".len() as u64 - 4);
}
