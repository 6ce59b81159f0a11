//! A country database of the rig's networks, with records nested as MaxMind has them.

use std::path::Path;

use ipnet::IpNet;
use mmdb_writer::Writer;
use serde_json::json;

use super::namespace::NETWORKS;

/// Writes the database to `file`.
pub(crate) fn write(file: &Path) {
    let mut writer = Writer::new("GeoLite2-Country");
    for (network, country) in NETWORKS {
        let network: IpNet = network.parse().expect("a network");
        writer.insert(network, &json!({"country": {"iso_code": country}})).expect("a record");
    }
    std::fs::write(file, writer.to_bytes().expect("a database")).expect("the database's file");
}
