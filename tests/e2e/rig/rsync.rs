//! rsync, as mirrors run it: whole, or stopped in its middle.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use super::namespace::{self, Namespace};
use super::program::{Program, command, finish, wait_for};
use super::tree::list_digests;

/// Copies a category's folder of the tree into a mirror's folder, removing what the tree has no more.
pub(crate) fn copy(category: &Path, mirror: &Path) {
    finish(rsync(category, mirror, &[])).expect_success();
}

/// Starts to copy, and kills rsync when the mirror has at least `blobs` blobs more than before.
///
/// rsync writes temporary names and renames, so what is there is whole; the rest, and `zz/`, is as it was.
pub(crate) fn copy_and_kill(category: &Path, mirror: &Path, blobs: usize) {
    fs::create_dir_all(mirror).expect("the mirror's folder");
    let before = list_digests(mirror).len();
    // A slow line: the rig's images take seconds, so that there is a middle.
    let command = rsync(category, mirror, &["--bwlimit=1m"]);
    let mut program = Program::start("rsync", mirror.parent().expect("a parent"), command);
    let reached = wait_for(Duration::from_secs(30), || list_digests(mirror).len() >= before + blobs);
    program.kill();
    assert!(reached, "rsync did not bring {blobs} blobs: {}", program.log_tail());
    let whole = list_digests(category).len();
    assert!(list_digests(mirror).len() < whole, "rsync was through before it could be killed");
}

fn rsync(category: &Path, mirror: &Path, arguments: &[&str]) -> std::process::Command {
    fs::create_dir_all(mirror).expect("the mirror's folder");
    let mut rsync = command("rsync");
    rsync.args(["--archive", "--delete-after"]).args(arguments);
    rsync.arg(format!("{}/", category.display())).arg(format!("{}/", mirror.display()));
    rsync
}

/// Starts the naive `rsync -a` and kills it when it has named `files` files more as copied, at a slow line's speed.
/// Gives how many it named, or `None` if it was through before.
pub(crate) fn copy_files_and_kill(category: &Path, mirror: &Path, files: usize) -> Option<usize> {
    fs::create_dir_all(mirror).expect("the mirror's folder");
    let mut rsync = command("rsync");
    rsync.args(["-a", "--out-format=%n", "--bwlimit=8m", "--outbuf=L"]);
    rsync.arg(format!("{}/", category.display())).arg(format!("{}/", mirror.display()));
    let mut child = rsync.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("rsync");
    let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let named = lines.map_while(Result::ok).filter(|it| !it.ends_with('/')).take(files).count();
    if named < files {
        assert!(child.wait().expect("rsync ends").success(), "rsync failed");
        return None;
    }
    child.kill().expect("rsync is killed");
    child.wait().expect("rsync ends");
    Some(named)
}

/// An rsync daemon on its own port, at the IPv4 address of the host name `name`, whose module `pub` is `folder`.
pub(crate) fn daemon(namespace: &Namespace, name: &str, folder: &Path) -> Program {
    let config = namespace.folder.join(format!("{name}.rsyncd.conf"));
    let text = format!("use chroot = no\nuid = root\ngid = root\n[pub]\npath = {}\n", folder.display());
    fs::write(&config, text).expect("rsync's configuration");
    let address = namespace::addresses(name)[0];
    let mut rsync = command("rsync");
    rsync.args(["--daemon", "--no-detach"]).arg(format!("--address={address}"));
    rsync.arg(format!("--config={}", config.display()));
    let mut program = Program::start(&format!("rsyncd-{name}"), &namespace.folder, rsync);
    program.wait_until("rsync's port", || std::net::TcpStream::connect((address, 873)).is_ok());
    program
}
