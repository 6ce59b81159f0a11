use std::collections::BTreeSet;

use actix_web::{HttpRequest, HttpResponse, web::Data};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use url::Url;

use super::{
    super::{
        Crawls, OverviewCache, PageError, SharedState, apart,
        category::list_waiting,
        mirror::find_public,
        mirrors::Filter,
        overview::{Carried, Category, Mirror, Overview},
    },
    answer, answer_part,
};
use crate::{
    database::Time,
    mirror::{Country, Place, Serial},
    mirrorlist::HeldTag,
    oci::Digest,
    server::{
        api::{Paging, Problem},
        lists::query,
        state::now,
    },
};

/// How much there is.
#[derive(Serialize, JsonSchema)]
pub(super) struct StatusView {
    /// Public mirrors.
    mirrors: usize,
    /// Of them those that clients are sent to.
    offered: usize,
    repositories: usize,
    tags: usize,
    /// Of all blobs.
    bytes: u64,
}

/// A public mirror.
#[derive(Serialize, JsonSchema)]
pub(super) struct MirrorView {
    name: String,
    site: String,
    country: Option<Country>,
    place: Option<Place>,
    /// In Mbit/s.
    bandwidth: Option<u32>,
    /// fresh, behind, stale, unknown or off.
    standing: &'static str,
    https: bool,
    ipv6: bool,
    categories: Vec<CarriedView>,
}

/// What a mirror carries of a category.
#[derive(Serialize, JsonSchema)]
struct CarriedView {
    category: String,
    url: String,
    /// So much of it the last crawl found there.
    percent: u64,
    crawled_at: Option<String>,
}

/// A category.
#[derive(Serialize, JsonSchema)]
pub(super) struct CategoryView {
    name: String,
    serial: Serial,
    /// Manifests and blobs.
    files: u64,
    bytes: u64,
    /// Tags that wait for mirrors; the first hundred.
    waiting: Vec<WaitingView>,
}

/// A tag that moved, and answers its former manifest until enough mirrors hold the new content.
#[derive(Serialize, JsonSchema)]
struct WaitingView {
    /// `NAME:TAG`
    image: String,
    /// What it answers.
    former: String,
    /// What waits.
    newest: String,
    /// So many hosts hold all that is new.
    holders: usize,
    /// So many have to; null: only time counts.
    needed: Option<usize>,
    /// It waits no longer than until then.
    until: Time,
}

/// Host names of URLs.
#[derive(Serialize, JsonSchema)]
pub(super) struct NamesView {
    names: BTreeSet<String>,
}

impl MirrorView {
    fn new(mirror: &Mirror) -> Self {
        Self {
            name: mirror.name.clone(),
            site: mirror.site.clone(),
            country: mirror.country,
            place: mirror.place,
            bandwidth: mirror.bandwidth,
            standing: mirror.word(),
            https: mirror.https,
            ipv6: mirror.ipv6,
            categories: mirror.categories.iter().map(CarriedView::new).collect(),
        }
    }
}

impl WaitingView {
    fn new(held: &HeldTag) -> Self {
        Self {
            image: format!("{}:{}", held.repository, held.tag),
            former: Digest::Sha256(held.former).to_string(),
            newest: Digest::Sha256(held.newest).to_string(),
            holders: held.holders,
            needed: held.needed,
            until: Timestamp::from_second(held.until).unwrap_or(Timestamp::MAX).into(),
        }
    }
}

impl CarriedView {
    fn new(carried: &Carried) -> Self {
        let at = carried.crawled_at.and_then(|it| Timestamp::from_second(it).ok());
        Self {
            category: carried.category.clone(),
            url: carried.url.clone(),
            percent: carried.percent,
            crawled_at: at.map(|it| it.to_string()),
        }
    }
}

/// Asks the overview of the current snapshot.
async fn look<T: Send + 'static>(
    state: SharedState,
    cache: Data<OverviewCache>,
    work: impl FnOnce(&Overview) -> Result<T, PageError> + Send + 'static,
) -> Result<T, Problem> {
    let current = state.current();
    Ok(apart(move || work(&cache.get(&current.snapshot, now()))).await?)
}

/// `GET /api/v1/status`
pub(super) async fn status(
    request: HttpRequest,
    state: SharedState,
    cache: Data<OverviewCache>,
) -> Result<HttpResponse, Problem> {
    let repositories = state.current().snapshot.content.list_repositories().len();
    let view = move |it: &Overview| {
        let (mirrors, offered) = (it.mirrors.len(), it.count_offered());
        Ok(StatusView { mirrors, offered, repositories, tags: it.tags, bytes: it.bytes })
    };
    answer(&request, look(state, cache, view)).await
}

/// `GET /api/v1/mirrors`
pub(super) async fn list(
    request: HttpRequest,
    state: SharedState,
    cache: Data<OverviewCache>,
) -> Result<HttpResponse, Problem> {
    let filter = Filter::new(&request);
    let views = look(state, cache, move |it| {
        Ok(it.mirrors.iter().filter(|it| filter.takes(it)).map(MirrorView::new).collect::<Vec<_>>())
    });
    answer_part(&request, async {
        let query = query(&request);
        let paging = Paging::new(request.path(), &query)?;
        Ok(paging.cut(views.await?, |it| &it.name, |it| it))
    })
    .await
}

/// `GET /api/v1/mirrors/NAME`
pub(super) async fn show(
    request: HttpRequest,
    state: SharedState,
    cache: Data<OverviewCache>,
) -> Result<HttpResponse, Problem> {
    let name = request.match_info().query("name").to_owned();
    let view = move |it: &Overview| {
        let found = it.mirrors.iter().find(|it| it.name == name).map(MirrorView::new);
        found.ok_or_else(|| PageError::Missing(format!("There is no mirror {name} here.")))
    };
    answer(&request, look(state, cache, view)).await
}

/// `GET /api/v1/mirrors/NAME/crawl`
pub(super) async fn crawl(
    request: HttpRequest,
    state: SharedState,
    crawls: Data<Crawls>,
) -> Result<HttpResponse, Problem> {
    let name = request.match_info().query("name").to_owned();
    answer(&request, async {
        let id = find_public(&state.current().snapshot, &name)?.id;
        crawls.find(id).await.ok_or_else(Problem::no_database)
    })
    .await
}

/// `GET /api/v1/mirror-names`
pub(super) async fn names(request: HttpRequest, state: SharedState) -> Result<HttpResponse, Problem> {
    let current = state.current();
    let public = current.snapshot.hosts.list().iter().filter(|it| !it.private);
    let urls = public.flat_map(|it| &it.categories).flat_map(|it| &it.urls);
    let name = |url: &str| Some(Url::parse(url).ok()?.host_str()?.to_owned());
    let names = urls.filter_map(|it| name(&it.url)).collect();
    answer(&request, async { Ok(NamesView { names }) }).await
}

/// `GET /api/v1/categories`
pub(super) async fn categories(
    request: HttpRequest,
    state: SharedState,
    cache: Data<OverviewCache>,
) -> Result<HttpResponse, Problem> {
    let current = state.current();
    let view = move |it: &Category| {
        let waiting = list_waiting(&current.snapshot, it.id).map(WaitingView::new).collect();
        let Category { name, serial, files, bytes, .. } = it;
        CategoryView { name: name.clone(), serial: *serial, files: *files, bytes: *bytes, waiting }
    };
    let all = move |it: &Overview| Ok(it.categories.iter().map(&view).collect::<Vec<_>>());
    answer(&request, look(state, cache, all)).await
}
