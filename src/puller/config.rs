use std::path::PathBuf;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// On the machine of a client: how `portolan pull` and `portolan agent` fetch images.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// A PEM file of the only certificate authorities to believe for the registry itself; without it the
    /// system's. Mirrors always need a certificate that the system believes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Files with public keys (PEM, P-256, as `cosign.pub`). Only images that one of them signed (`cosign sign`) are
    /// pulled; what a signed index names is signed with it. The agent refuses all others. Empty: no signature is
    /// asked for.
    pub signed_by: Vec<PathBuf>,
    /// Networks in which mirrors may be, beside public addresses: those of a company's own mirrors.
    #[schemars(with = "Vec<String>")]
    pub allow_networks: Vec<IpNet>,
}
