//! The table `host_token`: by which the scripts of a host report. A token is shown once, when it is made; only
//! its SHA-256 is kept.

use diesel::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Connection, Sha256, Time,
    schema::{host, host_token, site},
    secret::{self, SecretError},
};
use crate::mirror::{HostId, HostName};

/// A token, without its text.
#[derive(Clone, Debug, PartialEq, Queryable, Selectable, Serialize, Deserialize, JsonSchema)]
#[diesel(table_name = host_token)]
pub struct HostToken {
    /// Its row.
    pub id: i64,
    /// For whom it speaks.
    #[serde(skip)]
    pub host_id: HostId,
    /// When it was made.
    pub created_at: Time,
    /// From when on it is of no use.
    pub expires_at: Option<Time>,
    /// When it was last used.
    pub used_at: Option<Time>,
}

/// Who reports.
#[derive(Clone, Debug, PartialEq)]
pub struct Reporter {
    /// The token's row.
    pub token: i64,
    /// The host.
    pub host: HostId,
    /// Its name.
    pub name: HostName,
    /// Host or site is private.
    pub private: bool,
}

/// What programs and people who look for leaked secrets know a token by.
const PREFIX: &str = "portolan_";

/// The text of a new token.
pub fn new() -> Result<String, SecretError> {
    Ok(format!("{PREFIX}{}", secret::new()?))
}

/// The tokens of a host, oldest first.
pub fn list(connection: &mut Connection, host: HostId) -> QueryResult<Vec<HostToken>> {
    host_token::table
        .select(HostToken::as_select())
        .filter(host_token::host_id.eq(host))
        .order(host_token::id)
        .load(connection)
}

/// Adds a token; its row's id.
pub fn insert(
    connection: &mut Connection,
    host: HostId,
    hash: Sha256,
    expires_at: Option<Time>,
    now: Time,
) -> QueryResult<i64> {
    diesel::insert_into(host_token::table)
        .values((
            host_token::host_id.eq(host),
            host_token::hash.eq(hash),
            host_token::created_at.eq(now),
            host_token::expires_at.eq(expires_at),
        ))
        .returning(host_token::id)
        .get_result(connection)
}

/// Removes a token of a host; was it there?
pub fn delete(connection: &mut Connection, host: HostId, id: i64) -> QueryResult<bool> {
    let row = host_token::table.find(id).filter(host_token::host_id.eq(host));
    Ok(diesel::delete(row).execute(connection)? > 0)
}

/// Who has the token of this hash, unless it has expired.
pub fn find_reporter(connection: &mut Connection, hash: Sha256, now: Time) -> QueryResult<Option<Reporter>> {
    let row: Option<(i64, HostId, HostName, bool, bool)> = host_token::table
        .inner_join(host::table.inner_join(site::table))
        .filter(host_token::hash.eq(hash))
        .filter(host_token::expires_at.is_null().or(host_token::expires_at.gt(now)))
        .select((host_token::id, host::id, host::name, host::private, site::private))
        .first(connection)
        .optional()?;
    let reporter = |(token, host, name, private, site_private)| Reporter {
        token,
        host,
        name,
        private: private || site_private,
    };
    Ok(row.map(reporter))
}

/// Notes that a token was used.
pub fn note_use(connection: &mut Connection, id: i64, now: Time) -> QueryResult<usize> {
    diesel::update(host_token::table.find(id)).set(host_token::used_at.eq(Some(now))).execute(connection)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::{
        Part,
        testing::{add_host, now, on_both},
    };

    #[test]
    fn a_token_speaks_for_its_host_until_it_expires() {
        on_both(|database| {
            let host = add_host(database, "m1");
            let later = |seconds| jiff::Timestamp::from(now()) + jiff::SignedDuration::from_secs(seconds);
            let add = |text: &str, expires: Option<i64>| {
                let expires = expires.map(|it| later(it).into());
                database.write_log(|it| insert(it, host.id, secret::hash(text), expires, now())).unwrap()
            };
            let (first, second) = (add("one", None), add("two", Some(60)));
            let find = |text: &str, seconds| {
                let found = database.read(|it| find_reporter(it, secret::hash(text), later(seconds).into()));
                found.unwrap().map(|it| (it.token, it.name.to_string(), it.private))
            };
            assert_eq!(find("one", 99), Some((first, "m1".to_owned(), false)));
            assert_eq!(find("two", 59), Some((second, "m1".to_owned(), false)));
            assert_eq!((find("two", 60), find("three", 0)), (None, None));
            database.write_log(|it| note_use(it, first, now())).unwrap();
            assert_eq!(database.read(|it| list(it, host.id)).unwrap()[0].used_at, Some(now()));
            let other = add_host(database, "m2");
            assert!(!database.write_log(|it| delete(it, other.id, first)).unwrap());
            assert!(database.write_log(|it| delete(it, host.id, first)).unwrap());
            assert_eq!(find("one", 0), None);
            database.write(Part::Hosts, |it| crate::database::host::delete(it, host.id)).unwrap();
            assert_eq!(find("two", 0), None);
        });
    }
}
