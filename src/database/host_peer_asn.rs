//! The table `host_peer_asn`: other autonomous systems whose clients a host wants.

use diesel::prelude::*;
use serde::Serialize;

use super::{Connection, error::exists, schema::host_peer_asn};
use crate::mirror::{Asn, HostId};

/// A peer of a host.
#[derive(Clone, Debug, PartialEq, Queryable, Selectable, Insertable, Serialize)]
#[diesel(table_name = host_peer_asn)]
pub struct HostPeerAsn {
    /// Whose peer.
    pub host_id: HostId,
    /// Unique for the host.
    pub asn: Asn,
    /// What people call it.
    pub name: String,
}

/// The peers of a host, by number.
pub fn list(connection: &mut Connection, host: HostId) -> QueryResult<Vec<HostPeerAsn>> {
    host_peer_asn::table
        .select(HostPeerAsn::as_select())
        .filter(host_peer_asn::host_id.eq(host))
        .order(host_peer_asn::asn)
        .load(connection)
}

/// Adds a peer.
pub fn insert(connection: &mut Connection, peer: &HostPeerAsn) -> QueryResult<()> {
    diesel::insert_into(host_peer_asn::table)
        .values(peer)
        .execute(connection)
        .map(drop)
        .map_err(|error| exists(error, || format!("the peer AS{} of this host", peer.asn)))
}

/// Sets the peers of a host; those that stay keep their names.
pub fn replace(connection: &mut Connection, host: HostId, mut asns: Vec<Asn>) -> QueryResult<()> {
    for peer in list(connection, host)? {
        if !asns.contains(&peer.asn) {
            delete(connection, host, peer.asn)?;
        }
        asns.retain(|it| *it != peer.asn);
    }
    asns.sort_unstable();
    asns.dedup();
    for asn in asns {
        insert(connection, &HostPeerAsn { host_id: host, asn, name: String::new() })?;
    }
    Ok(())
}

/// Removes a peer; how many there were.
pub fn delete(connection: &mut Connection, host: HostId, asn: Asn) -> QueryResult<usize> {
    diesel::delete(host_peer_asn::table.find((host, asn))).execute(connection)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::{Part, testing::*};

    #[test]
    fn a_peer_is_added_and_removed() {
        on_both(|database| {
            let host_id = add_host(database, "m1").id;
            let peer = HostPeerAsn { host_id, asn: "4294967295".parse().unwrap(), name: "x".into() };
            database.write(Part::Hosts, |it| insert(it, &peer)).unwrap();
            let error = database.write(Part::Hosts, |it| insert(it, &peer)).unwrap_err();
            assert_eq!(error.to_string(), "the peer AS4294967295 of this host exists already");
            assert_eq!(database.read(|it| list(it, host_id)).unwrap(), std::slice::from_ref(&peer));
            assert_eq!(database.write(Part::Hosts, |it| delete(it, host_id, peer.asn)).unwrap(), 1);
        });
    }
}
