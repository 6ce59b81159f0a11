//! What is not answered, though it is there; what waits; and which hosts take what.

use std::time::Duration;

use portolan::{
    database::{
        Connection, Part, Sha256, Time, content, country, host, host::HostChange, host_country, withdrawal,
    },
    mirror::{HostKind, blob_path},
    mirrorlist::{Publish, PublishRules},
    oci::Digest,
    server::Settings,
};
use reqwest::Method;

use crate::{
    http::{Answer, new_client},
    status::{SOON, unreachable, wait},
    world::{ENGINES, FULL, Server, World, on_both, on_both_with, settings},
};

fn now() -> Time {
    jiff::Timestamp::now().into()
}

impl World {
    fn withdraw(&self, digest: &Digest, legal: bool) {
        let hash = Sha256(*digest.sha256().unwrap());
        let withdraw = |it: &mut Connection| withdrawal::insert(it, hash, "a test", legal, now());
        self.database.write(Part::Hosts, withdraw).unwrap();
    }

    fn restore(&self, digest: &Digest) {
        let hash = Sha256(*digest.sha256().unwrap());
        assert!(self.database.write(Part::Hosts, |it| withdrawal::delete(it, hash)).unwrap());
    }

    /// As a client who was never here.
    fn ask_large(&self) -> Answer {
        self.http.get_as(&new_client(), &self.blob(&self.images.large), &[])
    }

    /// Who is named for the large layer.
    fn listed(&self) -> String {
        let list = format!("/mirrorlist?repo=fedora&digest={}", self.images.large.digest);
        self.http.get_as(&new_client(), &list, &[]).text().to_owned()
    }
}

/// Every way to ask for the index that `latest`, `42` and `rawhide` name.
fn ways(digest: &Digest) -> Vec<String> {
    vec![
        "/v2/fedora/manifests/latest".to_owned(),
        "/v2/fedora/manifests/42".to_owned(),
        format!("/v2/fedora/manifests/{digest}"),
        format!("/v2/fedora/blobs/{digest}"),
        "/metalink?repo=fedora".to_owned(),
        "/metalink?repo=fedora&tag=rawhide&version=4".to_owned(),
        format!("/metalink?repo=fedora&digest={digest}"),
        "/mirrorlist?repo=fedora".to_owned(),
        format!("/mirrorlist?repo=fedora&digest={digest}"),
    ]
}

#[test]
fn a_withdrawn_manifest_is_answered_in_no_way() {
    on_both(|world| {
        let digest = world.images.index.digest;
        let referrers = format!("/v2/fedora/referrers/{digest}");
        let count = || world.http.get(&referrers, &[]).json()["manifests"].as_array().unwrap().len();
        let tags = || world.http.get("/v2/fedora/tags/list", &[]).json()["tags"].to_string();
        assert_eq!((count(), tags()), (2, r#"["41","42","latest","rawhide"]"#.to_owned()));
        let status = |path: &str| world.http.get(path, &[]).status;
        for (legal, expected) in [(false, 404), (true, 451)] {
            world.withdraw(&digest, legal);
            let took = wait(SOON, "withdrawn", || status("/v2/fedora/manifests/latest") == expected);
            eprintln!("withdrawn after {took:?}");
            for path in ways(&digest) {
                let code = match (legal, path.contains("blobs") || path.contains("digest=")) {
                    (true, _) => "DENIED",
                    (false, true) => "BLOB_UNKNOWN",
                    (false, false) => "MANIFEST_UNKNOWN",
                };
                world.http.get(&path, &[]).assert_error(expected, code);
                assert_eq!(world.http.head(&path, &[]).status, expected, "{path}");
                assert_eq!(
                    world.http.get(&path, &[("accept", "application/metalink4+xml")]).status,
                    expected
                );
            }
            assert_eq!((count(), tags()), (0, r#"["41"]"#.to_owned()));
        }
        assert_eq!(status("/v2/fedora/manifests/41"), 200, "what it contains is another digest");
        world.restore(&digest);
        wait(SOON, "restored", || status("/v2/fedora/manifests/latest") == 200);
        assert!(ways(&digest).iter().all(|it| status(it) == 200));
        assert_eq!(count(), 2);
    });
}

#[test]
fn a_withdrawn_layer_and_a_withdrawn_referrer_are_gone() {
    on_both(|world| {
        let images = &world.images;
        let direct = [("host", "direct.test")];
        let large = world.blob(&images.large);
        world.withdraw(&images.large.digest, true);
        world.withdraw(&images.signature.digest, false);
        wait(SOON, "withdrawn", || world.ask_large().status == 451);
        world.http.get(&large, &direct).assert_error(451, "DENIED");
        assert_eq!(world.http.head(&large, &[]).status, 451);
        let referrers = world.http.get(&format!("/v2/fedora/referrers/{}", images.index.digest), &[]).json();
        let left: Vec<_> =
            referrers["manifests"].as_array().unwrap().iter().map(|it| &it["digest"]).collect();
        assert_eq!(left, [&images.bill.digest.to_string()]);
    });
}

#[test]
fn what_is_withdrawn_stays_so_across_scans_and_without_a_database() {
    for engine in ENGINES {
        let world = World::new(engine, |_| {});
        world.withdraw(&world.images.manifest.digest, false);
        world.publish_image("43");
        wait(SOON, "scanned", || world.http.get("/v2/fedora/manifests/43", &[]).status == 200);
        world.http.get("/v2/fedora/manifests/41", &[]).assert_error(404, "MANIFEST_UNKNOWN");
        let World { server, database, folder, .. } = world;
        drop(server);
        let server = Server::start(settings(folder.path()), unreachable(&database, folder.path())).unwrap();
        let http = crate::http::Http::new(&server.addresses);
        http.get("/v2/fedora/manifests/41", &[]).assert_error(404, "MANIFEST_UNKNOWN");
        assert_eq!(http.get("/v2/fedora/manifests/latest", &[]).status, 200);
    }
}

fn rule(hosts: Option<usize>, seconds: i64) -> PublishRules {
    let after = jiff::SignedDuration::from_secs(seconds);
    PublishRules::from([("fedora".to_owned(), Publish { hosts, share: None, after })])
}

#[test]
fn a_tag_that_moved_waits_for_hosts_and_may_be_published_at_once() {
    let change = |settings: &mut Settings| settings.publish = rule(Some(2), 7200);
    on_both_with(change, |world| {
        let digest =
            || world.http.get("/v2/fedora/manifests/41", &[]).header("docker-content-digest").to_owned();
        let former = world.images.manifest.digest.to_string();
        let new = world.publish_image("41");
        let by_digest = format!("/v2/fedora/manifests/{}", new.digest);
        wait(SOON, "by digest", || world.http.get(&by_digest, &[]).status == 200);
        assert_eq!(digest(), former, "by tag the former one");
        let page = || world.http.get("/images/fedora:41", &[]).text().to_owned();
        let waits = "This tag moved a moment ago";
        assert!(page().contains(waits) && page().contains(&new.digest.to_string()), "{}", page());
        let category = || world.http.get("/categories/fedora", &[]).text().to_owned();
        let waiting = category();
        let (_, row) = waiting.split_once("Tags that wait for mirrors").unwrap();
        for part in [">fedora:41</a>", "<td>0 of 2</td>", &new.digest.to_string()] {
            assert!(row.contains(part), "{part} is not in {waiting}");
        }
        let api = world.http.get("/api/v1/categories", &[]).json()[0]["waiting"][0].clone();
        assert_eq!(
            (&api["image"], &api["holders"], &api["needed"]),
            (&"fedora:41".into(), &0.into(), &2.into())
        );
        assert_eq!(
            (&api["former"], &api["newest"]),
            (&former.clone().into(), &new.digest.to_string().into())
        );
        let image = world.http.get("/api/v1/image?image=fedora:41", &[]).json();
        assert_eq!((&image["digest"], &image["waiting"]), (&api["former"], &api["newest"]));
        let accept = [("accept", "application/metalink4+xml")];
        let metalink = world.http.get("/v2/fedora/manifests/41", &accept);
        assert!(metalink.text().contains(&former["sha256:".len()..]), "{}", metalink.text());
        assert!(world.http.get("/mirrorlist?repo=fedora&tag=41", &[]).text().contains(&former));
        assert_eq!(world.http.get("/v2/fedora/manifests/43", &[]).status, 404);
        world.publish_image("43");
        wait(SOON, "a new tag has nothing to wait for", || {
            world.http.get("/v2/fedora/manifests/43", &[]).status == 200
        });

        world.hold_everything("a");
        std::thread::sleep(Duration::from_secs(1));
        assert_eq!(digest(), former, "one host is not enough");
        world.hold_everything("b");
        wait(SOON, "two hosts hold it", || digest() == new.digest.to_string());
        assert!(!page().contains(waits), "{}", page());
        assert!(!category().contains("Tags that wait"), "{}", category());

        let next = world.publish_image("41");
        let by_digest = format!("/v2/fedora/manifests/{}", next.digest);
        wait(SOON, "by digest", || world.http.get(&by_digest, &[]).status == 200);
        assert_eq!(digest(), new.digest.to_string());
        let publish =
            |it: &mut Connection| content::publish(it, &"fedora".parse().unwrap(), &"41".parse().unwrap());
        assert_eq!(world.database.write(Part::Content, publish).unwrap(), 1);
        wait(SOON, "published by hand", || digest() == next.digest.to_string());
    });
}

#[test]
fn a_tag_that_moved_waits_no_longer_than_its_rule_says() {
    on_both_with(
        |it| it.publish = rule(None, 4),
        |world| {
            let new = world.publish_image("41");
            let digest =
                || world.http.get("/v2/fedora/manifests/41", &[]).header("docker-content-digest").to_owned();
            let by_digest = format!("/v2/fedora/manifests/{}", new.digest);
            wait(SOON, "by digest", || world.http.get(&by_digest, &[]).status == 200);
            assert_eq!(digest(), world.images.manifest.digest.to_string());
            // Nothing else changes: it is looked at every 10 seconds.
            let took =
                wait(Duration::from_secs(16), "the time is over", || digest() == new.digest.to_string());
            eprintln!("published after {took:?}");
        },
    );
}

#[test]
fn hosts_under_embargo_are_offered_to_nobody() {
    on_both_with(
        |it| it.serve.embargoed = vec!["DE".parse().unwrap()],
        |world| {
            assert_eq!(world.ask_large().status, 200, "all stand in Germany: the fallback");
            assert_eq!(world.listed().lines().count(), 1);
            let inside = world.http.get_as("198.51.100.7", &world.blob(&world.images.large), &[]);
            assert_eq!(inside.status, 200, "their own networks neither");
        },
    );
}

#[test]
fn clients_under_embargo_are_refused_if_the_operator_says_so() {
    for refused in [true, false] {
        let change = |settings: &mut Settings| {
            settings.serve.embargoed = vec!["XX".parse().unwrap()];
            settings.serve.embargo_clients = refused;
        };
        on_both_with(change, |world| {
            let network = "198.18.0.0/24".parse().unwrap();
            let place =
                |it: &mut Connection| country::set_netblock_country(it, &network, "XX".parse().unwrap());
            world.database.write(Part::Hosts, place).unwrap();
            let large = world.blob(&world.images.large);
            let paths = [
                "/v2/",
                "/v2/fedora/manifests/latest",
                &large,
                "/metalink?repo=fedora",
                "/mirrorlist?repo=fedora",
            ];
            if refused {
                wait(SOON, "placed", || world.http.get_as("198.18.0.7", "/v2/", &[]).status == 451);
            }
            for path in paths {
                let inside = world.http.get_as("198.18.0.7", path, &[]);
                if refused {
                    inside.assert_error(451, "DENIED");
                } else {
                    assert!([200, 302].contains(&inside.status), "{path}");
                }
                assert!([200, 302].contains(&world.http.get_as("198.18.1.7", path, &[]).status), "{path}");
            }
        });
    }
}

#[test]
fn hosts_take_what_they_take() {
    on_both(|world| {
        let is_listed = |name: &str| world.listed().contains(&format!("//{name}.example/"));
        let large = world.images.large.bytes.len();
        world.change_host(
            "a",
            &HostChange { max_file_size: Some("1M".parse().ok()), ..HostChange::default() },
        );
        let exactly =
            HostChange { max_file_size: Some(large.to_string().parse().ok()), ..HostChange::default() };
        world.change_host("b", &exactly);
        let deny = |it: &mut Connection| {
            let host = host::find(it, &"c".parse().unwrap())?.unwrap();
            host_country::denied::replace(it, host.id, &["DE".parse().unwrap()])
        };
        world.database.write(Part::Hosts, deny).unwrap();
        wait(SOON, "too large for a", || !is_listed("a"));
        assert!(is_listed("b"));
        let list = format!("/mirrorlist?repo=fedora&digest={}&country=", world.images.large.digest);
        let from =
            |country: &str| world.http.get(&format!("{list}{country}"), &[]).text().contains("//c.example/");
        wait(SOON, "denied", || !from("DE"));
        assert!(from("FR"));
        let small = format!("/mirrorlist?repo=fedora&digest={}", world.images.small.digest);
        assert!(world.http.get(&small, &[]).text().contains("//a.example/"));
    });
}

#[test]
fn a_cdn_comes_after_all_others_and_holds_what_no_crawl_saw() {
    on_both(|world| {
        // It lacks the large layer by its crawl.
        world.change_host("poor", &HostChange { kind: Some(HostKind::Cdn), ..HostChange::default() });
        let large = blob_path(&world.images.large.digest);
        let last = || world.listed().lines().last().unwrap().to_owned();
        wait(SOON, "a cdn", || last() == format!("http://poor.example/m/{large}"));
        for _ in 0..20 {
            assert!(!world.ask_large().header("location").contains("poor.example"));
        }
        for name in FULL {
            world.change_host(name, &HostChange { drained: Some(true), ..HostChange::default() });
        }
        wait(SOON, "spill", || world.ask_large().header("location").contains("poor.example"));
        let budget = HostChange { daily_bytes: Some(Some("2M".parse().unwrap())), ..HostChange::default() };
        world.change_host("poor", &budget);
        wait(SOON, "its day is spent", || world.ask_large().status == 200);
    });
}

#[test]
fn a_crowd_behind_one_address_costs_little_fallback() {
    on_both(|world| {
        let large = world.blob(&world.images.large);
        let ask = |_| {
            world.http.fetch(
                Method::GET,
                &format!("{}{large}", world.http.url),
                &[("x-forwarded-for", "198.18.7.7")],
            )
        };
        let fallbacks = (0..500).map(ask).filter(|it| it.status == 200).count();
        assert!((1..=25).contains(&fallbacks), "{fallbacks} of 500");
    });
}
