//! What becomes of a report of a host's own script.

use std::{
    fs,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use portolan::database::{
    Connection,
    crawl::{self, UrlReach},
    host::{self, Host},
    host_token,
    lease::{self, Schedule},
    secret,
};
use portolan::mirror::Reach;
use reqwest::Method;

use crate::{
    http::{Answer, Http},
    world::{Server, World, on_both, open, settings},
};

const SERIAL: i64 = 1_700_000_000;

impl World {
    fn host(&self, name: &str) -> Host {
        self.database.read(|it| host::find(it, &name.parse().unwrap())).unwrap().unwrap()
    }

    fn schedule(&self, name: &str) -> Schedule {
        let id = self.host(name).id;
        self.database.read(|it| lease::find(it, id)).unwrap().unwrap()
    }

    /// Makes `text` a token of the host.
    fn give_token(&self, name: &str, text: &str, expires: Option<i64>) {
        let (id, now) = (self.host(name).id, Timestamp::now());
        let expires = expires.map(|it| (now + SignedDuration::from_secs(it)).into());
        let insert =
            |it: &mut Connection| host_token::insert(it, id, secret::hash(text), expires, now.into());
        self.database.write_log(insert).unwrap();
    }

    fn postpone(&self, name: &str) {
        let until = Timestamp::now() + SignedDuration::from_hours(5);
        let id = self.host(name).id;
        self.database.write_log(|it| lease::make_due(it, id, until.into())).unwrap();
    }

    fn is_due(&self, name: &str) -> bool {
        Timestamp::from(self.schedule(name).next_crawl_at) <= Timestamp::now()
    }

    fn report(&self, host: &str, token: &str, body: &str) -> Answer {
        let token = format!("Bearer {token}");
        let path = format!("/api/v1/hosts/{host}/report");
        self.http.send_body(Method::POST, &path, &[("authorization", &token)], body)
    }

    /// The digest in `zz/serial`.
    fn inventory(&self) -> String {
        let line = fs::read_to_string(self.folder.path().join("tree/fedora/zz/serial")).unwrap();
        format!("sha256:{}", line.trim().split_once(' ').unwrap().1)
    }
}

/// Changes of hosts are in answers within 2 s.
#[track_caller]
fn wait(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(10), "not {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn body(category: &str, serial: i64) -> String {
    format!(r#"{{"category":"{category}","serial":{serial}}}"#)
}

#[test]
fn a_report_makes_its_host_due() {
    on_both(|world| {
        world.give_token("a", "secret", None);
        let id = world.host("a").id.0.to_string();
        for host in ["a", id.as_str()] {
            world.postpone("a");
            assert!(!world.is_due("a"));
            let answer = world.report(host, "secret", &body("fedora", SERIAL + 1));
            assert_eq!((answer.status, answer.header("cache-control")), (202, "no-store"));
            assert!(answer.text().contains("crawled within seconds"), "{}", answer.text());
            assert!(world.is_due("a"));
        }
        let tokens = world.database.read(|it| host_token::list(it, world.host("a").id)).unwrap();
        assert!(tokens[0].used_at.is_some());
    });
}

#[test]
fn who_may_not_report_is_told_why() {
    on_both(|world| {
        world.give_token("a", "secret", None);
        world.give_token("a", "old", Some(-1));
        world.postpone("a");
        let good = body("fedora", SERIAL);
        #[track_caller]
        fn check(answer: &Answer, status: u16, why: &str) {
            assert_eq!(answer.status, status, "{}", answer.text());
            let error: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
            assert!(error["error"].as_str().unwrap().contains(why), "{error}");
        }
        check(&world.report("a", "wrong", &good), 401, "Bearer TOKEN");
        check(&world.report("a", "old", &good), 401, "Bearer TOKEN");
        check(&world.report("b", "secret", &good), 403, "not one of this host");
        check(&world.report("nobody", "secret", &good), 403, "not one of this host");
        check(&world.report("a", "secret", &body("other", 1)), 404, "the category other");
        for bad in ["", "{", "[]", "null", r#"{"category":"fedora"}"#, r#"{"category":"a b","serial":1}"#] {
            check(&world.report("a", "secret", bad), 400, "not understood");
        }
        for extra in [r#","more":1}"#, r#","inventory":"md5:1"}"#, r#","serial":2}"#] {
            check(&world.report("a", "secret", &good.replace('}', extra)), 400, "not understood");
        }
        check(&world.report("a", "secret", &body("fedora", 1).replace('1', "1e99")), 400, "not understood");
        check(&world.report("a", "secret", &"x".repeat(5_000)), 413, "at most 4096 bytes");
        let path = "/api/v1/hosts/a/report";
        let anonymous = world.http.send_body(Method::POST, path, &[], &good);
        check(&anonymous, 401, "Bearer TOKEN");
        assert_eq!(anonymous.header("www-authenticate"), "Bearer");
        for authorization in ["Basic secret", "Bearer", "Bearer  ", "\u{fc}"] {
            let headers = [("authorization", authorization)];
            check(&world.http.send_body(Method::POST, path, &headers, &good), 401, "Bearer TOKEN");
        }
        let get = world.http.get(path, &[("authorization", "Bearer secret")]);
        check(&get, 405, "by POST");
        assert_eq!(get.header("allow"), "POST");
        assert!(!world.is_due("a"), "no refused report makes a host due");
    });
}

#[test]
fn a_token_has_so_many_reports_a_minute() {
    on_both(|world| {
        world.give_token("a", "secret", None);
        world.give_token("b", "another", None);
        let statuses: Vec<_> =
            (0..12).map(|_| world.report("a", "secret", &body("fedora", SERIAL)).status).collect();
        assert_eq!(statuses, [[202; 10].as_slice(), &[429; 2]].concat());
        let answer = world.report("a", "secret", &body("fedora", SERIAL));
        assert_eq!((answer.status, answer.header("retry-after")), (429, "60"));
        assert_eq!(world.report("b", "another", &body("fedora", SERIAL)).status, 202);
    });
}

#[test]
fn a_private_host_is_believed_its_own_report() {
    on_both(|world| {
        world.give_token("secret", "token", None);
        world.give_token("a", "public", None);
        let inventory = world.inventory();
        let claim = |serial: i64, inventory: &str| {
            let serial = body("fedora", serial);
            serial.replace('}', &format!(r#","inventory":"{inventory}"}}"#))
        };
        let unknown = format!("sha256:{}", "0".repeat(64));
        for (serial, inventory) in [(SERIAL, &unknown), (SERIAL + 1, &inventory)] {
            let answer = world.report("secret", "token", &claim(serial, inventory));
            assert_eq!(answer.status, 409, "{}", answer.text());
        }
        // A crawler has no way to it.
        let host = world.host("secret").id;
        let crawled = world.database.read(|it| crawl::list_hosts(it, &[host])).unwrap().remove(0);
        let url = crawled.categories[0].urls[0].id;
        let down = [UrlReach { url, ipv4: Reach::Down, ipv6: Reach::Down, reason: Some("away".into()) }];
        let now = Timestamp::now().into();
        world.database.leave_alone(host, now, &down, now).unwrap();
        let path = format!("/mirrorlist?repo=fedora&digest={}", world.images.large.digest);
        let is_offered =
            || world.http.get_as("198.51.100.7", &path, &[]).text().contains("//secret.example/");
        wait("down", || !is_offered());
        let answer = world.report("secret", "token", &claim(SERIAL, &inventory));
        assert_eq!(answer.status, 202, "{}", answer.text());
        wait("believed", is_offered);
        let holdings = world.database.read(|it| crawl::list_holdings(it, host)).unwrap();
        assert_eq!(holdings[0].1.reason, format!("it reported serial {SERIAL} itself"));
        let wait =
            Timestamp::from(world.schedule("secret").not_before.unwrap()).duration_since(Timestamp::now());
        assert!((23..=24).contains(&wait.as_hours()), "crawled when the report is too old: {wait:?}");
        // A public host is crawled, whatever it claims.
        world.postpone("a");
        assert_eq!(world.report("a", "public", &claim(SERIAL, &unknown)).status, 202);
        assert!(world.is_due("a"));
    });
}

#[test]
fn without_a_database_reports_are_refused_for_now() {
    let World { server, folder, .. } = World::new("sqlite", |_| {});
    drop(server);
    let gone = open("postgres://nobody@127.0.0.1:1/none");
    let server = Server::start(settings(folder.path()), gone).unwrap();
    let http = Http::new(&server.addresses);
    let headers = [("authorization", "Bearer secret")];
    let path = "/api/v1/hosts/a/report";
    let answer = http.send_body(Method::POST, path, &headers, &body("fedora", SERIAL));
    assert_eq!((answer.status, answer.header("retry-after")), (503, "30"), "{}", answer.text());
    assert!(!answer.text().contains("nobody"), "what failed is the operators' business: {}", answer.text());
    assert_eq!(http.send_body(Method::POST, path, &headers, "{").status, 400, "bad is bad all the same");
}
