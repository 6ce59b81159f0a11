//! End to end: the built `portolan` among the real programs that it must work with.
//!
//! `rig/` starts and stops the programs; every other file is a story. Each test runs in a network, mount and
//! process namespace of its own (`rig/namespace.rs`), so all of them use the same names and port 443 at once.
//! Needs root and the packages that `tests/setup.sh` installs.

#![allow(clippy::unwrap_used)]

/// Tells a story twice, as two tests: with SQLite and with PostgreSQL below.
macro_rules! on_both_engines {
    ($name:ident, |$namespace:ident, $engine:ident| $story:expr) => {
        mod $name {
            use super::*;

            #[test]
            fn on_sqlite() {
                namespace::enter(|$namespace| {
                    let $engine = Engine::Sqlite;
                    $story
                });
            }

            #[test]
            fn on_postgres() {
                namespace::enter(|$namespace| {
                    let $engine = Engine::Postgres;
                    $story
                });
            }
        }
    };
}

mod agent;
mod agent_memory;
#[cfg(feature = "amqp")]
mod bus;
mod changing_origin;
mod client_pieces;
mod client_pull;
mod closure;
mod command_line;
mod container;
mod crawl;
mod crawl_memory;
mod crowd;
mod demo;
mod deploy;
mod desk;
mod disk;
mod events;
mod experience;
mod export;
mod export_speed;
mod failover;
mod fault_matrix;
mod five_minutes;
mod holdings;
mod login;
mod metalink;
mod metalink_cost;
mod mirror_registry;
mod mirror_sync;
mod mirrormanager;
mod notice;
#[cfg(feature = "oidc")]
mod oidc;
mod partial;
mod probe;
mod promotion;
mod pull;
mod pull_speed;
mod remote;
mod restart;
mod restore;
mod rig;
mod roles;
mod run;
mod sharing;
mod signed;
mod standby;
mod withdraw;
