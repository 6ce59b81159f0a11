//! Who is sent where: mirrors, the fallback, repeats, and the secrecy of private hosts.

use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use portolan::{
    database::{crawl, host as hosts, host::HostChange, snapshot},
    metalink,
    mirror::{HostKind, blob_path},
    server::{EndpointConfig, FallbackConfig},
};
use proptest::{
    prop_oneof,
    strategy::Strategy,
    test_runner::{Config, TestRunner},
};

use crate::{
    http::{Answer, new_client},
    world::{FULL, World, on_both, on_both_with},
};

/// The name of the host that a URL is at: `http://NAME.example/m/…`.
fn host(url: &str) -> &str {
    url.split_once("://").and_then(|it| it.1.split_once(".example/m/")).map_or("", |it| it.0)
}

/// Longer than a server takes to store what it noted.
const STORED_WITHIN: Duration = Duration::from_secs(20);

#[test]
fn what_clients_ask_for_is_known_to_crawls() {
    on_both(|world| {
        let list = || {
            let ids: Vec<_> = world.database.read(hosts::list).unwrap().iter().map(|it| it.id).collect();
            let crawled = world.database.read(|it| crawl::list_hosts(it, &ids)).unwrap();
            crawled[0].categories[0].demanded.clone()
        };
        assert!(list().is_empty());
        ask_large(world, &new_client(), &[]);
        let started = Instant::now();
        while list().is_empty() {
            assert!(started.elapsed() < STORED_WITHIN, "not within {STORED_WITHIN:?}");
            thread::sleep(Duration::from_millis(50));
        }
        let blobs = world.database.read(snapshot::load_content).unwrap().blobs;
        let large = blobs.iter().find(|it| it.name() == world.images.large.digest).unwrap();
        assert_eq!(list().into_iter().collect::<Vec<_>>(), [large.number]);
    });
}

/// The hosts of the duplicates, by their order.
fn duplicates(answer: &Answer) -> Vec<String> {
    let links = answer.all("link");
    let links = links.iter().filter(|it| it.contains("rel=duplicate"));
    let numbered = links.zip(1..).map(|(link, number)| {
        assert!(link.ends_with(&format!(">; rel=duplicate; pri={number}; geo=de")), "{link}");
        host(link.trim_start_matches('<')).to_owned()
    });
    numbered.collect()
}

/// As a client who was never here, and comes from nowhere in particular.
fn ask_large(world: &World, client: &str, headers: &[(&str, &str)]) -> Answer {
    world.http.get_as(client, &world.blob(&world.images.large), headers)
}

#[test]
fn a_large_blob_is_at_a_mirror() {
    on_both(|world| {
        let large = &world.images.large;
        let mut seen = HashSet::new();
        for _ in 0..20 {
            let answer = ask_large(world, &new_client(), &[]);
            assert_eq!((answer.status, answer.body.len()), (302, 0));
            assert!(answer.header("location").ends_with(&format!(".example/m/{}", blob_path(&large.digest))));
            assert_eq!(answer.header("cache-control"), "no-store");
            assert_eq!(answer.header("docker-content-digest"), large.digest.to_string());
            assert_eq!(answer.header("digest"), metalink::instance_digest(&large.digest).unwrap());
            let mut hosts = duplicates(&answer);
            hosts.insert(0, host(answer.header("location")).to_owned());
            assert!(hosts.iter().all(|it| FULL.contains(&&**it)), "{hosts:?}");
            assert_eq!(hosts.iter().collect::<HashSet<_>>().len(), 4, "three others: {hosts:?}");
            let links = answer.all("link");
            let own = world.http.url.as_str();
            let described = format!(
                "<{own}/metalink?repo=fedora&digest={}&version=4>; rel=describedby; type=\"application/metalink4+xml\"",
                large.digest
            );
            assert_eq!((links.len(), links[3]), (4, &*described));
            seen.extend(hosts.into_iter().take(1));
        }
        assert!(seen.len() > 1, "clients are spread: {seen:?}");
    });
}

#[test]
fn the_same_image_stays_with_one_mirror() {
    on_both(|world| {
        let one = new_client();
        let other = format!("{}.77", one.strip_suffix(".1").unwrap());
        let location = |client: &str| ask_large(world, client, &[]).header("location").to_owned();
        assert_eq!(location(&one), location(&other), "both are in one /24");
    });
}

#[test]
fn who_came_by_https_stays_with_https() {
    on_both(|world| {
        let https = [("x-forwarded-proto", "https"), ("x-forwarded-host", "registry.test")];
        let answer = ask_large(world, &new_client(), &https);
        assert_eq!(host(answer.header("location")), "a", "the only one with TLS");
        let links = answer.all("link");
        assert_eq!(links.len(), 1);
        assert!(links[0].starts_with("<https://registry.test/metalink?"), "{links:?}");
    });
}

#[test]
fn a_repeat_gets_the_fallback_and_a_resume_the_next_mirror() {
    on_both(|world| {
        let large = &world.images.large;
        let client = new_client();
        assert_eq!(ask_large(world, &client, &[]).status, 302);
        let again = ask_large(world, &client, &[("range", "bytes=0-")]);
        assert_eq!(
            (again.status, again.body == large.bytes),
            (206, true),
            "a failed mirror is asked no more"
        );

        let client = new_client();
        let first = ask_large(world, &client, &[]);
        for (next, range) in duplicates(&first).iter().zip(["bytes=1000-", "bytes=2000-", "bytes=3000-"]) {
            let resumed = ask_large(world, &client, &[("range", range)]);
            assert_eq!((resumed.status, host(resumed.header("location"))), (302, &**next));
        }

        let client = new_client();
        let parts = ["bytes=0-9", "bytes=10-19", "bytes=0-9", "bytes=-5"];
        let chunks =
            parts.map(|it| ask_large(world, &client, &[("range", it)]).header("location").to_owned());
        assert!(chunks.iter().all(|it| *it == chunks[0] && !it.is_empty()), "{chunks:?}");
        assert_eq!(
            ask_large(world, &client, &[]).header("location"),
            chunks[0],
            "and they count for nothing"
        );

        let (one, other) = (("user-agent", "docker/1"), ("user-agent", "docker/2"));
        let client = new_client();
        assert_eq!(ask_large(world, &client, &[one]).status, 302);
        assert_eq!(ask_large(world, &client, &[other]).status, 302, "another program behind one address");
    });
}

#[test]
fn a_direct_endpoint_never_redirects() {
    on_both(|world| {
        let large = &world.images.large;
        for name in ["direct.test", "DIRECT.test", "direct.test:5000"] {
            let answer = ask_large(world, &new_client(), &[("host", name)]);
            assert_eq!((answer.status, answer.body == large.bytes), (200, true), "{name}");
            assert_eq!(answer.header("cache-control"), "public, max-age=31536000, immutable");
        }
        let forwarded = [("x-forwarded-host", "direct.test")];
        assert_eq!(ask_large(world, &new_client(), &forwarded).status, 200);
        assert_eq!(ask_large(world, &new_client(), &[("host", "indirect.test")]).status, 302);
        let accept = [("host", "direct.test"), ("accept", "application/metalink4+xml")];
        let answer = world.http.get("/v2/fedora/manifests/latest", &accept);
        let document = metalink::read(&answer.body).unwrap();
        assert_eq!(document.resources().len(), 1, "we alone: {}", answer.text());
    });
}

#[test]
fn the_tree_sends_ranges() {
    on_both(|world| {
        let bytes = &world.images.large.bytes;
        let length = bytes.len();
        let direct =
            |range: &str| ask_large(world, &new_client(), &[("host", "direct.test"), ("range", range)]);
        for (range, first, last) in [
            ("bytes=0-", 0, length - 1),
            ("bytes=131000-132000", 131_000, 132_000),
            ("bytes=-7", length - 7, length - 1),
            ("bytes=300000-99999999999", 300_000, length - 1),
        ] {
            let answer = direct(range);
            assert_eq!((answer.status, answer.body == bytes[first..=last]), (206, true), "{range}");
            assert_eq!(answer.header("content-range"), format!("bytes {first}-{last}/{length}"));
            assert_eq!(answer.header("content-length"), (last + 1 - first).to_string());
        }
        let several = direct("bytes=5-9,200000-400000").parts();
        assert_eq!(several[0], (format!("bytes 5-9/{length}"), bytes[5..=9].to_vec()));
        assert_eq!(several[1].0, format!("bytes 200000-400000/{length}"));
        assert!(several[1].1 == bytes[200_000..=400_000]);
        let beyond = direct(&format!("bytes={length}-"));
        assert_eq!((beyond.status, beyond.header("content-range")), (416, &*format!("bytes */{length}")));
        assert!(!beyond.header("cache-control").contains("immutable"));
    });
}

#[test]
fn the_fallback_is_the_first_that_is_there() {
    #[track_caller]
    fn check(fallback: &FallbackConfig, origin: Option<&str>, expected: &str) {
        let change = |settings: &mut portolan::server::Settings| {
            settings.fallback = fallback.clone();
            settings.origin = origin.map(|it| it.parse().unwrap());
        };
        on_both_with(change, |world| {
            let large = &world.images.large;
            let expected = expected.replace("PATH", &blob_path(&large.digest));
            let expected = expected.replace("DIGEST", &large.digest.to_string());
            let answer = ask_large(world, &new_client(), &[("host", "direct.test")]);
            let found = format!("{} {}", answer.status, answer.header("location"));
            assert_eq!(found.trim_end(), expected, "{fallback:?}");
            if answer.status == 503 {
                answer.assert_error(503, "UNKNOWN");
                assert!(answer.header("retry-after").parse::<u32>().unwrap() > 0);
            }
            assert_eq!(ask_large(world, &new_client(), &[]).status, 302, "mirrors go first all the same");
        });
    }
    let cdn = "https://cdn.example/pool".parse().ok();
    let none = FallbackConfig { url: None, tree: false, origin: false };
    let origin = Some("https://origin.example");
    check(&none, origin, "503");
    check(&FallbackConfig { origin: true, ..none.clone() }, None, "503");
    let at_origin = "302 https://origin.example/v2/fedora/blobs/DIGEST";
    check(&FallbackConfig { origin: true, ..none.clone() }, origin, at_origin);
    check(&FallbackConfig::default(), origin, "200");
    check(
        &FallbackConfig { url: cdn, ..FallbackConfig::default() },
        origin,
        "302 https://cdn.example/pool/PATH",
    );
}

/// The hosts that a metalink, or a list, names, sorted.
fn named(text: &str) -> Vec<&str> {
    let all = FULL.into_iter().filter(|it| text.contains(&format!("//{it}.example/m/")));
    all.collect()
}

/// Changes a host, and waits until it is in answers.
fn change(world: &World, name: &str, change: &HostChange, is_seen: impl Fn() -> bool) {
    world.change_host(name, change);
    let started = Instant::now();
    while !is_seen() {
        assert!(started.elapsed() < Duration::from_secs(10), "the change of {name} is not seen");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn an_endpoint_keeps_its_promises() {
    let endpoint = |text: &str| toml::from_str::<EndpointConfig>(text).unwrap();
    let endpoints = [
        endpoint("host = \"direct.test\"\ndirect = true"),
        endpoint("host = \"fr.test\"\ncountries = [\"FR\", \"SE\"]"),
        endpoint("host = \"it.test\"\ncountries = [\"IT\"]"),
        endpoint("host = \"tls.test\"\nhttps_only = true"),
        endpoint("host = \"cdn.test\"\ncdn_only = true"),
        endpoint("host = \"avoiding.test\"\navoided_sites = [\"public\"]"),
        endpoint("host = \"plain.test\""),
    ];
    let settings = |settings: &mut portolan::server::Settings| settings.endpoints = endpoints.to_vec();
    on_both_with(settings, |world| {
        let digest = world.images.large.digest;
        let list = format!("/mirrorlist?repo=fedora&digest={digest}");
        let listed = |name: &str, path: &str| world.http.get(path, &[("host", name)]).text().to_owned();
        let country = |it: &str| HostChange { country: Some(it.parse().ok()), ..HostChange::default() };
        change(world, "b", &country("FR"), || named(&listed("fr.test", &list)) == ["b"]);
        let cdn = HostChange { kind: Some(HostKind::Cdn), ..HostChange::default() };
        change(world, "c", &cdn, || named(&listed("cdn.test", &list)) == ["c"]);

        // Redirect, both metalinks of the blob, the metalink of the manifest, and the list say the same.
        let check = |name: &str, expected: &[&str]| {
            let answer = ask_large(world, &new_client(), &[("host", name)]);
            match expected {
                [] => assert_eq!(answer.status, 200, "{name}: the fallback"),
                _ => {
                    assert_eq!(answer.status, 302, "{name}");
                    let told = format!("{:?}", answer.headers);
                    assert!(named(&told).iter().all(|it| expected.contains(it)), "{name}: {told}");
                    assert!(expected.contains(&host(answer.header("location"))), "{name}");
                }
            }
            let metalink = format!("/metalink?repo=fedora&digest={digest}");
            for path in
                [&list, &metalink, &format!("{metalink}&version=4"), &format!("{list}&country=global")]
            {
                assert_eq!(named(&listed(name, path)), expected, "{name} {path}");
            }
            let accept = [("host", name), ("accept", "application/metalink4+xml")];
            let manifest = world.http.get("/v2/fedora/manifests/41", &accept);
            assert_eq!(named(manifest.text()), expected, "{name}");
        };
        check("direct.test", &[]);
        check("fr.test", &["b"]);
        check("FR.test:443", &["b"]);
        check("it.test", &[]);
        check("tls.test", &["a"]);
        check("cdn.test", &["c"]);
        check("avoiding.test", &[]);
        for name in ["plain.test", "other.test", "xfr.test"] {
            check(name, &FULL);
        }
        // Who asks for plain HTTP by a name that promises HTTPS gets nothing.
        assert_eq!(named(&listed("tls.test", &format!("{list}&protocol=http"))), [] as [&str; 0]);
        let both = listed("tls.test", &format!("{list}&protocol=http,https"));
        assert_eq!(named(&both), ["a"]);
        let file = "/mirrorlist?path=fedora/zz/serial";
        assert_eq!(named(&listed("tls.test", file)), ["a"]);
        assert_eq!(named(&listed("tls.test", &format!("{file}&protocol=http"))), [] as [&str; 0]);
    });
}

#[test]
fn an_endpoint_of_https_only_has_no_plain_fallback() {
    let settings = |settings: &mut portolan::server::Settings| {
        let endpoint = "host = \"tls.test\"\nhttps_only = true\ncountries = [\"IT\"]";
        settings.endpoints = vec![toml::from_str(endpoint).unwrap()];
        settings.endpoints.push(toml::from_str("host = \"it.test\"\ncountries = [\"IT\"]").unwrap());
        settings.fallback.url = "http://cdn.example/pool".parse().ok();
    };
    on_both_with(settings, |world| {
        let ask = |name: &str| ask_large(world, &new_client(), &[("host", name)]);
        assert!(ask("it.test").header("location").starts_with("http://cdn.example/pool/"));
        assert_eq!(ask("tls.test").status, 200, "the tree comes next");
    });
}

#[test]
fn an_endpoint_that_cannot_be_meant_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let database = crate::world::open(&format!("sqlite:{}/test.db", folder.path().display()));
    database.migrate().unwrap();
    let mut settings = crate::world::settings(folder.path());
    settings.endpoints.push(settings.endpoints[0].clone());
    let refused = crate::world::Server::start(settings, database).err().expect("it does not start");
    assert!(refused.contains("direct.test is there twice"), "{refused}");
}

/// Everything that a client at this address is told of hosts.
fn told(world: &World, address: IpAddr) -> (String, String) {
    // Each time another program, for repeats get the fallback.
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let agent = format!("test/{}", COUNT.fetch_add(1, Ordering::Relaxed));
    let address = address.to_string();
    let digest = world.images.large.digest;
    let redirect = ask_large(world, &address, &[("user-agent", &agent)]);
    assert_eq!(redirect.status, 302);
    let mut all = format!("{:?}\n", redirect.headers);
    let metalink = format!("/metalink?repo=fedora&digest={digest}");
    let list = format!("/mirrorlist?repo=fedora&digest={digest}");
    let paths = [
        metalink.clone(),
        format!("{metalink}&version=4"),
        format!("{metalink}&country=DE"),
        list.clone(),
        format!("{list}&country=DE"),
        "/metalink?repo=fedora".to_owned(),
        "/mirrorlist?repo=fedora&tag=41".to_owned(),
    ];
    for path in paths {
        let answer = world.http.get_as(&address, &path, &[]);
        assert_eq!(answer.status, 200, "{path}");
        all += answer.text();
    }
    for accept in ["application/metalink+xml", "application/metalink4+xml"] {
        all += world.http.get_as(&address, "/v2/fedora/manifests/41", &[("accept", accept)]).text();
    }
    (host(redirect.header("location")).to_owned(), all)
}

/// Addresses everywhere, and often near the private hosts' networks.
fn addresses() -> impl Strategy<Value = IpAddr> {
    let near = |base: [u8; 4], hosts: u32| {
        (0..hosts).prop_map(move |it| IpAddr::from(Ipv4Addr::from(u32::from_be_bytes(base) + it)))
    };
    let near6 = (4u16..=6, 0u128..1000).prop_map(|(net, low)| {
        IpAddr::from(Ipv6Addr::from(0x2001_0db8_u128 << 96 | u128::from(net) << 80 | low))
    });
    prop_oneof![
        proptest::num::u32::ANY.prop_map(|it| IpAddr::from(Ipv4Addr::from(it))),
        proptest::num::u128::ANY.prop_map(|it| IpAddr::from(Ipv6Addr::from(it))),
        near([198, 51, 99, 200], 400),
        near([203, 0, 112, 200], 400),
        near([192, 0, 2, 0], 32),
        near6,
    ]
}

#[test]
fn a_private_host_is_shown_inside_its_networks_only() {
    on_both(|world| {
        let inside = |address: IpAddr, networks: &[&str]| {
            let networks = networks.iter().map(|it| it.parse::<ipnet::IpNet>().unwrap());
            networks.into_iter().any(|it| it.contains(&address.to_canonical()))
        };
        let check = |address: IpAddr| {
            let (first, all) = told(world, address);
            let by_asn = ["198.51.100.0/24", "2001:db8:5::/48", "203.0.113.0/24"];
            for (name, networks) in [("secret", &by_asn[..]), ("cellar", &["192.0.2.0/28"])] {
                let shown = all.matches(&format!("{name}.example")).count();
                if inside(address, networks) {
                    assert_eq!(first, name, "{address}: near it goes first");
                    assert_eq!(shown, 10, "{address}: once in each answer\n{all}");
                } else {
                    assert_eq!(shown, 0, "{address} is told of {name}:\n{all}");
                }
            }
        };
        for address in [
            "198.51.100.7",
            "::ffff:198.51.100.7",
            "2001:db8:5:1::2",
            "203.0.113.9",
            "192.0.2.1",
            "192.0.2.16",
        ] {
            check(address.parse().unwrap());
        }
        let config = Config { cases: 40, failure_persistence: None, ..Config::default() };
        let outcome = TestRunner::new(config).run(&addresses(), |address| {
            check(address);
            Ok(())
        });
        outcome.unwrap();
    });
}
