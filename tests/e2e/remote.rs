//! The command line through a server's API: it says the same as on the database.

use std::fs;

use serde_json::Value;

use crate::rig::image::Image;
use crate::rig::namespace;
use crate::rig::origin;
use crate::rig::portolan::Portolan;
use crate::rig::program::Finished;
use crate::rig::world::{Engine, World};

/// What is typed on either side, in this order.
const LINES: &[&str] = &[
    "site add mirrors --url https://www.example.org/ --private",
    "site add other",
    "site edit other --name others --user-active false --admin-active false",
    "site list",
    "host add de.mirror.test --site mirrors --country DE --place 52.5,13.4 --asn 64496 --bandwidth 40000 --kind \
     pull-through --share 50 --daily-bytes 500G --private --contact a@example.org --contact b@example.org",
    "host add fr.mirror.test --site others",
    "host edit fr.mirror.test --country FR --peer-asn 64500 --peer-asn 64501 --country-denied DE --comment Grüße",
    "host edit fr.mirror.test --no-country --peer-asn 64501 --peer-asn 64502 --name fr2.mirror.test",
    "host edit de.mirror.test --no-place --no-asn --no-share --no-daily-bytes --no-contact --bandwidth 10",
    "host opt-in de.mirror.test containers --url https://de.mirror.test/a --url http://de.mirror.test/a",
    "host opt-in de.mirror.test containers --url https://de.mirror.test/b --rsync rsync://de.mirror.test/b",
    "host opt-in fr2.mirror.test containers --url https://fr.mirror.test/",
    "host opt-out fr2.mirror.test containers",
    "host drain fr2.mirror.test",
    "host drain de.mirror.test containers",
    "host show de.mirror.test",
    "host undrain de.mirror.test containers",
    "host show de.mirror.test --repair",
    "host list",
    "host undrain fr2.mirror.test",
    "netblock add de.mirror.test 192.0.2.0/24",
    "netblock add de.mirror.test 2001:db8::/32",
    "netblock list",
    "netblock show de.mirror.test 192.0.2.0/24",
    "netblock remove de.mirror.test 192.0.2.0/24",
    "netblock list de.mirror.test",
    "account edit bob --role reader",
    "account keep bob mirrors",
    "account keep bob others",
    "account keep bob others --no-more",
    "account list",
    "content withdraw sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa \
     --reason broken --legal",
    "content list",
    "content restore sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "host remove fr2.mirror.test",
    "site remove others",
    "site remove mirrors --with-hosts",
    "site list",
];

/// Mistakes: either side refuses them, and says what is near.
const MISTAKES: &[(&str, &str)] = &[
    ("site show mirors", "there is no site named mirors (near: mirrors)"),
    (
        "host show de.miror.test",
        "there is no host named de.miror.test (near: de.mirror.test, fr2.mirror.test)",
    ),
    ("site remove mirrors", "the site mirrors still has hosts (de.mirror.test)"),
    ("host opt-out de.mirror.test containers", "does not carry containers"),
    ("netblock remove de.mirror.test 192.0.2.0/24", "has no netblock 192.0.2.0/24"),
    ("account keep bob mirrors --no-more", "bob does not keep the site mirrors"),
];

/// Who works through the server, with a token of an operator.
struct Client<'a> {
    portolan: &'a Portolan,
    token: String,
}

impl Client<'_> {
    fn run(&self, line: &str) -> Finished {
        let line = format!("{line} --server https://registry.test");
        self.portolan.run_with(&line, &[("PORTOLAN_TOKEN", &self.token)])
    }

    #[track_caller]
    fn json(&self, line: &str) -> Value {
        let printed = self.run(&format!("{line} --json")).expect_success();
        serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{line}: {error}\n{printed}"))
    }
}

/// Without what differs: numbers of rows, moments, and that who makes a site through the server keeps it.
fn timeless(mut value: Value) -> Value {
    match &mut value {
        Value::Object(fields) => {
            fields.retain(|name, _| {
                !["id", "keepers", "schedule"].contains(&name.as_str()) && !name.ends_with("_at")
            });
            for field in fields.values_mut() {
                *field = timeless(field.take());
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|it| *it = timeless(it.take())),
        _ => {}
    }
    value
}

/// The token in what `account token create --json` printed.
fn token(created: &Value) -> String {
    created["token"].as_str().unwrap_or_else(|| panic!("no token in {created}")).to_owned()
}

on_both_engines!(a_server_does_what_is_typed_elsewhere, |namespace, engine| {
    let world = World::new(namespace, engine);
    world.portolan.configure("[serve]", "[accounts]\nsign_up = true\n[serve]");
    Image::ordinary("fedora").push(origin::URL, "fedora", "latest");
    world.publish();
    for portolan in [&world.portolan, &world.portolan.other_database("sqlite:typed.db")] {
        portolan.done("migrate");
        portolan.done("account create ann --operator");
        portolan.done("account create bob");
    }
    let typed = world.portolan.other_database("sqlite:typed.db");
    typed.done("site add volunteers");
    typed.done("scan");
    let all = "--scopes read,mirrors,account,operator";
    let created = world.portolan.json(&format!("account token create ann --name test {all}"));
    let serve = world.portolan.serve();
    let folder = namespace.folder.join("client");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("portolan.toml"), "").unwrap();
    let portolan = Portolan::in_folder(folder);
    let client = Client { portolan: &portolan, token: token(&created) };

    for line in LINES {
        let (there, here) = (timeless(client.json(line)), timeless(typed.json(line)));
        assert_eq!(there, here, "{line}");
        if let Some(added) = line.strip_prefix("site add ") {
            let name = added.split(' ').next().unwrap();
            client.run(&format!("account keep ann {name} --no-more")).expect_success();
        }
        if *line == "netblock list de.mirror.test" {
            typed.done("host opt-out de.mirror.test containers");
            client.run("host opt-out de.mirror.test containers").expect_success();
            for (line, wanted) in MISTAKES {
                for error in [typed.run(line).expect_failure(), client.run(line).expect_failure()] {
                    assert!(error.contains(wanted), "{line}: {error}");
                }
            }
        }
    }
    assert!(!portolan.folder.join("portolan.db").exists(), "a client has made a database");

    let list = |line: &str| client.json(line).as_array().map(Vec::len);
    let bob = world.portolan.json("account token create bob --name bob");
    let bob = Client { portolan: &portolan, token: token(&bob) };
    let told = |finished: Finished| finished.expect_failure();
    assert!(told(bob.run("site add bobs")).contains("403: This needs an account that is at least"));
    assert!(told(bob.run("account token list ann")).contains("on the database only"));
    assert_eq!(list("account token list ann"), Some(1));
    let second = client.json("account token create ann --name second");
    assert_eq!(list("account token list ann"), Some(2));
    let second = Client { portolan: &portolan, token: token(&second) };
    assert!(told(second.run("site add theirs")).contains("403: The token lacks the scope mirrors"));
    assert!(told(client.run("account create eve")).contains("on the database only"));
    let stranger = Client { portolan: &portolan, token: "portolan_x".to_owned() };
    assert!(told(stranger.run("site list")).contains("401: This needs a token of an account"));
    let no_token = Client { portolan: &portolan, token: String::new() };
    assert!(told(no_token.run("site list")).contains("make one at /desk/account"));
    let plain = portolan.run("site list --server http://registry.test --token x").expect_failure();
    assert!(plain.contains("a token goes over https only"), "{plain}");
    serve.stop();
    assert!(told(client.run("site list")).contains("https://registry.test/ does not answer"));
});
