//! rsync, as mirrors run it: whole, or stopped in its middle.

use std::fs;
use std::path::Path;
use std::time::Duration;

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
