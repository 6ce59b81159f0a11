//! What clients got from a host, as servers counted it, for `portolan host show`.

use comfy_table::Cell;
use indicatif::HumanBytes;
use serde::Serialize;

use super::{Answer, table};
use crate::{
    database::{
        Connection, QueryResult, Time,
        experience::{self, Demotion},
        traffic,
    },
    mirror::HostId,
};

/// So many hours are told, those in which something was sent.
const HOURS: i64 = 24;

/// So many of them stand in the table.
const HOURS_IN_TABLE: usize = 3;

/// What clients were sent there for, and who is not.
#[derive(Default, Serialize)]
pub(super) struct ClientsView {
    /// So many of a thousand clients near it are sent to it, for more came in the last hour than its bandwidth
    /// carries; null: all.
    kept_of_thousand: Option<u16>,
    /// Whose clients are not sent to it, for it failed too many of them.
    demoted: Vec<Demotion>,
    /// By hour, newest first.
    sent: Vec<SentView>,
}

/// What clients were sent to fetch in an hour.
#[derive(Serialize)]
struct SentView {
    hour: Time,
    bytes: i64,
}

impl ClientsView {
    pub(super) fn load(connection: &mut Connection, host: HostId) -> QueryResult<Self> {
        let sent = traffic::list(connection, host, HOURS)?.into_iter();
        Ok(Self {
            kept_of_thousand: traffic::list_kept(connection)?.get(&host).copied(),
            demoted: experience::list_demotions(connection, host)?,
            sent: sent.map(|(hour, bytes)| SentView { hour, bytes }).collect(),
        })
    }

    /// Why not all clients near it are sent to it.
    pub(super) fn tell(&self, mut answer: Answer) -> Answer {
        if let Some(kept) = self.kept_of_thousand {
            let percent = f64::from(kept) / 10.0;
            answer = answer.line(format_args!(
                "{percent} % of the clients near it are sent to it: more came in an hour than its bandwidth carries"
            ));
        }
        for Demotion { region, until, reason } in &self.demoted {
            let until = table::time(*until);
            answer = answer.line(format_args!("not offered to clients in {region} until {until}: {reason}"));
        }
        answer
    }

    /// What was sent in the newest hours.
    pub(super) fn cell(&self) -> Cell {
        let hours = self.sent.iter().take(HOURS_IN_TABLE);
        table::lines(hours.map(|it| {
            let bytes = HumanBytes(it.bytes.cast_unsigned());
            format!("{bytes} in the hour from {}", table::time(it.hour))
        }))
    }
}
