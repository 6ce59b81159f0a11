//! The commands of all nouns together: hosts need every other.

use clap::{CommandFactory, Parser};
use jiff::SignedDuration;

use super::*;
use crate::{
    cli::{category, country, netblock, table::Noun},
    database::{
        Config, Generations, Sha256, content,
        crawl::{self, CrawlHoldings, CrawlResult, UrlReach},
        testing::{add_category, new_category, now},
    },
    mirror::{CrawlState, FileFault, MultiRange, Reach},
};

#[derive(Parser)]
enum Line {
    Site(Noun<site::Command>),
    Host(Noun<Command>),
    Netblock(Noun<netblock::Command>),
    Category(Noun<category::Command>),
    Country(Noun<country::Command>),
}

struct Shell {
    database: Database,
    _folder: tempfile::TempDir,
}

impl Shell {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}/test.db", folder.path().display()).parse().unwrap();
        let database = Database::open(&Config { url, connections: 2 });
        database.migrate().unwrap();
        add_category(&database, "fedora", 7);
        Self { database, _folder: folder }
    }

    /// A site and a host.
    fn with_host() -> Self {
        let shell = Self::new();
        shell.run("site add uni");
        shell.run("host add m1.example.org --site uni --country de --place -33.8,151.2 --contact a@b.org");
        shell
    }

    fn answer(&self, line: &str) -> anyhow::Result<Answer> {
        let words = ["portolan"].into_iter().chain(line.split(' '));
        match Line::try_parse_from(words)? {
            Line::Site(noun) => site::answer(noun.command, &self.database),
            Line::Host(noun) => answer(noun.command, &self.database),
            Line::Netblock(noun) => netblock::answer(noun.command, &self.database),
            Line::Category(noun) => category::answer(noun.command, &self.database, &Default::default()),
            Line::Country(noun) => country::answer(noun.command, &self.database),
        }
    }

    #[track_caller]
    fn run(&self, line: &str) -> Answer {
        self.answer(line).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    #[track_caller]
    fn fails(&self, line: &str) -> String {
        self.answer(line).err().unwrap_or_else(|| panic!("{line} was taken")).to_string()
    }

    #[track_caller]
    fn not_offered(&self, reasons: &[&str]) {
        let view = self.run("host show m1.example.org").json();
        assert_eq!(view["not_offered"], serde_json::json!(reasons));
    }

    fn crawl(&self, state: CrawlState, blobs: &[u32], ipv4: Reach, auto_disabled: Option<&str>) {
        self.crawl_with(state, blobs, ipv4, auto_disabled, |_| crawl::Checks::default());
    }

    fn crawl_with(
        &self,
        state: CrawlState,
        blobs: &[u32],
        ipv4: Reach,
        auto_disabled: Option<&str>,
        checks: impl FnOnce(&crawl::CrawlHost) -> crawl::Checks,
    ) {
        let ids: Vec<_> = self.database.read(host::list).unwrap().iter().map(|it| it.id).collect();
        let host = self.database.read(|it| crawl::list_hosts(it, &ids)).unwrap().remove(0);
        let category = &host.categories[0];
        let url = |it: &crate::database::host_category::HostCategoryUrl| UrlReach {
            url: it.id,
            ipv4,
            ipv6: Reach::Unknown,
            reason: (ipv4 != Reach::Up).then(|| "IPv4: connection refused".to_owned()),
        };
        let reason = if ipv4 == Reach::Up { "as it should be" } else { "connection refused" };
        let blobs = (state != CrawlState::Unreachable).then(|| blobs.iter().copied().collect());
        let result = CrawlResult {
            host: host.id,
            started_at: jiff::Timestamp::now().into(),
            duration: SignedDuration::from_millis(1500),
            state,
            log: format!("fedora {}: {state}: {reason}", category.urls[0].url),
            auto_disabled: auto_disabled.map(str::to_owned),
            holdings: vec![CrawlHoldings {
                host_category: category.host_category,
                serial: Some(7),
                state,
                reason: reason.to_owned(),
                blobs,
            }],
            urls: category.urls.iter().map(url).collect(),
            checks: checks(&host),
        };
        self.database.store_crawl(&result).unwrap();
    }
}

#[test]
fn the_arguments_are_consistent() {
    Line::command().debug_assert();
}

#[test]
fn json_is_asked_for_anywhere() {
    for line in ["p host list --json", "p host --json list"] {
        let Ok(Line::Host(noun)) = Line::try_parse_from(line.split(' ')) else { panic!("{line}") };
        assert!(noun.json, "{line}");
    }
}

#[test]
fn a_mirror_comes_and_goes() {
    let shell = Shell::with_host();
    shell.run("host edit m1.example.org --name m1 --peer-asn 64501 --peer-asn AS64502 --country-allowed fr");
    let view = shell.run("host edit m1 --peer-asn 64502 --no-country-allowed --no-place --no-contact").json();
    assert_eq!(view["peer_asns"], serde_json::json!([64502]));
    assert_eq!(view["countries_allowed"], serde_json::json!([]));
    assert_eq!((&view["place"], &view["country"]), (&serde_json::Value::Null, &"DE".into()));
    assert_eq!(view["contacts"], serde_json::json!([]));
    shell.run("netblock add m1 192.0.2.9/24 --name lab");
    shell.run("netblock edit m1 192.0.2.0/24 --name halls");
    let netblocks = shell.run("netblock list").json();
    assert_eq!(netblocks[0]["name"], "halls");
    assert_eq!(shell.run("netblock show m1 192.0.2.0/24").json(), netblocks[0]);
    shell.run("host opt-in m1 fedora --url https://m1/fedora --url http://m1/fedora");
    assert_eq!(shell.run("category show fedora").json()["hosts"][0]["host"], "m1");
    assert!(shell.run("host list").text().contains("fedora: not crawled yet"));
    shell.run("host opt-out m1 fedora");
    assert!(shell.fails("host opt-out m1 fedora").contains("does not carry"));
    shell.run("netblock remove m1 192.0.2.0/24");
    assert!(shell.fails("netblock show m1 192.0.2.0/24").contains("has no netblock"));
    assert_eq!(
        shell.fails("site remove uni"),
        "the site uni still has hosts (m1): remove them first, or say --with-hosts"
    );
    shell.run("host remove m1");
    shell.run("site remove uni");
    assert_eq!(shell.run("site list").json(), serde_json::json!([]));
}

#[test]
fn a_site_is_changed_and_takes_its_hosts_along() {
    let shell = Shell::with_host();
    shell.run("site edit uni --name college --url https://college.example.org/ --private true");
    let site = shell.run("site show college").json();
    assert_eq!((&site["private"], &site["hosts"][0]), (&true.into(), &"m1.example.org".into()));
    assert!(shell.run("site show college").text().contains("https://college.example.org/"));
    shell.run("site add other");
    shell.run("host edit m1.example.org --site other");
    assert_eq!(shell.run("site show college").json()["hosts"], serde_json::json!([]));
    shell.run("site remove other --with-hosts");
    assert_eq!(shell.run("host list").json(), serde_json::json!([]));
}

#[test]
fn a_mirror_admin_sees_why_nobody_comes() {
    let shell = Shell::with_host();
    shell.not_offered(&["opted in to no category"]);
    shell.run("host opt-in m1.example.org fedora --url http://m1/fedora");
    shell.not_offered(&["fedora: not crawled yet"]);
    shell.crawl(CrawlState::UpToDate, &[1], Reach::Down, None);
    shell.not_offered(&["fedora: http://m1/fedora is down: IPv4: connection refused"]);
    shell.crawl(CrawlState::Behind, &[], Reach::Up, None);
    shell.not_offered(&["fedora: the last crawl found nothing there: as it should be"]);
    shell.crawl(CrawlState::UpToDate, &[1], Reach::Up, None);
    shell.not_offered(&[]);
    shell.crawl(CrawlState::Lying, &[1], Reach::Up, Some("wrong bytes"));
    shell.not_offered(&["switched off by the crawler: wrong bytes"]);
    shell.crawl(CrawlState::UpToDate, &[1], Reach::Up, None);
    shell.run("host edit m1.example.org --user-active false --private true");
    shell.run("host drain m1.example.org");
    shell.run("site edit uni --admin-active false");
    shell.not_offered(&[
        "its site is switched off by the operators",
        "switched off by its admins",
        "drained",
        "private, without a netblock and an autonomous system",
    ]);
    let text = shell.run("host show m1.example.org").text();
    assert!(text.starts_with("not offered: its site is switched off by the operators\n"), "{text}");
    assert!(text.ends_with("in 1.5 s: up-to-date\nfedora http://m1/fedora: up-to-date: as it should be\n"));
    assert_eq!(shell.run("host undrain m1.example.org").json()["drained"], false);
}

#[test]
fn what_was_found_under_other_urls_is_not_told() {
    let shell = Shell::with_host();
    shell.run("host opt-in m1.example.org fedora --url http://m1/fedora");
    shell.crawl(CrawlState::Lying, &[], Reach::Up, None);
    let answer = shell.run("host opt-in m1.example.org fedora --url http://m1/pub/fedora");
    assert!(answer.text().ends_with("next: portolan crawl --host m1.example.org\n"), "{}", answer.text());
    shell.not_offered(&["fedora: not crawled since its URLs changed"]);
    let view = shell.run("host show m1.example.org").json();
    assert_eq!(view["categories"][0]["state"], serde_json::Value::Null);
    shell.crawl(CrawlState::UpToDate, &[1], Reach::Up, None);
    shell.not_offered(&[]);
}

#[test]
fn each_reason_is_told_once() {
    #[track_caller]
    fn check(shell: &Shell, reason: &str) {
        let text = shell.run("host show m1.example.org").text();
        assert_eq!(text.matches(reason).count(), 1, "{text}");
    }
    let shell = Shell::with_host();
    shell.run("host opt-in m1.example.org fedora --url http://m1/fedora");
    shell.crawl(CrawlState::Unreachable, &[], Reach::Down, None);
    check(&shell, "connection refused");
    shell.crawl(CrawlState::UpToDate, &[1], Reach::Up, None);
    check(&shell, "as it should be");
    shell.crawl(CrawlState::Unreachable, &[], Reach::Down, None);
    check(&shell, "connection refused");
    let off = "not reached by 4 crawls in a row; fedora http://m1/fedora: unreachable: connection refused";
    shell.crawl(CrawlState::Unreachable, &[], Reach::Down, Some(off));
    check(&shell, "connection refused");
    shell.run("host opt-in m1.example.org fedora --url http://m1/pub");
    check(&shell, "not crawled since its URLs changed");
}

#[test]
fn people_see_whole_seconds_and_what_to_do_first() {
    let shell = Shell::new();
    assert_eq!(shell.run("host list").text(), "no hosts yet; add one: portolan host add NAME --site SITE\n");
    assert_eq!(shell.run("host list").json(), serde_json::json!([]));
    shell.run("site add uni");
    let text = shell.run("site show uni").text();
    let added = text.lines().find(|it| it.contains("added")).unwrap_or_default();
    assert!(added.trim_end().ends_with('Z') && !added.contains('.'), "{added}");
}

#[test]
fn limits_are_set_and_taken_away() {
    let shell = Shell::with_host();
    let show = |name: &str| shell.run(&format!("host show {name}")).json();
    shell.run("host add cdn --site uni --kind cdn --share 20 --daily-bytes 2T --max-file-size 500M");
    let cdn = show("cdn");
    assert_eq!(
        (&cdn["kind"], &cdn["share"], &cdn["daily_bytes"]),
        (&"cdn".into(), &20.into(), &(2u64 << 40).into())
    );
    assert_eq!(cdn["max_file_size"], 500 << 20);
    shell.run("host opt-in cdn fedora --url https://cdn/fedora");
    let reasons = show("cdn")["not_offered"].to_string();
    assert!(reasons.contains("no URL answers") && !reasons.contains("crawled"), "{reasons}");
    shell.run(
        "host edit m1.example.org --kind pull-through --share 5 --country-denied fr --country-denied de",
    );
    let host = show("m1.example.org");
    assert_eq!((&host["kind"], &host["share"]), (&"pull-through".into(), &5.into()));
    assert_eq!(host["countries_denied"], serde_json::json!(["DE", "FR"]));
    shell.run("host edit m1.example.org --kind static --no-share --no-country-denied");
    shell.run("host edit cdn --no-daily-bytes --no-max-file-size");
    let (host, cdn) = (show("m1.example.org"), show("cdn"));
    assert_eq!((&host["kind"], &host["share"]), (&"static".into(), &serde_json::Value::Null));
    assert_eq!(
        (&cdn["daily_bytes"], &cdn["max_file_size"]),
        (&serde_json::Value::Null, &serde_json::Value::Null)
    );
    assert_eq!(host["countries_denied"], serde_json::json!([]));
    for line in ["--share 0", "--share 101", "--kind mirror", "--daily-bytes 0", "--max-file-size 1X"] {
        assert!(shell.answer(&format!("host edit cdn {line}")).is_err(), "{line}");
    }
}

#[test]
fn a_host_in_json() {
    let shell = Shell::with_host();
    shell.run("host opt-in m1.example.org fedora --url https://m1/fedora/");
    shell.crawl(CrawlState::UpToDate, &[1, 2], Reach::Up, None);
    let answer = shell.run("host show m1.example.org");
    let redact = |line: &str| match line.split_once("_at\": ") {
        Some((name, _)) => format!("{name}_at\": TIME\n"),
        None => format!("{line}\n"),
    };
    insta::assert_snapshot!(answer.json_text().lines().map(redact).collect::<String>(), @r#"
    {
      "id": 1,
      "name": "m1.example.org",
      "site": "uni",
      "mirrormanager_id": null,
      "not_offered": [],
      "country": "DE",
      "place": "-33.8,151.2",
      "asn": null,
      "asn_clients": true,
      "peer_asns": [],
      "bandwidth": null,
      "private": false,
      "user_active": true,
      "admin_active": true,
      "auto_disabled": null,
      "drained": false,
      "contacts": [
        "a@b.org"
      ],
      "comment": "",
      "netblocks": [],
      "countries_allowed": [],
      "countries_denied": [],
      "kind": "static",
      "share": null,
      "daily_bytes": null,
      "max_file_size": null,
      "clients": {
        "kept_of_thousand": null,
        "demoted": [],
        "sent": []
      },
      "last_lied_at": TIME
      "created_at": TIME
      "last_crawled_at": TIME
      "schedule": {
        "next_crawl_at": TIME
        "not_before": null,
        "crawled_at": TIME
        "holder": null,
        "leased_until": null
      },
      "last_crawl": {
        "state": "up-to-date",
        "started_at": TIME
        "duration_ms": 1500,
        "log": [
          "fedora https://m1/fedora: up-to-date: as it should be"
        ]
      },
      "categories": [
        {
          "name": "fedora",
          "drained": false,
          "state": "up-to-date",
          "held": 2,
          "reason": "as it should be",
          "serial": 7,
          "crawled_at": TIME
          "urls": [
            {
              "url": "https://m1/fedora",
              "ipv4": "up",
              "ipv6": "unknown",
              "reason": null,
              "facts": null
            }
          ],
          "rsync_url": null,
          "repair": []
        }
      ]
    }
    "#);
}

#[test]
fn bad_values_are_refused_and_their_argument_is_named() {
    let shell = Shell::with_host();
    #[track_caller]
    fn check(shell: &Shell, line: &str, argument: &str, reason: &str) {
        let error = shell.fails(line);
        assert!(error.contains(argument) && error.contains(reason), "{error}");
    }
    check(&shell, "host add m2 --site uni --country UK", "--country", "no country UK");
    check(&shell, "host add m2 --site uni --place 91,0", "--place", "degrees");
    check(&shell, "host add m2 --site uni --asn 0", "--asn", "1 to 4294967295");
    check(&shell, "host add m2 --site uni --bandwidth 0", "--bandwidth", "Mbit/s");
    check(&shell, "host add m2 --site uni --contact me", "--contact", "mail address");
    check(&shell, "site add un\u{200b}i", "<NAME>", "invisible");
    check(&shell, "host add ../m2 --site uni", "<NAME>", "a host's name");
    check(&shell, "host add m2", "--site", "required");
    check(&shell, "host edit m1.example.org", "--country", "required");
    assert_eq!(shell.fails("host edit m1.example.org").matches("--country <").count(), 1);
    check(&shell, "host edit m1.example.org --country DE --no-country", "--no-country", "cannot be used");
    check(&shell, "host edit m1.example.org --private maybe", "--private", "true, false");
    check(&shell, "host opt-in m1.example.org fedora", "--url", "required");
    check(&shell, "host opt-in m1.example.org fedora --url http://a:b@c/", "--url", "password");
    check(&shell, "site edit uni --url ftp://x", "--url", "a page looks like");
    check(&shell, "netblock add m1.example.org 192.0.2.0/33", "<NETBLOCK>", "192.0.2.0/24");
    check(&shell, "country redirect DE XX", "<CONTINENT>", "EU");
    assert_eq!(shell.run("host list").json().as_array().map(Vec::len), Some(1));
}

#[test]
fn mistyped_names_are_told_their_neighbours() {
    let shell = Shell::with_host();
    assert_eq!(
        shell.fails("host show m1.exmaple.org"),
        "there is no host named m1.exmaple.org (near: m1.example.org); `portolan host list` shows all"
    );
    assert!(shell.fails("host add m2 --site uin").contains("(near: uni)"));
    assert!(shell.fails("host opt-in m1.example.org fedroa --url http://a/").contains("(near: fedora)"));
    assert_eq!(
        shell.fails("host add m1.example.org --site uni"),
        "a host named m1.example.org exists already"
    );
}

#[test]
fn a_category_is_described_and_answers_stay() {
    let shell = Shell::new();
    let before = shell.database.generations().unwrap();
    shell.run("category edit fedora --description Linux --visible false");
    assert_eq!(shell.database.generations().unwrap(), before);
    let view = shell.run("category show fedora").json();
    assert_eq!((&view["description"], &view["visible"]), (&"Linux".into(), &false.into()));
    assert_eq!((&view["serial"], &view["files"], &view["bytes"]), (&7.into(), &0.into(), &0.into()));
    assert!(shell.run("category list").text().contains("Linux"));
}

#[test]
fn countries_are_moved_and_put_back() {
    let shell = Shell::new();
    let Generations { hosts, .. } = shell.database.generations().unwrap();
    shell.run("country redirect TR EU");
    shell.run("country assign 192.0.2.0/24 CH");
    assert_eq!(shell.database.generations().unwrap().hosts, hosts + 2);
    let list = shell.run("country list");
    assert_eq!(
        list.json(),
        serde_json::json!({
            "continent_redirects": [{ "country": "TR", "continent": "EU" }],
            "netblock_countries": [{ "netblock": "192.0.2.0/24", "country": "CH" }],
        })
    );
    assert!(list.text().contains("192.0.2.0/24"));
    shell.run("country unredirect TR");
    shell.run("country unassign 192.0.2.0/24");
    assert!(shell.fails("country unredirect TR").contains("not redirected"));
    assert!(shell.fails("country unassign 192.0.2.0/24").contains("no country"));
}

#[test]
fn a_token_is_shown_once() {
    let shell = Shell::with_host();
    let made = shell.run("host token create m1.example.org --expires 2100-01-01");
    let json = made.json();
    let token = json["token"].as_str().unwrap();
    assert!(token.len() == 73 && token.starts_with("portolan_"), "{token}");
    assert_eq!(made.text().lines().next(), Some(token));
    assert_eq!(json["expires_at"], "2100-01-01T00:00:00Z");
    let now = jiff::Timestamp::now().into();
    let hash = crate::database::secret::hash(token);
    let reporter = shell.database.read(|it| crate::database::host_token::find_reporter(it, hash, now));
    assert_eq!(reporter.unwrap().unwrap().name.as_str(), "m1.example.org");
    assert_ne!(shell.run("host token create m1.example.org").json()["token"], json["token"]);
    let listed = shell.run("host token list m1.example.org");
    assert!(!listed.json_text().contains(token) && !listed.text().contains(&token[9..]), "{}", listed.text());
    assert_eq!(listed.json().as_array().unwrap().len(), 2);
    let remove = format!("host token remove m1.example.org {}", json["id"]);
    shell.run(&remove);
    assert!(shell.fails(&remove).contains("has no token"));
    assert!(shell.fails("host token create m1.example.org --expires 2020-01-01").contains("past"));
    assert!(shell.fails("host token create m2.example.org").contains("m1.example.org"));
}

#[test]
fn what_is_to_be_repaired_is_told_with_its_command() {
    let shell = Shell::with_host();
    shell.run("host opt-in m1.example.org fedora --url https://m1/fedora --rsync rsync://m1/pub/fedora");
    assert_eq!(
        shell.run("host show m1.example.org --repair").text(),
        "the crawls of m1.example.org found nothing to repair\n"
    );
    let blob = |it: u8| content::ContentBlob { digest: Sha256([it; 32]), size: 5 };
    let content = content::CategoryContent { blobs: vec![blob(0xab)], ..new_category("fedora", 8) };
    shell
        .database
        .write(crate::database::Part::Content, |it| content::replace_category(it, &content, now()))
        .unwrap();
    shell.crawl_with(CrawlState::Lying, &[], Reach::Up, None, |host| {
        let category = &host.categories[0];
        let cycle = crawl::Cycle {
            started_at: now(),
            looked: Default::default(),
            bodies_since: now(),
            bodies: Default::default(),
            serial: None,
            caught_at: None,
        };
        let reason = "it has a file of 4 bytes instead of 5".to_owned();
        let repair = vec![crawl::Repair { number: 1, fault: FileFault::Damaged, reason }];
        let facts = crawl::UrlFacts {
            host_category_url_id: category.urls[0].id,
            bytes_per_second: Some(12_345_678),
            multi_range: Some(MultiRange::Whole),
            keeps_alive: Some(true),
            certificate_ends_at: Some(now()),
            checked_at: now(),
        };
        let opt_ins = vec![crawl::OptInChecks { host_category: category.host_category, cycle, repair }];
        crawl::Checks { opt_ins, facts: vec![facts], ..crawl::Checks::default() }
    });
    let shown = shell.run("host show m1.example.org");
    let text = shown.text();
    for line in [
        "https://m1/fedora: 12.3 MB/s, answers a request for two ranges with the whole file, keeps connections",
        "its certificate lasts until 2026-11-21T12:00:00",
        "https://m1/fedora: its certificate has expired: renew it, for no client goes there\n",
        "fedora: 1 file to repair; `portolan host show m1.example.org --repair` lists them, and how\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
    let view = shown.json();
    assert_eq!(view["categories"][0]["rsync_url"], "rsync://m1/pub/fedora");
    assert_eq!(view["categories"][0]["urls"][0]["facts"]["multi_range"], "whole");
    insta::assert_snapshot!(shell.run("host show m1.example.org --repair").text(), @"
    SOURCE is where the category is copied from by rsync, FOLDER where the host keeps it.

    # fedora: blobs/sha256/ab/abababababababababababababababababababababababababababababababab: damaged: it has a file of 4 bytes instead of 5
    rsync -c -lptH --files-from=- SOURCE/ FOLDER/ <<'END'
    blobs/sha256/ab/abababababababababababababababababababababababababababababababab
    END
    ");
    shell.run("host opt-in m1.example.org fedora --url https://m1/fedora");
    let view = shell.run("host show m1.example.org").json();
    assert_eq!(view["categories"][0]["rsync_url"], serde_json::Value::Null, "it was not named again");
}
