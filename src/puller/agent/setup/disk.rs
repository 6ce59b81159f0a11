//! Writes and removes an engine's files. What others wrote is never touched.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{CONTAINERD_HOSTS, CONTAINERS, DOCKER_CERTIFICATES, DOCKER_UNIT, Engine, MARK, SetupFile, rival};
use crate::puller::RegistryName;

/// Writes the files below `root`, and removes those of former registries; returns these. A file of somebody else in
/// the same place, or one that ours would overrule, is an error, and nothing is written.
pub fn write(
    root: &Path,
    engine: Engine,
    registries: &[RegistryName],
    files: &[SetupFile],
) -> io::Result<Vec<PathBuf>> {
    let refused = |path: &Path, what: &str| {
        io::Error::other(format!("{} {what}; nothing was written, merge it by hand", path.display()))
    };
    let ours = list_ours(root, engine)?;
    for file in files {
        let path = below(root, &file.path);
        if path.exists() && !ours.contains(&path) {
            return Err(refused(&path, "is not the agent's"));
        }
    }
    let others = list_candidates(root, engine)?.into_iter().filter(|it| !ours.contains(it));
    for path in others.chain(rival::FILES.iter().map(|it| below(root, it.as_ref()))) {
        if let Some(what) = rival::find(&path, engine, registries)? {
            return Err(refused(&path, what));
        }
    }
    for file in files {
        let path = below(root, &file.path);
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::write(path, &file.text)?;
    }
    let is_former = |it: &PathBuf| files.iter().all(|file| below(root, &file.path) != *it);
    remove(ours.into_iter().filter(is_former).collect())
}

/// Removes every file of ours for `engine` below `root`, and the folders that are empty then. Returns the files.
pub fn undo(root: &Path, engine: Engine) -> io::Result<Vec<PathBuf>> {
    remove(list_ours(root, engine)?)
}

fn remove(paths: Vec<PathBuf>) -> io::Result<Vec<PathBuf>> {
    for path in &paths {
        fs::remove_file(path)?;
        let _ = path.parent().map(fs::remove_dir); // not empty: others' files
    }
    Ok(paths)
}

fn list_ours(root: &Path, engine: Engine) -> io::Result<Vec<PathBuf>> {
    let is_ours = |it: &PathBuf| fs::read(it).is_ok_and(|bytes| bytes.starts_with(MARK.as_bytes()));
    Ok(list_candidates(root, engine)?.into_iter().filter(is_ours).collect())
}

/// Every file that may be ours, and its neighbours.
fn list_candidates(root: &Path, engine: Engine) -> io::Result<Vec<PathBuf>> {
    let in_each = |folder: &str, name: &str| -> io::Result<Vec<PathBuf>> {
        Ok(list(&below(root, folder.as_ref()))?.into_iter().map(|it| it.join(name)).collect())
    };
    match engine {
        Engine::Docker => {
            let certificates = in_each(DOCKER_CERTIFICATES, "portolan-agent.crt")?;
            Ok([certificates, list(&below(root, DOCKER_UNIT.as_ref()))?].concat())
        }
        Engine::Containerd => in_each(CONTAINERD_HOSTS, "hosts.toml"),
        Engine::Podman => list(&below(root, CONTAINERS.as_ref())),
    }
}

/// What is in a folder; nothing if it is not there.
fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|it| Ok(it?.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(io::Error::new(error.kind(), format!("{}: {error}", folder.display()))),
    }
}

fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::puller::agent::{AgentConfig, setup::list_files};

    /// A machine, and a configuration for these registries.
    struct Story {
        root: tempfile::TempDir,
        registries: Vec<RegistryName>,
    }

    impl Story {
        fn new(registries: &[&str]) -> Self {
            let registries = registries.iter().map(|it| it.parse().unwrap()).collect();
            Self { root: tempfile::tempdir().unwrap(), registries }
        }

        fn set_up(&self, engine: Engine) -> Result<Vec<PathBuf>, String> {
            let config = AgentConfig { registries: self.registries.clone(), ..AgentConfig::default() };
            let files = list_files(engine, &config, false, Some("PEM"));
            write(self.root.path(), engine, &self.registries, &files).map_err(|it| it.to_string())
        }

        fn put(&self, path: &str, text: &str) -> PathBuf {
            let path = self.root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            path
        }

        /// Every file and what is in it.
        fn everything(&self) -> Vec<(PathBuf, String)> {
            fn walk(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
                for path in list(folder).unwrap() {
                    if path.is_dir() {
                        walk(&path, found);
                    } else {
                        found.push((path.clone(), fs::read_to_string(path).unwrap()));
                    }
                }
            }
            let mut found = Vec::new();
            walk(self.root.path(), &mut found);
            found.sort();
            found
        }
    }

    const ENGINES: [Engine; 3] = [Engine::Docker, Engine::Containerd, Engine::Podman];

    #[test]
    fn an_undo_restores_what_was_there() {
        let mut story = Story::new(&["r.test", "other.test:5000"]);
        story.put("etc/docker/certs.d/r.test/ca.crt", "PEM of an own CA");
        story.put("etc/systemd/system/docker.service.d/limits.conf", "[Service]\nLimitNOFILE=9\n");
        story.put("etc/docker/daemon.json", "{\"log-driver\": \"journald\"}");
        story.put("etc/containerd/certs.d/docker.io/hosts.toml", "server = \"https://docker.io\"\n");
        story.put(
            "etc/containers/registries.conf",
            "# location = \"r.test\"\n[[registry]]\nlocation = \"x.test\"",
        );
        let before = story.everything();
        for engine in ENGINES {
            assert_eq!(story.set_up(engine), Ok(Vec::new()));
            assert_eq!(story.set_up(engine), Ok(Vec::new()), "a second time");
        }
        assert_eq!(story.everything().len(), before.len() + 7);
        story.registries.pop();
        for engine in ENGINES {
            let removed = story.set_up(engine).unwrap();
            assert!(
                removed.len() == 1 && removed[0].to_string_lossy().contains("other.test:5000"),
                "{removed:?}"
            );
        }
        for engine in ENGINES {
            assert!(!undo(story.root.path(), engine).unwrap().is_empty());
            assert!(undo(story.root.path(), engine).unwrap().is_empty(), "a second time");
        }
        assert_eq!(story.everything(), before);
        assert!(!story.root.path().join("etc/containerd/certs.d/r.test").exists());
    }

    #[test]
    fn what_others_wrote_is_left_alone() {
        #[track_caller]
        fn check(engine: Engine, path: &str, text: &str) {
            let story = Story::new(&["r.test"]);
            let path = story.put(path, text);
            let before = story.everything();
            let error = story.set_up(engine).unwrap_err();
            assert!(
                error.contains(&path.display().to_string()) && error.contains("merge it by hand"),
                "{error}"
            );
            undo(story.root.path(), engine).unwrap();
            assert_eq!(story.everything(), before);
        }
        check(
            Engine::Containerd,
            "etc/containerd/certs.d/r.test/hosts.toml",
            "server = \"https://x.test\"\n",
        );
        check(Engine::Docker, "etc/docker/certs.d/r.test/portolan-agent.crt", "PEM");
        let drop_in = "[Service]\nEnvironment=\"https_proxy=http://proxy.test\"\n";
        check(Engine::Docker, "etc/systemd/system/docker.service.d/http-proxy.conf", drop_in);
        check(
            Engine::Docker,
            "etc/docker/daemon.json",
            "{\"proxies\": {\"https-proxy\": \"http://proxy.test\"}}",
        );
        check(Engine::Docker, "etc/default/docker", "export HTTPS_PROXY=http://proxy.test\n");
        let own = "[[registry]]\nlocation='r.test'\nblocked = true\n";
        check(Engine::Podman, "etc/containers/registries.conf", own);
        check(
            Engine::Podman,
            "etc/containers/registries.conf.d/99.conf",
            "[[registry]]\nprefix = \"r.test\"\n",
        );
    }
}
