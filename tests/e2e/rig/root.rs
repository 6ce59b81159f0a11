//! Where clients' programs come from: this machine, or a folder with a whole newer Debian.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::namespace::Namespace;
use super::program::{FOLDERS, command, run};

/// Debian's CA bundle, below a root.
const BUNDLE: &str = "etc/ssl/certs/ca-certificates.crt";

#[derive(Clone)]
pub(crate) enum Root {
    Machine,
    /// Programs run with this folder as their root. The world's folder has the same path in it.
    Folder(PathBuf),
}

impl Root {
    /// The Debian in `folder`, which stays as it is: what is written goes into the world.
    pub(crate) fn over(namespace: &Namespace, folder: &Path) -> Root {
        let place = |name: &str| {
            let path = namespace.folder.join("root").join(name);
            fs::create_dir_all(&path).expect("a folder of the root");
            path
        };
        let (upper, work, root) = (place("upper"), place("work"), place("root"));
        let layers = [("lowerdir", folder), ("upperdir", &upper), ("workdir", &work)];
        let options: Vec<String> =
            layers.iter().map(|(name, path)| format!("{name}={}", path.display())).collect();
        run("mount", &["-t", "overlay", "overlay", "-o", &options.join(","), text(&root)]);
        for path in ["/proc", "/sys", "/dev", "/run"].map(Path::new) {
            bind("--rbind", path, &root);
        }
        // Not recursive: this root is itself in the world.
        bind("--bind", &namespace.folder, &root);
        for name in ["hosts", "resolv.conf"] {
            let target = root.join("etc").join(name);
            fs::remove_file(&target).ok(); // it may be a link
            fs::copy(Path::new("/etc").join(name), target).expect("a file of /etc");
        }
        let mut certificates = fs::read_to_string(folder.join(BUNDLE)).expect("a CA bundle");
        certificates.push_str(&namespace.authority.certificate());
        fs::write(root.join(BUNDLE), certificates).expect("a CA bundle");
        Root::Folder(root)
    }

    /// A command for the program `name` of this Debian.
    pub(crate) fn command(&self, name: &str) -> Command {
        let Root::Folder(root) = self else { return command(name) };
        let mut folders = FOLDERS.iter().map(|folder| Path::new(folder).join(name));
        let program = folders.find(|path| root.join(path.strip_prefix("/").expect("a root")).exists());
        let mut chroot = command("chroot");
        chroot.arg(root).arg(program.unwrap_or_else(|| panic!("{} has no {name}", root.display())));
        chroot
    }

    /// A path of this Debian as everybody else sees it.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        match self {
            Root::Machine => PathBuf::from("/").join(path),
            Root::Folder(root) => root.join(path),
        }
    }
}

fn bind(how: &str, path: &Path, root: &Path) {
    let target = root.join(path.strip_prefix("/").expect("a path from the root"));
    fs::create_dir_all(&target).expect("a place to mount");
    run("mount", &[how, text(path), text(&target)]);
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}
