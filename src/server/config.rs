use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use ipnet::IpNet;
use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    connector::oidc::OidcConfig,
    mirror::{Country, HostUrl},
    mirrorlist::RepeatConfig,
};

/// How requests are answered.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The folder of the saved snapshot, with which `serve` starts and answers when the database is down.
    pub state: PathBuf,
    /// Where `/healthz`, `/readyz` and `/metrics` are answered. Keep it away from the public.
    #[schemars(with = "String")]
    pub management: SocketAddr,
    /// Networks of the proxies in front. Only what they say of a client is believed.
    #[schemars(with = "Vec<String>")]
    pub trusted_proxies: Vec<IpNet>,
    /// In which header they say it; the other one is always ignored.
    pub forwarded_header: ForwardedHeader,
    /// May a client that came by HTTPS be sent to a mirror by plain HTTP? Digests keep the bytes safe, but
    /// some clients refuse.
    pub http_mirrors: bool,
    /// The most mirrors in a metalink or mirror list, 1 to 1000.
    pub max_urls: usize,
    /// Are whole client addresses written to the log? Otherwise only their /24 or /48.
    pub whole_addresses: bool,
    /// How long a private host is believed what it has reported itself: 1m to 168h. Then it is crawled.
    #[schemars(with = "String")]
    #[serde(serialize_with = "jiff::fmt::serde::duration::friendly::compact::required")]
    pub report_max_age: SignedDuration,
    /// Countries under embargo, as `["XX"]`: hosts there are never crawled and never offered.
    #[schemars(with = "Vec<String>")]
    pub embargoed: Vec<Country>,
    /// Are clients in these countries refused, too, by 451?
    pub embargo_clients: bool,
    /// Threads that answer, up to 1024; 0 is one for each processor.
    pub workers: usize,
    /// How long a stop waits for downloads that run, up to 1h.
    #[schemars(with = "String")]
    #[serde(serialize_with = "jiff::fmt::serde::duration::friendly::compact::required")]
    pub drain: SignedDuration,
    /// When a client that comes back gets another answer.
    pub repeat: RepeatConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            state: "state".into(),
            management: (Ipv4Addr::LOCALHOST, 5001).into(),
            trusted_proxies: Vec::new(),
            forwarded_header: ForwardedHeader::XForwardedFor,
            http_mirrors: false,
            max_urls: 60,
            whole_addresses: false,
            report_max_age: SignedDuration::from_hours(24),
            embargoed: Vec::new(),
            embargo_clients: false,
            workers: 0,
            drain: SignedDuration::from_secs(30),
            repeat: RepeatConfig::default(),
        }
    }
}

/// Accounts of mirror admins and operators.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AccountsConfig {
    /// Can those who have an account sign in? The pages for it are served by HTTPS and on loopback only.
    pub sign_in: bool,
    /// May strangers make themselves an account, and register mirrors? A new mirror gets little until it has proven
    /// itself, and what would draw clients from elsewhere waits for an operator.
    pub sign_up: bool,
    /// How long it is kept who changed what: 720h to 175200h. What is older is removed, a thousand entries a minute.
    #[schemars(with = "String")]
    #[serde(serialize_with = "jiff::fmt::serde::duration::friendly::compact::required")]
    pub log: SignedDuration,
    /// A provider of OpenID Connect at which people can sign in, too, as the distribution's own.
    pub oidc: OidcConfig,
}

impl Default for AccountsConfig {
    fn default() -> Self {
        let log = SignedDuration::from_hours(3 * 365 * 24);
        Self { sign_in: true, sign_up: false, log, oidc: OidcConfig::default() }
    }
}

/// The configuration as operators see it: without its secrets.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SeenConfig {
    /// Where it was read from; none if there was no file, and all are defaults.
    pub file: Option<String>,
    /// By section, as in the file.
    pub settings: serde_json::Map<String, serde_json::Value>,
}

/// A header in which a proxy names its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`, with `X-Forwarded-Proto` and `X-Forwarded-Host`.
    XForwardedFor,
    /// `Forwarded`, by RFC 7239.
    Forwarded,
}

/// An address to listen on. Without any, `127.0.0.1:5000` without TLS.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListenConfig {
    /// Address and port. Without TLS and without trusted proxies only a loopback address is taken.
    #[schemars(with = "String")]
    pub address: SocketAddr,
    /// The certificate and those between it and the root, PEM. Read again when the file changes.
    #[serde(default)]
    pub certificate: Option<PathBuf>,
    /// Its private key, PEM.
    #[serde(default)]
    pub key: Option<PathBuf>,
}

/// Where blobs come from when no mirror is to serve them: the first that is there.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FallbackConfig {
    /// A CDN or server that carries the pool: `URL/blobs/sha256/ab/HEX`.
    #[schemars(with = "Option<String>")]
    pub url: Option<HostUrl>,
    /// The tree, sent by this server, where it can be read.
    pub tree: bool,
    /// The origin registry, if it needs no login.
    pub origin: bool,
}

impl Default for FallbackConfig {
    fn default() -> Self {
        Self { url: None, tree: true, origin: true }
    }
}
