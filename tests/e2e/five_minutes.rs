//! docs/mirror-admins.md, "Five minutes from nothing to offered": its commands, as they are written.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::rig::apache::Apache;
use crate::rig::image::Image;
use crate::rig::namespace::{self, CLIENT_DE, Namespace, REGISTRY};
use crate::rig::nginx::{Nginx, Scheme};
use crate::rig::program::{Finished, command, finish, run, wait_for};
use crate::rig::world::{CATEGORY, Engine, World};
use crate::rig::{http, origin, rsync};

const DOCUMENT: &str = include_str!("../../docs/mirror-admins.md");

/// What the heading promises.
const PROMISED: Duration = Duration::from_secs(5 * 60);

/// A piece of code of the document.
#[derive(Debug, Clone, Copy)]
struct Code {
    language: &'static str,
    text: &'static str,
}

/// The pieces of code below this heading, down to the next one.
#[track_caller]
fn codes(heading: &str) -> Vec<Code> {
    let (_, rest) = DOCUMENT.split_once(&format!("\n{heading}\n")).expect("the heading");
    let section = rest.split("\n## ").next().and_then(|it| it.split("\n### ").next()).expect("a section");
    let fences: Vec<_> = section.split("```").collect();
    let pieces = fences.iter().skip(1).step_by(2);
    pieces.filter_map(|it| it.split_once('\n')).map(|(language, text)| Code { language, text }).collect()
}

/// The names of the document.
fn name_hosts() {
    let names = format!("{REGISTRY} registry.example.org rsync.example.org\n192.0.2.11 mirror.example.org\n");
    let hosts = fs::read_to_string("/etc/hosts").unwrap();
    fs::write("/etc/hosts", format!("{hosts}{names}")).unwrap();
}

/// What a mirror's machine has and the one of the tests has not, or must not touch.
fn furnish(namespace: &Namespace, token: &str) {
    for folder in ["/usr/local/bin", "/var/log", "/etc/cron.d"] {
        run("mount", &["-t", "tmpfs", "-o", "mode=755", "tmpfs", folder]);
    }
    fs::write(namespace.folder.join("token"), token).unwrap();
    let tool = |name: &str, script: &str| {
        let path = Path::new("/usr/local/bin").join(name);
        fs::write(&path, format!("#!/bin/sh\nset -eu\n{script}\n")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    };
    tool("sudo", "exec \"$@\"");
    // They are installed, and here is no network.
    tool("apt-get", "[ \"$1\" = install ]; shift; for it; do command -v \"$it\"; done");
    // The admin, who has got the token by mail.
    tool("nano", &format!("cat {} > \"$1\"", namespace.folder.join("token").display()));
}

/// Runs lines of the document where the admin has unpacked Portolan's source.
fn shell(script: &str) -> Finished {
    let mut sh = command("sh");
    sh.args(["-euc", script]).current_dir(env!("CARGO_MANIFEST_DIR"));
    sh.env("PATH", "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    finish(sh)
}

/// Writes a file that begins with its path in a comment; several, if there are several such lines.
fn write_files(text: &str) -> Vec<String> {
    let files = text.split("# /").skip(1).map(|it| it.split_once('\n').expect("a line with a path"));
    let write = |(path, text): (&str, &str)| {
        let path = format!("/{path}");
        fs::write(&path, text).unwrap();
        path
    };
    files.map(write).collect()
}

/// Runs the lines by which an admin looks at the own server.
#[track_caller]
fn see_for_yourself(script: &str) {
    let seen = shell(script).expect_success();
    for part in ["200 OK", "Content-Length: 2", "206 Partial", "Content-Range: bytes 1-1/2", "404 Not"] {
        assert!(seen.contains(part), "{part} is not in {seen}");
    }
    assert_eq!(seen.matches("Content-Type: application/octet-stream").count(), 2, "{seen}");
    assert!(!seen.contains("Content-Encoding"), "{seen}");
}

#[test]
fn from_nothing_to_offered() {
    namespace::enter(|namespace| {
        let world = World::new(namespace, Engine::Sqlite);
        // As it comes: whoever is not told waits an hour.
        world.portolan.configure("[crawl]\ninterval = \"1s\"", "[crawl]\ninterval = \"1h\"");
        namespace.authority.issue(&["registry.test", "registry.example.org"]);
        name_hosts();
        Image::ordinary("fedora").push(origin::URL, "fedora", "latest");
        world.publish();
        let _daemon = rsync::daemon(namespace, "registry.test", &world.portolan.folder.join("tree"));
        let _service = world.portolan.service("serve");
        let _crawler = world.portolan.start("crawl");
        namespace::connect_from(CLIENT_DE, REGISTRY);
        let layer = world.origin.layers("fedora", "latest").remove(0);
        let layer = format!("https://registry.example.org/v2/fedora/blobs/{layer}");
        let is_offered = || {
            let answer = http::get(&layer, &[]);
            answer
                .header("location")
                .is_some_and(|it| it.starts_with("https://mirror.example.org/containers/"))
        };
        // A machine with a name and a web server that is as Debian's package makes it.
        let mut nginx = Nginx::start(namespace, "de.mirror.test", Scheme::Https);
        nginx.show(namespace.authority.issue(&["mirror.example.org"]));
        fs::create_dir_all("/var/www/html").unwrap();
        run("mount", &["--bind", nginx.root().to_str().unwrap(), "/var/www/html"]);

        let started = Instant::now();
        let add = "host add mirror.example.org --site volunteers --country DE";
        world.portolan.done(add);
        let url = "https://mirror.example.org/containers";
        assert!(DOCUMENT.contains(&format!("with this URL:\n`{url}`")));
        world.portolan.done(&format!("host opt-in mirror.example.org {CATEGORY} --url {url}"));
        let token = world.portolan.json("host token create mirror.example.org")["token"].take();
        furnish(namespace, token.as_str().unwrap());
        assert!(!is_offered());

        let steps = codes("## Five minutes from nothing to offered");
        let languages: Vec<_> = steps.iter().map(|it| it.language).collect();
        assert_eq!(languages, ["sh", "ini", "sh", "", "ini"], "the script, settings, copy, cron, timer");
        shell(steps[0].text).expect_success();
        assert!(DOCUMENT.contains("**2. Its settings**, `/etc/portolan-sync.conf`"));
        fs::write("/etc/portolan-sync.conf", steps[1].text).unwrap();
        let told = shell(steps[2].text).expect_success();
        assert!(told.contains("containers/blobs/") && told.contains("Total file size:"), "{told}");
        let servers = codes("## Web server");
        assert_eq!(servers.iter().map(|it| it.language).collect::<Vec<_>>(), ["nginx", "apache", "sh"]);
        nginx.restart_with(servers[0].text);
        see_for_yourself(servers[2].text);
        fs::write("/etc/cron.d/portolan-sync", steps[3].text).unwrap();
        let offered = wait_for(PROMISED, is_offered);
        let took = started.elapsed();
        assert!(offered && took < PROMISED, "{}", fs::read_to_string("/var/log/portolan-sync.log").unwrap());
        println!("from nothing to the first redirect: {took:.1?}, and what the admin types and reads");

        // The same files by the other server.
        let apache = format!("Alias /containers /var/www/html/containers\n{}", servers[1].text);
        let _apache = Apache::start(namespace, "de2.mirror.test", &apache);
        see_for_yourself(&servers[2].text.replace("mirror.example.org", "de2.mirror.test"));

        // What runs later.
        let cron = fs::read_to_string("/etc/cron.d/portolan-sync").unwrap();
        let (_, line) = cron.split_once("root").expect("as whom");
        let at_once = line.replace("shuf -i 0-240 -n 1", "echo 0");
        assert_ne!(at_once, line);
        shell(&at_once).expect_success();
        let log = fs::read_to_string("/var/log/portolan-sync.log").unwrap();
        assert!(log.lines().last().unwrap().contains("nothing new"), "{log}");
        let units = write_files(steps[4].text);
        assert_eq!(units.len(), 2, "{units:?}");
        let units: Vec<_> = units.iter().map(String::as_str).collect();
        run("systemd-analyze", &[&["verify", "--man=no"], &units[..]].concat());
    });
}
