use std::{fmt::Write as _, net::Ipv4Addr, sync::Arc};

use anyhow::Context;
use comfy_table::{ContentArrangement, Table, presets::UTF8_HORIZONTAL_ONLY};
use indicatif::HumanBytes;
use jiff::Timestamp;

use super::{
    image::{NAME, own_layer, shared_layer},
    pull::Pulled,
    world::{CLIENTS, World},
};
use crate::{
    cli::{explain, print},
    mirror::Scheme,
    mirrorlist::{Client, Location, Policy, Snapshot},
    oci::Digest,
};

/// What was made, and what the crawler thinks of the mirrors.
pub(super) fn print_made(world: &World) {
    let mut text = format!(
        "Made in {}:\n\
         - an image of three layers for amd64 and arm64, {NAME}:1, and a newer one, {NAME}:2 = {NAME}:latest;\n\
         - a tree, exported from a registry and scanned into an SQLite database;\n\
         - three mirrors: `fresh` copied the tree now, `stale` before {NAME}:2 was there, and `broken` has a\n  \
           layer with one wrong byte.\n\n\
         The crawler found out:\n",
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
    let _ = writeln!(text, "{table}\n");
    print(&text);
}

/// Who would serve an old layer and a new one, and why.
pub(super) async fn print_ranking(world: &World) -> anyhow::Result<()> {
    let database = Arc::clone(world.database());
    let snapshot = tokio::task::spawn_blocking(move || explain::load(&database)).await??;
    let (old, new) = (ranking(&snapshot, &shared_layer())?, ranking(&snapshot, &own_layer(2))?);
    print(&format!(
        "Who serves a layer that all versions share ({} counts as {} here):\n{old}\n\
         And who a layer that is new in {NAME}:2:\n{new}\n",
        CLIENTS.0, CLIENTS.1,
    ));
    Ok(())
}

fn ranking(snapshot: &Snapshot, digest: &Digest) -> anyhow::Result<String> {
    let blob = snapshot.content.find_blob(digest).context("a layer is not in the database")?;
    let (address, now, policy) =
        (Ipv4Addr::LOCALHOST.into(), Timestamp::now().as_second(), Policy::default());
    let client = Client::new(&snapshot.hosts, address, Location::default(), Scheme::Http, now, &policy);
    Ok(explain::render(&explain::explain(snapshot, &client, &NAME.parse()?, blob)))
}

/// What to type while the demo runs.
pub(super) fn print_lines_to_try(url: &str) {
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
    ));
}

/// Who served what.
pub(super) fn print_pulled(pulled: &[Pulled]) {
    let mut table = table(["platform", "part", "digest", "size", "served by"]);
    for it in pulled {
        let size = HumanBytes(it.size).to_string();
        let (platform, what) = (it.platform.clone(), it.what.to_owned());
        table.add_row([platform, what, it.digest.to_string(), size, it.sender.clone()]);
    }
    print(&format!("Pulled {NAME}:latest through ourselves; every digest is right:\n{table}\n"));
}

fn table<const COLUMNS: usize>(header: [&str; COLUMNS]) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header);
    table
}
