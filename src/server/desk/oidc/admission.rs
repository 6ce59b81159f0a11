//! Which account somebody has here whom the provider knows.

use super::super::Refusal;
use crate::{
    connector::oidc::{OidcConfig, Person},
    database::{
        Connection, QueryError, QueryResult, Time,
        account::{self, Account, AccountChange, NewAccount},
        audit::{self, Subject},
        identity::{self, Identity, NewIdentity},
        imported, secret,
    },
    mirror::{AccountName, Role, SiteId},
};

/// What stands in the log for what is changed because the provider says so. No account can be called so.
const ACTOR: &str = "oidc:sign-in";

/// Accounts of one name that are told apart by a number.
const NUMBERED: std::ops::RangeInclusive<u32> = 2..=9;

/// Bytes of a name that are taken over; the rest is for what tells accounts apart.
const TAKEN_OVER: usize = 30;

/// Who somebody is here.
#[derive(Debug)]
pub(super) enum Admission {
    Account(Account),
    /// An operator has switched the account off.
    Off(AccountName),
    /// There is no account, and none is made.
    Stranger,
}

/// Would an account be made?
pub(super) fn makes_account(
    connection: &mut Connection,
    config: &OidcConfig,
    person: &Person,
) -> QueryResult<bool> {
    let is_new = identity::find(connection, &person.issuer, &person.subject)?.is_none();
    Ok(is_new && is_welcome(connection, config, person)?)
}

/// Does somebody get an account who has none?
fn is_welcome(connection: &mut Connection, config: &OidcConfig, person: &Person) -> QueryResult<bool> {
    let is_known = config.sign_up || is_operator(config, person);
    Ok(is_known || !list_imported(connection, config, person)?.is_empty())
}

/// Finds or makes the account. An account is found by issuer and subject alone: an equal name or address proves nothing.
pub(super) fn admit(
    connection: &mut Connection,
    config: &OidcConfig,
    person: &Person,
    now: Time,
) -> QueryResult<Admission> {
    if let Some((identity, account)) = identity::find(connection, &person.issuer, &person.subject)? {
        if !account.active {
            return Ok(Admission::Off(account.name));
        }
        return settle(connection, config, person, &identity, account, now).map(Admission::Account);
    }
    if !is_welcome(connection, config, person)? {
        return Ok(Admission::Stranger);
    }
    let name = free_name(connection, person)?;
    let new = NewAccount {
        name: name.clone(),
        mail: String::new(),
        password: None,
        role: Role::MirrorAdmin,
        created_at: now,
    };
    let account = account::insert(connection, &new)?;
    let identity = insert(connection, &account, person, now)?;
    audit::note_new(connection, name.as_str(), Subject::Account(account.id), now)?;
    settle(connection, config, person, &identity, account, now).map(Admission::Account)
}

/// Links who somebody is at the provider with an account.
pub(super) fn link(
    connection: &mut Connection,
    config: &OidcConfig,
    person: &Person,
    account: Account,
    now: Time,
) -> Result<Account, Refusal> {
    match identity::find(connection, &person.issuer, &person.subject)? {
        Some((_, other)) if other.id != account.id => {
            let why = "It belongs to another account here: sign in by it, and erase that account or remove the link there.";
            return Err(Refusal::Bad(why.to_owned()));
        }
        Some((identity, _)) => return Ok(settle(connection, config, person, &identity, account, now)?),
        None => {}
    }
    if identity::list(connection, account.id)?.iter().any(|it| it.issuer == person.issuer) {
        return Err(Refusal::Bad(
            "Your account is linked with another one there: remove that link first.".to_owned(),
        ));
    }
    let subject = Subject::Account(account.id);
    let add = |it: &mut Connection| insert(it, &account, person, now);
    let identity = audit::noting(connection, account.name.as_str(), subject, now, add)?;
    Ok(settle(connection, config, person, &identity, account, now)?)
}

fn insert(
    connection: &mut Connection,
    account: &Account,
    person: &Person,
    now: Time,
) -> QueryResult<Identity> {
    let new = NewIdentity {
        account_id: account.id,
        issuer: person.issuer.clone(),
        subject: person.subject.clone(),
        called: person.name.clone().unwrap_or_default(),
        created_at: now,
    };
    identity::insert(connection, &new)?;
    let found = identity::find(connection, &new.issuer, &new.subject)?;
    found.map(|it| it.0).ok_or(QueryError::NotFound)
}

/// Gives the account what the provider's word is good for: the role of its groups, and the sites of its name.
fn settle(
    connection: &mut Connection,
    config: &OidcConfig,
    person: &Person,
    identity: &Identity,
    account: Account,
    now: Time,
) -> QueryResult<Account> {
    let role = match (is_operator(config, person), identity.made_operator) {
        (true, _) => Role::Operator,
        // It is no longer among them. Whom an operator has made one remains one.
        (false, true) => Role::MirrorAdmin,
        (false, false) => account.role,
    };
    if role != account.role {
        set_role(connection, &account, identity, role, now)?;
    } else if identity.made_operator && role != Role::Operator {
        identity::note_operator(connection, identity.id, false)?; // somebody was faster
    }
    for site in list_imported(connection, config, person)? {
        if !account::list_keepers(connection, site)?.contains(&account.name) {
            audit::noting(connection, ACTOR, Subject::Site(site), now, |it| {
                account::add_keeper(it, site, account.id)
            })?;
        }
    }
    Ok(Account { role, ..account })
}

/// Of an account that the provider's groups decide. Its sessions end.
pub(in super::super) fn set_role(
    connection: &mut Connection,
    account: &Account,
    identity: &Identity,
    role: Role,
    now: Time,
) -> QueryResult<()> {
    let change = AccountChange { role: Some(role), ..AccountChange::default() };
    audit::noting(connection, ACTOR, Subject::Account(account.id), now, |it| {
        account::update(it, account.id, &change)
    })?;
    identity::note_operator(connection, identity.id, role == Role::Operator)
}

fn is_operator(config: &OidcConfig, person: &Person) -> bool {
    person.groups.iter().any(|it| config.operators.contains(it))
}

/// Imported sites whose admin has this name in MirrorManager.
fn list_imported(
    connection: &mut Connection,
    config: &OidcConfig,
    person: &Person,
) -> QueryResult<Vec<SiteId>> {
    match person.name.as_ref().filter(|_| config.own_imported) {
        Some(name) => imported::list_sites_of_admin(connection, name),
        None => Ok(Vec::new()),
    }
}

/// A name that nobody has here, as near to the one there as can be.
fn free_name(connection: &mut Connection, person: &Person) -> QueryResult<AccountName> {
    let base = plain(person.name.as_deref().unwrap_or_default());
    let hash = secret::hash(&format!("{} {}", person.issuer, person.subject)).0;
    let unique: String = hash[..4].iter().map(|it| format!("{it:02x}")).collect();
    let unique = format!("{base}-{unique}");
    let numbered = NUMBERED.map(|number| format!("{base}-{number}"));
    for name in [base.clone()].into_iter().chain(numbered) {
        if let Ok(name) = name.parse()
            && account::find(connection, &name)?.is_none()
        {
            return Ok(name);
        }
    }
    unique.parse().map_err(|_| QueryError::NotFound)
}

/// What an account can be called of a name that it has elsewhere.
fn plain(name: &str) -> String {
    let small = name.split('@').next().unwrap_or_default().to_lowercase();
    let is_plain = |it: &char| it.is_ascii_lowercase() || it.is_ascii_digit() || "._-".contains(*it);
    let kept: String = small.chars().filter(is_plain).take(TAKEN_OVER).collect();
    let kept = kept.trim_start_matches(['.', '_', '-']);
    if kept.len() < 3 { format!("person{kept}") } else { kept.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_elsewhere_become_plain() {
        for (name, expected) in [
            ("ann", "ann"),
            ("Ann.Example", "ann.example"),
            ("ann@example.org", "ann"),
            ("Ännchen", "nnchen"),
            ("", "person"),
            ("x", "personx"),
            ("__", "person"),
            ("<script>", "script"),
            (&"a".repeat(99), &"a".repeat(30)),
        ] {
            assert_eq!(plain(name), expected);
            assert!(format!("{}-12345678", plain(name)).parse::<AccountName>().is_ok());
        }
    }
}
