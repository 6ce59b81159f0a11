use super::{ROUTES, Refusal, Work};
use crate::{
    database::{
        Connection,
        account::{self, Account},
        host::{self, Host},
        site::{self, Site},
    },
    mirror::{HostId, Role, SiteId},
};

/// What a route of the desk is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The account itself, or all there is.
    Any,
    /// The site `{site}` of the path: only its keepers and operators.
    Site,
    /// The host `{host}` of the path: only the keepers of its site and operators.
    Host,
}

/// One route of the desk, for those who check that each has been thought of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeskRoute {
    /// `GET` or `POST`.
    pub method: &'static str,
    /// With names in braces.
    pub path: &'static str,
    /// What it is about.
    pub access: Access,
    /// The lowest role that may.
    pub least: Role,
}

/// All routes of the desk.
pub fn list_routes() -> impl Iterator<Item = DeskRoute> {
    ROUTES.iter().map(|it| DeskRoute {
        method: match it.work {
            Work::Show(_) => "GET",
            Work::Change(..) => "POST",
        },
        path: it.path,
        access: it.access,
        least: it.least,
    })
}

/// What the path names, if the account keeps it or is an operator's. Strangers cannot tell it from what is not there.
pub(super) fn find(
    connection: &mut Connection,
    account: &Account,
    site_id: Option<i64>,
    host_id: Option<i64>,
) -> Result<(Option<Site>, Option<Host>), Refusal> {
    let host = match host_id {
        None => None,
        Some(id) => Some(host::find_by_id(connection, HostId(id))?.ok_or(Refusal::Missing)?),
    };
    let Some(id) = host.as_ref().map(|it| it.site_id).or(site_id.map(SiteId)) else {
        return Ok((None, None));
    };
    let site = site::find_by_id(connection, id)?.ok_or(Refusal::Missing)?;
    let keepers = account::list_keepers(connection, id)?;
    let may = account.role == Role::Operator || keepers.contains(&account.name);
    if may { Ok((Some(site), host)) } else { Err(Refusal::Missing) }
}
