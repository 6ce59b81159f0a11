use super::{
    Desk, Next, Page, Refusal,
    block::{Blank, Cell, Kind, Table, optional, text, tick},
    home,
    reply::Done,
};
use crate::{
    database::{
        account,
        audit::{self, Subject},
        host as hosts, imported,
        site::{self, NewSite, Site, SiteChange},
    },
    mirror::{AccountName, PAGE_LENGTH, Role, SiteName, capture::MEASURED, is_page},
};

/// Sites that one account keeps alone, if it is no operator's; and that it adds in 30 days, for they can be given away.
const MOST_SITES: usize = 5;

/// `GET /desk/sites/{site}`: the site, its keepers and its hosts.
pub(super) fn show(desk: &mut Desk<'_>) -> Result<Page, Refusal> {
    let site = desk.site()?;
    let path = format!("/desk/sites/{}", site.id.0);
    let is_imported = imported::find_site(desk.connection, site.id)?.is_some();
    let may = desk.account.role >= Role::MirrorAdmin && !is_imported;
    let mut page = Page::new(site.name.to_string());
    if is_imported {
        page.text("This site is kept in MirrorManager: edit it there. The next import brings the change.");
    }
    let rows = hosts::list_of_site(desk.connection, site.id)?.iter().map(|it| home::row(desk, it)).collect();
    let header = &["Host", "State", "Carries", "Country"];
    page.heading("Hosts").table(Table { label: "Hosts", header, rows }, "It has no hosts yet.");
    if may {
        let form = Blank::new(format!("{path}/hosts"), "Add")
            .field(Kind::Text, "name", "Host name", "", "Such as mirror.example.org.")
            .field(Kind::Text, "country", "Country", "", "Where it stands: two letters, such as DE.");
        page.heading("Add a host").form(form.again(desk));
    }
    show_keepers(desk, &site, &path, may, &mut page)?;
    if may {
        page.heading("Edit").form(edit_form(desk, &site, &path));
        let form = Blank::new(format!("{path}/remove"), "Remove the site with its hosts").grave().field(
            Kind::Text,
            "name",
            "To be sure: the site's name",
            "",
            "Clients are sent to none of its hosts any more, from 2 seconds on.",
        );
        page.heading("Remove").form(form.again(desk));
    }
    Ok(page)
}

fn show_keepers(
    desk: &mut Desk<'_>,
    site: &Site,
    path: &str,
    may: bool,
    page: &mut Page,
) -> Result<(), Refusal> {
    let keepers = account::list_keepers(desk.connection, site.id)?;
    let row = |name: &AccountName| {
        let form = Blank::new(format!("{path}/keepers/{name}/remove"), "Remove").about(name.to_string());
        let mut row = vec![text(name)];
        row.extend(may.then_some(Cell::Button(form)));
        row
    };
    let rows = keepers.iter().map(row).collect();
    let header: &[_] = if may { &["Account", "Action"] } else { &["Account"] };
    page.heading("Who keeps it").table(Table { label: "Keepers", header, rows }, "Only operators.");
    if may {
        let form = Blank::new(format!("{path}/keepers"), "Add").field(
            Kind::Text,
            "name",
            "Another account",
            "",
            "It may then do with the site all that you may.",
        );
        page.form(form.again(desk));
    }
    Ok(())
}

fn edit_form(desk: &Desk<'_>, site: &Site, path: &str) -> Blank {
    let form = Blank::new(format!("{path}/edit"), "Save")
        .field(Kind::Text, "name", "Name", &site.name, "")
        .field(Kind::Text, "url", "The organisation's page", optional(site.org_url.as_ref()), "")
        .field(
            Kind::Check,
            "private",
            "Private",
            tick(site.private),
            "Its hosts are shown to nobody outside their networks.",
        )
        .field(Kind::Check, "user_active", "On", tick(site.user_active), "Clients may be sent to its hosts.");
    let form = match desk.is_operator() {
        true => form.field(Kind::Check, "admin_active", "On, by operators", tick(site.admin_active), ""),
        false => form,
    };
    form.again(desk)
}

/// A site without a host.
pub(super) fn new_form(desk: &Desk<'_>) -> Blank {
    Blank::new("/desk/sites", "Add")
        .field(Kind::Text, "name", "Name of the site", "", "The organisation that runs the hosts.")
        .again(desk)
}

/// `POST /desk/sites`
pub(super) fn create(desk: &mut Desk<'_>) -> Result<Next, Refusal> {
    desk.form.has_only(&["name"])?;
    let name = desk.form.value("name", "Name")?;
    let site = insert(desk, name)?;
    Ok(Next::See(format!("/desk/sites/{}", site.id.0), Done::Saved))
}

/// The sites that nobody but this account keeps: others can make it a keeper of theirs without asking.
fn list_sole(desk: &mut Desk<'_>) -> Result<Vec<Site>, Refusal> {
    let mut sole = Vec::new();
    for site in account::list_sites(desk.connection, desk.account.id)? {
        if account::list_keepers(desk.connection, site.id)?.len() == 1 {
            sole.push(site);
        }
    }
    Ok(sole)
}

/// A site of the account's own, to which a host may be added without asking which.
pub(super) fn find_sole(desk: &mut Desk<'_>) -> Result<Option<Site>, Refusal> {
    for site in list_sole(desk)? {
        if imported::find_site(desk.connection, site.id)?.is_none() {
            return Ok(Some(site));
        }
    }
    Ok(None)
}

/// Makes a site that the account keeps.
pub(super) fn insert(desk: &mut Desk<'_>, name: SiteName) -> Result<Site, Refusal> {
    if !desk.is_operator() && list_sole(desk)?.len() >= MOST_SITES {
        return Err(Refusal::Bad(format!("An account keeps at most {MOST_SITES} sites: ask the operators.")));
    }
    let since = desk.now.before(MEASURED);
    let made = audit::count_made(desk.connection, desk.account.name.as_str(), "site", since)?;
    if !desk.is_operator() && made >= MOST_SITES as i64 {
        return Err(Refusal::Bad(format!(
            "An account adds at most {MOST_SITES} sites in 30 days: ask the operators."
        )));
    }
    let new = NewSite { name, org_url: None, private: false, created_at: desk.now };
    let site = site::insert(desk.connection, &new)?;
    account::add_keeper(desk.connection, site.id, desk.account.id)?;
    audit::note_new(desk.connection, desk.account.name.as_str(), Subject::Site(site.id), desk.now)?;
    Ok(site)
}

/// Refused for what is kept in MirrorManager.
fn own(desk: &mut Desk<'_>) -> Result<Site, Refusal> {
    let site = desk.site()?;
    if imported::find_site(desk.connection, site.id)?.is_some() {
        return Err(Refusal::Bad("This site is kept in MirrorManager: edit it there.".to_owned()));
    }
    Ok(site)
}

/// What this account can change of a site.
pub(super) fn fields(desk: &Desk<'_>) -> &'static [&'static str] {
    match desk.is_operator() {
        true => &["name", "url", "private", "user_active", "admin_active"],
        false => &["name", "url", "private", "user_active"],
    }
}

/// `POST /desk/sites/{site}/edit`
pub(super) fn edit(desk: &mut Desk<'_>) -> Result<Next, Refusal> {
    let site = own(desk)?;
    desk.form.has_only(fields(desk))?;
    let page = desk.form.text("url");
    if !page.is_empty() && !is_page(page) {
        return Err(Refusal::Bad(format!(
            "The organisation's page: a web address of at most {PAGE_LENGTH} bytes."
        )));
    }
    let name: SiteName = desk.form.value("name", "Name")?;
    if name != site.name && is_banned(desk, &site)? {
        return Err(Refusal::Bad(BANNED.to_owned()));
    }
    let change = SiteChange {
        name: Some(name),
        org_url: Some((!page.is_empty()).then(|| page.to_owned())),
        private: Some(desk.form.is_ticked("private")),
        user_active: Some(desk.form.is_ticked("user_active")),
        admin_active: desk.is_operator().then(|| desk.form.is_ticked("admin_active")),
    };
    desk.noting(Subject::Site(site.id), |it| site::update(it, site.id, &change))?;
    Ok(Next::See(format!("/desk/sites/{}", site.id.0), Done::Saved))
}

/// Who was switched off by operators does not come back under another name, or as new.
pub(super) fn is_banned(desk: &mut Desk<'_>, site: &Site) -> Result<bool, Refusal> {
    if desk.is_operator() {
        return Ok(false);
    }
    let hosts = hosts::list_of_site(desk.connection, site.id)?;
    Ok(!site.admin_active || hosts.iter().any(|it| !it.admin_active))
}

/// What is said to those.
pub(super) const BANNED: &str = "Operators have switched this off: ask them.";

/// `POST /desk/sites/{site}/remove`
pub(super) fn remove(desk: &mut Desk<'_>) -> Result<Next, Refusal> {
    let site = own(desk)?;
    desk.form.has_only(&["name"])?;
    if is_banned(desk, &site)? {
        return Err(Refusal::Bad(BANNED.to_owned()));
    }
    if desk.form.text("name") != site.name.as_str() {
        return Err(Refusal::Bad(format!("To remove it, write its name: {}", site.name)));
    }
    for host in hosts::list_of_site(desk.connection, site.id)? {
        desk.noting(Subject::Host(host.id), |it| hosts::delete(it, host.id))?;
    }
    desk.noting(Subject::Site(site.id), |it| site::delete(it, site.id))?;
    Ok(Next::See("/desk".to_owned(), Done::Removed))
}

/// `POST /desk/sites/{site}/keepers`
pub(super) fn add_keeper(desk: &mut Desk<'_>) -> Result<Next, Refusal> {
    let site = own(desk)?;
    desk.form.has_only(&["name"])?;
    let name: AccountName = desk.form.value("name", "Account")?;
    let account = account::find(desk.connection, &name)?;
    let account = account.ok_or_else(|| Refusal::Bad(format!("There is no account {name}.")))?;
    desk.noting(Subject::Site(site.id), |it| account::add_keeper(it, site.id, account.id))?;
    Ok(Next::See(format!("/desk/sites/{}", site.id.0), Done::Saved))
}

/// `POST /desk/sites/{site}/keepers/{item}/remove`
pub(super) fn remove_keeper(desk: &mut Desk<'_>) -> Result<Next, Refusal> {
    let site = own(desk)?;
    desk.form.has_only(&[])?;
    let name: AccountName = desk.item.parse().map_err(|_| Refusal::Missing)?;
    let account = account::find(desk.connection, &name)?.ok_or(Refusal::Missing)?;
    if !desk.is_operator() && account::list_keepers(desk.connection, site.id)?.len() == 1 {
        return Err(Refusal::Bad(
            "Somebody has to keep the site: add another account first, or remove the site.".to_owned(),
        ));
    }
    desk.noting(Subject::Site(site.id), |it| account::remove_keeper(it, site.id, account.id))?;
    let is_own = name == desk.account.name && !desk.is_operator();
    let path = if is_own { "/desk".to_owned() } else { format!("/desk/sites/{}", site.id.0) };
    Ok(Next::See(path, Done::Removed))
}
