//! The tables `account`, `site_account` and `session`: who may change something, which sites they keep, and who is
//! signed in.

use diesel::prelude::*;
use jiff::SignedDuration;
use serde::Serialize;

use super::{
    Connection, Sha256, Time,
    error::exists,
    schema::{account, session, site, site_account},
    site::Site,
};
use crate::mirror::{AccountId, AccountName, Role, SiteId};

/// A session that is not used ends after so long.
pub const IDLE: SignedDuration = SignedDuration::from_hours(12);

/// A session ends so long after it began.
pub const LONGEST: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Sessions of one account at once; the oldest end when there are more.
pub const MOST_SESSIONS: i64 = 20;

/// An account, without its password.
#[derive(Clone, Debug, PartialEq, Queryable, Selectable, Serialize)]
#[diesel(table_name = account)]
pub struct Account {
    /// Its row.
    #[serde(skip)]
    pub id: AccountId,
    /// Unique.
    pub name: AccountName,
    /// Where its owner reads mail; empty if that was not told.
    pub mail: String,
    /// What it may do.
    pub role: Role,
    /// An operator has not switched it off.
    pub active: bool,
    /// When it was made.
    pub created_at: Time,
}

/// An account to insert.
#[derive(Clone, Debug, Insertable)]
#[diesel(table_name = account)]
#[expect(missing_docs, reason = "the fields are those of `Account`")]
pub struct NewAccount {
    pub name: AccountName,
    pub mail: String,
    /// Its hash; `None`: nobody signs in by password.
    pub password: Option<String>,
    pub role: Role,
    pub created_at: Time,
}

/// What to change of an account; `None` leaves a field as it is.
#[derive(Clone, Debug, Default, AsChangeset)]
#[diesel(table_name = account)]
#[expect(missing_docs, reason = "the fields are those of `NewAccount`")]
pub struct AccountChange {
    pub mail: Option<String>,
    pub password: Option<Option<String>>,
    pub role: Option<Role>,
    pub active: Option<bool>,
}

/// All accounts, by name.
pub fn list(connection: &mut Connection) -> QueryResult<Vec<Account>> {
    account::table.select(Account::as_select()).order(account::name).load(connection)
}

/// The account of this name.
pub fn find(connection: &mut Connection, name: &AccountName) -> QueryResult<Option<Account>> {
    account::table.select(Account::as_select()).filter(account::name.eq(name)).first(connection).optional()
}

/// The account of this id.
pub(super) fn find_by_id(connection: &mut Connection, id: AccountId) -> QueryResult<Option<Account>> {
    account::table.find(id).select(Account::as_select()).first(connection).optional()
}

/// The hash of an account's password, if it has one and is switched on.
pub fn find_password(connection: &mut Connection, name: &AccountName) -> QueryResult<Option<String>> {
    let row = account::table.filter(account::name.eq(name)).filter(account::active.eq(true));
    Ok(row.select(account::password).first::<Option<String>>(connection).optional()?.flatten())
}

/// Adds an account, switched on.
pub fn insert(connection: &mut Connection, new: &NewAccount) -> QueryResult<Account> {
    let inserted = diesel::insert_into(account::table).values(new).execute(connection);
    inserted.map_err(|error| exists(error, || format!("an account named {}", new.name)))?;
    account::table.select(Account::as_select()).filter(account::name.eq(&new.name)).first(connection)
}

/// Changes an account; how many there were of this id. Another password, another role or none ends its sessions.
pub fn update(connection: &mut Connection, id: AccountId, change: &AccountChange) -> QueryResult<usize> {
    if change.password.is_some() || change.role.is_some() || change.active == Some(false) {
        end_sessions(connection, id)?;
    }
    let outcome = diesel::update(account::table.find(id)).set(change).execute(connection);
    Ok(outcome.optional_empty_changeset()?.unwrap_or(1))
}

/// Removes an account with its sessions; how many there were of this id. Its sites stay.
pub fn delete(connection: &mut Connection, id: AccountId) -> QueryResult<usize> {
    diesel::delete(account::table.find(id)).execute(connection)
}

/// The sites that an account keeps, by name.
pub fn list_sites(connection: &mut Connection, account: AccountId) -> QueryResult<Vec<Site>> {
    site_account::table
        .inner_join(site::table)
        .filter(site_account::account_id.eq(account))
        .select(Site::as_select())
        .order(site::name)
        .load(connection)
}

/// The accounts that keep a site, by name.
pub fn list_keepers(connection: &mut Connection, site: SiteId) -> QueryResult<Vec<AccountName>> {
    site_account::table
        .inner_join(account::table)
        .filter(site_account::site_id.eq(site))
        .select(account::name)
        .order(account::name)
        .load(connection)
}

/// Lets an account keep a site; nothing changes if it does.
pub fn add_keeper(connection: &mut Connection, site: SiteId, account: AccountId) -> QueryResult<()> {
    remove_keeper(connection, site, account)?;
    let row = (site_account::site_id.eq(site), site_account::account_id.eq(account));
    diesel::insert_into(site_account::table).values(row).execute(connection)?;
    Ok(())
}

/// Lets an account keep a site no longer; did it?
pub fn remove_keeper(connection: &mut Connection, site: SiteId, account: AccountId) -> QueryResult<bool> {
    Ok(diesel::delete(site_account::table.find((site, account))).execute(connection)? > 0)
}

/// Begins a session of an account.
pub fn begin_session(
    connection: &mut Connection,
    account: AccountId,
    hash: Sha256,
    now: Time,
) -> QueryResult<()> {
    let old = session::created_at.le(now.before(LONGEST)).or(session::used_at.le(now.before(IDLE)));
    diesel::delete(session::table.filter(old)).execute(connection)?;
    let newest: Vec<Sha256> = session::table
        .filter(session::account_id.eq(account))
        .order(session::created_at.desc())
        .limit(MOST_SESSIONS - 1)
        .select(session::hash)
        .load(connection)?;
    let others = session::table.filter(session::account_id.eq(account)).filter(session::hash.ne_all(newest));
    diesel::delete(others).execute(connection)?;
    let row = (
        session::hash.eq(hash),
        session::account_id.eq(account),
        session::created_at.eq(now),
        session::used_at.eq(now),
    );
    diesel::insert_into(session::table).values(row).execute(connection)?;
    Ok(())
}

/// Whose session it is, if it has not ended.
pub fn find_session(connection: &mut Connection, hash: Sha256, now: Time) -> QueryResult<Option<Account>> {
    session::table
        .inner_join(account::table)
        .filter(session::hash.eq(hash))
        .filter(session::created_at.gt(now.before(LONGEST)))
        .filter(session::used_at.gt(now.before(IDLE)))
        .filter(account::active.eq(true))
        .select(Account::as_select())
        .first(connection)
        .optional()
}

/// Notes that a session is in use, if the last time is at least so long ago.
pub fn note_session(
    connection: &mut Connection,
    hash: Sha256,
    now: Time,
    every: SignedDuration,
) -> QueryResult<()> {
    let row = session::table.find(hash).filter(session::used_at.le(now.before(every)));
    diesel::update(row).set(session::used_at.eq(now)).execute(connection)?;
    Ok(())
}

/// Ends a session.
pub fn end_session(connection: &mut Connection, hash: Sha256) -> QueryResult<()> {
    diesel::delete(session::table.find(hash)).execute(connection)?;
    Ok(())
}

/// Ends all sessions of an account; how many there were.
pub fn end_sessions(connection: &mut Connection, account: AccountId) -> QueryResult<usize> {
    diesel::delete(session::table.filter(session::account_id.eq(account))).execute(connection)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::{Database, Part, testing::*};

    fn add(database: &Database, name: &str) -> Account {
        let new = NewAccount {
            name: name.parse().unwrap(),
            mail: format!("{name}@example.org"),
            password: Some("hash".into()),
            role: Role::MirrorAdmin,
            created_at: now(),
        };
        database.write_log(|it| insert(it, &new)).unwrap()
    }

    fn later(duration: SignedDuration) -> Time {
        jiff::Timestamp::from(now()).checked_add(duration).unwrap().into()
    }

    #[test]
    fn an_account_is_added_changed_and_removed() {
        on_both(|database| {
            let ann = add(database, "ann");
            assert_eq!(database.read(|it| find(it, &ann.name)).unwrap(), Some(ann.clone()));
            let again = NewAccount {
                name: ann.name.clone(),
                mail: String::new(),
                password: None,
                role: Role::Operator,
                created_at: now(),
            };
            let error = database.write_log(|it| insert(it, &again)).unwrap_err();
            assert_eq!(error.to_string(), "an account named ann exists already");
            let password = || database.read(|it| find_password(it, &ann.name)).unwrap();
            assert_eq!(password().as_deref(), Some("hash"));
            let off = AccountChange { active: Some(false), ..AccountChange::default() };
            database.write_log(|it| update(it, ann.id, &off)).unwrap();
            assert_eq!(password(), None, "nobody signs in to an account that is off");
            assert_eq!(database.write_log(|it| delete(it, ann.id)).unwrap(), 1);
            assert_eq!(database.read(list).unwrap(), []);
        });
    }

    #[test]
    fn sites_have_keepers() {
        on_both(|database| {
            let (ann, bob) = (add(database, "ann"), add(database, "bob"));
            let site =
                database.write(Part::Hosts, |it| super::super::site::insert(it, &new_site("x"))).unwrap();
            for keeper in [&bob, &ann, &ann] {
                database.write_log(|it| add_keeper(it, site.id, keeper.id)).unwrap();
            }
            let keepers = || database.read(|it| list_keepers(it, site.id)).unwrap();
            assert_eq!(keepers(), [ann.name.clone(), bob.name.clone()]);
            assert_eq!(database.read(|it| list_sites(it, ann.id)).unwrap(), std::slice::from_ref(&site));
            assert!(database.write_log(|it| remove_keeper(it, site.id, ann.id)).unwrap());
            assert!(!database.write_log(|it| remove_keeper(it, site.id, ann.id)).unwrap());
            database.write_log(|it| delete(it, bob.id)).unwrap();
            assert_eq!(keepers(), []);
        });
    }

    #[test]
    fn sessions_end() {
        on_both(|database| {
            let ann = add(database, "ann");
            let hash = |number: u8| Sha256([number; 32]);
            let begin = |number: u8, at: Time| {
                database.write_log(|it| begin_session(it, ann.id, hash(number), at)).unwrap()
            };
            let is_on = |number: u8, at: Time| {
                database.read(|it| find_session(it, hash(number), at)).unwrap().is_some()
            };
            begin(1, now());
            let second = SignedDuration::from_secs(1);
            assert!(is_on(1, now()) && !is_on(2, now()));
            assert!(is_on(1, later(IDLE - second)) && !is_on(1, later(IDLE)));
            for hours in (0..7 * 24).step_by(6) {
                let at = later(SignedDuration::from_hours(hours));
                database.write_log(|it| note_session(it, hash(1), at, second)).unwrap();
            }
            assert!(is_on(1, later(LONGEST - second)) && !is_on(1, later(LONGEST)));
            for number in 2..30 {
                begin(number, later(SignedDuration::from_secs(number.into())));
            }
            let at = later(SignedDuration::from_mins(1));
            let living = (1..30).filter(|it| is_on(*it, at)).count();
            assert_eq!((living, is_on(29, at)), (20, true), "the newest");
            database.write_log(|it| end_session(it, hash(29))).unwrap();
            assert!(!is_on(29, at) && is_on(28, at));
            let change = AccountChange { password: Some(Some("new".into())), ..AccountChange::default() };
            database.write_log(|it| update(it, ann.id, &change)).unwrap();
            assert!(!is_on(28, at), "another password ends all sessions");
        });
    }
}
