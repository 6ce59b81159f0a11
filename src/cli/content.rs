//! `portolan content`: what is not answered, though it is there.

use anyhow::{Context as _, bail};
use clap::Subcommand;
use serde::{Deserialize, Serialize};

use super::{
    argument, by_hand, explain,
    table::{self, Answer},
};
use crate::{
    database::{
        Connection, Database, Part, QueryResult, Sha256, Time,
        audit::Subject,
        content,
        crawl::{self, Holdings},
        host,
        repository_alias::{self, RepositoryAlias},
        withdrawal::{self, Withdrawal},
    },
    mirror::HostName,
    oci::{Digest, Reference, RepositoryName},
    tree::{CANARY_DIGEST, Tree},
};

#[derive(Subcommand)]
pub(super) enum Command {
    /// List what is withdrawn, and which hosts held it when they were last crawled
    List,
    /// Answer a digest no more: as tag, manifest, blob, referrer or metalink
    ///
    /// Every server follows within seconds; the next export leaves out the images that contain it, and removes it
    /// from the tree.
    Withdraw {
        /// Of a manifest or blob
        digest: Digest,
        /// Why, for the operators
        #[arg(long, value_parser = argument::words)]
        reason: String,
        /// Say that it is for legal reasons: 451 instead of 404
        #[arg(long)]
        legal: bool,
    },
    /// Answer a withdrawn digest again; the next export brings it back if it is gone
    Restore {
        /// Of a manifest or blob
        digest: Digest,
    },
    /// Answer a repository by a former name, too; one that is called so goes before
    Alias {
        /// The former name
        alias: RepositoryName,
        /// What it is called now
        repository: RepositoryName,
        /// For so long, as 90d; without it for ever
        #[arg(long = "for", value_name = "DURATION", value_parser = lifetime)]
        lifetime: Option<jiff::SignedDuration>,
    },
    /// Answer a repository by a former name no more
    Unalias {
        /// The former name
        alias: RepositoryName,
    },
    /// List the former names of repositories
    Aliases,
    /// Answer a tag's new manifest at once, whatever its category's rule says: for security fixes
    Publish {
        /// `fedora`, `fedora:41`
        image: String,
    },
}

/// A withdrawn digest as it is shown.
#[derive(Serialize, Deserialize)]
pub(super) struct View {
    pub(super) digest: Digest,
    reason: String,
    legal: bool,
    /// Something had this digest when it was withdrawn.
    pub(super) known: bool,
    withdrawn_at: Time,
    /// By their last crawls; null if nothing had this digest, and by the API, which does not tell.
    #[serde(default)]
    hosts: Option<Vec<HostName>>,
}

pub(super) fn answer(command: Command, database: &Database, tree: &Tree) -> anyhow::Result<Answer> {
    match command {
        Command::List => list(database),
        Command::Withdraw { digest, reason, legal } => withdraw(database, tree, digest, &reason, legal),
        Command::Restore { digest } => restore(database, tree, digest),
        Command::Alias { alias, repository, lifetime } => set_alias(database, alias, repository, lifetime),
        Command::Unalias { alias } => remove_alias(database, &alias),
        Command::Aliases => list_aliases(database),
        Command::Publish { image } => publish(database, &image),
    }
}

fn list(database: &Database) -> anyhow::Result<Answer> {
    let views = database.read(|it| {
        let held = list_holdings(it)?;
        Ok(withdrawal::list(it)?.into_iter().map(|row| view(row, &held)).collect::<Vec<_>>())
    })?;
    tell_all(&views)
}

pub(super) fn tell_all(views: &[View]) -> anyhow::Result<Answer> {
    let mut rows = table::list(&["DIGEST", "SINCE", "LEGAL", "REASON", "STILL HELD BY"]);
    for view in views {
        rows.add_row([
            table::cell(view.digest),
            table::cell(table::time(view.withdrawn_at)),
            table::flag(view.legal),
            table::cell(&view.reason),
            table::lines(view.hosts.iter().flatten()),
        ]);
    }
    Ok(Answer::new(&views)?.list(rows, "nothing is withdrawn"))
}

/// What every host holds, by name; a host stands here once for each category.
fn list_holdings(connection: &mut Connection) -> QueryResult<Vec<(HostName, Holdings)>> {
    let mut all = Vec::new();
    for host in host::list(connection)? {
        let holdings = crawl::list_holdings(connection, host.id)?;
        all.extend(holdings.into_iter().map(|(_, it)| (host.name.clone(), it)));
    }
    Ok(all)
}

fn view(row: Withdrawal, held: &[(HostName, Holdings)]) -> View {
    let Withdrawal { digest, blob_id, reason, legal, withdrawn_at } = row;
    let holders = |number: u32| {
        let has = |it: &Holdings| it.set().is_some_and(|it| it.contains(number));
        let mut names: Vec<_> = held.iter().filter(|it| has(&it.1)).map(|it| it.0.clone()).collect();
        names.dedup();
        names
    };
    let known = blob_id.is_some();
    let hosts = blob_id.and_then(|it| u32::try_from(it).ok()).map(holders);
    View { digest: digest.into(), reason, legal, known, withdrawn_at, hosts }
}

fn withdraw(
    database: &Database,
    tree: &Tree,
    digest: Digest,
    reason: &str,
    legal: bool,
) -> anyhow::Result<Answer> {
    let hash = hash(&digest)?;
    if digest == CANARY_DIGEST {
        bail!("{digest} is the blob `{{}}`, by which every mirror is asked whether it answers");
    }
    let now = jiff::Timestamp::now().into();
    let row = by_hand::change(database, Subject::Withdrawal(hash), |it| {
        withdrawal::insert(it, hash, reason, legal, now)
    })?;
    tell_tree(database, tree, tell_withdrawn(&digest, row.blob_id.is_some())?)
}

pub(super) fn tell_withdrawn(digest: &Digest, known: bool) -> anyhow::Result<Answer> {
    let unknown = if known { "" } else { "; nothing has this digest now" };
    Ok(Answer::message(&format!("withdrew {digest}{unknown}"))?)
}

fn restore(database: &Database, tree: &Tree, digest: Digest) -> anyhow::Result<Answer> {
    let hash = hash(&digest)?;
    if !by_hand::change(database, Subject::Withdrawal(hash), |it| withdrawal::delete(it, hash))? {
        bail!("{digest} is not withdrawn; `portolan content list` shows what is");
    }
    tell_tree(database, tree, Answer::message(&format!("{digest} is answered again, as far as it is there"))?)
}

fn hash(digest: &Digest) -> anyhow::Result<Sha256> {
    digest.sha256().copied().map(Sha256).with_context(|| format!("{digest}: only sha256 is kept here"))
}

/// Exports read no database: where the tree is, it is told.
fn tell_tree(database: &Database, tree: &Tree, answer: Answer) -> anyhow::Result<Answer> {
    if !tree.exists() {
        return Ok(answer.line(format_args!(
            "there is no tree in {}: where it is, the next scan tells it, and the export after that follows",
            tree.path().display()
        )));
    }
    let withdrawn = database.read(withdrawal::list)?;
    tree.replace_withdrawn(&withdrawn.into_iter().map(|it| it.digest.into()).collect())?;
    Ok(answer.line("the next export follows"))
}

/// So long a former name may live: a hundred years.
const LONGEST_LIFE: jiff::SignedDuration = jiff::SignedDuration::from_hours(876_000);

fn lifetime(text: &str) -> Result<jiff::SignedDuration, String> {
    // A day is 24 hours here, for clocks that are set forward do not matter.
    let duration = match text.strip_suffix('d').and_then(|it| it.parse::<u32>().ok()) {
        Some(days) => jiff::SignedDuration::from_hours(i64::from(days) * 24),
        None => text.parse().map_err(|_| "a duration has units: 90d".to_owned())?,
    };
    let is_sane = duration.is_positive() && duration <= LONGEST_LIFE;
    if is_sane { Ok(duration) } else { Err("it is more than nothing, and at most 36500d".to_owned()) }
}

fn set_alias(
    database: &Database,
    alias: RepositoryName,
    repository: RepositoryName,
    lifetime: Option<jiff::SignedDuration>,
) -> anyhow::Result<Answer> {
    if alias == repository {
        bail!("{alias} is called so already");
    }
    let end = lifetime.map(|it| jiff::Timestamp::now().checked_add(it)).transpose().context("too long")?;
    let row = RepositoryAlias { alias, repository, expires_at: end.map(Time::from), imported: false };
    database.write(Part::Hosts, |it| repository_alias::set(it, &row))?;
    let until = row.expires_at.map(|it| format!(" until {}", table::time(it))).unwrap_or_default();
    let RepositoryAlias { alias, repository, .. } = &row;
    Ok(Answer::new(&row)?.line(format_args!("{alias} is answered as {repository}{until}")))
}

fn remove_alias(database: &Database, alias: &RepositoryName) -> anyhow::Result<Answer> {
    match database.read(|it| repository_alias::find(it, alias))? {
        None => bail!("{alias} is no former name; `portolan content aliases` lists them"),
        Some(row) if row.imported => bail!(
            "{alias} comes from MirrorManager, and would come back with the next import: remove its repository_redirect \
             there, or set what goes before it by `portolan content alias`"
        ),
        Some(_) => database.write(Part::Hosts, |it| repository_alias::delete(it, alias))?,
    };
    Ok(Answer::message(&format!("{alias} is answered no more"))?)
}

fn list_aliases(database: &Database) -> anyhow::Result<Answer> {
    let aliases = database.read(repository_alias::list)?;
    let mut rows = table::list(&["FORMER NAME", "REPOSITORY", "UNTIL", "FROM"]);
    for alias in &aliases {
        rows.add_row([
            table::cell(&alias.alias),
            table::cell(&alias.repository),
            table::optional(alias.expires_at.map(table::time)),
            table::cell(if alias.imported { "MirrorManager" } else { "here" }),
        ]);
    }
    Ok(Answer::new(&aliases)?.list(rows, "no repository has a former name"))
}

fn publish(database: &Database, image: &str) -> anyhow::Result<Answer> {
    let (name, reference) = explain::parse_image(image)?;
    let Reference::Tag(tag) = reference else { bail!("a digest is never held back: name a tag") };
    let categories = database.write(Part::Content, |it| content::publish(it, &name, &tag))?;
    if categories == 0 {
        bail!("{name}:{tag} has not moved of late: nothing holds it back");
    }
    Ok(Answer::message(&format!("{name}:{tag} answers its new manifest"))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        database::{
            Config,
            content::{ContentBlob, replace_category},
            testing::{new_category, now},
        },
        tree,
    };

    #[test]
    fn content_is_withdrawn_and_restored_and_the_tree_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}/test.db", folder.path().display()).parse().unwrap();
        let database = Database::open(&Config { url, connections: 2 });
        database.migrate().unwrap();
        let (known, unknown) = (Digest::of(b"known"), Digest::of(b"unknown"));
        let mut content = new_category("fedora", 1);
        content.blobs = vec![ContentBlob { digest: hash(&known).unwrap(), size: 5 }];
        database.write(Part::Content, |it| replace_category(it, &content, now())).unwrap();
        let tree = Tree::open(&tree::Config { path: folder.path().into(), ..tree::Config::default() });
        let withdraw = |digest: Digest, legal| {
            let command = Command::Withdraw { digest, reason: "broken".to_owned(), legal };
            answer(command, &database, &tree).map(|it| it.text())
        };
        let text = withdraw(known, false).unwrap();
        assert!(text.contains("withdrew sha256:") && text.contains("the next scan tells it"), "{text}");
        std::fs::create_dir(folder.path().join(".portolan")).unwrap();
        let text = withdraw(unknown, true).unwrap();
        assert!(text.contains("nothing has this digest now\nthe next export follows"), "{text}");
        assert_eq!(tree.list_withdrawn().unwrap(), [known, unknown].into());
        assert!(withdraw(CANARY_DIGEST, false).is_err());
        assert!(withdraw(Digest::Sha512([0; 64]), false).is_err());

        let list = answer(Command::List, &database, &tree).unwrap().json();
        let shown: Vec<_> = list.as_array().unwrap().iter().map(|it| (&it["legal"], &it["hosts"])).collect();
        let (yes, no) = (true.into(), false.into());
        assert_eq!(shown, [(&no, &serde_json::json!([])), (&yes, &serde_json::Value::Null)]);

        answer(Command::Restore { digest: known }, &database, &tree).unwrap();
        assert_eq!(tree.list_withdrawn().unwrap(), [unknown].into());
        assert!(answer(Command::Restore { digest: known }, &database, &tree).is_err());
        let publish = |image: &str| answer(Command::Publish { image: image.to_owned() }, &database, &tree);
        assert!(publish("fedora:1").err().unwrap().to_string().contains("nothing holds it back"));
        assert!(publish(&format!("fedora@{known}")).is_err());
    }
}
