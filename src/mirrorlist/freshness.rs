use super::{
    ranking::{HOLDINGS_AGE, is_switched_on},
    rows::{CategoryRow, HostCategoryRow, HostRow},
    snapshot::Snapshot,
};
use crate::mirror::{HostKind, Reach};

/// How a host stands, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// It holds all of the newest content of all categories that it opted in to.
    Fresh,
    /// It holds some of it.
    Behind,
    /// Nothing is known of what it holds, or that is too old to count.
    Unknown,
    /// None of its URLs answers.
    Down,
    /// It is switched off or drained.
    Off,
}

impl Standing {
    /// In one word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Behind => "behind",
            Self::Unknown => "unknown",
            Self::Down => "down",
            Self::Off => "off",
        }
    }
}

/// What a host holds of a category it opted in to.
#[derive(Clone, Copy, Debug)]
pub struct Share<'a> {
    /// Of which.
    pub category: &'a CategoryRow,
    /// The opt-in.
    pub opt_in: &'a HostCategoryRow,
    /// So many of the category's blobs it was found to hold.
    pub held: u64,
    /// So many there are.
    pub of: u64,
    /// When a crawl last confirmed it, Unix seconds; `None`: never, or there is no need to, for it fetches what it lacks.
    pub crawled_at: Option<i64>,
}

impl Share<'_> {
    /// In percent, rounded down: 100 is all.
    pub fn percent(&self) -> u64 {
        (self.held * 100).checked_div(self.of).unwrap_or(100)
    }
}

impl Snapshot {
    /// What a host holds of each category that it opted in to and that is still there.
    pub fn shares<'a>(&'a self, host: &'a HostRow) -> Vec<Share<'a>> {
        let share = |opt_in: &'a HostCategoryRow| {
            let (category, blobs) = self.content.list_categories().find(|it| it.0.id == opt_in.category)?;
            let of = blobs.len();
            let holding = self.holdings.find(opt_in.id);
            let (held, crawled_at) = match holding {
                _ if host.kind != HostKind::Static => (of, None),
                Some(it) => (it.blobs.intersection_len(blobs), Some(it.crawled_at)),
                None => (0, None),
            };
            Some(Share { category, opt_in, held, of, crawled_at })
        };
        host.categories.iter().filter_map(share).collect()
    }

    /// How a host stands at this moment, in Unix seconds.
    pub fn standing(&self, host: &HostRow, at: i64) -> Standing {
        if is_switched_on(host).is_err() {
            return Standing::Off;
        }
        let offered = || host.categories.iter().filter(|it| !it.drained);
        if offered().next().is_none() && !host.categories.is_empty() {
            return Standing::Off;
        }
        let urls = || offered().flat_map(|it| &it.urls);
        if urls().next().is_some() && urls().all(|it| it.ipv4 != Reach::Up && it.ipv6 != Reach::Up) {
            let is_unknown = urls().any(|it| it.ipv4 == Reach::Unknown && it.ipv6 == Reach::Unknown);
            return if is_unknown { Standing::Unknown } else { Standing::Down };
        }
        let mut shares = self.shares(host);
        shares.retain(|it| !it.opt_in.drained);
        let is_known = |it: &Share<'_>| {
            host.kind != HostKind::Static || it.crawled_at.is_some_and(|then| at - then <= HOLDINGS_AGE)
        };
        match (shares.iter().any(is_known), shares.iter().all(|it| is_known(it) && it.held == it.of)) {
            (true, true) => Standing::Fresh,
            (true, false) => Standing::Behind,
            (false, _) => Standing::Unknown,
        }
    }
}
