//! What container engines must be told so that they ask the agent.

mod disk;
mod rival;

use std::path::PathBuf;

use super::AgentConfig;
pub use disk::{undo, write};

/// Who is to ask the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// dockerd, by an HTTPS proxy: its mirrors are for Docker Hub only.
    Docker,
    /// containerd, and Kubernetes on it.
    Containerd,
    /// podman, buildah, skopeo and CRI-O.
    Podman,
}

/// A file of an engine's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetupFile {
    /// Absolute.
    pub path: PathBuf,
    /// All of it.
    pub text: String,
}

/// The first words of each file, by which an undo knows it.
const MARK: &str = "# Written by `portolan agent setup`";

/// The whole first line.
const HEAD: &str = "# Written by `portolan agent setup`, which also removes it: add nothing of your own.";

const DOCKER_CERTIFICATES: &str = "/etc/docker/certs.d";
const DOCKER_UNIT: &str = "/etc/systemd/system/docker.service.d";
const CONTAINERD_HOSTS: &str = "/etc/containerd/certs.d";
const CONTAINERS: &str = "/etc/containers/registries.conf.d";

/// The files that make `engine` ask the agent. `certificate` is the local authority's, which only docker needs.
/// `strict`: nobody but the agent is to be asked, for only the agent looks at signatures.
pub fn list_files(
    engine: Engine,
    config: &AgentConfig,
    strict: bool,
    certificate: Option<&str>,
) -> Vec<SetupFile> {
    let file = |path: String, text: String| SetupFile { path: path.into(), text: format!("{HEAD}\n{text}") };
    let (listen, proxy) = (config.listen, config.proxy);
    let registries = config.registries.iter();
    match engine {
        Engine::Docker => {
            let authority = registries.map(|it| {
                let text = certificate.unwrap_or_default().to_owned();
                file(format!("{DOCKER_CERTIFICATES}/{it}/portolan-agent.crt"), text)
            });
            let unit = format!(
                "[Unit]\nWants=portolan-agent.service\nAfter=portolan-agent.service\n\
                 [Service]\nEnvironment=HTTPS_PROXY=http://{proxy}\n"
            );
            authority.chain([file(format!("{DOCKER_UNIT}/portolan-agent.conf"), unit)]).collect()
        }
        Engine::Containerd => registries
            .map(|it| {
                // containerd 1.6 cannot read a file without a host, and would ask the registry.
                let (server, why) = if strict {
                    (format!("http://{listen}"), "nobody else: only the agent looks at signatures")
                } else {
                    (format!("https://{it}"), "asked when the agent fails")
                };
                let text = format!(
                    "server = \"{server}\" # {why}\n\n\
                     [host.\"http://{listen}\"]\ncapabilities = [\"pull\", \"resolve\"]\n"
                );
                file(format!("{CONTAINERD_HOSTS}/{it}/hosts.toml"), text)
            })
            .collect(),
        Engine::Podman => registries
            .map(|it| {
                let only = format!(
                    "[[registry]]\nprefix = \"{it}\"\n\
                     location = \"{listen}/{it}\" # nobody else: only the agent looks at signatures\n\
                     insecure = true # on this machine, without TLS\n"
                );
                let first = format!(
                    "[[registry]]\nlocation = \"{it}\" # asked when the agent fails\n\n\
                     [[registry.mirror]]\nlocation = \"{listen}/{it}\"\ninsecure = true # on this machine, without TLS\n"
                );
                file(format!("{CONTAINERS}/portolan-agent-{it}.conf"), if strict { only } else { first })
            })
            .collect(),
    }
}

/// What is left to do by hand, in one line or two.
pub fn advice(engine: Engine) -> &'static str {
    match engine {
        Engine::Docker => "then: systemctl daemon-reload && systemctl restart docker",
        Engine::Containerd => {
            "containerd reads it with each pull, if config_path of its registry plugin is /etc/containerd/certs.d"
        }
        Engine::Podman => "podman reads it with each pull; CRI-O after: systemctl reload crio",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> AgentConfig {
        AgentConfig { registries: vec!["registry.test".parse().unwrap()], ..AgentConfig::default() }
    }

    #[test]
    fn each_engine_is_told_in_its_way() {
        let told = |engine, strict, certificate| {
            let files = list_files(engine, &config(), strict, certificate);
            files.iter().map(|it| format!("{}\n{}\n", it.path.display(), it.text)).collect::<String>()
        };
        insta::assert_snapshot!(told(Engine::Docker, false, Some("PEM\n")), @"
        /etc/docker/certs.d/registry.test/portolan-agent.crt
        # Written by `portolan agent setup`, which also removes it: add nothing of your own.
        PEM

        /etc/systemd/system/docker.service.d/portolan-agent.conf
        # Written by `portolan agent setup`, which also removes it: add nothing of your own.
        [Unit]
        Wants=portolan-agent.service
        After=portolan-agent.service
        [Service]
        Environment=HTTPS_PROXY=http://127.0.0.1:5056
        ");
        insta::assert_snapshot!(told(Engine::Containerd, false, None), @r#"
        /etc/containerd/certs.d/registry.test/hosts.toml
        # Written by `portolan agent setup`, which also removes it: add nothing of your own.
        server = "https://registry.test" # asked when the agent fails

        [host."http://127.0.0.1:5055"]
        capabilities = ["pull", "resolve"]
        "#);
        insta::assert_snapshot!(told(Engine::Podman, false, None), @r#"
        /etc/containers/registries.conf.d/portolan-agent-registry.test.conf
        # Written by `portolan agent setup`, which also removes it: add nothing of your own.
        [[registry]]
        location = "registry.test" # asked when the agent fails

        [[registry.mirror]]
        location = "127.0.0.1:5055/registry.test"
        insecure = true # on this machine, without TLS
        "#);
        insta::assert_snapshot!(told(Engine::Containerd, true, None), @r#"
        /etc/containerd/certs.d/registry.test/hosts.toml
        # Written by `portolan agent setup`, which also removes it: add nothing of your own.
        server = "http://127.0.0.1:5055" # nobody else: only the agent looks at signatures

        [host."http://127.0.0.1:5055"]
        capabilities = ["pull", "resolve"]
        "#);
        insta::assert_snapshot!(told(Engine::Podman, true, None), @r#"
        /etc/containers/registries.conf.d/portolan-agent-registry.test.conf
        # Written by `portolan agent setup`, which also removes it: add nothing of your own.
        [[registry]]
        prefix = "registry.test"
        location = "127.0.0.1:5055/registry.test" # nobody else: only the agent looks at signatures
        insecure = true # on this machine, without TLS
        "#);
    }
}
