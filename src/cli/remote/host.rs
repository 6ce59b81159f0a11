//! `portolan host --server`.

use anyhow::{Context as _, ensure};
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Remote, fields, only_there};
use crate::{
    cli::{
        host::{
            Command, HostAdd, HostEdit, TokenCommand,
            opt_in::{not_carried, tell_drained as tell_category_drained},
            repair, tell_all, tell_drained, tell_token, tell_tokens, view,
        },
        table::Answer,
    },
    connector::Verb,
    database::host_token::HostToken,
    mirror::{Asn, CategoryName, HostName, HostUrl, RsyncUrl},
    notice::Repair,
    teller::HostView,
};

/// What a host carries, in the API's words.
#[derive(Deserialize)]
struct OptIn {
    id: i64,
    category: CategoryName,
}

pub(in crate::cli) async fn answer(command: Command, server: &Remote) -> anyhow::Result<Answer> {
    match command {
        Command::Add { name, add } => insert(server, &name, &add).await,
        Command::List => tell_all(&server.list::<HostView>("/hosts").await?),
        Command::Show { name, repair: false } => view::show(&server.find_host(&name).await?),
        Command::Show { name, repair: true } => repair::tell(&name, &repairs(server.find_host(&name).await?)),
        Command::Edit { name, edit } => change(server, &name, &edit).await,
        Command::Remove { name } => {
            let host = server.find_host(&name).await?;
            server.delete(&path(&host)).await?;
            Ok(Answer::message(&format!("removed the host {name}"))?)
        }
        Command::Drain { name, category } => drain(server, &name, category.as_ref(), true).await,
        Command::Undrain { name, category } => drain(server, &name, category.as_ref(), false).await,
        Command::OptIn { host, category, urls, rsync } => {
            opt_in(server, &host, &category, &urls, rsync.as_ref()).await
        }
        Command::OptOut { host, category } => opt_out(server, &host, &category).await,
        Command::Token(command) => token(server, command).await,
    }
}

fn path(host: &HostView) -> String {
    format!("/hosts/{}", host.id.0)
}

fn repairs(host: HostView) -> Vec<Repair> {
    let repairs = host.categories.into_iter().map(|it| Repair { category: it.name, files: it.repair });
    repairs.filter(|it| !it.files.is_empty()).collect()
}

/// A host is made by its name, and then gets what else is said of it.
async fn insert(server: &Remote, name: &HostName, add: &HostAdd) -> anyhow::Result<Answer> {
    let site = server.find_site(&add.site).await?;
    let mut said = fields(add)?;
    // What a new host is anyway; not all of it everybody may say.
    said.retain(|_, it| !matches!(it, Value::Bool(false)) && *it != json!("") && *it != json!([]));
    said.retain(|_, it| *it != json!("static"));
    let country = said.remove("country");
    let new = json!({ "name": name, "country": country });
    server.change(Verb::Post, &format!("/sites/{}/hosts", site.id.0), new).await?;
    let host = server.find_host(name).await?;
    let asn = said.remove("asn").map(|it| (it, true));
    let rest = edit(server, &host, said, asn, None).await;
    let waits = rest.with_context(|| format!("added the host {name}, but not all that was said of it"))?;
    let answer = Answer::new(&server.find_host(name).await?)?;
    let next = format!("added the host {name}; next: portolan host opt-in {name} CATEGORY --url URL");
    Ok(waits.into_iter().fold(answer.line(next), Answer::line))
}

async fn change(server: &Remote, name: &HostName, options: &HostEdit) -> anyhow::Result<Answer> {
    let host = server.find_host(name).await?;
    let mut said = fields(options)?;
    if said.contains_key("site") {
        return Err(only_there("a host goes to another site"));
    }
    let asn = match (said.remove("asn"), said.remove("asn_clients")) {
        (None, None) => None,
        (asn, clients) => {
            let clients = clients.and_then(|it| it.as_bool()).unwrap_or(host.asn_clients);
            Some((asn.unwrap_or_else(|| json!(host.asn)), clients))
        }
    };
    let peers = said.remove("peer_asns").map(serde_json::from_value::<Option<Vec<Asn>>>).transpose()?;
    let waits = edit(server, &host, said, asn, peers.map(Option::unwrap_or_default)).await?;
    let view: HostView = server.get(&path(&host)).await?;
    let answer = Answer::new(&view)?.line(format_args!("changed the host {}", view.name));
    Ok(waits.into_iter().fold(answer, Answer::line))
}

/// Says it by as many requests as it takes. What waits for an operator is told.
async fn edit(
    server: &Remote,
    host: &HostView,
    said: Map<String, Value>,
    asn: Option<(Value, bool)>,
    peers: Option<Vec<Asn>>,
) -> anyhow::Result<Option<String>> {
    let path = path(host);
    let mut done = Vec::new();
    if !said.is_empty() {
        done.push(server.change(Verb::Patch, &path, said).await?);
    }
    if let Some((asn, asn_clients)) = asn {
        let body = json!({ "asn": asn, "asn_clients": asn_clients });
        done.push(server.change(Verb::Put, &format!("{path}/asn"), body).await?);
    }
    if let Some(peers) = peers {
        for gone in host.peer_asns.iter().filter(|it| !peers.contains(it)) {
            done.push(server.delete(&format!("{path}/peers/{}", gone.number())).await?);
        }
        for new in peers.iter().filter(|it| !host.peer_asns.contains(it)) {
            done.push(server.change(Verb::Post, &format!("{path}/peers"), json!({ "asn": new })).await?);
        }
    }
    Ok(done.into_iter().find(|it| it.waits()).map(|it| it.message))
}

async fn drain(
    server: &Remote,
    name: &HostName,
    category: Option<&CategoryName>,
    drained: bool,
) -> anyhow::Result<Answer> {
    let host = server.find_host(name).await?;
    let path = path(&host);
    let drained_part = match category {
        Some(category) => format!("{path}/opt-in/{}", find_opt_in(server, &host, category).await?.id),
        None => path.clone(),
    };
    server.change(Verb::Put, &format!("{drained_part}/drain"), json!({ "drained": drained })).await?;
    let view: HostView = server.get(&path).await?;
    match category {
        Some(category) => tell_category_drained(&view, category, drained),
        None => tell_drained(&view, drained),
    }
}

async fn list_opt_ins(server: &Remote, host: &HostView) -> anyhow::Result<Vec<OptIn>> {
    Ok(server.get(&format!("{}/opt-in", path(host))).await?)
}

async fn find_opt_in(server: &Remote, host: &HostView, category: &CategoryName) -> anyhow::Result<OptIn> {
    let known = list_opt_ins(server, host).await?.into_iter().find(|it| it.category == *category);
    known.ok_or_else(|| not_carried(&host.name, category))
}

async fn opt_in(
    server: &Remote,
    name: &HostName,
    category: &CategoryName,
    urls: &[HostUrl],
    rsync: Option<&RsyncUrl>,
) -> anyhow::Result<Answer> {
    let host = server.find_host(name).await?;
    let path = format!("{}/opt-in", path(&host));
    let known = list_opt_ins(server, &host).await?.into_iter().find(|it| it.category == *category);
    let done = match known {
        Some(known) => {
            let body = json!({ "urls": urls, "rsync": rsync });
            server.change(Verb::Put, &format!("{path}/{}", known.id), body).await?
        }
        None => {
            let body = json!({ "category": category, "urls": urls, "rsync": rsync });
            server.change(Verb::Post, &path, body).await?
        }
    };
    let view = server.find_host(name).await?;
    let message = format!("{name} carries {category} now; it is offered once a crawl has found it there");
    Ok(done.tell(Answer::new(&view)?, message))
}

async fn opt_out(server: &Remote, name: &HostName, category: &CategoryName) -> anyhow::Result<Answer> {
    let host = server.find_host(name).await?;
    let known = find_opt_in(server, &host, category).await?;
    server.delete(&format!("{}/opt-in/{}", path(&host), known.id)).await?;
    let view: HostView = server.find_host(name).await?;
    Ok(Answer::new(&view)?.line(format_args!("{name} carries {category} no longer")))
}

async fn token(server: &Remote, command: TokenCommand) -> anyhow::Result<Answer> {
    let (TokenCommand::Create { host: name, .. }
    | TokenCommand::List { host: name }
    | TokenCommand::Remove { host: name, .. }) = &command;
    let path = format!("{}/tokens", path(&server.find_host(name).await?));
    match command {
        TokenCommand::Create { host, expires } => {
            let known: Vec<HostToken> = server.get(&path).await?;
            let days = expires.map(days_until).transpose()?;
            let done = server.change(Verb::Post, &path, json!({ "days": days })).await?;
            let token = done.token.context("the server told no token")?;
            let all: Vec<HostToken> = server.get(&path).await?;
            let new = all.into_iter().find(|it| known.iter().all(|known| known.id != it.id));
            let new = new.context("the server lists no new token")?;
            tell_token(new.id, host, token, new.expires_at)
        }
        TokenCommand::List { .. } => tell_tokens(&server.get::<Vec<HostToken>>(&path).await?),
        TokenCommand::Remove { host, id } => {
            server.delete(&format!("{path}/{id}")).await?;
            Ok(Answer::message(&format!("removed token {id} of the host {host}"))?)
        }
    }
}

/// Whole days until one begins: a token lives at most until then.
fn days_until(date: Date) -> anyhow::Result<i64> {
    let then = date.to_zoned(TimeZone::UTC).context("the day of --expires")?.timestamp();
    let days = (then.as_second() - Timestamp::now().as_second()).div_euclid(24 * 3600);
    ensure!(days > 0, "--expires is a day of the past, or within 24 hours");
    Ok(days)
}
