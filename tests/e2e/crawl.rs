//! The crawler finds out what each mirror really holds.

use std::fs;

use crate::rig::faulty::{Fault, Faulty};
use crate::rig::image::Image;
use crate::rig::namespace;
use crate::rig::nginx::Scheme;
use crate::rig::program::run;
use crate::rig::world::{Engine, World, place};
use crate::rig::{origin, rsync, tree};

on_both_engines!(every_kind_of_mirror_is_found_out, |namespace, engine| {
    let world = World::new(namespace, engine);
    Image::ordinary("old").push(origin::URL, "old", "latest");
    world.publish();
    let old = tree::list_digests(&world.category()).len() as u64;
    let stale = world.mirror("fr.mirror.test", Scheme::Https, "");
    let stopped = world.mirror("de5.mirror.test", Scheme::Https, "");
    world.fill(&stale.root());
    world.fill(&stopped.root());
    Image::ordinary("fedora").push(origin::URL, "fedora", "latest");
    world.publish();
    let all = tree::list_digests(&world.category()).len() as u64;
    let layer = world.origin.layers("fedora", "latest").remove(1);

    let fresh = world.mirror("de.mirror.test", Scheme::Https, "");
    let plain = world.mirror("de4.mirror.test", Scheme::Http, "");
    let lacking = world.mirror("de2.mirror.test", Scheme::Https, "");
    let wrong_sizes = Faulty::start(namespace, "de3.mirror.test");
    let wrong_bytes = Faulty::start(namespace, "us.mirror.test");
    for root in [fresh.root(), plain.root(), lacking.root(), wrong_sizes.root(), wrong_bytes.root()] {
        world.fill(&root);
    }
    fs::remove_file(place(&lacking.root()).join(tree::blob_path(&layer))).unwrap();
    rsync::copy_and_kill(&world.category(), &place(&stopped.root()), 1);
    let arrived = tree::list_digests(&place(&stopped.root())).len() as u64;
    wrong_sizes.set(Fault::WrongSize(1_000_000));
    world.opt_in_https("de3.mirror.test", "");
    wrong_bytes.set(Fault::WrongBytes(1_000_000));
    world.opt_in_https("us.mirror.test", "");
    world.opt_in_https("us2.mirror.test", ""); // nothing listens there
    world.crawl();

    let check = |host: &str, state: &str, held: u64| {
        assert_eq!(world.found(host), (state.to_owned(), held), "{host}");
    };
    check("de.mirror.test", "up-to-date", all);
    check("de4.mirror.test", "up-to-date", all);
    check("fr.mirror.test", "behind", old);
    check("de5.mirror.test", "syncing", arrived);
    // It claims the newest serial and lacks a file of it.
    check("de2.mirror.test", "lying", all - 1);
    // One wrong size or one wrong byte, and nothing of it is believed.
    check("de3.mirror.test", "lying", 0);
    check("us.mirror.test", "lying", 0);
    check("us2.mirror.test", "unreachable", 0);
});

on_both_engines!(a_mirror_that_mends_is_believed_again, |namespace, engine| {
    let world = World::new(namespace, engine);
    Image::ordinary("fedora").push(origin::URL, "fedora", "latest");
    world.publish();
    let mirror = world.mirror("de.mirror.test", Scheme::Https, "");
    world.fill(&mirror.root());
    let layer = world.origin.layers("fedora", "latest").remove(0);
    fs::remove_file(place(&mirror.root()).join(tree::blob_path(&layer))).unwrap();
    world.crawl();
    assert_eq!(world.found("de.mirror.test").0, "lying");
    world.fill(&mirror.root());
    world.portolan.done("crawl --once --host de.mirror.test");
    assert_eq!(world.found("de.mirror.test").0, "up-to-date");
});

on_both_engines!(what_is_to_be_repaired_is_repaired_by_the_command, |namespace, engine| {
    let world = World::new(namespace, engine);
    Image::ordinary("fedora").push(origin::URL, "fedora", "latest");
    world.publish();
    let mirror = world.mirror("de.mirror.test", Scheme::Https, "");
    world.fill(&mirror.root());
    // A byte is flipped and a file is gone; size and time are as they were, so that rsync alone mends one of them.
    let layers = world.origin.layers("fedora", "latest");
    let flipped = place(&mirror.root()).join(tree::blob_path(&layers[0]));
    let times = fs::metadata(&flipped).unwrap().modified().unwrap();
    let mut bytes = fs::read(&flipped).unwrap();
    bytes[100] ^= 1;
    fs::write(&flipped, bytes).unwrap();
    fs::File::options().write(true).open(&flipped).unwrap().set_modified(times).unwrap();
    fs::remove_file(place(&mirror.root()).join(tree::blob_path(&layers[1]))).unwrap();
    world.crawl();
    assert_eq!(world.found("de.mirror.test"), ("lying".to_owned(), 0));
    let shown = world.portolan.done("host show de.mirror.test --repair");
    let (category, folder) = (world.category(), place(&mirror.root()));
    let script = shown.lines().skip(1).collect::<Vec<_>>().join("\n");
    let script = script.replace("SOURCE/", &format!("{}/", category.display()));
    let script = script.replace("FOLDER/", &format!("{}/", folder.display()));
    run("sh", &["-c", &script]);
    world.crawl();
    assert_eq!(world.found("de.mirror.test").0, "up-to-date", "{shown}");
    let shown = world.portolan.done("host show de.mirror.test");
    for fact in ["MB/s", "answers a request for two ranges with both parts", "keeps connections"] {
        assert!(shown.contains(fact), "{fact} is not told:\n{shown}");
    }
    let repaired = world.portolan.done("host show de.mirror.test --repair");
    assert_eq!(repaired, "the crawls of de.mirror.test found nothing to repair\n");
});

on_both_engines!(a_private_address_is_never_asked, |namespace, engine| {
    let world = World::new(namespace, engine);
    Image::ordinary("fedora").push(origin::URL, "fedora", "latest");
    world.publish();
    world.portolan.done("host add inside --site volunteers --country DE");
    world.portolan.done("host opt-in inside containers --url http://127.0.0.1:1/pub");
    world.crawl();
    let (state, held) = world.found("inside");
    assert_eq!((state.as_str(), held), ("unreachable", 0));
    let shown = world.portolan.done("host show inside");
    assert!(shown.contains("not a public one"), "the reason is not shown:\n{shown}");
});
