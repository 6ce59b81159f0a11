//! Who an account is at a provider of OpenID Connect.

use super::{
    Desk, Next, Page, Refusal,
    block::{Blank, Cell, Kind, Table, text},
    oidc,
    reply::Done,
};
use crate::{
    database::{
        account,
        audit::{self, Subject},
        identity,
    },
    mirror::Role,
    server::pages::text as words,
};

/// The account's identities, and how to link one.
pub(super) fn show(desk: &mut Desk<'_>, page: &mut Page) -> Result<(), Refusal> {
    let identities = identity::list(desk.connection, desk.account.id)?;
    let provider = desk.visitor.provider.clone();
    if identities.is_empty() && provider.is_empty() {
        return Ok(());
    }
    page.heading("Signing in elsewhere");
    let rows = identities.iter().map(|it| {
        let form = Blank::new(format!("/desk/account/identities/{}/remove", it.id), "Remove the link");
        vec![
            text(&it.called),
            text(&it.issuer),
            text(words::time(it.created_at.unix_seconds())),
            Cell::Button(form.about(&it.called)),
        ]
    });
    let header = &["Name there", "At", "Linked", "Action"];
    let rows = rows.collect();
    page.table(
        Table { label: "Signing in elsewhere", header, rows },
        "Your account is linked with none yet.",
    );
    if !provider.is_empty() {
        let mut form = Blank::new("/desk/account/identities", "Link").about(&provider);
        if account::find_password(desk.connection, &desk.account.name)?.is_some() {
            form = form.field(Kind::Password, "password", "Your password here", "", "");
        }
        page.form(form);
    }
    Ok(())
}

/// `POST /desk/account/identities`: to the provider, and back. The password is proven on the way.
pub(super) fn link(desk: &mut Desk<'_>) -> Result<Next, Refusal> {
    desk.form.has_only(&["password"])?;
    if desk.visitor.provider.is_empty() { Err(Refusal::Missing) } else { Ok(Next::Leave) }
}

/// `POST /desk/account/identities/{item}/remove`
pub(super) fn unlink(desk: &mut Desk<'_>) -> Result<Next, Refusal> {
    desk.form.has_only(&[])?;
    let id = desk.number()?;
    let identities = identity::list(desk.connection, desk.account.id)?;
    let identity = identities.iter().find(|it| it.id == id).ok_or(Refusal::Missing)?;
    let has_password = account::find_password(desk.connection, &desk.account.name)?.is_some();
    if identities.len() == 1 && !has_password {
        let why =
            "Your account has no password: nobody could sign in to it any more. An operator can give it one.";
        return Err(Refusal::Bad(why.to_owned()));
    }
    let (account, now) = (desk.account.clone(), desk.now);
    if identity.made_operator && account.role == Role::Operator {
        oidc::set_role(desk.connection, &account, identity, Role::MirrorAdmin, now)?;
    }
    audit::noting(desk.connection, account.name.as_str(), Subject::Account(account.id), now, |it| {
        identity::delete(it, id)
    })?;
    Ok(Next::See("/desk/account".to_owned(), Done::Removed))
}
