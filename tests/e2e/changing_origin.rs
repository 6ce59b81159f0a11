//! Exports from an origin that changes while it is read, is slow, or is down.

use std::time::Duration;

use crate::rig::image::{self, Image};
use crate::rig::namespace;
use crate::rig::portolan::Portolan;
use crate::rig::program::{Program, wait_for};
use crate::rig::raw_registry::{Contents, RawRegistry};
use crate::rig::tree;
use crate::rig::world::{self, CATEGORY};

/// Before each blob.
const SLOW: Duration = Duration::from_millis(300);

/// More layers than connections, so that some are still to be asked for in the middle.
fn image(name: &str) -> Image {
    Image::new(name, "amd64", &[20_000; 10])
}

/// An origin with these images under `app:latest` and `other:latest`.
fn contents(app: &Image, delay: Duration) -> Contents {
    let mut contents = Contents::default();
    contents.delay = delay;
    contents.add_image("app", "latest", app);
    contents.add_image("other", "latest", &image("other"));
    contents
}

/// Starts an export and waits until it reads blobs.
fn in_the_middle(origin: &RawRegistry, portolan: &Portolan) -> Program {
    origin.server().forget_requests();
    let export = portolan.start("export");
    let reads = || origin.server().requests().iter().any(|it| it.path.contains("/blobs/"));
    assert!(wait_for(Duration::from_secs(20), reads), "{}", export.log_tail());
    export
}

#[track_caller]
fn ended(export: &mut Program) {
    assert!(wait_for(Duration::from_secs(60), || export.has_ended()), "{}", export.log_tail());
}

fn latest(portolan: &Portolan, repository: &str) -> Option<String> {
    let repositories = tree::repositories(&portolan.category(CATEGORY));
    repositories.get(repository)?.get("latest").cloned()
}

#[test]
fn what_changes_or_goes_while_it_is_read_leaves_a_whole_tree() {
    namespace::enter(|namespace| {
        let origin = RawRegistry::start(namespace);
        let portolan = world::configure(namespace, None);
        let category = portolan.category(CATEGORY);
        let [old, new, newest] = ["old", "new", "newest"].map(image);
        let digest = |it: &Image| Some(image::digest(&it.manifest));

        // Slow, and the tag moves in the middle: what it meant at first is exported, or nothing.
        origin.set(contents(&old, SLOW));
        let mut export = in_the_middle(&origin, &portolan);
        let mut moved = contents(&new, Duration::ZERO);
        moved.add_image("app", "former", &old);
        origin.set(moved.clone());
        ended(&mut export);
        tree::check(&category);
        assert_eq!(latest(&portolan, "app"), digest(&old), "{}", export.log_tail());
        portolan.done("export");
        assert_eq!(latest(&portolan, "app"), digest(&new));

        // The image goes in the middle: its tag stays where it was, with all it needs; the others go on.
        origin.set(contents(&newest, SLOW));
        let mut export = in_the_middle(&origin, &portolan);
        let mut without = Contents::default();
        without.add_image("other", "latest", &image("other"));
        without.add_tag("app", "latest");
        origin.set(without);
        ended(&mut export);
        tree::check(&category);
        assert_eq!(latest(&portolan, "app"), digest(&new), "{}", export.log_tail());
        assert!(export.log().contains("not exported: app:latest"), "{}", export.log_tail());
        let held = tree::list_digests(&category);
        let missing: Vec<_> = tree::closure(&category, &digest(&new).unwrap())
            .into_iter()
            .filter(|it| !held.contains(it))
            .collect();
        assert!(missing.is_empty(), "{missing:?}");

        // Down: nothing changes, and the command says why.
        let before = std::fs::read(category.join("zz/inventory")).unwrap();
        drop(origin);
        let printed = portolan.run("export").expect_failure();
        assert!(printed.contains("origin.test"), "{printed}");
        assert_eq!(std::fs::read(category.join("zz/inventory")).unwrap(), before);
        tree::check(&category);
    });
}
