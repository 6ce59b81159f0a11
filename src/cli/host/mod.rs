//! `portolan host`: machines that carry categories.

mod edit;
pub(super) mod opt_in;
pub(super) mod repair;
mod token;
pub(super) mod view;

#[cfg(test)]
mod tests;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::{
    argument, by_hand, imported, site, suggestion,
    table::{self, Answer},
};
use crate::{
    database::{
        Database,
        audit::Subject,
        host::{self, Host, HostChange, NewHost},
    },
    mirror::{
        Asn, Bandwidth, Bytes, CategoryName, Country, HostKind, HostName, HostUrl, Percent, Place, RsyncUrl,
        SiteName,
    },
    teller::HostView,
};
pub(super) use edit::HostEdit;
pub(super) use token::{Command as TokenCommand, tell_all as tell_tokens, tell_new as tell_token};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Add a host
    Add {
        /// What to call it: its host name, usually
        name: HostName,
        #[command(flatten)]
        add: Box<HostAdd>,
    },
    /// List all hosts
    List,
    /// Show a host: what it carries, what the last crawl found, and why it is not offered
    Show {
        /// The host
        name: HostName,
        /// Only the files that its admin has to repair, with the rsync line that does it
        #[arg(long)]
        repair: bool,
    },
    /// Change a host. An option that is given many times replaces the whole list
    #[command(override_usage = "portolan host edit <NAME> <OPTIONS>")]
    Edit {
        /// The host
        name: HostName,
        #[command(flatten)]
        edit: Box<HostEdit>,
    },
    /// Remove a host with all that belongs to it
    Remove {
        /// The host
        name: HostName,
    },
    /// Take a host out of all answers, within 2 seconds, until `undrain`
    Drain {
        /// The host
        name: HostName,
        /// Only as far as this category goes
        category: Option<CategoryName>,
    },
    /// Offer a drained host again
    Undrain {
        /// The host
        name: HostName,
        /// As far as this category goes, if it was drained for that
        category: Option<CategoryName>,
    },
    /// Let a host carry a category, under these URLs only
    OptIn {
        /// The host
        host: HostName,
        /// The category
        category: CategoryName,
        /// Where the host carries the category's folder; may be given many times
        #[arg(long = "url", value_name = "URL", required = true)]
        urls: Vec<HostUrl>,
        /// Where the crawler may list the same folder by rsync; clients never see it
        #[arg(long, value_name = "URL")]
        rsync: Option<RsyncUrl>,
    },
    /// Make, list and remove the tokens by which a host's own scripts report
    #[command(subcommand)]
    Token(token::Command),
    /// Let a host carry a category no longer
    OptOut {
        /// The host
        host: HostName,
        /// The category
        category: CategoryName,
    },
}

/// Its form as JSON is what the API takes, but for the site.
#[derive(Args, Serialize)]
pub(super) struct HostAdd {
    /// Whose it is
    #[arg(long)]
    #[serde(skip)]
    pub(super) site: SiteName,
    /// Where it stands: two letters of ISO 3166-1
    #[arg(long, value_parser = argument::country)]
    country: Option<Country>,
    /// Where exactly it stands: latitude and longitude in degrees, such as 52.5,13.4
    #[arg(long, value_name = "LATITUDE,LONGITUDE", allow_hyphen_values = true)]
    place: Option<Place>,
    /// The autonomous system it stands in
    #[arg(long)]
    asn: Option<Asn>,
    /// What it can send, in Mbit/s
    #[arg(long, value_name = "MBIT")]
    bandwidth: Option<Bandwidth>,
    /// How it comes to have content: static (files that rsync brought; crawled), pull-through (fetches what it
    /// lacks: has all that it opted in to, by your word) or cdn (the same, and used only when no other host can
    /// serve)
    #[arg(long, default_value_t)]
    kind: HostKind,
    /// So many of a hundred clients may be sent to it
    #[arg(long, value_name = "PERCENT")]
    share: Option<Percent>,
    /// So many bytes each server may send to it in a day: 500G
    #[arg(long, value_name = "BYTES")]
    daily_bytes: Option<Bytes>,
    /// The largest file that is fetched from it: 2G
    #[arg(long, value_name = "BYTES")]
    max_file_size: Option<Bytes>,
    /// Show it to nobody outside its netblocks and autonomous systems
    #[arg(long)]
    private: bool,
    /// The mail address of an admin; may be given many times
    #[arg(long = "contact", value_name = "MAIL", value_parser = argument::contact)]
    contacts: Vec<String>,
    /// Free words
    #[arg(long, default_value = "", value_parser = argument::words)]
    comment: String,
}

pub(super) fn answer(command: Command, database: &Database) -> anyhow::Result<Answer> {
    match command {
        Command::Add { name, add } => insert(database, name, *add),
        Command::List => list(database),
        Command::Show { name, repair: false } => view::show(&view::load(database, &find(database, &name)?)?),
        Command::Show { name, repair: true } => repair::show(database, &find(database, &name)?),
        Command::Edit { name, edit } => edit::change(database, &find(database, &name)?, *edit),
        Command::Remove { name } => {
            let host = find_own(database, &name)?;
            by_hand::change(database, Subject::Host(host.id), |it| host::delete(it, host.id))?;
            Ok(Answer::message(&format!("removed the host {name}"))?)
        }
        Command::Drain { name, category: None } => drain(database, &name, true),
        Command::Undrain { name, category: None } => drain(database, &name, false),
        Command::Drain { name, category: Some(category) } => opt_in::drain(database, &name, &category, true),
        Command::Undrain { name, category: Some(category) } => {
            opt_in::drain(database, &name, &category, false)
        }
        Command::OptIn { host, category, urls, rsync } => {
            opt_in::opt_in(database, &host, &category, &urls, rsync.as_ref())
        }
        Command::Token(command) => token::answer(command, database),
        Command::OptOut { host, category } => opt_in::opt_out(database, &host, &category),
    }
}

/// The host of this name, or an error that names those nearest to it.
pub(super) fn find(database: &Database, name: &HostName) -> anyhow::Result<Host> {
    match database.read(|it| host::find(it, name))? {
        Some(host) => Ok(host),
        None => {
            let hosts = database.read(host::list)?;
            Err(suggestion::unknown("host", name, hosts.iter().map(|it| &it.name)))
        }
    }
}

/// The same, unless it comes from elsewhere.
pub(super) fn find_own(database: &Database, name: &HostName) -> anyhow::Result<Host> {
    let host = find(database, name)?;
    imported::refuse_host(database, &host)?;
    Ok(host)
}

fn insert(database: &Database, name: HostName, add: HostAdd) -> anyhow::Result<Answer> {
    let site = site::find(database, &add.site)?;
    let new = NewHost {
        site_id: site.id,
        name,
        country: add.country,
        latitude: add.place.map(Place::latitude),
        longitude: add.place.map(Place::longitude),
        asn: add.asn,
        asn_clients: true,
        bandwidth: add.bandwidth,
        private: add.private,
        contacts: add.contacts.join("\n"),
        comment: add.comment,
        kind: add.kind,
        client_share: add.share,
        daily_bytes: add.daily_bytes,
        max_file_size: add.max_file_size,
        created_at: jiff::Timestamp::now().into(),
    };
    let host = by_hand::make(database, |it| host::insert(it, &new), |it| Subject::Host(it.id))?;
    let message = format!("added the host {0}; next: portolan host opt-in {0} CATEGORY --url URL", host.name);
    Ok(Answer::new(&view::load(database, &host)?)?.line(message))
}

fn drain(database: &Database, name: &HostName, drained: bool) -> anyhow::Result<Answer> {
    let host = find(database, name)?;
    let change = HostChange { drained: Some(drained), ..HostChange::default() };
    by_hand::change(database, Subject::Host(host.id), |it| host::update(it, host.id, &change))?;
    tell_drained(&view::load(database, &find(database, name)?)?, drained)
}

pub(super) fn tell_drained(view: &HostView, drained: bool) -> anyhow::Result<Answer> {
    let message = if drained { "drained" } else { "drained no more" };
    Ok(Answer::new(view)?.line(format_args!("the host {} is {message}", view.name)))
}

fn list(database: &Database) -> anyhow::Result<Answer> {
    let hosts = database.read(host::list)?;
    let views = hosts.iter().map(|it| view::load(database, it)).collect::<Result<Vec<_>, _>>()?;
    tell_all(&views)
}

pub(super) fn tell_all(views: &[HostView]) -> anyhow::Result<Answer> {
    let mut rows = table::list(&["HOST", "SITE", "COUNTRY", "MBIT/S", "CATEGORIES", "STATE", "NOT OFFERED"]);
    for view in views {
        rows.add_row([
            table::cell(&view.name),
            table::optional(view.site.as_ref()),
            table::optional(view.country),
            table::optional(view.bandwidth),
            table::lines(view.categories.iter().map(|it| &it.name)),
            table::optional(view.last_crawl.as_ref().map(|it| it.state)),
            table::lines(&view.not_offered),
        ]);
    }
    Ok(Answer::new(&views)?.list(rows, "no hosts yet; add one: portolan host add NAME --site SITE"))
}
