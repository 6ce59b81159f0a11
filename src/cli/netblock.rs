//! `portolan netblock`: networks whose clients a host wants first.

use anyhow::Context;
use clap::Subcommand;
use comfy_table::Table;
use serde::Serialize;

use super::{
    argument, by_hand, host,
    table::{self, Answer},
};
use crate::{
    database::{
        self, Database,
        audit::Subject,
        host::Host,
        host_netblock::{self, HostNetblock, HostNetblockChange},
    },
    mirror::{HostName, Netblock},
};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Add a network whose clients a host serves first
    Add {
        /// The host
        host: HostName,
        /// The network
        netblock: Netblock,
        /// What people call it
        #[arg(long, default_value = "", value_parser = argument::words)]
        name: String,
    },
    /// List the netblocks of one host or of all
    List {
        /// The host
        host: Option<HostName>,
    },
    /// Show a netblock of a host
    Show {
        /// The host
        host: HostName,
        /// The network
        netblock: Netblock,
    },
    /// Rename a netblock of a host
    Edit {
        /// The host
        host: HostName,
        /// The network
        netblock: Netblock,
        /// What people call it
        #[arg(long, value_parser = argument::words)]
        name: String,
    },
    /// Remove a netblock from a host
    Remove {
        /// The host
        host: HostName,
        /// The network
        netblock: Netblock,
    },
}

/// A netblock as it is shown.
#[derive(Serialize)]
pub(super) struct View {
    pub(super) host: HostName,
    pub(super) netblock: Netblock,
    pub(super) name: String,
}

pub(super) fn answer(command: Command, database: &Database) -> anyhow::Result<Answer> {
    match command {
        Command::Add { host, netblock, name } => {
            let host = host::find_own(database, &host)?;
            let subject = Subject::Host(host.id);
            let row = by_hand::change(database, subject, |it| {
                host_netblock::insert(it, host.id, &netblock, &name)
            })?;
            let message = format!("added {netblock} to {}", host.name);
            Ok(Answer::new(&view(&host, row))?.line(message))
        }
        Command::List { host } => list(database, host),
        Command::Show { host, netblock } => {
            let (host, row) = find(database, &host, &netblock)?;
            tell(&view(&host, row))
        }
        Command::Edit { host, netblock, name } => {
            host::find_own(database, &host)?;
            let (host, row) = find(database, &host, &netblock)?;
            let change = HostNetblockChange { name: Some(name.clone()), netblock: None };
            let subject = Subject::Host(host.id);
            by_hand::change(database, subject, |it| host_netblock::update(it, row.id, &change))?;
            let message = format!("changed {netblock} of {}", host.name);
            Ok(Answer::new(&view(&host, HostNetblock { name, ..row }))?.line(message))
        }
        Command::Remove { host, netblock } => {
            host::find_own(database, &host)?;
            let (host, row) = find(database, &host, &netblock)?;
            by_hand::change(database, Subject::Host(host.id), |it| host_netblock::delete(it, row.id))?;
            Ok(Answer::message(&format!("removed {netblock} from {}", host.name))?)
        }
    }
}

fn find(database: &Database, host: &HostName, netblock: &Netblock) -> anyhow::Result<(Host, HostNetblock)> {
    let host = host::find(database, host)?;
    let row = database.read(|it| host_netblock::find(it, host.id, netblock))?.with_context(|| {
        let name = &host.name;
        format!("{name} has no netblock {netblock}; `portolan netblock list {name}` shows all")
    })?;
    Ok((host, row))
}

fn list(database: &Database, host: Option<HostName>) -> anyhow::Result<Answer> {
    let hosts = match host {
        Some(name) => vec![host::find(database, &name)?],
        None => database.read(database::host::list)?,
    };
    let mut views = Vec::new();
    for host in &hosts {
        let rows = database.read(|it| host_netblock::list(it, host.id))?;
        views.extend(rows.into_iter().map(|it| view(host, it)));
    }
    tell_all(&views)
}

pub(super) fn tell(view: &View) -> anyhow::Result<Answer> {
    Ok(Answer::new(view)?.table(rows(std::slice::from_ref(view))))
}

pub(super) fn tell_all(views: &[View]) -> anyhow::Result<Answer> {
    let empty = "no netblocks yet; add one: portolan netblock add HOST NETBLOCK";
    Ok(Answer::new(&views)?.list(rows(views), empty))
}

fn rows(views: &[View]) -> Table {
    let mut rows = table::list(&["HOST", "NETBLOCK", "NAME"]);
    for view in views {
        rows.add_row([table::cell(&view.host), table::cell(view.netblock), table::cell(&view.name)]);
    }
    rows
}

fn view(host: &Host, row: HostNetblock) -> View {
    View { host: host.name.clone(), netblock: row.netblock, name: row.name }
}
