//! A host as it is shown: `portolan host show`.

use comfy_table::Table;
use serde::Serialize;

use super::{Answer, clients::ClientsView, table};
use crate::{
    database::{
        Connection, Database, QueryResult, Time, category,
        crawl::{self, Crawl, Holdings, UrlFacts},
        host::Host,
        host_category::{self, HostCategoryUrl},
        host_country, host_netblock, host_peer_asn, imported,
        lease::{self, Schedule},
        site::{self, Site},
    },
    mirror::{
        Asn, Bandwidth, Bytes, CategoryName, Country, CrawlState, HostKind, HostName, HostUrl, MultiRange,
        Netblock, Percent, Place, Reach, RsyncUrl, Serial, SiteName,
    },
    mirrorlist::{Exclusion, HOLDINGS_AGE},
    notice::{self, RepairFile},
    teller,
};

/// Why an opt-in whose URLs are all new is not offered.
const OTHER_URLS: &str = "not crawled since its URLs changed";

/// All that is known of a host.
#[derive(Serialize)]
pub(super) struct View {
    pub(super) name: HostName,
    /// Null only if it was removed a moment ago.
    pub(super) site: Option<SiteName>,
    /// Its id in MirrorManager, if it comes from there; it is read-only here then.
    mirrormanager_id: Option<i64>,
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
    countries_denied: Vec<Country>,
    pub(super) kind: HostKind,
    /// So many of a hundred clients.
    share: Option<Percent>,
    daily_bytes: Option<Bytes>,
    max_file_size: Option<Bytes>,
    clients: ClientsView,
    /// A new host, and one that lied, earns its weight from then on.
    last_lied_at: Option<Time>,
    created_at: Time,
    last_crawled_at: Option<Time>,
    /// When it is due, and which crawler has it now.
    schedule: Option<Schedule>,
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
    /// Where the crawler may list the same folder.
    rsync_url: Option<RsyncUrl>,
    /// What crawls found wrong, newest first.
    repair: Vec<RepairFile>,
    /// It was crawled, but under none of these URLs: what was found then says nothing of them.
    #[serde(skip)]
    has_other_urls: bool,
}

/// Where a host carries a category, and whether it answers there.
#[derive(Serialize)]
struct UrlView {
    url: HostUrl,
    ipv4: Reach,
    ipv6: Reach,
    reason: Option<String>,
    facts: Option<UrlFacts>,
}

/// Tells each reason once, at the first place where it matters.
pub(super) fn show(database: &Database, host: &Host) -> anyhow::Result<Answer> {
    let (view, now) = (View::load(database, host)?, jiff::Timestamp::now().into());
    let mut answer = Answer::new(&view)?;
    for reason in &view.not_offered {
        answer = answer.line(format_args!("not offered: {reason}"));
    }
    answer = view.clients.tell(answer).table(facts(&view));
    if !view.categories.is_empty() {
        answer = answer.table(opt_ins(&view.categories));
    }
    let mut told = view.not_offered.clone();
    let is_told = |told: &[String], reason: &str| told.iter().any(|it| it.contains(reason));
    for url in view.categories.iter().flat_map(|it| &it.urls) {
        let Some(reason) = &url.reason else { continue };
        if !without_families(reason).all(|it| is_told(&told, it)) {
            answer = answer.line(format_args!("{}: {reason}", url.url));
            told.push(reason.clone());
        }
    }
    let facts = view.categories.iter().flat_map(|it| &it.urls).filter_map(UrlView::facts);
    answer = facts.fold(answer, Answer::line);
    for url in view.categories.iter().flat_map(|it| &it.urls) {
        let Some(days) = url.facts.as_ref().and_then(|it| it.days_left(now)) else { continue };
        answer = answer.line(format_args!("{}: {}", url.url, notice::certificate_warning(days)));
    }
    for category in view.categories.iter().filter(|it| !it.repair.is_empty()) {
        let (name, files) = (&category.name, table::count(category.repair.len(), "file"));
        let command = format!("portolan host show {} --repair", view.name);
        answer = answer.line(format_args!("{name}: {files} to repair; `{command}` lists them, and how"));
    }
    if let Some(crawl) = &view.last_crawl {
        let seconds = crawl.duration_ms as f64 / 1000.0;
        let at = table::time(crawl.started_at);
        answer = answer.line(format_args!("crawled at {at} in {seconds:.1} s: {}", crawl.state));
        let news = crawl.log.iter().filter(|it| !is_told(&told, reason_of(it)));
        answer = news.fold(answer, Answer::line);
        told.extend(crawl.log.iter().cloned());
        for (name, reason) in view.categories.iter().filter_map(|it| Some((&it.name, it.reason.as_ref()?))) {
            let since = reason.split("; ").filter(|it| !is_told(&told, it));
            answer = since.fold(answer, |answer, it| answer.line(format_args!("{name} since then: {it}")));
        }
    }
    Ok(answer)
}

/// The reasons why a URL is down: `IPv4: REASON; IPv6: REASON`, `IPv4 and IPv6: REASON`.
fn without_families(reason: &str) -> impl Iterator<Item = &str> {
    reason.split("; ").map(|it| it.split_once(": ").map_or(it, |it| it.1))
}

/// What stands behind the state in a line of a crawl's log: `fedora URL: behind: REASON`.
fn reason_of(line: &str) -> &str {
    let behind = |it: CrawlState| line.split_once(&format!(": {it}: "));
    CrawlState::ALL.into_iter().find_map(behind).map_or(line, |it| it.1)
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
                mirrormanager_id: imported::find_host(it, host.id)?,
                peer_asns: peers.into_iter().map(|it| it.asn).collect(),
                netblocks: netblocks.into_iter().map(|it| it.netblock).collect(),
                countries_allowed: host_country::allowed::list(it, host.id)?,
                schedule: lease::find(it, host.id)?,
                countries_denied: host_country::denied::list(it, host.id)?,
                last_crawl: crawl::list(it, host.id, 1)?.pop().map(CrawlView::from),
                categories: list_categories(it, host)?,
                clients: ClientsView::load(it, host.id)?,
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
            state: found.as_ref().map(|it| it.state),
            held: found.as_ref().and_then(Holdings::set).map(|it| it.len()),
            serial: found.as_ref().and_then(|it| it.serial),
            crawled_at: found.as_ref().map(|it| it.crawled_at),
            reason: found.map(|it| it.reason),
            urls: urls.into_iter().map(|(facts, row)| UrlView::new(row, facts)).collect(),
            rsync_url: host_category::find_rsync_url(connection, opt_in.id)?,
            repair: teller::list_repair_files(connection, opt_in.id)?,
            has_other_urls,
        });
    }
    Ok(categories)
}

impl UrlView {
    fn new(row: HostCategoryUrl, facts: Option<UrlFacts>) -> Self {
        Self { url: row.url, ipv4: row.ipv4_reach, ipv6: row.ipv6_reach, reason: row.reach_reason, facts }
    }

    /// How it answers, in one line.
    fn facts(&self) -> Option<String> {
        let facts = self.facts.as_ref()?;
        let speed = facts.bytes_per_second.map(|it| format!("{:.1} MB/s", it as f64 / 1e6));
        let ranges = facts.multi_range.map(|it| {
            let answer = match it {
                MultiRange::Parts => "both parts",
                MultiRange::Single => "one part",
                MultiRange::Whole => "the whole file",
                MultiRange::Wrong => "something else",
            };
            format!("answers a request for two ranges with {answer}")
        });
        let kept = facts.keeps_alive.map(|it| {
            if it { "keeps connections" } else { "closes the connection after each answer" }.to_owned()
        });
        let end =
            facts.certificate_ends_at.map(|it| format!("its certificate lasts until {}", table::time(it)));
        let told: Vec<String> = [speed, ranges, kept, end].into_iter().flatten().collect();
        (!told.is_empty()).then(|| format!("{}: {}", self.url, told.join(", ")))
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

fn facts(view: &View) -> Table {
    let mut rows = table::details();
    rows.add_row([table::cell("host"), table::cell(&view.name)])
        .add_row([table::cell("site"), table::optional(view.site.as_ref())])
        .add_row([table::cell("from"), table::optional(table::origin("host", view.mirrormanager_id))])
        .add_row([table::cell("country"), table::optional(view.country)])
        .add_row([table::cell("place"), table::optional(view.place)])
        .add_row([table::cell("AS number"), table::optional(view.asn)])
        .add_row([table::cell("its clients first"), table::flag(view.asn_clients)])
        .add_row([table::cell("peer AS numbers"), table::lines(&view.peer_asns)])
        .add_row([table::cell("netblocks"), table::lines(&view.netblocks)])
        .add_row([table::cell("countries allowed"), table::lines(&view.countries_allowed)])
        .add_row([table::cell("countries denied"), table::lines(&view.countries_denied)])
        .add_row([table::cell("kind"), table::cell(view.kind)])
        .add_row([table::cell("percent of clients"), table::optional(view.share)])
        .add_row([table::cell("bytes a day"), table::optional(view.daily_bytes)])
        .add_row([table::cell("largest file"), table::optional(view.max_file_size)])
        .add_row([table::cell("last lied"), table::optional(view.last_lied_at.map(table::time))])
        .add_row([table::cell("Mbit/s"), table::optional(view.bandwidth)])
        .add_row([table::cell("private"), table::flag(view.private)])
        .add_row([table::cell("by its admins"), table::switch(view.user_active)])
        .add_row([table::cell("by operators"), table::switch(view.admin_active)])
        .add_row([table::cell("by the crawler"), table::switch(view.auto_disabled.is_none())])
        .add_row([table::cell("drained"), table::flag(view.drained)])
        .add_row([table::cell("sent to it"), view.clients.cell()])
        .add_row([table::cell("contacts"), table::lines(&view.contacts)])
        .add_row([table::cell("comment"), table::cell(&view.comment)])
        .add_row([table::cell("added"), table::cell(table::time(view.created_at))])
        .add_row([table::cell("last crawled"), table::optional(view.last_crawled_at.map(table::time))])
        .add_row([table::cell("next crawl"), table::optional(view.schedule.as_ref().map(next_crawl))]);
    rows
}

fn next_crawl(schedule: &Schedule) -> String {
    if let (Some(_), Some(until)) = (&schedule.holder, schedule.leased_until) {
        return format!("now, by a crawler that has it until {}", table::time(until));
    }
    table::time(schedule.next_crawl_at.max(schedule.not_before.unwrap_or(schedule.next_crawl_at))).to_string()
}

/// State and serial are what the last crawl found. What is held is what the last crawl that could tell found,
/// and that may be an older one.
fn opt_ins(categories: &[CategoryView]) -> Table {
    let mut rows = table::list(&["CATEGORY", "STATE", "SERIAL", "HELD", "HELD AT", "URL", "IPV4", "IPV6"]);
    for category in categories {
        rows.add_row([
            table::cell(&category.name),
            table::state(category.state),
            table::optional(category.serial),
            table::optional(category.held),
            table::optional(category.crawled_at.map(table::time)),
            table::lines(category.urls.iter().map(|it| &it.url)),
            table::lines(category.urls.iter().map(|it| it.ipv4)),
            table::lines(category.urls.iter().map(|it| it.ipv6)),
        ]);
    }
    rows
}
