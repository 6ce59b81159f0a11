//! `portolan site --server`.

use serde_json::json;

use super::{Remote, fields};
use crate::{
    cli::{
        site::{Command, SiteEdit, tell, tell_all, tell_removed},
        table::Answer,
    },
    connector::Verb,
    mirror::SiteName,
    teller::SiteView,
};

pub(in crate::cli) async fn answer(command: Command, server: &Remote) -> anyhow::Result<Answer> {
    match command {
        Command::Add { name, url, private } => add(server, &name, url, private).await,
        Command::List => tell_all(&server.list::<SiteView>("/sites").await?),
        Command::Show { name } => tell(&server.find_site(&name).await?),
        Command::Edit { name, edit } => change(server, &name, &edit).await,
        Command::Remove { name, with_hosts } => {
            let site = server.find_site(&name).await?;
            let answer = tell_removed(&name, &site.hosts, with_hosts)?;
            server.delete(&path(&site)).await?;
            Ok(answer)
        }
    }
}

fn path(site: &SiteView) -> String {
    format!("/sites/{}", site.id.0)
}

async fn add(server: &Remote, name: &SiteName, url: Option<String>, private: bool) -> anyhow::Result<Answer> {
    server.change(Verb::Post, "/sites", json!({ "name": name })).await?;
    let site = server.find_site(name).await?;
    if url.is_some() || private {
        let edit = json!({ "url": url, "private": private });
        server.change(Verb::Patch, &path(&site), edit).await?;
    }
    let view = server.find_site(name).await?;
    Ok(Answer::new(&view)?.line(format_args!("added the site {name}")))
}

async fn change(server: &Remote, name: &SiteName, edit: &SiteEdit) -> anyhow::Result<Answer> {
    let site = server.find_site(name).await?;
    server.change(Verb::Patch, &path(&site), fields(edit)?).await?;
    let view: SiteView = server.get(&path(&site)).await?;
    Ok(Answer::new(&view)?.line(format_args!("changed the site {}", view.name)))
}
