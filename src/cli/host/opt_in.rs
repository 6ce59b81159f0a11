//! `portolan host opt-in` and `opt-out`.

use anyhow::{anyhow, bail};

use super::{Answer, by_hand, find, find_own, view};
use crate::{
    cli::category,
    database::{Database, audit::Subject, host_category},
    mirror::{CategoryName, HostName, HostUrl, RsyncUrl},
    teller::HostView,
};

pub(super) fn opt_in(
    database: &Database,
    host: &HostName,
    category: &CategoryName,
    urls: &[HostUrl],
    rsync_url: Option<&RsyncUrl>,
) -> anyhow::Result<Answer> {
    let (host, row) = (find_own(database, host)?, category::find(database, category)?);
    if row.retired_at.is_some() {
        bail!("the category {category} is retired: its folder is gone from the tree");
    }
    let now = jiff::Timestamp::now().into();
    by_hand::change(database, Subject::Host(host.id), |it| {
        let opt_in = host_category::opt_in(it, host.id, row.id, urls, now)?;
        host_category::set_rsync_url(it, opt_in.id, rsync_url)
    })?;
    let view = view::load(database, &host)?;
    let name = &host.name;
    let message = format!(
        "{name} carries {category} now; it is offered once a crawl has found it there; \
         next: portolan crawl --host {name}"
    );
    Ok(Answer::new(&view)?.line(message))
}

pub(super) fn opt_out(
    database: &Database,
    host: &HostName,
    category: &CategoryName,
) -> anyhow::Result<Answer> {
    let (host, row) = (find_own(database, host)?, category::find(database, category)?);
    let subject = Subject::Host(host.id);
    if !by_hand::change(database, subject, |it| host_category::opt_out(it, host.id, row.id))? {
        return Err(not_carried(&host.name, category));
    }
    let view = view::load(database, &host)?;
    Ok(Answer::new(&view)?.line(format_args!("{} carries {category} no longer", host.name)))
}

/// Takes a host out of answers as far as a category goes, or brings it back.
pub(super) fn drain(
    database: &Database,
    host: &HostName,
    category: &CategoryName,
    drained: bool,
) -> anyhow::Result<Answer> {
    let (host, row) = (find(database, host)?, category::find(database, category)?);
    let opt_in = database.read(|it| host_category::find(it, host.id, row.id))?;
    let opt_in = opt_in.ok_or_else(|| not_carried(&host.name, category))?;
    let subject = Subject::Host(host.id);
    by_hand::change(database, subject, |it| host_category::set_drained(it, opt_in.id, drained))?;
    tell_drained(&view::load(database, &host)?, category, drained)
}

pub(in crate::cli) fn tell_drained(
    view: &HostView,
    category: &CategoryName,
    drained: bool,
) -> anyhow::Result<Answer> {
    let message = if drained { "drained" } else { "drained no more" };
    Ok(Answer::new(view)?.line(format_args!("the host {} is {message} for {category}", view.name)))
}

pub(in crate::cli) fn not_carried(host: &HostName, category: &CategoryName) -> anyhow::Error {
    anyhow!("{host} does not carry {category}; `portolan host show {host}` tells what it carries")
}
