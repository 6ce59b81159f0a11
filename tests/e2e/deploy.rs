//! What deploy/ has for systemd and Ansible is sound, and the services are hardened.

use std::path::PathBuf;
use std::{fs, path::Path};

use crate::rig::program::{command, finish, run};

/// Ten times the highest exposure that a service may have, as `systemd-analyze security` counts it.
const THRESHOLD: &str = "--threshold=30";

/// What systemd looks for, and is not installed where the tests run.
const PROGRAM: &str = "/usr/local/bin/portolan";

fn units(extension: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/systemd");
    let files = fs::read_dir(folder).expect("the units").map(|it| it.expect("an entry").path());
    let mut found: Vec<_> = files.filter(|it| it.extension().is_some_and(|it| it == extension)).collect();
    found.sort();
    found
}

#[test]
fn services_may_do_little() {
    let services = units("service");
    assert!(services.len() >= 8, "{services:?}");
    for service in services {
        let path = service.to_str().expect("a path in UTF-8");
        let told = run("systemd-analyze", &["security", "--offline=yes", "--no-pager", THRESHOLD, path]);
        println!("{}", told.lines().last().unwrap_or_default());
    }
}

#[test]
fn units_are_sound() {
    let folder = tempfile::tempdir().unwrap();
    let mut copies = Vec::new();
    for unit in ["service", "timer", "socket"].iter().flat_map(|it| units(it)) {
        let text = fs::read_to_string(&unit).unwrap().replace(PROGRAM, env!("CARGO_BIN_EXE_portolan"));
        let copy = folder.path().join(unit.file_name().unwrap());
        fs::write(&copy, text).unwrap();
        copies.push(copy);
    }
    let mut verify = command("systemd-analyze");
    verify.args(["verify", "--man=no", "--recursive-errors=yes"]).args(&copies);
    verify.env("SYSTEMD_UNIT_PATH", format!("{}:", folder.path().display()));
    let verified = finish(verify);
    let faults: Vec<_> = verified.stderr.lines().filter(|it| it.contains("portolan")).collect();
    assert!(verified.success() && faults.is_empty(), "{verified}");
}

#[test]
fn every_timer_has_its_service_and_every_command_is_one() {
    for timer in units("timer") {
        assert!(timer.with_extension("service").exists(), "{}", timer.display());
    }
    for service in units("service") {
        let text = fs::read_to_string(&service).unwrap();
        let line = text.lines().find_map(|it| it.strip_prefix("ExecStart=")).expect("a command");
        let arguments = line.strip_prefix(PROGRAM).expect("our program").trim();
        let mut help = command(env!("CARGO_BIN_EXE_portolan"));
        help.args(arguments.split(' ')).arg("--help");
        finish(help).expect_success();
    }
}

#[test]
fn the_playbook_is_clean() {
    let home = tempfile::tempdir().unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/ansible");
    let ansible = |name: &str, arguments: &[&str]| {
        let mut ansible = command(name);
        ansible.args(arguments).arg("site.yml").current_dir(&folder).env("HOME", home.path());
        finish(ansible).expect_success();
    };
    ansible("ansible-playbook", &["--syntax-check", "--inventory", "inventory.example.yml"]);
    ansible("ansible-lint", &["--offline", "--strict", "--nocolor"]);
}
