use std::collections::{BTreeMap, BTreeSet, HashMap};

use diesel::prelude::*;

use super::{
    super::{
        Connection, Time, category, country,
        host::{self, HostChange, NewHost},
        host_category, host_country, host_netblock,
        host_netblock::HostNetblockChange,
        host_peer_asn::{self, HostPeerAsn},
        repository_alias,
        schema::{imported_host, imported_site, site_admin},
        site::{self, NewSite, SiteChange},
    },
    HostState, Network, SiteState, state,
};
use crate::mirror::{HostId, HostKind, Place, SiteId, SiteName};

/// Names have at most so many characters. What changes its name is called by one of this length, which nobody else is,
/// until all others have theirs.
const LONGEST_NAME: usize = 100;

/// Makes the first the second. Names and URLs are unique, and may go from one to another: first what has to go
/// goes, then what is new comes.
pub(super) fn store(
    connection: &mut Connection,
    before: &Network,
    after: &Network,
    now: Time,
) -> QueryResult<()> {
    let mut sites = swapped(state::list_sites(connection)?);
    let mut hosts = swapped(state::list_hosts(connection)?);
    for (id, host) in &hosts {
        match after.hosts.get(id) {
            None => drop(host::delete(connection, *host)?),
            Some(wanted) => clear_host(connection, *host, before.hosts.get(id), wanted)?,
        }
    }
    for (id, former) in &before.sites {
        if after.sites.get(id).is_none_or(|it| it.name != former.name)
            && let Some(site) = sites.get(id)
        {
            let name = format!("{:·<LONGEST_NAME$}", format!("import {id}")).parse().ok();
            site::update(connection, *site, &SiteChange { name, ..SiteChange::default() })?;
        }
    }
    for (id, wanted) in &after.sites {
        if before.sites.get(id) != Some(wanted) {
            let site = store_site(connection, *id, sites.get(id).copied(), wanted, now)?;
            sites.insert(*id, site);
        }
    }
    for (id, wanted) in &after.hosts {
        if before.hosts.get(id) != Some(wanted)
            && let Some(site) = sites.get(&wanted.site)
        {
            let host = store_host(connection, *id, hosts.get(id).copied(), *site, wanted, now)?;
            hosts.insert(*id, host);
        }
    }
    for (id, site) in sites.iter().filter(|(id, _)| !after.sites.contains_key(id)) {
        drop_site(connection, *site, *id, before.sites.get(id).map(|it| &it.name))?;
    }
    store_values(connection, before, after)
}

fn swapped<T>(ids: HashMap<T, i64>) -> BTreeMap<i64, T> {
    ids.into_iter().map(|(ours, theirs)| (theirs, ours)).collect()
}

/// Takes away names and URLs that another one may get.
fn clear_host(
    connection: &mut Connection,
    host: HostId,
    before: Option<&HostState>,
    wanted: &HostState,
) -> QueryResult<()> {
    let Some(before) = before else { return Ok(()) };
    if before.name != wanted.name {
        let name = format!("{:-<LONGEST_NAME$}", format!("import-{}", host.0)).parse().ok();
        host::update(connection, host, &HostChange { name, ..HostChange::default() })?;
    }
    for (name, opt_in) in &before.opt_ins {
        let Some(row) = category::find(connection, name)? else { continue };
        match wanted.opt_ins.get(name) {
            None => drop(host_category::opt_out(connection, host, row.id)?),
            Some(wanted) => {
                let gone: BTreeSet<_> = opt_in.urls.difference(&wanted.urls).collect();
                host_category::delete_urls(connection, host, row.id, &gone)?;
            }
        }
    }
    Ok(())
}

fn store_site(
    connection: &mut Connection,
    id: i64,
    known: Option<SiteId>,
    wanted: &SiteState,
    now: Time,
) -> QueryResult<SiteId> {
    let SiteState { name, org_url, private, user_active, admin_active, admins } = wanted.clone();
    let site = match known {
        Some(site) => site,
        None => {
            let new = NewSite { name: name.clone(), org_url: None, private, created_at: now };
            let site = site::insert(connection, &new)?.id;
            diesel::insert_into(imported_site::table)
                .values((imported_site::site_id.eq(site), imported_site::mirrormanager_id.eq(id)))
                .execute(connection)?;
            site
        }
    };
    let change = SiteChange {
        name: Some(name),
        org_url: Some(org_url),
        private: Some(private),
        user_active: Some(user_active),
        admin_active: Some(admin_active),
    };
    site::update(connection, site, &change)?;
    diesel::delete(site_admin::table.filter(site_admin::site_id.eq(site))).execute(connection)?;
    for username in admins {
        diesel::insert_into(site_admin::table)
            .values((site_admin::site_id.eq(site), site_admin::username.eq(username)))
            .execute(connection)?;
    }
    Ok(site)
}

fn store_host(
    connection: &mut Connection,
    id: i64,
    known: Option<HostId>,
    site: SiteId,
    wanted: &HostState,
    now: Time,
) -> QueryResult<HostId> {
    let host = match known {
        Some(host) => host,
        None => insert_host(connection, id, site, wanted, now)?,
    };
    let found = host::find_by_id(connection, host)?;
    let kind = match (found.map(|it| it.kind), wanted.always_up2date) {
        (_, false) => HostKind::Static,
        (None | Some(HostKind::Static), true) => HostKind::PullThrough,
        // Whether it is a CDN only we know.
        (Some(other), true) => other,
    };
    let change = HostChange {
        site_id: Some(site),
        name: Some(wanted.name.clone()),
        country: Some(wanted.country),
        latitude: Some(wanted.place.map(Place::latitude)),
        longitude: Some(wanted.place.map(Place::longitude)),
        asn: Some(wanted.asn),
        asn_clients: Some(wanted.asn_clients),
        bandwidth: Some(wanted.bandwidth),
        private: Some(wanted.private),
        user_active: Some(wanted.user_active),
        admin_active: Some(wanted.admin_active),
        comment: Some(wanted.comment.clone()),
        kind: Some(kind),
        ..HostChange::default()
    };
    host::update(connection, host, &change)?;
    store_opt_ins(connection, host, wanted, now)?;
    store_networks(connection, host, wanted)?;
    Ok(host)
}

fn insert_host(
    connection: &mut Connection,
    id: i64,
    site_id: SiteId,
    wanted: &HostState,
    now: Time,
) -> QueryResult<HostId> {
    let new = NewHost {
        site_id,
        name: wanted.name.clone(),
        country: None,
        latitude: None,
        longitude: None,
        asn: None,
        asn_clients: true,
        bandwidth: None,
        private: wanted.private,
        contacts: String::new(),
        comment: String::new(),
        created_at: now,
        kind: HostKind::Static,
        client_share: None,
        daily_bytes: None,
        max_file_size: None,
    };
    let host = host::insert(connection, &new)?.id;
    diesel::insert_into(imported_host::table)
        .values((imported_host::host_id.eq(host), imported_host::mirrormanager_id.eq(id)))
        .execute(connection)?;
    Ok(host)
}

/// An opt-in that is the same is left alone: it is not due to be crawled by this.
fn store_opt_ins(
    connection: &mut Connection,
    host: HostId,
    wanted: &HostState,
    now: Time,
) -> QueryResult<()> {
    for (name, opt_in) in &wanted.opt_ins {
        let Some(row) = category::find(connection, name)? else { continue };
        let found = host_category::find(connection, host, row.id)?;
        let known: Option<BTreeSet<_>> = match &found {
            None => None,
            Some(it) => {
                Some(host_category::list_urls(connection, it.id)?.into_iter().map(|it| it.url).collect())
            }
        };
        let urls: Vec<_> = opt_in.urls.iter().cloned().collect();
        let id = match found {
            Some(found) if known.as_ref() == Some(&opt_in.urls) => found.id,
            _ => host_category::opt_in(connection, host, row.id, &urls, now)?.id,
        };
        host_category::set_rsync_url(connection, id, opt_in.rsync.as_ref())?;
    }
    Ok(())
}

fn store_networks(connection: &mut Connection, host: HostId, wanted: &HostState) -> QueryResult<()> {
    for row in host_netblock::list(connection, host)? {
        match wanted.netblocks.get(&row.netblock) {
            None => drop(host_netblock::delete(connection, row.id)?),
            Some(name) => {
                let change = HostNetblockChange { netblock: None, name: Some(name.clone()) };
                host_netblock::update(connection, row.id, &change)?;
            }
        }
    }
    for (netblock, name) in &wanted.netblocks {
        if host_netblock::find(connection, host, netblock)?.is_none() {
            host_netblock::insert(connection, host, netblock, name)?;
        }
    }
    host_peer_asn::replace(connection, host, Vec::new())?;
    for (asn, name) in &wanted.peer_asns {
        let peer = HostPeerAsn { host_id: host, asn: *asn, name: name.clone() };
        host_peer_asn::insert(connection, &peer)?;
    }
    let countries: Vec<_> = wanted.countries_allowed.iter().copied().collect();
    host_country::allowed::replace(connection, host, &countries)
}

/// A site that MirrorManager has no more goes with its hosts there; if people added others here, it stays, as ours, and
/// by its name unless that was given away.
fn drop_site(
    connection: &mut Connection,
    site: SiteId,
    id: i64,
    former: Option<&SiteName>,
) -> QueryResult<()> {
    if host::list_of_site(connection, site)?.is_empty() {
        site::delete(connection, site)?;
        return Ok(());
    }
    if let Some(former) = former {
        let is_given = site::find(connection, former)?.is_some_and(|it| it.id != site);
        let short: String = former.as_str().chars().take(LONGEST_NAME - 30).collect();
        let name =
            if is_given { format!("{} ({id})", short.trim()).parse().ok() } else { Some(former.clone()) };
        site::update(connection, site, &SiteChange { name, ..SiteChange::default() })?;
    }
    diesel::delete(imported_site::table.filter(imported_site::mirrormanager_id.eq(id)))
        .execute(connection)?;
    diesel::delete(site_admin::table.filter(site_admin::site_id.eq(site))).execute(connection)?;
    Ok(())
}

fn store_values(connection: &mut Connection, before: &Network, after: &Network) -> QueryResult<()> {
    if before.netblock_countries != after.netblock_countries {
        country::replace_imported_netblocks(connection, &after.netblock_countries)?;
    }
    if before.continent_redirects != after.continent_redirects {
        country::replace_imported_redirects(connection, &after.continent_redirects)?;
    }
    if before.embargoed != after.embargoed {
        country::replace_embargoed(connection, &after.embargoed)?;
    }
    if before.aliases != after.aliases {
        repository_alias::replace_imported(connection, &after.aliases)?;
    }
    Ok(())
}
