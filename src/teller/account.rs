//! An account as its owner and operators see it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    database::{
        Connection, QueryResult, Time,
        account::{self, Account},
    },
    mirror::{AccountName, Role, SiteName},
};

/// What is known of an account.
#[derive(Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "what says no more than its name")]
pub struct AccountView {
    pub name: AccountName,
    /// Where its owner reads mail; may be empty.
    pub mail: String,
    pub role: Role,
    /// An operator has not switched it off.
    pub active: bool,
    pub created_at: Time,
    /// Names of the sites that it keeps.
    pub sites: Vec<SiteName>,
}

impl AccountView {
    /// What is known of an account.
    pub fn load(connection: &mut Connection, account: Account) -> QueryResult<Self> {
        let sites = account::list_sites(connection, account.id)?;
        Ok(Self {
            name: account.name,
            mail: account.mail,
            role: account.role,
            active: account.active,
            created_at: account.created_at,
            sites: sites.into_iter().map(|it| it.name).collect(),
        })
    }
}
