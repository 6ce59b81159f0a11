use std::{sync::Arc, time::Duration};

use actix_web::{
    HttpRequest, HttpResponse,
    web::{self, Data},
};
use askama::Template;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::{sync::Semaphore, time::timeout};

use super::{
    Figures, Frame, OverviewCache, PageError, SharedState, apart,
    figures::{RECENT, Traffic},
    page,
    plot::{Caption, Column, Plot},
    text,
};
use crate::{
    database::{
        Connection, Database, QueryResult, Time,
        crawl::{self, Crawl, Holdings},
        statistics::Count,
    },
    mirror::{CategoryName, CrawlState, HostId, Reach},
    mirrorlist::{
        Snapshot,
        rows::{HostCategoryRow, HostRow},
    },
    notice::{REPAIR_HEAD, Repair},
    server::state::now,
    teller,
};

/// Pages that ask the database at once; others wait.
const AT_ONCE: usize = 2;

/// How long a page waits for its turn, and then goes without.
const TURN: Duration = Duration::from_secs(3);

/// Crawls on a page.
const CRAWLS: i64 = 10;

/// Files of a repair list on a page; `portolan host show --repair` has all.
const FILES: usize = 100;

#[derive(Template)]
#[template(path = "mirror.html")]
struct MirrorPage {
    frame: Frame,
    name: String,
    site: String,
    country: String,
    word: &'static str,
    bandwidth: String,
    categories: Vec<Carried>,
    /// What clients were sent to fetch there; `None` when that is not known.
    sent: Option<Sent>,
    /// In how many days.
    recent: i64,
    /// What crawls found; `None` when the database cannot be asked.
    found: Option<Found>,
    repair_head: &'static str,
}

/// What clients were sent to fetch there lately.
struct Sent {
    bytes: String,
    requests: String,
    plot: Plot,
    /// Newest first: a day, and bytes.
    days: Vec<(String, String)>,
}

struct Carried {
    category: String,
    percent: u64,
    crawled: String,
    urls: Vec<Url>,
}

struct Url {
    url: String,
    ipv4: &'static str,
    ipv6: &'static str,
}

/// What the last crawls found of a mirror.
#[derive(Serialize, JsonSchema)]
pub(super) struct Found {
    /// Of each category.
    pub(super) verdicts: Vec<Verdict>,
    /// Newest first.
    pub(super) crawls: Vec<CrawlOf>,
    /// What its admin has to repair.
    pub(super) repairs: Vec<Repairs>,
}

/// What the last crawl found of a category.
#[derive(Serialize, JsonSchema)]
pub(super) struct Verdict {
    category: CategoryName,
    state: CrawlState,
    /// Why it is that.
    reason: String,
}

/// A crawl.
#[derive(Serialize, JsonSchema)]
pub(super) struct CrawlOf {
    started_at: Time,
    state: CrawlState,
}

/// What is to be repaired of a category, and how.
#[derive(Serialize, JsonSchema)]
pub(super) struct Repairs {
    category: CategoryName,
    /// So many files.
    count: usize,
    /// Lines for a shell that repair the first hundred of them.
    commands: String,
}

impl CrawlOf {
    fn ago(&self) -> String {
        text::ago(self.started_at.unix_seconds(), now())
    }
}

/// The database, for the one page that needs it: a few at a time.
pub(in crate::server) struct Crawls {
    database: Arc<Database>,
    turns: Semaphore,
}

/// `GET /mirrors/HOST`: all that is known of a public mirror, and what its admin has to repair.
pub(super) async fn answer(
    request: HttpRequest,
    state: SharedState,
    cache: Data<OverviewCache>,
    crawls: Data<Crawls>,
    figures: Data<Figures>,
) -> Result<HttpResponse, PageError> {
    let name = request.match_info().query("host").to_owned();
    let frame = Frame::new(&request, &state, "mirrors", &name)?;
    let current = state.current();
    let host = find_public(&current.snapshot, &name)?.clone();
    let found = crawls.find(host.id).await;
    let sent = figures.traffic().await.and_then(|it| Sent::find(&it, host.id));
    let snapshot = current.clone();
    let overview = apart(move || Ok(cache.get(&snapshot.snapshot, now()))).await?;
    let mirror = overview.mirrors.iter().find(|it| it.name == name);
    let shares = current.snapshot.shares(&host);
    let carried = shares.iter().map(|it| Carried {
        category: it.category.name.clone(),
        percent: it.percent(),
        crawled: it.crawled_at.map(|it| text::ago(it, now())).unwrap_or_default(),
        urls: urls(it.opt_in),
    });
    let page_of = MirrorPage {
        categories: carried.collect(),
        sent,
        recent: RECENT,
        word: mirror.map_or("unknown", |it| it.word()),
        country: host.country.map(|it| it.to_string()).unwrap_or_default(),
        bandwidth: host.bandwidth.map(text::count).unwrap_or_default(),
        site: host.site_name,
        frame,
        name: host.name,
        found,
        repair_head: REPAIR_HEAD,
    };
    page(&request, &page_of)
}

/// The public mirror of this name.
pub(super) fn find_public<'a>(snapshot: &'a Snapshot, name: &str) -> Result<&'a HostRow, PageError> {
    let found = snapshot.hosts.list().iter().find(|it| it.name == name && !it.private);
    found.ok_or_else(|| PageError::Missing(format!("There is no mirror {name} here.")))
}

impl Sent {
    fn find(traffic: &Traffic, host: HostId) -> Option<Self> {
        let (days, total) = traffic.of(host)?;
        let name = |place: usize| traffic.day(days.len() - 1 - place);
        let column = |(place, it): (usize, &Count)| {
            let day = name(place);
            let title = format!("{day}: {}", text::bytes(it.bytes));
            Column { label: day[5..].to_owned(), title, values: vec![it.bytes] }
        };
        let columns: Vec<_> = days.iter().enumerate().map(column).collect();
        let most = days.iter().map(|it| it.bytes).max().unwrap_or(0);
        let description = format!(
            "A bar for each of the last {} days. At most {} on one day.",
            days.len(),
            text::bytes(most)
        );
        let caption =
            Caption { id: "sent", title: "Bytes per day that clients were sent here for", description };
        let used = days.iter().enumerate().rev().filter(|it| it.1.requests > 0);
        Some(Self {
            bytes: text::bytes(total.bytes),
            requests: text::count(total.requests),
            plot: Plot::bars(caption, &["bytes"], &columns, text::bytes),
            days: used.map(|(place, it)| (name(place), text::bytes(it.bytes))).collect(),
        })
    }
}

fn urls(opt_in: &HostCategoryRow) -> Vec<Url> {
    let word = |reach| match reach {
        Reach::Up => "answers",
        Reach::Down => "does not answer",
        Reach::Unknown => "unknown",
    };
    opt_in
        .urls
        .iter()
        .map(|it| Url { url: it.url.clone(), ipv4: word(it.ipv4), ipv6: word(it.ipv6) })
        .collect()
}

impl Crawls {
    pub(in crate::server) fn new(database: Arc<Database>) -> Self {
        Self { database, turns: Semaphore::new(AT_ONCE) }
    }

    /// What crawls found of a host, unless the database cannot be asked.
    pub(super) async fn find(&self, host: HostId) -> Option<Found> {
        let _turn = timeout(TURN, self.turns.acquire()).await.ok()?.ok()?;
        let database = self.database.clone();
        let found = web::block(move || database.read(|it| read(it, host))).await.ok()?;
        found.inspect_err(|error| tracing::debug!(%error, "a mirror's page goes without its crawls")).ok()
    }
}

fn read(connection: &mut Connection, host: HostId) -> QueryResult<Found> {
    let verdict =
        |(category, it): (CategoryName, Holdings)| Verdict { category, state: it.state, reason: it.reason };
    let crawl_of = |it: Crawl| CrawlOf { started_at: it.started_at, state: it.state };
    let repairs = |it: Repair| Repairs {
        count: it.files.len(),
        commands: it.lines(FILES).join("\n"),
        category: it.category,
    };
    Ok(Found {
        verdicts: crawl::list_holdings(connection, host)?.into_iter().map(verdict).collect(),
        crawls: crawl::list(connection, host, CRAWLS)?.into_iter().map(crawl_of).collect(),
        repairs: teller::list_repairs(connection, host)?.into_iter().map(repairs).collect(),
    })
}
