//! What a host's admin has to repair: `portolan host show HOST --repair`.

use super::Answer;
use crate::{
    database::{Database, host::Host},
    notice::REPAIR_HEAD,
    teller,
};

/// For each category the reasons, and the command.
pub(super) fn show(database: &Database, host: &Host) -> anyhow::Result<Answer> {
    let repairs = database.read(|it| teller::list_repairs(it, host.id))?;
    let mut answer = Answer::new(&repairs)?;
    if repairs.is_empty() {
        return Ok(answer.line(format_args!("the crawls of {} found nothing to repair", host.name)));
    }
    answer = answer.line(REPAIR_HEAD);
    for repair in &repairs {
        answer = repair.lines(usize::MAX).iter().fold(answer.line(""), |answer, it| answer.line(it));
    }
    Ok(answer)
}
