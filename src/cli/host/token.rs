//! `portolan host token`: by which a host's own scripts report.

use anyhow::Context as _;
use clap::Subcommand;
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use serde::Serialize;

use super::{Answer, find, table};
use crate::{
    database::{
        Database, Time,
        host_token::{self, HostToken},
        secret,
    },
    mirror::HostName,
};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make a token and show it, this once
    Create {
        /// The host that reports by it
        host: HostName,
        /// From this day on it is of no use, such as 2030-12-31 (UTC); without it, it does not expire
        #[arg(long, value_name = "DATE")]
        expires: Option<Date>,
    },
    /// List the tokens of a host, without their texts
    List {
        /// The host
        host: HostName,
    },
    /// Remove a token of a host
    Remove {
        /// The host
        host: HostName,
        /// Its number in `host token list`
        id: i64,
    },
}

/// A token that was just made.
#[derive(Serialize)]
struct NewToken {
    id: i64,
    host: HostName,
    token: String,
    expires_at: Option<Time>,
}

pub(super) fn answer(command: Command, database: &Database) -> anyhow::Result<Answer> {
    match command {
        Command::Create { host, expires } => create(database, &host, expires),
        Command::List { host } => list(database, &host),
        Command::Remove { host, id } => remove(database, &host, id),
    }
}

fn create(database: &Database, name: &HostName, expires: Option<Date>) -> anyhow::Result<Answer> {
    let host = find(database, name)?;
    let now = Timestamp::now();
    let expires = expires.map(|it| it.to_zoned(TimeZone::UTC)).transpose().context("the day of --expires")?;
    let expires = expires.map(|it| it.timestamp());
    anyhow::ensure!(expires.is_none_or(|it| it > now), "--expires is a day of the past");
    let expires_at: Option<Time> = expires.map(Into::into);
    let token = host_token::new()?;
    let hash = secret::hash(&token);
    let id = database.write_log(|it| host_token::insert(it, host.id, hash, expires_at, now.into()))?;
    tell_new(id, name.clone(), token, expires_at)
}

pub(in crate::cli) fn tell_new(
    id: i64,
    host: HostName,
    token: String,
    expires_at: Option<Time>,
) -> anyhow::Result<Answer> {
    let new = NewToken { id, host, token, expires_at };
    let answer = Answer::new(&new)?.line(&new.token);
    Ok(answer.line("keep it: it is not shown again; docs/mirror-admins.md says what to do with it"))
}

fn list(database: &Database, name: &HostName) -> anyhow::Result<Answer> {
    let host = find(database, name)?;
    tell_all(&database.read(|it| host_token::list(it, host.id))?)
}

pub(in crate::cli) fn tell_all(tokens: &[HostToken]) -> anyhow::Result<Answer> {
    let mut rows = table::list(&["TOKEN", "MADE", "EXPIRES", "LAST USED"]);
    for token in tokens {
        rows.add_row([
            table::cell(token.id),
            table::cell(table::time(token.created_at)),
            table::optional(token.expires_at.map(table::time)),
            table::optional(token.used_at.map(table::time)),
        ]);
    }
    let empty = "no tokens; make one: portolan host token create HOST";
    Ok(Answer::new(&tokens)?.list(rows, empty))
}

fn remove(database: &Database, name: &HostName, id: i64) -> anyhow::Result<Answer> {
    let host = find(database, name)?;
    let removed = database.write_log(|it| host_token::delete(it, host.id, id))?;
    anyhow::ensure!(
        removed,
        "the host {name} has no token {id}; `portolan host token list {name}` tells them"
    );
    Ok(Answer::message(&format!("removed token {id} of the host {name}"))?)
}
