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

/// What a line of the Containerfile that begins with `word` says.
fn container(word: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/Containerfile");
    let text = fs::read_to_string(path).expect("the Containerfile");
    let lines = text.lines().filter_map(|it| it.strip_prefix(word)?.strip_prefix(' '));
    lines.map(str::to_owned).collect()
}

#[test]
fn the_container_is_what_the_documents_and_cargo_say() {
    // Built by cargo, as the command in its head says.
    assert!(container("#").iter().any(|it| it.contains("podman build -f deploy/Containerfile")));
    let built = Path::new(env!("CARGO_BIN_EXE_portolan"));
    let program = container("ARG").into_iter().find_map(|it| Some(it.strip_prefix("PROGRAM=")?.to_owned()));
    let program = program.expect("where the program is");
    assert_eq!(Path::new(&program).file_name(), built.file_name());
    assert_eq!(Path::new(&program).parent(), Some(Path::new("target/release")));
    // Where it is put, and is started from, with a command that there is.
    let [copy] = &container("COPY")[..] else { panic!("one file is copied") };
    let place = copy.rsplit(' ').next().expect("a place");
    assert_eq!(copy, &format!("--chmod=0755 ${{PROGRAM}} {place}"));
    assert_eq!(container("ENTRYPOINT"), [format!("[\"{place}\"]")]);
    let [arguments] = &container("CMD")[..] else { panic!("one command") };
    let arguments: Vec<String> = serde_json::from_str(arguments).expect("a list");
    let mut help = command(env!("CARGO_BIN_EXE_portolan"));
    help.args(arguments).arg("--help");
    finish(help).expect_success();
    // What it writes to is its own, also where nothing is mounted.
    let [owned] = &container("RUN install")[..] else { panic!("folders are made once") };
    let mut words = owned.split(' ').filter(|it| !it.starts_with('-'));
    let user: Vec<&str> = words.by_ref().take(2).collect();
    let folders: Vec<&str> = words.collect();
    assert_eq!(container("USER"), [user.join(":")]);
    assert_eq!(container("VOLUME"), [folders.join(" ")]);
    assert!(folders.contains(&container("WORKDIR")[0].as_str()));
    let variable = container("ENV").into_iter().find_map(|it| Some(it.split_once('=')?.0.to_owned()));
    let help = run(env!("CARGO_BIN_EXE_portolan"), &["--help"]);
    assert!(help.contains(&format!("[env: {}=", variable.expect("a variable"))), "{help}");
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
