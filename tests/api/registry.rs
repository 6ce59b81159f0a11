//! What is answered from the snapshot alone: manifests, lists, and small blobs.

use portolan::oci::Digest;
use reqwest::Method;

use crate::world::{World, on_both};

#[test]
fn a_ping_is_answered() {
    on_both(|world| {
        for path in ["/v2", "/v2/"] {
            let answer = world.http.get(path, &[]);
            assert_eq!((answer.status, answer.text()), (200, "{}"), "{path}");
            assert_eq!(answer.header("docker-distribution-api-version"), "registry/2.0");
            assert_eq!(answer.header("www-authenticate"), "");
        }
        assert_eq!(world.http.head("/v2/", &[]).header("content-length"), "2");
    });
}

#[test]
fn only_get_and_head_are_taken() {
    on_both(|world| {
        let manifest = format!("/v2/fedora/manifests/{}", world.images.index.digest);
        let paths =
            ["/v2/", &manifest, &world.blob(&world.images.large), "/v2/_catalog", "/v2/fedora/tags/list"];
        for path in paths.into_iter().chain(["/metalink?repo=fedora", "/mirrorlist?repo=fedora", "/nowhere"])
        {
            for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
                let answer = world.http.send(method, path, &[]);
                answer.assert_error(405, "UNSUPPORTED");
                assert_eq!(answer.header("allow"), "GET, HEAD", "{path}");
            }
        }
    });
}

#[test]
fn a_manifest_is_answered_byte_for_byte() {
    on_both(|world| {
        let images = &world.images;
        let oci = "application/vnd.oci.image.manifest.v1+json";
        let table = [
            ("fedora", "latest", &images.index, "application/vnd.oci.image.index.v1+json"),
            ("fedora", "41", &images.manifest, oci),
            ("tools/docker", "1", &images.docker, "application/vnd.docker.distribution.manifest.v2+json"),
        ];
        for (name, tag, stored, media_type) in table {
            let digest = stored.digest.to_string();
            for (reference, caching) in [(tag, "no-cache"), (&*digest, "public, max-age=31536000, immutable")]
            {
                let path = format!("/v2/{name}/manifests/{reference}");
                let answer = world.http.get(&path, &[]);
                assert_eq!((answer.status, &answer.body), (200, &stored.bytes), "{path}");
                assert_eq!(answer.header("content-type"), media_type);
                assert_eq!(answer.header("docker-content-digest"), digest);
                assert_eq!(answer.header("etag"), format!("\"{digest}\""));
                assert_eq!(answer.header("vary"), "Accept");
                assert_eq!(answer.header("cache-control"), caching);
                check_head(world, &path);
                check_conditional(world, &path, &digest);
            }
        }
    });
}

/// HEAD has the headers of GET, and no body.
#[track_caller]
fn check_head(world: &World, path: &str) {
    let (get, head) = (world.http.get(path, &[]), world.http.head(path, &[]));
    let without_date = |mut headers: reqwest::header::HeaderMap| {
        headers.remove("date");
        headers
    };
    assert_eq!(head.header("content-length"), get.body.len().to_string());
    assert_eq!((head.status, head.body.len()), (get.status, 0));
    assert_eq!(without_date(head.headers), without_date(get.headers), "{path}");
}

#[track_caller]
fn check_conditional(world: &World, path: &str, digest: &str) {
    let other = Digest::of(b"another");
    let table = [
        (format!("\"{digest}\""), 304),
        (format!("W/\"{digest}\""), 304),
        (format!("\"{other}\", \"{digest}\""), 304),
        ("*".to_owned(), 304),
        (format!("\"{other}\""), 200),
        (digest.to_owned(), 200),
    ];
    for (known, status) in table {
        let answer = world.http.get(path, &[("if-none-match", &known)]);
        assert_eq!(answer.status, status, "{known}");
        assert_eq!(answer.body.is_empty(), status == 304);
        assert_eq!(answer.header("etag"), format!("\"{digest}\""));
    }
}

#[test]
fn a_metalink_is_for_those_who_name_it() {
    on_both(|world| {
        let images = &world.images;
        let (v3, v4) = ("application/metalink+xml", "application/metalink4+xml");
        let manifest = "application/vnd.oci.image.index.v1+json";
        let docker = format!("{manifest}, application/vnd.docker.distribution.manifest.list.v2+json, */*");
        let both = format!("{v3}, {v4};q=0.1");
        let none = format!("{v4};q=0, {manifest}");
        let table = [
            ("*/*", manifest),
            ("application/*", manifest),
            ("application/xml", manifest),
            (&docker, manifest),
            (&none, manifest),
            (v3, v3),
            (v4, v4),
            (&both, v4),
        ];
        for (accept, media_type) in table {
            let path = "/v2/fedora/manifests/latest";
            let answer = world.http.get(path, &[("accept", accept)]);
            assert_eq!((answer.status, answer.header("content-type")), (200, media_type), "{accept}");
            assert_eq!(answer.header("vary"), "Accept");
            if media_type == manifest {
                assert_eq!(answer.body, images.index.bytes);
                continue;
            }
            assert_eq!(answer.header("cache-control"), "no-store");
            let document = portolan::metalink::read(&answer.body).unwrap();
            assert_eq!(
                (document.digest(), document.size()),
                (images.index.digest, images.index.bytes.len() as u64)
            );
            assert_eq!(document.resources().len(), 7, "six hosts and we: {}", answer.text());
        }
        // In header lines of their own.
        let answer = world.http.get("/v2/fedora/manifests/41", &[("accept", v3), ("accept", v4)]);
        assert_eq!(answer.header("content-type"), v4);
    });
}

#[test]
fn the_metalink_of_a_blob_or_tag_can_be_asked_for() {
    on_both(|world| {
        let large = world.images.large.digest;
        let by_digest = format!("/metalink?repo=fedora&digest={large}");
        let named = [("accept", "application/metalink4+xml")];
        let table = [
            (by_digest.clone(), &[][..], "application/metalink+xml", large),
            (format!("{by_digest}&version=4"), &[][..], "application/metalink4+xml", large),
            (format!("{by_digest}&version=3"), &named[..], "application/metalink+xml", large),
            (by_digest, &named[..], "application/metalink4+xml", large),
            (
                "/metalink?repo=fedora&tag=41".into(),
                &[],
                "application/metalink+xml",
                world.images.manifest.digest,
            ),
        ];
        for (path, headers, media_type, digest) in table {
            let answer = world.http.get(&path, headers);
            assert_eq!((answer.status, answer.header("content-type")), (200, media_type), "{path}");
            assert_eq!(portolan::metalink::read(&answer.body).unwrap().digest(), digest);
        }
        let list = world.http.get(&format!("/mirrorlist?repo=fedora&digest={large}"), &[]);
        let (head, urls) = list.text().split_once('\n').unwrap();
        assert_eq!(head, format!("# repo = fedora digest = {large}"));
        let mut urls: Vec<_> = urls.lines().collect();
        urls.sort_unstable();
        let path = portolan::mirror::blob_path(&large);
        let hosts = ["http://b", "http://c", "http://d", "http://e", "https://a"];
        assert_eq!(urls, hosts.map(|it| format!("{it}.example/m/{path}")));
    });
}

#[test]
fn a_small_blob_is_answered_here() {
    on_both(|world| {
        let small = &world.images.small;
        let length = small.bytes.len();
        let path = world.blob(small);
        let answer = world.http.get(&path, &[]);
        assert_eq!((answer.status, &answer.body), (200, &small.bytes));
        assert_eq!(answer.header("content-type"), "application/octet-stream");
        assert_eq!(answer.header("docker-content-digest"), small.digest.to_string());
        assert_eq!(answer.header("accept-ranges"), "bytes");
        check_head(world, &path);

        let one = |range: &str, first: usize, last: usize| {
            let answer = world.http.get(&path, &[("range", range)]);
            assert_eq!((answer.status, &answer.body[..]), (206, &small.bytes[first..=last]), "{range}");
            assert_eq!(answer.header("content-range"), format!("bytes {first}-{last}/{length}"));
        };
        one("bytes=0-3", 0, 3);
        one("bytes=4-", 4, length - 1);
        one("bytes=-5", length - 5, length - 1);
        one("bytes=-500", 0, length - 1);
        one("bytes=0-500", 0, length - 1);
        one(&format!("bytes=0-{}", "9".repeat(30)), 0, length - 1);

        let several = world.http.get(&path, &[("range", "bytes=1-2, -3, 5-7")]);
        let part = |first: usize, last: usize| {
            (format!("bytes {first}-{last}/{length}"), small.bytes[first..=last].to_vec())
        };
        assert_eq!(several.status, 206);
        assert_eq!(several.parts(), [part(1, 2), part(length - 3, length - 1), part(5, 7)]);

        for range in ["bytes=500-", "bytes=-0", "bytes=500-600,700-"] {
            let answer = world.http.get(&path, &[("range", range)]);
            assert_eq!((answer.status, answer.body.len()), (416, 0), "{range}");
            assert_eq!(answer.header("content-range"), format!("bytes */{length}"));
            assert!(
                !answer.header("cache-control").contains("immutable"),
                "a cache would keep it as the blob"
            );
        }
        let twice = format!("bytes={}", vec!["0-"; 16].join(","));
        for range in ["bytes=5-4", "bytes=x-", "lines=1-2", "bytes=", &twice] {
            let answer = world.http.get(&path, &[("range", range)]);
            assert_eq!((answer.status, &answer.body), (200, &small.bytes), "{range} gets the whole");
        }
        let entity_tag = format!("\"{}\"", small.digest);
        assert_eq!(answer.header("etag"), entity_tag);
        let resumed = |tag: &str| world.http.get(&path, &[("range", "bytes=4-"), ("if-range", tag)]).status;
        assert_eq!((resumed(&entity_tag), resumed("\"a mirror's\"")), (206, 200), "RFC 9110, 13.1.5");
    });
}

#[test]
fn the_head_of_any_blob_is_answered_here() {
    on_both(|world| {
        let images = &world.images;
        for stored in [&images.large, &images.small, &images.manifest] {
            let answer = world.http.head(&world.blob(stored), &[]);
            assert_eq!((answer.status, answer.body.len()), (200, 0));
            assert_eq!(answer.header("content-length"), stored.bytes.len().to_string());
            assert_eq!(answer.header("docker-content-digest"), stored.digest.to_string());
            assert_eq!(answer.header("location"), "");
        }
    });
}

#[test]
fn lists_come_in_pages() {
    on_both(|world| {
        let names = |path: &str, key: &str| {
            let answer = world.http.get(path, &[]);
            assert_eq!(answer.status, 200, "{path}");
            let names = answer.json()[key].as_array().unwrap().clone();
            let names: Vec<_> = names.iter().map(|it| it.as_str().unwrap().to_owned()).collect();
            let next = answer.header("link");
            let next = next.strip_suffix(">; rel=\"next\"").and_then(|it| it.strip_prefix('<'));
            assert_eq!(next.is_none(), answer.header("link").is_empty(), "{}", answer.header("link"));
            (names.join(" "), next.map(str::to_owned))
        };
        let tags = |query: &str| names(&format!("/v2/fedora/tags/list{query}"), "tags");
        let link = |query: &str| Some(format!("/v2/fedora/tags/list?{query}"));
        assert_eq!(tags(""), ("41 42 latest rawhide".into(), None));
        assert_eq!(tags("?n=2"), ("41 42".into(), link("n=2&last=42")));
        assert_eq!(tags("?n=2&last=42"), ("latest rawhide".into(), None));
        assert_eq!(tags("?n=1&last=42"), ("latest".into(), link("n=1&last=latest")));
        assert_eq!(tags("?last=43"), ("latest rawhide".into(), None), "it need not exist");
        assert_eq!(tags("?last=zzz"), (String::new(), None));
        assert_eq!(tags("?n=0"), (String::new(), None));
        assert_eq!(tags("?n=99999999"), ("41 42 latest rawhide".into(), None));
        let catalog = |query: &str| names(&format!("/v2/_catalog{query}"), "repositories");
        assert_eq!(catalog(""), ("fedora tools/docker".into(), None));
        let next = Some("/v2/_catalog?n=1&last=fedora".to_owned());
        assert_eq!(catalog("?n=1"), ("fedora".into(), next));
        assert_eq!(catalog("?n=1&last=fedora"), ("tools/docker".into(), None));
        assert_eq!(catalog("?n=0"), (String::new(), None));
        assert_eq!(world.http.get("/v2/fedora/tags/list", &[]).json()["name"], "fedora");
        for path in ["/v2/fedora/tags/list", "/v2/_catalog"] {
            for query in ["n=abc", "n=-1", "n=", "n=1.5", "n=99999999999999999999999"] {
                world.http.get(&format!("{path}?{query}"), &[]).assert_error(400, "UNSUPPORTED");
            }
        }
    });
}

#[test]
fn referrers_are_listed_by_subject_and_type() {
    on_both(|world| {
        let images = &world.images;
        let path = format!("/v2/fedora/referrers/{}", images.index.digest);
        let found = |path: &str| {
            let answer = world.http.get(path, &[]);
            assert_eq!(answer.status, 200, "{path}");
            assert_eq!(answer.header("content-type"), "application/vnd.oci.image.index.v1+json");
            let index = answer.json();
            assert_eq!(
                (&index["schemaVersion"], &index["mediaType"]),
                (&2.into(), &answer.header("content-type").into())
            );
            let manifests = index["manifests"].as_array().unwrap().clone();
            let mut digests: Vec<_> =
                manifests.iter().map(|it| it["digest"].as_str().unwrap().to_owned()).collect();
            digests.sort();
            (digests, answer.header("oci-filters-applied").to_owned(), manifests)
        };
        let (bill, signature) = (images.bill.digest.to_string(), images.signature.digest.to_string());
        let mut both = vec![bill, signature.clone()];
        both.sort();
        assert_eq!(found(&path).0, both);
        assert_eq!(found(&path).1, "");
        let (digests, applied, manifests) = found(&format!("{path}?artifactType=application/signature"));
        assert_eq!((digests, &*applied), (vec![signature], "artifactType"));
        assert_eq!(manifests[0]["artifactType"], "application/signature");
        assert_eq!(manifests[0]["size"], images.signature.bytes.len());
        assert_eq!(found(&format!("{path}?artifactType=application%2Fnone")).0, [""; 0]);
        let unknown = Digest::of(b"nobody's");
        assert_eq!(
            found(&format!("/v2/fedora/referrers/{unknown}")).0,
            [""; 0],
            "unknown is none, not an error"
        );
        let bad = world.http.get("/v2/fedora/referrers/sha256:abc", &[]);
        bad.assert_error(400, "DIGEST_INVALID");
        world.http.get(&format!("{path}?last=x"), &[]).assert_error(400, "UNSUPPORTED");
        assert_eq!(found(&format!("{path}?last={}", usize::MAX)).0, [""; 0]);
    });
}

#[test]
fn what_is_unknown_is_told_by_its_code() {
    on_both(|world| {
        let unknown = Digest::of(b"nobody's");
        let small = world.images.small.digest;
        let table = [
            ("/v2/nothing/manifests/latest".into(), "NAME_UNKNOWN"),
            (format!("/v2/nothing/blobs/{small}"), "NAME_UNKNOWN"),
            ("/v2/nothing/tags/list".into(), "NAME_UNKNOWN"),
            (format!("/v2/nothing/referrers/{small}"), "NAME_UNKNOWN"),
            ("/v2/fedora/manifests/none".into(), "MANIFEST_UNKNOWN"),
            (format!("/v2/fedora/manifests/{unknown}"), "MANIFEST_UNKNOWN"),
            (format!("/v2/fedora/manifests/{small}"), "MANIFEST_UNKNOWN"),
            (format!("/v2/fedora/blobs/{unknown}"), "BLOB_UNKNOWN"),
            (format!("/v2/fedora/blobs/sha512:{}", "a".repeat(128)), "BLOB_UNKNOWN"),
            ("/metalink?repo=nothing".into(), "NAME_UNKNOWN"),
            ("/metalink?repo=fedora&tag=none".into(), "MANIFEST_UNKNOWN"),
            (format!("/mirrorlist?repo=fedora&digest={unknown}"), "BLOB_UNKNOWN"),
            ("/nothing".into(), "UNSUPPORTED"),
            ("/v2/fedora".into(), "UNSUPPORTED"),
            ("/v1/_ping".into(), "UNSUPPORTED"),
            ("/v22/fedora/tags/list".into(), "UNSUPPORTED"),
            ("/v2/fedora/blobs/uploads/".into(), "UNSUPPORTED"),
            ("/healthz".into(), "UNSUPPORTED"),
            ("/metrics".into(), "UNSUPPORTED"),
        ];
        for (path, code) in table {
            eprintln!("{path}");
            world.http.get(&path, &[]).assert_error(404, code);
            let head = world.http.head(&path, &[]);
            assert_eq!((head.status, head.body.len()), (404, 0), "{path}");
        }
    });
}
