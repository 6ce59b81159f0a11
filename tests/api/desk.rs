//! What people do who have an account, and what others cannot do.

use std::{cell::RefCell, collections::BTreeSet};

use portolan::{
    database::{
        Connection, Part,
        account::{self, NewAccount},
        approval, audit, host, host_category, host_netblock, host_token, secret, site,
    },
    mirror::{Role, capture::Wish},
    server::list_desk_routes,
};
use reqwest::Method;

use crate::{
    http::Answer,
    rest::Program,
    status::{SOON, unreachable, wait},
    world::{ENGINES, Server, World, on_both, on_both_with, settings},
};

pub(crate) const PASSWORD: &str = "correct horse battery";

/// A person at a browser: keeps its cookie, and sends forms as browsers do.
pub(crate) struct Person<'a> {
    world: &'a World,
    cookie: RefCell<String>,
}

impl<'a> Person<'a> {
    pub(crate) fn new(world: &'a World) -> Self {
        Self { world, cookie: RefCell::default() }
    }

    /// Who is signed in.
    pub(crate) fn signed_in(world: &'a World, name: &str) -> Self {
        let person = Self::new(world);
        let answer = person.fill("/sign-in", &[("name", name), ("password", PASSWORD)]);
        assert_eq!((answer.status, answer.header("location")), (303, "/desk"), "{}", answer.text());
        person
    }

    fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let cookie = self.cookie.borrow().clone();
        let mut all =
            vec![("cookie", cookie.as_str()), ("content-type", "application/x-www-form-urlencoded")];
        all.extend(headers);
        let answer = self.world.http.send_body(method, path, &all, body);
        if let Some(set) = answer.headers.get("set-cookie") {
            *self.cookie.borrow_mut() = set.to_str().unwrap().split(';').next().unwrap().to_owned();
        }
        answer
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], "")
    }

    /// Sends a form without a seal, from our own page.
    pub(crate) fn fill(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.send(Method::POST, path, &[("origin", &self.world.http.url)], &encode(fields))
    }

    /// Sends a form of the desk.
    pub(crate) fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let seal = self.seal();
        self.fill(path, &[fields, &[("seal", &seal)]].concat())
    }

    pub(crate) fn seal(&self) -> String {
        let page = self.get("/desk/account");
        let text = page.text().split_once("name=\"seal\" value=\"").map(|it| it.1).unwrap_or_default();
        text.split('"').next().unwrap_or_default().to_owned()
    }

    /// Sends a form that must be taken, and gives the path that follows.
    #[track_caller]
    pub(crate) fn done(&self, path: &str, fields: &[(&str, &str)]) -> String {
        let answer = self.post(path, fields);
        assert_eq!(answer.status, 303, "{path}: {}", answer.text());
        let next = answer.header("location").to_owned();
        let page = self.get(&next);
        assert_eq!(page.status, 200, "{next}: {}", page.text());
        next.split('?').next().unwrap().to_owned()
    }

    /// Sends a form that must be refused, and gives the page.
    #[track_caller]
    fn refused(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let answer = self.post(path, fields);
        assert_eq!(answer.status, 422, "{path}: {}", answer.text());
        assert!(answer.text().contains("role=\"alert\""), "{}", answer.text());
        answer
    }
}

fn encode(fields: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

impl World {
    pub(crate) fn add_account(&self, name: &str, role: Role, site: Option<&str>) {
        let new = NewAccount {
            name: name.parse().unwrap(),
            mail: String::new(),
            password: Some(secret::hash_password(PASSWORD).unwrap()),
            role,
            created_at: jiff::Timestamp::now().into(),
        };
        let add = |it: &mut Connection| {
            let account = account::insert(it, &new)?;
            if let Some(host) = site {
                let host = host::find(it, &host.parse().unwrap())?.unwrap();
                account::add_keeper(it, host.site_id, account.id)?;
            }
            Ok(())
        };
        self.database.write_log(add).unwrap();
    }

    pub(crate) fn host_row(&self, name: &str) -> host::Host {
        self.database.read(|it| host::find(it, &name.parse().unwrap())).unwrap().unwrap()
    }

    pub(crate) fn is_listed(&self, name: &str) -> bool {
        let list = format!("/mirrorlist?repo=fedora&digest={}", self.images.large.digest);
        self.http.get(&list, &[]).text().contains(&format!("//{name}.example/"))
    }
}

/// Who may do what: nobody, a reader of the site, who keeps another site, who keeps this site, an operator. A form that is
/// taken is answered by 422 here, for it has a field that no form has.
const MATRIX: &[(&str, &str, [u16; 5])] = &[
    ("GET", "/desk", [303, 200, 200, 200, 200]),
    ("POST", "/desk/mirrors", [303, 403, 422, 422, 422]),
    ("GET", "/desk/account", [303, 200, 200, 200, 200]),
    ("POST", "/desk/account/mail", [303, 422, 422, 422, 422]),
    ("POST", "/desk/account/password", [303, 422, 422, 422, 422]),
    ("POST", "/desk/account/sessions", [303, 422, 422, 422, 422]),
    ("POST", "/desk/account/identities", [303, 422, 422, 422, 422]),
    ("POST", "/desk/account/identities/{item}/remove", [303, 422, 422, 422, 422]),
    ("POST", "/desk/account/erase", [303, 422, 422, 422, 422]),
    ("POST", "/desk/account/tokens", [303, 422, 422, 422, 422]),
    ("POST", "/desk/account/tokens/{item}/remove", [303, 422, 422, 422, 422]),
    ("POST", "/desk/sites", [303, 403, 422, 422, 422]),
    ("GET", "/desk/sites/{site}", [303, 200, 404, 200, 200]),
    ("POST", "/desk/sites/{site}/edit", [303, 403, 404, 422, 422]),
    ("POST", "/desk/sites/{site}/remove", [303, 403, 404, 422, 422]),
    ("POST", "/desk/sites/{site}/keepers", [303, 403, 404, 422, 422]),
    ("POST", "/desk/sites/{site}/keepers/{item}/remove", [303, 403, 404, 422, 422]),
    ("POST", "/desk/sites/{site}/hosts", [303, 403, 404, 422, 422]),
    ("GET", "/desk/hosts/{host}", [303, 200, 404, 200, 200]),
    ("POST", "/desk/hosts/{host}/edit", [303, 403, 404, 422, 422]),
    ("POST", "/desk/hosts/{host}/remove", [303, 403, 404, 422, 422]),
    ("POST", "/desk/hosts/{host}/drain", [303, 403, 404, 422, 422]),
    ("GET", "/desk/hosts/{host}/crawl", [303, 200, 404, 200, 200]),
    ("POST", "/desk/hosts/{host}/crawl", [303, 403, 404, 422, 422]),
    ("POST", "/desk/hosts/{host}/opt-in", [303, 403, 404, 422, 422]),
    ("POST", "/desk/hosts/{host}/opt-in/{item}/urls", [303, 403, 404, 422, 422]),
    ("POST", "/desk/hosts/{host}/opt-in/{item}/drain", [303, 403, 404, 422, 422]),
    ("POST", "/desk/hosts/{host}/opt-in/{item}/remove", [303, 403, 404, 422, 422]),
    ("POST", "/desk/hosts/{host}/netblocks", [303, 403, 404, 422, 422]),
    ("POST", "/desk/hosts/{host}/netblocks/{item}/remove", [303, 403, 404, 422, 422]),
    ("POST", "/desk/hosts/{host}/asn", [303, 403, 404, 422, 422]),
    ("POST", "/desk/hosts/{host}/peers", [303, 403, 404, 422, 422]),
    ("POST", "/desk/hosts/{host}/peers/{item}/remove", [303, 403, 404, 422, 422]),
    ("POST", "/desk/hosts/{host}/wishes/{item}/remove", [303, 403, 404, 422, 422]),
    ("POST", "/desk/hosts/{host}/tokens", [303, 403, 404, 422, 422]),
    ("POST", "/desk/hosts/{host}/tokens/{item}/remove", [303, 403, 404, 422, 422]),
    ("GET", "/desk/all", [303, 403, 403, 403, 200]),
    ("GET", "/desk/look", [303, 403, 403, 403, 200]),
    ("GET", "/desk/approvals", [303, 403, 403, 403, 200]),
    ("POST", "/desk/approvals/{item}", [303, 403, 403, 403, 422]),
    ("GET", "/desk/accounts", [303, 403, 403, 403, 200]),
    ("GET", "/desk/accounts/{item}", [303, 403, 403, 403, 200]),
    ("POST", "/desk/accounts/{item}", [303, 403, 403, 403, 422]),
    ("POST", "/desk/account-tokens/{item}/remove", [303, 403, 403, 403, 422]),
    ("GET", "/desk/log", [303, 403, 403, 403, 200]),
    ("GET", "/desk/settings", [303, 403, 403, 403, 200]),
    ("GET", "/desk/withdrawals", [303, 403, 403, 403, 200]),
    ("POST", "/desk/withdrawals", [303, 403, 403, 403, 422]),
    ("POST", "/desk/withdrawals/{item}/remove", [303, 403, 403, 403, 422]),
];

#[test]
fn each_may_do_what_is_theirs_and_nothing_else() {
    let routes: BTreeSet<_> = list_desk_routes().map(|it| (it.method, it.path)).collect();
    let rows: BTreeSet<_> = MATRIX.iter().map(|it| (it.0, it.1)).collect();
    assert_eq!(routes, rows, "every route has a row");
    on_both(|world| {
        world.add_account("reader", Role::Reader, Some("a"));
        world.add_account("other", Role::MirrorAdmin, None);
        Person::signed_in(world, "other").done("/desk/sites", &[("name", "another site")]);
        world.add_account("keeper", Role::MirrorAdmin, Some("a"));
        world.add_account("operator", Role::Operator, None);
        let host = world.host_row("a");
        let people = ["reader", "other", "keeper", "operator"].map(|it| Person::signed_in(world, it));
        let seals = people.each_ref().map(Person::seal);
        for (method, path, expected) in MATRIX {
            let path = path
                .replace("{site}", &host.site_id.0.to_string())
                .replace("{host}", &host.id.0.to_string())
                .replace("{item}", "keeper");
            let method: Method = method.parse().unwrap();
            let ask = |person: &Person<'_>, seal: &str| {
                let body = encode(&[("seal", seal), ("no_such_field", "1")]);
                person.send(method.clone(), &path, &[("origin", &world.http.url)], &body)
            };
            let nobody = ask(&Person::new(world), "");
            let mut found = vec![nobody.status];
            assert_eq!(nobody.header("location"), "/sign-in", "{path}");
            found.extend(people.iter().zip(&seals).map(|(person, seal)| ask(person, seal).status));
            assert_eq!(found, expected, "{method} {path}");
        }
    });
}

#[test]
fn a_mirror_admin_comes_and_registers_a_mirror() {
    on_both(|world| {
        let ann = Person::new(world);
        assert!(ann.get("/sign-in").text().contains("href=\"/sign-up\""));
        let short = ann.fill("/sign-up", &[("name", "ann"), ("password", "short")]);
        assert_eq!(short.status, 422);
        assert!(
            short.text().contains("10 to 200") && short.text().contains("value=\"ann\""),
            "{}",
            short.text()
        );
        let made = ann.fill("/sign-up", &[("name", "ann"), ("password", PASSWORD)]);
        assert_eq!((made.status, made.header("location")), (303, "/desk"), "{}", made.text());
        for part in ["__Host-portolan=", "HttpOnly", "Secure", "SameSite=Lax", "Path=/"] {
            assert!(made.header("set-cookie").contains(part), "{}", made.header("set-cookie"));
        }
        let taken = Person::new(world).fill("/sign-up", &[("name", "ann"), ("password", PASSWORD)]);
        assert_eq!(taken.status, 422);

        let wrong = ann.refused(
            "/desk/mirrors",
            &[("url", "https://ann.example/fedora"), ("category", "fedora"), ("country", "UKR")],
        );
        assert!(wrong.text().contains("value=\"https://ann.example/fedora\""), "nothing typed is lost");
        let fields = [("url", "https://ann.example/fedora"), ("category", "fedora"), ("country", "UA")];
        let next = ann.done("/desk/mirrors", &fields);
        let host = world.host_row("ann.example");
        let path = format!("/desk/hosts/{}", host.id.0);
        assert_eq!(next, format!("{path}/crawl"));
        let crawl = ann.get(&next);
        assert!(
            crawl.text().contains("A crawl is due") && crawl.header("refresh") == "3",
            "{}",
            crawl.text()
        );
        let page = ann.get(&path);
        for part in ["https://ann.example/fedora", "categories=fedora"] {
            assert!(page.text().contains(part), "{part} is not in {}", page.text());
        }
        let again = ann.refused("/desk/mirrors", &fields);
        assert!(again.text().contains("is registered already"), "{}", again.text());

        ann.done(&format!("{path}/netblocks"), &[("netblock", "198.18.4.0/24")]);
        ann.done(&format!("{path}/netblocks"), &[("netblock", "198.0.0.0/8")]);
        ann.refused(&format!("{path}/netblocks"), &[("netblock", "10.0.0.0/24")]);
        ann.done(&format!("{path}/asn"), &[("asn", "64511"), ("asn_clients", "on")]);
        let netblocks = || world.database.read(|it| host_netblock::list(it, host.id)).unwrap();
        assert_eq!(netblocks().len(), 1, "the wide one waits");
        assert!(ann.get(&path).text().contains("waits for an operator"));

        let token = ann.post(&format!("{path}/tokens"), &[("days", "30")]);
        assert!(token.status == 200 && token.text().contains("<code>portolan_"), "{}", token.text());
        let tokens = world.database.read(|it| host_token::list(it, host.id)).unwrap();
        assert!(tokens.len() == 1 && tokens[0].expires_at.is_some());
        assert!(!ann.get(&path).text().contains("portolan_"), "shown once");

        world.add_account("opa", Role::Operator, None);
        let opa = Person::signed_in(world, "opa");
        let waiting = world.database.read(|it| approval::list(it, 99)).unwrap();
        assert_eq!(waiting.len(), 2);
        let settle = |at: usize, granted: &str| {
            opa.done(&format!("/desk/approvals/{}", waiting[at].0.id), &[("granted", granted)])
        };
        assert!(matches!(waiting[0].0.wish(), Some(Wish::Netblock(_))));
        settle(0, "on");
        settle(1, "");
        assert_eq!(netblocks().len(), 2);
        assert_eq!(world.host_row("ann.example").asn, None, "refused");
        let log = opa.get("/desk/log?subject=host&name=ann.example");
        for part in ["198.0.0.0/8", "href=\"/desk/log?actor=ann\"", "was not there"] {
            assert!(log.text().contains(part), "{part} is not in {}", log.text());
        }
        assert!(opa.get("/desk/look").text().contains("new: added"), "{}", opa.get("/desk/look").text());
    });
}

#[test]
fn what_is_changed_at_the_desk_is_in_answers_at_once() {
    on_both(|world| {
        world.add_account("keeper", Role::MirrorAdmin, Some("a"));
        let keeper = Person::signed_in(world, "keeper");
        let host = world.host_row("a");
        let path = format!("/desk/hosts/{}", host.id.0);
        assert!(world.is_listed("a"));
        keeper.done(&format!("{path}/drain"), &[("drained", "on")]);
        println!("drained after {:?}", wait(SOON, "drained", || !world.is_listed("a")));
        keeper.done(&format!("{path}/drain"), &[("drained", "")]);
        wait(SOON, "offered again", || world.is_listed("a"));
        let opt_in = world.database.read(|it| host_category::list(it, host.id)).unwrap().remove(0).0.id.0;
        let opt_in = format!("{path}/opt-in/{opt_in}");
        keeper.done(&format!("{opt_in}/drain"), &[("drained", "on")]);
        println!("drained for one category after {:?}", wait(SOON, "drained", || !world.is_listed("a")));
        assert!(keeper.get(&path).text().contains("no client is sent there for it"));
        keeper.done(&format!("{opt_in}/drain"), &[("drained", "")]);
        wait(SOON, "offered again", || world.is_listed("a"));
        keeper.done(&format!("{opt_in}/remove"), &[]);
        println!("opted out after {:?}", wait(SOON, "opted out", || !world.is_listed("a")));
    });
}

#[test]
fn sessions_cannot_be_made_up_kept_or_given_away() {
    on_both(|world| {
        world.add_account("ann", Role::MirrorAdmin, Some("a"));
        let forms = [("name", "ann"), ("password", PASSWORD)];
        // Fixation: what the browser says before it signs in is not what it is then known by.
        let victim = Person::new(world);
        *victim.cookie.borrow_mut() = format!("__Host-portolan={}", "0".repeat(64));
        assert_eq!(victim.fill("/sign-in", &forms).status, 303);
        assert!(!victim.cookie.borrow().contains("0000000000"));
        let fixed = Person::new(world);
        *fixed.cookie.borrow_mut() = format!("__Host-portolan={}", "0".repeat(64));
        assert_eq!(fixed.get("/desk").header("location"), "/sign-in");

        let stolen = victim.cookie.borrow().clone();
        let thief = Person { world, cookie: RefCell::new(stolen) };
        assert_eq!(thief.get("/desk").status, 200);
        let answer = victim.post("/sign-out", &[]);
        assert!(answer.header("set-cookie").contains("Max-Age=0"), "{}", answer.header("set-cookie"));
        assert_eq!(thief.get("/desk").status, 303, "signed out is signed out");

        let (one, other) = (Person::signed_in(world, "ann"), Person::signed_in(world, "ann"));
        let wrong = one.refused(
            "/desk/account/password",
            &[("password", "nonsense"), ("new_password", "another long one")],
        );
        assert!(wrong.text().contains("it is wrong"));
        let new = [("password", PASSWORD), ("new_password", "another long one")];
        assert_eq!(one.post("/desk/account/password", &new).header("location"), "/sign-in");
        assert_eq!(other.get("/desk").status, 303, "another password ends all sessions");
        assert_eq!(Person::new(world).fill("/sign-in", &forms).status, 422);
        let forms = [("name", "ann"), ("password", "another long one")];
        assert_eq!(Person::new(world).fill("/sign-in", &forms).status, 303);
    });
}

#[test]
fn forms_of_others_are_not_taken() {
    on_both(|world| {
        world.add_account("ann", Role::MirrorAdmin, Some("a"));
        world.add_account("bob", Role::MirrorAdmin, Some("b"));
        let (ann, bob) = (Person::signed_in(world, "ann"), Person::signed_in(world, "bob"));
        let (a, b) = (world.host_row("a"), world.host_row("b"));
        let drain = format!("/desk/hosts/{}/drain", a.id.0);
        let seal = ann.seal();
        let body = encode(&[("seal", &seal), ("drained", "on")]);
        let own = world.http.url.clone();
        for (headers, seal) in [
            (vec![("origin", "https://evil.example")], &seal),
            (vec![("origin", "null")], &seal),
            (vec![("origin", &*own), ("sec-fetch-site", "cross-site")], &seal),
            (vec![], &seal),
            (vec![("origin", &*own)], &bob.seal()),
            (vec![("origin", &*own)], &String::new()),
        ] {
            let body = encode(&[("seal", seal), ("drained", "on")]);
            let answer = ann.send(Method::POST, &drain, &headers, &body);
            assert_eq!(answer.status, 403, "{headers:?}");
        }
        assert!(!world.host_row("a").drained);
        assert_eq!(ann.send(Method::POST, &drain, &[("sec-fetch-site", "same-origin")], &body).status, 303);
        let cross = ann.send(
            Method::POST,
            "/sign-in",
            &[("origin", "https://evil.example")],
            &encode(&[("name", "ann"), ("password", PASSWORD)]),
        );
        assert_eq!(cross.status, 403, "nobody is signed in by others");

        // Things of one host under the path of another.
        let network = "198.18.9.0/24".parse().unwrap();
        let add = |it: &mut Connection| host_netblock::insert(it, b.id, &network, "");
        let row = world.database.write(Part::Hosts, add).unwrap();
        let answer = ann.post(&format!("/desk/hosts/{}/netblocks/{}/remove", a.id.0, row.id), &[]);
        assert_eq!(answer.status, 404);
        let opt_in = world.database.read(|it| host_category::list(it, b.id)).unwrap().remove(0).0.id.0;
        assert_eq!(ann.post(&format!("/desk/hosts/{}/opt-in/{opt_in}/remove", a.id.0), &[]).status, 404);
        assert_eq!(world.database.read(|it| host_netblock::list(it, b.id)).unwrap().len(), 1);

        // What no form offers.
        for (path, field) in [
            (format!("/desk/hosts/{}/edit", a.id.0), "admin_active"),
            (format!("/desk/hosts/{}/edit", a.id.0), "kind"),
            (format!("/desk/hosts/{}/edit", a.id.0), "site_id"),
            (format!("/desk/sites/{}/edit", a.site_id.0), "admin_active"),
            ("/desk/account/mail".to_owned(), "role"),
        ] {
            let answer = ann.refused(&path, &[(field, "operator"), ("name", "a")]);
            assert!(answer.text().contains(&format!("no field &#34;{field}&#34;")), "{}", answer.text());
        }
        let huge = "x".repeat(1_000_000);
        assert_eq!(ann.post("/desk/sites", &[("name", &huge)]).status, 413);
        assert_eq!(world.http.send(Method::PUT, "/desk", &[]).status, 405);
    });
}

#[test]
fn markup_is_never_more_than_text() {
    on_both(|world| {
        world.add_account("ann", Role::MirrorAdmin, Some("a"));
        world.add_account("opa", Role::Operator, None);
        let (ann, opa) = (Person::signed_in(world, "ann"), Person::signed_in(world, "opa"));
        let host = world.host_row("a");
        let (host_path, site_path) =
            (format!("/desk/hosts/{}", host.id.0), format!("/desk/sites/{}", host.site_id.0));
        let markup = "<script>alert(1)</script>\"'&{{1111*1111}}";
        let edit = [
            ("name", "a"),
            ("country", "DE"),
            ("user_active", "on"),
            ("comment", markup),
            ("contacts", "a+<b>@example.org"),
        ];
        ann.refused(&format!("{host_path}/edit"), &edit);
        ann.done(&format!("{host_path}/edit"), &edit[..4]);
        ann.done(&format!("{site_path}/edit"), &[("name", markup), ("user_active", "on")]);
        for (path, field) in [
            ("/desk/mirrors".to_owned(), "url"),
            ("/desk/mirrors".to_owned(), "country"),
            ("/desk/sites".to_owned(), "name"),
            (format!("{site_path}/hosts"), "name"),
            (format!("{site_path}/keepers"), "name"),
            (format!("{host_path}/opt-in"), "urls"),
            (format!("{host_path}/netblocks"), "netblock"),
            (format!("{host_path}/peers"), "asn"),
            (format!("{host_path}/asn"), "asn"),
            (format!("{host_path}/tokens"), "days"),
            ("/desk/account/mail".to_owned(), "mail"),
            ("/desk/account/erase".to_owned(), "name"),
        ] {
            let answer = ann.post(&path, &[(field, markup)]);
            assert!([303, 422].contains(&answer.status), "{path}: {}", answer.status);
            check(&answer);
        }
        opa.done(
            "/desk/withdrawals",
            &[("digest", &format!("sha256:{}", "1".repeat(64))), ("reason", markup)],
        );
        let wrong = Person::new(world).fill("/sign-in", &[("name", markup), ("password", markup)]);
        check(&wrong);
        for path in [&*host_path, &site_path, "/desk", "/desk/account"] {
            check(&ann.get(path));
        }
        for path in [
            "/desk/all",
            "/desk/look",
            "/desk/log",
            "/desk/accounts",
            "/desk/accounts/ann",
            "/desk/withdrawals",
            "/desk/approvals",
            "/desk/settings",
            "/desk/all?q=%3Cscript%3E",
        ] {
            check(&opa.get(path));
        }
        assert!(opa.get("/desk/log").text().contains("&#60;script&#62;"));
        for path in ["/mirrors", "/mirrors/a", "/?done=<script>", "/desk?done=<script>"] {
            check(&ann.get(path));
        }
    });
}

#[track_caller]
fn check(answer: &Answer) {
    let text = answer.text();
    assert!(!text.contains("<script") && !text.contains("style=") && !text.contains("1234321"), "{text}");
    if answer.status != 303 {
        assert!(answer.header("content-security-policy").starts_with("default-src 'none'"));
    }
}

#[test]
fn nobody_learns_who_has_an_account_or_tries_for_long() {
    on_both(|world| {
        world.add_account("ann", Role::MirrorAdmin, None);
        let attempt = |name: &str, network: u32| {
            let body = encode(&[("name", name), ("password", "wrong password")]);
            let address = format!("198.18.{network}.9");
            let headers = [
                ("origin", world.http.url.as_str()),
                ("x-forwarded-for", &address),
                ("x-forwarded-proto", "https"),
            ];
            // The proxy says https, and so does the page.
            let own = world.http.url.replace("http://", "https://");
            let headers = [("origin", own.as_str()), headers[1], headers[2]];
            Person::new(world).send(Method::POST, "/sign-in", &headers, &body)
        };
        let (known, unknown) = (attempt("ann", 1), attempt("bob", 2));
        assert_eq!((known.status, unknown.status), (422, 422));
        assert_eq!(known.text().replace("ann", "NAME"), unknown.text().replace("bob", "NAME"));
        // Others are not locked out.
        let answers: Vec<u16> = (0..15).map(|_| attempt("ann", 1).status).collect();
        assert_eq!(answers.iter().filter(|it| **it == 422).count(), 9, "{answers:?}");
        assert_eq!(answers.last(), Some(&429));
        assert_eq!(attempt("ann", 3).status, 422);
        let open = world.http.get_as("198.18.77.9", "/sign-in", &[("x-forwarded-proto", "http")]);
        assert_eq!(open.status, 403, "a password over an open network");
        assert!(open.text().contains("HTTPS"), "{}", open.text());
    });
}

#[test]
fn nobody_gets_what_is_others_or_what_only_operators_give() {
    on_both(|world| {
        for name in ["eve", "bob"] {
            world.add_account(name, Role::MirrorAdmin, None);
        }
        world.add_account("opa", Role::Operator, None);
        let [eve, bob, opa] = ["eve", "bob", "opa"].map(|it| Person::signed_in(world, it));
        // Who is made a keeper by a stranger registers nothing in the stranger's site.
        let trap = eve.done("/desk/sites", &[("name", "00-trap")]);
        eve.done(&format!("{trap}/keepers"), &[("name", "bob")]);
        let fields = [("url", "https://bob.example./fedora"), ("category", "fedora"), ("country", "DE")];
        let path = bob.done("/desk/mirrors", &fields);
        let path = path.strip_suffix("/crawl").unwrap();
        let host = world.host_row("bob.example");
        assert_eq!(eve.get(path).status, 404);

        // A network that is everywhere stays with a host that is private.
        let edit = |private: &[(&str, &str)]| {
            let fields = [("name", "bob.example"), ("country", "DE"), ("user_active", "on")];
            bob.post(&format!("{path}/edit"), &[&fields[..], private].concat()).status
        };
        assert_eq!(edit(&[("private", "on")]), 303);
        bob.done(&format!("{path}/netblocks"), &[("netblock", "10.1.0.0/16")]);
        bob.done(&format!("{path}/netblocks"), &[("netblock", "10.0.0.0/8")]);
        assert_eq!(edit(&[]), 422);
        let row = world.database.read(|it| host_netblock::list(it, host.id)).unwrap().remove(0);
        bob.done(&format!("{path}/netblocks/{}/remove", row.id), &[]);
        assert_eq!(edit(&[]), 303);
        let wish = world.database.read(|it| approval::list(it, 9)).unwrap().remove(0).0.id;
        opa.done(&format!("/desk/approvals/{wish}"), &[("granted", "on")]);
        assert_eq!(world.database.read(|it| host_netblock::list(it, host.id)).unwrap(), []);

        // Who was switched off does not come back as new.
        let off = [("kind", "static"), ("name", "bob.example"), ("user_active", "on")];
        opa.done(&format!("{path}/edit"), &off);
        let told = bob.refused(&format!("{path}/remove"), &[("name", "bob.example")]);
        assert!(told.text().contains("Operators have switched this off"), "{}", told.text());
        let rename = [("name", "bob2.example"), ("country", "DE"), ("user_active", "on")];
        bob.refused(&format!("{path}/edit"), &rename);
        assert!(!world.host_row("bob.example").admin_active);
    });
}

#[test]
fn an_account_takes_its_data_away_and_is_erased() {
    on_both(|world| {
        world.add_account("ann", Role::MirrorAdmin, Some("a"));
        let ann = Person::signed_in(world, "ann");
        ann.done("/desk/account/mail", &[("mail", "ann@example.org")]);
        let host = world.host_row("a");
        ann.done(&format!("/desk/hosts/{}/drain", host.id.0), &[("drained", "on")]);
        let page = ann.get("/desk/account");
        for part in ["ann@example.org", "&#34;drained", "&#34;sites&#34;"] {
            assert!(page.text().contains(part), "{part} is not in {}", page.text());
        }
        ann.refused("/desk/account/erase", &[("name", "bob")]);
        assert_eq!(ann.post("/desk/account/erase", &[("name", "ann")]).status, 303);
        assert_eq!(ann.get("/desk").header("location"), "/sign-in");
        let log = world.database.read(|it| audit::list(it, &audit::Filter::default(), 99)).unwrap();
        assert!(log.iter().any(|it| it.actor == audit::ERASED));
        assert!(!format!("{log:?}").contains("ann"), "{log:#?}");
        assert_eq!(world.database.read(account::list).unwrap(), []);
        world.add_account("opa", Role::Operator, None);
        let opa = Person::signed_in(world, "opa");
        let last = opa.refused("/desk/account/erase", &[("name", "opa")]);
        assert!(last.text().contains("last operator"), "{}", last.text());
        let own = opa.refused("/desk/accounts/opa", &[("role", "reader"), ("active", "on")]);
        assert!(own.text().contains("Another operator"), "{}", own.text());
    });
}

#[test]
fn what_is_too_old_goes_from_the_log_of_changes() {
    for engine in ENGINES {
        let World { server, database, folder, .. } = World::new(engine, |_| {});
        drop(server);
        let days_ago =
            |days: i64| (jiff::Timestamp::now() - jiff::SignedDuration::from_hours(days * 24)).into();
        let note = |it: &mut Connection| {
            let host = audit::Subject::Host(host::list(it)?[0].id);
            [32, 31, 29].iter().try_for_each(|days| audit::note_new(it, "ann", host, days_ago(*days)))
        };
        database.write_log(note).unwrap();
        let mut settings = settings(folder.path());
        settings.accounts.log = jiff::SignedDuration::from_hours(30 * 24);
        let _server = Server::start(settings, database.clone()).unwrap();
        let list = || database.read(|it| audit::list(it, &audit::Filter::default(), 9)).unwrap();
        let took = wait(std::time::Duration::from_secs(20), "cut", || list().len() == 1);
        println!("on {engine} it was cut after {took:?}");
        assert!(list()[0].happened_at > days_ago(30));
    }
}

/// What stands in the first column of all parts of a list, by its links to the next.
fn follow(person: &Person<'_>, path: &str) -> Vec<String> {
    let (mut found, mut next) = (Vec::new(), path.to_owned());
    for _ in 0..20 {
        let page = person.get(&next);
        assert_eq!(page.status, 200, "{next}: {}", page.text());
        let rows: Vec<_> = page.text().split("<tr><td>").skip(1).collect();
        assert!(rows.len() <= 100, "{next}: {} rows", rows.len());
        let name = |row: &&str| {
            let cell = row.split("</td>").next().unwrap().trim();
            cell.split_once("\">").map_or(cell, |it| it.1.split('<').next().unwrap()).to_owned()
        };
        found.extend(rows.iter().map(name));
        let is_part = next.contains("after=");
        assert_eq!(page.text().contains(">From the beginning</a>"), is_part, "{next}");
        match page.text().split("\">More</a>").next().filter(|it| it.len() < page.text().len()) {
            Some(before) => next = before.rsplit("href=\"").next().unwrap().replace("&#38;", "&"),
            None => return found,
        }
    }
    panic!("{path} has no end");
}

#[test]
fn no_page_of_operators_is_longer_than_people_read() {
    on_both(|world| {
        const MANY: usize = 250;
        world.add_account("opa", Role::Operator, None);
        let opa = Person::signed_in(world, "opa");
        let now = jiff::Timestamp::now().into();
        let add = |it: &mut Connection| {
            for number in 0..MANY {
                let name = format!("many{number:03}");
                let new = NewAccount {
                    name: name.parse().unwrap(),
                    mail: format!("{name}@example.org"),
                    password: None,
                    role: Role::Reader,
                    created_at: now,
                };
                account::insert(it, &new)?;
                let site = site::NewSite {
                    name: name.parse().unwrap(),
                    org_url: None,
                    private: false,
                    created_at: now,
                };
                let site = site::insert(it, &site)?;
                host::insert(
                    it,
                    &host::NewHost { site_id: site.id, ..new_host(&format!("{name}.example"), now) },
                )?;
            }
            Ok(())
        };
        world.database.write(Part::Hosts, add).unwrap();
        let names = |end: &str| -> BTreeSet<_> { (0..MANY).map(|it| format!("many{it:03}{end}")).collect() };
        for (path, expected) in
            [("/desk/all", names("")), ("/desk/look", names(".example")), ("/desk/accounts", names(""))]
        {
            let found = follow(&opa, path);
            assert!(found.is_sorted(), "{path}");
            let found: BTreeSet<_> = found.into_iter().filter(|it| it.starts_with("many")).collect();
            assert_eq!(found, expected, "{path}");
            let few = follow(&opa, &format!("{path}?q=MANY12"));
            assert_eq!(few.len(), 10, "{path}: {few:?}");
            assert!(follow(&opa, &format!("{path}?limit=9&q=many12")).len() == 10);
            assert_eq!(opa.get(&format!("{path}?limit=0")).status, 400);
        }
        assert_eq!(follow(&opa, "/desk/accounts?q=many120@"), ["many120"], "by mail");
        assert_eq!(follow(&opa, "/desk/all?q=many120.ex"), ["many120"], "by a host");
    });
}

fn new_host(name: &str, created_at: portolan::database::Time) -> host::NewHost {
    host::NewHost {
        site_id: portolan::mirror::SiteId(0),
        name: name.parse().unwrap(),
        country: None,
        latitude: None,
        longitude: None,
        asn: None,
        asn_clients: true,
        bandwidth: None,
        private: false,
        contacts: String::new(),
        kind: portolan::mirror::HostKind::Static,
        client_share: None,
        daily_bytes: None,
        max_file_size: None,
        comment: String::new(),
        created_at,
    }
}

#[test]
fn operators_see_whose_tokens_there_are_and_take_them_away() {
    on_both(|world| {
        world.add_account("ann", Role::MirrorAdmin, Some("a"));
        world.add_account("opa", Role::Operator, None);
        let (ann, opa) = (Person::signed_in(world, "ann"), Person::signed_in(world, "opa"));
        assert!(opa.get("/desk/accounts/ann").text().contains("It has none."));
        let new = [("name", "ci of ann"), ("scopes", "read mirrors"), ("host", "a"), ("days", "30")];
        let made = ann.post("/desk/account/tokens", &new);
        let token = made.text().split("<code>").nth(1).unwrap().split('<').next().unwrap().to_owned();
        let bearer = format!("Bearer {token}");
        let path = format!("/api/v1/hosts/{}", world.host_row("a").id.0);
        let ask = || world.http.get(&path, &[("authorization", &bearer)]).status;
        assert_eq!(ask(), 200);
        let page = opa.get("/desk/accounts/ann");
        for part in ["ci of ann", "read mirrors", "<td>a</td>", "It is linked with nobody."] {
            assert!(page.text().contains(part), "{part} is not in {}", page.text());
        }
        assert!(!page.text().contains(&token));
        let form = page.text().split("/desk/account-tokens/").nth(1).unwrap();
        let path = format!("/desk/account-tokens/{}", form.split('"').next().unwrap());
        assert_eq!(ann.post(&path, &[]).status, 403);
        assert_eq!(opa.done(&path, &[]), "/desk/accounts/ann");
        assert_eq!(ask(), 401, "of no use at once");
        assert_eq!(opa.post(&path, &[]).status, 404, "it is gone");
        let log = world.database.read(|it| audit::list(it, &audit::Filter::default(), 2)).unwrap();
        let told: Vec<_> = log
            .iter()
            .map(|it| (&*it.actor, it.before_change.as_deref(), it.after_change.as_deref()))
            .collect();
        let tokens = Some(r#"{"tokens":["ci of ann: read mirrors for a"]}"#);
        let none = Some(r#"{"tokens":[]}"#);
        assert_eq!(told, [("opa", tokens, none), ("ann", none, tokens)], "{log:#?}");
        assert!(!format!("{log:?}").contains(&token));
    });
}

#[test]
fn operators_see_how_the_server_is_set_up_and_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("portolan.toml");
    let text = r#"
        [database]
        url = "postgres://portolan:s3cr3t@db.example/portolan"
        [origin]
        url = "https://origin.example"
        username = "s3cr3t"
        password = "s3cr3t"
        [hooks]
        token = "s3cr3t-s3cr3t-s3cr3t"
        [bus]
        url = "amqps://s3cr3t:s3cr3t@bus.example/s3cr3t"
        [notice]
        mail_server = "smtps://s3cr3t:s3cr3t@mail.example"
        webhook = "https://hook.example/services/s3cr3t"
        [[listen]]
        address = "127.0.0.1:5000"
    "#;
    std::fs::write(&path, text).unwrap();
    let config = portolan::config::Config::load(Some(&path), |_| None).unwrap();
    on_both_with(
        |settings| settings.seen = config.seen(),
        |world| {
            world.add_account("opa", Role::Operator, None);
            let opa = Person::signed_in(world, "opa");
            let page = opa.get("/desk/settings");
            let api = Program::with(world, "opa", "operator").get("/settings");
            for answer in [page.text(), &api.to_string()] {
                assert!(!answer.contains("s3cr3t"), "{answer}");
                for part in [env!("CARGO_PKG_VERSION"), path.to_str().unwrap(), "db.example", "(hidden)"] {
                    assert!(answer.contains(part), "{part} is not in {answer}");
                }
            }
            for part in
                ["<td>[[listen]] 1</td><td>address</td>", "content 0 seconds", "<td>repeat.window</td>"]
            {
                assert!(page.text().contains(part), "{part} is not in {}", page.text());
            }
            assert_eq!((&api["database"], &api["settings"]["serve"]["workers"]), (&"up".into(), &0.into()));
            assert!(api["parts"]["hosts"]["age_seconds"].as_u64() < Some(60), "{api}");
        },
    );
}

#[test]
fn without_a_database_nothing_is_changed_and_the_page_says_so() {
    let world = World::new("sqlite", |_| {});
    world.add_account("ann", Role::MirrorAdmin, Some("a"));
    let cookie = Person::signed_in(&world, "ann").cookie.take();
    let World { server, database, folder, images, .. } = world;
    drop(server);
    let server = Server::start(settings(folder.path()), unreachable(&database, folder.path())).unwrap();
    let http = crate::http::Http::new(&server.addresses);
    let world = World { http, server, database, images, folder };
    let ann = Person { world: &world, cookie: RefCell::new(cookie) };
    for answer in [ann.get("/desk"), ann.fill("/sign-in", &[("name", "ann"), ("password", PASSWORD)])] {
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert!(answer.text().contains("Nothing was changed"), "{}", answer.text());
    }
    assert_eq!(ann.get("/mirrors").status, 200);
}
