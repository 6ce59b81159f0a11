use std::{net::Ipv4Addr, sync::Arc};

use anyhow::Context;
use comfy_table::{ContentArrangement, Table, presets::UTF8_FULL_CONDENSED};
use indicatif::HumanBytes;
use jiff::Timestamp;

use super::{
    image::{NAME, own_layer, shared_layer},
    pull::Pulled,
    world::{CLIENTS, World},
};
use crate::{
    database::{Connection, snapshot},
    mirror::Scheme,
    mirrorlist::{Client, Content, Holdings, Hosts, Location, Policy, Snapshot, Wanted, explain},
    oci::Digest,
};

/// What was made, and what the crawler thinks of the mirrors.
pub(super) fn print_made(world: &World) {
    println!(
        "Made in {}:\n\
         - an image of three layers for amd64 and arm64, {NAME}:1, and a newer one, {NAME}:2 = {NAME}:latest;\n\
         - a tree, exported from a registry and scanned into an SQLite database;\n\
         - three mirrors: `fresh` copied the tree now, `stale` before {NAME}:2 was there, and `broken` has a\n  \
           layer with one wrong byte.\n\n\
         The crawler found out:",
        world.folder().display(),
    );
    let mut table = table(["mirror", "country", "url", "state", "holds", "reason"]);
    for (mirror, crawled) in world.mirrors().iter().zip(world.crawled()) {
        for category in &crawled.categories {
            let held = category.held.map_or_else(String::new, |it| it.to_string());
            let (state, reason) = (category.state.to_string(), category.reason.clone());
            let (country, url) = (mirror.country.to_string(), mirror.url.to_string());
            table.add_row([mirror.name.to_string(), country, url, state, held, reason]);
        }
    }
    println!("{table}\n");
}

/// Who would serve an old layer and a new one, and why.
pub(super) async fn print_ranking(world: &World) -> anyhow::Result<()> {
    let database = Arc::clone(world.database());
    let load = move || {
        database.read(|it: &mut Connection| {
            Ok((snapshot::load_content(it)?, snapshot::load_holdings(it)?, snapshot::load_hosts(it)?))
        })
    };
    let (content, holdings, hosts) = tokio::task::spawn_blocking(load).await??;
    let snapshot = Snapshot {
        content: Arc::new(Content::new(content)?),
        holdings: Arc::new(Holdings::new(holdings)?),
        hosts: Arc::new(Hosts::new(hosts)),
    };
    println!(
        "Clients in {} count as in {}. For them, of a layer that all versions share:",
        CLIENTS.0, CLIENTS.1
    );
    println!("{}\n", ranking(&snapshot, &shared_layer())?);
    println!("And of a layer that is new in {NAME}:2:");
    println!("{}\n", ranking(&snapshot, &own_layer(2))?);
    Ok(())
}

fn ranking(snapshot: &Snapshot, digest: &Digest) -> anyhow::Result<Table> {
    let blob = snapshot.content.find_blob(digest).context("a layer is not in the database")?;
    let (address, at, policy) = (Ipv4Addr::LOCALHOST.into(), Timestamp::now().as_second(), Policy::default());
    let client = Client::new(&snapshot.hosts, address, Location::default(), Scheme::Http, at, &policy);
    let wanted = Wanted { repository: NAME, number: blob.number, most: usize::MAX };
    let (offers, left_out) = explain(snapshot, &client, &wanted);
    let mut table = table(["place", "mirror", "class or reason"]);
    for (place, offer) in (1..).zip(&offers) {
        table.add_row([place.to_string(), offer.host.name.clone(), offer.class.to_string()]);
    }
    for (host, reason) in &left_out {
        table.add_row(["-".to_owned(), host.name.clone(), reason.to_string()]);
    }
    Ok(table)
}

/// What to type while the demo runs.
pub(super) fn print_lines_to_try(url: &str) {
    let host = url.trim_start_matches("http://");
    let (old, new) = (shared_layer(), own_layer(2));
    println!(
        "Try, in another terminal:\n\n  \
           docker pull {host}/{NAME}\n  \
           curl -sI {url}/v2/{NAME}/blobs/{new}\n  \
           curl -s -o /dev/null -D - {url}/v2/{NAME}/blobs/{old}\n  \
           curl -s -o /dev/null -D - {url}/v2/{NAME}/blobs/{new}\n  \
           curl '{url}/metalink?repo={NAME}&tag=latest&version=4'\n\n\
         The second and third curl show in Location who serves an old and a new layer. Ctrl-C ends the demo.",
    );
}

/// Who served what.
pub(super) fn print_pulled(pulled: &[Pulled]) {
    println!("Pulled {NAME}:latest through ourselves; every digest is right:");
    let mut table = table(["platform", "part", "digest", "size", "served by"]);
    for it in pulled {
        let size = HumanBytes(it.size).to_string();
        let (platform, what) = (it.platform.clone(), it.what.to_owned());
        table.add_row([platform, what, it.digest.to_string(), size, it.sender.clone()]);
    }
    println!("{table}");
}

fn table<const COLUMNS: usize>(header: [&str; COLUMNS]) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header);
    table
}
