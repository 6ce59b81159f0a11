//! People sign in with the account that they have at the distribution, in a real browser, at a real provider.

use std::time::Duration;

use serde_json::Value;

use crate::rig::browser::Browser;
use crate::rig::namespace;
use crate::rig::oidc::Oidc;
use crate::rig::world::{Engine, World};

/// From a click to the page behind it, by way of the provider.
const SHOWN_WITHIN: Duration = Duration::from_secs(20);

const BUTTON: &str = "Sign in with Example account";

on_both_engines!(people_sign_in_with_the_distributions_account, |namespace, engine| {
    let world = World::new(namespace, engine);
    let mut provider = Oidc::start(namespace);
    world.portolan.configure("[serve]", &format!("{}[serve]", provider.config()));
    world.portolan.done("config check");
    let made = world.portolan.json("account create bob");
    let password = made["password"].as_str().unwrap();
    let serve = world.portolan.serve();
    let names = || {
        let all = world.portolan.json("account list");
        let name = |it: &Value| it["name"].as_str().unwrap().to_owned();
        all.as_array().unwrap().iter().map(name).collect::<Vec<_>>()
    };
    let browser = Browser::start(namespace);
    let is_at = |name: &str| {
        browser.go("https://registry.test/desk/account");
        browser.wait_for(SHOWN_WITHIN, &format!("Name\n{name}"));
    };
    let sign_out = || {
        browser.click("Sign out");
        browser.wait_for(SHOWN_WITHIN, BUTTON);
    };
    let sign_in_here = || {
        browser.fill("Name", "bob");
        browser.fill("Password", password);
        browser.click("Sign in");
        browser.wait_for(SHOWN_WITHIN, "Register your mirror");
        is_at("bob");
    };

    browser.go("https://registry.test/sign-in");
    browser.see("oidc-button", BUTTON);
    browser.click(BUTTON);
    provider.sign_in(&browser, "ann");
    let took = browser.wait_for(SHOWN_WITHIN, "Register your mirror");
    println!("signed in {took:.1?} after the provider's form");
    assert_eq!(browser.url(), "https://registry.test/desk");
    browser.go("https://registry.test/desk/account");
    browser.see("oidc-account", "Signing in elsewhere");
    is_at("ann");
    assert_eq!(names(), ["ann", "bob"]);

    sign_out();
    browser.click(BUTTON);
    browser.wait_for(SHOWN_WITHIN, "Register your mirror");
    is_at("ann");
    assert_eq!(names(), ["ann", "bob"], "the same account");

    sign_out();
    sign_in_here();
    browser.forget(&provider.url());
    is_at("bob");
    browser.fill("Your password here", password);
    browser.click("Link");
    provider.sign_in(&browser, "bobby");
    browser.see("oidc-linked", "You can sign in by it from now on");
    sign_out();
    browser.click(BUTTON);
    browser.wait_for(SHOWN_WITHIN, "Register your mirror");
    is_at("bob");
    assert_eq!(names(), ["ann", "bob"]);
    browser.click("Remove the link");
    browser.see("oidc-removed", "Your account is linked with none yet");

    provider.kill();
    sign_out();
    browser.click(BUTTON);
    browser.wait_for(SHOWN_WITHIN, "Example account cannot be asked now");
    sign_in_here();
    drop(browser);
    serve.stop();
});
