use std::collections::{BTreeMap, BTreeSet};

use actix_web::{HttpRequest, HttpResponse, web::Data};
use askama::Template;

use super::{
    Figures, Frame, PageError, SharedState, page, parameter,
    plot::{Caption, Plot, Steps},
    text,
};
use crate::{
    database::propagation::Propagation,
    mirror::{CategoryName, HostKind, HostName, Serial},
    mirrorlist::{Snapshot, Standing},
    server::state::now,
};

/// States in the picture.
const LINES: usize = 5;

/// What the picture may show, in seconds, and how it is labelled.
const SPANS: [(i64, [&str; 3]); 5] = [
    (60 * 60, ["0", "30 min", "1 h"]),
    (6 * 60 * 60, ["0", "3 h", "6 h"]),
    (24 * 60 * 60, ["0", "12 h", "24 h"]),
    (3 * 24 * 60 * 60, ["0", "36 h", "3 days"]),
    (14 * 24 * 60 * 60, ["0", "7 days", "14 days"]),
];

#[derive(Template)]
#[template(path = "propagation.html")]
struct PropagationPage {
    frame: Frame,
    categories: Vec<String>,
    category: String,
    carriers: usize,
    /// `None` when the database cannot be asked.
    shown: Option<Shown>,
}

struct Shown {
    /// Without any state there is none.
    plot: Option<Plot>,
    rows: Vec<Row>,
}

/// A state of the category.
struct Row {
    serial: Serial,
    published: String,
    /// Hosts that have come to it or to a newer one.
    came: usize,
    percent: u64,
    half: String,
    most: String,
    /// Hosts that hold it now.
    hold: usize,
}

/// `GET /propagation?category=`: how fast the mirrors come to each state of a category.
pub(super) async fn answer(
    request: HttpRequest,
    state: SharedState,
    figures: Data<Figures>,
) -> Result<HttpResponse, PageError> {
    let frame = Frame::new(&request, &state, "propagation", "Propagation")?;
    let current = state.current();
    let categories: Vec<String> =
        current.snapshot.content.list_categories().map(|it| it.0.name.clone()).collect();
    let asked = parameter(&request, "category").or_else(|| categories.first().cloned()).unwrap_or_default();
    let name: Option<CategoryName> = asked.parse().ok().filter(|_| categories.contains(&asked));
    if !asked.is_empty() && name.is_none() {
        return Err(PageError::Missing(format!("There is no category {asked} here.")));
    }
    let carriers = count_carriers(&current.snapshot, &asked);
    let shown = match &name {
        Some(name) => figures.propagation(name).await.map(|it| show(&it, carriers, now())),
        None => Some(Shown { plot: None, rows: Vec::new() }),
    };
    page(&request, &PropagationPage { frame, categories, category: asked, carriers, shown })
}

/// Hosts that should hold it, private ones too: they are counted and not named.
pub(super) fn count_carriers(snapshot: &Snapshot, category: &str) -> usize {
    let carries = |it: &&crate::mirrorlist::rows::HostRow| {
        it.kind == HostKind::Static
            && snapshot.standing(it, now()) != Standing::Off
            && snapshot.shares(it).iter().any(|it| it.category.name == category)
    };
    snapshot.hosts.list().iter().filter(carries).count()
}

/// A state, and after how many seconds each host had come to it or to a newer one.
pub(super) struct Spread<'a> {
    pub(super) state: &'a Propagation,
    pub(super) after: Vec<i64>,
    pub(super) hold: usize,
}

/// `states` are newest first.
pub(super) fn spread(states: &[Propagation]) -> Vec<Spread<'_>> {
    let mut came: BTreeMap<&HostName, i64> = BTreeMap::new();
    let mut spreads = Vec::new();
    for state in states {
        let Propagation { published_at, holders, .. } = state;
        for it in holders {
            let since = it.since.unix_seconds();
            came.entry(&it.host).and_modify(|at| *at = since.min(*at)).or_insert(since);
        }
        let mut after: Vec<i64> = came.values().map(|it| (it - published_at.unix_seconds()).max(0)).collect();
        after.sort_unstable();
        let hold = holders.iter().filter(|it| it.until.is_none()).map(|it| &it.host);
        spreads.push(Spread { state, after, hold: hold.collect::<BTreeSet<_>>().len() });
    }
    spreads
}

fn show(states: &[Propagation], carriers: usize, now: i64) -> Shown {
    let spreads = spread(states);
    let rows = spreads.iter().map(|it| {
        let of = carriers.max(it.after.len());
        // The moment at which so many percent had come to it.
        let until = |percent: usize| {
            let needed = (of * percent).div_ceil(100).max(1);
            it.after.get(needed - 1).map(|it| text::duration(*it)).unwrap_or_default()
        };
        Row {
            serial: it.state.serial,
            published: text::time(it.state.published_at.unix_seconds()),
            came: it.after.len(),
            percent: (it.after.len() as u64 * 100).checked_div(of as u64).unwrap_or(0),
            half: until(50),
            most: until(90),
            hold: it.hold,
        }
    });
    Shown { rows: rows.collect(), plot: plot(&spreads, carriers, now) }
}

fn plot(spreads: &[Spread<'_>], carriers: usize, now: i64) -> Option<Plot> {
    let shown = &spreads[..spreads.len().min(LINES)];
    let newest = shown.first()?;
    let last = shown.iter().filter_map(|it| it.after.last()).copied().max().unwrap_or(0);
    let (span, labels) = SPANS.into_iter().find(|it| it.0 >= last).unwrap_or(SPANS[SPANS.len() - 1]);
    let line = |it: &Spread<'_>| {
        let of = carriers.max(it.after.len()).max(1) as f64;
        let step = |(place, seconds): (usize, &i64)| (*seconds as f64 / span as f64, (place + 1) as f64 / of);
        Steps {
            name: format!("serial {}", it.state.serial),
            steps: it.after.iter().enumerate().map(step).collect(),
            end: (now - it.state.published_at.unix_seconds()) as f64 / span as f64,
        }
    };
    let lines: Vec<_> = shown.iter().map(line).collect();
    let description = format!(
        "A line for each of the newest {} states: the share of hosts that had come to it, or to a newer one, by the time since it was published. \
         Serial {} has come to {} of {carriers}.",
        lines.len(),
        newest.state.serial,
        newest.after.len()
    );
    let caption =
        Caption { id: "spread", title: "Share of hosts, by the time since publication", description };
    Some(Plot::shares(caption, &lines, &labels.map(str::to_owned)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::propagation::Holder;

    fn at(seconds: i64) -> crate::database::Time {
        jiff::Timestamp::from_second(seconds).unwrap().into()
    }

    #[test]
    fn who_has_a_newer_state_has_come_to_the_older_one() {
        let holder = |host: &str, since, until: Option<i64>| Holder {
            host: host.parse().unwrap(),
            since: at(since),
            until: until.map(at),
        };
        let state = |serial, published, holders| Propagation { serial, published_at: at(published), holders };
        let states = [
            state(3, 20_000, vec![]),
            state(
                2,
                10_000,
                vec![holder("a", 10_600, None), holder("b", 20_500, None), holder("b", 21_000, None)],
            ),
            state(1, 1_000, vec![holder("a", 1_060, Some(10_600)), holder("c", 900, Some(5_000))]),
        ];
        let shown = show(&states, 4, 30_000);
        let told: Vec<_> = shown
            .rows
            .iter()
            .map(|it| (it.serial, it.came, it.percent, &*it.half, &*it.most, it.hold))
            .collect();
        let expected = [(3, 0, 0, "", "", 0), (2, 2, 50, "2 hours", "", 2), (1, 3, 75, "1 minute", "", 0)];
        assert_eq!(told, expected);
        let text = shown.plot.unwrap().render().unwrap();
        assert!(text.contains("Serial 3 has come to 0 of 4."), "{text}");
    }

    #[test]
    fn more_holders_than_hosts_are_not_more_than_all() {
        let holders = ["a", "b"].map(|it| Holder { host: it.parse().unwrap(), since: at(10), until: None });
        let states = [Propagation { serial: 1, published_at: at(0), holders: holders.into() }];
        let shown = show(&states, 0, 100);
        assert_eq!((shown.rows[0].percent, &*shown.rows[0].most), (100, "10 seconds"));
        assert!(show(&[], 3, 0).plot.is_none());
    }
}
