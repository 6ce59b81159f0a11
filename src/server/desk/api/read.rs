//! What programs read at the desk.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::super::{Desk, Refusal, operator, settings};
use crate::{
    database::{
        Time,
        account::{self, Account},
        account_token::{self, AccountToken},
        approval, audit, crawl, host, host_category, host_netblock, host_token,
        identity::{self, Identity},
        imported, lease, site, withdrawal,
    },
    mirror::{CategoryName, HostCategoryId, HostId, HostName, HostUrl, Netblock, Role, RsyncUrl, SiteId},
    oci::Digest,
    server::api::Listed,
    teller::{AccountView, CrawlView, HostView, SiteView},
};

/// Crawls in one answer.
const CRAWLS: i64 = 50;

/// What waits, in one answer; the others follow when these are settled.
const APPROVALS: i64 = 500;

type Told = Result<Value, Refusal>;

fn json(value: impl Serialize) -> Told {
    serde_json::to_value(value).map_err(|error| Refusal::Bad(error.to_string()))
}

/// The own sites; of operators all. `?name=` finds one.
fn own_sites(desk: &mut Desk<'_>) -> Result<Vec<site::Site>, Refusal> {
    Ok(match desk.account.role {
        Role::Operator => site::list(desk.connection)?,
        _ => account::list_sites(desk.connection, desk.account.id)?,
    })
}

pub(super) fn sites(desk: &mut Desk<'_>) -> Told {
    let (paging, name) = (desk.paging()?, desk.visitor.asked("name"));
    let mut sites = own_sites(desk)?;
    sites.retain(|it| name.is_empty() || it.name.as_str() == name);
    let listed = paging.cut(sites, |it| it.name.as_str(), |it| SiteView::load(desk.connection, &it));
    json(listed.all()?)
}

pub(super) fn site(desk: &mut Desk<'_>) -> Told {
    let site = desk.site()?;
    json(SiteView::load(desk.connection, &site)?)
}

pub(super) fn site_fields(desk: &mut Desk<'_>) -> Result<Vec<&'static str>, Refusal> {
    Ok(super::super::site::fields(desk).to_vec())
}

pub(super) fn hosts(desk: &mut Desk<'_>) -> Told {
    let (paging, name) = (desk.paging()?, desk.visitor.asked("name"));
    let own: Vec<SiteId> = own_sites(desk)?.into_iter().map(|it| it.id).collect();
    let mut hosts = host::list(desk.connection)?;
    hosts.retain(|it| own.contains(&it.site_id) && (name.is_empty() || it.name.as_str() == name));
    let now = desk.now;
    let listed = paging.cut(hosts, |it| it.name.as_str(), |it| HostView::load(desk.connection, &it, now));
    json(listed.all()?)
}

pub(super) fn host(desk: &mut Desk<'_>) -> Told {
    let host = desk.host()?;
    json(HostView::load(desk.connection, &host, desk.now)?)
}

pub(super) fn host_fields(desk: &mut Desk<'_>) -> Result<Vec<&'static str>, Refusal> {
    let host = desk.host()?;
    let is_imported = imported::find_host(desk.connection, host.id)?.is_some();
    Ok(super::super::host::fields(desk, is_imported))
}

/// How the crawls of a host go.
#[derive(Serialize, JsonSchema)]
pub(super) struct CrawlsView {
    /// A crawler looks at it now.
    is_running: bool,
    /// The next one is due then.
    next_at: Option<Time>,
    /// Newest first.
    crawls: Vec<CrawlView>,
    /// What its admin has to repair.
    repairs: Vec<crate::notice::Repair>,
}

pub(super) fn crawls(desk: &mut Desk<'_>) -> Told {
    let host = desk.host()?;
    let schedule = lease::find(desk.connection, host.id)?;
    let crawls = crawl::list(desk.connection, host.id, CRAWLS)?;
    json(CrawlsView {
        is_running: schedule.as_ref().and_then(|it| it.leased_until).is_some_and(|it| it > desk.now),
        next_at: schedule.map(|it| it.next_crawl_at),
        crawls: crawls.into_iter().map(CrawlView::from).collect(),
        repairs: crate::teller::list_repairs(desk.connection, host.id)?,
    })
}

/// A category that a host carries.
#[derive(Serialize, JsonSchema)]
pub(super) struct OptInView {
    id: HostCategoryId,
    category: CategoryName,
    /// Nobody is sent there for it, for a while.
    drained: bool,
    urls: Vec<HostUrl>,
    rsync: Option<RsyncUrl>,
}

pub(super) fn opt_ins(desk: &mut Desk<'_>) -> Told {
    let host = desk.host()?;
    let mut views = Vec::new();
    for (row, category) in host_category::list(desk.connection, host.id)? {
        let urls = host_category::list_urls(desk.connection, row.id)?.into_iter().map(|it| it.url).collect();
        let rsync = host_category::find_rsync_url(desk.connection, row.id)?;
        views.push(OptInView { id: row.id, category, drained: row.drained, urls, rsync });
    }
    json(views)
}

/// A network whose clients a host serves first.
#[derive(Serialize, JsonSchema)]
pub(super) struct NetblockView {
    id: i64,
    netblock: Netblock,
    name: String,
}

pub(super) fn netblocks(desk: &mut Desk<'_>) -> Told {
    let host = desk.host()?;
    let rows = host_netblock::list(desk.connection, host.id)?;
    let view =
        |it: host_netblock::HostNetblock| NetblockView { id: it.id, netblock: it.netblock, name: it.name };
    json(rows.into_iter().map(view).collect::<Vec<_>>())
}

/// What waits for an operator.
#[derive(Serialize, JsonSchema)]
pub(super) struct WishView {
    id: i64,
    host_id: HostId,
    /// The host's name.
    host: HostName,
    /// What is wished, in words.
    wish: String,
    /// Why an operator has to agree.
    reason: String,
    asked_by: String,
    asked_at: Time,
}

impl WishView {
    fn new(row: approval::Approval, host: HostName) -> Self {
        let wish = row.wish().map(|it| it.to_string()).unwrap_or_default();
        let approval::Approval { id, host_id, reason, asked_by, asked_at, .. } = row;
        Self { id, host_id, host, wish, reason, asked_by, asked_at }
    }
}

pub(super) fn wishes(desk: &mut Desk<'_>) -> Told {
    let host = desk.host()?;
    let rows = approval::list_of_host(desk.connection, host.id)?;
    json(rows.into_iter().map(|it| WishView::new(it, host.name.clone())).collect::<Vec<_>>())
}

pub(super) fn approvals(desk: &mut Desk<'_>) -> Told {
    let rows = approval::list(desk.connection, APPROVALS)?;
    json(rows.into_iter().map(|(row, host)| WishView::new(row, host)).collect::<Vec<_>>())
}

pub(super) fn host_tokens(desk: &mut Desk<'_>) -> Told {
    let host = desk.host()?;
    json(host_token::list(desk.connection, host.id)?)
}

pub(super) fn own_account(desk: &mut Desk<'_>) -> Told {
    let account = desk.account.clone();
    json(AccountView::load(desk.connection, account)?)
}

pub(super) fn mail_fields(_: &mut Desk<'_>) -> Result<Vec<&'static str>, Refusal> {
    Ok(vec!["mail"])
}

/// All that is kept of an account.
#[derive(Serialize, JsonSchema)]
pub(super) struct ExportView {
    account: AccountView,
    tokens: Vec<AccountToken>,
    /// Who its owner is elsewhere.
    identities: Vec<Identity>,
    /// What it changed, newest first.
    changes: Listed<ChangeView>,
}

pub(super) fn export(desk: &mut Desk<'_>) -> Told {
    let account = desk.account.clone();
    let filter = audit::Filter { actor: Some(account.name.to_string()), ..audit::Filter::default() };
    let tokens = account_token::list(desk.connection, account.id)?;
    let identities = identity::list(desk.connection, account.id)?;
    let changes = changes(desk, filter)?;
    json(ExportView { account: AccountView::load(desk.connection, account)?, tokens, identities, changes })
}

pub(super) fn tokens(desk: &mut Desk<'_>) -> Told {
    json(account_token::list(desk.connection, desk.account.id)?)
}

pub(super) fn accounts(desk: &mut Desk<'_>) -> Told {
    let paging = desk.paging()?;
    let all = operator::list_accounts(desk)?;
    let view = |it: Account| AccountView::load(desk.connection, it);
    json(paging.cut(all, |it| it.name.as_str(), view).all()?)
}

pub(super) fn account(desk: &mut Desk<'_>) -> Told {
    let account = operator::find_account(desk)?;
    json(AccountView::load(desk.connection, account)?)
}

pub(super) fn account_tokens(desk: &mut Desk<'_>) -> Told {
    let account = operator::find_account(desk)?;
    json(account_token::list(desk.connection, account.id)?)
}

pub(super) fn account_identities(desk: &mut Desk<'_>) -> Told {
    let account = operator::find_account(desk)?;
    json(identity::list(desk.connection, account.id)?)
}

pub(super) fn settings(desk: &mut Desk<'_>) -> Told {
    json(settings::SettingsView::new(desk))
}

pub(super) fn account_fields(_: &mut Desk<'_>) -> Result<Vec<&'static str>, Refusal> {
    Ok(vec!["role", "active"])
}

/// A host that wants an operator's eye.
#[derive(Serialize, JsonSchema)]
pub(super) struct LookView {
    id: HostId,
    name: HostName,
    reasons: Vec<String>,
}

pub(super) fn look(desk: &mut Desk<'_>) -> Told {
    let paging = desk.paging()?;
    let view = |(host, reasons): (host::Host, _)| LookView { id: host.id, name: host.name, reasons };
    json(paging.cut(operator::list_look(desk)?, |it| it.0.name.as_str(), view))
}

/// A change.
#[derive(Serialize, JsonSchema)]
pub(super) struct ChangeView {
    id: i64,
    happened_at: Time,
    /// An account's name, or `cli:USER` for a command on the database.
    actor: String,
    /// `site`, `host`, `account` or `withdrawal`.
    subject: String,
    /// Its name.
    name: String,
    /// What differs, as it was before; null: it was not there.
    before: Value,
    /// The same after it; null: it is no more.
    after: Value,
}

impl From<audit::Entry> for ChangeView {
    fn from(entry: audit::Entry) -> Self {
        let side =
            |text: Option<String>| text.and_then(|it| serde_json::from_str(&it).ok()).unwrap_or_default();
        Self {
            id: entry.id,
            happened_at: entry.happened_at,
            actor: entry.actor,
            subject: entry.subject,
            name: entry.subject_name,
            before: side(entry.before_change),
            after: side(entry.after_change),
        }
    }
}

fn changes(desk: &mut Desk<'_>, filter: audit::Filter) -> Result<Listed<ChangeView>, Refusal> {
    let paging = desk.paging()?;
    let filter = audit::Filter { before: paging.after_number(), ..filter };
    let limit = paging.limit();
    let mut entries = audit::list(desk.connection, &filter, limit as i64 + 1)?;
    let has_more = entries.len() > limit;
    entries.truncate(limit);
    let next = entries.last().filter(|_| has_more).map(|it| paging.link(&it.id.to_string()));
    Ok(Listed { items: entries.into_iter().map(ChangeView::from).collect(), next })
}

pub(super) fn log(desk: &mut Desk<'_>) -> Told {
    let filter = operator::log_filter(desk);
    json(changes(desk, filter)?)
}

/// A digest that is answered no more.
#[derive(Serialize, JsonSchema)]
pub(super) struct WithdrawalView {
    digest: String,
    reason: String,
    /// 451 instead of 404.
    legal: bool,
    /// Something had this digest when it was withdrawn.
    known: bool,
    withdrawn_at: Time,
}

pub(super) fn withdrawals(desk: &mut Desk<'_>) -> Told {
    let paging = desk.paging()?;
    let view = |it: withdrawal::Withdrawal| WithdrawalView {
        digest: Digest::from(it.digest).to_string(),
        reason: it.reason,
        legal: it.legal,
        known: it.blob_id.is_some(),
        withdrawn_at: it.withdrawn_at,
    };
    let all = withdrawal::list(desk.connection)?.into_iter().map(view).collect();
    json(paging.cut(all, |it| it.digest.as_str(), |it| it))
}
