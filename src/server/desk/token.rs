//! By which a host's own script reports, and what that script needs.

use super::{
    Desk, Next, Page, Refusal,
    block::{Blank, Block, Cell, Kind, Table, text},
    host,
    reply::Done,
};
use crate::{
    database::{Time, host::Host, host_category, host_token, secret},
    server::pages::text as words,
};

/// Tokens of one host.
const MOST: usize = 20;

/// How long a token may live, in days.
const LONGEST: i64 = 3650;

/// The host's tokens, and its script's settings filled in.
pub(super) fn show(desk: &mut Desk<'_>, host: &Host, may: bool, page: &mut Page) -> Result<(), Refusal> {
    let path = host::path(host.id);
    page.heading("Tokens for its script");
    let age = |time: Option<Time>| time.map(|it| words::time(it.unix_seconds())).unwrap_or_default();
    let mut rows = Vec::new();
    for it in host_token::list(desk.connection, host.id)? {
        let mut row = vec![
            text(it.id),
            text(age(Some(it.created_at))),
            text(age(it.expires_at)),
            text(age(it.used_at)),
        ];
        let form = || {
            Blank::new(format!("{path}/tokens/{}/remove", it.id), "Remove").about(format!("token {}", it.id))
        };
        row.extend(may.then(|| Cell::Button(form())));
        rows.push(row);
    }
    let header: &[_] = match may {
        true => &["Token", "Made", "Expires", "Last used", "Action"],
        false => &["Token", "Made", "Expires", "Last used"],
    };
    page.table(
        Table { label: "Tokens", header, rows },
        "None. With one, the script tells us that it has copied, and a crawl follows within seconds.",
    );
    if may {
        let form = Blank::new(format!("{path}/tokens"), "Make a token").field(
            Kind::Text,
            "days",
            "Expires in days",
            "",
            "Empty: never.",
        );
        page.form(form.again(desk));
        page.heading("Settings of portolan-sync.sh").add(Block::Code(settings(desk, host)?));
    }
    Ok(())
}

/// What stands in `/etc/portolan-sync.conf` of this host.
fn settings(desk: &mut Desk<'_>, host: &Host) -> Result<String, Refusal> {
    let opt_ins = host_category::list(desk.connection, host.id)?;
    let names: Vec<_> = opt_ins.iter().map(|it| it.1.to_string()).collect();
    let private = if host.private { "yes" } else { "no" };
    Ok(format!(
        "source=rsync://THE-ORIGIN/OF-THE-TREE\ndestination=/var/www/html\ncategories={}\nregistry=https://{}\nhost={}\n\
         token_file=/etc/portolan-sync.token\nprivate={private}\n",
        names.join(" "),
        desk.visitor.registry,
        host.name,
    ))
}

/// `POST /desk/hosts/{host}/tokens`: shows it, this once.
pub(super) fn create(desk: &mut Desk<'_>) -> Result<Next, Refusal> {
    let host = desk.host()?;
    desk.form.has_only(&["days"])?;
    let days: Option<i64> = desk.form.optional("days", "Expires in days")?;
    if days.is_some_and(|it| !(1..=LONGEST).contains(&it)) {
        return Err(Refusal::Bad(format!("Expires in days: 1 to {LONGEST}.")));
    }
    if host_token::list(desk.connection, host.id)?.len() >= MOST {
        return Err(Refusal::Bad(format!("A host has at most {MOST} tokens: remove one.")));
    }
    let lasts = days.map(|it| jiff::SignedDuration::from_hours(it * 24));
    let now: jiff::Timestamp = desk.now.into();
    let expires = lasts.and_then(|it| now.checked_add(it).ok()).map(Into::into);
    let token = host_token::new().map_err(|error| Refusal::Bad(error.to_string()))?;
    host_token::insert(desk.connection, host.id, secret::hash(&token), expires, desk.now)?;
    let mut page = Page::new(format!("A token of {}", host.name));
    page.text("Keep it in the script's token file: it is not shown again.").add(Block::Code(token.clone()));
    page.add(Block::Link(host::path(host.id), format!("Back to {}", host.name)));
    Ok(Next::Secret(page, token))
}

/// `POST /desk/hosts/{host}/tokens/{item}/remove`
pub(super) fn remove(desk: &mut Desk<'_>) -> Result<Next, Refusal> {
    let host = desk.host()?;
    desk.form.has_only(&[])?;
    let id = desk.number()?;
    if !host_token::delete(desk.connection, host.id, id)? {
        return Err(Refusal::Missing);
    }
    Ok(Next::See(host::path(host.id), Done::Removed))
}
