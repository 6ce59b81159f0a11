use serde::Serialize;

use crate::{
    database::crawl::{CrawlHoldings, CrawlHost, CrawlResult},
    mirror::{CategoryName, CrawlState, HostName, Serial},
};

/// What a crawl found out. As JSON it is what `portolan crawl --json` prints.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    /// Each host that was crawled, by name.
    pub hosts: Vec<HostSummary>,
}

/// What was found out about one host.
#[derive(Clone, Debug, Serialize)]
pub struct HostSummary {
    /// The host.
    pub name: HostName,
    /// The worst of its categories.
    pub state: CrawlState,
    /// How long it took.
    pub duration_ms: i64,
    /// What it opted in to, by name.
    pub categories: Vec<CategorySummary>,
    /// Lines with reasons, for the mirror's admin.
    pub log: Vec<String>,
    /// Why the host is switched off from now on.
    pub auto_disabled: Option<String>,
    /// Why there is no result, or why it could not be stored.
    pub error: Option<String>,
}

/// What was found out about one opt-in.
#[derive(Clone, Debug, Serialize)]
pub struct CategorySummary {
    /// The category.
    pub name: CategoryName,
    /// In one word.
    pub state: CrawlState,
    /// The serial that the host shows.
    pub serial: Option<Serial>,
    /// How many files it holds; `None` when nothing was found out.
    pub held: Option<u64>,
    /// Why.
    pub reason: String,
}

impl HostSummary {
    /// Of a host that was not asked anything; its state is the one before.
    pub(super) fn put_off(host: &CrawlHost) -> Self {
        let known = host.categories.iter().find_map(|it| it.holdings.as_ref()).map(|it| it.state);
        Self {
            name: host.name.clone(),
            state: known.unwrap_or(CrawlState::Unreachable),
            duration_ms: 0,
            categories: Vec::new(),
            log: Vec::new(),
            auto_disabled: host.auto_disabled.clone(),
            error: Some(
                "not crawled: what may be asked of it in a day is used up, until midnight UTC".to_owned(),
            ),
        }
    }

    pub(super) fn new(host: &CrawlHost, result: &CrawlResult) -> Self {
        let name = |id| host.categories.iter().find(|it| it.host_category == id).map(|it| it.name.clone());
        let category = |it: &CrawlHoldings| {
            Some(CategorySummary {
                name: name(it.host_category)?,
                state: it.state,
                serial: it.serial,
                held: it.blobs.as_ref().map(roaring::RoaringBitmap::len),
                reason: it.reason.clone(),
            })
        };
        Self {
            name: host.name.clone(),
            state: result.state,
            duration_ms: i64::try_from(result.duration.as_millis()).unwrap_or(i64::MAX),
            categories: result.holdings.iter().filter_map(category).collect(),
            log: result.log.lines().map(str::to_owned).collect(),
            auto_disabled: result.auto_disabled.clone(),
            error: None,
        }
    }
}
