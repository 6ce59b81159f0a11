//! By which programs act for an account: the REST API.

use super::{
    Desk, Next, Page, Refusal,
    block::{Blank, Block, Cell, Kind, Table, optional, text},
    reply::Done,
};
use crate::{
    database::{
        Time, account,
        account_token::{self, AccountToken, NewAccountToken},
        audit::Subject,
        host, host_token, secret,
    },
    mirror::{HostId, HostName, Role, Scope, Scopes, is_invisible},
    server::pages::text as words,
};

/// Tokens of one account.
const MOST: usize = 50;

/// How long a token may live, in days.
const LONGEST: i64 = 366;

/// Bytes of a token's name.
const NAME: usize = 100;

/// Of a table of tokens.
pub(super) const HEADER: &[&str] = &["Name", "Scopes", "Only for", "Expires", "Last used", "Action"];

/// Tokens in a table, each with the form that removes it by its number.
pub(super) fn rows(tokens: &[AccountToken], remove: impl Fn(i64) -> String) -> Vec<Vec<Cell>> {
    let time = |it: Time| words::time(it.unix_seconds());
    let row = |it: &AccountToken| {
        let form = Blank::new(remove(it.id), "Remove").about(format!("token {}", it.name));
        vec![
            text(&it.name),
            text(&it.scopes),
            text(optional(it.host.as_ref())),
            text(time(it.expires_at)),
            text(it.used_at.map(time).unwrap_or_default()),
            Cell::Button(form),
        ]
    };
    tokens.iter().map(row).collect()
}

/// The account's tokens, and how to make one.
pub(super) fn show(desk: &mut Desk<'_>, page: &mut Page) -> Result<(), Refusal> {
    page.heading("Tokens for programs");
    let tokens = account_token::list(desk.connection, desk.account.id)?;
    let rows = rows(&tokens, |id| format!("/desk/account/tokens/{id}/remove"));
    page.table(
        Table { label: "Tokens for programs", header: HEADER, rows },
        "None. With one, a program does what you can do here, at /api/v1.",
    );
    let form = Blank::new("/desk/account/tokens", "Make a token")
        .field(Kind::Text, "name", "Name", "", "What it is for.")
        .field(
            Kind::Text,
            "scopes",
            "Scopes",
            "read",
            "read: see what you see. mirrors: change your sites and hosts. account: change your account. operator: what only \
             operators do.",
        )
        .field(Kind::Text, "host", "Only for this host", "", "Empty: for all that you keep.")
        .field(Kind::Text, "days", "Expires in days", "90", "1 to 366.");
    page.form(form.again(desk));
    Ok(())
}

/// `POST /desk/account/tokens`: shows it, this once.
pub(super) fn create(desk: &mut Desk<'_>) -> Result<Next, Refusal> {
    desk.form.has_only(&["name", "scopes", "host", "days"])?;
    let name = desk.form.words("name", "Name", NAME)?;
    if name.is_empty() || name.chars().any(is_invisible) {
        return Err(Refusal::Bad("Name: what is the token for?".to_owned()));
    }
    let days: i64 = desk.form.value("days", "Expires in days")?;
    if !(1..=LONGEST).contains(&days) {
        return Err(Refusal::Bad(format!("Expires in days: 1 to {LONGEST}.")));
    }
    let (scopes, host_id) = (read_scopes(desk)?, find_host(desk)?);
    if account_token::list(desk.connection, desk.account.id)?.len() >= MOST {
        return Err(Refusal::Bad(format!("An account has at most {MOST} tokens: remove one.")));
    }
    let token = host_token::new().map_err(|error| Refusal::Bad(error.to_string()))?;
    let expires_at = desk.now.after(jiff::SignedDuration::from_hours(days * 24));
    let (account_id, created_at, hash) = (desk.account.id, desk.now, secret::hash(&token));
    let new = NewAccountToken { account_id, name, scopes, host_id, hash, created_at, expires_at };
    desk.noting(Subject::Account(account_id), |it| account_token::insert(it, &new))?;
    let mut page = Page::new(format!("The token {}", new.name));
    page.text("Keep it where only your program reads it: it is not shown again.")
        .add(Block::Code(token.clone()));
    page.add(Block::Link("/desk/account".to_owned(), "Back to the account".to_owned()));
    Ok(Next::Secret(page, token))
}

/// A token makes none that is good for more than itself.
fn read_scopes(desk: &Desk<'_>) -> Result<Scopes, Refusal> {
    let scopes: Scopes = desk.form.value("scopes", "Scopes")?;
    if scopes.has(Scope::Operator) && desk.account.role != Role::Operator {
        return Err(Refusal::Bad("Scopes: you are no operator.".to_owned()));
    }
    match desk.scopes.as_ref().and_then(|own| scopes.find_beyond(own)) {
        Some(beyond) => Err(Refusal::Bad(format!("Scopes: this token lacks {beyond} itself."))),
        None => Ok(scopes),
    }
}

/// The only host that it is to be good for, which the account keeps.
fn find_host(desk: &mut Desk<'_>) -> Result<Option<HostId>, Refusal> {
    let name: Option<HostName> = desk.form.optional("host", "Only for this host")?;
    let Some(name) = name else { return Ok(None) };
    let found = host::find(desk.connection, &name)?;
    let own = account::list_sites(desk.connection, desk.account.id)?;
    let is_own =
        |it: &host::Host| desk.account.role == Role::Operator || own.iter().any(|site| site.id == it.site_id);
    match found.filter(is_own) {
        Some(host) => Ok(Some(host.id)),
        None => Err(Refusal::Bad(format!("Only for this host: you keep no host {name}."))),
    }
}

/// `POST /desk/account/tokens/{item}/remove`
pub(super) fn remove(desk: &mut Desk<'_>) -> Result<Next, Refusal> {
    desk.form.has_only(&[])?;
    let (id, account) = (desk.number()?, desk.account.id);
    if !desk.noting(Subject::Account(account), |it| account_token::delete(it, account, id))? {
        return Err(Refusal::Missing);
    }
    Ok(Next::See("/desk/account".to_owned(), Done::Removed))
}
