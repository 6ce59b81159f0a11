//! A host as it is shown: `portolan host show`.

use comfy_table::{Cell, Table};
use indicatif::HumanBytes;

use super::{Answer, table};
use crate::{
    database::{Database, Error, experience::Demotion, host::Host, lease::Schedule},
    mirror::{CrawlState, MultiRange},
    notice,
    teller::{CategoryView, ClientsView, HostView, UrlView},
};

/// So many hours of what was sent stand in the table.
const HOURS_IN_TABLE: usize = 3;

/// All that is known of a host.
pub(super) fn load(database: &Database, host: &Host) -> Result<HostView, Error> {
    database.read(|it| HostView::load(it, host, jiff::Timestamp::now().into()))
}

/// Tells each reason once, at the first place where it matters.
pub(in crate::cli) fn show(view: &HostView) -> anyhow::Result<Answer> {
    let now = jiff::Timestamp::now().into();
    let mut answer = Answer::new(view)?;
    for reason in &view.not_offered {
        answer = answer.line(format_args!("not offered: {reason}"));
    }
    answer = tell_clients(&view.clients, answer).table(facts(view));
    if !view.categories.is_empty() {
        answer = answer.table(opt_ins(&view.categories));
    }
    let mut told = view.not_offered.clone();
    let is_told = |told: &[String], reason: &str| told.iter().any(|it| it.contains(reason));
    for url in view.categories.iter().flat_map(|it| &it.urls) {
        let Some(reason) = &url.reason else { continue };
        if !without_families(reason).all(|it| is_told(&told, it)) {
            answer = answer.line(format_args!("{}: {reason}", url.url));
            told.push(reason.clone());
        }
    }
    let facts = view.categories.iter().flat_map(|it| &it.urls).filter_map(url_facts);
    answer = facts.fold(answer, Answer::line);
    for url in view.categories.iter().flat_map(|it| &it.urls) {
        let Some(days) = url.facts.as_ref().and_then(|it| it.days_left(now)) else { continue };
        answer = answer.line(format_args!("{}: {}", url.url, notice::certificate_warning(days)));
    }
    for category in view.categories.iter().filter(|it| !it.repair.is_empty()) {
        let (name, files) = (&category.name, table::count(category.repair.len(), "file"));
        let command = format!("portolan host show {} --repair", view.name);
        answer = answer.line(format_args!("{name}: {files} to repair; `{command}` lists them, and how"));
    }
    if let Some(crawl) = &view.last_crawl {
        let seconds = crawl.duration_ms as f64 / 1000.0;
        let at = table::time(crawl.started_at);
        answer = answer.line(format_args!("crawled at {at} in {seconds:.1} s: {}", crawl.state));
        let news = crawl.log.iter().filter(|it| !is_told(&told, reason_of(it)));
        answer = news.fold(answer, Answer::line);
        told.extend(crawl.log.iter().cloned());
        for (name, reason) in view.categories.iter().filter_map(|it| Some((&it.name, it.reason.as_ref()?))) {
            let since = reason.split("; ").filter(|it| !is_told(&told, it));
            answer = since.fold(answer, |answer, it| answer.line(format_args!("{name} since then: {it}")));
        }
    }
    Ok(answer)
}

/// The reasons why a URL is down: `IPv4: REASON; IPv6: REASON`, `IPv4 and IPv6: REASON`.
fn without_families(reason: &str) -> impl Iterator<Item = &str> {
    reason.split("; ").map(|it| it.split_once(": ").map_or(it, |it| it.1))
}

/// What stands behind the state in a line of a crawl's log: `fedora URL: behind: REASON`.
fn reason_of(line: &str) -> &str {
    let behind = |it: CrawlState| line.split_once(&format!(": {it}: "));
    CrawlState::ALL.into_iter().find_map(behind).map_or(line, |it| it.1)
}

/// How it answers, in one line.
fn url_facts(url: &UrlView) -> Option<String> {
    let facts = url.facts.as_ref()?;
    let speed = facts.bytes_per_second.map(|it| format!("{:.1} MB/s", it as f64 / 1e6));
    let ranges = facts.multi_range.map(|it| {
        let answer = match it {
            MultiRange::Parts => "both parts",
            MultiRange::Single => "one part",
            MultiRange::Whole => "the whole file",
            MultiRange::Wrong => "something else",
        };
        format!("answers a request for two ranges with {answer}")
    });
    let kept = facts.keeps_alive.map(|it| {
        if it { "keeps connections" } else { "closes the connection after each answer" }.to_owned()
    });
    let end = facts.certificate_ends_at.map(|it| format!("its certificate lasts until {}", table::time(it)));
    let told: Vec<String> = [speed, ranges, kept, end].into_iter().flatten().collect();
    (!told.is_empty()).then(|| format!("{}: {}", url.url, told.join(", ")))
}

fn facts(view: &HostView) -> Table {
    let mut rows = table::details();
    rows.add_row([table::cell("host"), table::cell(&view.name)])
        .add_row([table::cell("site"), table::optional(view.site.as_ref())])
        .add_row([table::cell("from"), table::optional(table::origin("host", view.mirrormanager_id))])
        .add_row([table::cell("country"), table::optional(view.country)])
        .add_row([table::cell("place"), table::optional(view.place)])
        .add_row([table::cell("AS number"), table::optional(view.asn)])
        .add_row([table::cell("its clients first"), table::flag(view.asn_clients)])
        .add_row([table::cell("peer AS numbers"), table::lines(&view.peer_asns)])
        .add_row([table::cell("netblocks"), table::lines(&view.netblocks)])
        .add_row([table::cell("countries allowed"), table::lines(&view.countries_allowed)])
        .add_row([table::cell("countries denied"), table::lines(&view.countries_denied)])
        .add_row([table::cell("kind"), table::cell(view.kind)])
        .add_row([table::cell("percent of clients"), table::optional(view.share)])
        .add_row([table::cell("bytes a day"), table::optional(view.daily_bytes)])
        .add_row([table::cell("largest file"), table::optional(view.max_file_size)])
        .add_row([table::cell("last lied"), table::optional(view.last_lied_at.map(table::time))])
        .add_row([table::cell("Mbit/s"), table::optional(view.bandwidth)])
        .add_row([table::cell("private"), table::flag(view.private)])
        .add_row([table::cell("by its admins"), table::switch(view.user_active)])
        .add_row([table::cell("by operators"), table::switch(view.admin_active)])
        .add_row([table::cell("by the crawler"), table::switch(view.auto_disabled.is_none())])
        .add_row([table::cell("drained"), table::flag(view.drained)])
        .add_row([table::cell("sent to it"), sent(&view.clients)])
        .add_row([table::cell("contacts"), table::lines(&view.contacts)])
        .add_row([table::cell("comment"), table::cell(&view.comment)])
        .add_row([table::cell("added"), table::cell(table::time(view.created_at))])
        .add_row([table::cell("last crawled"), table::optional(view.last_crawled_at.map(table::time))])
        .add_row([table::cell("next crawl"), table::optional(view.schedule.as_ref().map(next_crawl))]);
    rows
}

fn next_crawl(schedule: &Schedule) -> String {
    if let (Some(_), Some(until)) = (&schedule.holder, schedule.leased_until) {
        return format!("now, by a crawler that has it until {}", table::time(until));
    }
    table::time(schedule.next_crawl_at.max(schedule.not_before.unwrap_or(schedule.next_crawl_at))).to_string()
}

/// State and serial are what the last crawl found. What is held is what the last crawl that could tell found,
/// and that may be an older one.
fn opt_ins(categories: &[CategoryView]) -> Table {
    let mut rows = table::list(&["CATEGORY", "STATE", "SERIAL", "HELD", "HELD AT", "URL", "IPV4", "IPV6"]);
    for category in categories {
        rows.add_row([
            table::cell(&category.name),
            table::state(category.state),
            table::optional(category.serial),
            table::optional(category.held),
            table::optional(category.crawled_at.map(table::time)),
            table::lines(category.urls.iter().map(|it| &it.url)),
            table::lines(category.urls.iter().map(|it| it.ipv4)),
            table::lines(category.urls.iter().map(|it| it.ipv6)),
        ]);
    }
    rows
}

/// Why not all clients near it are sent to it.
fn tell_clients(clients: &ClientsView, mut answer: Answer) -> Answer {
    if let Some(kept) = clients.kept_of_thousand {
        let percent = f64::from(kept) / 10.0;
        answer = answer.line(format_args!(
            "{percent} % of the clients near it are sent to it: more came in an hour than its bandwidth carries"
        ));
    }
    for Demotion { region, until, reason } in &clients.demoted {
        let until = table::time(*until);
        answer = answer.line(format_args!("not offered to clients in {region} until {until}: {reason}"));
    }
    answer
}

/// What was sent in the newest hours.
fn sent(clients: &ClientsView) -> Cell {
    let hours = clients.sent.iter().take(HOURS_IN_TABLE);
    table::lines(hours.map(|it| {
        let bytes = HumanBytes(it.bytes.cast_unsigned());
        format!("{bytes} in the hour from {}", table::time(it.hour))
    }))
}
