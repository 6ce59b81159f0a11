//! What a client sees of a server, over real connections, in one process, on both engines.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod described;
mod desk;
mod gate;
mod hooks;
mod http;
mod input;
mod large;
mod load;
mod lost;
mod mirrormanager;
mod mirrors;
mod monitoring;
mod newcomer;
#[cfg(feature = "oidc")]
mod oidc;
mod pages;
#[path = "../support/postgres.rs"]
mod postgres;
mod registry;
mod report;
mod rest;
mod serials;
mod status;
mod world;
