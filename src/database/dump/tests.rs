use super::{rows::TABLES, *};
use crate::database::{Database, Part, host, site, testing::*};

/// Tables that are not in a dump. Scan fills the first ones from the tree, crawl and probe the next from the mirrors, servers
/// others while they run.
const REBUILT: &[&[&str]] = &[
    &[
        "blob",
        "body",
        "category_repository",
        "category_serial",
        "manifest",
        "manifest_blob",
        "pieces",
        "referrer",
        "repository",
        "repository_manifest",
        "tag",
    ],
    &[
        "crawl",
        "crawl_cycle",
        "crawl_schedule",
        "holdings",
        "host_demotion",
        "host_load",
        "host_use",
        "prober",
        "propagation",
        "repair",
        "url_facts",
    ],
    &["demand", "host_experience", "host_traffic", "session", "suspicion", "url_traffic"],
    // In the header.
    &["blob_number", "generation"],
];

/// Columns of tables in a dump that a crawl finds out again.
const FOUND_OUT: &[(&str, &[&str])] = &[
    (
        "host",
        &["auto_disabled_at", "auto_disabled_reason", "crawl_failures", "last_crawl_ms", "last_crawled_at"],
    ),
    ("host_category_url", &["ipv4_reach", "ipv6_reach", "probed_at", "reach_reason"]),
];

/// What portolan 0.1.0 wrote: at least one row in each table. A format that this program writes no more stays here, to be read.
const FIRST: &str = include_str!("../../../tests/data/dump-1.jsonl");

fn restore_text(database: &Database, text: &str) -> Result<Summary, DumpError> {
    database.attempt(&[Part::Hosts], |it| restore(it, &mut text.as_bytes(), now()))
}

fn dump_text(database: &Database) -> String {
    let mut text = Vec::new();
    database.attempt_read(|it| write(it, &mut text, now())).unwrap();
    String::from_utf8(text).unwrap()
}

#[derive(QueryableByName)]
struct Column {
    #[diesel(sql_type = Text)]
    of: String,
    #[diesel(sql_type = Text)]
    name: String,
}

fn list_columns(database: &Database) -> BTreeMap<String, Vec<String>> {
    let query = match database.url() {
        super::super::DatabaseUrl::Postgres(_) => {
            "SELECT table_name::text AS of, column_name::text AS name FROM information_schema.columns \
             WHERE table_schema = 'public' AND table_name NOT LIKE '\\_\\_diesel%' ORDER BY 1, 2"
        }
        super::super::DatabaseUrl::Sqlite(_) => {
            "SELECT m.name AS \"of\", c.name AS name FROM sqlite_master m, pragma_table_info(m.name) c \
             WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite%' AND m.name NOT LIKE '\\_\\_diesel%' ESCAPE '\\' ORDER BY 1, 2"
        }
    };
    let columns: Vec<Column> = database.read(|it| diesel::sql_query(query).load(it)).unwrap();
    let mut tables = BTreeMap::<String, Vec<String>>::new();
    for column in columns {
        tables.entry(column.of).or_default().push(column.name);
    }
    tables
}

/// Whoever adds a table or a column decides here what becomes of it when the database is lost.
#[test]
fn every_table_and_column_has_its_place() {
    on_both(|database| {
        let tables = list_columns(database);
        let mut placed: Vec<&str> = TABLES.iter().map(|it| it.name).collect();
        placed.extend(REBUILT.iter().copied().flatten());
        placed.sort_unstable();
        assert_eq!(tables.keys().map(String::as_str).collect::<Vec<_>>(), placed);
        for table in TABLES {
            let found = FOUND_OUT.iter().filter(|it| it.0 == table.name).flat_map(|it| it.1);
            let mut columns: Vec<_> = table.columns.iter().chain(found).copied().collect();
            columns.sort_unstable();
            assert_eq!(tables[table.name], columns, "{}", table.name);
        }
    });
}

#[test]
fn what_is_restored_is_dumped_the_same_on_both_engines() {
    on_both(|database| {
        let summary = restore_text(database, FIRST).unwrap();
        assert_eq!(summary.tables.len(), TABLES.len(), "a table without a row: {summary:?}");
        let dumped = dump_text(database);
        let rows = |text: &str| text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(rows(&dumped), rows(FIRST));
        let header: Header = serde_json::from_str(dumped.lines().next().unwrap()).unwrap();
        assert_eq!((header.last_ids["host"], header.last_blob_number), (40, 5000));
        let hosts = database.read(host::list).unwrap();
        for host in hosts {
            let due = database.read(|it| lease::find(it, host.id)).unwrap().unwrap();
            assert_eq!(due.next_crawl_at, now());
        }
    });
}

#[test]
fn nothing_is_numbered_again() {
    on_both(|database| {
        restore_text(database, FIRST).unwrap();
        let last_site = database.read(site::list).unwrap().iter().map(|it| it.id.0).max().unwrap();
        let site = database.write(Part::Hosts, |it| site::insert(it, &new_site("new"))).unwrap();
        assert_eq!(site.id.0, last_site + 1);
        let host = database.write(Part::Hosts, |it| host::insert(it, &new_host(site.id, "new"))).unwrap();
        assert_eq!(host.id.0, 41, "a host that was removed had 40");
        let generations = database.generations().unwrap();
        let least = now().unix_seconds();
        assert!(generations.hosts > least && generations.content >= least && generations.holdings >= least);
    });
}

#[test]
fn what_is_no_whole_dump_changes_nothing() {
    on_both(|database| {
        let lines: Vec<&str> = FIRST.lines().collect();
        let whole = |lines: &[&str]| format!("{}\n", lines.join("\n"));
        let refused = |text: &str| {
            let error = restore_text(database, text).unwrap_err().to_string();
            assert_eq!(database.read(site::list).unwrap(), [], "{error}");
            assert_eq!(database.generations().unwrap(), Default::default(), "{error}");
            error
        };
        for text in ["", "\n", "{}\n", "not JSON\n", r#"{"format":"other","version":1}"#] {
            assert_eq!(refused(text), "this is no dump of portolan", "{text}");
        }
        let newer = lines[0].replace("\"version\":1,", "\"version\":2,");
        assert!(refused(&whole(&[&newer])).contains("format 2, and this portolan reads up to 1"));
        let cut = lines.len() - 1;
        assert_eq!(
            refused(&whole(&lines[..cut])),
            format!("the dump is not whole: it ends after line {cut}")
        );
        assert!(refused(FIRST.trim_end()).contains("is not whole"));
        let without_one = [&lines[..3], &lines[4..]].concat();
        assert!(refused(&whole(&without_one)).contains("rows before it"));
        let fault = |table: &str, from: &str, to: &str| {
            let at = lines
                .iter()
                .position(|it| it.contains(&format!("{{\"table\":\"{table}\"")) && it.contains(from));
            let at = at.unwrap_or_else(|| panic!("no {from} of {table}"));
            let changed = lines[at].replace(from, to);
            let mut lines = lines.clone();
            lines[at] = &changed;
            let error = refused(&whole(&lines));
            assert!(error.starts_with(&format!("line {} of the dump: ", at + 1)), "{error}");
            error
        };
        assert!(fault("site", "\"private\"", "\"secret\"").contains("site: unknown field `secret`"));
        assert!(fault("host", "\"DE\"", "\"Germany\"").contains("host: "));
        assert!(fault("site", "\"table\":\"site\"", "\"table\":\"sites\"").contains("no table sites"));
        fault("host", "\"site_id\":", "\"site_id\":99");
        restore_text(database, FIRST).unwrap();
    });
}

#[test]
fn nothing_is_restored_over_something() {
    on_both(|database| {
        database.write(Part::Hosts, |it| site::insert(it, &new_site("a"))).unwrap();
        let error = restore_text(database, FIRST).unwrap_err();
        assert!(matches!(error, DumpError::NotEmpty("site")), "{error}");
        assert_eq!(database.read(site::list).unwrap().len(), 1);
    });
}
