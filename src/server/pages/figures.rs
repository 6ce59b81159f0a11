//! Statistics of the database for pages: asked for when somebody looks, by one at a time, and then good for a minute. Without
//! the database pages show what was last known, or do without.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use actix_web::web;
use jiff::{SignedDuration, Timestamp};
use tokio::{sync::Mutex, time::timeout};

use crate::{
    database::{
        Connection, Database, Error, QueryResult, category,
        propagation::{self, Propagation},
        statistics::{self, Count, Period, Ways},
        traffic,
    },
    mirror::{CategoryName, Country, HostId},
};

/// How long what was found is good.
const GOOD_FOR: Duration = Duration::from_secs(60);

/// What nobody asked for so long is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(60 * 60);

/// How long a page waits for its turn, and then goes without.
const TURN: Duration = Duration::from_secs(3);

/// Days of pulls and bytes, with today.
pub(super) const DAYS: i64 = 90;

/// Days of hosts and countries, with today.
pub(super) const RECENT: i64 = 30;

/// States of a category.
pub(super) const STATES: i64 = 20;

/// A day in seconds.
const DAY: i64 = 24 * 60 * 60;

/// What clients were answered.
#[derive(Default)]
pub(super) struct Traffic {
    /// The last of [`DAYS`].
    pub(super) today: Timestamp,
    /// Of all [`DAYS`], oldest first.
    pub(super) days: Vec<Ways>,
    /// Of the [`RECENT`], oldest first.
    pub(super) hosts: BTreeMap<HostId, Vec<Count>>,
    pub(super) countries: BTreeMap<Country, Count>,
}

impl Traffic {
    fn load(connection: &mut Connection, now: Timestamp) -> QueryResult<Self> {
        let today = Timestamp::from(Period::Day.began(now.into()));
        let since = |days: i64| today - SignedDuration::from_hours(24 * (days - 1));
        let place = |at: Timestamp, days| usize::try_from((at - since(days)).get_seconds() / DAY).ok();
        let mut traffic = Self { today, days: vec![Ways::new(); DAYS as usize], ..Self::default() };
        for (day, ways) in statistics::list(connection, Period::Day, since(DAYS).into())? {
            // Another server's clock may be in tomorrow.
            if let Some(it) = place(day.into(), DAYS).and_then(|it| traffic.days.get_mut(it)) {
                *it = ways;
            }
        }
        for (host, day, count) in traffic::list_days(connection, since(RECENT).into())? {
            let days = traffic.hosts.entry(host).or_insert_with(|| vec![Count::default(); RECENT as usize]);
            if let Some(it) = place(day.into(), RECENT).and_then(|it| days.get_mut(it)) {
                *it = count;
            }
        }
        traffic.countries = statistics::list_countries(connection, since(RECENT).into())?;
        Ok(traffic)
    }

    /// The name of a day, counted back from today.
    pub(super) fn day(&self, before_today: usize) -> String {
        let day = self.today - SignedDuration::from_hours(24 * before_today as i64);
        day.strftime("%F").to_string()
    }

    /// What clients were sent to a host to fetch in [`RECENT`], by day and altogether.
    pub(super) fn of(&self, host: HostId) -> Option<(&[Count], Count)> {
        let days = self.hosts.get(&host)?;
        let mut total = Count::default();
        days.iter().for_each(|it| total += *it);
        Some((days, total))
    }
}

/// What was last found of one thing.
type Found<T> = (Instant, Option<Arc<T>>);

/// What was found lately, by what it is about.
type Kept<K, T> = Mutex<BTreeMap<K, Found<T>>>;

/// All that pages show of statistics.
pub(in crate::server) struct Figures {
    database: Arc<Database>,
    traffic: Kept<(), Traffic>,
    propagation: Kept<CategoryName, Vec<Propagation>>,
}

impl Figures {
    pub(in crate::server) fn new(database: Arc<Database>) -> Self {
        Self { database, traffic: Mutex::default(), propagation: Mutex::default() }
    }

    pub(super) async fn traffic(&self) -> Option<Arc<Traffic>> {
        self.find(&self.traffic, (), |it| it.read(|it| Traffic::load(it, Timestamp::now()))).await
    }

    /// The newest states of a category, newest first, and who held them. The name is of one that there is.
    pub(super) async fn propagation(&self, name: &CategoryName) -> Option<Arc<Vec<Propagation>>> {
        let asked = name.clone();
        let load = move |connection: &mut Connection| match category::find(connection, &asked)? {
            Some(category) => propagation::list(connection, category.id, STATES),
            None => Ok(Vec::new()),
        };
        self.find(&self.propagation, name.clone(), |it| it.read(load)).await
    }

    async fn find<K: Ord + Clone, T: Send + Sync + 'static>(
        &self,
        kept: &Kept<K, T>,
        key: K,
        load: impl FnOnce(&Database) -> Result<T, Error> + Send + 'static,
    ) -> Option<Arc<T>> {
        let mut kept = timeout(TURN, kept.lock()).await.ok()?;
        kept.retain(|_, it| it.0.elapsed() < FORGOTTEN);
        let former = match kept.get(&key) {
            Some((at, found)) if at.elapsed() < GOOD_FOR => return found.clone(),
            Some((_, found)) => found.clone(),
            None => None,
        };
        let database = self.database.clone();
        let loaded = web::block(move || load(&database)).await.ok()?;
        let found = match loaded {
            Ok(found) => Some(Arc::new(found)),
            Err(error) => {
                tracing::debug!(%error, "pages go without new statistics");
                former
            }
        };
        kept.insert(key, (Instant::now(), found.clone()));
        found
    }
}
