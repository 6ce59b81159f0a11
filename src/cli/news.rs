//! What is told of hosts that people, or an import, changed.

use jiff::Timestamp;

use crate::{
    config::Config,
    database::{Database, snapshot::load_hosts},
    mirror::{CategoryId, Reach},
    mirrorlist::rows::HostRow,
    notice::{Event, Notice},
    teller::Teller,
};

/// Does the work, and tells the webhook, if there is one, what it did to hosts.
pub(super) async fn telling<T>(
    config: &Config,
    database: &Database,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    if config.notice.webhook.is_empty() {
        return work.await;
    }
    let before = database.read(load_hosts)?.hosts;
    let value = work.await?;
    let events = events(&before, &database.read(load_hosts)?.hosts);
    if events.is_empty() {
        return Ok(value);
    }
    let Some(teller) = Teller::start(&config.notice, &config.crawl.user_agent())? else { return Ok(value) };
    let at = Timestamp::now();
    for (event, name, reason) in events {
        // Those who changed it know, so nobody gets a mail.
        let Ok(name) = name.parse() else { continue };
        teller.tell(Notice {
            event,
            host: Some(name),
            at,
            reason,
            log: Vec::new(),
            repair: Vec::new(),
            contacts: Vec::new(),
        });
    }
    teller.finish().await;
    Ok(value)
}

/// What happened, to whom, and what differs.
fn events(before: &[HostRow], after: &[HostRow]) -> Vec<(Event, String, String)> {
    let mut events = Vec::new();
    let mut push = |event, host: &HostRow, reason: String| events.push((event, host.name.clone(), reason));
    for host in after {
        let Some(former) = before.iter().find(|it| it.id == host.id) else {
            push(Event::Added, host, format!("of {}", host.site_name));
            continue;
        };
        let carries = |id: CategoryId| host.categories.iter().any(|it| it.category == id);
        let gone: Vec<_> = former.categories.iter().filter(|it| !carries(it.category)).collect();
        if !gone.is_empty() {
            let urls = gone.iter().flat_map(|it| &it.urls).map(|it| it.url.as_str());
            push(Event::OptedOut, host, urls.collect::<Vec<_>>().join(" "));
        }
        match (is_on(former), is_on(host)) {
            (true, false) => push(Event::Disabled, host, off_by(host).to_owned()),
            (false, true) => push(Event::ReEnabled, host, String::new()),
            _ => {}
        }
        let (former, settled) = (without_switches(former), without_switches(host));
        if former != settled && gone.is_empty() {
            push(Event::Changed, host, String::new());
        }
    }
    for host in before.iter().filter(|it| after.iter().all(|other| other.id != it.id)) {
        push(Event::Gone, host, String::new());
    }
    events
}

fn is_on(host: &HostRow) -> bool {
    host.user_active && host.admin_active && !host.drained
}

fn off_by(host: &HostRow) -> &'static str {
    match (host.user_active, host.admin_active) {
        (false, _) => "by its admins",
        (_, false) => "by the operators",
        _ => "drained",
    }
}

/// Without what has its own word, and without what crawls, probes and servers find.
fn without_switches(host: &HostRow) -> HostRow {
    let mut host = HostRow {
        user_active: true,
        admin_active: true,
        drained: false,
        auto_disabled: None,
        clean_since: 0,
        kept: 0,
        demoted: Vec::new(),
        ..host.clone()
    };
    for url in host.categories.iter_mut().flat_map(|it| &mut it.urls) {
        (url.ipv4, url.ipv6) = (Reach::Unknown, Reach::Unknown);
    }
    host
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::{
        Connection, Part, QueryResult, category,
        host::{self, HostChange},
        host_category,
        testing::*,
    };

    #[test]
    fn each_thing_that_happens_to_a_host_has_its_word() {
        on_both(|database| {
            let category_id = add_category(database, "fedora", 1);
            let rows = || database.read(load_hosts).unwrap().hosts;
            let change = |work: &dyn Fn(&mut Connection) -> QueryResult<()>| {
                let before = rows();
                database.write(Part::Hosts, work).unwrap();
                let found = events(&before, &rows());
                found.into_iter().map(|it| (it.0, it.1)).collect::<Vec<_>>()
            };
            let name = || "m1".to_owned();
            let nothing = rows();
            let host = add_host(database, "m1");
            assert_eq!(events(&nothing, &rows())[0].0, Event::Added);
            let set = |to: HostChange| change(&move |it| host::update(it, host.id, &to).map(drop));
            let country = HostChange { country: Some("FR".parse().ok()), ..HostChange::default() };
            assert_eq!(set(country), [(Event::Changed, name())]);
            for (on, event) in [(false, Event::Disabled), (true, Event::ReEnabled)] {
                let switch = HostChange { user_active: Some(on), ..HostChange::default() };
                assert_eq!(set(switch), [(event, name())]);
            }
            for (drained, event) in [(true, Event::Disabled), (false, Event::ReEnabled)] {
                let drain = HostChange { drained: Some(drained), ..HostChange::default() };
                assert_eq!(set(drain), [(event, name())]);
            }
            let by_a_crawl = HostChange {
                auto_disabled_at: Some(Some(now())),
                auto_disabled_reason: Some(Some("away".to_owned())),
                ..HostChange::default()
            };
            assert_eq!(set(by_a_crawl), [], "the crawler tells that itself");
            let urls = ["https://m1/fedora".parse().unwrap()];
            assert_eq!(
                change(&|it| host_category::opt_in(it, host.id, category_id, &urls, now()).map(drop)),
                [(Event::Changed, name())]
            );
            assert_eq!(
                change(&|it| host_category::opt_out(it, host.id, category_id).map(drop)),
                [(Event::OptedOut, name())]
            );
            assert_eq!(change(&|it| category::list(it).map(drop)), []);
            assert_eq!(change(&|it| host::delete(it, host.id).map(drop)), [(Event::Gone, name())]);
        });
    }
}
