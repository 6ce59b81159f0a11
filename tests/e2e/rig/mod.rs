//! What the stories are told with: guards around real programs, a network of their own, images, faults.

pub(crate) mod ca;
pub(crate) mod docker;
pub(crate) mod http;
pub(crate) mod image;
pub(crate) mod namespace;
pub(crate) mod nginx;
pub(crate) mod origin;
pub(crate) mod podman;
pub(crate) mod portolan;
pub(crate) mod postgres;
pub(crate) mod program;
pub(crate) mod rsync;
pub(crate) mod server;
pub(crate) mod skopeo;
