//! The database: MirrorManager's nouns, the content of the tree, and what hosts hold. The only module
//! that knows Diesel; one code path for PostgreSQL and SQLite.
//!
//! Query functions stand in one file per group of tables, take a [`Connection`] and return
//! [`diesel::QueryResult`]; they are called inside [`Database::read`], [`Database::write`] or
//! [`Database::write_log`].

pub mod account;
pub mod account_token;
pub mod approval;
pub mod audit;
pub mod category;
mod connection;
pub mod content;
pub mod country;
pub mod crawl;
pub mod demand;
pub mod dump;
mod error;
pub mod experience;
pub mod generation;
pub mod host;
pub mod host_category;
pub mod host_country;
pub mod host_netblock;
pub mod host_peer_asn;
pub mod host_token;
pub mod identity;
pub mod imported;
pub mod lease;
mod migration;
pub mod mirrormanager;
pub mod pieces;
mod pool;
pub mod probe;
pub mod propagation;
pub mod repository_alias;
mod schema;
pub mod secret;
pub mod site;
pub mod snapshot;
pub mod statistics;
pub mod suspicion;
#[cfg(test)]
pub(crate) mod testing;
pub mod traffic;
mod url;
mod values;
pub mod weight;
pub mod withdrawal;

pub use connection::AnyConnection as Connection;
pub use diesel::{QueryResult, result::Error as QueryError};
pub use error::Error;
pub use generation::{Generations, Part};
pub use pool::{Config, Database};
pub use url::{DatabaseUrl, DatabaseUrlError, PostgresUrl};
pub use values::{Sha256, Time};

/// The rows of one statement. SQLite takes 32,766 bound values in one, and no row here has more than 21.
const BATCH_ROWS: usize = 1_000;
