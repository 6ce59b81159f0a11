//! The alerts and the dashboard of `deploy/grafana`.

use std::{collections::BTreeSet, fs, path::Path, process::Command, time::Duration};

use jiff::Timestamp;
use portolan::database::{Connection, probe};

use crate::{
    status::{management, wait},
    world::on_both,
};

const RULES: &str = "deploy/grafana/portolan.rules.yml";
const DASHBOARD: &str = "deploy/grafana/portolan.json";

/// What all servers count together is asked for at once after the start, and then once a minute.
const WATCHED_WITHIN: Duration = Duration::from_secs(20);

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

#[test]
fn alerts_fire_when_they_should() {
    for arguments in [["check", "rules", RULES], ["test", "rules", "tests/data/portolan.rules.test.yml"]] {
        let mut promtool = Command::new("promtool");
        promtool.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR"));
        let output = promtool.output().expect("promtool; run tests/setup.sh");
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}");
    }
}

#[test]
fn every_alert_has_a_test() {
    let tests = read("tests/data/portolan.rules.test.yml");
    let rules = read(RULES);
    let alerts: Vec<_> = rules.lines().filter_map(|it| it.trim().strip_prefix("- alert: ")).collect();
    assert_eq!(alerts.len(), 7);
    for alert in alerts {
        let silent = format!("alertname: {alert}, exp_alerts: []}}");
        let firing = format!("alertname: {alert}\n        exp_alerts:\n");
        assert!(tests.contains(&silent) && tests.contains(&firing), "{alert}");
    }
}

/// Every name of a metric of ours in a text.
fn metrics(text: &str) -> BTreeSet<&str> {
    let is_of_name = |it: char| it.is_ascii_lowercase() || it == '_';
    let names = text.match_indices("portolan_").map(|(at, _)| &text[at..]);
    names.map(|it| &it[..it.find(|it| !is_of_name(it)).unwrap_or(it.len())]).collect()
}

#[test]
fn what_is_asked_for_is_there() {
    let (rules, dashboard) = (read(RULES), read(DASHBOARD));
    let panels: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    assert!(panels["panels"].as_array().unwrap().len() >= 10);
    let asked: BTreeSet<_> = metrics(&rules).into_iter().chain(metrics(&dashboard)).collect();
    assert!(asked.contains("portolan_budget_spent_bytes") && asked.len() > 10, "{asked:?}");
    on_both(|world| {
        world.http.get(&world.blob(&world.images.large), &[]);
        let beat = |it: &mut Connection| {
            let seen = probe::find_heartbeat(it)?;
            probe::take_over(it, &seen, "prober", Timestamp::now().into())
        };
        assert!(world.database.write_log(beat).unwrap());
        wait(WATCHED_WITHIN, "every metric", || {
            let text = management(&world.http, "/metrics").text().to_owned();
            let there: BTreeSet<_> = text
                .lines()
                .filter(|it| !it.starts_with('#'))
                .filter_map(|it| it.split(['{', ' ']).next())
                .collect();
            let missing: Vec<_> = asked.iter().filter(|it| !there.contains(*it)).collect();
            eprintln!("missing: {missing:?}");
            missing.is_empty()
        });
    });
}
