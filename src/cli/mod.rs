//! The command line.

mod argument;
mod category;
mod country;
mod host;
mod netblock;
pub mod progress;
mod site;
mod suggestion;
mod table;
