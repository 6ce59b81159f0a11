use super::{
    Desk, Next, Page, Refusal,
    block::{Blank, Block, Cell, Kind, Table, optional, text, tick},
    opt_in,
    reply::Done,
    site, snippet, token, wish,
};
use crate::{
    database::{
        Time,
        audit::{self, Subject},
        crawl,
        host::{self, Host, HostChange, NewHost},
        host_country, host_netblock, imported, lease,
        site::Site,
    },
    mirror::{
        Bandwidth, Country, HostId, HostKind, HostName, Percent, Place, Role,
        capture::{self, Wish},
        is_contact,
    },
    notice::REPAIR_HEAD,
    server::pages::text as words,
    teller,
};

/// Hosts of one site whose keeper is no operator.
const MOST_HOSTS: usize = 50;

/// Bytes of a comment.
const COMMENT: usize = 2000;

/// Mail addresses of a host.
const CONTACTS: usize = 10;

/// Crawls on a page.
const CRAWLS: i64 = 10;

/// A host is crawled by a press of the button once in so many seconds.
const CRAWL_EVERY: i64 = 60;

/// Files of a repair list on a page.
const FILES: usize = 100;

/// While a crawl is due or runs, its page looks anew after so many seconds.
const AGAIN: u32 = 3;

/// `GET /desk/hosts/{host}`: all that is known of the host, and all that its keepers can do.
pub(super) fn show(desk: &mut Desk<'_>) -> Result<Page, Refusal> {
    let host = desk.host()?;
    let may = desk.account.role >= Role::MirrorAdmin;
    let is_imported = imported::find_host(desk.connection, host.id)?.is_some();
    let mut page = Page::new(host.name.to_string());
    if is_imported {
        page.text("This host is kept in MirrorManager: edit it there. Here it can be drained, crawled, and given what MirrorManager does not know.");
    }
    show_standing(desk, &host, &mut page)?;
    opt_in::show(desk, &host, may && !is_imported, &mut page)?;
    show_crawls(desk, &host, may, &mut page)?;
    if may {
        show_switches(&host, &mut page);
    }
    wish::show(desk, &host, may && !is_imported, &mut page)?;
    token::show(desk, &host, may, &mut page)?;
    if may {
        snippet::show(desk, &host, &mut page)?;
    }
    if may {
        let form = edit_form(desk, &host, is_imported)?;
        page.heading("Edit").form(form);
    }
    if may && !is_imported {
        let form = Blank::new(format!("{}/remove", path(host.id)), "Remove the host").grave().field(
            Kind::Text,
            "name",
            "To be sure: the host's name",
            "",
            "Clients are not sent to it any more, from 2 seconds on.",
        );
        page.heading("Remove").form(form.again(desk));
    }
    Ok(page)
}

pub(super) fn path(host: HostId) -> String {
    format!("/desk/hosts/{}", host.0)
}

fn show_standing(desk: &mut Desk<'_>, host: &Host, page: &mut Page) -> Result<(), Refusal> {
    let snapshot = &desk.current.snapshot;
    let known = snapshot.hosts.list().iter().find(|it| it.id == host.id);
    let standing = known.map_or("unknown", |it| snapshot.standing(it, desk.now.unix_seconds()).as_str());
    let mut facts = vec![
        ("State", standing.to_owned()),
        ("Country", optional(host.country)),
        ("Mbit/s", optional(host.bandwidth)),
        ("Kind", host.kind.to_string()),
    ];
    if let Some(reason) = &host.auto_disabled_reason {
        facts.push(("Off by the crawler", reason.clone()));
    }
    for (is_on, what) in [
        (host.user_active, "Off by its admins"),
        (host.admin_active, "Off by operators"),
        (!host.drained, "Drained"),
    ] {
        if !is_on {
            facts.push((what, "no client is sent to it".to_owned()));
        }
    }
    page.add(Block::Facts(facts));
    Ok(())
}

/// `GET /desk/hosts/{host}/crawl`: how the crawl goes, or what it found. A page of its own, for it looks anew by itself, and
/// that would lose what somebody types.
pub(super) fn show_crawl(desk: &mut Desk<'_>) -> Result<Page, Refusal> {
    let host = desk.host()?;
    let mut page = Page::new(format!("Crawl of {}", host.name));
    if let Some(schedule) = lease::find(desk.connection, host.id)? {
        let is_running = schedule.leased_until.is_some_and(|it| it > desk.now);
        if is_running || schedule.next_crawl_at <= desk.now {
            page.again = Some(AGAIN);
            let what = match is_running {
                true => "A crawler is looking at it now.",
                false => "A crawl is due: it begins as soon as a crawler is free.",
            };
            page.text(format!("{what} This page looks anew every {AGAIN} seconds."));
        } else {
            let at = words::time(schedule.next_crawl_at.unix_seconds());
            page.text(format!("No crawl is due; the next one is at {at}."));
        }
    }
    list_crawls(desk, &host, &mut page)?;
    page.add(Block::Link(path(host.id), format!("Back to {}", host.name)));
    Ok(page)
}

fn show_crawls(desk: &mut Desk<'_>, host: &Host, may: bool, page: &mut Page) -> Result<(), Refusal> {
    page.heading("What crawls found");
    list_crawls(desk, host, page)?;
    page.add(Block::Link(format!("{}/crawl", path(host.id)), "How the crawl goes".to_owned()));
    if may {
        page.form(Blank::new(format!("{}/crawl", path(host.id)), "Crawl it now"));
    }
    for repair in teller::list_repairs(desk.connection, host.id)? {
        page.heading(format!("To repair in {}: {} files", repair.category, repair.files.len()))
            .text(format!(
                "{REPAIR_HEAD} rsync alone does not send a file again whose size and time are right; this line does."
            ))
            .add(Block::Code(repair.lines(FILES).join("\n")));
    }
    Ok(())
}

fn list_crawls(desk: &mut Desk<'_>, host: &Host, page: &mut Page) -> Result<(), Refusal> {
    let crawls = crawl::list(desk.connection, host.id, CRAWLS)?;
    let row = |it: &crawl::Crawl| {
        let seconds = it.duration_ms as f64 / 1000.0;
        vec![
            text(words::ago(it.started_at.unix_seconds(), desk.now.unix_seconds())),
            text(format!("{seconds:.1} s")),
            Cell::State(it.state.to_string()),
            Cell::Lines(it.log.lines().map(str::to_owned).collect()),
        ]
    };
    let table = Table {
        label: "Crawls",
        header: &["When", "Took", "Found", "Why"],
        rows: crawls.iter().map(row).collect(),
    };
    page.table(table, "No crawl has looked at it yet.");
    Ok(())
}

fn show_switches(host: &Host, page: &mut Page) {
    page.heading("For maintenance").form(drain_form(&path(host.id), host.drained));
}

/// Takes what is at this path out of answers, or brings it back.
pub(super) fn drain_form(path: &str, drained: bool) -> Blank {
    let (to, button) =
        if drained { ("", "Offer it again") } else { ("on", "Drain it: no client is sent to it") };
    Blank::new(format!("{path}/drain"), button).field(Kind::Hidden, "drained", "", to, "")
}

fn edit_form(desk: &mut Desk<'_>, host: &Host, is_imported: bool) -> Result<Blank, Refusal> {
    let denied = host_country::denied::list(desk.connection, host.id)?;
    let allowed = host_country::allowed::list(desk.connection, host.id)?;
    let mut form = Blank::new(format!("{}/edit", path(host.id)), "Save");
    if !is_imported {
        form = form
            .field(Kind::Text, "name", "Host name", &host.name, "")
            .field(Kind::Text, "country", "Country", optional(host.country), "Where it stands: two letters.")
            .field(
                Kind::Text,
                "place",
                "Place",
                optional(host.place()),
                "Latitude and longitude in degrees, such as 52.5,13.4.",
            )
            .field(
                Kind::Text,
                "bandwidth",
                "Mbit/s",
                optional(host.bandwidth),
                "What it can send. More than 10,000: an operator looks at it first.",
            )
            .field(Kind::Text, "countries_allowed", "Only these countries", list(&allowed), "Empty: all.")
            .field(
                Kind::Check,
                "private",
                "Private",
                tick(host.private),
                "Shown to nobody outside its own networks.",
            )
            .field(Kind::Check, "user_active", "On", tick(host.user_active), "Clients may be sent to it.")
            .field(Kind::Area, "comment", "Comment", &host.comment, "Free words, for you and the operators.");
    }
    form = form
        .field(Kind::Text, "countries_denied", "Not these countries", list(&denied), "")
        .field(
            Kind::Text,
            "share",
            "Percent of clients",
            optional(host.client_share),
            "So many of a hundred clients may be sent to it. Empty: all.",
        )
        .field(
            Kind::Text,
            "daily_bytes",
            "Bytes a day",
            optional(host.daily_bytes),
            "At most so much, such as 500G. Empty: any.",
        )
        .field(
            Kind::Text,
            "max_file_size",
            "Largest file",
            optional(host.max_file_size),
            "Such as 2G. Empty: any.",
        )
        .field(
            Kind::Area,
            "contacts",
            "Mail addresses",
            &host.contacts,
            "One a line: told when the host fails or has wrong bytes.",
        );
    if desk.is_operator() {
        let kinds = [HostKind::Static, HostKind::PullThrough, HostKind::Cdn];
        let kinds = kinds.map(|it| (it.to_string(), it.to_string())).to_vec();
        form = form
            .field(
                Kind::Choice(kinds),
                "kind",
                "Kind",
                host.kind,
                "pull-through and cdn hold everything by your word.",
            )
            .field(Kind::Check, "admin_active", "On, by operators", tick(host.admin_active), "");
    }
    Ok(form.again(desk))
}

fn list(countries: &[Country]) -> String {
    let names: Vec<_> = countries.iter().map(ToString::to_string).collect();
    names.join(" ")
}

/// `POST /desk/sites/{site}/hosts`
pub(super) fn create(desk: &mut Desk<'_>) -> Result<Next, Refusal> {
    let site = desk.site()?;
    desk.form.has_only(&["name", "country"])?;
    let (name, country) = (desk.form.value("name", "Host name")?, desk.form.country("country")?);
    let host = insert(desk, &site, name, country)?;
    Ok(Next::See(path(host.id), Done::Saved))
}

/// Adds a host to a site.
pub(super) fn insert(
    desk: &mut Desk<'_>,
    site: &Site,
    name: HostName,
    country: Option<Country>,
) -> Result<Host, Refusal> {
    if imported::find_site(desk.connection, site.id)?.is_some() {
        return Err(Refusal::Bad("This site is kept in MirrorManager: add the host there.".to_owned()));
    }
    if !desk.is_operator() && host::list_of_site(desk.connection, site.id)?.len() >= MOST_HOSTS {
        return Err(Refusal::Bad(format!("A site has at most {MOST_HOSTS} hosts: ask the operators.")));
    }
    let new = NewHost {
        site_id: site.id,
        name,
        country,
        latitude: None,
        longitude: None,
        asn: None,
        asn_clients: true,
        bandwidth: None,
        private: false,
        contacts: desk.account.mail.clone(),
        comment: String::new(),
        created_at: desk.now,
        kind: HostKind::Static,
        client_share: None,
        daily_bytes: None,
        max_file_size: None,
    };
    let host = host::insert(desk.connection, &new)?;
    audit::note_new(desk.connection, desk.account.name.as_str(), Subject::Host(host.id), desk.now)?;
    Ok(host)
}

/// Fields that MirrorManager keeps for its hosts.
const IMPORTED: [&str; 8] =
    ["name", "country", "place", "bandwidth", "countries_allowed", "private", "user_active", "comment"];

/// Fields of every host.
const OURS: [&str; 5] = ["countries_denied", "share", "daily_bytes", "max_file_size", "contacts"];

/// What this account can change of a host.
pub(super) fn fields(desk: &Desk<'_>, is_imported: bool) -> Vec<&'static str> {
    let mut fields = OURS.to_vec();
    fields.extend(IMPORTED.iter().filter(|_| !is_imported));
    fields.extend(["kind", "admin_active"].iter().filter(|_| desk.is_operator()));
    fields
}

/// `POST /desk/hosts/{host}/edit`
pub(super) fn edit(desk: &mut Desk<'_>) -> Result<Next, Refusal> {
    let host = desk.host()?;
    let is_imported = imported::find_host(desk.connection, host.id)?.is_some();
    desk.form.has_only(&fields(desk, is_imported))?;
    let mut change = ours(desk)?;
    let mut waits = false;
    if !is_imported {
        let bandwidth: Option<Bandwidth> = desk.form.optional("bandwidth", "Mbit/s")?;
        change = theirs(desk, change)?;
        if change.name.as_ref() != Some(&host.name) {
            check_not_banned(desk)?;
        }
        if change.private == Some(false) {
            check_networks(desk, &host)?;
        }
        match bandwidth.filter(|it| Some(*it) != host.bandwidth) {
            Some(bandwidth) => waits = wish::seek(desk, &host, &Wish::Bandwidth(bandwidth))?,
            None if bandwidth.is_none() => change.bandwidth = Some(None),
            None => {}
        }
    }
    let denied = desk.form.list("countries_denied", "Not these countries")?;
    let allowed = match is_imported {
        true => None,
        false => Some(desk.form.list("countries_allowed", "Only these countries")?),
    };
    desk.noting(Subject::Host(host.id), |it| {
        host::update(it, host.id, &change)?;
        host_country::denied::replace(it, host.id, &denied)?;
        allowed.map_or(Ok(()), |allowed| host_country::allowed::replace(it, host.id, &allowed))
    })?;
    Ok(Next::See(path(host.id), if waits { Done::Waits } else { Done::Saved }))
}

fn ours(desk: &Desk<'_>) -> Result<HostChange, Refusal> {
    let form = desk.form;
    let contacts: Vec<String> = form.list("contacts", "Mail addresses")?;
    if contacts.len() > CONTACTS || contacts.iter().any(|it| !is_contact(it)) {
        return Err(Refusal::Bad(format!(
            "Mail addresses: at most {CONTACTS}, one a line, such as ann@example.org."
        )));
    }
    let share: Option<Percent> = form.optional("share", "Percent of clients")?;
    Ok(HostChange {
        contacts: Some(contacts.join("\n")),
        client_share: Some(share),
        daily_bytes: Some(form.optional("daily_bytes", "Bytes a day")?),
        max_file_size: Some(form.optional("max_file_size", "Largest file")?),
        kind: if desk.is_operator() { form.optional("kind", "Kind")? } else { None },
        admin_active: desk.is_operator().then(|| form.is_ticked("admin_active")),
        ..HostChange::default()
    })
}

fn theirs(desk: &Desk<'_>, change: HostChange) -> Result<HostChange, Refusal> {
    let form = desk.form;
    let place: Option<Place> = form.optional("place", "Place")?;
    Ok(HostChange {
        name: Some(form.value("name", "Host name")?),
        country: Some(form.country("country")?),
        latitude: Some(place.map(Place::latitude)),
        longitude: Some(place.map(Place::longitude)),
        private: Some(form.is_ticked("private")),
        user_active: Some(form.is_ticked("user_active")),
        comment: Some(form.words("comment", "Comment", COMMENT)?),
        ..change
    })
}

/// `POST /desk/hosts/{host}/remove`
pub(super) fn remove(desk: &mut Desk<'_>) -> Result<Next, Refusal> {
    let host = own(desk)?;
    desk.form.has_only(&["name"])?;
    if desk.form.text("name") != host.name.as_str() {
        return Err(Refusal::Bad(format!("To remove it, write its name: {}", host.name)));
    }
    check_not_banned(desk)?;
    desk.noting(Subject::Host(host.id), |it| host::delete(it, host.id))?;
    Ok(Next::See(format!("/desk/sites/{}", host.site_id.0), Done::Removed))
}

/// `POST /desk/hosts/{host}/drain`
pub(super) fn drain(desk: &mut Desk<'_>) -> Result<Next, Refusal> {
    let host = desk.host()?;
    desk.form.has_only(&["drained"])?;
    let change = HostChange { drained: Some(desk.form.is_ticked("drained")), ..HostChange::default() };
    desk.noting(Subject::Host(host.id), |it| host::update(it, host.id, &change))?;
    Ok(Next::See(path(host.id), Done::Saved))
}

/// `POST /desk/hosts/{host}/crawl`
pub(super) fn crawl(desk: &mut Desk<'_>) -> Result<Next, Refusal> {
    let host = desk.host()?;
    desk.form.has_only(&[])?;
    let age = |it: Time| desk.now.unix_seconds() - it.unix_seconds();
    if host.last_crawled_at.is_some_and(|it| age(it) < CRAWL_EVERY) {
        return Err(Refusal::Bad("A crawler looked at it a moment ago: wait a minute.".to_owned()));
    }
    lease::make_due(desk.connection, host.id, desk.now)?;
    Ok(Next::See(format!("{}/crawl", path(host.id)), Done::Due))
}

fn check_not_banned(desk: &mut Desk<'_>) -> Result<(), Refusal> {
    let site = desk.site()?;
    if site::is_banned(desk, &site)? { Err(Refusal::Bad(site::BANNED.to_owned())) } else { Ok(()) }
}

/// A host that all the world sees has no network that stands in many places.
fn check_networks(desk: &mut Desk<'_>, host: &Host) -> Result<(), Refusal> {
    let networks = host_netblock::list(desk.connection, host.id)?;
    match networks.iter().find(|it| !capture::is_one_place(&it.netblock)) {
        None => Ok(()),
        Some(it) => Err(Refusal::Bad(format!(
            "Private: the network {} stands in many places, so only a private host may have it. Remove it first.",
            it.netblock
        ))),
    }
}

/// The host of the path, unless it is kept in MirrorManager.
pub(super) fn own(desk: &mut Desk<'_>) -> Result<Host, Refusal> {
    let host = desk.host()?;
    if imported::find_host(desk.connection, host.id)?.is_some() {
        return Err(Refusal::Bad("This host is kept in MirrorManager: edit it there.".to_owned()));
    }
    Ok(host)
}
