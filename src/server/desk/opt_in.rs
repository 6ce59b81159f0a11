use super::{
    Desk, Next, Page, Refusal,
    block::{Blank, Block, Kind, optional},
    home, host,
    reply::Done,
    wish,
};
use crate::{
    database::{audit::Subject, category, host::Host, host_category},
    mirror::{CategoryId, CategoryName, HostCategoryId, HostUrl, RsyncUrl, capture::Wish},
};

/// URLs of one opt-in.
const MOST_URLS: usize = 10;

/// What the host carries, where, and the forms that change it.
pub(super) fn show(desk: &mut Desk<'_>, host: &Host, may: bool, page: &mut Page) -> Result<(), Refusal> {
    page.heading("What it carries");
    let opt_ins = host_category::list(desk.connection, host.id)?;
    if opt_ins.is_empty() {
        page.text("Nothing yet: opt in to a category.");
    }
    for (opt_in, name) in &opt_ins {
        let urls = host_category::list_urls(desk.connection, opt_in.id)?;
        let rsync = host_category::find_rsync_url(desk.connection, opt_in.id)?;
        let answers = urls.iter().map(|it| {
            (
                "URL",
                format!(
                    "{}: IPv4 {}, IPv6 {}{}",
                    it.url,
                    it.ipv4_reach,
                    it.ipv6_reach,
                    it.reach_reason.as_ref().map(|it| format!(" ({it})")).unwrap_or_default()
                ),
            )
        });
        let mut facts = vec![("Category", name.to_string())];
        facts.extend(opt_in.drained.then(|| ("Drained", "no client is sent there for it".to_owned())));
        facts.extend(answers);
        page.add(Block::Facts(facts));
        if !may {
            continue;
        }
        let lines: Vec<_> = urls.iter().map(|it| it.url.to_string()).collect();
        let action = format!("{}/opt-in/{}", host::path(host.id), opt_in.id.0);
        let form = Blank::new(format!("{action}/urls"), "Save the URLs")
            .about(name.to_string())
            .field(Kind::Area, "urls", "URLs", lines.join("\n"), "One a line: the folder of the category.")
            .field(
                Kind::Text,
                "rsync",
                "rsync URL",
                optional(rsync),
                "Where our crawler may list the folder; clients never see it. It may be empty.",
            );
        page.form(form.again(desk));
        page.form(host::drain_form(&action, opt_in.drained).about(name.to_string()));
        page.form(Blank::new(format!("{action}/remove"), "Opt out").about(name.to_string()).grave());
    }
    if may {
        let carried: Vec<_> = opt_ins.iter().map(|it| it.1.to_string()).collect();
        let mut choices = home::category_choices(desk)?;
        choices.retain(|it| !carried.contains(&it.0));
        if !choices.is_empty() {
            let form = Blank::new(format!("{}/opt-in", host::path(host.id)), "Opt in")
                .field(Kind::Choice(choices), "category", "Category", "", "")
                .field(Kind::Area, "urls", "URLs", "", "One a line: the folder of the category on this host.")
                .field(
                    Kind::Text,
                    "rsync",
                    "rsync URL",
                    "",
                    "Where our crawler may list the folder; clients never see it. It may be empty.",
                );
            page.heading("Opt in to a category").form(form.again(desk));
        }
    }
    Ok(())
}

/// `POST /desk/hosts/{host}/opt-in`
pub(super) fn opt_in(desk: &mut Desk<'_>) -> Result<Next, Refusal> {
    let host = host::own(desk)?;
    desk.form.has_only(&["category", "urls", "rsync"])?;
    let urls = read_urls(desk)?;
    let done = carry(desk, &host, urls)?;
    Ok(Next::See(host::path(host.id), done))
}

fn read_urls(desk: &Desk<'_>) -> Result<Vec<HostUrl>, Refusal> {
    let urls: Vec<HostUrl> = desk.form.list("urls", "URLs")?;
    match urls.len() {
        0 => Err(Refusal::Bad("URLs: at least one.".to_owned())),
        1..=MOST_URLS => Ok(urls),
        _ => Err(Refusal::Bad(format!("URLs: at most {MOST_URLS}."))),
    }
}

/// Lets the host carry the category that the form names, under these URLs, and makes it due for a crawl.
pub(super) fn carry(desk: &mut Desk<'_>, host: &Host, urls: Vec<HostUrl>) -> Result<Done, Refusal> {
    let name: CategoryName = desk.form.value("category", "Category")?;
    let is_operator = desk.is_operator();
    let is_offered = |it: &category::Category| it.retired_at.is_none() && (it.visible || is_operator);
    let category = category::find(desk.connection, &name)?.filter(is_offered);
    let category = category.ok_or_else(|| Refusal::Bad(format!("Category: there is no {name}.")))?;
    set_urls(desk, host, category.id, &name, urls)
}

/// URLs on another site's host name wait for an operator; the others are set at once.
fn set_urls(
    desk: &mut Desk<'_>,
    host: &Host,
    category: CategoryId,
    name: &CategoryName,
    urls: Vec<HostUrl>,
) -> Result<Done, Refusal> {
    let rsync: Option<RsyncUrl> = desk.form.optional("rsync", "rsync URL")?;
    let before = host_category::find(desk.connection, host.id, category)?;
    let known = match &before {
        Some(opt_in) => host_category::list_urls(desk.connection, opt_in.id)?,
        None => Vec::new(),
    };
    let (mut now, mut waits) = (Vec::new(), false);
    for url in urls {
        let is_known = known.iter().any(|it| it.url == url);
        if is_known || !wish::must_wait(desk, host, &Wish::Url(name.clone(), url.clone()))? {
            now.push(url);
        } else {
            waits = true;
        }
    }
    let at = desk.now;
    desk.noting(Subject::Host(host.id), |it| {
        let opt_in = host_category::opt_in(it, host.id, category, &now, at)?;
        host_category::set_rsync_url(it, opt_in.id, rsync.as_ref())
    })?;
    Ok(if waits { Done::Waits } else { Done::OptedIn })
}

/// The opt-in of the path, if it is this host's.
fn find(desk: &mut Desk<'_>, host: &Host) -> Result<(host_category::HostCategory, CategoryName), Refusal> {
    let id = HostCategoryId(desk.number()?);
    let all = host_category::list(desk.connection, host.id)?;
    all.into_iter().find(|it| it.0.id == id).ok_or(Refusal::Missing)
}

/// `POST /desk/hosts/{host}/opt-in/{item}/urls`
pub(super) fn change_urls(desk: &mut Desk<'_>) -> Result<Next, Refusal> {
    let host = host::own(desk)?;
    desk.form.has_only(&["urls", "rsync"])?;
    let (opt_in, name) = find(desk, &host)?;
    let urls = read_urls(desk)?;
    let done = set_urls(desk, &host, opt_in.category_id, &name, urls)?;
    Ok(Next::See(host::path(host.id), done))
}

/// `POST /desk/hosts/{host}/opt-in/{item}/remove`
pub(super) fn opt_out(desk: &mut Desk<'_>) -> Result<Next, Refusal> {
    let host = host::own(desk)?;
    desk.form.has_only(&[])?;
    let (opt_in, _) = find(desk, &host)?;
    desk.noting(Subject::Host(host.id), |it| host_category::opt_out(it, host.id, opt_in.category_id))?;
    Ok(Next::See(host::path(host.id), Done::OptedOut))
}

/// `POST /desk/hosts/{host}/opt-in/{item}/drain`
pub(super) fn drain(desk: &mut Desk<'_>) -> Result<Next, Refusal> {
    let host = desk.host()?;
    desk.form.has_only(&["drained"])?;
    let (opt_in, _) = find(desk, &host)?;
    let drained = desk.form.is_ticked("drained");
    desk.noting(Subject::Host(host.id), |it| host_category::set_drained(it, opt_in.id, drained))?;
    Ok(Next::See(host::path(host.id), Done::Saved))
}
