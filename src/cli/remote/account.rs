//! `portolan account --server`: for operators; tokens for everybody's own account.

use anyhow::Context as _;
use serde_json::json;

use super::{Remote, fields, only_there};
use crate::{
    cli::{
        account::{Command, tell_all, tell_keeps, token},
        table::Answer,
    },
    connector::Verb,
    database::account_token::AccountToken,
    mirror::{AccountName, SiteName},
    teller::AccountView,
};

pub(in crate::cli) async fn answer(command: Command, server: &Remote) -> anyhow::Result<Answer> {
    match command {
        Command::List => tell_all(&server.list::<AccountView>("/accounts").await?),
        Command::Edit { name, edit } => {
            server.change(Verb::Patch, &format!("/accounts/{name}"), fields(&edit)?).await?;
            Ok(Answer::message(&format!("changed the account {name}"))?)
        }
        Command::Keep { name, site, no_more } => keep(server, &name, &site, no_more).await,
        Command::Token(command) => answer_token(server, command).await,
        Command::Create { .. } => Err(only_there("people sign up at /sign-up; for others accounts are made")),
        Command::Password { .. } => {
            Err(only_there("people change their passwords at /desk/account; for others it is done"))
        }
        Command::Erase { .. } => {
            Err(only_there("people erase their accounts at /desk/account; for others it is done"))
        }
    }
}

async fn keep(server: &Remote, name: &AccountName, site: &SiteName, no_more: bool) -> anyhow::Result<Answer> {
    let view = server.find_site(site).await?;
    let path = format!("/sites/{}/keepers", view.id.0);
    if no_more {
        anyhow::ensure!(view.keepers.contains(name), "{name} does not keep the site {site}");
        server.delete(&format!("{path}/{name}")).await?;
    } else {
        server.change(Verb::Post, &path, json!({ "name": name })).await?;
    }
    tell_keeps(name, site, no_more)
}

const TOKENS: &str = "/account/tokens";

async fn answer_token(server: &Remote, command: token::Command) -> anyhow::Result<Answer> {
    let (token::Command::Create { account, .. }
    | token::Command::List { account }
    | token::Command::Remove { account, .. }) = &command;
    let own: AccountView = server.get("/account").await?;
    if own.name != *account {
        return Err(only_there("tokens of other accounts are made, listed and removed"));
    }
    match command {
        token::Command::Create { account, name, scopes, host, days } => {
            let new = json!({ "name": name, "scopes": scopes, "host": host, "days": days });
            let done = server.change(Verb::Post, TOKENS, new).await?;
            token::tell_new(account, done.token.context("the server told no token")?)
        }
        token::Command::List { .. } => token::tell_all(&server.get::<Vec<AccountToken>>(TOKENS).await?),
        token::Command::Remove { account, id } => {
            server.delete(&format!("{TOKENS}/{id}")).await?;
            token::tell_removed(&account, id)
        }
    }
}
