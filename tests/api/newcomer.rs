//! What a host gets that came a moment ago, and whose admin may be anybody.

use std::{net::Ipv4Addr, sync::Arc};

use jiff::Timestamp;
use portolan::{
    database::{Connection, Part, country, snapshot},
    mirror::Scheme,
    mirrorlist::{Client, Content, Holdings, Hosts, Location, Policy, Snapshot, Wanted, rank},
};

use crate::{
    desk::{PASSWORD, Person},
    status::{SOON, wait},
    world::{FULL, World, on_both},
};

/// Networks of the country that are ranked.
const NETWORKS: u32 = 16_384;

/// Clients who come to the server.
const CLIENTS: u32 = 1_000;

const HOUR: i64 = 3_600;

fn address(network: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0a00_0001 + network * 256)
}

/// Eve makes herself an account and a mirror, and says of it all that she may without an operator.
fn register(world: &World) {
    let eve = Person::new(world);
    assert_eq!(eve.fill("/sign-up", &[("name", "eve"), ("password", PASSWORD)]).status, 303);
    let mirror = [("url", "https://eve.example/m"), ("category", "fedora"), ("country", "DE")];
    eve.done("/desk/mirrors", &mirror);
    let edit = |bandwidth: &str| {
        let path = format!("/desk/hosts/{}/edit", world.host_row("eve.example").id.0);
        let fields = [("name", "eve.example"), ("country", "DE"), ("user_active", "on")];
        eve.done(&path, &[&fields[..], &[("bandwidth", bandwidth)]].concat());
        world.host_row("eve.example").bandwidth.map(|it| it.to_string())
    };
    assert_eq!(edit("10000").as_deref(), Some("10000"), "nobody has to agree");
    assert_eq!(edit("10001").as_deref(), Some("10000"), "an operator has to agree");
    world.hold_everything("eve.example");
    wait(SOON, "offered", || world.is_listed("eve"));
}

fn load(world: &World) -> Snapshot {
    let database = &world.database;
    Snapshot {
        content: Arc::new(Content::new(database.read(snapshot::load_content).unwrap()).unwrap()),
        holdings: Arc::new(Holdings::new(database.read(snapshot::load_holdings).unwrap()).unwrap()),
        hosts: Arc::new(Hosts::new(database.read(snapshot::load_hosts).unwrap())),
        ..Snapshot::default()
    }
}

/// Where this client is sent for the large layer, at this moment in Unix seconds.
fn first(world: &World, snapshot: &Snapshot, address: Ipv4Addr, at: i64) -> String {
    let policy = Policy::default();
    let client = Client::new(&snapshot.hosts, address.into(), Location::default(), Scheme::Http, at, &policy);
    let blob = snapshot.find_blob(&world.images.large.digest).unwrap();
    let wanted = Wanted { repository: "fedora", number: blob.number, size: blob.size, most: 4 };
    rank(snapshot, &client, &wanted)[0].host.name.clone()
}

#[test]
fn a_hostile_new_host_gets_little_of_its_country_in_its_first_day() {
    on_both(|world| {
        let give = |it: &mut Connection| {
            country::set_netblock_country(it, &"10.0.0.0/8".parse().unwrap(), "DE".parse().unwrap())
        };
        world.database.write(Part::Hosts, give).unwrap();
        register(world);
        let (snapshot, now) = (load(world), Timestamp::now().as_second());

        // All who come are sent where the ranking says.
        let mut hers = 0;
        for network in 0..CLIENTS {
            let address = address(network);
            let answer = world.http.get_as(&address.to_string(), &world.blob(&world.images.large), &[]);
            let name = first(world, &snapshot, address, now);
            let host = if FULL.contains(&&*name) { format!("{name}.example") } else { name.clone() };
            let location = answer.header("location");
            assert!(location.contains(&format!("//{host}/m/")), "{address}: {location} is not of {name}");
            hers += u32::from(name == "eve.example");
        }
        println!("{hers} of {CLIENTS} clients were sent to the new host");
        assert!(hers > 0, "its admin sees that it is used");

        let share = |after: i64| {
            let is_hers = |it: &u32| first(world, &snapshot, address(*it), now + after) == "eve.example";
            (0..NETWORKS).filter(is_hers).count() as f64 / f64::from(NETWORKS)
        };
        let shares = [0, 12 * HOUR, 24 * HOUR - 60, 48 * HOUR, 120 * HOUR].map(share);
        println!("of its country's clients it gets {shares:?}");
        assert!(shares[..3].iter().all(|it| (0.04..=0.05).contains(it)), "{shares:?}");
        assert!((0.25..0.31).contains(&shares[3]), "then more every hour: {shares:?}");
        assert!(shares[4] > 0.9, "what its bandwidth is worth: {shares:?}");
    });
}
