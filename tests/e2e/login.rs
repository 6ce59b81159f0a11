//! Export from origins that want a login.

use std::fs;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::rig::image::Image;
use crate::rig::namespace::{self, Namespace};
use crate::rig::origin::{self, Access, Origin, PASSWORD, USERNAME};
use crate::rig::portolan::Portolan;
use crate::rig::token_server::TokenServer;
use crate::rig::tree;
use crate::rig::world::{self, CATEGORY};

/// The environment with the right login.
const LOGIN: [(&str, &str); 2] =
    [("PORTOLAN_ORIGIN_USERNAME", USERNAME), ("PORTOLAN_ORIGIN_PASSWORD", PASSWORD)];

/// The environment with a login that is not right.
const WRONG: [(&str, &str); 2] =
    [("PORTOLAN_ORIGIN_USERNAME", USERNAME), ("PORTOLAN_ORIGIN_PASSWORD", "guessed")];

/// An origin with images in it that from now on wants a login, and who exports from it.
fn guard(namespace: &Namespace, access: &Access) -> (Origin, Portolan) {
    let open = Origin::start(namespace);
    Image::ordinary("fedora").push(origin::URL, "fedora", "latest");
    Image::ordinary("app").push(origin::URL, "team/app", "1");
    drop(open);
    (Origin::guarded(namespace, access), world::configure(namespace, None))
}

/// Runs an export that must fail for want of a login, soon, and gives what it said.
#[track_caller]
fn refused(portolan: &Portolan, origin: &Origin, environment: &[(&str, &str)]) -> String {
    let before = origin.requests().len();
    let printed = portolan.run_with("export", environment).expect_failure();
    for part in ["https://origin.test/", "401", "[origin]"] {
        assert!(printed.contains(part), "{part} is not in {printed}");
    }
    assert!(!printed.contains("guessed"), "{printed}");
    let requests = origin.requests().len() - before;
    assert!(requests <= 5, "{requests} requests with a login that the origin does not take");
    printed
}

#[track_caller]
fn assert_exported(portolan: &Portolan) {
    let category = portolan.category(CATEGORY);
    tree::check(&category);
    let repositories: Vec<_> = tree::repositories(&category).into_keys().collect();
    assert_eq!(repositories, ["fedora", "team/app"]);
}

/// Writes a containers auth.json with a login for `key`, and has `portolan` use it.
fn write_auth_file(path: &Path, key: &str) {
    let auth = BASE64_STANDARD.encode(format!("{USERNAME}:{PASSWORD}"));
    fs::write(path, format!(r#"{{"auths": {{"{key}": {{"auth": "{auth}"}}}}}}"#)).unwrap();
}

#[test]
fn an_origin_may_want_a_password() {
    namespace::enter(|namespace| {
        let (origin, portolan) = guard(namespace, &Access::Password);
        let category = portolan.category(CATEGORY);

        let printed = refused(&portolan, &origin, &[]);
        for part in ["PORTOLAN_ORIGIN_USERNAME", "auth_file"] {
            assert!(printed.contains(part), "what to configure is not told: {part} is not in {printed}");
        }
        assert!(!category.exists(), "an export without a login made a category");

        portolan.run_with("export", &LOGIN).expect_success();
        assert_exported(&portolan);

        let (serial, files) = (tree::serial(&category), tree::list_digests(&category));
        for environment in [&[][..], &WRONG] {
            refused(&portolan, &origin, environment);
            assert_eq!(tree::serial(&category), serial);
            assert_eq!(tree::list_digests(&category), files);
            assert_exported(&portolan);
        }
    });
}

#[test]
fn the_login_may_be_in_containers_auth_file() {
    namespace::enter(|namespace| {
        let (origin, portolan) = guard(namespace, &Access::Password);
        portolan.configure("[origin]", "[origin]\nauth_file = \"auth.json\"");
        let path = portolan.folder.join("auth.json");
        write_auth_file(&path, "other.test");
        refused(&portolan, &origin, &[]);
        write_auth_file(&path, "origin.test");
        portolan.done("export");
        assert_exported(&portolan);
    });
}

#[test]
fn an_origin_may_have_a_token_server() {
    namespace::enter(|namespace| {
        let tokens = TokenServer::start(namespace);
        let (_origin, portolan) = guard(namespace, &Access::Token(&tokens));
        for environment in [&[][..], &WRONG] {
            let before = tokens.requests().len();
            let printed = portolan.run_with("export", environment).expect_failure();
            for part in ["https://token.test/token", "401", "[origin]"] {
                assert!(printed.contains(part), "{part} is not in {printed}");
            }
            assert!(tokens.requests().len() - before <= 2, "{:?}", tokens.requests());
            assert!(!portolan.category(CATEGORY).exists());
        }
        let before = tokens.requests().len();
        portolan.run_with("export", &LOGIN).expect_success();
        assert_exported(&portolan);
        let paths: Vec<_> = tokens.requests().drain(before..).map(|request| request.path).collect();
        assert_eq!(paths.len(), 3, "one token for the catalog and each repository: {paths:#?}");
    });
}
