//! `portolan category`: what mirrors can opt in to. The scanner makes and retires categories.

use std::collections::BTreeSet;

use clap::{Args, Subcommand};
use comfy_table::Table;
use serde::Serialize;

use super::{
    argument, explain, suggestion,
    table::{self, Answer},
};
use crate::{
    database::{
        Connection, Database, QueryResult, Time,
        category::{self, Category, CategoryChange},
        crawl::{self, Holdings},
        host, host_category,
        propagation::{self, Propagation},
        weight::{self, Weight},
    },
    mirror::{CategoryId, CategoryName, CrawlState, HostName, Serial},
    mirrorlist::{HeldTag, PublishRules},
    oci::RepositoryName,
};

/// How many states of a category are shown with who held them.
const STATES_SHOWN: i64 = 10;

#[derive(Subcommand)]
pub(super) enum Command {
    /// List all categories
    List,
    /// Show a category: its content, and who carries it
    Show {
        /// The category
        name: CategoryName,
    },
    /// Change a category's description and visibility; the rest is the export's configuration
    #[command(override_usage = "portolan category edit <NAME> <OPTIONS>")]
    Edit {
        /// The category
        name: CategoryName,
        #[command(flatten)]
        edit: CategoryEdit,
    },
}

#[derive(Args)]
#[group(required = true, multiple = true)]
pub(super) struct CategoryEdit {
    /// Free words
    #[arg(long, value_parser = argument::words)]
    description: Option<String>,
    /// Offer it to mirror admins
    #[arg(long, value_name = "BOOL")]
    visible: Option<bool>,
}

/// A category in a list.
#[derive(Serialize)]
struct Summary {
    name: CategoryName,
    description: String,
    visible: bool,
    serial: Serial,
    retired_at: Option<Time>,
    hosts: usize,
}

/// A category as it is shown.
#[derive(Serialize)]
struct View {
    name: CategoryName,
    description: String,
    visible: bool,
    serial: Serial,
    retired_at: Option<Time>,
    /// Manifests and blobs.
    files: u64,
    #[serde(flatten)]
    weight: Weight,
    repositories: Vec<RepositoryName>,
    hosts: Vec<Carrier>,
    /// The newest states, newest first, and who held each since when.
    propagation: Vec<Propagation>,
    /// Tags that still answer their former manifest.
    held_back: Vec<HeldTag>,
}

/// A host that opted in; the last four are null until a crawl has looked at it.
#[derive(Serialize)]
struct Carrier {
    host: HostName,
    state: Option<CrawlState>,
    held: Option<u64>,
    serial: Option<Serial>,
    reason: Option<String>,
    crawled_at: Option<Time>,
}

pub(super) fn answer(command: Command, database: &Database, rules: &PublishRules) -> anyhow::Result<Answer> {
    match command {
        Command::List => list(database),
        Command::Show { name } => show(database, find(database, &name)?, rules),
        Command::Edit { name, edit } => change(database, &find(database, &name)?, edit),
    }
}

/// The category of this name, or an error that names those nearest to it.
pub(super) fn find(database: &Database, name: &CategoryName) -> anyhow::Result<Category> {
    match database.read(|it| category::find(it, name))? {
        Some(category) => Ok(category),
        None => {
            let categories = database.read(category::list)?;
            Err(suggestion::unknown("category", name, categories.iter().map(|it| &it.name)))
        }
    }
}

fn list(database: &Database) -> anyhow::Result<Answer> {
    let categories = database.read(category::list)?;
    let summaries = categories.into_iter().map(|it| summary(database, it));
    let summaries = summaries.collect::<anyhow::Result<Vec<_>>>()?;
    let mut rows = table::list(&["CATEGORY", "SERIAL", "HOSTS", "VISIBLE", "RETIRED", "DESCRIPTION"]);
    for summary in &summaries {
        rows.add_row([
            table::cell(&summary.name),
            table::cell(summary.serial),
            table::cell(summary.hosts),
            table::flag(summary.visible),
            table::optional(summary.retired_at.map(table::time)),
            table::cell(&summary.description),
        ]);
    }
    let empty = "no categories yet: `[[category]]` in the configuration, `portolan export` and `portolan scan` make them";
    Ok(Answer::new(&summaries)?.list(rows, empty))
}

fn summary(database: &Database, category: Category) -> anyhow::Result<Summary> {
    let Category { id, name, description, visible, serial, retired_at, .. } = category;
    let hosts = database.read(|it| host_category::list_of_category(it, id))?.len();
    Ok(Summary { name, description, visible, serial, retired_at, hosts })
}

fn show(database: &Database, category: Category, rules: &PublishRules) -> anyhow::Result<Answer> {
    let held_back = list_held_back(database, &category, rules)?;
    let view = View { held_back, ..load(database, category)? };
    let mut rows = table::details();
    rows.add_row([table::cell("category"), table::cell(&view.name)])
        .add_row([table::cell("description"), table::cell(&view.description)])
        .add_row([table::cell("visible"), table::flag(view.visible)])
        .add_row([table::cell("retired"), table::optional(view.retired_at.map(table::time))])
        .add_row([table::cell("serial"), table::cell(view.serial)])
        .add_row([table::cell("tags"), table::cell(view.weight.tags)])
        .add_row([table::cell("manifests"), table::cell(view.weight.manifests)])
        .add_row([table::cell("blobs"), table::cell(view.weight.blobs)])
        .add_row([table::cell("files"), table::cell(view.files)])
        .add_row([table::cell("bytes"), table::cell(view.weight.bytes)])
        .add_row([table::cell("shared with others"), table::cell(view.weight.shared_bytes)])
        .add_row([table::cell("repositories"), table::lines(&view.repositories)]);
    let mut hosts = table::list(&["HOST", "STATE", "SERIAL", "HELD", "HELD AT", "REASON"]);
    for carrier in &view.hosts {
        hosts.add_row([
            table::cell(&carrier.host),
            table::state(carrier.state),
            table::optional(carrier.serial),
            table::optional(carrier.held),
            table::optional(carrier.crawled_at.map(table::time)),
            table::optional(carrier.reason.as_ref()),
        ]);
    }
    let mut held = table::list(&["TAG HELD BACK", "HELD BY", "NEEDS", "AT THE LATEST"]);
    for tag in &view.held_back {
        held.add_row([
            table::cell(format_args!("{}:{}", tag.repository, tag.tag)),
            table::cell(tag.holders),
            table::optional(tag.needed),
            table::optional(jiff::Timestamp::from_second(tag.until).ok()),
        ]);
    }
    let empty = "no host carries it; next: portolan host opt-in HOST CATEGORY --url URL";
    let answer = Answer::new(&view)?.table(rows).list(hosts, empty).table(shares(&view));
    Ok(if view.held_back.is_empty() { answer } else { answer.table(held) })
}

/// How many of the hosts that opted in hold each state now, and how many have come to it.
fn shares(view: &View) -> Table {
    let mut rows = table::list(&["SERIAL", "SCANNED", "HELD BY", "SHARE", "HELD ONCE BY"]);
    for state in &view.propagation {
        let now = state.holders.iter().filter(|it| it.until.is_none()).count();
        let ever: BTreeSet<&HostName> = state.holders.iter().map(|it| &it.host).collect();
        let percent = (now * 100).checked_div(view.hosts.len());
        rows.add_row([
            table::cell(state.serial),
            table::cell(table::time(state.published_at)),
            table::cell(now),
            table::optional(percent.map(|it| format!("{it} %"))),
            table::cell(ever.len()),
        ]);
    }
    rows
}

fn change(database: &Database, category: &Category, edit: CategoryEdit) -> anyhow::Result<Answer> {
    let name = &category.name;
    let change = CategoryChange { description: edit.description, visible: edit.visible };
    database.write_log(|it| category::update(it, category.id, &change))?;
    let summary = summary(database, find(database, name)?)?;
    Ok(Answer::new(&summary)?.line(format_args!("changed the category {name}")))
}

fn load(database: &Database, category: Category) -> anyhow::Result<View> {
    let Category { id, name, description, visible, serial, retired_at, .. } = category;
    let (weight, repositories, hosts, propagation) = database.read(|it| {
        let weight = weight::load(it, id)?;
        let propagation = propagation::list(it, id, STATES_SHOWN)?;
        Ok((weight, category::list_repositories(it, id)?, list_carriers(it, id, &name)?, propagation))
    })?;
    Ok(View {
        name,
        description,
        visible,
        serial,
        retired_at,
        files: weight.manifests + weight.blobs,
        weight,
        repositories,
        hosts,
        propagation,
        held_back: Vec::new(),
    })
}

/// Loads all that `serve` answers from, if there is a rule at all.
fn list_held_back(
    database: &Database,
    category: &Category,
    rules: &PublishRules,
) -> anyhow::Result<Vec<HeldTag>> {
    if !rules.contains_key(category.name.as_str()) {
        return Ok(Vec::new());
    }
    let snapshot = explain::load(database, rules)?;
    let held = snapshot.gate.list().into_iter().filter(|it| it.category == category.id);
    Ok(held.cloned().collect())
}

fn list_carriers(
    connection: &mut Connection,
    id: CategoryId,
    name: &CategoryName,
) -> QueryResult<Vec<Carrier>> {
    let opt_ins = host_category::list_of_category(connection, id)?;
    let mut hosts = host::list(connection)?;
    hosts.retain(|host| opt_ins.iter().any(|it| it.host_id == host.id));
    let mut carriers = Vec::with_capacity(hosts.len());
    for host in hosts {
        let found = crawl::list_holdings(connection, host.id)?.into_iter().find(|it| it.0 == *name);
        carriers.push(carrier(host.name, found.map(|it| it.1)));
    }
    Ok(carriers)
}

fn carrier(host: HostName, found: Option<Holdings>) -> Carrier {
    Carrier {
        host,
        state: found.as_ref().map(|it| it.state),
        held: found.as_ref().and_then(Holdings::set).map(|it| it.len()),
        serial: found.as_ref().and_then(|it| it.serial),
        crawled_at: found.as_ref().map(|it| it.crawled_at),
        reason: found.map(|it| it.reason),
    }
}
