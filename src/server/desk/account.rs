use super::{
    Desk, Next, Page, Refusal, account_token,
    block::{Blank, Block, Kind},
    identity,
    reply::Done,
};
use crate::{
    database::{
        account::{self, AccountChange},
        audit::{self, Filter, Subject},
        identity as identities,
    },
    mirror::{Role, is_contact},
};

/// Own changes on one page of what is kept of an account.
const CHANGES: i64 = 100;

/// `GET /desk/account`: what is kept of the account, and all that its owner can do with it.
pub(super) fn show(desk: &mut Desk<'_>) -> Result<Page, Refusal> {
    let mut page = Page::new("Account");
    let account = desk.account.clone();
    page.add(Block::Facts(vec![
        ("Name", account.name.to_string()),
        ("Role", account.role.to_string()),
        ("Mail", account.mail.clone()),
    ]));
    let mail = Blank::new("/desk/account/mail", "Save").field(
        Kind::Mail,
        "mail",
        "Mail address",
        &account.mail,
        "New hosts of yours are told there of faults. It may be empty.",
    );
    page.heading("Mail").form(mail.again(desk));
    show_password(desk, &mut page)?;
    identity::show(desk, &mut page)?;
    account_token::show(desk, &mut page)?;
    page.heading("Sessions").form(Blank::new("/desk/account/sessions", "Sign out everywhere"));
    page.heading("What is kept of you");
    export(desk, &mut page)?;
    let erase = Blank::new("/desk/account/erase", "Erase the account").grave().field(
        Kind::Text,
        "name",
        "To be sure: your account's name",
        "",
        "Your sites stay; only operators keep those that nobody else does.",
    );
    page.heading("Erase").form(erase.again(desk));
    Ok(page)
}

/// An account that signs in elsewhere may have none: then there is nothing to change.
fn show_password(desk: &mut Desk<'_>, page: &mut Page) -> Result<(), Refusal> {
    if account::find_password(desk.connection, &desk.account.name)?.is_none() {
        return Ok(());
    }
    let password = Blank::new("/desk/account/password", "Change it")
        .field(Kind::Password, "password", "Your password now", "", "")
        .field(
            Kind::NewPassword,
            "new_password",
            "The new one",
            "",
            "At least 10 characters. All your sessions end.",
        );
    page.heading("Password").form(password);
    Ok(())
}

/// All that is kept of an account, as JSON; of its own changes a page.
fn export(desk: &mut Desk<'_>, page: &mut Page) -> Result<(), Refusal> {
    let sites: Vec<_> =
        account::list_sites(desk.connection, desk.account.id)?.into_iter().map(|it| it.name).collect();
    let filter = Filter {
        actor: Some(desk.account.name.to_string()),
        before: desk.visitor.asked("before").parse().ok(),
        ..Filter::default()
    };
    let changes = audit::list(desk.connection, &filter, CHANGES)?;
    let identities = identities::list(desk.connection, desk.account.id)?;
    let all = serde_json::json!({ "account": desk.account, "identities": identities, "sites": sites, "changes": changes });
    page.add(Block::Code(serde_json::to_string_pretty(&all).unwrap_or_default()));
    if let Some(last) = changes.last().filter(|_| changes.len() as i64 == CHANGES) {
        let path = format!("/desk/account?before={}", last.id);
        page.add(Block::Link(path, "Older changes of yours".to_owned()));
    }
    Ok(())
}

/// `POST /desk/account/mail`
pub(super) fn change_mail(desk: &mut Desk<'_>) -> Result<Next, Refusal> {
    desk.form.has_only(&["mail"])?;
    let mail = desk.form.text("mail").to_owned();
    if !mail.is_empty() && !is_contact(&mail) {
        return Err(Refusal::Bad("Mail address: such as ann@example.org.".to_owned()));
    }
    let (id, change) = (desk.account.id, AccountChange { mail: Some(mail), ..AccountChange::default() });
    desk.noting(Subject::Account(id), |it| account::update(it, id, &change))?;
    Ok(Next::See("/desk/account".to_owned(), Done::Saved))
}

/// `POST /desk/account/password`. The hashes were made before, for they take long.
pub(super) fn change_password(desk: &mut Desk<'_>) -> Result<Next, Refusal> {
    desk.form.has_only(&["password", "new_password"])?;
    let new = desk.new_password.take().ok_or_else(|| Refusal::Bad("The new one: it is empty.".to_owned()))?;
    let id = desk.account.id;
    let change = AccountChange { password: Some(Some(new)), ..AccountChange::default() };
    desk.noting(Subject::Account(id), |it| account::update(it, id, &change))?;
    Ok(Next::SignOut)
}

/// `POST /desk/account/sessions`
pub(super) fn end_sessions(desk: &mut Desk<'_>) -> Result<Next, Refusal> {
    desk.form.has_only(&[])?;
    account::end_sessions(desk.connection, desk.account.id)?;
    Ok(Next::SignOut)
}

/// `POST /desk/account/erase`
pub(super) fn erase(desk: &mut Desk<'_>) -> Result<Next, Refusal> {
    desk.form.has_only(&["name"])?;
    let name = desk.account.name.clone();
    if desk.form.text("name") != name.as_str() {
        return Err(Refusal::Bad(format!("To erase it, write its name: {name}")));
    }
    let is_last = |it: &account::Account| it.role == Role::Operator && it.active && it.name != name;
    if desk.is_operator() && !account::list(desk.connection)?.iter().any(is_last) {
        return Err(Refusal::Bad("You are the last operator: make another one first.".to_owned()));
    }
    account::delete(desk.connection, desk.account.id)?;
    audit::forget(desk.connection, &name)?;
    Ok(Next::SignOut)
}
