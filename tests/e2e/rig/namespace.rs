//! One Linux namespace per test, entered without unsafe code.
//!
//! `enter` runs this test binary again, for the one test that called it, under util-linux's `unshare`. In there
//! the test has its own network (`lo` with the documentation networks on it), its own copy of /etc (hosts file,
//! our CA), its own /run, and a memory file system for everything it writes. All of it goes when the test ends,
//! however it ends, with every process it started.

use std::fs::{self, File};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::ca::Authority;
use super::program::{self, run};

/// How long one test may take before it is killed.
const DEADLINE: Duration = Duration::from_secs(300);

/// Set for the inner process: the network namespace that it must not be in any more.
const OUTSIDE: &str = "PORTOLAN_E2E_OUTSIDE";

/// Set for the inner process: the folder it works in.
const FOLDER: &str = "PORTOLAN_E2E_FOLDER";

/// Written by the inner process when the story is through; a test name that matches nothing would "pass" else.
const PASSED: &str = "passed";

/// Where the registry listens.
pub(crate) const REGISTRY: &str = "192.0.2.1";
pub(crate) const REGISTRY_SIX: &str = "2001:db8:de::1";

/// The networks of the rig by country; RFC 5737 and RFC 3849 keep them for documentation.
pub(crate) const NETWORKS: [(&str, &str); 5] = [
    ("192.0.2.0/24", "DE"),
    ("198.51.100.0/24", "FR"),
    ("203.0.113.0/24", "US"),
    ("2001:db8:de::/48", "DE"),
    ("2001:db8:fa::/48", "FR"),
];

/// Clients' addresses: in Germany, in France, and in France by IPv6.
pub(crate) const CLIENT_DE: &str = "192.0.2.200";
pub(crate) const CLIENT_FR: &str = "198.51.100.200";
pub(crate) const CLIENT_SIX: &str = "2001:db8:fa::200";

/// Every name of the rig and its addresses. The first part of a mirror's name says its country.
const HOSTS: [(&str, &[&str]); 33] = [
    ("registry.test", &[REGISTRY]),
    ("six.registry.test", &[REGISTRY_SIX]),
    ("direct.registry.test", &[REGISTRY]),
    ("origin.test", &["192.0.2.5"]),
    ("token.test", &["192.0.2.6"]),
    ("de.mirror.test", &["192.0.2.11", "2001:db8:de::11"]),
    ("de2.mirror.test", &["192.0.2.12"]),
    ("de3.mirror.test", &["192.0.2.13"]),
    ("de4.mirror.test", &["192.0.2.14"]),
    ("de5.mirror.test", &["192.0.2.15"]),
    ("de11.mirror.test", &["192.0.2.21"]),
    ("de12.mirror.test", &["192.0.2.22"]),
    ("de13.mirror.test", &["192.0.2.23"]),
    ("de14.mirror.test", &["192.0.2.24"]),
    ("de15.mirror.test", &["192.0.2.25"]),
    ("de16.mirror.test", &["192.0.2.26"]),
    ("de17.mirror.test", &["192.0.2.27"]),
    ("de18.mirror.test", &["192.0.2.28"]),
    ("de19.mirror.test", &["192.0.2.29"]),
    ("de20.mirror.test", &["192.0.2.30"]),
    ("de21.mirror.test", &["192.0.2.31"]),
    ("de22.mirror.test", &["192.0.2.32"]),
    ("de23.mirror.test", &["192.0.2.33"]),
    ("de24.mirror.test", &["192.0.2.34"]),
    ("de25.mirror.test", &["192.0.2.35"]),
    ("de26.mirror.test", &["192.0.2.36"]),
    ("de27.mirror.test", &["192.0.2.37"]),
    ("de28.mirror.test", &["192.0.2.38"]),
    ("de29.mirror.test", &["192.0.2.39"]),
    ("de30.mirror.test", &["192.0.2.40"]),
    ("fr.mirror.test", &["198.51.100.11"]),
    ("us.mirror.test", &["203.0.113.11"]),
    ("us2.mirror.test", &["203.0.113.12"]),
];

/// Addresses that only clients come from.
const CLIENTS: [&str; 3] = [CLIENT_DE, CLIENT_FR, CLIENT_SIX];

/// The world of one test: its folder and the authority that every program in it trusts.
pub(crate) struct Namespace {
    pub(crate) folder: PathBuf,
    pub(crate) authority: Authority,
}

/// Runs `story` in a namespace of its own. To be called once, as the whole body of a test function, with a closure
/// that is written there: the closure's type tells the test's name.
pub(crate) fn enter<F: FnOnce(&Namespace)>(story: F) {
    enter_within(DEADLINE, story);
}

/// The same for a story that may take so long: for measures.
pub(crate) fn enter_within<F: FnOnce(&Namespace)>(limit: Duration, story: F) {
    match std::env::var(OUTSIDE) {
        Ok(outside) => inside(&outside, story),
        Err(_) => outside(&test_name::<F>(), limit),
    }
}

/// The name of the test that the closure `F` was written in, as libtest knows it.
fn test_name<F>() -> String {
    let path = std::any::type_name::<F>().trim_end_matches("::{{closure}}");
    let (_crate, name) = path.split_once("::").expect("a closure's type name begins with its crate");
    name.to_owned()
}

fn outside(test: &str, limit: Duration) {
    let folder = tempfile::Builder::new().prefix("portolan-e2e-").tempdir().expect("a temporary folder");
    fs::create_dir(folder.path().join("world")).expect("the world's folder");
    let output = folder.path().join("output");
    let log = File::create(&output).expect("a file for the output");
    // Should this process be killed, unshare dies by the parent's death signal, and by --kill-child all the rest.
    let mut child = Command::new(program::find("setpriv"))
        .args(["--pdeathsig", "KILL"])
        .arg(program::find("unshare"))
        .args([
            "--net",
            "--mount",
            "--propagation",
            "private",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
        ])
        .arg(std::env::current_exe().expect("the path of the test binary"))
        .args([test, "--exact", "--nocapture", "--include-ignored"])
        .env(OUTSIDE, network_namespace())
        .env(FOLDER, folder.path())
        .env("RUST_BACKTRACE", "0")
        .env("TMPDIR", folder.path().join("world"))
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("the output's second handle"))
        .stderr(log)
        .spawn()
        .expect("unshare starts");
    let status = wait(&mut child, limit);
    println!("{}", String::from_utf8_lossy(&fs::read(&output).unwrap_or_default()));
    match status {
        None => panic!("{test} was not through after {limit:?} and was killed"),
        Some(status) if !status.success() => {
            panic!("{test} failed in its namespace ({status}); it needs root")
        }
        Some(_) => assert!(folder.path().join(PASSED).exists(), "no test is named {test}"),
    }
}

/// Waits until the deadline; `None` when the child had to be killed, and with it its whole process namespace.
fn wait(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let started = Instant::now();
    while started.elapsed() < limit {
        if let Some(status) = child.try_wait().expect("the child can be waited for") {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().expect("unshare can be killed");
    child.wait().expect("the child can be waited for");
    None
}

fn inside<F: FnOnce(&Namespace)>(outside: &str, story: F) {
    // Everything below changes the machine's network and file systems: never outside of a namespace.
    assert_ne!(outside, network_namespace(), "{OUTSIDE} is for the inner process only");
    let folder = PathBuf::from(std::env::var_os(FOLDER).expect("the outer process names the folder"));
    let world = folder.join("world");
    mount_world(&world);
    bring_up_network();
    let authority = Authority::new(&world.join("ca"));
    furnish_etc(&world, &authority);
    story(&Namespace { folder: world, authority });
    fs::write(folder.join(PASSED), "").expect("the note that the story is through");
}

fn network_namespace() -> String {
    let link = fs::read_link("/proc/self/ns/net").expect("/proc/self/ns/net");
    link.to_string_lossy().into_owned()
}

fn mount_world(world: &Path) {
    let world = world.to_str().expect("a temporary folder in UTF-8");
    // 755: PostgreSQL and docker-registry's helpers run as other users.
    run("mount", &["-t", "tmpfs", "-o", "mode=755", "tmpfs", world]);
    run("mount", &["-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run"]);
}

fn bring_up_network() {
    run("ip", &["link", "set", "lo", "up"]);
    let addresses = HOSTS.iter().flat_map(|(_, addresses)| addresses.iter()).chain(&CLIENTS);
    for address in addresses {
        match address.contains(':') {
            true => run("ip", &["address", "replace", &format!("{address}/128"), "dev", "lo", "nodad"]),
            false => run("ip", &["address", "replace", &format!("{address}/32"), "dev", "lo"]),
        };
    }
}

/// Puts a copy of /etc over /etc and writes our names and our authority into it.
///
/// dockerd (Go), skopeo, podman, curl, aria2c, librepo and portolan all read Debian's bundle; dockerd would
/// otherwise also leave a `key.json` in the machine's own /etc/docker.
fn furnish_etc(world: &Path, authority: &Authority) {
    let copy = world.join("etc");
    run("cp", &["-a", "/etc", copy.to_str().expect("a path in UTF-8")]);
    run("mount", &["--bind", copy.to_str().expect("a path in UTF-8"), "/etc"]);
    fs::remove_dir_all("/etc/docker").ok(); // the machine's own daemon.json, if any
    let mut hosts = String::from("127.0.0.1 localhost\n::1 localhost\n");
    for (name, addresses) in HOSTS {
        for address in addresses {
            hosts.push_str(&format!("{address} {name}\n"));
        }
    }
    fs::write("/etc/hosts", hosts).expect("our /etc/hosts");
    fs::write("/etc/resolv.conf", "").expect("our /etc/resolv.conf");
    let bundle = "/etc/ssl/certs/ca-certificates.crt";
    let mut certificates = fs::read_to_string(bundle).expect("Debian's CA bundle (package ca-certificates)");
    certificates.push_str(&authority.certificate());
    fs::write(bundle, certificates).expect("our CA bundle");
}

/// Lets every connection to `destination` that is opened from now on come from `client`.
///
/// On `lo` the source of a connection is otherwise its destination's own address: the kernel takes it from the
/// `src` of the destination's entry in the table `local`, so that entry is replaced. Measured: `ip route replace`
/// does it for IPv4; for IPv6 it adds a second, worse entry, so the kernel's own one goes first.
pub(crate) fn connect_from(client: &str, destination: &str) {
    let destination: IpAddr = destination.parse().expect("an address");
    let family = if destination.is_ipv6() { "-6" } else { "-4" };
    let entry = destination.to_string();
    if destination.is_ipv6() {
        run("ip", &[family, "route", "del", "local", &entry, "dev", "lo", "table", "local"]);
    }
    run("ip", &[family, "route", "replace", "local", &entry, "dev", "lo", "src", client, "table", "local"]);
}

/// From now on each of these hosts sends at most so many megabytes a second, over all its connections, until
/// [`lift_rate`]. (nginx's `limit_rate` counts each request by itself.)
pub(crate) fn limit_rate(names: &[&str], megabytes: u32) {
    run("tc", &["qdisc", "add", "dev", "lo", "root", "handle", "1:", "htb"]);
    for (number, name) in names.iter().enumerate() {
        let (class, rate) = (format!("1:{}", number + 1), format!("{megabytes}mbps"));
        let add = ["class", "add", "dev", "lo", "parent", "1:", "classid", &class, "htb", "rate", &rate];
        run("tc", &[&add[..], &["quantum", "60000"]].concat());
        for address in addresses(name) {
            let [protocol, kind, order] =
                if address.contains(':') { ["ipv6", "ip6", "2"] } else { ["ip", "ip", "1"] };
            let add = ["filter", "add", "dev", "lo", "parent", "1:", "protocol", protocol, "prio", order];
            run("tc", &[&add[..], &["u32", "match", kind, "src", address, "flowid", &class]].concat());
        }
    }
}

/// Takes back what [`limit_rate`] did.
pub(crate) fn lift_rate() {
    run("tc", &["qdisc", "del", "dev", "lo", "root"]);
}

/// The addresses of one of the rig's names.
pub(crate) fn addresses(name: &str) -> &'static [&'static str] {
    let found = HOSTS.iter().find(|(host, _)| *host == name);
    found.map(|(_, addresses)| *addresses).unwrap_or_else(|| panic!("{name} is not one of the rig's names"))
}
