//! The whole way of a mirror admin, in a real browser: from a stranger to the first client.

use std::time::{Duration, Instant};

use crate::rig::browser::Browser;
use crate::rig::http;
use crate::rig::image::Image;
use crate::rig::namespace::{self, CLIENT_DE, REGISTRY};
use crate::rig::nginx::{Nginx, Scheme};
use crate::rig::origin;
use crate::rig::program::wait_for;
use crate::rig::world::{CATEGORY, Engine, World, place};

/// From the first look at the site to the first redirect.
const WITHIN: Duration = Duration::from_secs(600);

/// A crawl of an empty machine's few files.
const CRAWLED_WITHIN: Duration = Duration::from_secs(60);

/// An opt-out is in answers by then.
const GONE_WITHIN: Duration = Duration::from_secs(2);

#[test]
fn a_stranger_registers_a_mirror_and_the_first_client_comes() {
    namespace::enter(|namespace| {
        let world = World::new(namespace, Engine::Postgres);
        world.portolan.configure("[serve]", "[accounts]\nsign_up = true\n[serve]");
        Image::ordinary("fedora").push(origin::URL, "fedora", "latest");
        let run = world.portolan.service("run");
        let is_scanned = || world.portolan.run(&format!("category show {CATEGORY}")).success();
        assert!(wait_for(CRAWLED_WITHIN, is_scanned), "nothing was exported and scanned\n{}", run.log());
        let mirror = Nginx::start(namespace, "de.mirror.test", Scheme::Https);
        world.fill(&mirror.root());
        let folder = place(std::path::Path::new("/"));
        let url = format!("https://de.mirror.test{}", folder.display());
        let layer = world.origin.layers("fedora", "latest").remove(0);
        let layer = format!("https://registry.test/v2/fedora/blobs/{layer}");
        let browser = Browser::start(namespace);
        namespace::connect_from(CLIENT_DE, REGISTRY);
        let is_sent = || {
            let answer = http::get(&layer, &["Range: bytes=0-9"]);
            answer.header("location").is_some_and(|it| it.starts_with(&url))
        };

        let began = Instant::now();
        browser.go("https://registry.test/");
        browser.see("home", "Container images from mirrors near you");
        browser.click("For mirror admins");
        browser.see("sign-in", "Sign in");
        browser.click("Make an account");
        browser.fill("Name", "ann");
        browser.fill("Password", "correct horse battery");
        browser.check("sign-up");
        browser.click("Make it");
        browser.see("begin", "Register your mirror");
        browser.fill("URL of the category's folder on your server", &url);
        browser.fill("Country", "DEU");
        browser.click("Register");
        browser.see("begin-refused", "a country is two letters");
        browser.fill("Country", "DE");
        browser.click("Register");
        browser.wait_for(CRAWLED_WITHIN, "up-to-date");
        browser.check("crawl");
        assert!(wait_for(CRAWLED_WITHIN, is_sent), "no client is sent to it\n{}", run.log());
        let took = began.elapsed();
        println!("five fields, and the first redirect after {took:.1?} of {WITHIN:?}");
        assert!(took < WITHIN);

        browser.click("Back to de.mirror.test");
        browser.see("host", "What it carries");
        browser.see("host", &format!("location {}/ {{", folder.display()));
        browser.fill("A network of yours", "198.0.0.0/8");
        browser.click("Add the network");
        browser.see("host-waits", "an operator looks at it first");
        browser.set_width(360);
        browser.check("host-phone");
        browser.set_width(1200);
        browser.click("Opt out");
        let gone = Instant::now();
        browser.see("opted-out", "Opted out");
        assert!(wait_for(GONE_WITHIN, || !is_sent()), "clients are still sent to it");
        println!("opted out of answers {:.1?} after the click", gone.elapsed());

        let made = world.portolan.json("account create opa --operator");
        browser.click("Sign out");
        browser.fill("Name", "opa");
        browser.fill("Password", made["password"].as_str().unwrap());
        browser.click("Sign in");
        for (link, words) in [
            ("Approvals", "the network 198.0.0.0/8"),
            ("All sites", "de.mirror.test"),
            ("To look at", "new: added"),
            ("Accounts", "mirror-admin"),
            ("Withdrawals", "Nothing is withdrawn"),
            ("Log", "ann"),
            ("Settings", "(hidden)"),
        ] {
            browser.click(link);
            browser.see(&format!("operator-{}", link.to_lowercase().replace(' ', "-")), words);
        }
        browser.click("Approvals");
        browser.click("Grant");
        browser.see("granted", "Nothing waits");
        let shown = world.portolan.json("host show de.mirror.test");
        assert_eq!(shown["netblocks"][0], "198.0.0.0/8", "{shown:#}");
        let (host, site) = (&shown["id"], &world.portolan.json("site list")[0]["id"]);
        for route in portolan::server::list_desk_routes().filter(|it| it.method == "GET") {
            let path = route.path.replace("{host}", &host.to_string()).replace("{site}", &site.to_string());
            let path = path.replace("{item}", "ann");
            browser.go(&format!("https://registry.test{path}"));
            browser.check(path.trim_start_matches('/').replace('/', "-").as_str());
        }
        browser.go("https://registry.test/desk/account");
        browser.fill("Name", "nightly");
        browser.click("Make a token");
        browser.see("token", "it is not shown again");
        for path in [
            "mirrors",
            "mirrors/de.mirror.test",
            "categories/containers",
            "images",
            "images/fedora:latest",
            "which",
            "statistics",
            "propagation",
        ] {
            browser.go(&format!("https://registry.test/{path}"));
            browser.check(&path.replace(['/', ':'], "-"));
        }
        drop(browser);
        run.stop();
    });
}
