//! What is told to people about hosts: the texts, and the way to a mail server.

mod config;
mod mail;
mod repair;
mod text;

pub use config::{Config, MailServer};
pub use mail::{Error, Mailer};
pub use repair::{REPAIR_HEAD, Repair, RepairFile};
pub use text::{Event, Notice, certificate_warning};
