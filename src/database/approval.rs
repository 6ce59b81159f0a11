//! The table `approval`: what would capture traffic, and waits for an operator.

use diesel::prelude::*;
use serde::Serialize;

use super::{
    Connection, Time,
    account::Account,
    audit::{self, Subject},
    category,
    host::{self, Host, HostChange},
    host_category, host_netblock, host_peer_asn,
    schema::{
        approval, host as hosts, host_category as opt_ins, host_category_url, host_netblock as netblocks,
    },
};
use crate::mirror::{
    HostId, HostName, HostUrl, Netblock, Role, SiteId,
    capture::{self, Wish},
};

/// Wishes of one host that wait at once.
pub const MOST_WAITING: i64 = 20;

/// A wish that waits.
#[derive(Clone, Debug, PartialEq, Queryable, Selectable, Serialize)]
#[diesel(table_name = approval)]
pub struct Approval {
    /// Its row.
    pub id: i64,
    /// For whom.
    pub host_id: HostId,
    wish: String,
    value: String,
    /// Why an operator has to agree.
    pub reason: String,
    /// The account that asked.
    pub asked_by: String,
    /// When it asked.
    pub asked_at: Time,
}

impl Approval {
    /// What is wished; `None` if this version does not know such wishes.
    pub fn wish(&self) -> Option<Wish> {
        Wish::from_words(&self.wish, &self.value)
    }
}

/// What has become of a wish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is so.
    Granted,
    /// It waits for an operator, for this reason.
    Waits(String),
    /// It cannot be, for this reason.
    Refused(&'static str),
}

/// Fulfils what an account wishes for a host, or lets it wait if an operator has to agree. Notes it.
pub fn seek(
    connection: &mut Connection,
    by: &Account,
    host: &Host,
    wish: &Wish,
    now: Time,
) -> QueryResult<Outcome> {
    if is_for_private_only(host, wish) {
        return Ok(Outcome::Refused("this network stands in many places: only a private host may have it"));
    }
    let Some(reason) = find_reason(connection, by, host, wish, now)? else {
        fulfil(connection, by.name.as_str(), host.id, wish, now)?;
        return Ok(Outcome::Granted);
    };
    let (kind, value) = wish.to_words();
    let own = approval::table.filter(approval::host_id.eq(host.id));
    let same = own.filter(approval::wish.eq(kind)).filter(approval::value.eq(&value));
    if same.count().get_result::<i64>(connection)? > 0 {
        return Ok(Outcome::Waits(reason));
    }
    let waiting: i64 =
        approval::table.filter(approval::host_id.eq(host.id)).count().get_result(connection)?;
    if waiting >= MOST_WAITING {
        return Ok(Outcome::Refused("too many wishes of this host wait already"));
    }
    let row = (
        approval::host_id.eq(host.id),
        approval::wish.eq(kind),
        approval::value.eq(value),
        approval::reason.eq(&reason),
        approval::asked_by.eq(by.name.as_str()),
        approval::asked_at.eq(now),
    );
    diesel::insert_into(approval::table).values(row).execute(connection)?;
    Ok(Outcome::Waits(reason))
}

/// Those that wait longest, at most `limit`, with the names of their hosts.
pub fn list(connection: &mut Connection, limit: i64) -> QueryResult<Vec<(Approval, HostName)>> {
    approval::table
        .inner_join(hosts::table)
        .select((Approval::as_select(), hosts::name))
        .order(approval::id)
        .limit(limit)
        .load(connection)
}

/// Those of one host, oldest first.
pub fn list_of_host(connection: &mut Connection, host: HostId) -> QueryResult<Vec<Approval>> {
    approval::table
        .select(Approval::as_select())
        .filter(approval::host_id.eq(host))
        .order(approval::id)
        .load(connection)
}

/// An operator agrees to a wish, or not; `false`: it waits no longer.
pub fn settle(
    connection: &mut Connection,
    by: &Account,
    id: i64,
    granted: bool,
    now: Time,
) -> QueryResult<bool> {
    let row: Option<Approval> =
        approval::table.find(id).select(Approval::as_select()).first(connection).optional()?;
    let Some(row) = row else { return Ok(false) };
    let Some(host) = host::find_by_id(connection, row.host_id)? else { return Ok(false) };
    // Another operator may be faster.
    if diesel::delete(approval::table.find(id)).execute(connection)? == 0 {
        return Ok(false);
    }
    if let Some(wish) = row.wish().filter(|it| granted && !is_for_private_only(&host, it)) {
        fulfil(connection, by.name.as_str(), row.host_id, &wish, now)?;
    }
    Ok(true)
}

/// A wish is taken back; was it there?
pub fn withdraw(connection: &mut Connection, host: HostId, id: i64) -> QueryResult<bool> {
    let row = approval::table.find(id).filter(approval::host_id.eq(host));
    Ok(diesel::delete(row).execute(connection)? > 0)
}

/// Why an operator has to agree to what an account wishes; `None` if they need not.
pub fn find_reason(
    connection: &mut Connection,
    by: &Account,
    host: &Host,
    wish: &Wish,
    now: Time,
) -> QueryResult<Option<String>> {
    Ok(match wish {
        _ if by.role == Role::Operator => None,
        Wish::Netblock(netblock) => {
            let (own, others) = list_netblocks(connection, host.site_id)?;
            let since = now.before(capture::MEASURED);
            let named = audit::count_changes(connection, by.name.as_str(), "host", "netblocks", since)?;
            capture::of_netblock(netblock, &own, &others).or_else(|| capture::of_many(named))
        }
        Wish::Asn(_) | Wish::PeerAsn(_) => Some("an autonomous system".to_owned()),
        Wish::Bandwidth(bandwidth) => capture::of_bandwidth(*bandwidth),
        Wish::Url(_, url) => {
            let taken = list_others_urls(connection, host.site_id)?;
            let name = url.host();
            let is_taken = taken.iter().any(|it| it.host() == name)
                || list_others_names(connection, host.site_id)?.contains(&name);
            is_taken.then(|| format!("{name} belongs to another site's host"))
        }
    })
}

/// The networks of a site's hosts, and those of all others.
fn list_netblocks(connection: &mut Connection, site: SiteId) -> QueryResult<(Vec<Netblock>, Vec<Netblock>)> {
    let all: Vec<(SiteId, Netblock)> = netblocks::table
        .inner_join(hosts::table)
        .select((hosts::site_id, netblocks::netblock))
        .load(connection)?;
    let (own, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|it| it.0 == site);
    Ok((own.into_iter().map(|it| it.1).collect(), others.into_iter().map(|it| it.1).collect()))
}

/// A network that stands in many places at once, wished for a host that all the world sees.
fn is_for_private_only(host: &Host, wish: &Wish) -> bool {
    matches!(wish, Wish::Netblock(it) if !capture::is_one_place(it)) && !host.private
}

/// Names of the hosts of all other sites, as URLs have them.
fn list_others_names(connection: &mut Connection, site: SiteId) -> QueryResult<Vec<String>> {
    let names = hosts::table.filter(hosts::site_id.ne(site)).select(hosts::name);
    let names: Vec<HostName> = names.load(connection)?;
    Ok(names.iter().map(|it| it.as_str().trim_end_matches('.').to_lowercase()).collect())
}

fn list_others_urls(connection: &mut Connection, site: SiteId) -> QueryResult<Vec<HostUrl>> {
    host_category_url::table
        .inner_join(opt_ins::table.inner_join(hosts::table))
        .filter(hosts::site_id.ne(site))
        .select(host_category_url::url)
        .load(connection)
}

fn fulfil(connection: &mut Connection, actor: &str, host: HostId, wish: &Wish, now: Time) -> QueryResult<()> {
    audit::noting(connection, actor, Subject::Host(host), now, |it| match wish {
        Wish::Netblock(netblock) => host_netblock::insert(it, host, netblock, "").map(drop),
        Wish::Asn(asn) => {
            host::update(it, host, &HostChange { asn: Some(Some(*asn)), ..HostChange::default() }).map(drop)
        }
        Wish::PeerAsn(asn) => {
            let mut asns: Vec<_> = host_peer_asn::list(it, host)?.into_iter().map(|it| it.asn).collect();
            asns.push(*asn);
            host_peer_asn::replace(it, host, asns)
        }
        Wish::Bandwidth(bandwidth) => {
            let change = HostChange { bandwidth: Some(Some(*bandwidth)), ..HostChange::default() };
            host::update(it, host, &change).map(drop)
        }
        Wish::Url(category, url) => {
            let Some(row) = category::find(it, category)?.filter(|it| it.retired_at.is_none()) else {
                return Ok(());
            };
            let before = host_category::find(it, host, row.id)?;
            let mut urls: Vec<HostUrl> = match before {
                Some(opt_in) => {
                    host_category::list_urls(it, opt_in.id)?.into_iter().map(|it| it.url).collect()
                }
                None => Vec::new(),
            };
            urls.push(url.clone());
            host_category::opt_in(it, host, row.id, &urls, now).map(drop)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::{Database, Part, account, account::NewAccount, testing::*};

    fn add_account(database: &Database, name: &str, role: Role) -> Account {
        let new = NewAccount {
            name: name.parse().unwrap(),
            mail: String::new(),
            password: None,
            role,
            created_at: now(),
        };
        database.write_log(|it| account::insert(it, &new)).unwrap()
    }

    fn wish(kind: &str, value: &str) -> Wish {
        Wish::from_words(kind, value).unwrap()
    }

    #[test]
    fn what_captures_traffic_waits_for_an_operator() {
        on_both(|database| {
            let (ann, op) = (
                add_account(database, "ann", Role::MirrorAdmin),
                add_account(database, "opa", Role::Operator),
            );
            let (mine, other) = (add_host(database, "m1"), add_host(database, "m2"));
            add_category(database, "fedora", 1);
            let seek = |by: &Account, host: &Host, kind: &str, value: &str| {
                database.write(Part::Hosts, |it| seek(it, by, host, &wish(kind, value), now()))
            };
            assert_eq!(seek(&ann, &other, "netblock", "192.0.2.0/24").unwrap(), Outcome::Granted);
            assert_eq!(
                seek(&ann, &other, "url", "fedora https://other.example/f").unwrap(),
                Outcome::Granted
            );
            for (kind, value) in [
                ("netblock", "192.0.2.128/25"),
                ("netblock", "198.0.0.0/8"),
                ("asn", "64501"),
                ("peer-asn", "64502"),
                ("bandwidth", "20000"),
                ("url", "fedora http://other.example./evil"),
                ("url", "fedora http://M2./evil"),
            ] {
                let outcome = seek(&ann, &mine, kind, value).unwrap();
                assert!(matches!(outcome, Outcome::Waits(_)), "{kind} {value}: {outcome:?}");
                assert_eq!(seek(&ann, &mine, kind, value).unwrap(), outcome, "it waits already");
            }
            let found = database.read(|it| host::find(it, &mine.name)).unwrap().unwrap();
            assert_eq!((found.asn, found.bandwidth), (mine.asn, mine.bandwidth), "nothing of it is so");
            assert!(matches!(seek(&ann, &mine, "netblock", "10.0.0.0/24").unwrap(), Outcome::Refused(_)));
            assert!(matches!(seek(&op, &mine, "netblock", "10.0.0.0/24").unwrap(), Outcome::Refused(_)));
            assert_eq!(seek(&op, &mine, "netblock", "198.51.0.0/12").unwrap(), Outcome::Granted);

            let waiting = database.read(|it| list(it, 9)).unwrap();
            assert_eq!(waiting.len(), 7);
            let settle = |at: usize, granted| {
                database.write(Part::Hosts, |it| settle(it, &op, waiting[at].0.id, granted, now())).unwrap()
            };
            assert!((0..7).all(|at| settle(at, at != 1)));
            assert!(!settle(0, true), "once");
            let found = database.read(|it| host::find(it, &mine.name)).unwrap().unwrap();
            assert_eq!(found.asn.map(|it| it.number()), Some(64501));
            assert_eq!(found.bandwidth.map(|it| it.megabits()), Some(20_000));
            let networks = database.read(|it| host_netblock::list(it, mine.id)).unwrap();
            let networks: Vec<_> = networks.iter().map(|it| it.netblock.to_string()).collect();
            assert_eq!(networks, ["198.48.0.0/12", "192.0.2.128/25"]);
            let log = database.read(|it| audit::list(it, &audit::Filter::default(), 99)).unwrap();
            assert_eq!(log.iter().filter(|it| it.actor == "opa").count(), 7, "{log:#?}");
        });
    }

    #[test]
    fn networks_that_one_account_names_for_many_sites_wait() {
        on_both(|database| {
            let ann = add_account(database, "ann", Role::MirrorAdmin);
            let seek = |number: i64, at: Time| {
                let host = add_host(database, &format!("m{number}"));
                let wish = wish("netblock", &format!("192.{number}.0.0/16"));
                database.write(Part::Hosts, |it| seek(it, &ann, &host, &wish, at)).unwrap()
            };
            assert!((0..8).all(|it| seek(it, now()) == Outcome::Granted));
            assert!(matches!(seek(8, now()), Outcome::Waits(_)));
            let later = now().after(capture::MEASURED).after(jiff::SignedDuration::from_secs(1));
            assert_eq!(seek(9, later), Outcome::Granted);
        });
    }
}
