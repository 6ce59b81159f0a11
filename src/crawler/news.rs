//! What of a crawl is told to people.

use std::sync::Arc;

use jiff::Timestamp;

use super::visit::blocking;
use crate::{
    database::{
        self, Connection, Database, QueryResult,
        crawl::{CrawlHost, CrawlResult},
    },
    mirror::{CrawlState, HostName},
    notice::{self, Event, Notice, Repair},
    teller::{Teller, list_repairs},
};

/// Tells what a crawl has changed. Call it when its result is stored.
pub(super) async fn tell(teller: &Teller, database: &Arc<Database>, host: &CrawlHost, result: &CrawlResult) {
    let events = events(host, result);
    if events.is_empty() {
        return;
    }
    let name = host.name.clone();
    let found = blocking(database, move |it| it.read(|it| find(it, &name))).await;
    let (contacts, repair) = found.unwrap_or_else(|error| {
        tracing::warn!(host.name = %host.name, %error, "its contacts cannot be read; they are not told");
        Default::default()
    });
    for (event, reason) in events {
        let repair = if event == Event::Lying { repair.clone() } else { Vec::new() };
        let notice = Notice {
            event,
            host: Some(host.name.clone()),
            at: Timestamp::from(result.started_at),
            reason,
            log: result.log.lines().map(str::to_owned).collect(),
            repair,
            contacts: contacts.clone(),
        };
        teller.tell(notice);
    }
}

/// The contacts of a host, and what they have to repair.
fn find(connection: &mut Connection, name: &HostName) -> QueryResult<(Vec<String>, Vec<Repair>)> {
    let Some(host) = database::host::find(connection, name)? else { return Ok(Default::default()) };
    let contacts = host.contacts.lines().map(str::to_owned).collect();
    Ok((contacts, list_repairs(connection, host.id)?))
}

/// What there is to tell, and why. Only what is new.
fn events(host: &CrawlHost, result: &CrawlResult) -> Vec<(Event, String)> {
    let mut events = Vec::new();
    match (&host.auto_disabled, &result.auto_disabled) {
        (None, Some(reason)) => events.push((Event::Off, reason.clone())),
        (Some(_), None) => events.push((Event::On, String::new())),
        _ => {}
    }
    let was_lying = |id| {
        let known = host.categories.iter().find(|it| it.host_category == id);
        let state = known.and_then(|it| it.holdings.as_ref()).map(|it| it.state);
        state == Some(CrawlState::Lying)
    };
    let lies = result.holdings.iter().filter(|it| it.state == CrawlState::Lying);
    let mut new = lies.filter(|it| !was_lying(it.host_category));
    if let Some(first) = new.next() {
        events.push((Event::Lying, first.reason.clone()));
    }
    events.extend(ending_certificate(host, result).map(|it| (Event::Certificate, it)));
    events
}

/// Which certificate has begun to end soon since the crawl before looked at it, so that it is told once.
fn ending_certificate(host: &CrawlHost, result: &CrawlResult) -> Option<String> {
    result.checks.facts.iter().find_map(|facts| {
        let days = facts.days_left(facts.checked_at)?;
        let id = facts.host_category_url_id;
        let category = host.categories.iter().find(|it| it.urls.iter().any(|url| url.id == id))?;
        let former = category.facts.get(&id).filter(|it| it.certificate_ends_at == facts.certificate_ends_at);
        let was_told = former.is_some_and(|it| it.days_left(it.checked_at).is_some());
        let url = &category.urls.iter().find(|it| it.id == id)?.url;
        (!was_told).then(|| format!("{url}: {}", notice::certificate_warning(days)))
    })
}
