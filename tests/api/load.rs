//! Hosts with more clients than their bandwidth carries, and what is counted of clients.

use std::{collections::BTreeMap, time::Duration};

use jiff::{SignedDuration, Timestamp};
use portolan::{
    database::{
        Connection, Part, Time, country, experience, host,
        statistics::{self, Count, Period, Way},
        traffic,
    },
    mirror::{HostId, Region, blob_path},
    mirrorlist::{Experience, Networks},
};

use reqwest::Method;

use crate::{
    http::new_client,
    status::wait,
    world::{World, on_both},
};

/// Counts are stored every 10 s.
const STORED_WITHIN: Duration = Duration::from_secs(30);

fn find(world: &World, name: &str) -> HostId {
    let hosts = world.database.read(host::list).unwrap();
    hosts.iter().find(|it| it.name.as_str() == name).unwrap().id
}

/// Of so many clients who come for the first time, how many are sent to host `a`.
fn sent_to_a(world: &World, clients: usize) -> usize {
    let path = format!("http://a.example/m/{}", blob_path(&world.images.large.digest));
    let location = |_| {
        let answer = world.http.get_as(&new_client(), &world.blob(&world.images.large), &[]);
        assert_eq!(answer.status, 302);
        answer.header("location").replace("https://", "http://")
    };
    (0..clients).map(location).filter(|it| *it == path).count()
}

#[test]
fn a_host_with_too_many_clients_gets_fewer() {
    on_both(|world| {
        let before = sent_to_a(world, 100);
        assert!((5..=40).contains(&before), "one of five: {before}");
        world.database.replace_kept(&[(find(world, "a"), 10)].into()).unwrap();
        let took = wait(Duration::from_secs(10), "few stay", || sent_to_a(world, 100) <= 3);
        println!("few stayed after {took:?}");
        world.database.replace_kept(&[].into()).unwrap();
        wait(Duration::from_secs(10), "all come back", || sent_to_a(world, 100) >= 5);
    });
}

#[test]
fn what_is_answered_is_counted_by_way_and_day() {
    on_both(|world| {
        let images = &world.images;
        let fill = |it: &mut Connection| {
            country::set_netblock_country(it, &"198.18.0.0/15".parse().unwrap(), "DE".parse().unwrap())
        };
        world.database.write(Part::Hosts, fill).unwrap();
        wait(Duration::from_secs(10), "the country", || {
            world.http.get_as("198.18.7.9", "/which", &[]).text().contains("<dd>DE</dd>")
        });
        let get = |path: &str, headers: &[(&str, &str)], status| {
            assert_eq!(world.http.get_as("198.18.7.9", path, headers).status, status, "{path}");
        };
        get("/v2/fedora/manifests/latest", &[], 200);
        let head = world.http.send(Method::HEAD, "/v2/fedora/manifests/latest", &[]);
        assert_eq!(head.status, 200);
        get(&format!("/v2/fedora/manifests/{}", images.manifest.digest), &[], 200);
        get("/v2/fedora/manifests/nope", &[], 404);
        get(&world.blob(&images.small), &[], 200);
        get(&world.blob(&images.large), &[("range", "bytes=0-99")], 302);
        get(&world.blob(&images.large), &[("range", "bytes=0-99"), ("host", "direct.test")], 206);
        get(&world.blob(&images.large), &[("range", "bytes=99999999-"), ("host", "direct.test")], 416);
        let count = |requests, bytes| Count { requests, bytes };
        let expected = [
            (Way::Tag, count(2, 0)),
            (Way::Digest, count(1, 0)),
            (Way::Body, count(1, images.small.bytes.len() as u64)),
            (Way::Mirror, count(1, 100)),
            (Way::FallbackTree, count(1, 100)),
        ];
        let since = Time::from(Timestamp::now() - SignedDuration::from_hours(30));
        let counted = |period| {
            let found = world.database.read(|it| statistics::list(it, period, since)).unwrap();
            found.into_values().next_back().unwrap_or_default()
        };
        wait(STORED_WITHIN, "stored", || counted(Period::Day) == expected.into());
        assert_eq!(counted(Period::Hour), expected.into());
        get("/v2/fedora/manifests/latest", &[], 200);
        let expected = BTreeMap::from_iter(expected.into_iter().chain([(Way::Tag, count(3, 0))]));
        wait(STORED_WITHIN, "what was stored is stored once", || counted(Period::Day) == expected);
        let countries = world.database.read(|it| statistics::list_countries(it, since)).unwrap();
        assert_eq!(
            countries,
            [("DE".parse().unwrap(), count(1, 100))].into(),
            "the direct endpoint asks not where"
        );
        let metrics = world.http.fetch(Method::GET, &format!("{}/metrics", world.http.management), &[]);
        for name in
            ["portolan_bytes_total{way=\"mirror\"} ", "portolan_category_hosts{category=\"fedora\"} 8"]
        {
            assert!(metrics.text().contains(name), "{name}: {}", metrics.text());
        }
    });
}

#[test]
fn what_clients_are_sent_to_fetch_is_counted_by_hour() {
    on_both(|world| {
        let began = Timestamp::now().as_second() / 3600 * 3600;
        let sent = sent_to_a(world, 60);
        let counted = || -> i64 {
            let hours = world.database.read(|it| traffic::list(it, find(world, "a"), 9)).unwrap();
            assert!(hours.iter().all(|it| it.0.unix_seconds() >= began && it.0.unix_seconds() % 3600 == 0));
            hours.iter().map(|it| it.1).sum()
        };
        let expected = (sent * world.images.large.bytes.len()) as i64;
        let took = wait(STORED_WITHIN, "counted", || counted() == expected);
        println!("counted after {took:?}");
    });
}

#[test]
fn who_comes_back_is_counted_by_network() {
    on_both(|world| {
        let country = "DE".parse().unwrap();
        let assign = |it: &mut Connection| {
            country::set_netblock_country(it, &"100.64.0.0/10".parse().unwrap(), country)
        };
        world.database.write(Part::Hosts, assign).unwrap();
        let generation = || world.database.generations().unwrap().hosts;
        let (began, before) = (Timestamp::now() - SignedDuration::from_secs(1), generation());
        wait(Duration::from_secs(10), "the country is known", || {
            let list = world.http.get_as("100.64.0.1", "/mirrorlist?repo=fedora", &[]);
            list.text().contains("country = DE")
        });
        // 60 networks come, and 40 of them twice.
        for (times, networks) in [(1, 0..20), (2, 20..60)] {
            for network in networks {
                for _ in 0..times {
                    let address = format!("100.64.{network}.1");
                    world.http.get_as(&address, &world.blob(&world.images.large), &[]);
                }
            }
        }
        let seen = || world.database.read(|it| experience::list(it, began.into())).unwrap();
        let sum = |of: fn(&Experience) -> &Networks| seen().iter().map(|it| of(it).count()).sum::<f64>();
        let failed = || sum(|it| &it.failed);
        let took = wait(STORED_WITHIN, "who came back is stored", || (36.0..44.0).contains(&failed()));
        println!("stored after {took:?}");
        let asked = sum(|it| &it.asked);
        assert!((54.0..66.0).contains(&asked), "{asked}");
        assert!(seen().iter().all(|it| it.region == Region::Country(country)), "{:?}", seen());
        assert_eq!(generation(), before, "no answer changes by it");
    });
}
