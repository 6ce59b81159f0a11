use std::{collections::BTreeSet, sync::Arc};

use proptest::{
    collection::vec,
    option,
    prelude::*,
    sample::select,
    test_runner::{Config as Cases, TestRunner},
};

use super::{names::Names, *};
use crate::{
    database::{
        Config as DatabaseConfig, Connection, Part, country, host, host_category, lease, mirrormanager::*,
        probe, repository_alias, site, snapshot, testing::*,
    },
    mirror::HostKind,
    mirrorlist::rows::HostRow as Loaded,
};

const FIXTURE: &str = include_str!("../../tests/data/mirrormanager.sql");

fn now() -> Timestamp {
    "2026-11-30T12:00:00Z".parse().unwrap()
}

fn importer(url: &str, carried: &[&str]) -> Importer {
    let carried = carried.iter().map(|it| it.parse().unwrap()).collect();
    Importer::new(url.parse().unwrap(), [("Fedora Containers".to_owned(), carried)].into())
}

fn run(importer: &Importer, database: &Database, options: Options) -> Result<Summary, Error> {
    let config = DatabaseConfig { url: database.url().clone(), connections: 2 };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(importer.run(&Arc::new(Database::open(&config)), options, now()))
}

/// Imports the fixture into each engine, beside a site and a host of our own.
fn on_both_imported(test: impl Fn(&Database, &str, &Importer, &Summary)) {
    on_both(|database| {
        for name in ["fedora", "tools"] {
            add_category(database, name, 1);
        }
        add_host(database, "own.example.org");
        let url = foreign_postgres(FIXTURE);
        let importer = importer(&url, &[]);
        let summary = run(&importer, database, Options::default()).unwrap();
        test(database, &url, &importer, &summary);
    });
}

fn load(database: &Database) -> Vec<Loaded> {
    database.read(snapshot::load_hosts).unwrap().hosts
}

fn find<'a>(hosts: &'a [Loaded], name: &str) -> &'a Loaded {
    hosts.iter().find(|it| it.name == name).unwrap_or_else(|| panic!("no {name}"))
}

fn urls(host: &Loaded) -> Vec<&str> {
    host.categories.iter().flat_map(|it| &it.urls).map(|it| it.url.as_str()).collect()
}

/// The changes in words, sorted.
fn told(summary: &Summary) -> Vec<String> {
    let word = |it: &Change| format!("{:?} {:?} {} {}", it.verb, it.noun, it.name, it.details.join("; "));
    let mut told: Vec<_> = summary.changes.iter().map(|it| word(it).trim().to_owned()).collect();
    told.sort();
    told
}

#[test]
fn hosts_come_with_all_that_belongs_to_them() {
    on_both_imported(|database, _, _, _| {
        let hosts = load(database);
        let names: Vec<_> = hosts.iter().map(|it| it.name.as_str()).collect();
        let all = [
            "own.example.org",
            "m1.example.org",
            "Extra-Mirror",
            "m1.example.org-4",
            "inside",
            "master",
            "choosy",
        ];
        assert_eq!(names, all, "without `packages`, which opted in to nothing that is imported");

        let one = find(&hosts, "m1.example.org");
        assert_eq!((one.site_name.as_str(), one.bandwidth, one.asn), ("University", Some(1000), Some(64500)));
        assert_eq!((one.country, one.place), ("DE".parse().ok(), "52.5,13.4".parse().ok()));
        assert_eq!(one.netblocks, ["192.0.2.0/24", "198.51.100.7/32", "203.0.113.0/25"]);
        assert_eq!(one.peer_asns, [64501, u32::MAX]);
        let all =
            ["https://m1.example.org/pub/containers/fedora", "https://m1.example.org/pub/containers/tools"];
        assert_eq!(urls(one), all, "a private URL is not for clients");

        let extra = find(&hosts, "Extra-Mirror");
        assert_eq!((extra.bandwidth, extra.asn, extra.asn_clients), (None, None, false));
        assert!(extra.netblocks.is_empty() && extra.user_active);

        let namesake = find(&hosts, "m1.example.org-4");
        assert_eq!((namesake.site_name.as_str(), namesake.user_active), ("University (2)", false));
        assert_eq!((namesake.country, namesake.place, namesake.bandwidth), (None, None, None));
        assert_eq!(urls(namesake), ["https://m4.example.org/c/fedora", "https://m4.example.org/c/tools"]);

        let inside = find(&hosts, "inside");
        assert!(inside.private);
        assert_eq!(inside.netblocks, ["2001:db8::/32"], "nothing here is called by the names");

        let master = find(&hosts, "master");
        assert_eq!((master.kind, master.bandwidth), (HostKind::PullThrough, Some(1_000_000)));
        assert_eq!(find(&hosts, "choosy").countries_allowed, ["NO".parse().unwrap(), "SE".parse().unwrap()]);

        let rows = database.read(snapshot::load_hosts).unwrap();
        assert_eq!(rows.netblock_countries, [("198.51.100.0/24".to_owned(), "FR".parse().unwrap())]);
        assert_eq!(rows.continent_redirects, [("IL".parse().unwrap(), "EU".parse().unwrap())]);
        assert_eq!(rows.embargoed, ["KP".parse().unwrap()]);
        let aliases: Vec<_> =
            rows.aliases.iter().map(|it| (it.alias.as_str(), it.repository.as_str())).collect();
        assert_eq!(aliases, [("old/fedora", "fedora")]);
        let admins = database
            .read(|it| {
                let found = site::find(it, &"University".parse().unwrap())?.unwrap();
                imported::list_admins(it, found.id)
            })
            .unwrap();
        assert_eq!(admins, ["anna", "bert"]);
        let rsync = database.read(|it| {
            let host = host::find(it, &"m1.example.org".parse().unwrap())?.unwrap();
            let opt_in = host_category::list(it, host.id)?.remove(0).0;
            host_category::find_rsync_url(it, opt_in.id)
        });
        assert_eq!(rsync.unwrap().unwrap().to_string(), "rsync://m1.example.org/containers/fedora");
    });
}

#[test]
fn what_makes_no_sense_is_named() {
    on_both_imported(|_, _, _, summary| {
        let named: BTreeSet<_> = summary.skipped.iter().map(|it| (it.table, it.id)).collect();
        let expected = [
            ("country_continent_redirect", 2),
            ("embargoed_country", 2),
            ("host", 3),
            ("host", 4),
            ("host_category", 10),
            ("host_category_url", 5),
            ("host_category_url", 6),
            ("host_category_url", 7),
            ("host_country_allowed", 3),
            ("host_netblock", 4),
            ("host_netblock", 5),
            ("host_netblock", 6),
            ("host_netblock", 7),
            ("host_netblock", 8),
            ("host_peer_asn", 3),
            ("netblock_country", 2),
            ("netblock_country", 3),
            ("repository_redirect", 2),
            ("repository_redirect", 3),
            ("repository_redirect", 4),
            ("site", 2),
            ("site_admin", 3),
            ("site_admin", 4),
        ];
        assert_eq!(named, expected.into(), "{:#?}", summary.skipped);
        let reason = |table, id| {
            let found = summary.skipped.iter().find(|it| (it.table, it.id) == (table, id));
            found.map(|it| it.reason.as_str()).unwrap_or_default()
        };
        assert!(reason("host", 3).contains("but for case"));
        assert!(reason("host_category_url", 7).contains("the same as the row 1"));
        assert!(reason("host_netblock", 7).contains("wider than /8"));
    });
}

#[test]
fn the_second_import_changes_nothing() {
    on_both_imported(|database, _, importer, first| {
        assert_eq!((first.changed, first.gone), (0, 0));
        let (before, rows) = (database.generations().unwrap(), load(database));
        let second = run(importer, database, Options::default()).unwrap();
        assert_eq!((told(&second), &second.skipped), (Vec::new(), &first.skipped));
        assert_eq!((database.generations().unwrap(), load(database)), (before, rows));
    });
}

#[test]
fn edits_there_are_seen_here_and_ours_stay() {
    on_both_imported(|database, url, importer, _| {
        let ours = database.read(|it| host::find(it, &"own.example.org".parse().unwrap())).unwrap();
        run_psql(
            url,
            "UPDATE host SET country = 'FR', user_active = false WHERE id = 1; \
             UPDATE host_category_url SET url = 'https://m1.example.org/moved' WHERE id = 1; \
             INSERT INTO host_category_url VALUES (20, 2, 'https://m1.example.org/pub/containers', false); \
             DELETE FROM host_netblock WHERE id = 1; UPDATE host_peer_asn SET asn = 64502 WHERE id = 1; \
             DELETE FROM host_category_url WHERE host_category_id = 7; DELETE FROM host_category WHERE id = 7; \
             UPDATE host_category SET always_up2date = false WHERE id = 6; \
             DELETE FROM host_netblock WHERE host_id = 5; DELETE FROM host_category_url WHERE host_category_id = 5; \
             DELETE FROM host_category WHERE host_id = 5; DELETE FROM host WHERE id = 5; \
             DELETE FROM netblock_country; DELETE FROM repository_redirect; \
             DELETE FROM site_admin WHERE username = 'bert'",
        );
        let before = load(database);
        let plan = run(importer, database, Options { dry_run: true, ..Options::default() }).unwrap();
        assert_eq!(load(database), before, "a dry run changes nothing");
        let done = run(importer, database, Options::default()).unwrap();
        assert_eq!(told(&plan), told(&done));
        let moved = |url: &str| format!("url fedora {url}/fedora; SIGN url tools {url}/tools");
        let (from, to) =
            (moved("https://m1.example.org/pub/containers"), moved("https://m1.example.org/moved"));
        let expected = [
            format!("Changed Host Extra-Mirror + {from}").replace("SIGN", "+"),
            format!(
                "Changed Host choosy - category fedora; - category tools; - {}",
                moved("https://choosy.example.org/c")
            )
            .replace("SIGN", "-"),
            format!("Changed Host m1.example.org country: DE → FR; + peer asn 64502 peer; + {to}; ")
                .replace("SIGN", "+")
                + &format!("user_active: true → false; - peer asn 64501 peer; - {from}").replace("SIGN", "-"),
            "Changed Host master always_up2date: true → false".to_owned(),
            "Changed Site University - admin bert".to_owned(),
            "Gone Host inside".to_owned(),
            "Gone NetblockCountry 198.51.100.0/24".to_owned(),
            "Gone RepositoryRedirect old/fedora".to_owned(),
            "Gone Site Company".to_owned(),
        ];
        assert_eq!(told(&done), expected);
        let hosts = load(database);
        assert!(urls(find(&hosts, "Extra-Mirror")).contains(&"https://m1.example.org/pub/containers/fedora"));
        assert!(find(&hosts, "choosy").categories.is_empty(), "it is known, and carries nothing");
        assert_eq!(find(&hosts, "master").kind, HostKind::Static);
        assert_eq!(database.read(|it| host::find(it, &"own.example.org".parse().unwrap())).unwrap(), ours);
        assert_eq!(told(&run(importer, database, Options::default()).unwrap()), [""; 0]);
    });
}

#[test]
fn hosts_in_imported_countries_under_embargo_are_left_alone() {
    on_both_imported(|database, url, importer, _| {
        let name = "m1.example.org".parse().unwrap();
        let is_visited = || {
            database
                .read(|it| {
                    let targets = probe::list_targets(it)?;
                    Ok((lease::is_active(it, &name, &[])?, targets.iter().any(|it| it.host_name == name)))
                })
                .unwrap()
        };
        assert_eq!(is_visited(), (true, true));
        run_psql(url, "UPDATE host SET country = 'kp' WHERE id = 1");
        run(importer, database, Options::default()).unwrap();
        assert_eq!(is_visited(), (false, false));
    });
}

#[test]
fn what_was_set_here_goes_before() {
    on_both_imported(|database, _, importer, _| {
        let set = |it: &mut Connection| {
            country::set_netblock_country(it, &"198.51.100.0/24".parse().unwrap(), "ES".parse().unwrap())?;
            country::set_continent_redirect(it, "IL".parse().unwrap(), "AS".parse().unwrap())?;
            let (alias, repository) = ("old/fedora".parse().unwrap(), "other".parse().unwrap());
            let row =
                repository_alias::RepositoryAlias { alias, repository, expires_at: None, imported: false };
            repository_alias::set(it, &row)
        };
        database.write(Part::Hosts, set).unwrap();
        let again = run(importer, database, Options::default()).unwrap();
        assert!(again.changes.is_empty(), "{:?}", told(&again));
        let rows = database.read(snapshot::load_hosts).unwrap();
        assert_eq!(rows.netblock_countries[0].1.as_str(), "ES");
        assert_eq!(rows.continent_redirects[0].1.as_str(), "AS");
        assert_eq!(rows.aliases[0].repository, "other");
    });
}

#[test]
fn one_category_there_is_one_or_several_here() {
    on_both_imported(|database, url, _, _| {
        let summary = run(&self::importer(url, &["fedora=."]), database, Options::default()).unwrap();
        assert!(summary.changes.iter().all(|it| it.noun == Noun::Host), "{:?}", told(&summary));
        let hosts = load(database);
        assert_eq!(urls(find(&hosts, "m1.example.org")), ["https://m1.example.org/pub/containers"]);
        let summary =
            run(&self::importer(url, &["fedora=el/9", "tools", "later"]), database, Options::default());
        let summary = summary.unwrap();
        assert!(summary.skipped.iter().any(|it| it.what == "later" && it.reason.contains("portolan scan")));
        let all =
            ["https://m1.example.org/pub/containers/el/9", "https://m1.example.org/pub/containers/tools"];
        assert_eq!(urls(find(&load(database), "m1.example.org")), all);
    });
}

#[test]
fn a_slip_or_an_emptied_database_removes_nothing() {
    on_both_imported(|database, url, importer, _| {
        let slip = Importer::new(url.parse().unwrap(), [("Fedora".to_owned(), Vec::new())].into());
        let error = run(&slip, database, Options::default()).unwrap_err().to_string();
        assert_eq!(
            error,
            "MirrorManager has no category \"Fedora\"; there are: Fedora Linux, Fedora Containers"
        );
        let none = Importer::new(url.parse().unwrap(), Mapping::new());
        assert!(run(&none, database, Options::default()).unwrap_err().to_string().contains("--category"));

        let before = load(database);
        run_psql(url, "DELETE FROM host_category_url; DELETE FROM host_category");
        let error = run(importer, database, Options::default()).unwrap_err().to_string();
        assert!(error.starts_with("6 of 6 imported hosts would go"), "{error}");
        assert_eq!(load(database), before);
        let allowed = Options { allow_removal: true, ..Options::default() };
        run(importer, database, allowed).unwrap();
        assert!(load(database).iter().all(|it| it.categories.is_empty()));
    });
}

#[test]
fn a_site_that_goes_leaves_our_hosts() {
    on_both_imported(|database, url, importer, _| {
        let site = database.read(|it| site::find(it, &"Company".parse().unwrap())).unwrap().unwrap();
        database.write(Part::Hosts, |it| host::insert(it, &new_host(site.id, "ours.example.org"))).unwrap();
        run_psql(
            url,
            "DELETE FROM host_netblock WHERE host_id = 5; DELETE FROM host_category_url WHERE host_category_id = 5; \
             DELETE FROM host_category WHERE host_id = 5; DELETE FROM host WHERE id = 5",
        );
        run(importer, database, Options::default()).unwrap();
        let site = database.read(|it| site::find(it, &"Company".parse().unwrap())).unwrap().unwrap();
        let hosts = database.read(|it| host::list_of_site(it, site.id)).unwrap();
        assert_eq!(hosts.len(), 1, "it is ours now");
        assert_eq!(database.read(|it| imported::find_site(it, site.id)).unwrap(), None);
    });
}

#[test]
fn their_database_is_only_read_and_faults_are_told() {
    on_both_imported(|database, url, importer, _| {
        run_psql(url, "CREATE ROLE importer LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO importer");
        let reader = url.replace("//portolan@", "//importer@");
        run(&self::importer(&reader, &[]), database, Options::default()).unwrap();
        run_psql(url, "DROP OWNED BY importer; DROP ROLE importer");
        run_psql(url, "DROP TABLE embargoed_country");
        let error = run(importer, database, Options::default()).unwrap_err().to_string();
        assert!(
            error.contains("embargoed_country") && error.starts_with("MirrorManager's database"),
            "{error}"
        );
        let file = self::importer("sqlite:mirrormanager.db", &[]);
        assert!(run(&file, database, Options::default()).unwrap_err().to_string().contains("postgres://"));
        if cfg!(not(feature = "pg-tls")) {
            let safe = self::importer(&format!("{url}&sslmode=require"), &[]);
            let error = run(&safe, database, Options::default()).unwrap_err().to_string();
            assert!(error.contains("--features pg-tls"), "{error}");
        }
    });
}

/// Words that stand in any column of text.
const WORDS: [&str; 32] = [
    "",
    " ",
    "m1",
    "M1",
    "m 1",
    "own.example.org",
    "site of own.example.org",
    "Université",
    "\u{202e}x",
    "a\nb",
    "山",
    "host-1",
    "import-1",
    "https://m1.example.org/pub",
    "HTTPS://M1.example.org/pub/",
    "https://own.example.org",
    "https://m 1/x",
    "https://m1.example.org/pub/tools",
    "rsync://m1.example.org/x",
    "ftp://m1.example.org/x",
    "192.0.2.0/24",
    "192.0.2.9/24",
    "0.0.0.0/0",
    "10.0.0.0/255.255.0.0",
    "2001:db8::/32",
    "name.example.org",
    "DE",
    "de",
    "XX",
    "EU",
    "fedora",
    "old/fedora",
];

fn text() -> impl Strategy<Value = Option<String>> {
    option::weighted(0.95, prop_oneof![9 => select(&WORDS[..]).prop_map(str::to_owned), 1 => "\\PC{0,200}"])
}

fn id() -> impl Strategy<Value = Option<i64>> {
    option::weighted(0.95, 1..6i64)
}

fn number() -> impl Strategy<Value = Option<i64>> {
    option::of(prop_oneof![Just(0), Just(-1), 1..70_000i64, any::<i64>()])
}

fn flag() -> impl Strategy<Value = Option<bool>> {
    option::weighted(0.95, any::<bool>())
}

fn rows() -> impl Strategy<Value = Rows> {
    let sites = vec((text(), text(), flag(), flag(), flag()), 0..6);
    let hosts = vec(
        (text(), id(), text(), number(), number(), (flag(), flag(), flag()), option::of(any::<f64>())),
        0..6,
    );
    let opt_ins = vec((id(), id(), flag()), 0..10);
    let urls = vec((id(), text(), flag()), 0..12);
    let texts = || vec((id(), text(), text()), 0..5);
    (sites, hosts, opt_ins, urls, vec((id(), number()), 0..5), texts(), texts(), texts()).prop_map(
        |(sites, hosts, opt_ins, urls, peers, netblocks, countries, others)| Rows {
            sites: (1..)
                .zip(sites)
                .map(|(id, (name, org_url, private, admin_active, user_active))| SiteRow {
                    id,
                    name,
                    org_url,
                    private,
                    admin_active,
                    user_active,
                })
                .collect(),
            hosts: (1..)
                .zip(hosts)
                .map(|(id, (name, site_id, country, bandwidth_int, asn, flags, latitude))| HostRow {
                    id,
                    name: name.clone(),
                    site_id,
                    country,
                    bandwidth_int,
                    asn,
                    comment: name,
                    private: flags.0,
                    admin_active: flags.1,
                    user_active: flags.2,
                    asn_clients: flags.0,
                    latitude,
                    longitude: latitude,
                })
                .collect(),
            categories: [(1, "A"), (2, "B"), (3, "C")]
                .map(|(id, it)| CategoryRow { id, name: Some(it.to_owned()) })
                .into(),
            host_categories: (1..)
                .zip(opt_ins)
                .map(|(id, (host_id, category_id, always_up2date))| HostCategoryRow {
                    id,
                    host_id,
                    category_id,
                    always_up2date,
                })
                .collect(),
            host_category_urls: (1..)
                .zip(urls)
                .map(|(id, (host_category_id, url, private))| HostCategoryUrlRow {
                    id,
                    host_category_id,
                    url,
                    private,
                })
                .collect(),
            host_peer_asns: (1..)
                .zip(peers)
                .map(|(id, (host_id, asn))| HostPeerAsnRow { id, host_id, asn, name: None })
                .collect(),
            host_netblocks: (1..)
                .zip(netblocks)
                .map(|(id, (host_id, netblock, name))| HostNetblockRow { id, host_id, netblock, name })
                .collect(),
            host_countries_allowed: (1..)
                .zip(countries)
                .map(|(id, (host_id, country, _))| HostCountryAllowedRow { id, host_id, country })
                .collect(),
            site_admins: (1..)
                .zip(&others)
                .map(|(id, (site_id, username, _))| SiteAdminRow {
                    id,
                    site_id: *site_id,
                    username: username.clone(),
                })
                .collect(),
            netblock_countries: (1..)
                .zip(&others)
                .map(|(id, (_, netblock, country))| NetblockCountryRow {
                    id,
                    netblock: netblock.clone(),
                    country: country.clone(),
                })
                .collect(),
            country_continent_redirects: (1..)
                .zip(&others)
                .map(|(id, (_, country, continent))| CountryContinentRedirectRow {
                    id,
                    country: country.clone(),
                    continent: continent.clone(),
                })
                .collect(),
            embargoed_countries: (1..)
                .zip(&others)
                .map(|(id, (_, code, _))| EmbargoedCountryRow { id, country_code: code.clone() })
                .collect(),
            repository_redirects: (1..)
                .zip(&others)
                .map(|(id, (_, from_repo, to_repo))| RepositoryRedirectRow {
                    id,
                    from_repo: from_repo.clone(),
                    to_repo: to_repo.clone(),
                })
                .collect(),
        },
    )
}

/// One after another into one database, so that names and URLs also move from one host to another.
#[test]
fn no_rows_stop_an_import() {
    let carried = ["fedora=.", "tools"].map(|it| it.parse().unwrap()).to_vec();
    let mapping: Mapping = [("A".to_owned(), Vec::new()), ("B".to_owned(), carried)].into();
    let importer = Importer::new("postgres://nowhere/".parse().unwrap(), mapping);
    on_both(|database| {
        for name in ["fedora", "tools"] {
            add_category(database, name, 1);
        }
        let own = add_host(database, "own.example.org");
        let opt_in = |it: &mut Connection| {
            let category = crate::database::category::find(it, &"fedora".parse().unwrap())?.unwrap();
            host_category::opt_in(
                it,
                own.id,
                category.id,
                &["https://own.example.org".parse().unwrap()],
                own.created_at,
            )
        };
        database.write(Part::Hosts, opt_in).unwrap();
        let options = Options { allow_removal: true, ..Options::default() };
        let mut runner = TestRunner::new(Cases { cases: 128, failure_persistence: None, ..Cases::default() });
        let outcome = runner.run(&(rows(), any::<bool>()), |(rows, answers)| {
            let address = vec!["192.0.2.77".parse().unwrap()];
            let found = if answers { Ok(address) } else { Err("no answer".to_owned()) };
            let names = Names::from([("name.example.org".to_owned(), found)]);
            let store = || importer.store(database, &rows, &names, options, now());
            store().map_err(|it| TestCaseError::fail(it.to_string()))?;
            let again = store().map_err(|it| TestCaseError::fail(it.to_string()))?;
            prop_assert_eq!(told(&again), Vec::<String>::new());
            let hosts = load(database);
            prop_assert_eq!(urls(find(&hosts, "own.example.org")), ["https://own.example.org"]);
            Ok(())
        });
        outcome.unwrap();
    });
}
