use actix_web::{HttpRequest, HttpResponse, web::Data};
use askama::Template;

use super::{Frame, OverviewCache, PageError, Part, SharedState, apart, page, text};
use crate::{
    mirror::{CategoryId, Serial},
    mirrorlist::{HeldTag, Snapshot},
    oci::Digest,
    server::state::now,
};

/// Tags that wait, on one page.
const WAITING: usize = 100;

#[derive(Template)]
#[template(path = "category.html")]
struct CategoryPage {
    frame: Frame,
    name: String,
    serial: Serial,
    files: String,
    bytes: String,
    waiting: Vec<Waiting>,
    part: Part<Row>,
}

/// A tag that still answers its former manifest.
struct Waiting {
    image: String,
    newest: String,
    /// On how many hosts what it needs is by now, and how many it waits for.
    holders: String,
    until: String,
}

struct Row {
    mirror: String,
    word: &'static str,
    percent: u64,
    url: String,
    crawled: String,
}

/// `GET /categories/NAME`: what it weighs, which of its tags wait for mirrors, and who carries it.
pub(super) async fn answer(
    request: HttpRequest,
    state: SharedState,
    cache: Data<OverviewCache>,
) -> Result<HttpResponse, PageError> {
    let name = request.match_info().query("category").to_owned();
    let frame = Frame::new(&request, &state, "mirrors", &name)?;
    let current = state.current();
    let snapshot = current.clone();
    let overview = apart(move || Ok(cache.get(&snapshot.snapshot, now()))).await?;
    let category = overview.categories.iter().find(|it| it.name == name);
    let category =
        category.ok_or_else(|| PageError::Missing(format!("There is no category {name} here.")))?;
    let carriers = overview.mirrors.iter().filter_map(|mirror| {
        let carried = mirror.categories.iter().find(|it| it.category == name)?;
        Some(Row {
            mirror: mirror.name.clone(),
            word: mirror.word(),
            percent: carried.percent,
            url: carried.url.clone(),
            crawled: carried.crawled_at.map(|it| text::ago(it, now())).unwrap_or_default(),
        })
    });
    let page_of = CategoryPage {
        serial: category.serial,
        files: text::count(category.files),
        bytes: text::bytes(category.bytes),
        waiting: list_waiting(&current.snapshot, category.id).map(Waiting::new).collect(),
        part: Part::cut(&request, carriers.collect()),
        frame,
        name,
    };
    page(&request, &page_of)
}

/// The first tags of a category that wait for mirrors.
pub(super) fn list_waiting(snapshot: &Snapshot, category: CategoryId) -> impl Iterator<Item = &HeldTag> {
    snapshot.gate.list().into_iter().filter(move |it| it.category == category).take(WAITING)
}

impl Waiting {
    fn new(held: &HeldTag) -> Self {
        Self {
            image: format!("{}:{}", held.repository, held.tag),
            newest: Digest::Sha256(held.newest).to_string(),
            holders: match held.needed {
                Some(needed) => format!("{} of {needed}", held.holders),
                None => held.holders.to_string(),
            },
            until: text::time(held.until),
        }
    }
}
