//! What operators see and do: everything.

use std::collections::{HashMap, HashSet};

use super::{
    Desk, Next, Page, Refusal, account_token as account_tokens,
    block::{Blank, Block, Cell, Kind, Table, link, text, tick},
    home,
    reply::Done,
};
use crate::{
    database::{
        Sha256,
        account::{self, Account, AccountChange},
        account_token, approval,
        audit::{self, Entry, Filter, Subject},
        host::{self, Host},
        identity::{self, Identity},
        site::{self, Site},
        withdrawal,
    },
    mirror::{AccountName, HostId, Role, SiteId},
    mirrorlist::rows::HostRow,
    oci::Digest,
    server::pages::text as words,
    tree::CANARY_DIGEST,
};

/// Changes on one page of the log.
const CHANGES: i64 = 100;

/// Approvals on the page; the others follow when these are settled.
const APPROVALS: i64 = 200;

/// A host counts as new for so long, in seconds.
const NEW: i64 = 7 * 86_400;

/// A lie is told of for so long, in seconds.
const LIED: i64 = 30 * 86_400;

/// Bytes of the reason of a withdrawal.
const REASON: usize = 1000;

/// `GET /desk/all?q=`: all sites with their hosts and keepers.
pub(super) fn show_all(desk: &mut Desk<'_>) -> Result<Page, Refusal> {
    let (mut page, paging) = (Page::new("All sites"), desk.paging()?);
    page.search(desk, "Name of a site or host");
    let mut hosts: HashMap<SiteId, Vec<Host>> = HashMap::new();
    for host in host::list(desk.connection)? {
        hosts.entry(host.site_id).or_default().push(host);
    }
    let own = |site: &Site| hosts.get(&site.id).map_or(&[][..], Vec::as_slice);
    let mut sites = site::list(desk.connection)?;
    let seeks_any = |hosts: &[Host]| hosts.iter().any(|it| desk.seeks(it.name.as_str()));
    sites.retain(|it| desk.seeks(it.name.as_str()) || seeks_any(own(it)));
    let row = |site: Site| {
        let keepers = account::list_keepers(desk.connection, site.id)?;
        let keepers: Vec<String> = keepers.iter().map(ToString::to_string).collect();
        let name = |it: &Host| (format!("/desk/hosts/{}", it.id.0), it.name.to_string());
        Ok::<_, Refusal>(vec![
            link(format!("/desk/sites/{}", site.id.0), &site.name),
            Cell::Links(own(&site).iter().map(name).collect()),
            text(keepers.join(", ")),
        ])
    };
    let listed = paging.cut(sites, |it| it.name.as_str(), row).all()?;
    let header = &["Site", "Hosts", "Keepers"];
    page.part(&paging, Table { label: "Sites", header, rows: listed.items }, listed.next, "There are none.")
        .heading("Add a site")
        .form(super::site::new_form(desk));
    Ok(page)
}

/// `GET /desk/look?q=`: hosts that want an operator's eye, and why.
pub(super) fn show_look(desk: &mut Desk<'_>) -> Result<Page, Refusal> {
    let (mut page, paging) = (Page::new("Hosts to look at"), desk.paging()?);
    page.search(desk, "Name of a host");
    let hosts = list_look(desk)?;
    let row = |(host, reasons): (Host, Vec<String>)| {
        let mut row = home::row(desk, &host);
        row.push(Cell::Lines(reasons));
        row
    };
    let listed = paging.cut(hosts, |it| it.0.name.as_str(), row);
    let header = &["Host", "State", "Carries", "Country", "Why"];
    let table = Table { label: "Hosts to look at", header, rows: listed.items };
    page.part(&paging, table, listed.next, "None: all hosts are well.");
    Ok(page)
}

/// Hosts that want an operator's eye, and why.
pub(super) fn list_look(desk: &mut Desk<'_>) -> Result<Vec<(Host, Vec<String>)>, Refusal> {
    let snapshot = &desk.current.snapshot;
    let holds = |it: &HostRow| {
        it.categories.iter().any(|it| snapshot.holdings.find(it.id).is_some_and(|it| !it.blobs.is_empty()))
    };
    let holders: HashSet<HostId> =
        snapshot.hosts.list().iter().filter(|it| holds(it)).map(|it| it.id).collect();
    let hosts = host::list(desk.connection)?.into_iter().filter(|it| desk.seeks(it.name.as_str()));
    let look = |host: Host| {
        let reasons = reasons(&host, holders.contains(&host.id), desk.now.unix_seconds());
        (host, reasons)
    };
    Ok(hosts.map(look).filter(|it| !it.1.is_empty()).collect())
}

fn reasons(host: &Host, holds_something: bool, now: i64) -> Vec<String> {
    let age = |then: crate::database::Time| now - then.unix_seconds();
    let mut reasons = Vec::new();
    if let Some(reason) = &host.auto_disabled_reason {
        reasons.push(format!("switched off by the crawler: {reason}"));
    } else if host.crawl_failures > 0 {
        reasons.push(format!("the last {} crawls did not reach it", host.crawl_failures));
    }
    if let Some(at) = host.last_lied_at.filter(|it| age(*it) < LIED) {
        reasons.push(format!("had other bytes than it should, {}", words::ago(at.unix_seconds(), now)));
    }
    if age(host.created_at) < NEW {
        reasons.push(format!("new: added {}", words::ago(host.created_at.unix_seconds(), now)));
    } else if !holds_something {
        reasons.push("never served anything: no crawl found content there".to_owned());
    }
    reasons
}

/// `GET /desk/approvals`: what waits for an operator.
pub(super) fn show_approvals(desk: &mut Desk<'_>) -> Result<Page, Refusal> {
    let mut page = Page::new("Approvals");
    page.text("These would draw clients to a host who now go elsewhere.");
    let row = |(wish, name): &(approval::Approval, crate::mirror::HostName)| {
        let words_of = wish.wish().map(|it| it.to_string()).unwrap_or_default();
        let button = |word: &'static str, value: &'static str| {
            let form = Blank::new(format!("/desk/approvals/{}", wish.id), word).about(words_of.clone());
            Cell::Button(form.field(Kind::Hidden, "granted", "", value, ""))
        };
        vec![
            link(format!("/desk/hosts/{}", wish.host_id.0), name),
            text(&words_of),
            text(&wish.reason),
            text(format!("{}, {}", wish.asked_by, words::time(wish.asked_at.unix_seconds()))),
            button("Grant", "on"),
            button("Refuse", ""),
        ]
    };
    let rows = approval::list(desk.connection, APPROVALS)?.iter().map(row).collect();
    let header = &["Host", "Wish", "Why it waits", "Asked by", "Yes", "No"];
    page.table(Table { label: "Approvals", header, rows }, "Nothing waits.");
    Ok(page)
}

/// `POST /desk/approvals/{item}`
pub(super) fn settle(desk: &mut Desk<'_>) -> Result<Next, Refusal> {
    desk.form.has_only(&["granted"])?;
    let (id, granted) = (desk.number()?, desk.form.is_ticked("granted"));
    if !approval::settle(desk.connection, &desk.account, id, granted, desk.now)? {
        return Err(Refusal::Missing);
    }
    Ok(Next::See("/desk/approvals".to_owned(), Done::Saved))
}

/// `GET /desk/accounts?q=`: who may do what.
pub(super) fn show_accounts(desk: &mut Desk<'_>) -> Result<Page, Refusal> {
    let (mut page, paging) = (Page::new("Accounts"), desk.paging()?);
    page.search(desk, "Name or mail address");
    let accounts = list_accounts(desk)?;
    let row = |account: Account| {
        let sites = account::list_sites(desk.connection, account.id)?;
        let sites = sites.iter().map(|it| (format!("/desk/sites/{}", it.id.0), it.name.to_string()));
        Ok::<_, Refusal>(vec![
            text(&account.name),
            text(account.role),
            text(if account.active { "on" } else { "off" }),
            text(&account.mail),
            Cell::Links(sites.collect()),
            text(words::time(account.created_at.unix_seconds())),
            link(format!("/desk/accounts/{}", account.name), "Edit"),
        ])
    };
    let listed = paging.cut(accounts, |it| it.name.as_str(), row).all()?;
    let header = &["Name", "Role", "Is", "Mail", "Keeps", "Made", "Action"];
    page.part(
        &paging,
        Table { label: "Accounts", header, rows: listed.items },
        listed.next,
        "There are none.",
    );
    page.text("More are made by signing up, or by `portolan account create`.");
    Ok(page)
}

/// All accounts, or those that are sought.
pub(super) fn list_accounts(desk: &mut Desk<'_>) -> Result<Vec<Account>, Refusal> {
    let all = account::list(desk.connection)?.into_iter();
    Ok(all.filter(|it| desk.seeks(it.name.as_str()) || desk.seeks(&it.mail)).collect())
}

/// `GET /desk/accounts/{item}`
pub(super) fn show_account(desk: &mut Desk<'_>) -> Result<Page, Refusal> {
    let account = find_account(desk)?;
    let mut page = Page::new(format!("Account {}", account.name));
    let roles = [Role::Reader, Role::MirrorAdmin, Role::Operator].map(|it| (it.to_string(), it.to_string()));
    let form = Blank::new(format!("/desk/accounts/{}", account.name), "Save")
        .field(Kind::Choice(roles.to_vec()), "role", "Role", account.role, "Another role ends its sessions.")
        .field(Kind::Check, "active", "On", tick(account.active), "Its owner may sign in.");
    page.form(form.again(desk));
    let row = |it: &Identity| {
        let linked = text(words::time(it.created_at.unix_seconds()));
        vec![text(&it.called), text(&it.issuer), text(&it.subject), linked]
    };
    let rows = identity::list(desk.connection, account.id)?.iter().map(row).collect();
    let header = &["Name there", "At", "Known there as", "Linked"];
    page.heading("Signing in elsewhere")
        .table(Table { label: "Signing in elsewhere", header, rows }, "It is linked with nobody.");
    let tokens = account_token::list(desk.connection, account.id)?;
    let rows = account_tokens::rows(&tokens, |id| format!("/desk/account-tokens/{id}/remove"));
    page.heading("Tokens for programs")
        .table(Table { label: "Tokens for programs", header: account_tokens::HEADER, rows }, "It has none.");
    Ok(page)
}

/// `POST /desk/account-tokens/{item}/remove`: whosever it is.
pub(super) fn remove_token(desk: &mut Desk<'_>) -> Result<Next, Refusal> {
    desk.form.has_only(&[])?;
    let id = desk.number()?;
    let owner = account_token::find_owner(desk.connection, id)?.ok_or(Refusal::Missing)?;
    let name = owner.name.clone();
    desk.noting(Subject::Account(owner.id), |it| account_token::delete(it, owner.id, id))?;
    Ok(Next::See(format!("/desk/accounts/{name}"), Done::Removed))
}

pub(super) fn find_account(desk: &mut Desk<'_>) -> Result<Account, Refusal> {
    let name: AccountName = desk.item.parse().map_err(|_| Refusal::Missing)?;
    account::find(desk.connection, &name)?.ok_or(Refusal::Missing)
}

/// `POST /desk/accounts/{item}`
pub(super) fn edit_account(desk: &mut Desk<'_>) -> Result<Next, Refusal> {
    desk.form.has_only(&["role", "active"])?;
    let account = find_account(desk)?;
    let role: Role = desk.form.value("role", "Role")?;
    let active = desk.form.is_ticked("active");
    if account.id == desk.account.id && (role != Role::Operator || !active) {
        return Err(Refusal::Bad("Another operator has to take your role from you.".to_owned()));
    }
    let role = Some(role).filter(|it| *it != account.role);
    let change = AccountChange { role, active: Some(active), ..AccountChange::default() };
    desk.noting(Subject::Account(account.id), |it| account::update(it, account.id, &change))?;
    Ok(Next::See("/desk/accounts".to_owned(), Done::Saved))
}

/// `GET /desk/log?subject=&name=&actor=&before=`: who changed what.
pub(super) fn show_log(desk: &mut Desk<'_>) -> Result<Page, Refusal> {
    let mut page = Page::new("Log of changes");
    let filter = Filter { before: desk.visitor.asked("before").parse().ok(), ..log_filter(desk) };
    let entries = audit::list(desk.connection, &filter, CHANGES)?;
    let rows = entries.iter().map(entry).collect();
    page.table(
        Table { label: "Changes", header: &["When", "Who", "What", "Before", "After"], rows },
        "Nothing was changed.",
    );
    if let Some(last) = entries.last().filter(|_| entries.len() as i64 == CHANGES) {
        let others = desk.visitor.query.iter().filter(|it| it.0 != "before" && it.0 != "done");
        let query = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(others)
            .append_pair("before", &last.id.to_string())
            .finish();
        page.add(Block::Link(format!("/desk/log?{query}"), "Older".to_owned()));
    }
    Ok(page)
}

/// `?subject=&name=&actor=`
pub(super) fn log_filter(desk: &Desk<'_>) -> Filter {
    let subjects = ["site", "host", "account", "withdrawal"];
    let subject = subjects.into_iter().find(|it| *it == desk.visitor.asked("subject"));
    let some = |name: &str| Some(desk.visitor.asked(name)).filter(|it| !it.is_empty()).map(str::to_owned);
    Filter { before: None, subject: subject.zip(some("name")), actor: some("actor") }
}

fn entry(entry: &Entry) -> Vec<Cell> {
    let name = url::form_urlencoded::byte_serialize(entry.subject_name.as_bytes()).collect::<String>();
    let actor = url::form_urlencoded::byte_serialize(entry.actor.as_bytes()).collect::<String>();
    let lines = |side: &Option<String>, none: &str| match side {
        None => text(none),
        Some(json) => Cell::Lines(pairs(json)),
    };
    vec![
        text(words::time(entry.happened_at.unix_seconds())),
        link(format!("/desk/log?actor={actor}"), &entry.actor),
        link(
            format!("/desk/log?subject={}&name={name}", entry.subject),
            format!("{} {}", entry.subject, entry.subject_name),
        ),
        lines(&entry.before_change, "was not there"),
        lines(&entry.after_change, "is no more"),
    ]
}

/// The fields of a JSON object, a line each.
fn pairs(json: &str) -> Vec<String> {
    match serde_json::from_str(json) {
        Ok(serde_json::Value::Object(object)) => {
            object.iter().filter(|it| !it.1.is_null()).map(|it| format!("{}: {}", it.0, it.1)).collect()
        }
        _ => vec![json.to_owned()],
    }
}

/// `GET /desk/withdrawals`: what is not answered any more.
pub(super) fn show_withdrawals(desk: &mut Desk<'_>) -> Result<Page, Refusal> {
    let mut page = Page::new("Withdrawals");
    let row = |it: &withdrawal::Withdrawal| {
        let digest = Digest::from(it.digest).to_string();
        let form =
            Blank::new(format!("/desk/withdrawals/{digest}/remove"), "Answer it again").about(digest.clone());
        vec![
            text(digest),
            text(&it.reason),
            text(if it.legal { "451" } else { "404" }),
            text(words::time(it.withdrawn_at.unix_seconds())),
            Cell::Button(form),
        ]
    };
    let rows = withdrawal::list(desk.connection)?.iter().map(row).collect();
    let header = &["Digest", "Why", "Answer", "Since", "Action"];
    page.table(Table { label: "Withdrawals", header, rows }, "Nothing is withdrawn.");
    let form = Blank::new("/desk/withdrawals", "Withdraw")
        .grave()
        .field(
            Kind::Text,
            "digest",
            "Digest of a manifest or blob",
            "",
            "Such as sha256:… It is answered no more: as tag, manifest, blob, referrer or metalink.",
        )
        .field(Kind::Area, "reason", "Why", "", "For the operators.")
        .field(Kind::Check, "legal", "For legal reasons", "", "451 instead of 404.");
    page.heading("Withdraw").form(form.again(desk));
    page.text("The next scan tells the tree, and the export after that leaves it out.");
    Ok(page)
}

fn hash(digest: &Digest) -> Result<Sha256, Refusal> {
    let hash = digest.sha256().ok_or_else(|| Refusal::Bad("Digest: it begins with sha256:.".to_owned()))?;
    Ok(Sha256(*hash))
}

/// `POST /desk/withdrawals`
pub(super) fn withdraw(desk: &mut Desk<'_>) -> Result<Next, Refusal> {
    desk.form.has_only(&["digest", "reason", "legal"])?;
    let digest: Digest = desk.form.value("digest", "Digest")?;
    let reason = desk.form.words("reason", "Why", REASON)?;
    if reason.is_empty() {
        return Err(Refusal::Bad("Why: the other operators want to know.".to_owned()));
    }
    if digest == CANARY_DIGEST {
        return Err(Refusal::Bad(
            "Digest: by this blob every mirror is asked whether it answers.".to_owned(),
        ));
    }
    let (hash, legal, now) = (hash(&digest)?, desk.form.is_ticked("legal"), desk.now);
    desk.noting(Subject::Withdrawal(hash), |it| withdrawal::insert(it, hash, &reason, legal, now))?;
    Ok(Next::See("/desk/withdrawals".to_owned(), Done::Withdrawn))
}

/// `POST /desk/withdrawals/{item}/remove`
pub(super) fn restore(desk: &mut Desk<'_>) -> Result<Next, Refusal> {
    desk.form.has_only(&[])?;
    let digest: Digest = desk.item.parse().map_err(|_| Refusal::Missing)?;
    let hash = hash(&digest)?;
    if !desk.noting(Subject::Withdrawal(hash), |it| withdrawal::delete(it, hash))? {
        return Err(Refusal::Missing);
    }
    Ok(Next::See("/desk/withdrawals".to_owned(), Done::Saved))
}
