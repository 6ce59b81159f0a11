//! `portolan account token`: by which programs act for an account.

use clap::Subcommand;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::{Answer, argument, find, table};
use crate::{
    cli,
    database::{
        Database, Time,
        account_token::{self, AccountToken, NewAccountToken},
        host_token, secret,
    },
    mirror::{AccountName, HostName, Scopes},
};

#[derive(Subcommand)]
pub(in crate::cli) enum Command {
    /// Make a token, and show it, this once
    Create {
        /// For which it acts
        account: AccountName,
        /// What it is for
        #[arg(long, value_name = "WORDS", value_parser = argument::label)]
        name: String,
        /// What it may be used for: some of read, mirrors, account and operator, with commas
        #[arg(long, default_value = "read", value_parser = argument::scopes)]
        scopes: Scopes,
        /// The only host that it is good for
        #[arg(long)]
        host: Option<HostName>,
        /// It expires in so many
        #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u16).range(1..=366))]
        days: u16,
    },
    /// List the tokens of an account, without their texts
    List {
        /// Whose
        account: AccountName,
    },
    /// Remove a token of an account
    Remove {
        /// Whose
        account: AccountName,
        /// Its number in `account token list`
        id: i64,
    },
}

/// A token that was just made.
#[derive(Serialize)]
struct NewToken {
    account: AccountName,
    token: String,
}

pub(super) fn answer(command: Command, database: &Database) -> anyhow::Result<Answer> {
    match command {
        Command::Create { account, name, scopes, host, days } => {
            let host = host.map(|it| cli::host::find(database, &it)).transpose()?;
            let (token, now) = (host_token::new()?, Timestamp::now());
            let new = NewAccountToken {
                account_id: find(database, &account)?.id,
                name,
                scopes,
                host_id: host.map(|it| it.id),
                hash: secret::hash(&token),
                created_at: now.into(),
                expires_at: Time::from(now).after(SignedDuration::from_hours(24 * i64::from(days))),
            };
            database.write_log(|it| account_token::insert(it, &new))?;
            tell_new(account, token)
        }
        Command::List { account } => {
            let account = find(database, &account)?;
            tell_all(&database.read(|it| account_token::list(it, account.id))?)
        }
        Command::Remove { account: name, id } => {
            let account = find(database, &name)?;
            let removed = database.write_log(|it| account_token::delete(it, account.id, id))?;
            anyhow::ensure!(
                removed,
                "{name} has no token {id}; `portolan account token list {name}` tells them"
            );
            tell_removed(&name, id)
        }
    }
}

pub(in crate::cli) fn tell_new(account: AccountName, token: String) -> anyhow::Result<Answer> {
    let new = NewToken { account, token };
    let answer = Answer::new(&new)?.line(&new.token);
    Ok(answer.line("keep it: it is not shown again; docs/api.md says what to do with it"))
}

pub(in crate::cli) fn tell_all(tokens: &[AccountToken]) -> anyhow::Result<Answer> {
    let mut rows = table::list(&["TOKEN", "NAME", "SCOPES", "ONLY FOR", "MADE", "EXPIRES", "LAST USED"]);
    for token in tokens {
        rows.add_row([
            table::cell(token.id),
            table::cell(&token.name),
            table::cell(&token.scopes),
            table::optional(token.host.as_ref()),
            table::cell(table::time(token.created_at)),
            table::cell(table::time(token.expires_at)),
            table::optional(token.used_at.map(table::time)),
        ]);
    }
    let empty = "no tokens; make one: portolan account token create ACCOUNT --name WORDS";
    Ok(Answer::new(&tokens)?.list(rows, empty))
}

pub(in crate::cli) fn tell_removed(account: &AccountName, id: i64) -> anyhow::Result<Answer> {
    Ok(Answer::message(&format!("removed token {id} of the account {account}"))?)
}
