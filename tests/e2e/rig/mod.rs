//! What the stories are told with: guards around real programs, a network of their own, images, faults.

pub(crate) mod aria2;
pub(crate) mod ca;
pub(crate) mod containerd;
pub(crate) mod docker;
pub(crate) mod faulty;
pub(crate) mod geoip;
pub(crate) mod http;
pub(crate) mod image;
pub(crate) mod librepo;
pub(crate) mod namespace;
pub(crate) mod nginx;
pub(crate) mod origin;
pub(crate) mod podman;
pub(crate) mod portolan;
pub(crate) mod postgres;
pub(crate) mod program;
pub(crate) mod proxy;
pub(crate) mod raw_registry;
pub(crate) mod root;
pub(crate) mod rsync;
pub(crate) mod server;
pub(crate) mod skopeo;
pub(crate) mod smtp;
pub(crate) mod token_server;
pub(crate) mod tree;
pub(crate) mod world;
