//! The database is lost while something is changed.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use portolan::{
    database::{audit, category, generation, host, host_category, site},
    mirror::Role,
};
use serde_json::json;

use crate::{
    desk::Person,
    http::Answer,
    postgres::Cluster,
    rest::{Program, problem},
    status::wait,
    world::World,
};

/// Who waits for a database that is gone is told so no later than this.
const TOLD: Duration = Duration::from_secs(15);

/// A change is on its way no later than this, and a database that is back is asked again.
const BACK: Duration = Duration::from_secs(15);

/// Somebody else who has changed a row, and does not come to an end: whoever changes it waits.
struct Other(Child);

impl Other {
    fn hold(url: &str, row: &str) -> Self {
        let mut psql = Command::new("psql")
            .args(["-X", "-q", "-A", "-t", "-d", url])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("psql; run tests/setup.sh");
        let sql = format!("BEGIN; {row} FOR UPDATE; SELECT 'held';\n");
        psql.stdin.as_mut().unwrap().write_all(sql.as_bytes()).unwrap();
        let mut lines = BufReader::new(psql.stdout.take().unwrap()).lines();
        assert!(lines.any(|it| it.unwrap() == "held"));
        Self(psql)
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How many wait for a lock with a statement like this.
fn count_waiting(url: &str, statement: &str) -> usize {
    let sql = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%{statement}%' \
         AND pid <> pg_backend_pid()"
    );
    let output = Command::new("psql").args(["-X", "-A", "-t", "-d", url, "-c", &sql]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

/// All that people can change, and what is noted of it.
fn all(world: &World) -> String {
    let rows = world.database.read(|it| {
        let mut opt_ins = Vec::new();
        for host in host::list(it)? {
            opt_ins.push(host_category::list(it, host.id)?);
        }
        let log = audit::list(it, &audit::Filter::default(), 99)?;
        Ok((site::list(it)?, host::list(it)?, opt_ins, category::list(it)?, log, generation::load(it)?))
    });
    format!("{:#?}", rows.unwrap())
}

#[track_caller]
fn is_clear_page(answer: &Answer) {
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.header("content-type").starts_with("text/html"));
    for part in ["The database cannot be asked now", "Nothing was changed", "try again"] {
        assert!(answer.text().contains(part), "{part} is not in {}", answer.text());
    }
}

#[track_caller]
fn is_clear_problem(answer: &Answer) {
    let why = problem(answer, 503);
    assert!(why.contains("Nothing was changed; try again"), "{why}");
}

#[test]
fn a_database_that_is_lost_in_the_middle_leaves_nothing_half_done() {
    let mut cluster = Cluster::new();
    let url = cluster.new_database();
    let world = World::over(&url, tempfile::tempdir().unwrap(), |_| {});
    world.add_account("ann", Role::MirrorAdmin, Some("a"));
    let (ann, bob) = (Person::signed_in(&world, "ann"), Program::of(&world, "bob", Role::MirrorAdmin, None));
    let seal = ann.seal();
    bob.get("/account");
    let before = all(&world);
    // Site, host, opt-in and their notes in the log, all in one.
    let form =
        [("url", "https://ann.example/m"), ("category", "fedora"), ("country", "DE"), ("seal", &*seal)];
    let body = json!({ "url": "https://bob.example/m", "category": "fedora", "country": "DE" }).to_string();

    // The form has changed all there is to change, and waits with the last statement; the program waits for its turn.
    let other = Other::hold(&url, "SELECT value FROM generation WHERE part = 'hosts'");
    let (ann, answers, took) = std::thread::scope(|scope| {
        let by_form = scope.spawn(|| {
            let answer = ann.fill("/desk/mirrors", &form);
            (ann, answer)
        });
        wait(BACK, "the form has changed everything", || count_waiting(&url, "UPDATE%generation") == 1);
        let by_program = scope.spawn(|| bob.send("POST", "/hosts", &[], &body));
        wait(BACK, "the program waits", || count_waiting(&url, "pg_advisory_xact_lock") == 1);
        let start = Instant::now();
        cluster.stop();
        let (ann, by_form) = by_form.join().unwrap();
        (ann, [by_form, by_program.join().unwrap()], start.elapsed())
    });
    drop(other);
    println!("it was told after {took:?}");
    assert!(took < TOLD, "{took:?}");
    is_clear_page(&answers[0]);
    is_clear_problem(&answers[1]);

    // As long as it is away, all is told so; what needs no database is as ever.
    is_clear_page(&ann.fill("/desk/mirrors", &form));
    is_clear_page(&ann.get("/desk"));
    is_clear_problem(&bob.send("POST", "/hosts", &[], &body));
    is_clear_problem(&bob.send("GET", "/hosts", &[], ""));
    assert_eq!(ann.get("/mirrors").status, 200);

    // It comes back: nothing was changed, everybody is still who they were, and can do it now.
    cluster.start();
    let took = wait(BACK, "back", || ann.get("/desk").status == 200);
    println!("it was asked again after {took:?}");
    assert_eq!(all(&world), before);
    ann.done("/desk/mirrors", &form[..3]);
    bob.done(201, "POST", "/hosts", serde_json::from_str(&body).unwrap());
    let log = world.database.read(|it| audit::list(it, &audit::Filter::default(), 99)).unwrap();
    let mut made: Vec<_> = log.iter().map(|it| format!("{} {}", it.actor, it.subject)).collect();
    made.sort();
    assert_eq!(made, ["ann host", "ann host", "bob host", "bob host", "bob site"], "{log:#?}");
}
