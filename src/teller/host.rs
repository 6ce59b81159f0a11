//! A host as its keepers and operators see it: on the command line, at the desk and in the API.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::repair::list_repair_files;
use crate::{
    database::{
        Connection, QueryResult, Time, category,
        crawl::{self, Crawl, Holdings, UrlFacts},
        experience::{self, Demotion},
        host::Host,
        host_category::{self, HostCategoryUrl},
        host_country, host_netblock, host_peer_asn, imported,
        lease::{self, Schedule},
        site::{self, Site},
        traffic,
    },
    mirror::{
        Asn, Bandwidth, Bytes, CategoryName, Country, CrawlState, HostId, HostKind, HostName, HostUrl,
        Netblock, Percent, Place, Reach, RsyncUrl, Serial, SiteName,
    },
    mirrorlist::{Exclusion, HOLDINGS_AGE},
    notice::RepairFile,
};

/// Why an opt-in whose URLs are all new is not offered.
const OTHER_URLS: &str = "not crawled since its URLs changed";

/// So many hours of what was sent are told, those in which something was.
const HOURS: i64 = 24;

/// All that is known of a host.
#[derive(Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "what says no more than its name")]
pub struct HostView {
    /// Its number here.
    pub id: HostId,
    /// Its name.
    pub name: HostName,
    /// Null only if it was removed a moment ago.
    pub site: Option<SiteName>,
    /// Its id in MirrorManager, if it comes from there; it is read-only here then.
    pub mirrormanager_id: Option<i64>,
    /// Why clients are not sent to it, or not for some category; empty when all is well.
    pub not_offered: Vec<String>,
    pub country: Option<Country>,
    pub place: Option<Place>,
    pub asn: Option<Asn>,
    pub asn_clients: bool,
    pub peer_asns: Vec<Asn>,
    pub bandwidth: Option<Bandwidth>,
    pub private: bool,
    pub user_active: bool,
    pub admin_active: bool,
    /// Why the crawler switched it off.
    pub auto_disabled: Option<String>,
    pub drained: bool,
    pub contacts: Vec<String>,
    pub comment: String,
    pub netblocks: Vec<Netblock>,
    pub countries_allowed: Vec<Country>,
    pub countries_denied: Vec<Country>,
    pub kind: HostKind,
    /// So many of a hundred clients.
    pub share: Option<Percent>,
    pub daily_bytes: Option<Bytes>,
    pub max_file_size: Option<Bytes>,
    pub clients: ClientsView,
    /// A new host, and one that lied, earns its weight from then on.
    pub last_lied_at: Option<Time>,
    pub created_at: Time,
    pub last_crawled_at: Option<Time>,
    /// When it is due, and which crawler has it now.
    pub schedule: Option<Schedule>,
    pub last_crawl: Option<CrawlView>,
    pub categories: Vec<CategoryView>,
}

/// The newest crawl in the log.
#[derive(Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "what says no more than its name")]
pub struct CrawlView {
    pub state: CrawlState,
    pub started_at: Time,
    pub duration_ms: i64,
    pub log: Vec<String>,
}

/// An opt-in; what a crawl finds is null until one has looked at it.
#[derive(Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "what says no more than its name")]
pub struct CategoryView {
    pub name: CategoryName,
    /// Nobody is sent there for this category, for a while.
    pub drained: bool,
    pub state: Option<CrawlState>,
    pub held: Option<u64>,
    pub reason: Option<String>,
    pub serial: Option<Serial>,
    pub crawled_at: Option<Time>,
    pub urls: Vec<UrlView>,
    /// Where the crawler may list the same folder.
    pub rsync_url: Option<RsyncUrl>,
    /// What crawls found wrong, newest first.
    pub repair: Vec<RepairFile>,
    /// It was crawled, but under none of these URLs: what was found then says nothing of them.
    #[serde(skip)]
    has_other_urls: bool,
}

/// Where a host carries a category, and whether it answers there.
#[derive(Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "what says no more than its name")]
pub struct UrlView {
    pub url: HostUrl,
    pub ipv4: Reach,
    pub ipv6: Reach,
    pub reason: Option<String>,
    pub facts: Option<UrlFacts>,
}

impl HostView {
    /// What is known of a host.
    pub fn load(connection: &mut Connection, host: &Host, now: Time) -> QueryResult<Self> {
        let site = site::find_by_id(connection, host.site_id)?;
        let retired = category::list(connection)?.into_iter().filter(|it| it.retired_at.is_some());
        let retired: Vec<_> = retired.map(|it| it.name).collect();
        let peers = host_peer_asn::list(connection, host.id)?;
        let netblocks = host_netblock::list(connection, host.id)?;
        let mut view = Self {
            site: site.as_ref().map(|it| it.name.clone()),
            mirrormanager_id: imported::find_host(connection, host.id)?,
            peer_asns: peers.into_iter().map(|it| it.asn).collect(),
            netblocks: netblocks.into_iter().map(|it| it.netblock).collect(),
            countries_allowed: host_country::allowed::list(connection, host.id)?,
            schedule: lease::find(connection, host.id)?,
            countries_denied: host_country::denied::list(connection, host.id)?,
            last_crawl: crawl::list(connection, host.id, 1)?.pop().map(CrawlView::from),
            categories: list_categories(connection, host)?,
            clients: ClientsView::load(connection, host.id)?,
            ..Self::of_host(host)
        };
        view.not_offered = list_reasons(&view, host, site.as_ref(), &retired, now);
        Ok(view)
    }

    /// What stands in the host's own row.
    fn of_host(host: &Host) -> Self {
        Self {
            id: host.id,
            name: host.name.clone(),
            site: None,
            mirrormanager_id: None,
            not_offered: Vec::new(),
            country: host.country,
            place: host.place(),
            asn: host.asn,
            asn_clients: host.asn_clients,
            peer_asns: Vec::new(),
            bandwidth: host.bandwidth,
            private: host.private,
            user_active: host.user_active,
            admin_active: host.admin_active,
            auto_disabled: host.auto_disabled_reason.clone(),
            drained: host.drained,
            contacts: host.contacts.lines().map(str::to_owned).collect(),
            comment: host.comment.clone(),
            netblocks: Vec::new(),
            countries_allowed: Vec::new(),
            countries_denied: Vec::new(),
            kind: host.kind,
            share: host.client_share,
            daily_bytes: host.daily_bytes,
            max_file_size: host.max_file_size,
            clients: ClientsView::default(),
            last_lied_at: host.last_lied_at,
            created_at: host.created_at,
            last_crawled_at: host.last_crawled_at,
            schedule: None,
            last_crawl: None,
            categories: Vec::new(),
        }
    }
}

impl From<Crawl> for CrawlView {
    fn from(crawl: Crawl) -> Self {
        Self {
            state: crawl.state,
            started_at: crawl.started_at,
            duration_ms: crawl.duration_ms,
            log: crawl.log.lines().map(str::to_owned).collect(),
        }
    }
}

fn list_categories(connection: &mut Connection, host: &Host) -> QueryResult<Vec<CategoryView>> {
    let mut holdings = crawl::list_holdings(connection, host.id)?;
    let mut categories = Vec::new();
    for (opt_in, name) in host_category::list(connection, host.id)? {
        let urls = host_category::list_urls(connection, opt_in.id)?;
        let mut facts = crawl::list_url_facts(connection, opt_in.id)?;
        let urls = urls.into_iter().map(|row| {
            let of = facts.iter().position(|it| it.host_category_url_id == row.id);
            (of.map(|at| facts.swap_remove(at)), row)
        });
        let urls: Vec<_> = urls.collect();
        let found = holdings.iter().position(|it| it.0 == name).map(|at| holdings.swap_remove(at).1);
        let has_other_urls = found.is_some() && urls.iter().all(|it| it.1.probed_at.is_none());
        let found = found.filter(|_| !has_other_urls);
        categories.push(CategoryView {
            name,
            drained: opt_in.drained,
            state: found.as_ref().map(|it| it.state),
            held: found.as_ref().and_then(Holdings::set).map(|it| it.len()),
            serial: found.as_ref().and_then(|it| it.serial),
            crawled_at: found.as_ref().map(|it| it.crawled_at),
            reason: found.map(|it| it.reason),
            urls: urls.into_iter().map(|(facts, row)| UrlView::new(row, facts)).collect(),
            rsync_url: host_category::find_rsync_url(connection, opt_in.id)?,
            repair: list_repair_files(connection, opt_in.id)?,
            has_other_urls,
        });
    }
    Ok(categories)
}

impl UrlView {
    fn new(row: HostCategoryUrl, facts: Option<UrlFacts>) -> Self {
        Self { url: row.url, ipv4: row.ipv4_reach, ipv6: row.ipv6_reach, reason: row.reach_reason, facts }
    }
}

/// Why clients are not sent to a host, in the words of `portolan explain`.
fn list_reasons(
    view: &HostView,
    host: &Host,
    site: Option<&Site>,
    retired: &[CategoryName],
    now: Time,
) -> Vec<String> {
    let is_off = |user: bool, admin: bool| match (user, admin) {
        (false, _) => Some(Exclusion::UserOff),
        (_, false) => Some(Exclusion::AdminOff),
        _ => None,
    };
    let site_off = site.and_then(|it| is_off(it.user_active, it.admin_active));
    let mut reasons: Vec<String> = site_off.map(|it| format!("its site is {it}")).into_iter().collect();
    let of_host = is_off(host.user_active, host.admin_active);
    let by_crawler = host.auto_disabled_reason.clone().map(Exclusion::AutoOff);
    let drained = host.drained.then_some(Exclusion::Drained);
    reasons.extend([of_host, by_crawler, drained].into_iter().flatten().map(|it| it.to_string()));
    let is_private = host.private || site.is_some_and(|it| it.private);
    let has_asn = !view.peer_asns.is_empty() || (host.asn.is_some() && host.asn_clients);
    if is_private && view.netblocks.is_empty() && !has_asn {
        reasons.push("private, without a netblock and an autonomous system".to_owned());
    }
    if view.categories.is_empty() {
        reasons.push("opted in to no category".to_owned());
    }
    for category in &view.categories {
        let reason = match retired.contains(&category.name) {
            true => Some("retired: its folder is gone from the tree".to_owned()),
            // The crawler's reason to switch a host off says what is wrong with its URLs.
            false if host.auto_disabled_reason.is_some() && !category.has_other_urls => None,
            false => category.why_not_offered(view.kind, now),
        };
        reasons.extend(reason.map(|it| format!("{}: {it}", category.name)));
    }
    reasons
}

impl CategoryView {
    /// Why nobody is sent to the host for this category; `None` when somebody can be.
    fn why_not_offered(&self, kind: HostKind, now: Time) -> Option<String> {
        if self.drained {
            return Some(Exclusion::Drained.to_string());
        }
        if kind == HostKind::Static
            && let Some(reason) = self.why_not_held(now)
        {
            return Some(reason);
        }
        let is_up = |it: &UrlView| it.ipv4 == Reach::Up || it.ipv6 == Reach::Up;
        if self.urls.iter().any(is_up) {
            return None;
        }
        let down = |it: &UrlView| Some(format!("{} is down: {}", it.url, it.reason.as_ref()?));
        let down: Vec<String> = self.urls.iter().filter_map(down).collect();
        let nothing = || format!("no URL answers: {}", self.reason.as_deref().unwrap_or("no reason known"));
        Some(if down.is_empty() { nothing() } else { down.join("; ") })
    }

    /// Why it counts as holding nothing.
    fn why_not_held(&self, now: Time) -> Option<String> {
        if self.has_other_urls {
            return Some(OTHER_URLS.to_owned());
        }
        let Some(crawled_at) = self.crawled_at else { return Some(Exclusion::NotCrawled.to_string()) };
        let because = |what: &str| format!("{what}: {}", self.reason.as_deref().unwrap_or("no reason known"));
        if self.held.is_none_or(|it| it == 0) {
            return Some(because("the last crawl found nothing there"));
        }
        if now.unix_seconds() - crawled_at.unix_seconds() > HOLDINGS_AGE {
            return Some(because(&Exclusion::Outdated.to_string()));
        }
        None
    }
}

/// What clients were sent there for, and who is not.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
pub struct ClientsView {
    /// So many of a thousand clients near it are sent to it, for more came in the last hour than its bandwidth
    /// carries; null: all.
    pub kept_of_thousand: Option<u16>,
    /// Whose clients are not sent to it, for it failed too many of them.
    pub demoted: Vec<Demotion>,
    /// By hour, newest first.
    pub sent: Vec<SentView>,
}

/// What clients were sent to fetch in an hour.
#[derive(Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "what says no more than its name")]
pub struct SentView {
    pub hour: Time,
    pub bytes: i64,
}

impl ClientsView {
    fn load(connection: &mut Connection, host: HostId) -> QueryResult<Self> {
        let sent = traffic::list(connection, host, HOURS)?.into_iter();
        Ok(Self {
            kept_of_thousand: traffic::list_kept(connection)?.get(&host).copied(),
            demoted: experience::list_demotions(connection, host)?,
            sent: sent.map(|(hour, bytes)| SentView { hour, bytes }).collect(),
        })
    }
}
