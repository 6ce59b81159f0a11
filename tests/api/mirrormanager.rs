//! What clients of MirrorManager's mirror list ask for, and which hosts they get in which order.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use portolan::{
    database::{
        Connection, Part, QueryResult, country, host,
        host::HostChange,
        host_country, host_netblock, host_peer_asn,
        repository_alias::{self, RepositoryAlias},
    },
    mirror::{HostId, blob_path},
};

use crate::world::{World, on_both};

/// Where the rows are seen by every server.
const SEEN_WITHIN: Duration = Duration::from_secs(10);

/// `a` (the only one with HTTPS) and `b` in DE, `c` in FR, `d` in US, `e` in JP for JP and US only, `poor`, which lacks
/// the large layer, in BR. `b` wants 198.18.1.0/24, `c` the second half of it; `d` is a peer of AS 64500. Private are
/// `secret` (198.51.100.0/24, AS 64500) and `cellar` (192.0.2.0/28).
fn place(world: &World) {
    let fill = |it: &mut Connection| {
        let id = |it: &mut Connection, name: &str| -> QueryResult<HostId> {
            Ok(host::find(it, &name.parse().unwrap())?.unwrap().id)
        };
        for (name, country) in [("c", "FR"), ("d", "US"), ("e", "JP"), ("poor", "BR")] {
            let change = HostChange { country: Some(country.parse().ok()), ..HostChange::default() };
            let id = id(it, name)?;
            host::update(it, id, &change)?;
        }
        for (name, netblock) in [("b", "198.18.1.0/24"), ("c", "198.18.1.128/25")] {
            let id = id(it, name)?;
            host_netblock::insert(it, id, &netblock.parse().unwrap(), "")?;
        }
        let (d, e) = (id(it, "d")?, id(it, "e")?);
        host_peer_asn::replace(it, d, vec!["64500".parse().unwrap()])?;
        host_country::allowed::replace(it, e, &["JP".parse().unwrap(), "US".parse().unwrap()])?;
        for (network, country) in [
            ("198.18.1.0/24", "DE"),
            ("198.18.2.0/24", "FR"),
            ("198.18.3.0/24", "US"),
            ("198.18.4.0/24", "JP"),
            ("198.18.5.0/24", "BR"),
            ("198.18.7.0/24", "DE"),
            ("203.0.113.0/24", "AU"),
            ("198.51.100.0/24", "DE"),
            ("192.0.2.0/28", "SE"),
        ] {
            country::set_netblock_country(it, &network.parse().unwrap(), country.parse().unwrap())?;
        }
        let alias = |alias: &str, seconds| RepositoryAlias {
            alias: alias.parse().unwrap(),
            repository: "fedora".parse().unwrap(),
            expires_at: Some(Timestamp::from_second(Timestamp::now().as_second() + seconds).unwrap().into()),
            imported: false,
        };
        repository_alias::set(it, &alias("old/fedora", 3_600))?;
        repository_alias::set(it, &alias("older/fedora", -1))?;
        // A repository of that name is there, and goes before.
        repository_alias::set(it, &alias("tools/docker", 3_600))
    };
    world.database.write(Part::Hosts, fill).unwrap();
    let started = Instant::now();
    while world.http.get("/v2/old/fedora/manifests/latest", &[]).status != 200 {
        assert!(started.elapsed() < SEEN_WITHIN, "the rows are not seen");
        std::thread::sleep(Duration::from_millis(20));
    }
    println!("seen after {:?}", started.elapsed());
}

/// The names of the hosts in a list, in its order.
fn hosts(text: &str) -> Vec<String> {
    let urls = text.lines().filter(|it| !it.starts_with('#'));
    let name = |it: &str| it.split("://").nth(1).unwrap().split(".example/m/").next().unwrap().to_owned();
    urls.map(name).collect()
}

/// `a b|c`: first `a` and `b` in any order, then `c`, and no others.
#[track_caller]
fn check(world: &World, client: &str, headers: &[(&str, &str)], query: &str, classes: &str) {
    let answer = world.http.get_as(client, &format!("/mirrorlist?{query}"), headers);
    assert_eq!(answer.status, 200, "{query}: {}", answer.text());
    assert!(answer.header("content-type").starts_with("text/plain"));
    let found = hosts(answer.text());
    let mut rest = found.as_slice();
    for class in classes.split('|').filter(|it| !it.is_empty()) {
        let expected: BTreeSet<&str> = class.split(' ').collect();
        let (some, others) = rest.split_at(expected.len().min(rest.len()));
        let some: BTreeSet<&str> = some.iter().map(String::as_str).collect();
        assert_eq!(some, expected, "{client} {query}: {found:?} is not {classes}");
        rest = others;
    }
    assert!(rest.is_empty(), "{client} {query}: {found:?} is more than {classes}");
}

const DE: &str = "198.18.7.9";
const DE_NETBLOCK: &str = "198.18.1.9";
const DE_LONGER_NETBLOCK: &str = "198.18.1.200";
const FR: &str = "198.18.2.9";
const US: &str = "198.18.3.9";
const JP: &str = "198.18.4.9";
const BR: &str = "198.18.5.9";
const NOWHERE: &str = "198.18.6.9";
const AU_ASN: &str = "203.0.113.9";
const SECRET: &str = "198.51.100.9";
const CELLAR: &str = "192.0.2.5";

/// The classes were worked out by hand: netblocks (longest first), autonomous systems, country, continent, and all others
/// while fewer than five were found. `e` serves JP and US only.
#[test]
fn the_order_of_classes() {
    on_both(|world| {
        place(world);
        let large = &world.images.large.digest;
        let path = format!("fedora/{}", blob_path(large));
        let encoded = format!("%2F{}%2F", path.replace('/', "%2F%2F"));
        let table = [
            // Where the client is.
            (FR, "", "c|a b|d"),
            (DE, "", "a b|c|d"),
            (DE_NETBLOCK, "", "b|a|c|d"),
            (DE_LONGER_NETBLOCK, "", "c|b|a|d"),
            (US, "", "d|a b c e"),
            (JP, "", "e|a b c d"),
            (BR, "", "a b c d"),
            (NOWHERE, "", "a b c d"),
            (AU_ASN, "", "d secret|a b c"),
            (SECRET, "", "secret|a b|c|d"),
            (CELLAR, "", "cellar|a b c|d"),
            // Where it says that it is.
            (FR, "country=us", "d|a b c e"),
            (FR, "country=US", "d|a b c e"),
            (FR, "country=jp", "e|a b c d"),
            (FR, "country=jp,us", "e|d|a b c"),
            (FR, "country=us,jp", "d|e|a b c"),
            (US, "country=fr,de", "c|a b|d"),
            (FR, "country=se", "a b c|d"),
            (US, "country=br", "a b c d"),
            (FR, "country=us,global", "d|a b c e"),
            (FR, "country=global", "c|a b|d"),
            (DE_LONGER_NETBLOCK, "country=us", "c|b|d|a e"),
            (SECRET, "country=jp", "secret|e|a b c d"),
            (AU_ASN, "country=jp", "d secret|e|a b c"),
            // Without its networks.
            (DE_LONGER_NETBLOCK, "netblock=0", "a b|c|d"),
            (DE_LONGER_NETBLOCK, "netblock=1", "c|b|a|d"),
            (AU_ASN, "netblock=0", "a b c d"),
            (SECRET, "netblock=", "a b|c|d"),
            (SECRET, "netblock=0&country=us", "d|a b c e"),
            // By these protocols.
            (FR, "protocol=https", "a"),
            (FR, "protocol=http", "c|b|d"),
            (FR, "protocol=http,https", "c|a b|d"),
            (FR, "protocol=rsync", ""),
            (FR, "protocol=ftp", ""),
            (US, "protocol=http&country=fr,us", "c d|b|e"),
            // For someone else, as a trusted caller may.
            (US, "ip=198.18.2.9", "c|a b|d"),
            (US, "ip=198.51.100.9", "secret|a b|c|d"),
            // What is not known is for others.
            (FR, "location=x&cc=us&countme=1", "c|a b|d"),
        ];
        for (client, query, classes) in table {
            check(world, client, &[], &format!("repo=fedora&digest={large}&{query}"), classes);
        }
        let by_https = [("x-forwarded-proto", "https")];
        check(world, DE, &by_https, &format!("repo=fedora&digest={large}"), "a");
        check(world, DE, &by_https, &format!("repo=fedora&digest={large}&protocol=http"), "b|c|d");
        check(world, FR, &[], &format!("path={path}"), "c|a b|d");
        check(world, FR, &[], &format!("path={encoded}"), "c|a b|d");
        check(world, FR, &[], "repo=fedora", "c|a b|d poor");
        check(world, FR, &[], "repo=old/fedora&arch=aarch64", "c|a b|d poor");
    });
}

#[test]
fn an_architecture_names_its_manifest_and_a_path_its_file() {
    on_both(|world| {
        place(world);
        let images = &world.images;
        let list = world.http.get_as(FR, "/mirrorlist?repo=fedora&arch=x86_64&time=1", &[]);
        let digest = images.manifest.digest;
        let lines: Vec<&str> = list.text().lines().collect();
        assert_eq!(lines[0], format!("# repo = fedora arch = x86_64 digest = {digest} country = FR"));
        assert!(
            lines[1].starts_with("# database creation time: 20") && lines[1].ends_with('Z'),
            "{}",
            lines[1]
        );
        assert!(lines[2].ends_with(&blob_path(&digest)));
        let single = world.http.get_as(FR, "/metalink?repo=fedora&tag=41&arch=x86_64", &[]);
        assert_eq!(single.status, 404, "its configuration names no platform");
        world.http.get("/mirrorlist?repo=fedora&arch=s390x", &[]).assert_error(404, "MANIFEST_UNKNOWN");

        let path = format!("fedora/{}", blob_path(&images.large.digest));
        let document = world.http.get_as(FR, &format!("/metalink?path={path}"), &[]);
        assert!(document.header("content-type").starts_with("application/metalink+xml"));
        let read = portolan::metalink::read(&document.body).unwrap();
        assert_eq!((read.digest(), read.size()), (images.large.digest, images.large.bytes.len() as u64));
        assert!(document.text().contains("<mm0:timestamp>"), "{}", document.text());
        let private = world.http.get_as(SECRET, &format!("/metalink?path={path}"), &[]);
        assert!(private.text().contains("preference=\"100\" mm0:private=\"True\""), "{}", private.text());
        for unknown in
            [path.replace("fedora/", "other/"), path.replace(&images.large.digest.hex()[..2], "00")]
        {
            assert!(matches!(world.http.get(&format!("/mirrorlist?path={unknown}"), &[]).status, 400 | 404));
        }
    });
}

#[test]
fn a_path_names_other_files_where_all_of_the_category_is() {
    on_both(|world| {
        place(world);
        for (path, shown) in [
            ("fedora/zz/serial", "fedora/zz/serial"),
            ("fedora/repositories.json", "fedora/repositories.json"),
            ("/fedora//zz/inventory/", "fedora/zz/inventory"),
            ("fedora", "fedora/"),
        ] {
            // Not `poor`, which is the nearest and lacks a layer.
            check(world, BR, &[], &format!("path={path}"), "a b c d");
            check(world, US, &[], &format!("path={path}"), "d|a b c e");
            let list = world.http.get_as(US, &format!("/mirrorlist?path={path}"), &[]);
            let lines: Vec<&str> = list.text().lines().collect();
            assert_eq!(lines[0], format!("# path = {shown} country = US"));
            let file = shown.trim_start_matches("fedora/");
            assert_eq!(lines[1], format!("http://d.example/m/{file}"));
            let redirect = world.http.get_as(US, &format!("/mirrorlist?path={path}&redirect=1"), &[]);
            assert_eq!(redirect.header("location"), lines[1]);
            world.http.get(&format!("/metalink?path={path}"), &[]).assert_error(400, "UNSUPPORTED");
        }
        check(world, BR, &[], "path=fedora/zz/serial&protocol=https", "a");
        world.http.get("/mirrorlist?path=other/zz/serial", &[]).assert_error(404, "BLOB_UNKNOWN");
        world.http.get("/mirrorlist?path=fedora/zz/other", &[]).assert_error(400, "UNSUPPORTED");
    });
}

#[test]
fn a_redirect_goes_to_the_first() {
    on_both(|world| {
        place(world);
        let large = &world.images.large;
        let query = format!("repo=fedora&digest={}&redirect=1", large.digest);
        let answer = world.http.get_as(FR, &format!("/mirrorlist?{query}"), &[]);
        assert_eq!(answer.status, 302);
        assert_eq!(answer.header("location"), format!("http://c.example/m/{}", blob_path(&large.digest)));
        let none = world.http.get_as(FR, &format!("/mirrorlist?{query}&protocol=rsync"), &[]);
        none.assert_error(404, "BLOB_UNKNOWN");
        let ignored = world.http.get_as(FR, &format!("/metalink?{query}"), &[]);
        assert_eq!(ignored.status, 200);
    });
}

#[test]
fn an_old_name_keeps_working_until_it_expires() {
    on_both(|world| {
        place(world);
        let images = &world.images;
        let manifest = world.http.get("/v2/old/fedora/manifests/latest", &[]);
        assert_eq!(manifest.body, images.index.bytes);
        let blob = format!("/v2/old/fedora/blobs/{}", images.large.digest);
        assert_eq!(world.http.get_as(FR, &blob, &[]).status, 302);
        let document = world.http.get_as(FR, "/metalink?repo=old/fedora", &[]);
        assert_eq!(portolan::metalink::read(&document.body).unwrap().digest(), images.index.digest);
        world.http.get("/v2/older/fedora/manifests/latest", &[]).assert_error(404, "NAME_UNKNOWN");
        let own = world.http.get("/v2/tools/docker/manifests/1", &[]);
        assert_eq!(own.body, images.docker.bytes, "a repository goes before a former name");
    });
}
