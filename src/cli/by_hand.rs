//! Changes that somebody makes on this machine: the log has them beside those of the desk.

use crate::database::{
    self, Connection, Database, Part, QueryResult, Time,
    audit::{self, Subject},
};

/// Does `work`, and notes what it changed of the subject. Answers follow.
pub(super) fn change<T>(
    database: &Database,
    subject: Subject,
    work: impl FnOnce(&mut Connection) -> QueryResult<T>,
) -> Result<T, database::Error> {
    database.write(Part::Hosts, |it| audit::noting(it, &actor(), subject, now(), work))
}

/// Makes something, and notes that it is there.
pub(super) fn make<T>(
    database: &Database,
    work: impl FnOnce(&mut Connection) -> QueryResult<T>,
    subject: impl FnOnce(&T) -> Subject,
) -> Result<T, database::Error> {
    database.write(Part::Hosts, |it| {
        let made = work(it)?;
        audit::note_new(it, &actor(), subject(&made), now())?;
        Ok(made)
    })
}

/// Who runs the command, as the log calls them. No account can be called so.
fn actor() -> String {
    let user = ["SUDO_USER", "USER", "LOGNAME"].into_iter().find_map(|it| std::env::var(it).ok());
    format!("cli:{}", user.as_deref().unwrap_or("unknown"))
}

fn now() -> Time {
    jiff::Timestamp::now().into()
}
