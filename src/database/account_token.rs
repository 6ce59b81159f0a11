//! The table `account_token`: by which programs act for an account. A token is shown once, when it is made; only its SHA-256
//! is kept.

use diesel::prelude::*;
use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Connection, Sha256, Time,
    account::Account,
    schema::{account, account_token, host},
};
use crate::mirror::{AccountId, HostId, HostName, Scope, Scopes};

/// A token, without its text.
#[derive(Clone, Debug, PartialEq, Queryable, Serialize, Deserialize, JsonSchema)]
pub struct AccountToken {
    /// Its row.
    pub id: i64,
    /// What its owner calls it.
    pub name: String,
    /// What it may be used for.
    #[schemars(with = "Vec<Scope>")]
    pub scopes: Scopes,
    /// The only host that it is good for; null: for all that the account keeps.
    pub host: Option<HostName>,
    /// When it was made.
    pub created_at: Time,
    /// From when on it is of no use.
    pub expires_at: Time,
    /// When it was last used.
    pub used_at: Option<Time>,
}

/// A token to insert.
#[derive(Clone, Debug, Insertable)]
#[diesel(table_name = account_token)]
#[expect(missing_docs, reason = "the fields are those of `AccountToken`")]
pub struct NewAccountToken {
    pub account_id: AccountId,
    pub name: String,
    pub scopes: Scopes,
    pub host_id: Option<HostId>,
    pub hash: Sha256,
    pub created_at: Time,
    pub expires_at: Time,
}

/// Who has a token, and what it is good for.
#[derive(Clone, Debug)]
pub struct Bearer {
    /// The token's row.
    pub token: i64,
    /// For whom it acts.
    pub account: Account,
    /// What it may be used for.
    pub scopes: Scopes,
    /// The only host that it is good for.
    pub host: Option<HostId>,
}

/// The tokens of an account, oldest first.
pub fn list(connection: &mut Connection, account: AccountId) -> QueryResult<Vec<AccountToken>> {
    account_token::table
        .left_join(host::table)
        .filter(account_token::account_id.eq(account))
        .select((
            account_token::id,
            account_token::name,
            account_token::scopes,
            host::name.nullable(),
            account_token::created_at,
            account_token::expires_at,
            account_token::used_at,
        ))
        .order(account_token::id)
        .load(connection)
}

/// Adds a token; its row's id. Those of the account that are of no use any more are removed.
pub fn insert(connection: &mut Connection, new: &NewAccountToken) -> QueryResult<i64> {
    let old = account_token::table.filter(account_token::account_id.eq(new.account_id));
    diesel::delete(old.filter(account_token::expires_at.le(new.created_at))).execute(connection)?;
    diesel::insert_into(account_token::table).values(new).returning(account_token::id).get_result(connection)
}

/// Removes a token of an account; was it there?
pub fn delete(connection: &mut Connection, account: AccountId, id: i64) -> QueryResult<bool> {
    let row = account_token::table.find(id).filter(account_token::account_id.eq(account));
    Ok(diesel::delete(row).execute(connection)? > 0)
}

/// Whose a token is.
pub fn find_owner(connection: &mut Connection, id: i64) -> QueryResult<Option<Account>> {
    let row = account_token::table.inner_join(account::table).filter(account_token::id.eq(id));
    row.select(Account::as_select()).first(connection).optional()
}

/// Who has the token of this hash, unless it has expired or its account is off.
pub fn find_bearer(connection: &mut Connection, hash: Sha256, now: Time) -> QueryResult<Option<Bearer>> {
    let row: Option<(i64, Scopes, Option<HostId>, Account)> = account_token::table
        .inner_join(account::table)
        .filter(account_token::hash.eq(hash))
        .filter(account_token::expires_at.gt(now))
        .filter(account::active.eq(true))
        .select((account_token::id, account_token::scopes, account_token::host_id, Account::as_select()))
        .first(connection)
        .optional()?;
    Ok(row.map(|(token, scopes, host, account)| Bearer { token, account, scopes, host }))
}

/// Notes that a token is in use, if the last time is at least so long ago.
pub fn note_use(
    connection: &mut Connection,
    id: i64,
    now: Time,
    every: SignedDuration,
) -> QueryResult<usize> {
    let is_old = account_token::used_at.is_null().or(account_token::used_at.le(now.before(every)));
    let row = account_token::table.find(id).filter(is_old);
    diesel::update(row).set(account_token::used_at.eq(Some(now))).execute(connection)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::{
        Part,
        account::{AccountChange, NewAccount},
        secret,
        testing::{add_host, now, on_both},
    };

    #[test]
    fn a_token_acts_for_its_account_until_it_expires() {
        on_both(|database| {
            let host = add_host(database, "m1");
            let new = NewAccount {
                name: "ann".parse().unwrap(),
                mail: String::new(),
                password: None,
                role: crate::mirror::Role::MirrorAdmin,
                created_at: now(),
            };
            let ann = database.write_log(|it| crate::database::account::insert(it, &new)).unwrap();
            let later =
                |seconds| Time::from(jiff::Timestamp::from(now()) + SignedDuration::from_secs(seconds));
            let add = |text: &str, host_id, made: i64, seconds: i64| {
                let new = NewAccountToken {
                    account_id: ann.id,
                    name: text.to_owned(),
                    scopes: "read mirrors".parse().unwrap(),
                    host_id,
                    hash: secret::hash(text),
                    created_at: later(made),
                    expires_at: later(seconds),
                };
                database.write_log(|it| insert(it, &new)).unwrap()
            };
            let (one, two) = (add("one", None, 0, 60), add("two", Some(host.id), 0, 90));
            let find = |text: &str, seconds| {
                let found = database.read(|it| find_bearer(it, secret::hash(text), later(seconds))).unwrap();
                found.map(|it| (it.token, it.account.name.to_string(), it.scopes.to_string(), it.host))
            };
            let bearer = |token, host| Some((token, "ann".to_owned(), "read mirrors".to_owned(), host));
            assert_eq!((find("one", 59), find("one", 60), find("three", 0)), (bearer(one, None), None, None));
            assert_eq!(find("two", 89), bearer(two, Some(host.id)));
            let note = |seconds| {
                let every = SignedDuration::from_secs(9);
                database.write_log(|it| note_use(it, two, later(seconds), every)).unwrap()
            };
            assert_eq!((note(0), note(8), note(9)), (1, 0, 1));
            let listed = || database.read(|it| list(it, ann.id)).unwrap();
            let told = listed().pop().unwrap();
            assert_eq!((told.host, told.used_at), (Some(host.name.clone()), Some(later(9))));
            let three = add("three", None, 61, 99);
            assert_eq!(listed().iter().map(|it| it.id).collect::<Vec<_>>(), [two, three], "one is over");
            let off = AccountChange { active: Some(false), ..AccountChange::default() };
            database.write_log(|it| crate::database::account::update(it, ann.id, &off)).unwrap();
            assert_eq!(find("two", 0), None, "its account is off");
            database.write(Part::Hosts, |it| crate::database::host::delete(it, host.id)).unwrap();
            assert_eq!(listed().len(), 1, "it goes with its host");
            let owner = |id| database.read(|it| find_owner(it, id)).unwrap().map(|it| it.id);
            assert_eq!((owner(three), owner(three + 1)), (Some(ann.id), None));
            assert!(database.write_log(|it| delete(it, ann.id, three)).unwrap());
            assert!(!database.write_log(|it| delete(it, ann.id, three)).unwrap());
        });
    }
}
