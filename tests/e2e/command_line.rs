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

    let by = |name: &str| format!("explain --ip 192.0.2.1 --image fedora --endpoint {name}");
    let told = portolan.done(&by("DIRECT.registry.test"));
    assert!(told.contains("by the name direct.registry.test: never from a mirror"), "{told}");
    assert!(told.contains("the fallback serves") && !told.contains("de.mirror.test"), "{told}");
    let told = portolan.run(&by("drect.registry.test")).expect_failure();
    assert!(told.contains("no [[endpoint]] drect.registry.test (near: direct.registry.test)"), "{told}");
    portolan.configure("direct = true", "countries = [\"FR\"]\navoided_sites = [\"voluntears\"]");
    let told = portolan.done(&by("direct.registry.test"));
    assert!(told.contains(": only from mirrors in FR; never from mirrors of voluntears\n"), "{told}");
    assert!(told.contains("not de.mirror.test: the endpoint names other countries"), "{told}");
    let told = portolan.run("config check").expect_failure();
    assert!(told.contains("a site that there is not: voluntears (near: volunteers)"), "{told}");
    portolan.configure("voluntears", "volunteers");

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

on_both_engines!(a_tag_that_waits_for_mirrors_is_told, |namespace, engine| {
    let world = World::new(namespace, engine);
    let portolan = &world.portolan;
    portolan.configure("tags = [\"*\"]", "tags = [\"*\"]\npublish = { hosts = 1, after = \"2h\" }");
    let push = |image: &str| Image::ordinary(image).push(origin::URL, "fedora", "latest");
    let former = push("fedora");
    world.publish();
    let mirror = world.mirror("de.mirror.test", Scheme::Https, "");
    world.fill(&mirror.root());
    world.crawl();
    let explained = || portolan.done("explain --ip 192.0.2.1 --image fedora");
    let category = || portolan.done("category show containers");
    assert!(!explained().contains("waits") && !category().contains("TAG HELD BACK"), "a new tag waits");

    let newest = push("fedora, a day later");
    world.publish();
    let told = explained();
    assert!(told.contains(&format!("asks for {former}")), "{told}");
    let waits = format!(
        "fedora:latest still answers its former manifest; the new one, {newest}, waits until it is on 1 host (now on 0), or 20"
    );
    assert!(told.contains(&waits), "{told}");
    let told = category();
    let (_, held) = told.split_once("TAG HELD BACK").unwrap_or_else(|| panic!("{told}"));
    assert!(held.contains("fedora:latest ┆ 0       ┆ 1     ┆"), "{told}");
    let held = &portolan.json("category show containers")["held_back"][0];
    assert_eq!(
        (held["newest"].as_str(), held["holders"].as_u64()),
        (Some(newest.as_str()), Some(0)),
        "{held}"
    );

    world.fill(&mirror.root());
    world.crawl();
    assert!(explained().contains(&format!("asks for {newest}")), "{}", explained());
    assert!(!category().contains("TAG HELD BACK"), "{}", category());
});
