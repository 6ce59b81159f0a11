use std::{fmt::Write as _, net::Ipv4Addr, sync::Arc};

use anyhow::Context;
use indicatif::HumanBytes;
use jiff::Timestamp;

use super::{
    image::{NAME, own_layer, shared_layer},
    pull::Pulled,
    world::{CLIENTS, World},
};
use crate::{
    cli::{explain, print, table},
    database::Database,
    mirror::Scheme,
    mirrorlist::{Client, Location, Policy, Snapshot},
    oci::Digest,
};

/// What was made, and what the crawler thinks of the mirrors.
pub(super) fn print_made(world: &World) -> anyhow::Result<()> {
    let mut text = format!(
        "Made in {}:\n\
         - an image of three layers for amd64 and arm64, {NAME}:1, and a newer one, {NAME}:2 = {NAME}:latest;\n\
         - a tree, exported from a registry and scanned into an SQLite database;\n\
         - three mirrors: `fresh` copied the tree now, `stale` before {NAME}:2 was there, and `broken` has a\n  \
           layer with one wrong byte.\n\n\
         The crawler found out:\n",
        world.folder().display(),
    );
    let mut rows = table::list(&["MIRROR", "COUNTRY", "URL", "STATE", "FOUND", "REASON"]);
    for (mirror, crawled) in world.mirrors().iter().zip(world.crawled()) {
        for category in &crawled.categories {
            rows.add_row([
                table::cell(&mirror.name),
                table::cell(mirror.country),
                table::cell(&mirror.url),
                table::state(Some(category.state)),
                table::optional(category.held),
                table::cell(&category.reason),
            ]);
        }
    }
    let _ = writeln!(text, "{rows}\n");
    print(&text)
}

/// Who would serve an old layer and a new one, and why.
pub(super) async fn print_ranking(world: &World) -> anyhow::Result<()> {
    let database = Arc::clone(world.database());
    let (old, new) = tokio::task::spawn_blocking(move || rankings(&database)).await??;
    print(&format!(
        "Who serves a layer that all versions share ({} counts as {} here):\n{old}\n\
         And who a layer that is new in {NAME}:2:\n{new}\n",
        CLIENTS.0, CLIENTS.1,
    ))
}

/// Of an old layer, and of a new one.
pub(super) fn rankings(database: &Database) -> anyhow::Result<(String, String)> {
    let snapshot = explain::load(database, &Default::default())?;
    let ranking = |layer| ranking(database, &snapshot, &layer);
    Ok((ranking(shared_layer())?, ranking(own_layer(2))?))
}

fn ranking(database: &Database, snapshot: &Snapshot, digest: &Digest) -> anyhow::Result<String> {
    let blob = snapshot.content.find_blob(digest).context("a layer is not in the database")?;
    let (address, now, policy) =
        (Ipv4Addr::LOCALHOST.into(), Timestamp::now().as_second(), Policy::default());
    let client = Client::new(&snapshot.hosts, address, Location::default(), Scheme::Http, now, &policy);
    Ok(explain::render(&explain::explain(database, snapshot, &client, &NAME.parse()?, blob)?))
}

/// What to type while the demo runs.
pub(super) fn print_lines_to_try(url: &str) -> anyhow::Result<()> {
    let host = url.trim_start_matches("http://");
    let (old, new) = (shared_layer(), own_layer(2));
    print(&format!(
        "Try, in another terminal:\n\n  \
           docker pull {host}/{NAME}\n  \
           curl -sI {url}/v2/{NAME}/blobs/{new}\n  \
           curl -s -o /dev/null -D - {url}/v2/{NAME}/blobs/{old}\n  \
           curl -s -o /dev/null -D - {url}/v2/{NAME}/blobs/{new}\n  \
           curl '{url}/metalink?repo={NAME}&tag=latest&version=4'\n\n\
         The second and third curl show in Location who serves an old and a new layer. Ctrl-C ends the demo.\n",
    ))
}

/// Who served what.
pub(super) fn print_pulled(pulled: &[Pulled]) -> anyhow::Result<()> {
    let mut rows = table::list(&["PLATFORM", "PART", "DIGEST", "SIZE", "SERVED BY"]);
    for it in pulled {
        rows.add_row([
            table::cell(&it.platform),
            table::cell(it.what),
            table::cell(it.digest),
            table::cell(HumanBytes(it.size)),
            table::cell(&it.sender),
        ]);
    }
    print(&format!("Pulled {NAME}:latest through ourselves; every digest is right:\n{rows}\n"))
}
