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

mod command_line;
mod crawl;
mod crowd;
mod demo;
mod export;
mod failover;
mod fault_matrix;
mod holdings;
mod login;
mod metalink;
mod notice;
mod partial;
mod probe;
mod pull;
mod restart;
mod rig;
mod run;
mod sharing;
mod withdraw;
