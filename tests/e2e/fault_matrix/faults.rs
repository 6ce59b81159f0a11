//! The ways in which the near mirror fails.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::LAYER;
use crate::rig::faulty::{self, Faulty};
use crate::rig::namespace::Namespace;
use crate::rig::nginx::{Nginx, Scheme};
use crate::rig::server::Cut;
use crate::rig::tree;

/// Where a layer is cut, in bytes.
const MIDDLE: usize = 100_000;

pub(super) struct Fault {
    /// What the table calls it.
    pub(super) name: &'static str,
    /// Whether clients are expected to hang.
    pub(super) hangs: bool,
    /// Whether the crawler must see it.
    pub(super) visible: bool,
    /// Who must heal it at once: words of [`super::clients::Kind`], of Debian 12's clients.
    pub(super) healed: &'static str,
    /// The same of the modern ones.
    pub(super) healed_by_modern: &'static str,
    /// Which of Debian 12's clients cannot be helped by another pull.
    pub(super) stuck: &'static str,
    way: Way,
}

/// How a good mirror turns bad.
enum Way {
    Nginx(fn(&mut Nginx, &Namespace)),
    Server(faulty::Fault),
}

const fn fault(name: &'static str, way: Way, healed: &'static str, healed_by_modern: &'static str) -> Fault {
    Fault { name, hangs: false, visible: true, healed, healed_by_modern, stuck: "", way }
}

/// Every fault, and who heals it without help by what is known of the clients
/// and was measured with them one by one.
pub(super) const FAULTS: [Fault; 19] = [
    fault("404", Way::Nginx(|it, _| it.answer_blobs_with(404)), "docker two-hosts", "two-hosts"),
    fault("403", Way::Nginx(|it, _| it.answer_blobs_with(403)), "docker two-hosts", "two-hosts"),
    fault("429", Way::Nginx(|it, _| it.answer_blobs_with(429)), ALL, ALL),
    fault(
        "500",
        Way::Nginx(|it, _| it.answer_blobs_with(500)),
        "docker two-hosts",
        "docker containerd two-hosts",
    ),
    fault(
        "503",
        Way::Nginx(|it, _| it.answer_blobs_with(503)),
        "docker two-hosts",
        "docker containerd two-hosts podman",
    ),
    fault("refused", Way::Nginx(|it, _| it.stop()), "docker two-hosts podman", "two-hosts podman"),
    fault(
        "reset at open",
        Way::Server(faulty::Fault::NoAnswer(Cut::Rst)),
        "docker two-hosts podman",
        "two-hosts podman",
    ),
    Fault {
        hangs: true,
        // It cannot cancel a request that waits for an answer, and a new pull of the layer joins the old one.
        stuck: "docker",
        ..fault("never answers", Way::Server(faulty::Fault::NoAnswer(Cut::Stall)), "", "")
    },
    fault(
        "cut mid-body (FIN)",
        Way::Server(faulty::Fault::Cut(MIDDLE, Cut::Fin)),
        "docker containerd two-hosts",
        ALL,
    ),
    fault(
        "cut mid-body (RST)",
        Way::Server(faulty::Fault::Cut(MIDDLE, Cut::Rst)),
        "docker podman",
        "podman skopeo",
    ),
    Fault {
        hangs: true,
        ..fault("stalls mid-body", Way::Server(faulty::Fault::Cut(MIDDLE, Cut::Stall)), "", "")
    },
    fault("truncated file", Way::Nginx(|it, _| for_each_layer(&it.root(), truncate)), "", ""),
    fault("one bit flipped", Way::Nginx(|it, _| for_each_layer(&it.root(), flip)), "", ""),
    fault("HTML with 200", Way::Nginx(|it, _| it.restart_with(PAGE)), "", ""),
    fault(
        "expired certificate",
        Way::Nginx(|it, namespace| {
            let identity = namespace.authority.issue_expired(it.name());
            it.show(identity);
        }),
        "docker two-hosts",
        "two-hosts",
    ),
    // Every client undoes it without being told.
    fault("compressed by gzip", Way::Nginx(|it, _| it.restart_with(GZIP)), ALL, ALL),
    fault("labelled as gzip", Way::Nginx(|it, _| it.restart_with(LABEL)), "", ""),
    fault(
        "blob removed",
        Way::Nginx(|it, _| for_each_layer(&it.root(), |path| fs::remove_file(path).expect("a layer"))),
        "docker two-hosts",
        "two-hosts",
    ),
    Fault {
        hangs: true,
        visible: false,
        ..fault("stalls for clients only", Way::Server(faulty::Fault::StallForClients(MIDDLE)), "", "")
    },
];

const ALL: &str = "docker containerd two-hosts podman skopeo";

/// A parking page, as of a domain that was lost.
const PAGE: &str =
    "location ~ /blobs/ { default_type text/html; return 200 '<html><p>For sale</p></html>'; }";

/// A server that compresses whatever it sends, to clients that allow it.
const GZIP: &str = "gzip on; gzip_types *; gzip_min_length 1;";

/// A server that looks into files to find their type, as Apache's mod_mime_magic does: layers are gzip.
const LABEL: &str = "location ~ /blobs/ { add_header Content-Encoding gzip; }";

impl Fault {
    /// The category whose near mirror has this fault.
    pub(super) fn category(&self) -> String {
        self.name
            .to_lowercase()
            .replace(|letter: char| !letter.is_ascii_alphanumeric(), "-")
            .replace("--", "-")
            .trim_matches('-')
            .to_owned()
    }
}

/// The near mirror of one fault.
pub(super) enum Mirror {
    Nginx(Nginx),
    Server(Faulty),
}

impl Mirror {
    /// Starts it, good.
    pub(super) fn start(namespace: &Namespace, name: &str, fault: &Fault) -> Mirror {
        match fault.way {
            Way::Nginx(_) => Mirror::Nginx(Nginx::start(namespace, name, Scheme::Https)),
            Way::Server(_) => Mirror::Server(Faulty::start(namespace, name)),
        }
    }

    pub(super) fn root(&self) -> PathBuf {
        match self {
            Mirror::Nginx(it) => it.root(),
            Mirror::Server(it) => it.root(),
        }
    }

    /// From now on it is good, with the files that it has now.
    pub(super) fn heal(&mut self, namespace: &Namespace) {
        match self {
            Mirror::Nginx(it) => {
                let identity = namespace.authority.issue(&[it.name()]);
                it.show(identity);
            }
            Mirror::Server(it) => it.set(faulty::Fault::None),
        }
    }

    /// From now on it fails.
    pub(super) fn fail(&mut self, namespace: &Namespace, fault: &Fault) {
        match (self, &fault.way) {
            (Mirror::Nginx(it), Way::Nginx(fail)) => fail(it, namespace),
            (Mirror::Server(it), Way::Server(fault)) => it.set(*fault),
            _ => unreachable!("the mirror was started for another fault"),
        }
    }
}

fn for_each_layer(root: &Path, change: fn(&Path)) {
    for category in fs::read_dir(root).expect("the mirror's root") {
        let category = category.expect("an entry").path();
        let paths = tree::list_digests(&category).into_iter().map(|it| category.join(tree::blob_path(&it)));
        let is_layer = |path: &PathBuf| fs::metadata(path).expect("a blob").len() > LAYER as u64;
        paths.filter(is_layer).for_each(|path| change(&path));
    }
}

fn truncate(path: &Path) {
    File::options().write(true).open(path).and_then(|file| file.set_len(MIDDLE as u64)).expect("a layer");
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).expect("a layer");
    bytes[MIDDLE] ^= 1;
    fs::write(path, bytes).expect("a layer");
}
