use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the last crawl found out about a host and a category.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CrawlState {
    /// Holds everything of the newest serial.
    UpToDate,
    /// Between two serials: some of what the newest one adds is there.
    Syncing,
    /// Holds an older serial.
    Behind,
    /// Claims what it lacks, or gives wrong sizes or bytes.
    Lying,
    /// Did not answer.
    Unreachable,
}

impl CrawlState {
    /// All five.
    pub const ALL: [Self; 5] = [Self::UpToDate, Self::Syncing, Self::Behind, Self::Lying, Self::Unreachable];

    /// As it stands in the database, in JSON and in tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UpToDate => "up-to-date",
            Self::Syncing => "syncing",
            Self::Behind => "behind",
            Self::Lying => "lying",
            Self::Unreachable => "unreachable",
        }
    }
}

impl fmt::Display for CrawlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for CrawlState {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, UnknownState> {
        Self::ALL.into_iter().find(|it| it.as_str() == text).ok_or(UnknownState)
    }
}

/// Can a URL be reached by one address family?
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    JsonSchema,
    rkyv::Archive,
    rkyv::Serialize,
    rkyv::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Reach {
    /// It answered when last asked.
    Up,
    /// It has an address of the family and did not answer.
    Down,
    /// Never asked, no address of the family, or the crawler itself lacks the family.
    #[default]
    Unknown,
}

impl Reach {
    /// As it stands in the database, in JSON and in tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Reach {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, UnknownState> {
        [Self::Up, Self::Down, Self::Unknown].into_iter().find(|it| it.as_str() == text).ok_or(UnknownState)
    }
}

/// What a URL makes of a request for two ranges at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MultiRange {
    /// Both, as multipart/byteranges.
    Parts,
    /// One range, and says which.
    Single,
    /// The whole file with status 200, as a server may.
    Whole,
    /// Something that is not what it says.
    Wrong,
}

impl MultiRange {
    /// All four.
    pub const ALL: [Self; 4] = [Self::Parts, Self::Single, Self::Whole, Self::Wrong];

    /// As it stands in the database, in JSON and in tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Parts => "parts",
            Self::Single => "single",
            Self::Whole => "whole",
            Self::Wrong => "wrong",
        }
    }
}

impl fmt::Display for MultiRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for MultiRange {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, UnknownState> {
        Self::ALL.into_iter().find(|it| it.as_str() == text).ok_or(UnknownState)
    }
}

/// What is wrong with one file of a host, to be repaired by its admin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FileFault {
    /// The host claims it and has it not.
    Absent,
    /// It has other bytes or another size.
    Damaged,
    /// It begins to come, and stalls or breaks off.
    Broken,
    /// It does not come as it is: encoded, forbidden, redirected to nowhere.
    Wrong,
}

impl FileFault {
    /// All four.
    pub const ALL: [Self; 4] = [Self::Absent, Self::Damaged, Self::Broken, Self::Wrong];

    /// As it stands in the database and in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Damaged => "damaged",
            Self::Broken => "broken",
            Self::Wrong => "wrong",
        }
    }
}

impl fmt::Display for FileFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for FileFault {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, UnknownState> {
        Self::ALL.into_iter().find(|it| it.as_str() == text).ok_or(UnknownState)
    }
}

/// A word that names no state.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("this is no state that a crawl knows")]
pub struct UnknownState;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_print_as_they_are_read() {
        for state in CrawlState::ALL {
            assert_eq!(state.as_str().parse(), Ok(state));
            assert_eq!(serde_json::to_string(&state).unwrap(), format!("\"{state}\""));
        }
        for fault in FileFault::ALL {
            assert_eq!(fault.as_str().parse(), Ok(fault));
            assert_eq!(serde_json::to_string(&fault).unwrap(), format!("\"{fault}\""));
        }
        for answer in MultiRange::ALL {
            assert_eq!(answer.as_str().parse(), Ok(answer));
            assert_eq!(serde_json::to_string(&answer).unwrap(), format!("\"{answer}\""));
        }
        for reach in [Reach::Up, Reach::Down, Reach::Unknown] {
            assert_eq!(reach.as_str().parse(), Ok(reach));
        }
    }
}
