use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::puller::RegistryName;

/// `portolan agent`: what it stands in for, on the machine of a container engine.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AgentConfig {
    /// The registries it stands in for, as `["registry.example.org"]`. All others it leaves alone.
    #[schemars(with = "Vec<String>")]
    pub registries: Vec<RegistryName>,
    /// Where containerd, podman and CRI-O ask it. Loopback only. A socket that systemd hands over goes first.
    #[schemars(with = "String")]
    pub listen: SocketAddr,
    /// Where dockerd asks it, as an HTTPS proxy. Loopback only. A second socket of systemd goes first.
    #[schemars(with = "String")]
    pub proxy: SocketAddr,
    /// The folder of the local certificate authority, for its owner only, and of blobs under way.
    pub state: PathBuf,
    /// How many bytes of blobs are kept on disk after they were sent, for the next one who asks. Blobs that
    /// are being sent may need more for a while.
    pub cache_bytes: u64,
}

impl Default for AgentConfig {
    fn default() -> Self {
        Self {
            registries: Vec::new(),
            listen: (Ipv4Addr::LOCALHOST, 5055).into(),
            proxy: (Ipv4Addr::LOCALHOST, 5056).into(),
            state: "/var/lib/portolan-agent".into(),
            cache_bytes: 4 * 1024 * 1024 * 1024,
        }
    }
}
