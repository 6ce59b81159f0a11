//! Who signs in at a provider of OpenID Connect, and what a stranger cannot make of it. The provider here says what a test
//! wants; a real one is asked in `tests/e2e`.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    sync::{Arc, Mutex},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use diesel::connection::SimpleConnection as _;
use portolan::{
    connector::oidc::OidcConfig,
    database::{
        account::{self, AccountChange, NewAccount},
        audit::{self, Filter},
        host, identity, secret,
    },
    mirror::Role,
    server::Settings,
};
use reqwest::Method;
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use serde_json::{Value, json};

use crate::{
    http::{Answer, new_client},
    world::{World, on_both_with},
};

const PASSWORD: &str = "correct horse battery";

/// The address that people know.
const PUBLIC: &str = "https://registry.test";

/// What somebody at the provider is, by the code that their browser brings.
type People = Arc<Mutex<BTreeMap<String, Value>>>;

/// A provider on loopback.
struct Provider {
    url: String,
    people: People,
    /// A code is good again and again, against all rules.
    careless: Arc<Mutex<bool>>,
}

impl Provider {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (people, careless) = (People::default(), Arc::new(Mutex::new(false)));
        let (random, algorithm) = (SystemRandom::new(), &ECDSA_P256_SHA256_FIXED_SIGNING);
        let key = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(algorithm, key.as_ref(), &random).unwrap();
        let answers = (url.clone(), people.clone(), careless.clone());
        // Ends with the test's process.
        std::thread::spawn(move || {
            let (url, people, careless) = answers;
            for stream in listener.incoming() {
                let mut stream = BufReader::new(stream.unwrap());
                let (mut line, mut length) = (String::new(), 0);
                stream.read_line(&mut line).unwrap();
                loop {
                    let mut header = String::new();
                    stream.read_line(&mut header).unwrap();
                    match header.to_lowercase().trim().split_once(": ") {
                        Some(("content-length", value)) => length = value.parse().unwrap(),
                        Some(_) => {}
                        None => break,
                    }
                }
                let mut body = vec![0; length];
                stream.read_exact(&mut body).unwrap();
                let path = line.split(' ').nth(1).unwrap_or_default();
                let (status, json) = match path {
                    "/.well-known/openid-configuration" => (200, discovery(&url)),
                    "/keys" => (200, json!({"keys": [jwk(&key)]})),
                    "/token" => {
                        let form: BTreeMap<_, _> = url::form_urlencoded::parse(&body).into_owned().collect();
                        let mut people = people.lock().unwrap();
                        let is_careless = *careless.lock().unwrap();
                        let found = people.get(&form["code"]).cloned();
                        if !is_careless {
                            people.remove(&form["code"]);
                        }
                        match found {
                            Some(claims) => {
                                (200, json!({"access_token": "a", "id_token": sign(&key, &claims)}))
                            }
                            None => (400, json!({"error": "invalid_grant"})),
                        }
                    }
                    _ => (404, json!({})),
                };
                let json = json.to_string();
                let length = json.len();
                let head =
                    format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
                stream.get_mut().write_all(format!("{head}{json}").as_bytes()).unwrap();
            }
        });
        Self { url, people, careless }
    }

    fn configure(&self, settings: &mut Settings, change: impl Fn(&mut OidcConfig)) {
        let oidc = &mut settings.accounts.oidc;
        oidc.issuer = self.url.clone();
        oidc.public_url = PUBLIC.to_owned();
        oidc.client_id = "portolan".to_owned();
        oidc.name = "Example account".to_owned();
        oidc.sign_up = true;
        change(oidc);
    }
}

fn discovery(url: &str) -> Value {
    json!({
        "issuer": url,
        "authorization_endpoint": format!("{url}/auth"),
        "token_endpoint": format!("{url}/token"),
        "jwks_uri": format!("{url}/keys"),
    })
}

fn jwk(key: &EcdsaKeyPair) -> Value {
    let point = key.public_key().as_ref();
    json!({"kty": "EC", "crv": "P-256", "x": encode(&point[1..33]), "y": encode(&point[33..])})
}

fn sign(key: &EcdsaKeyPair, claims: &Value) -> String {
    let text = format!("{}.{}", encode(br#"{"alg":"ES256"}"#), encode(claims.to_string().as_bytes()));
    let signature = key.sign(&SystemRandom::new(), text.as_bytes()).unwrap();
    format!("{text}.{}", encode(signature.as_ref()))
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A browser of its own, in a network of its own.
struct Browser<'a> {
    world: &'a World,
    network: String,
    cookies: RefCell<BTreeMap<String, String>>,
}

impl<'a> Browser<'a> {
    fn new(world: &'a World) -> Self {
        Self { world, network: new_client(), cookies: RefCell::default() }
    }

    fn send(&self, method: Method, path: &str, host: &str, origin: &str, body: &str) -> Answer {
        let cookies: Vec<_> =
            self.cookies.borrow().iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookies = cookies.join("; ");
        let headers = [
            ("cookie", cookies.as_str()),
            ("x-forwarded-for", &self.network),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", host),
            ("origin", origin),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        let answer = self.world.http.send_body(method, path, &headers, body);
        for set in answer.all("set-cookie") {
            for part in ["__Host-", "HttpOnly", "Secure", "SameSite=Lax", "Path=/"] {
                assert!(set.contains(part), "{set}");
            }
            let (name, value) = set.split(';').next().unwrap().split_once('=').unwrap();
            if value.is_empty() {
                self.cookies.borrow_mut().remove(name);
            } else {
                self.cookies.borrow_mut().insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }

    fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, "registry.test", "", "")
    }

    fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.send(Method::POST, path, "registry.test", PUBLIC, &body)
    }

    /// Where the provider is asked to send somebody back with, from a page that goes there.
    #[track_caller]
    fn departs(&self, page: &Answer) -> BTreeMap<String, String> {
        assert_eq!(page.status, 200, "{}", page.text());
        let url = page.header("refresh").strip_prefix("0; url=").unwrap_or_else(|| panic!("{page:?}"));
        let url: url::Url = url.parse().unwrap();
        assert!(url.path() == "/auth" && page.text().contains("Go on"), "{url}");
        url.query_pairs().into_owned().collect()
    }

    #[track_caller]
    fn departs_to_sign_in(&self) -> BTreeMap<String, String> {
        self.departs(&self.post("/sign-in/oidc", &[]))
    }

    fn lands(&self, code: &str, state: &str) -> Answer {
        self.get(&format!("/sign-in/oidc/callback?code={code}&state={state}"))
    }

    /// The whole way, as this person.
    fn signs_in(&self, provider: &Provider, subject: &str, name: &str, groups: &[&str]) -> Answer {
        let asked = self.departs_to_sign_in();
        provider.knows(&asked, subject, name, groups);
        self.lands(subject, &asked["state"])
    }

    fn links(&self, provider: &Provider, subject: &str, name: &str) -> Answer {
        let asked = self.departs(
            &self.post("/desk/account/identities", &[("seal", &self.seal()), ("password", PASSWORD)]),
        );
        provider.knows(&asked, subject, name, &[]);
        self.lands(subject, &asked["state"])
    }

    /// By password.
    fn signs_in_here(&self, name: &str) {
        let answer = self.post("/sign-in", &[("name", name), ("password", PASSWORD)]);
        assert_eq!(answer.header("location"), "/desk", "{}", answer.text());
    }

    fn seal(&self) -> String {
        let page = self.get("/desk/account");
        let text = page.text().split_once("name=\"seal\" value=\"").map(|it| it.1).unwrap_or_default();
        text.split('"').next().unwrap_or_default().to_owned()
    }

    /// Who is signed in; empty if nobody is.
    fn name(&self) -> String {
        let page = self.get("/desk/account");
        let text = page.text().split_once("<dt>Name</dt><dd>").map(|it| it.1).unwrap_or_default();
        text.split('<').next().unwrap_or_default().to_owned()
    }
}

impl Provider {
    /// Somebody has signed in there; the code is their subject.
    fn knows(&self, asked: &BTreeMap<String, String>, subject: &str, name: &str, groups: &[&str]) {
        let now = jiff::Timestamp::now().as_second();
        let claims = json!({
            "iss": self.url, "sub": subject, "aud": "portolan", "exp": now + 300, "iat": now,
            "nonce": asked["nonce"], "preferred_username": name, "groups": groups,
        });
        self.people.lock().unwrap().insert(subject.to_owned(), claims);
    }
}

fn on_both(change: impl Fn(&mut OidcConfig) + Copy, story: impl Fn(&World, &Provider)) {
    let provider = Provider::start();
    on_both_with(|it| provider.configure(it, change), |world| story(world, &provider));
}

fn add_account(world: &World, name: &str) -> account::Account {
    let new = NewAccount {
        name: name.parse().unwrap(),
        mail: String::new(),
        password: Some(secret::hash_password(PASSWORD).unwrap()),
        role: Role::MirrorAdmin,
        created_at: jiff::Timestamp::now().into(),
    };
    world.database.write_log(|it| account::insert(it, &new)).unwrap()
}

fn role(world: &World, name: &str) -> Role {
    world.database.read(|it| account::find(it, &name.parse().unwrap())).unwrap().unwrap().role
}

/// Is refused with these words, and nobody is signed in.
#[track_caller]
fn assert_refused(browser: &Browser<'_>, answer: &Answer, words: &str) {
    assert_eq!(answer.status, 422, "{}", answer.text());
    assert!(answer.text().contains("role=\"alert\"") && answer.text().contains(words), "{}", answer.text());
    assert_eq!(browser.name(), "");
}

#[test]
fn somebody_signs_in_and_is_the_same_the_next_time() {
    on_both(
        |_| (),
        |world, provider| {
            let page = Browser::new(world).get("/sign-in");
            assert!(page.text().contains("Sign in with Example account"), "{}", page.text());
            add_account(world, "ann");
            let ann = Browser::new(world);
            let landed = ann.signs_in(provider, "1", "Ann", &["x"]);
            assert_eq!((landed.status, landed.header("location")), (303, "/desk"), "{}", landed.text());
            assert_eq!(ann.name(), "ann-2", "an equal name takes nothing over");
            assert_eq!(
                ann.cookies.borrow().keys().collect::<Vec<_>>(),
                ["__Host-portolan"],
                "the flight is forgotten"
            );
            let again = Browser::new(world);
            again.signs_in(provider, "1", "renamed", &[]);
            assert_eq!(again.name(), "ann-2");
            let other = Browser::new(world);
            other.signs_in(provider, "2", "ann", &[]);
            assert_eq!(other.name(), "ann-3");
            let page = other.get("/desk/account");
            assert!(!page.text().contains("Your password now"), "there is none to change");
            for part in ["&#34;subject&#34;: &#34;2&#34;", "Remove the link"] {
                assert!(page.text().contains(part), "{part} is not in {}", page.text());
            }
            let log = world.database.read(|it| audit::list(it, &Filter::default(), 99)).unwrap();
            let made = log.iter().find(|it| it.subject_name == "ann-2").unwrap();
            let after = made.after_change.as_ref().unwrap();
            assert!(made.actor == "ann-2" && after.contains(&format!("1 at {}", provider.url)), "{made:?}");

            let seal = other.seal();
            let erased = other.post("/desk/account/erase", &[("seal", &seal), ("name", "ann-3")]);
            assert_eq!(erased.header("location"), "/sign-in", "{}", erased.text());
            assert_eq!(world.database.read(|it| identity::find(it, &provider.url, "2")).unwrap(), None);
            assert!(
                !format!("{:?}", world.database.read(|it| audit::list(it, &Filter::default(), 99)))
                    .contains("ann-3")
            );

            let name = "ann-2".parse().unwrap();
            let id = world.database.read(|it| account::find(it, &name)).unwrap().unwrap().id;
            let off = AccountChange { active: Some(false), ..AccountChange::default() };
            world.database.write_log(|it| account::update(it, id, &off)).unwrap();
            let refused = Browser::new(world);
            let landed = refused.signs_in(provider, "1", "ann", &[]);
            assert_refused(&refused, &landed, "Your account ann-2 is switched off");
        },
    );
}

#[test]
fn what_was_not_asked_for_in_this_browser_is_refused() {
    on_both(
        |_| (),
        |world, provider| {
            let here = "not begun in this browser";
            // Login CSRF: the way of an attacker, ended in the browser of a victim.
            let (attacker, victim) = (Browser::new(world), Browser::new(world));
            let asked = attacker.departs_to_sign_in();
            provider.knows(&asked, "666", "mallory", &[]);
            assert_refused(&victim, &victim.lands("666", &asked["state"]), here);
            let own = victim.departs_to_sign_in();
            assert_refused(&victim, &victim.lands("666", &asked["state"]), here);
            assert!(victim.cookies.borrow().is_empty(), "the flight is over, however it ended");
            assert_refused(&victim, &victim.lands("666", &own["state"]), here);
            // A code of another sign-in has another nonce.
            let own = victim.departs_to_sign_in();
            assert_refused(&victim, &victim.lands("666", &own["state"]), "does not hold");
            let own = victim.departs_to_sign_in();
            assert_refused(&victim, &victim.lands("no-such", &own["state"]), "used already");
            for query in ["", "?state=", "?code=1", "?code=&state=", "?state=%00&code=1"] {
                let answer = victim.get(&format!("/sign-in/oidc/callback{query}"));
                assert_refused(&victim, &answer, here);
            }
            let own = victim.departs_to_sign_in();
            let denied = victim.get(&format!(
                "/sign-in/oidc/callback?error=access_denied&error_description=%3Cb%3Ecall+us&state={}",
                own["state"]
            ));
            assert_refused(&victim, &denied, "was not allowed to tell");
            assert!(!denied.text().contains("call us"), "no words of strangers");
            let own = victim.departs_to_sign_in();
            let foreign =
                format!("/sign-in/oidc/callback?code=1&state={}&iss=https://evil.test", own["state"]);
            assert_refused(&victim, &victim.get(&foreign), "does not hold");

            // No other site's page begins it, and no Host header says where it ends.
            let foreign =
                victim.send(Method::POST, "/sign-in/oidc", "registry.test", "https://evil.test", "");
            assert_eq!(foreign.status, 403);
            assert_eq!(victim.get("/sign-in/oidc").status, 405);
            let fresh = Browser::new(world);
            assert_eq!(fresh.departs_to_sign_in()["redirect_uri"], format!("{PUBLIC}/sign-in/oidc/callback"));
            let away = fresh.send(Method::POST, "/sign-in/oidc", "evil.test", "https://evil.test", "");
            assert!(away.headers.get("refresh").is_none(), "{away:?}");
            assert!(away.text().contains("href=\"https://registry.test/sign-in\""), "{}", away.text());
            let tries = (0..50).filter(|_| fresh.post("/sign-in/oidc", &[]).status == 200).count();
            assert!(tries < 20, "{tries} in a row");
        },
    );
}

#[test]
fn an_answer_is_good_once_and_begins_a_session_of_its_own() {
    on_both(
        |_| (),
        |world, provider| {
            *provider.careless.lock().unwrap() = true;
            let ann = Browser::new(world);
            // Fixation: what the browser says before is not what it is known by then.
            let fixed = "0".repeat(64);
            ann.cookies.borrow_mut().insert("__Host-portolan".to_owned(), fixed.clone());
            let asked = ann.departs_to_sign_in();
            let before = ann.cookies.borrow().clone();
            provider.knows(&asked, "1", "ann", &[]);
            assert_eq!(ann.lands("1", &asked["state"]).status, 303);
            assert_ne!(ann.cookies.borrow()["__Host-portolan"], fixed);
            // The whole request again, cookies and all, at a provider that gives tokens twice.
            let replay = Browser::new(world);
            *replay.cookies.borrow_mut() = before;
            assert_refused(&replay, &replay.lands("1", &asked["state"]), "This was used already");
        },
    );
}

#[test]
fn an_account_is_linked_in_its_own_session_only() {
    on_both(
        |it| it.sign_up = false,
        |world, provider| {
            let stranger = Browser::new(world);
            let landed = stranger.signs_in(provider, "1", "ann", &[]);
            assert_refused(&stranger, &landed, "You have no account here yet");
            add_account(world, "ann");
            add_account(world, "bob");
            let ann = Browser::new(world);
            ann.signs_in_here("ann");
            let old = ann.cookies.borrow()["__Host-portolan"].clone();
            // Begun in another session: of an attacker, or before somebody else has signed in.
            let wrong = ann.post("/desk/account/identities", &[("seal", &ann.seal()), ("password", "x")]);
            assert!(wrong.status == 422 && wrong.headers.get("refresh").is_none(), "{}", wrong.text());
            let fields = [("seal", &*ann.seal()), ("password", PASSWORD)];
            let asked = ann.departs(&ann.post("/desk/account/identities", &fields));
            let bob = Browser::new(world);
            bob.signs_in_here("bob");
            let flight = ann.cookies.borrow()["__Host-portolan-oidc"].clone();
            bob.cookies.borrow_mut().insert("__Host-portolan-oidc".to_owned(), flight);
            provider.knows(&asked, "1", "ann", &[]);
            assert_eq!(bob.lands("1", &asked["state"]).status, 422);
            assert_eq!(world.database.read(|it| identity::find(it, &provider.url, "1")).unwrap(), None);

            let landed = ann.links(provider, "1", "ann");
            assert_eq!(landed.header("location"), "/desk/account?done=linked", "{}", landed.text());
            assert_ne!(ann.cookies.borrow()["__Host-portolan"], old, "another session");
            let again = Browser::new(world);
            again.signs_in(provider, "1", "ann", &[]);
            assert_eq!(again.name(), "ann");
            let second = ann.links(provider, "2", "ann");
            assert!(second.text().contains("linked with another one there"), "{}", second.text());
            let taken = bob.links(provider, "1", "ann");
            assert!(
                taken.status == 422 && taken.text().contains("belongs to another account"),
                "{}",
                taken.text()
            );
            assert_eq!(bob.post("/desk/account/identities", &[("seal", "x")]).status, 403);

            let id = world.database.read(|it| identity::find(it, &provider.url, "1")).unwrap().unwrap().0.id;
            let path = format!("/desk/account/identities/{id}/remove");
            assert_eq!(bob.post(&path, &[("seal", &bob.seal())]).status, 404, "another one's");
            assert_eq!(ann.post(&path, &[("seal", &ann.seal())]).status, 303);
            let gone = Browser::new(world);
            assert_refused(&gone, &gone.signs_in(provider, "1", "ann", &[]), "no account here yet");
            let log = world.database.read(|it| audit::list(it, &Filter::default(), 99)).unwrap();
            assert_eq!(log.len(), 2, "{log:#?}");
            assert!(log.iter().all(|it| it.actor == "ann" && it.subject_name == "ann"), "{log:#?}");
        },
    );
}

#[test]
fn groups_there_make_operators_here_as_long_as_they_last() {
    on_both(
        |it| {
            it.sign_up = false;
            it.operators = vec!["sysadmin-mirrors".to_owned()];
        },
        |world, provider| {
            let opa = Browser::new(world);
            assert_eq!(opa.signs_in(provider, "1", "opa", &["x", "sysadmin-mirrors"]).status, 303);
            assert_eq!((opa.get("/desk/accounts").status, role(world, "opa")), (200, Role::Operator));
            let last = opa.post(&format!("/desk/account/identities/{}/remove", 1), &[("seal", &opa.seal())]);
            assert!(last.text().contains("has no password"), "{}", last.text());
            let again = Browser::new(world);
            assert_eq!(
                again.signs_in(provider, "1", "opa", &["x"]).status,
                303,
                "who has an account keeps it"
            );
            assert_eq!((again.get("/desk/accounts").status, role(world, "opa")), (403, Role::MirrorAdmin));
            assert_eq!(opa.name(), "", "the operator's session has ended");
            let log = world.database.read(|it| audit::list(it, &Filter::default(), 99)).unwrap();
            let roles: BTreeSet<_> =
                log.iter().filter(|it| it.actor == "oidc:sign-in").map(|it| &it.subject_name).collect();
            assert_eq!((log.len(), roles.len()), (3, 1), "{log:#?}");
            // Whom an operator has made one by hand stays one.
            let name = "opa".parse().unwrap();
            let id = world.database.read(|it| account::find(it, &name)).unwrap().unwrap().id;
            let change = AccountChange { role: Some(Role::Operator), ..AccountChange::default() };
            world.database.write_log(|it| account::update(it, id, &change)).unwrap();
            Browser::new(world).signs_in(provider, "1", "opa", &[]);
            assert_eq!(role(world, "opa"), Role::Operator);
        },
    );
}

#[test]
fn an_admin_of_mirrormanager_keeps_the_imported_site() {
    on_both(
        |it| {
            it.sign_up = false;
            it.own_imported = true;
        },
        |world, provider| {
            let site =
                world.database.read(|it| host::find(it, &"a".parse().unwrap())).unwrap().unwrap().site_id;
            let row = format!("INSERT INTO site_admin (site_id, username) VALUES ({}, 'ann')", site.0);
            world.database.write_log(|it| it.batch_execute(&row)).unwrap();
            let other = Browser::new(world);
            assert_refused(&other, &other.signs_in(provider, "2", "Ann", &[]), "no account here yet");
            let ann = Browser::new(world);
            assert_eq!(ann.signs_in(provider, "1", "ann", &[]).status, 303);
            assert_eq!(ann.get(&format!("/desk/sites/{}", site.0)).status, 200);
            let log = world.database.read(|it| audit::list(it, &Filter::default(), 99)).unwrap();
            assert!(log.iter().any(|it| it.actor == "oidc:sign-in" && it.subject == "site"), "{log:#?}");
        },
    );
    on_both(
        |_| (),
        |world, provider| {
            let site =
                world.database.read(|it| host::find(it, &"a".parse().unwrap())).unwrap().unwrap().site_id;
            let row = format!("INSERT INTO site_admin (site_id, username) VALUES ({}, 'ann')", site.0);
            world.database.write_log(|it| it.batch_execute(&row)).unwrap();
            let ann = Browser::new(world);
            assert_eq!(ann.signs_in(provider, "1", "ann", &[]).status, 303);
            assert_eq!(ann.get(&format!("/desk/sites/{}", site.0)).status, 404, "only if it is configured");
        },
    );
}

#[test]
fn a_provider_that_is_down_is_told_and_passwords_go_on() {
    let url = format!("http://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let down = Provider { url, people: People::default(), careless: Arc::default() };
    on_both_with(
        |it| down.configure(it, |_| ()),
        |world| {
            add_account(world, "ann");
            let ann = Browser::new(world);
            let answer = ann.post("/sign-in/oidc", &[]);
            assert_eq!(answer.status, 502);
            for part in ["Example account cannot be asked now", "name=\"password\""] {
                assert!(answer.text().contains(part), "{part} is not in {}", answer.text());
            }
            ann.signs_in_here("ann");
            assert_eq!(ann.name(), "ann");
        },
    );
}
