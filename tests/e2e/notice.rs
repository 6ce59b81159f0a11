//! Contacts of a host are told by mail what happens to it.

use std::fs;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::rig::http;
use crate::rig::image::Image;
use crate::rig::namespace;
use crate::rig::nginx::Scheme;
use crate::rig::program::wait_for;
use crate::rig::smtp::{self, Smtp};
use crate::rig::world::{Engine, World, place};
use crate::rig::{origin, tree};

/// A crawl of one host here takes less than this.
const CRAWLED_WITHIN: Duration = Duration::from_secs(8);

fn world(namespace: &namespace::Namespace, engine: Engine) -> World<'_> {
    let world = World::new(namespace, engine);
    let server = format!("mail_server = \"smtp://{}\"", smtp::ADDRESS);
    let notice = format!("[notice]\n{server}\nmail_from = \"Mirrors <mirrors@registry.test>\"\n[serve]\n");
    world.portolan.configure("[serve]\n", &notice);
    world.portolan.configure("failures_until_off = 4", "failures_until_off = 1");
    Image::ordinary("fedora").push(origin::URL, "fedora", "latest");
    world.publish();
    world
}

on_both_engines!(contacts_are_told, |namespace, engine| {
    let world = world(namespace, engine);
    let smtp = Smtp::start(namespace);
    world.opt_in_https("us2.mirror.test", "--contact one@example.org --contact two@example.org");
    let mirror = world.mirror("de.mirror.test", Scheme::Https, "--contact de@example.org");
    world.fill(&mirror.root());
    world.crawl();
    world.crawl(); // it stays off, which is no news
    let mails = smtp.mails();
    assert_eq!(mails.len(), 2, "{mails:#?}");
    for (mail, contact) in mails.iter().zip(["one@example.org", "two@example.org"]) {
        for part in [
            "Subject: us2.mirror.test is switched off",
            &format!("To: {contact}"),
            "From: Mirrors <mirrors@registry.test>",
            "not reached by 1 crawl",
        ] {
            assert!(mail.contains(part), "{part} is not in\n{mail}");
        }
    }

    let layer = world.origin.layers("fedora", "latest").remove(0);
    fs::remove_file(place(&mirror.root()).join(tree::blob_path(&layer))).unwrap();
    world.crawl();
    let mails = smtp.mails();
    assert!(mails.len() == 3 && mails[2].contains("Subject: de.mirror.test has wrong or missing files"));
    assert!(mails[2].contains(&layer[..30]), "{}", mails[2]);
    assert!(mails[2].contains("This repairs it.") && mails[2].contains("rsync -c -lptH"), "{}", mails[2]);

    drop(mirror);
    world.crawl();
    assert!(smtp.mails()[3].contains("Subject: de.mirror.test is switched off"));
});

on_both_engines!(a_spent_budget_is_told_to_the_operators_once, |namespace, engine| {
    let world = world(namespace, engine);
    world.portolan.configure("mail_from", "operators = [\"all@registry.test\"]\nmail_from");
    world.portolan.configure("[serve]\n", "[statistics]\nbudget_per_day = 1000\n[serve]\n");
    let smtp = Smtp::start(namespace);
    world.crawl();
    assert!(smtp.mails().is_empty(), "nothing is spent");

    let serve = world.portolan.serve();
    let layer = world.origin.layers("fedora", "latest").remove(0);
    let answer = http::get(&format!("https://registry.test/v2/fedora/blobs/{layer}"), &[]);
    assert_eq!(answer.status, 200, "no mirror has it");
    serve.stop(); // it stores what it counted
    let mut crawl = world.portolan.start("crawl --once");
    assert!(wait_for(Duration::from_secs(15), || crawl.has_ended()), "{}", crawl.log());
    assert!(
        crawl.log().contains("much of a budget of bytes from CDNs and the fallback is spent"),
        "{}",
        crawl.log()
    );
    world.crawl();
    let mails = smtp.mails();
    assert_eq!(mails.len(), 1, "{mails:#?}");
    // Soft line breaks of quoted-printable.
    let mail = mails[0].replace("=\r\n", "").replace("=\n", "");
    for part in
        ["Subject: the fallback has spent its budget, or nearly", "To: all@registry.test", "100 % or more"]
    {
        assert!(mail.contains(part), "{part} is not in\n{mail}");
    }
    let shown = world.portolan.json("statistics");
    let bytes = answer.body.len() as u64;
    assert_eq!(shown["days"][0]["ways"]["fallback-tree"], serde_json::json!({"requests": 1, "bytes": bytes}));
    assert_eq!(shown["budgets"][0], serde_json::json!({"period": "day", "spent": bytes, "budget": 1000}));
});

#[test]
fn a_certificate_that_ends_soon_is_told_once() {
    namespace::enter(|namespace| {
        let world = world(namespace, Engine::Sqlite);
        let smtp = Smtp::start(namespace);
        let mut mirror = world.mirror("de.mirror.test", Scheme::Https, "--contact de@example.org");
        world.fill(&mirror.root());
        // Once a day this is looked at without being asked for.
        let crawl = || drop(world.portolan.done("crawl --once --host de.mirror.test"));
        crawl();
        let shown = world.portolan.done("host show de.mirror.test");
        assert!(shown.contains("its certificate lasts until "), "{shown}");
        assert!(!shown.contains("its certificate ends") && smtp.mails().is_empty(), "{shown}");

        // Ends after 9 days and what is left of today.
        mirror.show(namespace.authority.issue_for_days(mirror.name(), 10));
        crawl();
        crawl();
        let mails = smtp.mails();
        assert_eq!(mails.len(), 1, "{mails:#?}");
        let warning = "https://de.mirror.test/pub/containers: its certificate ends in 9 days: renew it";
        let shown = world.portolan.done("host show de.mirror.test");
        assert!(shown.contains(warning), "{shown}");
        // Soft line breaks of quoted-printable.
        let one_line = mails[0].replace("=\r\n", "").replace("=\n", "");
        assert!(
            one_line.contains("Subject: de.mirror.test has a certificate that ends soon"),
            "{}",
            mails[0]
        );
        assert!(one_line.contains(warning), "{}", mails[0]);
        assert_eq!(world.found("de.mirror.test").0, "up-to-date", "it is offered until then");

        mirror.show(namespace.authority.issue_for_days(mirror.name(), -1));
        crawl();
        let shown = world.portolan.done("host show de.mirror.test");
        println!("{shown}");
        assert_ne!(world.found("de.mirror.test").0, "up-to-date", "{shown}");
        assert!(
            shown.contains("certificate has expired") || shown.contains("certificate expired"),
            "{shown}"
        );
    });
}

on_both_engines!(a_mail_server_that_hangs_harms_no_crawl, |namespace, engine| {
    let world = world(namespace, engine);
    world.portolan.configure("mail_from", "timeout = \"3s\"\nmail_from");
    // It accepts, and never says anything.
    let _silent = TcpListener::bind(smtp::ADDRESS).unwrap();
    world.opt_in_https("us2.mirror.test", "--contact us@example.org");
    let started = Instant::now();
    let mut crawl = world.portolan.start("crawl --once");
    let is_off = || {
        let shown = world.portolan.json("host show us2.mirror.test");
        shown["auto_disabled"].is_string() && shown["schedule"]["holder"].is_null()
    };
    assert!(wait_for(CRAWLED_WITHIN, is_off), "the result waits for the mail\n{}", crawl.log());
    println!("stored after {:?}", started.elapsed());
    assert!(wait_for(Duration::from_secs(15), || crawl.has_ended()), "it waits for ever");
    assert!(crawl.log().contains("no mail to us@example.org"), "{}", crawl.log());
});
