//! Hosts with more clients than their bandwidth carries, and what is counted of clients.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use portolan::{
    database::{Connection, Part, country, experience, host, traffic},
    mirror::{HostId, Region, blob_path},
    mirrorlist::{Experience, Networks},
};

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
