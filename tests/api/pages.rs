//! What people see in a browser.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use portolan::{
    database::{
        Connection, Part, Time, country,
        host::{self, HostChange},
        host_category, snapshot,
        statistics::{self, Batch, Count, Period, Way},
        suspicion::{self, BlobFault, Settled},
        traffic::Traffic,
    },
    mirror::{FileFault, blob_path},
    mirrorlist::load::Demand,
    server::EndpointConfig,
};
use reqwest::Method;

use crate::{
    http::{Answer, Http},
    status::unreachable,
    world::{ENGINES, FULL, Server, World, on_both, on_both_with, settings},
};

/// Where a change is seen.
const SEEN_WITHIN: Duration = Duration::from_secs(10);

/// In `/24`s that count as these countries.
const DE: &str = "198.18.7.9";

fn place(world: &World) {
    let fill = |it: &mut Connection| {
        country::set_netblock_country(it, &"198.18.7.0/24".parse().unwrap(), "DE".parse().unwrap())
    };
    world.database.write(Part::Hosts, fill).unwrap();
    wait(|| world.http.get_as(DE, "/which", &[]).text().contains("<dd>DE</dd>"));
}

#[track_caller]
fn wait(is_there: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_there() {
        assert!(started.elapsed() < SEEN_WITHIN, "the change is not seen");
        std::thread::sleep(Duration::from_millis(20));
    }
    println!("seen after {:?}", started.elapsed());
}

/// A page, which is whole, and which no other site's script or frame gets hold of.
#[track_caller]
fn page(world: &World, path: &str) -> Answer {
    let page = world.http.get(path, &[]);
    assert_eq!(page.status, 200, "{path}: {}", page.text());
    check_page(&page);
    let head = world.http.send(Method::HEAD, path, &[]);
    assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
    page
}

#[track_caller]
fn check_page(page: &Answer) {
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert!(page.header("content-security-policy").starts_with("default-src 'none'; style-src 'self'"));
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    let text = page.text();
    assert!(text.starts_with("<!DOCTYPE html>") && text.trim_end().ends_with("</html>"), "{text}");
    for (one, other) in [
        ("<table", "</table>"),
        ("<tr", "</tr>"),
        ("<ul", "</ul>"),
        ("<div", "</div>"),
        ("<dl", "</dl>"),
        ("<svg", "</svg>"),
        ("<figure", "</figure>"),
        ("<g>", "</g>"),
    ] {
        assert_eq!(text.matches(one).count(), text.matches(other).count(), "{one}");
    }
    assert!(!text.contains("style=") && !text.contains("<script"), "{text}");
}

#[test]
fn all_pages_are_there() {
    on_both(|world| {
        let images = &world.images;
        let home = page(world, "/");
        assert!(home.text().contains("docker pull") && home.text().contains("/fedora:41"), "{}", home.text());
        assert!(home.text().contains("class=\"dot fresh\""), "five hosts hold all of it");
        let list = page(world, "/images");
        assert!(list.text().contains("href=\"/images/fedora\"") && list.text().contains("tools/docker"));
        assert!(!page(world, "/images?q=tools").text().contains("/images/fedora\""));
        let tags = page(world, "/images/fedora");
        for tag in ["41", "42", "latest", "rawhide"] {
            assert!(tags.text().contains(&format!("href=\"/images/fedora:{tag}\"")), "{tag}");
        }
        let index = page(world, "/images/fedora:latest");
        for part in [
            images.index.digest.to_string(),
            format!("/images/fedora@{}", images.manifest.digest),
            "linux/amd64".to_owned(),
            format!("/images/fedora@{}", images.signature.digest),
            format!("docker pull {}/fedora:latest", world.http.url.trim_start_matches("http://")),
        ] {
            assert!(index.text().contains(&part), "{part} is not in {}", index.text());
        }
        let image = page(world, &format!("/images/fedora@{}", images.manifest.digest));
        assert!(image.text().contains(&images.large.digest.to_string()), "{}", image.text());
        assert!(page(world, "/images/tools/docker:1").text().contains(&images.docker.digest.to_string()));
        let category = page(world, "/categories/fedora");
        assert!(category.text().contains("<a href=\"/mirrors/a\">a</a>"), "{}", category.text());
        assert!(!category.text().contains("secret"), "{}", category.text());
        let style = world.http.get("/assets/style.css", &[]);
        assert!(
            style.header("content-type").starts_with("text/css")
                && style.text().contains("prefers-color-scheme")
        );
    });
}

#[test]
fn mirrors_are_listed_and_filtered_and_private_ones_are_nobodys_business() {
    on_both(|world| {
        let all = page(world, "/mirrors");
        for name in FULL {
            assert!(all.text().contains(&format!("<a href=\"/mirrors/{name}\">")), "{name}");
        }
        let poor = page(world, "/mirrors?standing=behind");
        assert!(poor.text().contains(">poor</a>") && !poor.text().contains(">a</a>"), "{}", poor.text());
        assert!(page(world, "/mirrors?q=no-such").text().contains("No mirror is like that."));
        assert!(page(world, "/mirrors?page=99").text().contains(">a</a>"), "the last page there is");
        world.change_host("a", &HostChange { drained: Some(true), ..HostChange::default() });
        let is_off = || page(world, "/mirrors?standing=off").text().contains(">a</a>");
        wait(is_off);
        for path in ["/", "/mirrors", "/which", "/images/fedora:latest"] {
            for private in ["secret", "cellar"] {
                assert!(!page(world, path).text().contains(private), "{private} is on {path}");
            }
        }
    });
}

#[test]
fn what_clients_got_is_shown_by_day_and_mirror_and_country() {
    on_both(|world| {
        let ids: BTreeMap<_, _> = world
            .database
            .read(host::list)
            .unwrap()
            .into_iter()
            .map(|it| (it.name.to_string(), it.id))
            .collect();
        let traffic = |requests, bytes| Traffic { requests, bytes, demand: Demand::default() };
        let count = |requests, bytes| Count { requests, bytes };
        let batch = Batch {
            ways: [
                (Way::Tag, count(1_234, 0)),
                (Way::Mirror, count(5, 6_000_000_000)),
                (Way::Cdn, count(1, 1_000_000_000)),
                (Way::FallbackTree, count(2, 1_000_000_000)),
            ]
            .into(),
            hosts: [(ids["a"], traffic(4, 4_000_000_000)), (ids["secret"], traffic(1, 2_000_000_000))].into(),
            countries: [("DE".parse().unwrap(), count(8, 8_000_000_000))].into(),
        };
        for days in [0, 89, 90] {
            let hour = Time::from(Timestamp::now() - SignedDuration::from_hours(24 * days));
            world.database.write_log(|it| statistics::add(it, Period::Hour.began(hour), &batch)).unwrap();
        }
        let all = page(world, "/statistics");
        for part in [
            "<dt>Pulls in 30 days</dt><dd>1,234</dd>",
            "<dt>Bytes in 30 days</dt><dd>8.0 GB</dd>",
            "<dt>From mirrors</dt><dd>75 %</dd>",
            "At most 1,234 on one day.",
            "At most 8.0 GB on one day.",
            "<td class=\"number\">6.0 GB</td><td class=\"number\">1.0 GB</td><td class=\"number\">1.0 GB</td><td class=\"number\">75 %</td>",
            "<a href=\"/mirrors/a\">a</a></th><td class=\"number\">4.0 GB</td><td class=\"number\">50 %</td><td class=\"number\">4</td>",
            "<th scope=\"row\">DE</th><td class=\"number\">8.0 GB</td><td class=\"number\">100 %</td><td class=\"number\">8</td>",
        ] {
            assert!(all.text().contains(part), "{part} is not in {}", all.text());
        }
        assert_eq!(
            all.text().matches("<path class=\"bar one\"").count(),
            2 * 2 + 1,
            "two days of 90, and the legend"
        );
        assert!(!all.text().contains("secret") && !all.text().contains("2.0 GB"), "{}", all.text());
        let mirrors = page(world, "/mirrors");
        assert!(
            mirrors.text().contains("aria-label=\"at most 4.0 GB on one of 30 days\""),
            "{}",
            mirrors.text()
        );
        let mirror = page(world, "/mirrors/a");
        assert!(
            mirror.text().contains("4.0 GB by 4 redirects") && mirror.text().contains("sent-description")
        );
    });
}

#[test]
fn how_fast_mirrors_come_to_new_content_is_shown() {
    on_both(|world| {
        let spread = page(world, "/propagation");
        // The hosts of this world, private ones too, hold serial 1700000000 but for one.
        for part in [
            "which 8 hosts should hold",
            "Serial 1700000000 has come to 7 of 8.",
            "<td class=\"number\">7</td><td class=\"number\">87 %</td>",
        ] {
            assert!(spread.text().contains(part), "{part} is not in {}", spread.text());
        }
        assert!(spread.text().contains("<path class=\"line one\"") && !spread.text().contains("secret"));
        let missing = world.http.get("/propagation?category=%3Cb%3E", &[]);
        assert_eq!(missing.status, 404);
        check_page(&missing);
        assert!(missing.text().contains("There is no category &#60;b&#62; here."));
    });
}

#[test]
fn without_a_database_pages_go_without_statistics() {
    for engine in ENGINES {
        let World { server, database, folder, .. } = World::new(engine, |_| {});
        drop(server);
        let server = Server::start(settings(folder.path()), unreachable(&database, folder.path())).unwrap();
        let http = Http::new(&server.addresses);
        for path in ["/statistics", "/propagation", "/mirrors", "/mirrors/a"] {
            let page = http.get(path, &[]);
            check_page(&page);
            assert_eq!(page.status, 200, "{path}");
            let is_told = page.text().contains("The database cannot be asked now");
            assert_eq!(is_told, path != "/mirrors", "{path}: {}", page.text());
        }
    }
}

#[test]
fn a_mirror_has_a_page_with_what_is_to_be_repaired() {
    on_both(|world| {
        let images = &world.images;
        let good = page(world, "/mirrors/a");
        assert!(good.text().contains("class=\"state fresh\"") && !good.text().contains("To repair"));
        let find = |it: &mut Connection| {
            let host = host::find(it, &"b".parse().unwrap())?.unwrap();
            let opt_in = host_category::list(it, host.id)?.remove(0).0;
            Ok((host.id, opt_in.id, host_category::list_urls(it, opt_in.id)?[0].id))
        };
        let (_, _, url) = world.database.read(find).unwrap();
        let note = |it: &mut Connection| {
            let number = snapshot::load_content(it)?.blobs;
            let number = number.iter().find(|it| it.name() == images.large.digest).unwrap().number;
            suspicion::insert(it, &[(url, number)].into(), Timestamp::now().into())
        };
        world.database.write_log(note).unwrap();
        let suspicion = world.database.read(|it| suspicion::list(it, 9)).unwrap().remove(0);
        let reason = "its bytes are <i>other</i> bytes".to_owned();
        let fault = Some(BlobFault { kind: FileFault::Damaged, reason });
        world.database.settle(&[Settled { suspicion, fault }], Timestamp::now().into()).unwrap();
        let bad = page(world, "/mirrors/b");
        let path = blob_path(&images.large.digest);
        for part in ["To repair in fedora: 1 file", "rsync -c -lptH --files-from=- SOURCE/ FOLDER/", &path] {
            assert!(bad.text().contains(part), "{part} is not in {}", bad.text());
        }
        assert!(!bad.text().contains("<i>"));
        for unknown in ["/categories/nope", "/mirrors/nope", "/mirrors/secret", "/mirrors/%3Cb%3E"] {
            let missing = world.http.get(unknown, &[]);
            assert_eq!(missing.status, 404, "{unknown}");
            check_page(&missing);
        }
    });
}

#[test]
fn the_reader_is_told_which_mirror_and_why() {
    on_both(|world| {
        place(world);
        let which = world.http.get_as(DE, "/which?image=fedora", &[]);
        check_page(&which);
        let text = which.text();
        assert!(text.contains("<dd>198.18.7.0/24</dd>") && text.contains("<dd>DE</dd>"), "{text}");
        let (offers, others) = text.split_once("Why not these").unwrap();
        assert!(offers.contains("<th scope=\"row\">a</th>") && !offers.contains(">poor</th>"), "{text}");
        assert!(others.contains(">poor</th><td>the last crawl did not find this there"), "{text}");
        // Of nobody else.
        let other = world.http.get_as(DE, "/which?image=fedora&ip=198.51.100.9", &[]);
        assert!(other.text().contains("198.18.7.0/24") && !other.text().contains("secret"));
        let none = world.http.get_as(DE, "/which?image=%3Cb%3Enope", &[]);
        check_page(&none);
        assert!(none.text().contains("There is no image &#60;b&#62;nope here."), "{}", none.text());
    });
}

#[test]
fn the_names_of_the_registry_are_told_with_their_promises() {
    let endpoint = |text: &str| toml::from_str::<EndpointConfig>(text).unwrap();
    let endpoints = [
        endpoint("host = \"direct.test\"\ndirect = true"),
        endpoint("host = \"tls.test\"\nhttps_only = true\navoided_sites = [\"closed\", \"public\"]"),
        endpoint("host = \"customer.test\"\ncountries = [\"DE\"]\nhidden = true"),
    ];
    let settings = |settings: &mut portolan::server::Settings| settings.endpoints = endpoints.to_vec();
    on_both_with(settings, |world| {
        let home = page(world, "/").text().to_owned();
        for (name, promise) in [
            ("direct.test", "never from a mirror"),
            ("tls.test", "only by HTTPS; never from mirrors of public"),
        ] {
            assert!(home.contains(&format!("<dt>{name}</dt><dd>{promise}</dd>")), "{home}");
        }
        assert!(!home.contains("customer.test") && !home.contains("closed"), "{home}");
        let which = |name: &str| {
            let page = world.http.get("/which?image=fedora", &[("host", name)]);
            assert_eq!(page.status, 200, "{name}");
            check_page(&page);
            page.text().to_owned()
        };
        let by_tls = which("tls.test");
        let promise = "<dt>By this name</dt><dd>only by HTTPS; never from mirrors of public</dd>";
        assert!(by_tls.contains(promise) && !by_tls.contains("closed"), "{by_tls}");
        assert!(by_tls.contains("the endpoint avoids its site"), "{by_tls}");
        let direct = which("direct.test:443");
        assert!(
            direct.contains("No mirror is asked by this name.") && !direct.contains(">a</th>"),
            "{direct}"
        );
        assert!(which("customer.test").contains("only from mirrors in DE"), "who comes by it may know");
        assert!(!which("other.test").contains("By this name"));
    });
}

#[test]
fn what_is_not_there_is_told_as_a_page() {
    on_both(|world| {
        for path in [
            "/images/nope",
            "/images/fedora:nope",
            "/images/fedora@sha256:00",
            "/images/%3Cscript%3E",
            "/images/a//b",
        ] {
            let missing = world.http.get(path, &[]);
            assert_eq!(missing.status, 404, "{path}");
            check_page(&missing);
        }
        let posted = world.http.send(Method::POST, "/mirrors", &[]);
        assert_eq!((posted.status, posted.header("allow")), (405, "GET, HEAD"));
    });
}
