//! What the commands tell somebody who is new to them.

use std::fs::{self, File};
use std::process::Command;

use crate::rig::image::Image;
use crate::rig::namespace;
use crate::rig::nginx::Scheme;
use crate::rig::origin;
use crate::rig::portolan::Portolan;
use crate::rig::world::{CATEGORY, Engine, World};

#[test]
fn a_new_database_and_a_lost_result_are_told() {
    namespace::enter(|namespace| {
        let portolan = Portolan::new(namespace, "");
        let told = |line: &str| portolan.run(line).stderr;
        let made = format!("made a new database: {}/portolan.db\n", portolan.folder.display());
        assert_eq!(told("site list"), made);
        assert_eq!(told("site list"), "");
        let elsewhere = portolan.folder.join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_portolan"));
        let told = command.current_dir(&elsewhere).args(["site", "list"]).output().unwrap().stderr;
        let told = String::from_utf8(told).unwrap();
        let hint = "elsewhere/portolan.db (no portolan.toml here: defaults are used)\n";
        assert!(told.ends_with(hint), "{told}");

        let mut command = Command::new(env!("CARGO_BIN_EXE_portolan"));
        command.current_dir(&portolan.folder).args(["site", "list", "--json"]);
        let full = File::options().write(true).open("/dev/full").unwrap();
        assert_eq!(command.stdout(full).status().unwrap().code(), Some(1));
    });
}

on_both_engines!(mistakes_of_the_first_hour_are_explained, |namespace, engine| {
    let world = World::new(namespace, engine);
    Image::ordinary("fedora").push(origin::URL, "fedora", "latest");
    world.publish();
    let mirror = world.mirror("de.mirror.test", Scheme::Https, "");
    world.fill(&mirror.root());
    let portolan = &world.portolan;

    let typo = portolan.run("crawl --host de.miror.test").expect_failure();
    assert!(typo.contains("(near: de.mirror.test)"), "{typo}");

    portolan.done("host opt-in de.mirror.test containers --url https://de.mirror.test/wrong");
    portolan.done("crawl --host de.mirror.test");
    let shown = portolan.done("host show de.mirror.test");
    let reason = "there is no https://de.mirror.test/wrong/zz/serial, nor any other file of the category: \
                  either the URL is wrong, or the first rsync has not ended";
    assert_eq!(shown.matches(reason).count(), 1, "{shown}");
    let explained = portolan.done("explain --ip 192.0.2.1 --image fedora");
    assert!(explained.contains("not de.mirror.test: ") && explained.contains(reason), "{explained}");

    let inventory = || fs::read(portolan.category(CATEGORY).join("zz/inventory")).unwrap();
    let before = inventory();
    portolan.configure("tags = [\"*\"]", "tags = [\"v*\"]");
    let told = portolan.run("export").expect_failure();
    assert!(told.contains("fedora has latest; the tree stays as it was"), "{told}");
    portolan.done("scan");
    assert_eq!(inventory(), before, "a typing error withdrew the images");
    portolan.configure("tags = [\"v*\"]", "tags = [\"latest\", \"v*\"]");
    let told = portolan.done("export");
    assert!(
        told.contains("warning: category containers: nothing at the origin fits `v*` in `tags`"),
        "{told}"
    );

    portolan.done("config check");
    let serve = portolan.serve();
    let second = portolan.run("serve").expect_failure();
    assert!(second.contains("`address` of a [[listen]]") && second.contains("another portolan"), "{second}");
    serve.stop();
    portolan.configure("key = \"", "key = \"/gone");
    let told = portolan.run("config check").expect_failure();
    assert!(told.contains("portolan.toml: key of a [[listen]], /gone"), "{told}");
});
