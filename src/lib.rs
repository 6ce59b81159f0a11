//! Portolan serves container images through a distribution's volunteer mirrors.
//! `docs/ARCHITECTURE.md` has the map; modules import only what stands above them here.

// Values: no IO, no clock, no randomness.
pub mod metalink;
pub mod mirror;
pub mod oci;

// Decisions over values.
pub mod mirrorlist;

// Adapters, one kind of IO each.
pub mod bus;
pub mod connector;
pub mod database;
pub mod geoip;
pub mod notice;
pub mod store;
pub mod tree;

// Composes two adapters.
pub mod teller;

// Services: they meet through database rows.
pub mod crawler;
pub mod exporter;
pub mod importer;
pub mod puller;
pub mod scanner;
pub mod server;

// The top.
pub mod cli;
pub mod config;
