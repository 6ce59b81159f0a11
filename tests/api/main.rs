//! What a client sees of a server, over real connections, in one process, on both engines.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod gate;
mod http;
mod input;
mod mirrors;
#[path = "../support/postgres.rs"]
mod postgres;
mod registry;
mod report;
mod status;
mod world;
