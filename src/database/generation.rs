//! The table `generation`: how often each part of the snapshot has changed.

use diesel::prelude::*;

use super::{Connection, schema::generation};

/// A part of the snapshot: swapped, saved and published apart from the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Repositories, tags, manifests, blobs, categories.
    Content,
    /// Which host holds what.
    Holdings,
    /// Sites, hosts, URLs, opt-ins, reach, netblocks, countries.
    Hosts,
}

/// How often each part has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Generations {
    /// Of [`Part::Content`].
    pub content: i64,
    /// Of [`Part::Holdings`].
    pub holdings: i64,
    /// Of [`Part::Hosts`].
    pub hosts: i64,
}

impl Part {
    pub(super) const ALL: [Self; 3] = [Self::Content, Self::Holdings, Self::Hosts];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Content => "content",
            Self::Holdings => "holdings",
            Self::Hosts => "hosts",
        }
    }
}

/// Reads all three.
pub fn load(connection: &mut Connection) -> QueryResult<Generations> {
    let rows: Vec<(String, i64)> =
        generation::table.select((generation::part, generation::value)).load(connection)?;
    let of = |part: Part| rows.iter().find(|it| it.0 == part.as_str()).map_or(0, |it| it.1);
    Ok(Generations { content: of(Part::Content), holdings: of(Part::Holdings), hosts: of(Part::Hosts) })
}

/// Counts a change of each part, in one order, so that two writers never wait for each other.
pub(super) fn bump(connection: &mut Connection, mut parts: Vec<Part>) -> QueryResult<()> {
    parts.sort_unstable();
    parts.dedup();
    for part in parts {
        diesel::update(generation::table.find(part.as_str()))
            .set(generation::value.eq(generation::value + 1))
            .execute(connection)?;
    }
    Ok(())
}
