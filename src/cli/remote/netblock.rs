//! `portolan netblock --server`.

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::json;

use super::{Remote, only_there};
use crate::{
    cli::{
        netblock::{Command, View, tell, tell_all},
        table::Answer,
    },
    connector::Verb,
    mirror::{HostName, Netblock},
    teller::HostView,
};

/// A netblock of a host, in the API's words.
#[derive(Deserialize)]
struct Row {
    id: i64,
    netblock: Netblock,
    name: String,
}

pub(in crate::cli) async fn answer(command: Command, server: &Remote) -> anyhow::Result<Answer> {
    match command {
        Command::Add { name, .. } if !name.is_empty() => Err(only_there("netblocks get names")),
        Command::Edit { .. } => Err(only_there("netblocks are renamed")),
        Command::Add { host, netblock, .. } => {
            let path = path(&server.find_host(&host).await?);
            let done = server.change(Verb::Post, &path, json!({ "netblock": netblock })).await?;
            let view = View { host, netblock, name: String::new() };
            Ok(done.tell(Answer::new(&view)?, format_args!("added {netblock} to {}", view.host)))
        }
        Command::List { host: None } => {
            let mut views = Vec::new();
            for host in server.list::<HostView>("/hosts").await? {
                views.extend(list(server, &host).await?);
            }
            tell_all(&views)
        }
        Command::List { host: Some(name) } => {
            let host = server.find_host(&name).await?;
            tell_all(&list(server, &host).await?)
        }
        Command::Show { host, netblock } => {
            let row = find(server, &server.find_host(&host).await?, &netblock).await?;
            tell(&View { host, netblock, name: row.name })
        }
        Command::Remove { host: name, netblock } => {
            let host = server.find_host(&name).await?;
            let row = find(server, &host, &netblock).await?;
            server.delete(&format!("{}/{}", path(&host), row.id)).await?;
            Ok(Answer::message(&format!("removed {netblock} from {name}"))?)
        }
    }
}

fn path(host: &HostView) -> String {
    format!("/hosts/{}/netblocks", host.id.0)
}

async fn list(server: &Remote, host: &HostView) -> anyhow::Result<Vec<View>> {
    // Most hosts have none.
    if host.netblocks.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<Row> = server.get(&path(host)).await?;
    let view = |it: Row| View { host: host.name.clone(), netblock: it.netblock, name: it.name };
    Ok(rows.into_iter().map(view).collect())
}

async fn find(server: &Remote, host: &HostView, netblock: &Netblock) -> anyhow::Result<Row> {
    let rows: Vec<Row> = server.get(&path(host)).await?;
    let row = rows.into_iter().find(|it| it.netblock == *netblock);
    row.with_context(|| missing(&host.name, netblock))
}

fn missing(name: &HostName, netblock: &Netblock) -> String {
    format!("{name} has no netblock {netblock}; `portolan netblock list {name}` shows all")
}
