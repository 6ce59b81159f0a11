use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use diesel::prelude::*;

use super::super::{
    Connection, category, country,
    host::{self, Host},
    host_category, host_country, host_netblock, host_peer_asn, repository_alias,
    schema::{
        host_category as opt_ins, host_category_url, host_netblock as netblocks, imported_host, imported_site,
    },
    site::{self, Site},
};
use crate::{
    mirror::{
        Asn, Bandwidth, CategoryName, Continent, Country, HostId, HostKind, HostName, HostUrl, Netblock,
        Place, RsyncUrl, SiteId, SiteName,
    },
    oci::RepositoryName,
};

/// All that an import keeps here, as it is or as it should be. Sites and hosts are told apart by their ids in
/// MirrorManager.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Network {
    /// By their ids there.
    pub sites: BTreeMap<i64, SiteState>,
    /// By their ids there.
    pub hosts: BTreeMap<i64, HostState>,
    /// Countries of networks.
    pub netblock_countries: BTreeMap<Netblock, Country>,
    /// Continents of countries.
    pub continent_redirects: BTreeMap<Country, Continent>,
    /// Countries under embargo.
    pub embargoed: BTreeSet<Country>,
    /// Former names of repositories, and what they are called now.
    pub aliases: BTreeMap<RepositoryName, RepositoryName>,
}

/// A site.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the fields are those of `Site`")]
pub struct SiteState {
    pub name: SiteName,
    pub org_url: Option<String>,
    pub private: bool,
    pub user_active: bool,
    pub admin_active: bool,
    /// Names of the accounts that may edit it.
    pub admins: BTreeSet<String>,
}

/// A host with all that belongs to it. What MirrorManager does not know (contacts, limits, tokens) is not in it.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the fields are those of `Host`")]
pub struct HostState {
    /// The site's id in MirrorManager.
    pub site: i64,
    pub name: HostName,
    pub country: Option<Country>,
    pub place: Option<Place>,
    pub asn: Option<Asn>,
    pub asn_clients: bool,
    pub bandwidth: Option<Bandwidth>,
    pub private: bool,
    pub user_active: bool,
    pub admin_active: bool,
    pub comment: String,
    /// It has all that it opted in to, by the word of MirrorManager: any kind but [`HostKind::Static`].
    pub always_up2date: bool,
    pub opt_ins: BTreeMap<CategoryName, OptIn>,
    /// With what people call them.
    pub netblocks: BTreeMap<Netblock, String>,
    /// With what people call them.
    pub peer_asns: BTreeMap<Asn, String>,
    pub countries_allowed: BTreeSet<Country>,
}

/// Where a host carries a category.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OptIn {
    /// For clients.
    pub urls: BTreeSet<HostUrl>,
    /// For the crawler.
    pub rsync: Option<RsyncUrl>,
}

/// What is here and not imported, and what else an import has to know of this side.
#[derive(Clone, Debug, Default)]
pub struct Local {
    /// Names of sites of ours.
    pub sites: HashSet<SiteName>,
    /// Names of hosts of ours.
    pub hosts: HashSet<HostName>,
    /// URLs of hosts of ours.
    pub urls: HashMap<HostUrl, HostName>,
    /// Networks whose country was set here.
    pub netblock_countries: HashSet<Netblock>,
    /// Countries whose continent was set here.
    pub continent_redirects: HashSet<Country>,
    /// Former names that were set here.
    pub aliases: HashSet<RepositoryName>,
    /// All categories, retired ones too: their opt-ins wait for the day they come back.
    pub categories: BTreeSet<CategoryName>,
    /// Hosts of MirrorManager that are here, by their ids there.
    pub imported: HashSet<i64>,
    /// Their netblocks, by the ids there and what people call them.
    pub netblocks: HashMap<(i64, String), Vec<Netblock>>,
}

/// Reads what is here and not imported.
pub fn load_local(connection: &mut Connection) -> QueryResult<Local> {
    let their_sites = list_sites(connection)?;
    let their_hosts = list_hosts(connection)?;
    let mut local = Local { imported: their_hosts.values().copied().collect(), ..Local::default() };
    local.categories = category::list(connection)?.into_iter().map(|it| it.name).collect();
    let ours = site::list(connection)?.into_iter().filter(|it| !their_sites.contains_key(&it.id));
    local.sites = ours.map(|it| it.name).collect();
    let hosts = host::list(connection)?;
    let names: HashMap<HostId, HostName> = hosts.into_iter().map(|it| (it.id, it.name)).collect();
    let ours = |id: &HostId| !their_hosts.contains_key(id);
    local.hosts = names.iter().filter(|(id, _)| ours(id)).map(|(_, name)| name.clone()).collect();
    let urls: Vec<(HostId, HostUrl)> = host_category_url::table
        .inner_join(opt_ins::table)
        .select((opt_ins::host_id, host_category_url::url))
        .load(connection)?;
    let urls = urls.into_iter().filter(|(id, _)| ours(id));
    local.urls = urls.filter_map(|(id, url)| Some((url, names.get(&id)?.clone()))).collect();
    let rows: Vec<(HostId, String, Netblock)> = netblocks::table
        .select((netblocks::host_id, netblocks::name, netblocks::netblock))
        .load(connection)?;
    for (host, name, netblock) in rows {
        if let Some(id) = their_hosts.get(&host) {
            local.netblocks.entry((*id, name)).or_default().push(netblock);
        }
    }
    local.netblock_countries =
        country::list_netblock_countries_by(connection, false)?.into_iter().map(|it| it.0).collect();
    local.continent_redirects =
        country::list_continent_redirects_by(connection, false)?.into_iter().map(|it| it.0).collect();
    local.aliases = repository_alias::list(connection)?
        .into_iter()
        .filter(|it| !it.imported)
        .map(|it| it.alias)
        .collect();
    Ok(local)
}

/// Reads what was imported.
pub(super) fn load(connection: &mut Connection) -> QueryResult<Network> {
    let (sites, hosts) = (list_sites(connection)?, list_hosts(connection)?);
    let mut network = Network {
        netblock_countries: country::list_netblock_countries_by(connection, true)?.into_iter().collect(),
        continent_redirects: country::list_continent_redirects_by(connection, true)?.into_iter().collect(),
        embargoed: country::list_embargoed(connection)?.into_iter().collect(),
        ..Network::default()
    };
    let aliases = repository_alias::list(connection)?.into_iter().filter(|it| it.imported);
    network.aliases = aliases.map(|it| (it.alias, it.repository)).collect();
    for row in site::list(connection)? {
        if let Some(id) = sites.get(&row.id) {
            network.sites.insert(*id, load_site(connection, row)?);
        }
    }
    for row in host::list(connection)? {
        // A host of theirs whose site was made ours cannot be: its site goes last.
        if let (Some(id), Some(site)) = (hosts.get(&row.id), sites.get(&row.site_id)) {
            network.hosts.insert(*id, load_host(connection, row, *site)?);
        }
    }
    Ok(network)
}

/// The imported sites, and their ids in MirrorManager.
pub(super) fn list_sites(connection: &mut Connection) -> QueryResult<HashMap<SiteId, i64>> {
    let rows: Vec<(SiteId, i64)> = imported_site::table
        .select((imported_site::site_id, imported_site::mirrormanager_id))
        .load(connection)?;
    Ok(rows.into_iter().collect())
}

/// The imported hosts, and their ids in MirrorManager.
pub(super) fn list_hosts(connection: &mut Connection) -> QueryResult<HashMap<HostId, i64>> {
    let rows: Vec<(HostId, i64)> = imported_host::table
        .select((imported_host::host_id, imported_host::mirrormanager_id))
        .load(connection)?;
    Ok(rows.into_iter().collect())
}

fn load_site(connection: &mut Connection, row: Site) -> QueryResult<SiteState> {
    let admins = super::list_admins(connection, row.id)?;
    let Site { name, org_url, private, user_active, admin_active, .. } = row;
    Ok(SiteState { name, org_url, private, user_active, admin_active, admins: admins.into_iter().collect() })
}

fn load_host(connection: &mut Connection, row: Host, site: i64) -> QueryResult<HostState> {
    let mut opt_ins = BTreeMap::new();
    for (opt_in, category) in host_category::list(connection, row.id)? {
        let urls = host_category::list_urls(connection, opt_in.id)?.into_iter().map(|it| it.url).collect();
        opt_ins
            .insert(category, OptIn { urls, rsync: host_category::find_rsync_url(connection, opt_in.id)? });
    }
    let netblocks = host_netblock::list(connection, row.id)?;
    let peers = host_peer_asn::list(connection, row.id)?;
    Ok(HostState {
        site,
        place: row.place(),
        name: row.name,
        country: row.country,
        asn: row.asn,
        asn_clients: row.asn_clients,
        bandwidth: row.bandwidth,
        private: row.private,
        user_active: row.user_active,
        admin_active: row.admin_active,
        comment: row.comment,
        always_up2date: row.kind != HostKind::Static,
        opt_ins,
        netblocks: netblocks.into_iter().map(|it| (it.netblock, it.name)).collect(),
        peer_asns: peers.into_iter().map(|it| (it.asn, it.name)).collect(),
        countries_allowed: host_country::allowed::list(connection, row.id)?.into_iter().collect(),
    })
}
