use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use proptest::prelude::*;

use super::*;
use crate::{
    mirror::{CategoryId, HostCategoryId, HostCategoryUrlId, HostId, Scheme},
    mirrorlist::{
        client::{Location, Policy},
        content::Content,
        holdings::Holdings,
        hosts::Hosts,
        load::Demand,
        rows::{CategoryRow, ContentRows, HoldingRow, HoldingRows, HostRows},
        testing::{NOW, host, set},
    },
};

/// Hosts that all hold blob 1 of category 1, which has blobs 1 and 2.
fn snapshot(hosts: Vec<HostRow>) -> Snapshot {
    let category =
        CategoryRow { id: CategoryId(1), name: "fedora".to_owned(), serial: 1, blobs: set(&[1, 2]) };
    let content = ContentRows { categories: vec![category], ..ContentRows::default() };
    let holding =
        |it: &HostRow| HoldingRow { host_category: HostCategoryId(it.id.0), set: 0, crawled_at: NOW - 60 };
    let holdings = hosts.iter().map(holding).collect();
    let holdings = HoldingRows { generation: 0, sets: vec![set(&[1])], holdings };
    Snapshot {
        content: Arc::new(Content::new(content).unwrap()),
        holdings: Arc::new(Holdings::new(holdings).unwrap()),
        hosts: Arc::new(Hosts::new(HostRows { hosts, ..HostRows::default() })),
        ..Snapshot::default()
    }
}

/// A client in Germany, AS 64500, by HTTPS.
fn client<'a>(snapshot: &Snapshot, address: &str, policy: &'a Policy) -> Client<'a> {
    let location = Location { country: "DE".parse().ok(), place: None, asn: Some(64500) };
    Client::new(&snapshot.hosts, address.parse().unwrap(), location, Scheme::Https, NOW, policy)
}

const WANTED: Wanted<'static> = Wanted { repository: "fedora", number: 1, size: 1000, most: usize::MAX };

/// Who is offered to a German client, as `class:host`, and why others are not.
fn explained(hosts: Vec<HostRow>, number: u32) -> (Vec<String>, HashMap<i64, Exclusion>) {
    let (snapshot, policy) = (snapshot(hosts), Policy::default());
    let client = client(&snapshot, "192.0.2.9", &policy);
    let (offers, left_out) = explain(&snapshot, &client, &Wanted { number, ..WANTED });
    let offers = offers.iter().map(|it| format!("{}:{}", it.class, it.host.name)).collect();
    (offers, left_out.into_iter().map(|(host, reason)| (host.id.0, reason)).collect())
}

#[test]
fn classes_go_from_near_to_far() {
    let mut hosts: Vec<HostRow> = (1..=7).map(host).collect();
    hosts[0].country = "US".parse().ok(); // global
    hosts[1].country = "FR".parse().ok(); // continent
    hosts[3].peer_asns = vec![64500];
    hosts[4].netblocks = vec!["192.0.2.0/24".to_owned()];
    hosts[5].netblocks = vec!["192.0.2.8/29".to_owned(), "192.0.2.0/24".to_owned()];
    hosts[6].asn = Some(64500);
    hosts[6].asn_clients = false;
    let (mut offers, left_out) = explained(hosts, 1);
    assert_eq!(offers[..3], ["netblock:m6", "netblock:m5", "asn:m4"]);
    offers[3..5].sort();
    assert_eq!(offers[3..], ["country:m3", "country:m7", "continent:m2"]);
    assert_eq!(left_out[&1], Exclusion::NotNeeded);
}

#[test]
fn the_world_joins_while_fewer_than_five_are_near() {
    let mut hosts: Vec<HostRow> = (1..=5).map(host).collect();
    hosts[0].country = "US".parse().ok();
    assert_eq!(explained(hosts.clone(), 1).0[4], "global:m1");
    hosts[1].country = None;
    let (offers, _) = explained(hosts, 1);
    assert_eq!(offers.iter().filter(|it| it.starts_with("global")).count(), 2);
}

#[test]
fn every_reason_against_a_host_is_told() {
    #[track_caller]
    fn check(change: impl Fn(&mut HostRow), reason: Exclusion) {
        let mut bad = host(1);
        change(&mut bad);
        let (offers, left_out) = explained(vec![bad, host(2)], 1);
        assert_eq!(offers, ["country:m2"]);
        assert_eq!(left_out[&1], reason);
    }
    check(|it| it.user_active = false, Exclusion::UserOff);
    check(|it| it.admin_active = false, Exclusion::AdminOff);
    check(|it| it.auto_disabled = Some("404".to_owned()), Exclusion::AutoOff("404".to_owned()));
    check(|it| it.drained = true, Exclusion::Drained);
    check(|it| it.categories[0].drained = true, Exclusion::Drained);
    let drained_cdn = |it: &mut HostRow| (it.kind, it.categories[0].drained) = (HostKind::Cdn, true);
    check(drained_cdn, Exclusion::Drained);
    check(|it| it.categories.clear(), Exclusion::NotOptedIn);
    check(|it| it.categories[0].category = CategoryId(2), Exclusion::NotOptedIn);
    check(|it| it.categories[0].id = HostCategoryId(99), Exclusion::NotCrawled);
    check(|it| it.categories[0].urls.clear(), Exclusion::Scheme);
    check(|it| it.categories[0].urls[0].scheme = Scheme::Http, Exclusion::Scheme);
    check(|it| it.categories[0].urls[0].ipv4 = Reach::Down, Exclusion::Down);
    check(|it| it.categories[0].urls[0].ipv4 = Reach::Unknown, Exclusion::Unproven);
    check(|it| it.private = true, Exclusion::Private);
    check(|it| it.countries_allowed = vec!["FR".parse().unwrap()], Exclusion::CountryNotAllowed);
    check(|it| it.countries_denied = vec!["DE".parse().unwrap()], Exclusion::CountryDenied);
    check(|it| it.max_file_size = Some(999), Exclusion::TooLarge);
    check(|it| it.client_share = 0, Exclusion::NotInShare);
    check(|it| it.demoted = vec![Region::Country("DE".parse().unwrap())], Exclusion::Demoted);
    check(|it| it.demoted = vec![Region::Asn(1), Region::Asn(64500)], Exclusion::Demoted);
}

#[test]
fn a_file_of_just_the_size_is_taken() {
    let mut host = host(1);
    host.max_file_size = Some(1000);
    host.countries_denied = vec!["FR".parse().unwrap()];
    assert_eq!(explained(vec![host], 1).0, ["country:m1"]);
}

#[test]
fn an_embargo_keeps_hosts_of_a_country_out_everywhere() {
    let mut other = host(1);
    other.country = "FR".parse().ok();
    other.netblocks = vec!["192.0.2.0/24".to_owned()];
    let policy = Policy { embargoed: vec!["FR".parse().unwrap()], ..Policy::default() };
    let by_policy = snapshot(vec![other, host(2)]);
    let rows = HostRows { embargoed: policy.embargoed.clone(), ..by_policy.hosts.rows().clone() };
    let by_rows = Snapshot { hosts: Arc::new(Hosts::new(rows)), ..by_policy.clone() };
    for (snapshot, policy) in [(by_policy, policy), (by_rows, Policy::default())] {
        let (offers, left_out) = explain(&snapshot, &client(&snapshot, "192.0.2.9", &policy), &WANTED);
        assert_eq!(offers.iter().map(|it| it.host.id.0).collect::<Vec<_>>(), [2]);
        assert_eq!(left_out[0].1, Exclusion::Embargoed);
    }
}

#[test]
fn a_host_whose_day_is_spent_is_left_out() {
    let spent = Snapshot { spent: Arc::new([HostId(1)].into()), ..snapshot(vec![host(1), host(2)]) };
    let policy = Policy::default();
    let (offers, left_out) = explain(&spent, &client(&spent, "192.0.2.9", &policy), &WANTED);
    assert_eq!((offers.len(), &left_out[0].1), (1, &Exclusion::Spent));
}

#[test]
fn a_pull_through_host_has_all_of_its_categories_and_a_cdn_comes_last() {
    let mut hosts: Vec<HostRow> = (1..=4).map(host).collect();
    (hosts[0].kind, hosts[0].categories[0].id) = (HostKind::PullThrough, HostCategoryId(99));
    hosts[1].kind = HostKind::Cdn;
    hosts[1].netblocks = vec!["192.0.2.0/24".to_owned()];
    hosts[2].country = "US".parse().ok();
    let (mut offers, left_out) = explained(hosts.clone(), 1);
    offers[..2].sort();
    assert_eq!(offers, ["country:m1", "country:m4", "global:m3", "netblock:m2"]);
    assert!(left_out.is_empty());
    let (mut offers, left_out) = explained(hosts, 2);
    offers.sort();
    assert_eq!(offers, ["country:m1", "netblock:m2"], "what no static host holds");
    assert_eq!(left_out[&4], Exclusion::LacksBlob);
    let mut stranger = host(1);
    (stranger.kind, stranger.categories[0].category) = (HostKind::Cdn, CategoryId(2));
    assert_eq!(explained(vec![stranger], 1).1[&1], Exclusion::NotOptedIn, "by what it opted in to");
}

#[test]
fn a_share_of_clients_is_a_share_of_networks() {
    let mut some = host(1);
    some.client_share = 20;
    let (snapshot, policy) = (snapshot(vec![some]), Policy::default());
    let is_offered = |address: &str, repository| {
        let wanted = Wanted { repository, ..WANTED };
        !rank(&snapshot, &client(&snapshot, address, &policy), &wanted).is_empty()
    };
    const CLIENTS: u32 = 20_000;
    let mut offered = 0;
    for network in 0..CLIENTS {
        let address = std::net::Ipv4Addr::from(0x0a00_0000 + network * 256).to_string();
        let first = is_offered(&address, "fedora");
        assert_eq!(is_offered(&address, "centos"), first, "the same clients for every repository");
        offered += u32::from(first);
    }
    let share = f64::from(offered) / f64::from(CLIENTS);
    assert!((0.19..0.21).contains(&share), "{share}");
}

#[test]
fn a_host_with_too_many_clients_keeps_some_and_the_others_go_farther() {
    let mut alone = host(1);
    alone.kept = 250;
    let mut french = host(2);
    french.country = "FR".parse().ok();
    let (both, policy) = (snapshot(vec![alone.clone(), french]), Policy::default());
    const CLIENTS: u32 = 20_000;
    let addresses = || (0..CLIENTS).map(|it| std::net::Ipv4Addr::from(0x0a00_0000 + it * 256).to_string());
    let order = |snapshot: &Snapshot, address: &str| -> Vec<(i64, Turn)> {
        let offers = rank(snapshot, &client(snapshot, address, &policy), &WANTED);
        offers.iter().map(|it| (it.host.id.0, it.turn)).collect()
    };
    let stay = |it: &String| order(&both, it) == [(1, Turn::Proven), (2, Turn::Proven)];
    let go = |it: &String| order(&both, it) == [(2, Turn::Proven), (1, Turn::Crowded)];
    let staying = addresses().filter(stay).count() as f64 / f64::from(CLIENTS);
    assert!((0.24..0.26).contains(&staying), "{staying}");
    assert_eq!(
        addresses().filter(|it| !stay(it)).filter(go).count(),
        addresses().filter(|it| !stay(it)).count()
    );

    let without = snapshot(vec![alone.clone()]);
    assert!(addresses().all(|it| order(&without, &it).len() == 1), "where else should they go");
    alone.netblocks = vec!["10.0.0.0/8".to_owned()];
    let own = snapshot(vec![alone, host(2)]);
    assert!(addresses().all(|it| order(&own, &it)[0] == (1, Turn::Proven)), "its own networks always stay");
}

#[test]
fn what_is_sent_tells_of_the_demand() {
    let mut crowded = host(1);
    crowded.kept = 250;
    let mut paid = host(3);
    paid.kind = HostKind::Cdn;
    let mut own = host(4);
    own.netblocks = vec!["192.0.2.0/24".to_owned()];
    let (snapshot, policy) = (snapshot(vec![crowded, host(2), paid, own]), Policy::default());
    let demands = |address: &str| {
        let offers = rank(&snapshot, &client(&snapshot, address, &policy), &WANTED);
        let demand = |it: &Offer<'_>| ((it.host.id.0, it.turn), Demand::of(it, 100));
        offers.iter().map(demand).collect::<BTreeMap<_, _>>()
    };
    let others = |others| Demand { own: 0, others };
    let found = demands("192.0.2.9");
    assert_eq!(found[&(4, Turn::Proven)], Demand { own: 100, others: 0 });
    assert_eq!((found[&(2, Turn::Proven)], found[&(3, Turn::Spill)]), (others(100), others(0)));
    let all: Vec<_> = (0..50).map(|it| demands(&format!("192.0.{it}.9"))).collect();
    let find = |turn| all.iter().find_map(|it| it.get(&(1, turn))).copied();
    assert_eq!(find(Turn::Proven), Some(others(400)), "one who stays stands for four");
    assert_eq!(find(Turn::Crowded), Some(others(0)));
}

const DAY: i64 = 24 * 60 * 60;

/// The share of 5000 networks that are sent to host 1, at this moment.
fn share_of_first(snapshot: &Snapshot, at: i64) -> f64 {
    let policy = Policy::default();
    let is_first = |network: u32| {
        let address = std::net::Ipv4Addr::from(0x0a00_0000 + network * 256).to_string();
        // Holdings stay fresh in this story.
        let client = Client { at: at.min(NOW + 6 * DAY), ..client(snapshot, &address, &policy) };
        rank(snapshot, &client, &WANTED)[0].host.id == HostId(1)
    };
    (0..5000).filter(|it| is_first(*it)).count() as f64 / 5000.0
}

#[test]
fn a_new_host_earns_its_share_in_five_days() {
    assert_eq!((ramp(NOW, NOW), ramp(NOW - DAY, NOW)), (0.05, 0.05));
    assert_eq!(ramp(NOW + 100, NOW), 0.05, "a clock that is behind");
    assert_eq!((ramp(NOW - 5 * DAY, NOW), ramp(0, NOW)), (1.0, 1.0));
    assert!((ramp(NOW - 3 * DAY, NOW) - 0.525).abs() < 1e-9);
    let mut new = host(1);
    new.clean_since = NOW;
    let snapshot = snapshot(vec![new, host(2)]);
    let shares = [0, 1, 3, 5].map(|days| share_of_first(&snapshot, NOW + days * DAY));
    for (found, expected) in shares.iter().zip([0.025, 0.025, 0.2625, 0.5]) {
        assert!((found - expected).abs() < 0.03, "{shares:?}");
    }
}

#[test]
fn a_new_host_gets_no_more_by_saying_that_it_is_large() {
    let mut new = host(1);
    (new.clean_since, new.bandwidth) = (NOW, Some(10_000));
    let mut small = host(2);
    small.bandwidth = Some(10);
    let both = snapshot(vec![new.clone(), small.clone()]);
    let shares = [0, DAY - 1, 3 * DAY, 5 * DAY].map(|after| share_of_first(&both, NOW + after));
    for (found, expected) in shares.iter().zip([0.05, 0.05, 0.525, 1.0]) {
        assert!((found - expected).abs() < 0.02, "{shares:?}");
    }
    // Nobody else in its country: those who are sent elsewhere would have to go far.
    small.country = "FR".parse().ok();
    assert_eq!(share_of_first(&snapshot(vec![new, small]), NOW), 1.0);
}

#[test]
fn many_new_hosts_get_no_more_than_one_and_share_as_old_ones_do() {
    let of = |id, clean_since, bandwidth| HostRow { clean_since, bandwidth: Some(bandwidth), ..host(id) };
    let mut hosts: Vec<_> = (1..=20).map(|id| of(id, NOW, 1_000)).collect();
    hosts.push(of(21, 0, 10));
    let policy = Policy::default();
    let count = |snapshot: &Snapshot, is_it: fn(HostId) -> bool| {
        let first = |network: u32| {
            let address = std::net::Ipv4Addr::from(0x0a00_0000 + network * 256).to_string();
            rank(snapshot, &client(snapshot, &address, &policy), &WANTED)[0].host.id
        };
        (0..5000).filter(|it| is_it(first(*it))).count() as f64 / 5000.0
    };
    let new = count(&snapshot(hosts), |it| it.0 <= 20);
    assert!((new - 0.05).abs() < 0.01, "{new}");
    let alone = snapshot(vec![of(1, NOW, 1_000), of(2, NOW, 9_000)]);
    let small = count(&alone, |it| it.0 == 1);
    assert!((small - 0.1).abs() < 0.02, "{small}");
}

#[test]
fn a_host_without_the_blob_is_left_out() {
    let (offers, left_out) = explained(vec![host(1)], 2);
    assert!(offers.is_empty());
    assert_eq!(left_out[&1], Exclusion::LacksBlob);
}

#[test]
fn what_a_crawl_found_counts_for_seven_days() {
    let (snapshot, policy) = (snapshot(vec![host(1)]), Policy::default());
    let at = |age| Client { at: NOW - 60 + age, ..client(&snapshot, "192.0.2.9", &policy) };
    assert_eq!(rank(&snapshot, &at(HOLDINGS_AGE), &WANTED).len(), 1);
    assert_eq!(explain(&snapshot, &at(HOLDINGS_AGE + 1), &WANTED).1[0].1, Exclusion::Outdated);
}

#[test]
fn its_own_netblock_wins_over_private_and_allowed_countries() {
    let mut own = host(1);
    own.private = true;
    own.countries_allowed = vec!["FR".parse().unwrap()];
    own.netblocks = vec!["192.0.2.0/24".to_owned()];
    assert_eq!(explained(vec![own], 1).0, ["netblock:m1"]);
}

#[test]
fn a_client_by_http_may_get_http_and_gets_https_first() {
    let mut only_http = host(1);
    only_http.categories[0].urls[0].scheme = Scheme::Http;
    let mut both = host(2);
    let mut http = both.categories[0].urls[0].clone();
    (http.scheme, http.id) = (Scheme::Http, HostCategoryUrlId(0));
    both.categories[0].urls.push(http);
    let snapshot = snapshot(vec![only_http, both]);
    let schemes = |scheme, policy: &Policy| {
        let client = Client { scheme, ..client(&snapshot, "192.0.2.9", policy) };
        let mut found: Vec<_> =
            rank(&snapshot, &client, &WANTED).iter().map(|it| (it.host.id.0, it.url.scheme)).collect();
        found.sort();
        found
    };
    let by_default = Policy::default();
    assert_eq!(schemes(Scheme::Https, &by_default), [(2, Scheme::Https)]);
    assert_eq!(schemes(Scheme::Http, &by_default), [(1, Scheme::Http), (2, Scheme::Https)]);
    let allowed = Policy { http_mirrors: true, ..Policy::default() };
    assert_eq!(schemes(Scheme::Https, &allowed), [(1, Scheme::Http), (2, Scheme::Https)]);
    let strict = Policy { https_only: true, ..allowed };
    assert_eq!(schemes(Scheme::Http, &strict), [(2, Scheme::Https)]);
}

#[test]
fn an_endpoint_may_name_countries_avoid_sites_and_take_cdns_only() {
    let mut french = host(1);
    french.country = "FR".parse().ok();
    let mut competitor = host(2);
    competitor.site_name = "Competitor".to_owned();
    let mut cdn = host(4);
    cdn.kind = HostKind::Cdn;
    let snapshot = snapshot(vec![french, competitor, host(3), cdn]);
    let ids = |policy: Policy| {
        let client = client(&snapshot, "192.0.2.9", &policy);
        let mut ids: Vec<_> = rank(&snapshot, &client, &WANTED).iter().map(|it| it.host.id.0).collect();
        ids.sort_unstable();
        ids
    };
    assert_eq!(ids(Policy { countries: vec!["FR".parse().unwrap()], ..Policy::default() }), [1]);
    assert_eq!(ids(Policy { avoided_sites: vec!["Competitor".to_owned()], ..Policy::default() }), [1, 3, 4]);
    let policy = Policy { cdn_only: true, ..Policy::default() };
    assert_eq!(ids(policy.clone()), [4]);
    let (_, others) = explain(&snapshot, &client(&snapshot, "192.0.2.9", &policy), &WANTED);
    assert!(others.len() == 3 && others.iter().all(|it| it.1 == Exclusion::NotCdn), "{others:?}");
}

#[test]
fn ipv6_clients_get_hosts_with_working_ipv6_first() {
    let mut hosts: Vec<HostRow> = (1..=20).map(host).collect();
    hosts[13].categories[0].urls[0].ipv6 = Reach::Up;
    hosts[13].country = "FR".parse().ok();
    hosts[14].categories[0].urls[0].ipv6 = Reach::Down;
    let (snapshot, policy) = (snapshot(hosts), Policy::default());
    let offers = rank(&snapshot, &client(&snapshot, "2001:db8::1", &policy), &WANTED);
    assert_eq!(offers[0].host.id, HostId(14));
    assert!(offers.iter().all(|it| it.host.id != HostId(15)) && offers.len() == 19);
}

#[test]
fn shares_follow_weights() {
    let mut hosts: Vec<HostRow> = (1..=4).map(host).collect();
    for (host, bandwidth) in hosts.iter_mut().zip([1000, 2000, 3000, 4000]) {
        host.bandwidth = Some(bandwidth);
    }
    let (snapshot, policy) = (snapshot(hosts), Policy::default());
    let mut first = HashMap::<i64, usize>::new();
    const CLIENTS: u32 = 20_000;
    for network in 0..CLIENTS {
        let address = std::net::Ipv4Addr::from(0x0a00_0000 + network * 256).to_string();
        let offers = rank(&snapshot, &client(&snapshot, &address, &policy), &Wanted { most: 1, ..WANTED });
        *first.entry(offers[0].host.id.0).or_default() += 1;
    }
    for (id, share) in [(1, 0.1), (2, 0.2), (3, 0.3), (4, 0.4)] {
        let found = first[&id] as f64 / f64::from(CLIENTS);
        assert!((found / share - 1.0).abs() < 0.1, "host {id}: {found} instead of {share}");
    }
}

#[test]
fn a_host_that_leaves_moves_only_its_own_clients() {
    let all = snapshot((1..=10).map(host).collect());
    let fewer = snapshot((1..=9).map(host).collect());
    let policy = Policy::default();
    for network in 0..1000u32 {
        let address = std::net::Ipv4Addr::from(0x0a00_0000 + network * 256).to_string();
        let order = |snapshot: &Snapshot| -> Vec<i64> {
            let offers = rank(snapshot, &client(snapshot, &address, &policy), &WANTED);
            offers.iter().map(|it| it.host.id.0).filter(|it| *it != 10).collect()
        };
        assert_eq!(order(&all), order(&fewer));
    }
}

#[test]
fn a_near_host_weighs_more() {
    let mut hosts = vec![host(1), host(2)];
    hosts[0].place = "48.1,11.6".parse().ok();
    hosts[1].place = "53.6,10.0".parse().ok();
    let snapshot = snapshot(hosts);
    let policy = Policy::default();
    let mut munich = client(&snapshot, "192.0.2.9", &policy);
    munich.place = "48.1,11.6".parse().ok();
    let offers = rank(&snapshot, &munich, &WANTED);
    let (near, far) =
        (offers.iter().find(|it| it.host.id.0 == 1), offers.iter().find(|it| it.host.id.0 == 2));
    let (near, far) = (near.unwrap(), far.unwrap());
    assert_eq!(near.distance, Some(0.0));
    assert!((620.0..625.0).contains(&far.distance.unwrap()), "{:?}", far.distance);
    assert!(weight(100, near.distance) > 1.6 * weight(100, far.distance));
}

fn any_host(id: i64) -> impl Strategy<Value = HostRow> {
    let country = prop::option::of(prop::sample::select(vec!["DE", "FR", "US", "JP"]));
    let netblock =
        prop::option::of(prop::sample::select(vec!["192.0.2.0/24", "198.51.100.0/24", "0.0.0.0/1"]));
    let asn = prop::option::of(64500u32..64503);
    let peer = prop::option::of(64500u32..64503);
    let kept = prop::sample::select(vec![(ALL, 0), (ALL, NOW), (ALL, NOW - 3 * DAY), (500, 0), (10, NOW)]);
    let reach = prop::sample::select(vec![Reach::Up, Reach::Up, Reach::Unknown]);
    let kind = prop::sample::select(vec![HostKind::Static, HostKind::Static, HostKind::Cdn]);
    (country, netblock, asn, peer, any::<[bool; 6]>(), 1u32..20_000, kept, reach, kind).prop_map(
        move |(country, netblock, asn, peer, flags, bandwidth, kept, reach, kind)| {
            let mut host = host(id);
            host.country = country.and_then(|it| it.parse().ok());
            host.netblocks = netblock.into_iter().map(str::to_owned).collect();
            host.asn = asn;
            host.peer_asns = peer.into_iter().collect();
            [host.private, host.asn_clients, host.user_active, host.admin_active, host.drained, _] = flags;
            host.countries_allowed = if flags[5] { vec!["FR".parse().unwrap()] } else { Vec::new() };
            (host.bandwidth, host.kind) = (Some(bandwidth), kind);
            (host.kept, host.clean_since) = kept;
            let url = &mut host.categories[0].urls[0];
            (url.ipv4, url.ipv6) = (reach, Reach::Up);
            host
        },
    )
}

fn any_hosts() -> impl Strategy<Value = Vec<HostRow>> {
    (1i64..40).prop_flat_map(|count| (1..=count).map(any_host).collect::<Vec<_>>())
}

/// The same by looking at every host and sorting all: slow, and too simple to be wrong.
fn brute_force<'a>(snapshot: &'a Snapshot, client: &Client<'_>, wanted: &Wanted<'_>) -> Vec<Offer<'a>> {
    let asked = Asked::new(snapshot, client, wanted);
    let [crowd, new, question] = ["kept", "new", wanted.repository].map(|it| question(client.network(), it));
    let mut offers: Vec<Offer<'_>> = Vec::new();
    for (class, group) in groups(snapshot, client) {
        let proven = offers.iter().filter(|it| it.turn == Turn::Proven).count();
        if class == Class::Global && proven >= MINIMUM {
            break;
        }
        let mut found = Vec::new();
        for candidate in group.iter().filter(|it| offers.iter().all(|offer| offer.host.id.0 != it.id)) {
            let Some(mut offer) = asked.offer(candidate.index, class) else { continue };
            (offer.score, offer.distance) = asked.score(candidate, draw(question, candidate.id));
            let earned = ramp(candidate.clean_since, client.at);
            if draw(new, 0) as f64 / DRAWS > earned {
                offer.score += TOO_NEW;
            }
            let kept = f64::from(offer.host.kept) / f64::from(ALL);
            let goes = class > Class::Asn && draw(crowd, candidate.id) as f64 / DRAWS > kept;
            if goes && offer.turn == Turn::Proven {
                offer.turn = Turn::Crowded;
            }
            found.push(offer);
        }
        found.sort_by(|one, other| one.score.total_cmp(&other.score).then(one.host.id.cmp(&other.host.id)));
        offers.append(&mut found);
    }
    offers.sort_by_key(|it| it.turn);
    offers.truncate(wanted.most);
    offers
}

proptest! {
    #[test]
    fn equals_the_brute_force_twin(hosts in any_hosts(), last: u8, most in 0usize..40, v6: bool) {
        let (snapshot, policy) = (snapshot(hosts), Policy::default());
        let address = if v6 { format!("2001:db8:{last}::") } else { format!("192.0.2.{last}") };
        let (client, wanted) = (client(&snapshot, &address, &policy), Wanted { most, ..WANTED });
        let told = |offers: Vec<Offer<'_>>| -> Vec<_> {
            offers.iter().map(|it| (it.turn, it.class, it.host.id, it.score, it.distance)).collect()
        };
        prop_assert_eq!(told(rank(&snapshot, &client, &wanted)), told(brute_force(&snapshot, &client, &wanted)));
    }

    #[test]
    fn the_same_question_has_the_same_answer_and_few_are_the_first_of_many(
        hosts in any_hosts(),
        last: u8,
        most in 0usize..6,
    ) {
        let (snapshot, policy) = (snapshot(hosts), Policy::default());
        let client = client(&snapshot, &format!("192.0.2.{last}"), &policy);
        let ids = |most| -> Vec<_> {
            rank(&snapshot, &client, &Wanted { most, ..WANTED }).iter().map(|it| (it.class, it.host.id)).collect()
        };
        let all = ids(usize::MAX);
        prop_assert_eq!(&all, &ids(usize::MAX));
        prop_assert_eq!(&ids(most)[..], &all[..most.min(all.len())]);
    }

    #[test]
    fn a_private_host_is_for_its_own_networks_only(
        hosts in any_hosts(),
        address: std::net::Ipv4Addr,
        asn in prop::option::of(64500u32..64503),
    ) {
        let (snapshot, policy) = (snapshot(hosts), Policy::default());
        let mut client = client(&snapshot, &address.to_string(), &policy);
        client.asn = asn;
        for offer in rank(&snapshot, &client, &WANTED) {
            let host = offer.host;
            let in_netblock = host.netblocks.iter().any(|it| {
                it.parse::<crate::mirror::Netblock>().unwrap().contains(address.into())
            });
            let own = host.asn.filter(|_| host.asn_clients);
            let in_asn = asn.is_some_and(|it| own == Some(it) || host.peer_asns.contains(&it));
            prop_assert!(!host.private || in_netblock || in_asn);
            prop_assert!(host.user_active && host.admin_active && !host.drained && !offer.category.drained);
        }
    }
}
