//! `portolan account`: who may sign in, and keep what.

pub(super) mod token;

use std::io::{self, Read as _};

use anyhow::{Context as _, bail};
use clap::Subcommand;
use serde::Serialize;

use super::{
    argument, by_hand, site, suggestion,
    table::{self, Answer},
};
use crate::{
    database::{
        Database,
        account::{self, Account, AccountChange, NewAccount},
        audit::{self, Subject},
        secret,
    },
    mirror::{AccountName, Role, SiteName},
    teller::AccountView,
};

/// Bytes of a password that is read: more is none.
const LONGEST_PASSWORD: u64 = 800;

/// Characters of a password that is made up here.
const MADE_UP: usize = 24;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Make an account, and show its password, this once
    Create {
        /// Its name: 3 to 40 of a-z, 0-9, dot, hyphen, underscore
        name: AccountName,
        /// It may do everything
        #[arg(long, conflicts_with = "role")]
        operator: bool,
        /// What it may do: reader, mirror-admin or operator
        #[arg(long, default_value_t = Role::MirrorAdmin)]
        role: Role,
        /// Its owner's mail address
        #[arg(long, value_parser = argument::contact)]
        mail: Option<String>,
        /// Read the password from standard input, instead of making one up
        #[arg(long)]
        password_stdin: bool,
    },
    /// List all accounts
    List,
    /// Change an account; its sessions end
    #[command(override_usage = "portolan account edit <NAME> <OPTIONS>")]
    Edit {
        /// The account
        name: AccountName,
        #[command(flatten)]
        edit: AccountEdit,
    },
    /// Give an account a new password, and show it, this once
    Password {
        /// The account
        name: AccountName,
        /// Read the password from standard input, instead of making one up
        #[arg(long)]
        password_stdin: bool,
    },
    /// Let an account keep a site with its hosts
    Keep {
        /// The account
        name: AccountName,
        /// The site
        site: SiteName,
        /// It keeps the site no longer
        #[arg(long)]
        no_more: bool,
    },
    /// Make, list and remove the tokens by which programs act for an account
    #[command(subcommand)]
    Token(token::Command),
    /// Remove an account, and its name from the log of changes. Its sites stay
    Erase {
        /// The account
        name: AccountName,
    },
}

#[derive(clap::Args, Serialize)]
#[group(required = true, multiple = true)]
pub(super) struct AccountEdit {
    /// What it may do: reader, mirror-admin or operator
    #[arg(long)]
    role: Option<Role>,
    /// Its owner may sign in
    #[arg(long, value_name = "BOOL")]
    active: Option<bool>,
}

/// An account with a password that was just made.
#[derive(Serialize)]
struct NewPassword {
    name: AccountName,
    role: Role,
    /// Null if it was read.
    password: Option<String>,
}

pub(super) fn answer(command: Command, database: &Database) -> anyhow::Result<Answer> {
    match command {
        Command::Create { name, operator, role, mail, password_stdin } => {
            let role = if operator { Role::Operator } else { role };
            create(database, name, role, mail.unwrap_or_default(), password_stdin)
        }
        Command::List => list(database),
        Command::Edit { name, edit } => change(database, &name, &edit),
        Command::Password { name, password_stdin } => {
            let account = find(database, &name)?;
            let (password, shown) = password(password_stdin)?;
            let change = AccountChange { password: Some(Some(password)), ..AccountChange::default() };
            by_hand::change(database, Subject::Account(account.id), |it| {
                account::update(it, account.id, &change)
            })?;
            tell_password(name, account.role, shown, "has a new password")
        }
        Command::Token(command) => token::answer(command, database),
        Command::Keep { name, site, no_more } => keep(database, &name, &site, no_more),
        Command::Erase { name } => {
            let account = find(database, &name)?;
            database.write_log(|it| {
                account::delete(it, account.id)?;
                audit::forget(it, &name)
            })?;
            Ok(Answer::message(&format!("erased the account {name}"))?)
        }
    }
}

/// The account of this name, or an error that names those nearest to it.
fn find(database: &Database, name: &AccountName) -> anyhow::Result<Account> {
    match database.read(|it| account::find(it, name))? {
        Some(account) => Ok(account),
        None => {
            let accounts = database.read(account::list)?;
            Err(suggestion::unknown("account", name, accounts.iter().map(|it| &it.name)))
        }
    }
}

fn create(
    database: &Database,
    name: AccountName,
    role: Role,
    mail: String,
    from_stdin: bool,
) -> anyhow::Result<Answer> {
    let (password, shown) = password(from_stdin)?;
    let created_at = jiff::Timestamp::now().into();
    let new = NewAccount { name: name.clone(), mail, password: Some(password), role, created_at };
    by_hand::make(database, |it| account::insert(it, &new), |it| Subject::Account(it.id))?;
    tell_password(name, role, shown, "can sign in at /sign-in")
}

/// The hash of a password, and the password itself if it was made up.
fn password(from_stdin: bool) -> anyhow::Result<(String, Option<String>)> {
    if !from_stdin {
        let made: String = secret::new()?.chars().take(MADE_UP).collect();
        return Ok((secret::hash_password(&made)?, Some(made)));
    }
    let mut text = String::new();
    io::stdin().take(LONGEST_PASSWORD).read_to_string(&mut text).context("reading the password")?;
    let text = text.trim_end_matches(['\r', '\n']);
    secret::check_password(text)?;
    Ok((secret::hash_password(text)?, None))
}

fn tell_password(
    name: AccountName,
    role: Role,
    password: Option<String>,
    what: &str,
) -> anyhow::Result<Answer> {
    let new = NewPassword { name, role, password };
    let answer = Answer::new(&new)?.line(format_args!("the account {} ({role}) {what}", new.name));
    Ok(match &new.password {
        Some(password) => answer.line(format_args!("its password, shown this once: {password}")),
        None => answer,
    })
}

fn list(database: &Database) -> anyhow::Result<Answer> {
    let views = database.read(|it| {
        let accounts = account::list(it)?;
        accounts.into_iter().map(|account| AccountView::load(it, account)).collect::<Result<Vec<_>, _>>()
    })?;
    tell_all(&views)
}

pub(super) fn tell_all(views: &[AccountView]) -> anyhow::Result<Answer> {
    let mut rows = table::list(&["ACCOUNT", "ROLE", "IS", "MAIL", "KEEPS", "MADE"]);
    for view in views {
        rows.add_row([
            table::cell(&view.name),
            table::cell(view.role),
            table::switch(view.active),
            table::cell(&view.mail),
            table::lines(&view.sites),
            table::cell(table::time(view.created_at)),
        ]);
    }
    let empty = "no accounts yet; make the first: portolan account create NAME --operator";
    Ok(Answer::new(&views)?.list(rows, empty))
}

fn change(database: &Database, name: &AccountName, edit: &AccountEdit) -> anyhow::Result<Answer> {
    let account = find(database, name)?;
    let change = AccountChange { role: edit.role, active: edit.active, ..AccountChange::default() };
    by_hand::change(database, Subject::Account(account.id), |it| account::update(it, account.id, &change))?;
    Ok(Answer::message(&format!("changed the account {name}"))?)
}

fn keep(database: &Database, name: &AccountName, site: &SiteName, no_more: bool) -> anyhow::Result<Answer> {
    let (account, site) = (find(database, name)?, site::find(database, site)?);
    let subject = Subject::Site(site.id);
    if !no_more {
        by_hand::change(database, subject, |it| account::add_keeper(it, site.id, account.id))?;
    } else if !by_hand::change(database, subject, |it| account::remove_keeper(it, site.id, account.id))? {
        bail!("{name} does not keep the site {}; `portolan account list` tells who keeps what", site.name);
    }
    tell_keeps(name, &site.name, no_more)
}

pub(super) fn tell_keeps(name: &AccountName, site: &SiteName, no_more: bool) -> anyhow::Result<Answer> {
    let no_longer = if no_more { " no longer" } else { "" };
    Ok(Answer::message(&format!("{name} keeps the site {site}{no_longer}"))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::{Part, audit::Filter, testing::*};

    #[test]
    fn accounts_are_made_changed_and_erased() {
        on_both(|database| {
            let run = |command| answer(command, database);
            let name: AccountName = "ann".parse().unwrap();
            let create = || Command::Create {
                name: name.clone(),
                operator: true,
                role: Role::MirrorAdmin,
                mail: None,
                password_stdin: false,
            };
            let made = run(create()).unwrap().json();
            let password = made["password"].as_str().unwrap();
            let hash = database.read(|it| account::find_password(it, &name)).unwrap();
            assert!(password.len() == 24 && secret::verify_password(password, hash.as_deref()));
            assert_eq!(made["role"], "operator");
            assert_eq!(run(create()).err().unwrap().to_string(), "an account named ann exists already");
            let site =
                database.write(Part::Hosts, |it| crate::database::site::insert(it, &new_site("x"))).unwrap();
            let keep = |no_more| run(Command::Keep { name: name.clone(), site: site.name.clone(), no_more });
            keep(false).unwrap();
            assert_eq!(run(Command::List).unwrap().json()[0]["sites"], serde_json::json!(["x"]));
            keep(true).unwrap();
            assert!(keep(true).err().unwrap().to_string().contains("does not keep"));
            let edit = AccountEdit { role: Some(Role::Reader), active: Some(false) };
            run(Command::Edit { name: name.clone(), edit }).unwrap();
            let text = run(Command::List).unwrap().text();
            assert!(text.contains("reader"), "{text}");
            let log = database.read(|it| audit::list(it, &Filter::default(), 9)).unwrap();
            assert_eq!(log.len(), 4, "{log:#?}");
            assert!(log.iter().all(|it| it.actor.starts_with("cli:")), "{log:#?}");
            assert!(!format!("{log:?}").contains("argon2"), "a hash in the log");
            run(Command::Erase { name: name.clone() }).unwrap();
            let typo = run(Command::Password { name, password_stdin: false }).err().unwrap().to_string();
            assert!(typo.contains("there is no account named ann"), "{typo}");
        });
    }
}
