//! Bad input: the right 4xx in the specification's form, never a 5xx, and the next request is answered.

use portolan::{oci::Digest, server::ForwardedHeader};

use crate::{
    http::new_client,
    world::{World, on_both, on_both_with},
};

/// More than a head may have is refused by the HTTP parser itself, with nothing but a 4xx.
const BARE: &str = "";

/// Asks, byte by byte; `code` is what the body must say.
#[track_caller]
fn check(world: &World, target: &[u8], headers: &[u8], status: u16, code: &str) {
    let (found, body) = world.http.raw_get(target, headers);
    let shown = String::from_utf8_lossy(&target[..target.len().min(100)]).into_owned();
    if code == BARE {
        assert!((400..500).contains(&found), "{shown}: {found} {body}");
    } else {
        assert_eq!(found, status, "{shown}: {body}");
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["errors"][0]["code"], code, "{shown}: {body}");
        assert!(body["errors"][0]["message"].is_string(), "{body}");
    }
    still_answers(world);
}

#[track_caller]
fn still_answers(world: &World) {
    let answer = world.http.get("/v2/fedora/manifests/41", &[]);
    assert_eq!((answer.status, &answer.body), (200, &world.images.manifest.bytes));
}

#[test]
fn names_tags_and_digests_that_break_the_grammar() {
    on_both(|world| {
        let digest = Digest::of(b"x").to_string();
        for name in [
            "Fedora",
            "fedora/",
            "/fedora",
            "fe//dora",
            "-fedora",
            "fedora-",
            "fe..dora",
            "..",
            "../..",
            ".",
            "fe_-dora",
            "fe%20dora",
            "%66edora",
            "fe%2fdora",
            "%2e%2e",
            "..%2f..",
            "fe%00dora",
            "%",
            "%zz",
            "fe:dora",
            "fe@dora",
            "fe\\dora",
            "fe+dora",
            "~",
            "'",
            "\"",
            "fe;dora",
        ] {
            for rest in
                ["manifests/latest", "tags/list", &format!("blobs/{digest}"), &format!("referrers/{digest}")]
            {
                check(world, format!("/v2/{name}/{rest}").as_bytes(), b"", 400, "NAME_INVALID");
            }
        }
        for tag in
            [".latest", "-latest", "la%74est", "latest%00", "%2e%2e", "..", "a+b", "~", "", &"t".repeat(129)]
        {
            check(world, format!("/v2/fedora/manifests/{tag}").as_bytes(), b"", 400, "TAG_INVALID");
        }
        let (upper, long) = (digest.to_uppercase().replace("SHA", "sha"), format!("{digest}0"));
        let md5 = "md5:d41d8cd98f00b204e9800998ecf8427e";
        for bad in ["sha256:", "sha256:abc", ":", "sha256%3aabc", md5, &upper, &long, "..", ""] {
            for kind in ["blobs", "referrers"] {
                check(world, format!("/v2/fedora/{kind}/{bad}").as_bytes(), b"", 400, "DIGEST_INVALID");
            }
            if bad.contains(':') {
                check(world, format!("/v2/fedora/manifests/{bad}").as_bytes(), b"", 400, "DIGEST_INVALID");
            }
        }
    });
}

#[test]
fn paths_that_lead_elsewhere_lead_nowhere() {
    on_both(|world| {
        for path in [
            "/../etc/passwd",
            "/..",
            "/v2/../v2/",
            "/%2e%2e/",
            "/.portolan/lock",
            "/fedora/repositories.json",
            "/v2//",
            "//v2/",
            "/v2/%00",
            "/V2/",
            "/v2/fedora/tags/list/",
            "/v2/fedora/tags/",
            "/v2%2f",
            "/index.html",
            "/v2/_catalog/",
        ] {
            check(world, path.as_bytes(), b"", 404, "UNSUPPORTED");
        }
        for target in
            [&b"/v2/\0/tags/list"[..], b"/v2/a b/tags/list", b"/v2/\x01/tags/list", b"v2/", b"", b"\xff\xfe"]
        {
            check(world, target, b"", 400, BARE);
        }
        // What the parser may let through, is no name all the same.
        check(world, "/v2/fédora/tags/list".as_bytes(), b"", 400, BARE);
    });
}

#[test]
fn long_paths_and_many_headers() {
    on_both(|world| {
        let long = |length: usize, rest: &str| format!("/v2/{}/{rest}", "a".repeat(length));
        check(world, long(8 * 1024, "tags/list").as_bytes(), b"", 400, "NAME_INVALID");
        check(world, long(100 * 1024, "tags/list").as_bytes(), b"", 400, BARE);
        check(
            world,
            format!("/v2/fedora/manifests/{}", "t".repeat(8 * 1024)).as_bytes(),
            b"",
            400,
            "TAG_INVALID",
        );
        check(
            world,
            format!("/v2/fedora/blobs/sha256:{}", "0".repeat(8 * 1024)).as_bytes(),
            b"",
            400,
            "DIGEST_INVALID",
        );
        check(world, format!("/v2{}", "/a".repeat(4 * 1024)).as_bytes(), b"", 404, "UNSUPPORTED");
        check(world, b"/v2/", "X: y\r\n".repeat(5_000).as_bytes(), 400, BARE);
        check(world, b"/v2/", format!("X: {}\r\n", "y".repeat(1024 * 1024)).as_bytes(), 400, BARE);
        let (status, _) = world.http.raw_get(b"/v2/", format!("X: {}\r\n", "y".repeat(60_000)).as_bytes());
        assert_eq!(status, 200, "long, but no longer than may be");
    });
}

#[test]
fn parameters_that_cannot_be_read() {
    on_both(|world| {
        let long = format!("/metalink?repo={}", "a".repeat(8 * 1024));
        for target in [
            "/v2/_catalog?n=%00",
            "/v2/fedora/tags/list?n=0x10",
            "/metalink",
            "/mirrorlist",
            "/metalink?repo=",
            "/metalink?repo=..",
            "/metalink?repo=%2e%2e%2f",
            "/metalink?repo=fe%00dora",
            "/metalink?repo=fedora&tag=../..",
            "/metalink?repo=fedora&tag=",
            "/metalink?repo=fedora&digest=sha256:x",
            "/metalink?repo=fedora&version=5",
            "/metalink?repo=fedora&country=D1",
            "/mirrorlist?repo=fedora&country=%ff%fe",
            "/mirrorlist?repo=f%C3%A9dora",
            &long,
        ] {
            check(world, target.as_bytes(), b"", 400, "UNSUPPORTED");
        }
        for target in ["/v2/fedora/tags/list?last=%00%ff", "/v2/_catalog?last=%2e%2e&&&=", "/v2/?%00"] {
            assert_eq!(world.http.raw_get(target.as_bytes(), b"").0, 200, "{target}");
        }
        let referrers = format!("/v2/fedora/referrers/{}?artifactType=%ff%00", world.images.index.digest);
        assert_eq!(world.http.raw_get(referrers.as_bytes(), b"").0, 200);
        check(world, format!("{referrers}&last=-1").as_bytes(), b"", 400, "UNSUPPORTED");
    });
}

#[test]
fn header_bytes_that_are_no_text() {
    on_both(|world| {
        let blob = world.blob(&world.images.small).into_bytes();
        for (header, status) in [
            (&b"Range: bytes=\xff-\xfe\r\n"[..], 200),
            (b"Accept: \xe9, application/metalink\xff\r\n", 200),
            (b"If-None-Match: \"\xc3\xa9\"\r\n", 200),
            (b"User-Agent: \xf0\x9f\x90\xb3\r\n", 200),
            (b"X-Forwarded-Proto: \xff\r\nX-Forwarded-Host: \xff\r\n", 200),
        ] {
            assert_eq!(world.http.raw_get(&blob, header).0, status, "{}", String::from_utf8_lossy(header));
            assert_eq!(world.http.raw_get(b"/v2/fedora/manifests/latest", header).0, status);
        }
        check(world, &blob, b"X-Forwarded-For: \xe9\r\n", 400, "UNSUPPORTED");
        for header in
            [&b"X: a\0b\r\n"[..], b"X\xff: y\r\n", b": y\r\n", b"no colon\r\n", b"Content-Length: x\r\n"]
        {
            check(world, &blob, header, 400, BARE);
        }
        // A name of ours that is no name is not repeated.
        let large = world.blob(&world.images.large);
        let client = format!("X-Forwarded-For: {}\r\nX-Forwarded-Host: evil/\"><x>\r\n", new_client());
        let head = format!("GET {large} HTTP/1.1\r\nHost: h\r\n{client}");
        assert_eq!(world.http.raw(head.as_bytes()).0, 302);
        let hostless = world.http.raw(b"GET /v2/ HTTP/1.0\r\n");
        assert_eq!(hostless.0, 200, "HTTP/1.0 needs no Host");
        for line in
            ["OPTIONS * HTTP/1.1", "CONNECT h:443 HTTP/1.1", "BREW /v2/ HTTP/1.1", "TRACE /v2/ HTTP/1.1"]
        {
            let (status, body) = world.http.raw(format!("{line}\r\nHost: h\r\n").as_bytes());
            assert!((400..500).contains(&status), "{line}: {status} {body}");
        }
        for junk in
            [&b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\r\n"[..], b"GET\r\n", b"GET /v2/ HTTP/9.9\r\n"]
        {
            let (status, body) = world.http.raw(junk);
            assert!((400..500).contains(&status), "{status} {body}");
        }
        still_answers(world);
    });
}

#[test]
fn a_trusted_proxy_that_is_not_understood() {
    on_both(|world| {
        let blob = world.blob(&world.images.large).into_bytes();
        let proxies = format!("X-Forwarded-For: {}\r\n", vec!["127.0.0.9"; 10_000].join(","));
        check(world, &blob, proxies.as_bytes(), 400, "UNSUPPORTED");
        let strangers = format!("X-Forwarded-For: {}\r\n", vec!["192.0.2.99"; 10_000].join(","));
        assert_eq!(world.http.raw_get(&blob, strangers.as_bytes()).0, 302, "the last one is the client");
        let lines = "X-Forwarded-For: 192.0.2.99\r\n".repeat(10_000);
        check(world, &blob, lines.as_bytes(), 400, BARE);
        for value in [
            "unknown",
            "",
            ",",
            "192.0.2.1.1",
            "192.0.2.1:99999",
            "[::1",
            "fe80::1%eth0",
            "10.0.0.1;x",
            "127.0.0.1,,",
        ] {
            check(world, &blob, format!("X-Forwarded-For: {value}\r\n").as_bytes(), 400, "UNSUPPORTED");
        }
    });
}

#[test]
fn a_stranger_is_not_believed() {
    let nobody = |settings: &mut portolan::server::Settings| settings.serve.trusted_proxies.clear();
    on_both_with(nobody, |world| {
        let list = "/mirrorlist?repo=fedora&tag=41";
        let inside = "198.51.100.7";
        let many = vec![inside; 10_000].join(",");
        for header in ["X-Forwarded-For", "Forwarded"] {
            for value in [inside, &format!("for={inside}"), &many, "unknown", "é"] {
                let header = format!("{header}: {value}\r\nX-Forwarded-Host: direct.test\r\n");
                let (status, body) = world.http.raw_get(list.as_bytes(), header.as_bytes());
                assert_eq!(status, 200);
                assert!(!body.contains("secret"), "{body}");
            }
        }
        still_answers(world);
    });
}

#[test]
fn of_both_forwarding_headers_only_the_configured_one_counts() {
    let (inside, outside) = ("198.51.100.7", "8.8.8.8");
    let list = b"/mirrorlist?repo=fedora&tag=41";
    #[track_caller]
    fn shown(world: &World, target: &[u8], headers: &str) -> bool {
        let (status, body) = world.http.raw_get(target, headers.as_bytes());
        assert_eq!(status, 200, "{body}");
        body.contains("//secret.example/")
    }
    on_both(|world| {
        let both = |x: &str, forwarded: &str| format!("X-Forwarded-For: {x}\r\nForwarded: {forwarded}\r\n");
        assert!(shown(world, list, &both(inside, &format!("for={outside}"))));
        assert!(!shown(world, list, &both(outside, &format!("for={inside}"))));
        assert!(shown(world, list, &both(inside, "garbage \u{e9}")));
        assert!(!shown(world, list, &format!("Forwarded: for={inside}\r\n")));
    });
    let forwarded = |settings: &mut portolan::server::Settings| {
        settings.serve.forwarded_header = ForwardedHeader::Forwarded;
    };
    on_both_with(forwarded, |world| {
        let both = |forwarded: &str, x: &str| format!("Forwarded: {forwarded}\r\nX-Forwarded-For: {x}\r\n");
        assert!(shown(world, list, &both(&format!("for={inside}"), outside)));
        assert!(shown(
            world,
            list,
            &both(&format!("for={outside}, for=\"{inside}:80\";proto=http"), "garbage")
        ));
        assert!(!shown(world, list, &both(&format!("for={inside}, for={outside}"), inside)));
        check(world, list, both("for=_hidden", inside).as_bytes(), 400, "UNSUPPORTED");
        check(
            world,
            list,
            format!("Forwarded: {}\r\n", vec!["for=127.0.0.1"; 5_000].join(",")).as_bytes(),
            400,
            "UNSUPPORTED",
        );
    });
}

#[test]
fn a_host_that_is_no_name_is_never_our_fault() {
    on_both(|world| {
        for host in ["]", "[::1", "h:abc", "h:99999", "h@x", "a_b.test"] {
            let answer = world.http.get("/metalink?repo=fedora&version=4", &[("host", host)]);
            assert!(answer.status < 500, "{host}: {} {}", answer.status, answer.text());
            assert!(!answer.text().contains("http://]"), "{host}: {}", answer.text());
        }
    });
    // Here no mirror is ever named.
    on_both(|world| {
        let answer = world.http.get("/metalink?repo=fedora&version=4", &[("host", "direct.test:99999")]);
        answer.assert_error(400, "UNSUPPORTED");
    });
}

#[test]
fn the_host_of_an_absolute_target_goes_before_the_header() {
    on_both(|world| {
        let path = world.blob(&world.images.large);
        let status = |target: String| world.http.raw_get(target.as_bytes(), b"").0;
        assert_eq!(status(format!("http://direct.test{path}")), 200, "sent by ourselves");
        assert_eq!(status(format!("http://other.test{path}")), 302);
    });
}
