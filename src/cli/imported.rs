//! What an import keeps is edited where it comes from.

use anyhow::bail;

use crate::database::{
    Database,
    host::Host,
    imported::{find_host, find_site},
    site::Site,
};

/// Refuses to edit a host that comes from MirrorManager.
pub(super) fn refuse_host(database: &Database, host: &Host) -> anyhow::Result<()> {
    let Some(id) = database.read(|it| find_host(it, host.id))? else { return Ok(()) };
    let name = &host.name;
    bail!(
        "{name} comes from MirrorManager (host {id} there) and is read-only here: edit it there, and the next import \
         brings the change. Here it can be drained (`portolan host drain {name}`), and given what MirrorManager does not \
         know: contacts, share, bytes a day, largest file, countries denied, tokens"
    );
}

/// Refuses to edit a site that comes from MirrorManager.
pub(super) fn refuse_site(database: &Database, site: &Site) -> anyhow::Result<()> {
    let Some(id) = database.read(|it| find_site(it, site.id))? else { return Ok(()) };
    bail!(
        "{} comes from MirrorManager (site {id} there) and is read-only here: edit it there, and the next import brings \
         the change",
        site.name
    );
}
