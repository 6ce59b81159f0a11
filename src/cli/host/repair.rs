//! What a host's admin has to repair: `portolan host show HOST --repair`.

use super::Answer;
use crate::{
    database::{Database, host::Host},
    mirror::HostName,
    notice::{REPAIR_HEAD, Repair},
    teller,
};

pub(super) fn show(database: &Database, host: &Host) -> anyhow::Result<Answer> {
    tell(&host.name, &database.read(|it| teller::list_repairs(it, host.id))?)
}

/// For each category the reasons, and the command.
pub(in crate::cli) fn tell(name: &HostName, repairs: &[Repair]) -> anyhow::Result<Answer> {
    let mut answer = Answer::new(&repairs)?;
    if repairs.is_empty() {
        return Ok(answer.line(format_args!("the crawls of {name} found nothing to repair")));
    }
    answer = answer.line(REPAIR_HEAD);
    for repair in repairs {
        answer = repair.lines(usize::MAX).iter().fold(answer.line(""), |answer, it| answer.line(it));
    }
    Ok(answer)
}
