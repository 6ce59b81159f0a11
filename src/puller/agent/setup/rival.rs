//! Finds what an engine was told by others and ours would overrule, or the other way round.

use std::{fs, io, path::Path};

use super::Engine;
use crate::puller::RegistryName;

/// Where it may be, beside the folders that ours are in.
pub(super) const FILES: [&str; 3] =
    ["/etc/docker/daemon.json", "/etc/default/docker", "/etc/containers/registries.conf"];

/// What the file says of the same, if anything.
pub(super) fn find(
    path: &Path,
    engine: Engine,
    registries: &[RegistryName],
) -> io::Result<Option<&'static str>> {
    let text = match fs::read(path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound || path.is_dir() => return Ok(None),
        Err(error) => return Err(io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
    };
    let mut lines = text.lines().map(str::trim).filter(|it| !it.starts_with('#'));
    Ok(match engine {
        Engine::Docker => lines.any(names_proxy).then_some("leads docker through another proxy"),
        Engine::Containerd => None,
        Engine::Podman => {
            let mut table = "";
            let says = lines.any(|line| {
                if line.starts_with('[') {
                    table = line;
                }
                let registry = named(line).filter(|_| table == "[[registry]]");
                registry.is_some_and(|it| registries.iter().any(|other| other.as_str() == it))
            });
            says.then_some("says how that registry is asked")
        }
    })
}

fn names_proxy(line: &str) -> bool {
    let line = line.to_ascii_lowercase();
    line.contains("https_proxy") || line.contains("https-proxy")
}

/// The registry in a line like `location = "registry.example.org"`.
fn named(line: &str) -> Option<&str> {
    let (key, value) = line.split_once('=')?;
    let is_key = matches!(key.trim(), "location" | "prefix");
    value.trim().trim_start_matches(['"', '\'']).split(['"', '\'']).next().filter(|_| is_key)
}
