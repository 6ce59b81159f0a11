use std::sync::{Arc, Mutex, PoisonError};

use crate::{
    mirror::{CategoryId, Country, HostId, HostKind, Place, Reach, Scheme, Serial},
    mirrorlist::{Content, Snapshot, Standing, rows::HostRow},
};

/// How long what was made of one snapshot is good, in seconds: standings grow old by themselves.
const GOOD_FOR: i64 = 60;

/// All public mirrors as pages show them, and what they hold together.
pub(super) struct Overview {
    key: ([i64; 3], i64),
    /// By name.
    pub(super) mirrors: Vec<Mirror>,
    pub(super) categories: Vec<Category>,
    /// Of all categories, in bytes.
    pub(super) bytes: u64,
    pub(super) tags: usize,
}

/// A category, and what all of it weighs.
pub(super) struct Category {
    pub(super) id: CategoryId,
    pub(super) name: String,
    pub(super) serial: Serial,
    /// Manifests and blobs.
    pub(super) files: u64,
    pub(super) bytes: u64,
}

/// A public mirror.
pub(super) struct Mirror {
    pub(super) id: HostId,
    pub(super) name: String,
    pub(super) site: String,
    pub(super) country: Option<Country>,
    pub(super) place: Option<Place>,
    /// In Mbit/s.
    pub(super) bandwidth: Option<u32>,
    pub(super) standing: Standing,
    pub(super) categories: Vec<Carried>,
    pub(super) ipv6: bool,
    pub(super) https: bool,
    /// It fetches what it lacks: no crawl looks at it.
    pub(super) fetches: bool,
}

/// What it carries of a category.
pub(super) struct Carried {
    pub(super) category: String,
    pub(super) percent: u64,
    pub(super) url: String,
    pub(super) crawled_at: Option<i64>,
}

impl Overview {
    fn new(snapshot: &Snapshot, key: ([i64; 3], i64)) -> Self {
        let public = snapshot.hosts.list().iter().filter(|it| !it.private && !it.categories.is_empty());
        let mut mirrors: Vec<Mirror> = public.map(|it| Mirror::new(snapshot, it, key.1 * GOOD_FOR)).collect();
        mirrors.sort_by(|one, other| one.name.cmp(&other.name));
        let content = &snapshot.content;
        Self {
            key,
            mirrors,
            categories: list_categories(content),
            bytes: content.rows().blobs.iter().map(|it| it.size).sum(),
            tags: content.list_repositories().iter().map(|it| it.tags.len()).sum(),
        }
    }

    /// Those that clients are sent to.
    pub(super) fn count_offered(&self) -> usize {
        let has_some = |it: &&Mirror| it.categories.iter().any(|it| it.percent > 0);
        self.mirrors.iter().filter(|it| it.standing <= Standing::Behind).filter(has_some).count()
    }
}

fn list_categories(content: &Content) -> Vec<Category> {
    let blobs = &content.rows().blobs;
    content
        .list_categories()
        .map(|(row, set)| Category {
            id: row.id,
            name: row.name.clone(),
            serial: row.serial,
            files: set.len(),
            bytes: blobs.iter().filter(|it| set.contains(it.number)).map(|it| it.size).sum(),
        })
        .collect()
}

impl Mirror {
    fn new(snapshot: &Snapshot, host: &HostRow, now: i64) -> Self {
        let urls = || host.categories.iter().flat_map(|it| &it.urls);
        let categories = snapshot.shares(host).into_iter().map(|it| Carried {
            category: it.category.name.clone(),
            percent: it.percent(),
            url: it.opt_in.urls.first().map(|it| it.url.clone()).unwrap_or_default(),
            crawled_at: it.crawled_at,
        });
        Self {
            id: host.id,
            name: host.name.clone(),
            site: host.site_name.clone(),
            country: host.country,
            place: host.place.or_else(|| host.country?.place()),
            bandwidth: host.bandwidth,
            standing: snapshot.standing(host, now),
            categories: categories.collect(),
            ipv6: urls().any(|it| it.ipv6 == Reach::Up),
            https: urls().any(|it| it.scheme == Scheme::Https),
            fetches: host.kind != HostKind::Static,
        }
    }

    /// The last time that a crawl looked.
    pub(super) fn crawled_at(&self) -> Option<i64> {
        self.categories.iter().filter_map(|it| it.crawled_at).max()
    }

    pub(super) fn word(&self) -> &'static str {
        self.standing.as_str()
    }
}

/// The last overview, for all who ask: made anew when the snapshot is another one, by one of them.
#[derive(Default)]
pub(in crate::server) struct OverviewCache(Mutex<Option<Arc<Overview>>>);

impl OverviewCache {
    pub(super) fn get(&self, snapshot: &Snapshot, now: i64) -> Arc<Overview> {
        let generations = [
            snapshot.content.rows().generation,
            snapshot.holdings.rows().generation,
            snapshot.hosts.rows().generation,
        ];
        let key = (generations, now / GOOD_FOR);
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some(overview) if overview.key == key => overview.clone(),
            _ => last.insert(Arc::new(Overview::new(snapshot, key))).clone(),
        }
    }
}
