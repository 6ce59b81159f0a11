//! What programs do by the REST API, and what they cannot do.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use portolan::{
    database::{
        Time,
        account::{self, AccountChange},
        account_token::{self, NewAccountToken},
        approval, host_netblock, secret,
    },
    mirror::{HostId, Role},
    server::{list_api_operations, openapi},
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    http::Answer,
    status::{SOON, wait},
    world::{World, on_both},
};

const ALL: &str = "read mirrors account operator";

/// A program with a token.
pub(crate) struct Program<'a> {
    world: &'a World,
    token: String,
}

impl<'a> Program<'a> {
    /// With a new token of an account that is there.
    fn new(
        world: &'a World,
        account: &str,
        scopes: &str,
        host: Option<HostId>,
        lasts: SignedDuration,
    ) -> Self {
        let token = format!("portolan_{}", secret::new().unwrap());
        let now: Time = jiff::Timestamp::now().into();
        let account =
            world.database.read(|it| account::find(it, &account.parse().unwrap())).unwrap().unwrap();
        let new = NewAccountToken {
            account_id: account.id,
            name: "test".to_owned(),
            scopes: scopes.parse().unwrap(),
            host_id: host,
            hash: secret::hash(&token),
            created_at: now,
            expires_at: now.after(lasts),
        };
        world.database.write_log(|it| account_token::insert(it, &new)).unwrap();
        Self { world, token }
    }

    /// Of a new account.
    pub(crate) fn of(world: &'a World, account: &str, role: Role, host: Option<&str>) -> Self {
        world.add_account(account, role, host);
        Self::new(world, account, ALL, None, SignedDuration::from_hours(1))
    }

    /// Of an account that is there, for an hour.
    pub(crate) fn with(world: &'a World, account: &str, scopes: &str) -> Self {
        Self::new(world, account, scopes, None, SignedDuration::from_hours(1))
    }

    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    pub(crate) fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let bearer = format!("Bearer {}", self.token);
        let mut all = vec![("content-type", "application/json")];
        if !self.token.is_empty() {
            all.push(("authorization", &bearer));
        }
        all.extend(headers);
        self.world.http.send_body(method.parse().unwrap(), &format!("/api/v1{path}"), &all, body)
    }

    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Value {
        let answer = self.send("GET", path, &[], "");
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }

    /// Sends a change that must be taken by this status.
    #[track_caller]
    pub(crate) fn done(&self, status: u16, method: &str, path: &str, body: Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = self.send(method, path, &[], &body);
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
        answer.json()
    }

    /// Sends something that must be refused, and gives the reason.
    #[track_caller]
    fn refused(&self, status: u16, method: &str, path: &str, body: &str) -> String {
        let answer = self.send(method, path, &[], body);
        problem(&answer, status)
    }
}

#[track_caller]
pub(crate) fn problem(answer: &Answer, status: u16) -> String {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.header("content-type"), "application/problem+json");
    let problem = answer.json();
    assert_eq!((&problem["status"], problem["title"].is_string()), (&json!(status), true));
    problem["detail"].as_str().unwrap().to_owned()
}

/// Who may do what: no token, a reader of the site, who keeps another site, who keeps this site, an operator. All have tokens for
/// everything. What is taken is answered by 422 here, for something is sent that is never understood.
const MATRIX: &[(&str, &str, [u16; 5])] = &[
    ("GET", "/account", [401, 200, 200, 200, 200]),
    ("PATCH", "/account", [401, 422, 422, 422, 422]),
    ("DELETE", "/account", [401, 422, 422, 422, 422]),
    ("GET", "/account/export", [401, 200, 200, 200, 200]),
    ("POST", "/account/password", [401, 422, 422, 422, 422]),
    ("DELETE", "/account/sessions", [401, 422, 422, 422, 422]),
    ("GET", "/account/tokens", [401, 200, 200, 200, 200]),
    ("POST", "/account/tokens", [401, 422, 422, 422, 422]),
    ("DELETE", "/account/tokens/{item}", [401, 422, 422, 422, 422]),
    ("GET", "/sites", [401, 200, 200, 200, 200]),
    ("POST", "/sites", [401, 403, 422, 422, 422]),
    ("GET", "/sites/{site}", [401, 200, 404, 200, 200]),
    ("PATCH", "/sites/{site}", [401, 403, 404, 422, 422]),
    ("DELETE", "/sites/{site}", [401, 403, 404, 422, 422]),
    ("POST", "/sites/{site}/keepers", [401, 403, 404, 422, 422]),
    ("DELETE", "/sites/{site}/keepers/{item}", [401, 403, 404, 422, 422]),
    ("POST", "/sites/{site}/hosts", [401, 403, 404, 422, 422]),
    ("GET", "/hosts", [401, 200, 200, 200, 200]),
    ("POST", "/hosts", [401, 403, 422, 422, 422]),
    ("GET", "/hosts/{host}", [401, 200, 404, 200, 200]),
    ("PATCH", "/hosts/{host}", [401, 403, 404, 422, 422]),
    ("DELETE", "/hosts/{host}", [401, 403, 404, 422, 422]),
    ("PUT", "/hosts/{host}/drain", [401, 403, 404, 422, 422]),
    ("GET", "/hosts/{host}/crawl", [401, 200, 404, 200, 200]),
    ("POST", "/hosts/{host}/crawl", [401, 403, 404, 422, 422]),
    ("GET", "/hosts/{host}/opt-in", [401, 200, 404, 200, 200]),
    ("POST", "/hosts/{host}/opt-in", [401, 403, 404, 422, 422]),
    ("PUT", "/hosts/{host}/opt-in/{item}", [401, 403, 404, 422, 422]),
    ("PUT", "/hosts/{host}/opt-in/{item}/drain", [401, 403, 404, 422, 422]),
    ("DELETE", "/hosts/{host}/opt-in/{item}", [401, 403, 404, 422, 422]),
    ("GET", "/hosts/{host}/netblocks", [401, 200, 404, 200, 200]),
    ("POST", "/hosts/{host}/netblocks", [401, 403, 404, 422, 422]),
    ("DELETE", "/hosts/{host}/netblocks/{item}", [401, 403, 404, 422, 422]),
    ("PUT", "/hosts/{host}/asn", [401, 403, 404, 422, 422]),
    ("POST", "/hosts/{host}/peers", [401, 403, 404, 422, 422]),
    ("DELETE", "/hosts/{host}/peers/{item}", [401, 403, 404, 422, 422]),
    ("GET", "/hosts/{host}/wishes", [401, 200, 404, 200, 200]),
    ("DELETE", "/hosts/{host}/wishes/{item}", [401, 403, 404, 422, 422]),
    ("GET", "/hosts/{host}/tokens", [401, 200, 404, 200, 200]),
    ("POST", "/hosts/{host}/tokens", [401, 403, 404, 422, 422]),
    ("DELETE", "/hosts/{host}/tokens/{item}", [401, 403, 404, 422, 422]),
    ("GET", "/look", [401, 403, 403, 403, 200]),
    ("GET", "/approvals", [401, 403, 403, 403, 200]),
    ("POST", "/approvals/{item}", [401, 403, 403, 403, 422]),
    ("GET", "/accounts", [401, 403, 403, 403, 200]),
    ("GET", "/accounts/{item}", [401, 403, 403, 403, 200]),
    ("PATCH", "/accounts/{item}", [401, 403, 403, 403, 422]),
    ("GET", "/accounts/{item}/tokens", [401, 403, 403, 403, 200]),
    ("GET", "/accounts/{item}/identities", [401, 403, 403, 403, 200]),
    ("DELETE", "/account-tokens/{item}", [401, 403, 403, 403, 422]),
    ("GET", "/settings", [401, 403, 403, 403, 200]),
    ("GET", "/log", [401, 403, 403, 403, 200]),
    ("GET", "/withdrawals", [401, 403, 403, 403, 200]),
    ("POST", "/withdrawals", [401, 403, 403, 403, 422]),
    ("DELETE", "/withdrawals/{item}", [401, 403, 403, 403, 422]),
];

#[test]
fn each_program_may_do_what_its_account_may_and_its_token_is_for() {
    let operations: BTreeSet<_> = list_api_operations().map(|it| (it.0.method, it.0.path)).collect();
    let rows: BTreeSet<_> = MATRIX.iter().map(|it| (it.0, it.1)).collect();
    assert_eq!(operations, rows, "every operation has a row");
    on_both(|world| {
        let reader = Program::of(world, "reader", Role::Reader, Some("a"));
        let other = Program::of(world, "other", Role::MirrorAdmin, None);
        other.done(201, "POST", "/sites", json!({ "name": "another site" }));
        let keeper = Program::of(world, "keeper", Role::MirrorAdmin, Some("a"));
        let operator = Program::of(world, "operator", Role::Operator, None);
        let nobody = Program { world, token: String::new() };
        let host = world.host_row("a");
        for (method, path, expected) in MATRIX {
            let path = path
                .replace("{site}", &host.site_id.0.to_string())
                .replace("{host}", &host.id.0.to_string())
                .replace("{item}", "keeper");
            let body = if *method == "GET" { "" } else { r#"{"no_such_field": 1}"# };
            let found = [&nobody, &reader, &other, &keeper, &operator]
                .map(|it| it.send(method, &path, &[], body).status);
            assert_eq!(&found, expected, "{method} {path}");
        }
        // Each operation wants its own scope: a token that has all others does not do.
        for (route, scope) in list_api_operations() {
            let others: Vec<_> = ALL.split(' ').filter(|it| *it != scope.as_str()).collect();
            let program =
                Program::new(world, "operator", &others.join(" "), None, SignedDuration::from_hours(1));
            let path = route.path.replace("{site}", "1").replace("{host}", "1").replace("{item}", "1");
            let why = program.refused(403, route.method, &path, "");
            assert_eq!(why, format!("The token lacks the scope {scope}."));
            // Fifty are the most of one account, but only for those who make them here.
            let row =
                world.database.read(|it| account_token::list(it, account_id(world, "operator"))).unwrap();
            world
                .database
                .write_log(|it| {
                    account_token::delete(it, account_id(world, "operator"), row.last().unwrap().id)
                })
                .unwrap();
        }
    });
}

fn account_id(world: &World, name: &str) -> portolan::mirror::AccountId {
    world.database.read(|it| account::find(it, &name.parse().unwrap())).unwrap().unwrap().id
}

#[test]
fn a_program_keeps_a_mirror_as_its_admin_would() {
    on_both(|world| {
        let ann = Program::of(world, "ann", Role::MirrorAdmin, None);
        let new = json!({ "url": "https://ann.example/fedora", "category": "fedora", "country": "UA" });
        let made = ann.send("POST", "/hosts", &[], &new.to_string());
        assert_eq!((made.status, made.json()["done"].clone()), (201, json!("opted-in")), "{}", made.text());
        let id = world.host_row("ann.example").id.0;
        let path = format!("/hosts/{id}");
        assert_eq!(made.header("location"), format!("/api/v1{path}/crawl"));
        assert!(ann.get(&format!("{path}/crawl"))["next_at"].is_string());
        let listed = ann.get("/hosts?name=ann.example");
        assert_eq!((listed["items"][0]["id"].clone(), listed["next"].clone()), (json!(id), Value::Null));
        assert_eq!(listed["items"][0]["site"], "ann.example");

        // Only what is sent is changed, and only if nobody else has changed it.
        let host = ann.send("GET", &path, &[], "");
        let version = host.header("etag").to_owned();
        assert!(version.len() > 10 && version.starts_with('"'), "{version}");
        let patch =
            json!({ "share": 50, "place": "50.4,30.5", "contacts": ["a@example.org", "b@example.org"] })
                .to_string();
        let patch = |version: &str| ann.send("PATCH", &path, &[("if-match", version)], &patch);
        let foreign = problem(&patch("\"other\""), 412);
        assert!(foreign.contains("changed since"), "{foreign}");
        let patched = patch(&version);
        assert_eq!(patched.status, 200);
        problem(&patch(&version), 412);
        // Who edits on need not read in between: the answer has the new version.
        let version = patched.header("etag");
        assert_eq!(version, ann.send("GET", &path, &[], "").header("etag"));
        let again = ann.send("PATCH", &path, &[("if-match", version)], r#"{"comment": "twice"}"#);
        assert_eq!(again.status, 200, "{}", again.text());
        let host = ann.get(&path);
        for (field, value) in [
            ("country", json!("UA")),
            ("share", json!(50)),
            ("place", json!("50.4,30.5")),
            ("contacts", json!(["a@example.org", "b@example.org"])),
            ("user_active", json!(true)),
        ] {
            assert_eq!(host[field], value, "{field}");
        }
        ann.done(200, "PATCH", &path, json!({ "share": null, "daily_bytes": 500, "private": false }));
        assert_eq!(
            (ann.get(&path)["share"].clone(), ann.get(&path)["daily_bytes"].clone()),
            (Value::Null, json!(500))
        );

        // What draws clients waits.
        let granted =
            ann.done(201, "POST", &format!("{path}/netblocks"), json!({ "netblock": "198.18.4.0/24" }));
        assert_eq!(granted["done"], "saved");
        let waits = ann.done(202, "POST", &format!("{path}/netblocks"), json!({ "netblock": "198.0.0.0/8" }));
        assert_eq!(waits["done"], "waits");
        ann.done(202, "PATCH", &path, json!({ "bandwidth": 20_000 }));
        ann.done(202, "PUT", &format!("{path}/asn"), json!({ "asn": 64511, "asn_clients": true }));
        let wishes = ann.get(&format!("{path}/wishes"));
        assert_eq!(wishes.as_array().unwrap().len(), 3, "{wishes}");
        ann.done(200, "DELETE", &format!("{path}/wishes/{}", wishes[0]["id"]), Value::Null);

        let opa = Program::of(world, "opa", Role::Operator, None);
        let waiting = opa.get("/approvals");
        assert_eq!(waiting.as_array().unwrap().len(), 2, "{waiting}");
        opa.done(200, "POST", &format!("/approvals/{}", waiting[0]["id"]), json!({ "granted": true }));
        opa.done(200, "POST", &format!("/approvals/{}", waiting[1]["id"]), json!({ "granted": false }));
        assert_eq!(
            world.host_row("ann.example").bandwidth.map(|it| it.to_string()).as_deref(),
            Some("20000")
        );
        assert_eq!(world.database.read(|it| approval::list(it, 9)).unwrap(), []);

        // Networks, opt-ins and tokens have numbers by which they are taken away.
        let networks = ann.get(&format!("{path}/netblocks"));
        ann.done(200, "DELETE", &format!("{path}/netblocks/{}", networks[0]["id"]), Value::Null);
        assert_eq!(world.database.read(|it| host_netblock::list(it, HostId(id))).unwrap(), []);
        let opt_in = ann.get(&format!("{path}/opt-in"))[0].clone();
        assert_eq!(
            (&opt_in["category"], &opt_in["urls"]),
            (&json!("fedora"), &json!(["https://ann.example/fedora"]))
        );
        let urls = json!({ "urls": ["https://ann.example/f2"], "rsync": "rsync://ann.example/fedora" });
        ann.done(200, "PUT", &format!("{path}/opt-in/{}", opt_in["id"]), urls.clone());
        let opt_in = ann.get(&format!("{path}/opt-in"))[0].clone();
        assert_eq!(opt_in["rsync"], urls["rsync"]);
        let drain = format!("{path}/opt-in/{}/drain", opt_in["id"]);
        ann.done(200, "PUT", &drain, json!({ "drained": true }));
        assert_eq!(ann.get(&format!("{path}/opt-in"))[0]["drained"], true);
        ann.done(200, "PUT", &drain, json!({ "drained": false }));
        let token = ann.done(201, "POST", &format!("{path}/tokens"), json!({ "days": 30 }));
        assert!(token["token"].as_str().unwrap().starts_with("portolan_"), "{token}");
        assert!(!ann.get(&format!("{path}/tokens")).to_string().contains("portolan_"));

        // A program need not say the name of what it removes, but its version, if it likes.
        let version = ann.send("GET", &path, &[], "").header("etag").to_owned();
        ann.done(200, "PATCH", &path, json!({ "comment": "moved" }));
        problem(&ann.send("DELETE", &path, &[("if-match", &version)], ""), 412);
        ann.done(200, "DELETE", &path, Value::Null);
        ann.refused(404, "GET", &path, "");
        let log = opa.get("/log?subject=host&name=ann.example&limit=2");
        assert_eq!(log["items"][0]["actor"], "ann");
        assert_eq!(log["items"][0]["after"], Value::Null, "{log}");
        let next = log["next"].as_str().unwrap().strip_prefix("/api/v1").unwrap();
        assert!(opa.get(next)["items"][0]["id"].as_i64() < log["items"][1]["id"].as_i64());
    });
}

#[test]
fn a_change_by_the_api_is_in_answers_at_once() {
    on_both(|world| {
        let keeper = Program::of(world, "keeper", Role::MirrorAdmin, Some("a"));
        let path = format!("/hosts/{}/drain", world.host_row("a").id.0);
        assert!(world.is_listed("a"));
        keeper.done(200, "PUT", &path, json!({ "drained": true }));
        println!("drained after {:?}", wait(SOON, "drained", || !world.is_listed("a")));
        keeper.done(200, "PUT", &path, json!({ "drained": false }));
        wait(SOON, "offered again", || world.is_listed("a"));
    });
}

#[test]
fn a_token_is_good_for_what_it_was_made_for() {
    on_both(|world| {
        let ann = Program::of(world, "ann", Role::MirrorAdmin, Some("a"));
        let (a, b) = (world.host_row("a").id, world.host_row("b").id);
        for token in ["x", "portolan_00", &"y".repeat(10_000)] {
            Program { world, token: token.to_owned() }.refused(401, "GET", "/account", "");
        }
        let answer = Program { world, token: String::new() }.send("GET", "/account", &[], "");
        assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"portolan\"");
        Program::new(world, "ann", ALL, None, SignedDuration::ZERO).refused(401, "GET", "/account", "");

        // One for one host.
        let only = Program::new(world, "ann", ALL, Some(a), SignedDuration::from_hours(1));
        only.done(200, "PUT", &format!("/hosts/{}/drain", a.0), json!({ "drained": true }));
        for path in ["/account", "/sites", &format!("/hosts/{}", b.0)] {
            let why = only.refused(403, "GET", path, "");
            assert_eq!(why, "The token is good for one host only.", "{path}");
        }

        // A token makes none that is good for more.
        let mut new = json!({ "name": "ci", "scopes": ["read", "mirrors"], "days": 30, "host": "a" });
        let weak = Program::new(world, "ann", "account read", None, SignedDuration::from_hours(1));
        let why = weak.refused(422, "POST", "/account/tokens", &new.to_string());
        assert!(why.contains("lacks mirrors itself"), "{why}");
        let made = ann.done(201, "POST", "/account/tokens", new.clone());
        let token = made["token"].as_str().unwrap().to_owned();
        let program = Program { world, token };
        assert_eq!(program.get(&format!("/hosts/{}", a.0))["drained"], true);
        for (field, value) in [
            ("scopes", json!(["operator"])),
            ("scopes", json!([])),
            ("host", json!("nowhere")),
            ("days", json!(367)),
            ("days", json!(0)),
            ("name", json!("")),
        ] {
            let before = new[field].take();
            new[field] = value.clone();
            ann.refused(422, "POST", "/account/tokens", &new.to_string());
            new[field] = before;
        }
        let listed = ann.get("/account/tokens");
        let row = listed.as_array().unwrap().iter().find(|it| it["name"] == "ci").unwrap();
        assert_eq!((&row["host"], &row["scopes"]), (&json!("a"), &json!(["read", "mirrors"])));
        assert!(row["used_at"].is_string() && !listed.to_string().contains("portolan_"));

        // Taken away, or its account off: it is of no use at once.
        ann.done(200, "DELETE", &format!("/account/tokens/{}", row["id"]), Value::Null);
        program.refused(401, "GET", &format!("/hosts/{}", a.0), "");
        let bob = Program::of(world, "bob", Role::MirrorAdmin, None);
        bob.refused(404, "DELETE", &format!("/account/tokens/{}", listed[0]["id"]), "");
        let foreign = bob.refused(422, "POST", "/account/tokens", &new.to_string());
        assert!(foreign.contains("you keep no host a"), "{foreign}");
        let off = AccountChange { active: Some(false), ..AccountChange::default() };
        world.database.write_log(|it| account::update(it, account_id(world, "bob"), &off)).unwrap();
        bob.refused(401, "GET", "/account", "");
    });
}

#[test]
fn what_is_sent_is_checked_before_anything_is_done() {
    on_both(|world| {
        let ann = Program::of(world, "ann", Role::MirrorAdmin, Some("a"));
        let path = format!("/hosts/{}", world.host_row("a").id.0);
        ann.refused(400, "PATCH", &path, "{");
        ann.refused(422, "PATCH", &path, "[]");
        ann.refused(422, "PATCH", &path, r#"{"share": "many"}"#);
        ann.refused(413, "PATCH", &path, &format!("{{\"comment\": \"{}\"}}", "x".repeat(1_000_000)));
        for field in ["site", "site_id", "id", "drained", "last_lied_at"] {
            let why = ann.refused(422, "PATCH", &path, &format!("{{\"{field}\": 1}}"));
            assert!(why.contains(&format!("unknown field `{field}`")), "{why}");
        }
        for operators in [r#"{"admin_active": true}"#, r#"{"kind": "cdn"}"#] {
            let why = ann.refused(422, "PATCH", &path, operators);
            assert!(why.contains("no field"), "{why}");
        }
        let bearer = format!("Bearer {}", ann.token);
        let headers = [("authorization", &*bearer), ("content-type", "application/x-www-form-urlencoded")];
        let form = world.http.send_body(Method::PATCH, &format!("/api/v1{path}"), &headers, "share=1");
        problem(&form, 415);
        let put = ann.send("PUT", &path, &[], "");
        problem(&put, 405);
        assert_eq!(put.header("allow"), "GET, PATCH, DELETE");
        ann.refused(404, "GET", "/no/such/path", "");
        for path in [
            "/hosts?limit=0",
            "/hosts?limit=501",
            "/sites?limit=x",
            "/mirrors?limit=0",
            "/account/export?limit=x",
        ] {
            let why = ann.refused(400, "GET", path, "");
            assert_eq!(why, "The limit is a number from 1 to 500.", "{path}");
        }
        assert_eq!(world.http.send(Method::POST, "/api/v1/mirrors", &[]).status, 405);
        // A browser's session is none here: no other site can make it send something.
        let cookie = world.http.get("/api/v1/account", &[("cookie", "__Host-portolan=0")]);
        problem(&cookie, 401);
        // Passwords are proven as on the page.
        ann.refused(
            422,
            "POST",
            "/account/password",
            r#"{"password": "wrong", "new_password": "another long one"}"#,
        );
    });
}

#[test]
fn operators_see_and_do_everything() {
    on_both(|world| {
        let opa = Program::of(world, "opa", Role::Operator, None);
        Program::of(world, "ann", Role::MirrorAdmin, Some("a"));
        let sites = opa.get("/sites");
        assert!(sites["items"].as_array().unwrap().len() > 1, "{sites}");
        let id = world.host_row("a").site_id.0;
        opa.done(
            200,
            "PATCH",
            &format!("/sites/{id}"),
            json!({ "url": "https://a.example/", "admin_active": false }),
        );
        let site = opa.get(&format!("/sites/{id}"));
        assert_eq!(
            (&site["url"], &site["admin_active"], &site["keepers"]),
            (&json!("https://a.example/"), &json!(false), &json!(["ann"]))
        );
        let all: Vec<_> = ["/accounts?limit=1", "/accounts?limit=1&after=ann"].map(|it| opa.get(it)).into();
        assert_eq!(
            (&all[0]["items"][0]["name"], &all[1]["items"][0]["name"]),
            (&json!("ann"), &json!("opa"))
        );
        assert_eq!(all[0]["next"], "/api/v1/accounts?limit=1&after=ann");
        opa.done(200, "PATCH", "/accounts/ann", json!({ "role": "reader" }));
        assert_eq!(opa.get("/accounts/ann")["role"], "reader");
        assert_eq!(opa.get("/accounts/ann")["active"], true, "what is not sent stays");
        opa.refused(422, "PATCH", "/accounts/opa", r#"{"role": "reader"}"#);
        let digest = format!("sha256:{}", "1".repeat(64));
        opa.done(201, "POST", "/withdrawals", json!({ "digest": digest, "reason": "broken" }));
        assert_eq!(opa.get("/withdrawals")["items"][0]["digest"], digest);
        opa.done(200, "DELETE", &format!("/withdrawals/{digest}"), Value::Null);
        assert_eq!(opa.get("/withdrawals")["items"], json!([]));
        opa.done(201, "POST", &format!("/sites/{id}/hosts"), json!({ "name": "new.example" }));
        let look = opa.get("/look");
        assert_eq!(look["items"][0]["name"], "new.example", "{look}");
        assert!(look["items"][0]["reasons"][0].as_str().unwrap().starts_with("new: added"), "{look}");
        assert_eq!(opa.get("/accounts?q=AN")["items"].as_array().unwrap().len(), 1);
        Program::with(world, "ann", "read");
        let tokens = opa.get("/accounts/ann/tokens");
        assert_eq!(
            (&tokens[0]["name"], &tokens[0]["scopes"]),
            (&json!("test"), &json!(ALL.split(' ').collect::<Vec<_>>()))
        );
        let id = tokens[1]["id"].as_i64().unwrap();
        opa.done(200, "DELETE", &format!("/account-tokens/{id}"), Value::Null);
        opa.refused(404, "DELETE", &format!("/account-tokens/{id}"), "");
        assert_eq!(opa.get("/accounts/ann/tokens").as_array().unwrap().len(), 1);
        assert_eq!(opa.get("/accounts/ann/identities"), json!([]));
        // The own account goes, and with it its tokens.
        let ann = Program::new(world, "ann", ALL, None, SignedDuration::from_hours(1));
        let kept = ann.get("/account/export");
        assert_eq!((&kept["account"]["name"], &kept["identities"]), (&json!("ann"), &json!([])));
        ann.done(200, "DELETE", "/account", Value::Null);
        ann.refused(401, "GET", "/account", "");
        let last = opa.refused(422, "DELETE", "/account", "");
        assert!(last.contains("last operator"), "{last}");
    });
}

#[test]
fn everybody_sees_what_pages_show() {
    on_both(|world| {
        let nobody = Program { world, token: String::new() };
        let described = openapi();
        assert_eq!(nobody.get("/openapi.json"), described);
        let status = nobody.get("/status");
        assert!(status["mirrors"].as_u64() > Some(1) && status["bytes"].as_u64() > Some(1000), "{status}");
        let mirrors = nobody.get("/mirrors?limit=2");
        let next = mirrors["next"].as_str().unwrap().strip_prefix("/api/v1").unwrap();
        assert!(nobody.get(next)["items"][0]["name"].as_str() > mirrors["items"][1]["name"].as_str());
        let a = nobody.get("/mirrors/a");
        assert_eq!(
            (&a["standing"], &a["categories"][0]["category"]),
            (&json!("fresh"), &json!("fedora")),
            "{a}"
        );
        assert_eq!(nobody.get("/mirrors?q=a&standing=fresh&limit=1")["items"][0], a);
        let crawl = nobody.get("/mirrors/a/crawl");
        assert_eq!(
            (&crawl["verdicts"][0]["category"], &crawl["crawls"][0]["state"], &crawl["repairs"]),
            (&json!("fedora"), &json!("up-to-date"), &json!([])),
            "{crawl}"
        );
        nobody.refused(404, "GET", "/mirrors/secret/crawl", "");
        let names = nobody.get("/mirror-names");
        assert!(names["names"].as_array().unwrap().contains(&json!("a.example")), "{names}");
        assert_eq!(nobody.get("/categories")[0]["name"], "fedora");
        assert!(nobody.get("/repositories?q=fed")["items"].to_string().contains("fedora"));
        let tags = nobody.get("/tags?repository=fedora");
        let tag = tags["items"][0]["tag"].as_str().unwrap();
        let image = nobody.get(&format!("/image?image=fedora:{tag}"));
        assert_eq!(image["digest"], tags["items"][0]["digest"]);
        assert!(image["layers"].is_array() && image["holders"].is_array());
        let which = nobody.get(&format!("/which?image=fedora:{tag}"));
        assert!(which["offers"].is_array() && which["network"].is_string(), "{which}");
        assert_eq!(nobody.get("/propagation?category=fedora")["category"], "fedora");
        assert_eq!(nobody.get("/statistics")["days"].as_array().unwrap().len(), 90);
        for path in [
            "/mirrors/nowhere",
            "/image?image=none",
            "/tags?repository=none",
            "/propagation?category=none",
            "/which?image=none:x",
        ] {
            nobody.refused(404, "GET", path, "");
        }
        nobody.refused(400, "GET", "/image?image=%C3%84", "");
        nobody.refused(400, "GET", "/mirrors?limit=x", "");
        // All that is described is there, and private hosts are in none of it.
        world.change_host(
            "a",
            &portolan::database::host::HostChange { private: Some(true), ..Default::default() },
        );
        wait(SOON, "private", || {
            nobody.get("/mirror-names")["names"].as_array().unwrap().iter().all(|it| it != "a.example")
        });
        for (path, operations) in described["paths"].as_object().unwrap() {
            if operations.get("get").is_none_or(|it| it["security"] != json!([])) {
                continue;
            }
            let path = path.strip_prefix("/api/v1").unwrap();
            let path = path.replace("{name}", "b")
                + &format!("?image=fedora:{tag}&repository=fedora&category=fedora");
            let answer = nobody.send("GET", &path, &[], "");
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            assert!(
                !answer.text().contains("a.example") && !answer.text().contains("\"a\""),
                "{path}: {}",
                answer.text()
            );
        }
    });
}
