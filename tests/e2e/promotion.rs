//! The gate: only what is signed by a configured key is exported.

use crate::rig::cosign::Key;
use crate::rig::image::Image;
use crate::rig::namespace;
use crate::rig::origin;
use crate::rig::tree;
use crate::rig::world::{Engine, World};

#[test]
fn an_unsigned_image_keeps_its_former_version_and_is_reported() {
    namespace::enter(|namespace| {
        let world = World::new(namespace, Engine::Sqlite);
        let [ours, strange] = [7, 8].map(Key::new);
        std::fs::write(world.portolan.folder.join("cosign.pub"), ours.public()).unwrap();
        world.portolan.configure("tags = [\"*\"]", "tags = [\"*\"]\nsigned_by = [\"cosign.pub\"]");
        let latest = || tree::repositories(&world.category())["fedora"]["latest"].clone();

        let [old, new] = ["old", "new"].map(|it| Image::new(it, "amd64", &[1_000]));
        let former = old.push(origin::URL, "fedora", "latest");
        ours.sign("fedora", &former);
        world.portolan.done("export");
        assert_eq!(latest(), former);

        let digest = new.push(origin::URL, "fedora", "latest");
        let reasons = ["it has no signature", "a signature is by none of the keys"];
        for reason in reasons {
            let printed = world.portolan.run("export").expect_failure();
            assert!(printed.contains("not exported: fedora:latest") && printed.contains(reason), "{printed}");
            assert_eq!(latest(), former);
            tree::check(&world.category());
            strange.sign("fedora", &digest);
        }
        ours.sign("fedora", &digest);
        world.portolan.done("export");
        assert_eq!(latest(), digest);
        let tag = format!("{}.sig", digest.replace(':', "-"));
        assert!(tree::repositories(&world.category())["fedora"].contains_key(&tag));

        std::fs::write(world.portolan.folder.join("cosign.pub"), "no key").unwrap();
        let printed = world.portolan.run("config check").expect_failure();
        assert!(printed.contains("the key cosign.pub"), "{printed}");
    });
}
