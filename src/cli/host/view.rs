//! A host as it is shown: `portolan host show`.

use comfy_table::Table;
use serde::Serialize;

use super::{Answer, table};
use crate::{
    database::{
        Connection, Database, QueryResult, Time, category,
        crawl::{self, Crawl, Holdings},
        host::Host,
        host_category::{self, HostCategoryUrl},
        host_country_allowed, host_netblock, host_peer_asn,
        site::{self, Site},
    },
    mirror::{
        Asn, Bandwidth, CategoryName, Country, CrawlState, HostName, HostUrl, Netblock, Place, Reach, Serial,
        SiteName,
    },
    mirrorlist::{Exclusion, HOLDINGS_AGE},
};

/// All that is known of a host.
#[derive(Serialize)]
pub(super) struct View {
    pub(super) name: HostName,
    /// Null only if it was removed a moment ago.
    pub(super) site: Option<SiteName>,
    /// Why clients are not sent to it, or not for some category; empty when all is well.
    pub(super) not_offered: Vec<String>,
    pub(super) country: Option<Country>,
    place: Option<Place>,
    asn: Option<Asn>,
    asn_clients: bool,
    peer_asns: Vec<Asn>,
    pub(super) bandwidth: Option<Bandwidth>,
    private: bool,
    user_active: bool,
    admin_active: bool,
    /// Why the crawler switched it off.
    auto_disabled: Option<String>,
    drained: bool,
    contacts: Vec<String>,
    comment: String,
    netblocks: Vec<Netblock>,
    countries_allowed: Vec<Country>,
    created_at: Time,
    last_crawled_at: Option<Time>,
    pub(super) last_crawl: Option<CrawlView>,
    pub(super) categories: Vec<CategoryView>,
}

/// The newest crawl in the log.
#[derive(Serialize)]
pub(super) struct CrawlView {
    pub(super) state: CrawlState,
    started_at: Time,
    duration_ms: i64,
    log: Vec<String>,
}

/// An opt-in; what a crawl finds is null until one has looked at it.
#[derive(Serialize)]
pub(super) struct CategoryView {
    pub(super) name: CategoryName,
    state: Option<CrawlState>,
    held: Option<u64>,
    reason: Option<String>,
    serial: Option<Serial>,
    crawled_at: Option<Time>,
    urls: Vec<UrlView>,
}

/// Where a host carries a category, and whether it answers there.
#[derive(Serialize)]
struct UrlView {
    url: HostUrl,
    ipv4: Reach,
    ipv6: Reach,
    reason: Option<String>,
}

pub(super) fn show(database: &Database, host: &Host) -> anyhow::Result<Answer> {
    let view = View::load(database, host)?;
    let mut answer = Answer::new(&view)?;
    for reason in &view.not_offered {
        answer = answer.line(format_args!("not offered: {reason}"));
    }
    answer = answer.table(facts(&view)).table(opt_ins(&view.categories));
    if let Some(crawl) = &view.last_crawl {
        let seconds = crawl.duration_ms as f64 / 1000.0;
        answer = answer
            .line(format_args!("crawled at {} in {seconds:.1} s: {}", crawl.started_at, crawl.state))
            .line(crawl.log.join("\n"));
    }
    Ok(answer)
}

impl View {
    /// Reads one state of the database.
    pub(super) fn load(database: &Database, host: &Host) -> anyhow::Result<Self> {
        let now = jiff::Timestamp::now().into();
        let (site, mut view, retired) = database.read(|it| {
            let site = site::list(it)?.into_iter().find(|it| it.id == host.site_id);
            let retired = category::list(it)?.into_iter().filter(|it| it.retired_at.is_some());
            let retired: Vec<_> = retired.map(|it| it.name).collect();
            let peers = host_peer_asn::list(it, host.id)?;
            let netblocks = host_netblock::list(it, host.id)?;
            let view = Self {
                site: site.as_ref().map(|it| it.name.clone()),
                peer_asns: peers.into_iter().map(|it| it.asn).collect(),
                netblocks: netblocks.into_iter().map(|it| it.netblock).collect(),
                countries_allowed: host_country_allowed::list(it, host.id)?,
                last_crawl: crawl::list(it, host.id, 1)?.pop().map(CrawlView::from),
                categories: list_categories(it, host)?,
                ..Self::of_host(host)
            };
            Ok((site, view, retired))
        })?;
        view.not_offered = list_reasons(&view, host, site.as_ref(), &retired, now);
        Ok(view)
    }

    /// What stands in the host's own row.
    fn of_host(host: &Host) -> Self {
        Self {
            name: host.name.clone(),
            site: None,
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
            created_at: host.created_at,
            last_crawled_at: host.last_crawled_at,
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
        let found = holdings.iter().position(|it| it.0 == name).map(|at| holdings.swap_remove(at).1);
        categories.push(CategoryView {
            name,
            state: found.as_ref().map(|it| it.state),
            held: found.as_ref().and_then(Holdings::set).map(|it| it.len()),
            serial: found.as_ref().and_then(|it| it.serial),
            crawled_at: found.as_ref().map(|it| it.crawled_at),
            reason: found.map(|it| it.reason),
            urls: urls.into_iter().map(UrlView::from).collect(),
        });
    }
    Ok(categories)
}

impl From<HostCategoryUrl> for UrlView {
    fn from(row: HostCategoryUrl) -> Self {
        Self { url: row.url, ipv4: row.ipv4_reach, ipv6: row.ipv6_reach, reason: row.reach_reason }
    }
}

/// Why clients are not sent to a host, in the words of `portolan explain`.
fn list_reasons(
    view: &View,
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
            false => category.why_not_offered(now),
        };
        reasons.extend(reason.map(|it| format!("{}: {it}", category.name)));
    }
    reasons
}

impl CategoryView {
    /// Why nobody is sent to the host for this category; `None` when somebody can be.
    fn why_not_offered(&self, now: Time) -> Option<String> {
        let Some(crawled_at) = self.crawled_at else { return Some(Exclusion::NotCrawled.to_string()) };
        let because = |what: &str| format!("{what}: {}", self.reason.as_deref().unwrap_or("no reason known"));
        if self.held.is_none_or(|it| it == 0) {
            return Some(because("the last crawl found nothing there"));
        }
        if now.unix_seconds() - crawled_at.unix_seconds() > HOLDINGS_AGE {
            return Some(because(&Exclusion::Outdated.to_string()));
        }
        let is_up = |it: &UrlView| it.ipv4 == Reach::Up || it.ipv6 == Reach::Up;
        if self.urls.iter().any(is_up) {
            return None;
        }
        let down = |it: &UrlView| {
            format!("{} does not answer: {}", it.url, it.reason.as_deref().unwrap_or("never asked"))
        };
        Some(self.urls.iter().map(down).collect::<Vec<_>>().join("; "))
    }
}

fn facts(view: &View) -> Table {
    let mut rows = table::details();
    rows.add_row([table::cell("host"), table::cell(&view.name)])
        .add_row([table::cell("site"), table::optional(view.site.as_ref())])
        .add_row([table::cell("country"), table::optional(view.country)])
        .add_row([table::cell("place"), table::optional(view.place)])
        .add_row([table::cell("AS number"), table::optional(view.asn)])
        .add_row([table::cell("its clients first"), table::flag(view.asn_clients)])
        .add_row([table::cell("peer AS numbers"), table::lines(&view.peer_asns)])
        .add_row([table::cell("netblocks"), table::lines(&view.netblocks)])
        .add_row([table::cell("countries allowed"), table::lines(&view.countries_allowed)])
        .add_row([table::cell("Mbit/s"), table::optional(view.bandwidth)])
        .add_row([table::cell("private"), table::flag(view.private)])
        .add_row([table::cell("by its admins"), table::switch(view.user_active)])
        .add_row([table::cell("by operators"), table::switch(view.admin_active)])
        .add_row([table::cell("by the crawler"), table::switch(view.auto_disabled.is_none())])
        .add_row([table::cell("drained"), table::flag(view.drained)])
        .add_row([table::cell("contacts"), table::lines(&view.contacts)])
        .add_row([table::cell("comment"), table::cell(&view.comment)])
        .add_row([table::cell("added"), table::cell(view.created_at)])
        .add_row([table::cell("last crawled"), table::optional(view.last_crawled_at)]);
    rows
}

fn opt_ins(categories: &[CategoryView]) -> Table {
    let mut rows =
        table::list(&["CATEGORY", "STATE", "HELD", "SERIAL", "CRAWLED", "URL", "IPV4", "IPV6", "REASON"]);
    for category in categories {
        let reasons = category.urls.iter().filter_map(|it| it.reason.as_ref()).chain(&category.reason);
        rows.add_row([
            table::cell(&category.name),
            table::state(category.state),
            table::optional(category.held),
            table::optional(category.serial),
            table::optional(category.crawled_at),
            table::lines(category.urls.iter().map(|it| &it.url)),
            table::lines(category.urls.iter().map(|it| it.ipv4)),
            table::lines(category.urls.iter().map(|it| it.ipv6)),
            table::lines(reasons),
        ]);
    }
    rows
}
