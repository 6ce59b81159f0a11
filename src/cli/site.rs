//! `portolan site`: organisations that run hosts.

use anyhow::bail;
use clap::{Args, Subcommand};
use serde::Serialize;

use super::{
    argument, by_hand, imported, suggestion,
    table::{self, Answer},
};
use crate::{
    database::{
        Database, Error,
        audit::Subject,
        host,
        site::{self, NewSite, Site, SiteChange},
    },
    mirror::{HostName, SiteName},
    teller::SiteView,
};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Add a site: an organisation that runs hosts
    Add {
        /// What to call it
        name: SiteName,
        /// The organisation's page
        #[arg(long, value_parser = argument::page)]
        url: Option<String>,
        /// Show its hosts to nobody outside their netblocks and autonomous systems
        #[arg(long)]
        private: bool,
    },
    /// List all sites
    List,
    /// Show a site and its hosts
    Show {
        /// The site
        name: SiteName,
    },
    /// Change a site
    #[command(override_usage = "portolan site edit <NAME> <OPTIONS>")]
    Edit {
        /// The site
        name: SiteName,
        #[command(flatten)]
        edit: SiteEdit,
    },
    /// Remove a site
    Remove {
        /// The site
        name: SiteName,
        /// Remove its hosts too
        #[arg(long)]
        with_hosts: bool,
    },
}

#[derive(Args, Serialize)]
#[group(required = true, multiple = true)]
pub(super) struct SiteEdit {
    /// What to call it from now on
    #[arg(long = "name", value_name = "NAME")]
    #[serde(rename = "name")]
    new_name: Option<SiteName>,
    /// The organisation's page
    #[arg(long, value_parser = argument::page)]
    url: Option<String>,
    /// Show its hosts to nobody outside their netblocks and autonomous systems
    #[arg(long, value_name = "BOOL")]
    private: Option<bool>,
    /// Its own admins want it on
    #[arg(long, value_name = "BOOL")]
    user_active: Option<bool>,
    /// The operators want it on
    #[arg(long, value_name = "BOOL")]
    admin_active: Option<bool>,
}

pub(super) fn answer(command: Command, database: &Database) -> anyhow::Result<Answer> {
    match command {
        Command::Add { name, url, private } => add(database, name, url, private),
        Command::List => list(database),
        Command::Show { name } => tell(&load(database, &find(database, &name)?)?),
        Command::Edit { name, edit } => change(database, &find_own(database, &name)?, edit),
        Command::Remove { name, with_hosts } => remove(database, &find_own(database, &name)?, with_hosts),
    }
}

/// The site of this name, or an error that names those nearest to it.
pub(super) fn find(database: &Database, name: &SiteName) -> anyhow::Result<Site> {
    match database.read(|it| site::find(it, name))? {
        Some(site) => Ok(site),
        None => {
            let sites = database.read(site::list)?;
            Err(suggestion::unknown("site", name, sites.iter().map(|it| &it.name)))
        }
    }
}

/// The same, unless it comes from elsewhere.
fn find_own(database: &Database, name: &SiteName) -> anyhow::Result<Site> {
    let site = find(database, name)?;
    imported::refuse_site(database, &site)?;
    Ok(site)
}

fn add(database: &Database, name: SiteName, url: Option<String>, private: bool) -> anyhow::Result<Answer> {
    let new = NewSite { name, org_url: url, private, created_at: jiff::Timestamp::now().into() };
    let site = by_hand::make(database, |it| site::insert(it, &new), |it| Subject::Site(it.id))?;
    let message = format!("added the site {}", site.name);
    Ok(Answer::new(&load(database, &site)?)?.line(message))
}

fn list(database: &Database) -> anyhow::Result<Answer> {
    let sites = database.read(site::list)?;
    let views = sites.iter().map(|it| load(database, it)).collect::<Result<Vec<_>, _>>()?;
    tell_all(&views)
}

pub(super) fn tell_all(views: &[SiteView]) -> anyhow::Result<Answer> {
    let mut rows = table::list(&["SITE", "HOSTS", "PRIVATE", "BY ITS ADMINS", "BY OPERATORS", "PAGE"]);
    for view in views {
        rows.add_row([
            table::cell(&view.name),
            table::cell(view.hosts.len()),
            table::flag(view.private),
            table::switch(view.user_active),
            table::switch(view.admin_active),
            table::optional(view.url.as_ref()),
        ]);
    }
    Ok(Answer::new(&views)?.list(rows, "no sites yet; add one: portolan site add NAME"))
}

pub(super) fn tell(view: &SiteView) -> anyhow::Result<Answer> {
    let mut rows = table::details();
    rows.add_row([table::cell("site"), table::cell(&view.name)])
        .add_row([table::cell("page"), table::optional(view.url.as_ref())])
        .add_row([table::cell("private"), table::flag(view.private)])
        .add_row([table::cell("by its admins"), table::switch(view.user_active)])
        .add_row([table::cell("by operators"), table::switch(view.admin_active)])
        .add_row([table::cell("added"), table::cell(table::time(view.created_at))])
        .add_row([table::cell("from"), table::optional(table::origin("site", view.mirrormanager_id))])
        .add_row([
            table::cell("accounts"),
            table::lines(view.keepers.iter().map(ToString::to_string).chain(view.admins.clone())),
        ])
        .add_row([table::cell("hosts"), table::lines(&view.hosts)]);
    Ok(Answer::new(view)?.table(rows))
}

fn change(database: &Database, site: &Site, edit: SiteEdit) -> anyhow::Result<Answer> {
    let name = edit.new_name.clone().unwrap_or_else(|| site.name.clone());
    let change = SiteChange {
        name: edit.new_name,
        org_url: edit.url.map(Some),
        private: edit.private,
        user_active: edit.user_active,
        admin_active: edit.admin_active,
    };
    by_hand::change(database, Subject::Site(site.id), |it| site::update(it, site.id, &change))?;
    let view = load(database, &find(database, &name)?)?;
    Ok(Answer::new(&view)?.line(format_args!("changed the site {name}")))
}

/// Looks for hosts and removes in one transaction: no host slips in between.
fn remove(database: &Database, site: &Site, with_hosts: bool) -> anyhow::Result<Answer> {
    let hosts = by_hand::change(database, Subject::Site(site.id), |it| {
        let hosts = host::list_of_site(it, site.id)?;
        if hosts.is_empty() || with_hosts {
            site::delete(it, site.id)?;
        }
        Ok(hosts)
    })?;
    let hosts: Vec<_> = hosts.into_iter().map(|it| it.name).collect();
    tell_removed(&site.name, &hosts, with_hosts)
}

/// That it is gone, or an error when it has hosts and nobody said that they may go, too.
pub(super) fn tell_removed(name: &SiteName, hosts: &[HostName], with_hosts: bool) -> anyhow::Result<Answer> {
    let names: Vec<&str> = hosts.iter().map(HostName::as_str).collect();
    let names = names.join(", ");
    if hosts.is_empty() {
        return Ok(Answer::message(&format!("removed the site {name}"))?);
    }
    if !with_hosts {
        bail!("the site {name} still has hosts ({names}): remove them first, or say --with-hosts");
    }
    Ok(Answer::message(&format!("removed the site {name} with its hosts ({names})"))?)
}

fn load(database: &Database, site: &Site) -> Result<SiteView, Error> {
    database.read(|it| SiteView::load(it, site))
}
