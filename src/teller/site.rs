//! A site as its keepers and operators see it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    database::{Connection, QueryResult, Time, account, host, imported, site::Site},
    mirror::{AccountName, HostName, SiteId, SiteName},
};

/// All that is known of a site.
#[derive(Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "what says no more than its name")]
pub struct SiteView {
    /// Its number here.
    pub id: SiteId,
    pub name: SiteName,
    /// The organisation's page.
    pub url: Option<String>,
    pub private: bool,
    pub user_active: bool,
    pub admin_active: bool,
    pub created_at: Time,
    /// Its id in MirrorManager, if it comes from there; it is read-only here then.
    pub mirrormanager_id: Option<i64>,
    /// Names of the accounts that may edit it there.
    pub admins: Vec<String>,
    /// Names of the accounts that keep it here.
    pub keepers: Vec<AccountName>,
    pub hosts: Vec<HostName>,
}

impl SiteView {
    /// What is known of a site.
    pub fn load(connection: &mut Connection, site: &Site) -> QueryResult<Self> {
        Ok(Self {
            id: site.id,
            name: site.name.clone(),
            url: site.org_url.clone(),
            private: site.private,
            user_active: site.user_active,
            admin_active: site.admin_active,
            created_at: site.created_at,
            mirrormanager_id: imported::find_site(connection, site.id)?,
            admins: imported::list_admins(connection, site.id)?,
            keepers: account::list_keepers(connection, site.id)?,
            hosts: host::list_of_site(connection, site.id)?.into_iter().map(|it| it.name).collect(),
        })
    }
}
