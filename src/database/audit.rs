//! The table `audit`: who changed what of sites, hosts and accounts. Only what differs is kept.

use diesel::prelude::*;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    Connection, Sha256, Time, account, account_token, host, host_category, host_country, host_netblock,
    host_peer_asn, identity,
    schema::{approval, audit},
    site, withdrawal,
};
use crate::mirror::{AccountId, AccountName, HostId, SiteId};

/// What was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A site, with those who keep it.
    Site(SiteId),
    /// A host, with its networks, countries and opt-ins.
    Host(HostId),
    /// An account.
    Account(AccountId),
    /// A digest that is answered no more.
    Withdrawal(Sha256),
}

/// A change.
#[derive(Clone, Debug, PartialEq, Queryable, Selectable, Serialize)]
#[diesel(table_name = audit)]
pub struct Entry {
    /// Its row.
    pub id: i64,
    /// When.
    pub happened_at: Time,
    /// Who: an account's name, or `cli:USER` for a command on the database.
    pub actor: String,
    /// `site`, `host`, `account` or `withdrawal`.
    pub subject: String,
    /// Its name; if that was changed, the new one.
    pub subject_name: String,
    /// What differs, as it was before: a JSON object. `None`: it was not there.
    pub before_change: Option<String>,
    /// The same after it. `None`: it is no more.
    pub after_change: Option<String>,
}

/// What is asked of the log.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only before this row.
    pub before: Option<i64>,
    /// Only of this kind and name: `("host", "mirror.example")`.
    pub subject: Option<(&'static str, String)>,
    /// Only by this one.
    pub actor: Option<String>,
}

/// The newest changes first, at most `limit`.
pub fn list(connection: &mut Connection, filter: &Filter, limit: i64) -> QueryResult<Vec<Entry>> {
    let mut query = audit::table.select(Entry::as_select()).order(audit::id.desc()).limit(limit).into_boxed();
    if let Some(before) = filter.before {
        query = query.filter(audit::id.lt(before));
    }
    if let Some((kind, name)) = &filter.subject {
        query = query.filter(audit::subject.eq(*kind)).filter(audit::subject_name.eq(name));
    }
    if let Some(actor) = &filter.actor {
        query = query.filter(audit::actor.eq(actor));
    }
    query.load(connection)
}

/// How many subjects of a kind somebody made since then.
pub fn count_made(connection: &mut Connection, actor: &str, kind: &str, since: Time) -> QueryResult<i64> {
    let made = audit::table.filter(audit::actor.eq(actor)).filter(audit::subject.eq(kind));
    made.filter(audit::before_change.is_null().and(audit::happened_at.ge(since)))
        .count()
        .get_result(connection)
}

/// How often somebody changed this field of a subject of a kind since then.
pub fn count_changes(
    connection: &mut Connection,
    actor: &str,
    kind: &str,
    field: &str,
    since: Time,
) -> QueryResult<i64> {
    let changes = audit::table.filter(audit::actor.eq(actor)).filter(audit::subject.eq(kind));
    let of_it = changes.filter(audit::after_change.like(format!("%\"{field}\":%")));
    of_it.filter(audit::happened_at.ge(since)).count().get_result(connection)
}

/// Is there something from before then?
pub fn has_before(connection: &mut Connection, then: Time) -> QueryResult<bool> {
    diesel::select(diesel::dsl::exists(audit::table.filter(audit::happened_at.lt(then))))
        .get_result(connection)
}

/// Removes the oldest changes from before then, at most `most`; how many they were.
pub fn cut(connection: &mut Connection, then: Time, most: i64) -> QueryResult<usize> {
    let old = audit::table.filter(audit::happened_at.lt(then)).select(audit::id);
    let ids: Vec<i64> = old.order(audit::happened_at).limit(most).load(connection)?;
    diesel::delete(audit::table.filter(audit::id.eq_any(ids))).execute(connection)
}

/// Does `work`, and notes what it changed of the subject; nothing if nothing.
pub fn noting<T>(
    connection: &mut Connection,
    actor: &str,
    subject: Subject,
    now: Time,
    work: impl FnOnce(&mut Connection) -> QueryResult<T>,
) -> QueryResult<T> {
    let before = record(connection, subject)?;
    let value = work(connection)?;
    let after = record(connection, subject)?;
    note(connection, actor, subject, now, before, after)?;
    Ok(value)
}

/// Notes that the subject was made.
pub fn note_new(connection: &mut Connection, actor: &str, subject: Subject, now: Time) -> QueryResult<()> {
    let after = record(connection, subject)?;
    note(connection, actor, subject, now, None, after)
}

/// An account is erased: who did what stays known as done by somebody.
pub fn forget(connection: &mut Connection, name: &AccountName) -> QueryResult<()> {
    let of_it = audit::table.filter(audit::actor.eq(name.as_str()));
    diesel::update(of_it).set(audit::actor.eq(ERASED)).execute(connection)?;
    let about =
        audit::table.filter(audit::subject.eq("account")).filter(audit::subject_name.eq(name.as_str()));
    diesel::delete(about).execute(connection)?;
    let asked = approval::table.filter(approval::asked_by.eq(name.as_str()));
    diesel::update(asked).set(approval::asked_by.eq(ERASED)).execute(connection)?;
    forget_keeper(connection, name)
}

/// Of sites it stands in the log who keeps them.
fn forget_keeper(connection: &mut Connection, name: &AccountName) -> QueryResult<()> {
    let (quoted, erased) = (format!("\"{name}\""), format!("\"{ERASED}\""));
    let pattern = format!("%{quoted}%");
    let named = audit::before_change.like(&pattern).or(audit::after_change.like(&pattern));
    let of_sites = audit::table.filter(audit::subject.eq("site")).filter(named);
    let entries: Vec<Entry> = of_sites.select(Entry::as_select()).load(connection)?;
    for entry in entries {
        let replace = |it: Option<String>| it.map(|it| it.replace(&quoted, &erased));
        let change = (
            audit::before_change.eq(replace(entry.before_change)),
            audit::after_change.eq(replace(entry.after_change)),
        );
        diesel::update(audit::table.find(entry.id)).set(change).execute(connection)?;
    }
    Ok(())
}

/// What stands for the name of an account that was erased. No account can be called so.
pub const ERASED: &str = "(erased account)";

fn note(
    connection: &mut Connection,
    actor: &str,
    subject: Subject,
    now: Time,
    mut before: Option<Map<String, Value>>,
    mut after: Option<Map<String, Value>>,
) -> QueryResult<()> {
    if before == after {
        return Ok(());
    }
    let name = after.as_ref().or(before.as_ref()).and_then(|it| it.get("name")).and_then(Value::as_str);
    let name = name.unwrap_or_default().to_owned();
    if let (Some(before), Some(after)) = (&mut before, &mut after) {
        let same: Vec<String> =
            before.iter().filter(|it| after.get(it.0) == Some(it.1)).map(|it| it.0.clone()).collect();
        for key in same {
            before.remove(&key);
            after.remove(&key);
        }
    }
    let text = |it: Option<Map<String, Value>>| it.map(|it| Value::Object(it).to_string());
    let row = (
        audit::happened_at.eq(now),
        audit::actor.eq(actor),
        audit::subject.eq(subject.word()),
        audit::subject_name.eq(name),
        audit::before_change.eq(text(before)),
        audit::after_change.eq(text(after)),
    );
    diesel::insert_into(audit::table).values(row).execute(connection)?;
    Ok(())
}

impl Subject {
    fn word(self) -> &'static str {
        match self {
            Self::Site(_) => "site",
            Self::Host(_) => "host",
            Self::Account(_) => "account",
            Self::Withdrawal(_) => "withdrawal",
        }
    }
}

/// All that people can change of it; `None` if it is not there.
fn record(connection: &mut Connection, subject: Subject) -> QueryResult<Option<Map<String, Value>>> {
    match subject {
        Subject::Site(id) => record_site(connection, id),
        Subject::Host(id) => record_host(connection, id),
        Subject::Account(id) => record_account(connection, id),
        Subject::Withdrawal(digest) => {
            let found = withdrawal::find(connection, digest)?.map(|it| object(&it));
            Ok(found.map(|mut it| {
                it.insert("name".to_owned(), json(&digest));
                it
            }))
        }
    }
}

fn record_site(connection: &mut Connection, id: SiteId) -> QueryResult<Option<Map<String, Value>>> {
    let Some(site) = site::find_by_id(connection, id)? else { return Ok(None) };
    let mut record = object(&site);
    record.insert("keepers".to_owned(), json(&account::list_keepers(connection, id)?));
    Ok(Some(record))
}

fn record_account(connection: &mut Connection, id: AccountId) -> QueryResult<Option<Map<String, Value>>> {
    let Some(account) = account::find_by_id(connection, id)? else { return Ok(None) };
    let mut record = object(&account);
    let identities: Vec<_> = identity::list(connection, id)?
        .into_iter()
        .map(|it| format!("{} at {}", it.subject, it.issuer))
        .collect();
    record.insert("identities".to_owned(), json(&identities));
    let tokens: Vec<_> = account_token::list(connection, id)?
        .into_iter()
        .map(|it| match it.host {
            Some(host) => format!("{}: {} for {host}", it.name, it.scopes),
            None => format!("{}: {}", it.name, it.scopes),
        })
        .collect();
    record.insert("tokens".to_owned(), json(&tokens));
    Ok(Some(record))
}

fn record_host(connection: &mut Connection, id: HostId) -> QueryResult<Option<Map<String, Value>>> {
    let Some(host) = host::find_by_id(connection, id)? else { return Ok(None) };
    let mut record = object(&host);
    // What crawls leave behind is no one's change.
    for key in [
        "auto_disabled_at",
        "auto_disabled_reason",
        "last_crawled_at",
        "last_crawl_ms",
        "crawl_failures",
        "last_lied_at",
    ] {
        record.remove(key);
    }
    let netblocks: Vec<_> = host_netblock::list(connection, id)?.into_iter().map(|it| it.netblock).collect();
    record.insert("netblocks".to_owned(), json(&netblocks));
    let peers: Vec<_> = host_peer_asn::list(connection, id)?.into_iter().map(|it| it.asn).collect();
    record.insert("peer_asns".to_owned(), json(&peers));
    record.insert("countries_allowed".to_owned(), json(&host_country::allowed::list(connection, id)?));
    record.insert("countries_denied".to_owned(), json(&host_country::denied::list(connection, id)?));
    let (mut opt_ins, mut drained) = (Map::new(), Vec::new());
    for (opt_in, category) in host_category::list(connection, id)? {
        let urls = host_category::list_urls(connection, opt_in.id)?;
        let urls: Vec<String> = urls.into_iter().map(|it| it.url.to_string()).collect();
        opt_ins.insert(category.to_string(), json(&urls));
        drained.extend(opt_in.drained.then_some(category));
    }
    record.insert("drained_categories".to_owned(), json(&drained));
    record.insert("opt_ins".to_owned(), Value::Object(opt_ins));
    Ok(Some(record))
}

fn object(value: &impl Serialize) -> Map<String, Value> {
    match json(value) {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

/// Our own rows are plain values: they have a form in JSON.
fn json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::{Part, host::HostChange, testing::*};

    #[test]
    fn what_is_old_is_cut_in_batches() {
        on_both(|database| {
            let host = add_host(database, "m1");
            let at = |days: i64| {
                Time::from(jiff::Timestamp::from(now()) + jiff::SignedDuration::from_hours(days * 24))
            };
            for day in 0..5 {
                database.write_log(|it| note_new(it, "ann", Subject::Host(host.id), at(day))).unwrap();
            }
            let cut = |then, most| database.write_log(|it| cut(it, then, most)).unwrap();
            let has = |then| database.read(|it| has_before(it, then)).unwrap();
            assert_eq!((has(at(0)), has(at(1)), cut(at(0), 9)), (false, true, 0));
            assert_eq!((cut(at(3), 2), cut(at(3), 2), cut(at(3), 2)), (2, 1, 0));
            let left = database.read(|it| list(it, &Filter::default(), 9)).unwrap();
            assert_eq!(left.iter().map(|it| it.happened_at).collect::<Vec<_>>(), [at(4), at(3)]);
        });
    }

    #[test]
    fn what_differs_is_noted_and_nothing_else() {
        on_both(|database| {
            let host = add_host(database, "m1");
            let subject = Subject::Host(host.id);
            let change = |drained: bool| {
                let change = HostChange { drained: Some(drained), ..HostChange::default() };
                let work = |it: &mut Connection| host::update(it, host.id, &change);
                database.write(Part::Hosts, |it| noting(it, "ann", subject, now(), work)).unwrap();
            };
            database.write_log(|it| note_new(it, "ann", subject, now())).unwrap();
            change(false);
            change(true);
            let network = "192.0.2.0/24".parse().unwrap();
            let add = |it: &mut Connection| host_netblock::insert(it, host.id, &network, "");
            database.write(Part::Hosts, |it| noting(it, "bob", subject, now(), add)).unwrap();
            let remove = |it: &mut Connection| host::delete(it, host.id);
            database.write(Part::Hosts, |it| noting(it, "bob", subject, now(), remove)).unwrap();

            let all = database.read(|it| list(it, &Filter::default(), 9)).unwrap();
            let told: Vec<_> = all
                .iter()
                .map(|it| (it.actor.as_str(), it.before_change.as_deref(), it.after_change.as_deref()))
                .collect();
            assert_eq!(told.len(), 4, "{told:#?}");
            assert_eq!(
                told[1],
                ("bob", Some(r#"{"netblocks":[]}"#), Some(r#"{"netblocks":["192.0.2.0/24"]}"#))
            );
            assert_eq!(told[2], ("ann", Some(r#"{"drained":false}"#), Some(r#"{"drained":true}"#)));
            assert!(told[0].2.is_none() && told[0].1.unwrap().contains(r#""drained":true"#), "{told:#?}");
            assert!(told[3].1.is_none() && !told[3].2.unwrap().contains("crawl"), "{told:#?}");
            assert!(all.iter().all(|it| it.subject == "host" && it.subject_name == "m1"));

            let of_bob = Filter { actor: Some("bob".into()), ..Filter::default() };
            assert_eq!(database.read(|it| list(it, &of_bob, 9)).unwrap(), all[..2]);
            let older =
                Filter { before: Some(all[1].id), subject: Some(("host", "m1".into())), ..Filter::default() };
            assert_eq!(database.read(|it| list(it, &older, 1)).unwrap(), all[2..3]);
            database.write_log(|it| forget(it, &"bob".parse().unwrap())).unwrap();
            assert_eq!(database.read(|it| list(it, &of_bob, 9)).unwrap(), []);
            assert_eq!(database.read(|it| list(it, &Filter::default(), 9)).unwrap()[0].actor, ERASED);
        });
    }
}
