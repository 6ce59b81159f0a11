use super::{
    Desk, Next, Page, Refusal,
    block::{Blank, Block, Cell, Kind, Table, link, text},
    host, opt_in, site,
};
use crate::{
    database::{account, category, host as hosts, site as sites},
    mirror::{HostName, HostUrl, Role, SiteName},
};

/// `GET /desk`: my sites and hosts, and how to begin.
pub(super) fn show(desk: &mut Desk<'_>) -> Result<Page, Refusal> {
    let own = account::list_sites(desk.connection, desk.account.id)?;
    let mut page = Page::new(if own.is_empty() { "Register your mirror" } else { "My mirrors" });
    if own.is_empty() && desk.account.role >= Role::MirrorAdmin {
        page.text("Three fields, and a crawl looks at it. All else can be told later.")
            .form(begin_form(desk)?);
        return Ok(page);
    }
    for site in own {
        let rows = hosts::list_of_site(desk.connection, site.id)?.iter().map(|it| row(desk, it)).collect();
        page.heading(site.name.to_string())
            .table(
                Table { label: "Hosts", header: &["Host", "State", "Carries", "Country"], rows },
                "It has no hosts yet.",
            )
            .add(Block::Link(
                format!("/desk/sites/{}", site.id.0),
                format!("Edit {}, add a host", site.name),
            ));
    }
    if desk.account.role >= Role::MirrorAdmin {
        page.heading("Register one more mirror").form(begin_form(desk)?);
        page.heading("Add a site without a host").form(site::new_form(desk));
    }
    Ok(page)
}

/// A host in a list, with how it stands.
pub(super) fn row(desk: &Desk<'_>, host: &hosts::Host) -> Vec<Cell> {
    let snapshot = &desk.current.snapshot;
    let known = snapshot.hosts.list().iter().find(|it| it.id == host.id);
    let standing = known.map_or("unknown", |it| snapshot.standing(it, desk.now.unix_seconds()).as_str());
    let carried = known.map(|it| snapshot.shares(it)).unwrap_or_default();
    let carried: Vec<_> =
        carried.iter().map(|it| format!("{} {} %", it.category.name, it.percent())).collect();
    vec![
        link(format!("/desk/hosts/{}", host.id.0), &host.name),
        Cell::State(standing.to_owned()),
        text(carried.join(", ")),
        text(super::block::optional(host.country)),
    ]
}

fn begin_form(desk: &mut Desk<'_>) -> Result<Blank, Refusal> {
    let choices = category_choices(desk)?;
    let form = Blank::new("/desk/mirrors", "Register")
        .field(
            Kind::Text,
            "url",
            "URL of the category's folder on your server",
            "",
            "Such as https://mirror.example.org/containers, what a browser would open.",
        )
        .field(Kind::Choice(choices), "category", "Category", "", "")
        .field(Kind::Text, "country", "Country", "", "Where the server stands: two letters, such as DE.");
    Ok(form.again(desk))
}

/// Categories that mirror admins are offered, with what each weighs.
pub(super) fn category_choices(desk: &mut Desk<'_>) -> Result<Vec<(String, String)>, Refusal> {
    let all = category::list(desk.connection)?.into_iter().filter(|it| it.retired_at.is_none() && it.visible);
    let mut choices = Vec::new();
    for category in all {
        let weight = crate::database::weight::load(desk.connection, category.id)?;
        let size = crate::server::pages::text::bytes(weight.bytes);
        choices.push((category.name.to_string(), format!("{} ({size})", category.name)));
    }
    Ok(choices)
}

/// `POST /desk/mirrors`: site, host and opt-in from one URL; names can be changed later.
pub(super) fn begin(desk: &mut Desk<'_>) -> Result<Next, Refusal> {
    desk.form.has_only(&["url", "category", "country"])?;
    let url: HostUrl = desk.form.value("url", "URL")?;
    let country = desk.form.country("country")?;
    let country = country.ok_or_else(|| Refusal::Bad("Country: it is empty.".to_owned()))?;
    let name = url.host();
    let host_name: HostName = name.parse().map_err(|error| Refusal::Bad(format!("URL: {name}: {error}.")))?;
    if hosts::find(desk.connection, &host_name)?.is_some() {
        return Err(Refusal::Bad(format!(
            "A host named {name} is registered already. If it is yours, ask its keepers to add your account, or the operators."
        )));
    }
    let site_name: SiteName = name.parse().map_err(|error| Refusal::Bad(format!("URL: {name}: {error}.")))?;
    let site = match site::find_sole(desk)? {
        Some(site) => site,
        None if sites::find(desk.connection, &site_name)?.is_some() => {
            return Err(Refusal::Bad(format!(
                "A site named {name} is registered already. Add the host to a site of yours, or ask the operators."
            )));
        }
        None => site::insert(desk, site_name)?,
    };
    let host = host::insert(desk, &site, host_name, Some(country))?;
    let done = opt_in::carry(desk, &host, vec![url])?;
    Ok(Next::See(format!("{}/crawl", host::path(host.id)), done))
}
