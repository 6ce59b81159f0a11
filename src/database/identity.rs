//! The table `identity`: which account somebody has here whom a provider of OpenID Connect knows.

use diesel::prelude::*;
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    Connection, Time,
    account::Account,
    error::exists,
    schema::{account, identity},
};
use crate::mirror::AccountId;

/// Somebody whom a provider knows.
#[derive(Clone, Debug, PartialEq, Queryable, Selectable, Serialize, JsonSchema)]
#[diesel(table_name = identity)]
pub struct Identity {
    /// Its row.
    #[serde(skip)]
    pub id: i64,
    /// The provider.
    pub issuer: String,
    /// Who it is there. Unique together with the issuer, and never given to another one.
    pub subject: String,
    /// The name there when it was linked; proves nothing.
    pub called: String,
    /// The account is an operator because of a group there.
    pub made_operator: bool,
    /// When it was linked.
    pub created_at: Time,
}

/// An identity to insert.
#[derive(Clone, Debug, Insertable)]
#[diesel(table_name = identity)]
#[expect(missing_docs, reason = "the fields are those of `Identity`")]
pub struct NewIdentity {
    /// Whose it becomes.
    pub account_id: AccountId,
    pub issuer: String,
    pub subject: String,
    pub called: String,
    pub created_at: Time,
}

/// This identity, and whose it is.
pub fn find(
    connection: &mut Connection,
    issuer: &str,
    subject: &str,
) -> QueryResult<Option<(Identity, Account)>> {
    identity::table
        .inner_join(account::table)
        .filter(identity::issuer.eq(issuer))
        .filter(identity::subject.eq(subject))
        .select((Identity::as_select(), Account::as_select()))
        .first(connection)
        .optional()
}

/// The identities of an account.
pub fn list(connection: &mut Connection, account: AccountId) -> QueryResult<Vec<Identity>> {
    let rows = identity::table.filter(identity::account_id.eq(account)).order(identity::id);
    rows.select(Identity::as_select()).load(connection)
}

/// Links an identity that nobody has to an account that has none of this issuer.
pub fn insert(connection: &mut Connection, new: &NewIdentity) -> QueryResult<()> {
    let inserted = diesel::insert_into(identity::table).values(new).execute(connection);
    inserted.map_err(|error| exists(error, || format!("a link with {} at {}", new.called, new.issuer)))?;
    Ok(())
}

/// Notes whether the account is an operator because of a group there.
pub fn note_operator(connection: &mut Connection, id: i64, made: bool) -> QueryResult<()> {
    diesel::update(identity::table.find(id)).set(identity::made_operator.eq(made)).execute(connection)?;
    Ok(())
}

/// Removes an identity; how many there were of this id.
pub fn delete(connection: &mut Connection, id: i64) -> QueryResult<usize> {
    diesel::delete(identity::table.find(id)).execute(connection)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        database::{
            account::{self, NewAccount},
            testing::*,
        },
        mirror::Role,
    };

    #[test]
    fn an_identity_is_of_one_account_and_an_account_has_one_of_an_issuer() {
        on_both(|database| {
            let add = |name: &str| {
                let new = NewAccount {
                    name: name.parse().unwrap(),
                    mail: String::new(),
                    password: None,
                    role: Role::MirrorAdmin,
                    created_at: now(),
                };
                database.write_log(|it| account::insert(it, &new)).unwrap()
            };
            let (ann, bob) = (add("ann"), add("bob"));
            let link = |account: &Account, issuer: &str, subject: &str| {
                let new = NewIdentity {
                    account_id: account.id,
                    issuer: issuer.into(),
                    subject: subject.into(),
                    called: "x".into(),
                    created_at: now(),
                };
                database.write_log(|it| insert(it, &new)).map_err(|it| it.to_string())
            };
            link(&ann, "https://id.test", "1").unwrap();
            let taken = link(&bob, "https://id.test", "1").unwrap_err();
            assert_eq!(taken, "a link with x at https://id.test exists already");
            link(&ann, "https://id.test", "2").unwrap_err();
            link(&ann, "https://other.test", "1").unwrap();
            let find = |issuer: &str| database.read(|it| find(it, issuer, "1")).unwrap();
            let (identity, account) = find("https://id.test").unwrap();
            assert_eq!((identity.called.as_str(), identity.made_operator, &account), ("x", false, &ann));
            database.write_log(|it| note_operator(it, identity.id, true)).unwrap();
            assert!(database.read(|it| list(it, ann.id)).unwrap()[0].made_operator);
            assert_eq!(database.write_log(|it| delete(it, identity.id)).unwrap(), 1);
            assert!(find("https://id.test").is_none());
            database.write_log(|it| account::delete(it, ann.id)).unwrap();
            assert!(find("https://other.test").is_none(), "it goes with its account");
        });
    }
}
