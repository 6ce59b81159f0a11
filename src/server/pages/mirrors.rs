use actix_web::{HttpRequest, HttpResponse, web::Data};
use askama::Template;

use super::{
    Figures, Frame, OverviewCache, PageError, Part, SharedState, apart,
    figures::{RECENT, Traffic},
    overview::{Mirror, Overview},
    page, parameter,
    plot::Spark,
    statistics, text,
};
use crate::server::state::now;

#[derive(Template)]
#[template(path = "mirrors.html")]
struct Mirrors {
    frame: Frame,
    recent: i64,
    part: Part<Row>,
    countries: Vec<String>,
    categories: Vec<String>,
    filter: Filter,
}

/// What is asked for.
#[derive(Default)]
pub(super) struct Filter {
    country: String,
    category: String,
    standing: String,
    words: String,
}

struct Row {
    name: String,
    site: String,
    country: String,
    word: &'static str,
    carried: Vec<Carried>,
    bandwidth: String,
    crawled: String,
    reach: &'static str,
    /// What clients were sent to fetch there lately, in words and as a picture.
    bytes: String,
    spark: Option<Spark>,
}

struct Carried {
    category: String,
    url: String,
    percent: u64,
}

/// `GET /mirrors?country=&category=&standing=&q=`: who carries what, and how fresh it is.
pub(super) async fn answer(
    request: HttpRequest,
    state: SharedState,
    cache: Data<OverviewCache>,
    figures: Data<Figures>,
) -> Result<HttpResponse, PageError> {
    let frame = Frame::new(&request, &state, "mirrors", "Mirrors")?;
    let filter = Filter::new(&request);
    let current = state.current();
    let traffic = figures.traffic().await;
    let found = apart(move || {
        let overview = cache.get(&current.snapshot, now());
        let row = |it| Row::new(it, traffic.as_deref());
        let rows: Vec<_> = overview.mirrors.iter().filter(|it| filter.takes(it)).map(row).collect();
        Ok((rows, countries(&overview), categories(&overview), filter))
    });
    let (rows, countries, categories, filter) = found.await?;
    let part = Part::cut(&request, rows);
    page(&request, &Mirrors { frame, recent: RECENT, part, countries, categories, filter })
}

impl Filter {
    pub(super) fn new(request: &HttpRequest) -> Self {
        let named = |name| parameter(request, name).unwrap_or_default();
        Self {
            country: named("country").to_ascii_uppercase(),
            category: named("category"),
            standing: named("standing"),
            words: named("q").to_lowercase(),
        }
    }

    pub(super) fn takes(&self, mirror: &Mirror) -> bool {
        let is_or_any = |asked: &str, is: &str| asked.is_empty() || asked == is;
        let country = mirror.country.map(|it| it.to_string()).unwrap_or_default();
        let carries = mirror.categories.iter().any(|it| it.category == self.category);
        let has_words = [&mirror.name, &mirror.site].iter().any(|it| it.to_lowercase().contains(&self.words));
        is_or_any(&self.country, &country)
            && is_or_any(&self.standing, mirror.word())
            && (self.category.is_empty() || carries)
            && has_words
    }
}

impl Row {
    fn new(mirror: &Mirror, traffic: Option<&Traffic>) -> Self {
        let carried = mirror.categories.iter().map(|it| Carried {
            category: it.category.clone(),
            url: it.url.clone(),
            percent: it.percent,
        });
        let sent = traffic.and_then(|it| it.of(mirror.id));
        let crawled = mirror.crawled_at().map(|it| text::ago(it, now()));
        Self {
            name: mirror.name.clone(),
            site: mirror.site.clone(),
            country: mirror.country.map(|it| it.to_string()).unwrap_or_default(),
            word: mirror.word(),
            carried: carried.collect(),
            bandwidth: mirror.bandwidth.map(text::count).unwrap_or_default(),
            crawled: if mirror.fetches {
                "fetches what it lacks".into()
            } else {
                crawled.unwrap_or("never".into())
            },
            reach: match (mirror.https, mirror.ipv6) {
                (true, true) => "https, IPv6",
                (true, false) => "https",
                (false, true) => "http, IPv6",
                (false, false) => "http",
            },
            bytes: sent.map(|it| text::bytes(it.1.bytes)).unwrap_or_default(),
            spark: sent.map(|it| statistics::spark(it.0)),
        }
    }
}

fn countries(overview: &Overview) -> Vec<String> {
    sorted(overview.mirrors.iter().filter_map(|it| it.country).map(|it| it.to_string()))
}

fn categories(overview: &Overview) -> Vec<String> {
    sorted(overview.mirrors.iter().flat_map(|it| &it.categories).map(|it| it.category.clone()))
}

fn sorted(words: impl Iterator<Item = String>) -> Vec<String> {
    let mut words: Vec<_> = words.collect();
    words.sort_unstable();
    words.dedup();
    words
}
