//! Decisions: which hosts a client is sent to, and why. No clock, no dice, no IO.

mod answer;
mod client;
mod content;
mod experience;
mod freshness;
mod gate;
mod holdings;
mod hosts;
pub mod load;
mod netblocks;
mod ranking;
mod repeat;
pub mod rows;
mod snapshot;
#[cfg(test)]
pub(crate) mod testing;

pub use answer::{Answer, choose, find_given};
pub use client::{Client, Location, Policy, network};
pub use content::{Content, RowsError};
pub use experience::{Demotion, Experience, Networks, find_demoted};
pub use freshness::{Share, Standing};
pub use gate::{Gate, HeldTag, LONGEST_HOLD, Publish, PublishRules};
pub use holdings::{Holding, Holdings};
pub use hosts::Hosts;
pub use netblocks::NetblockMap;
pub use ranking::{Class, Exclusion, HOLDINGS_AGE, MINIMUM, Offer, Turn, Wanted, explain, rank};
pub use repeat::{Attempt, RepeatConfig, Repeats, Start};
pub use snapshot::{Missing, Snapshot};
