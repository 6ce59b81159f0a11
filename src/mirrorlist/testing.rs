//! What several tests begin with.

use roaring::RoaringBitmap;

use super::{
    load::ALL,
    rows::{HostCategoryRow, HostRow, HostUrlRow},
};
use crate::mirror::{CategoryId, HostCategoryId, HostCategoryUrlId, HostId, HostKind, Reach, Scheme, SiteId};

/// When the tests play, Unix seconds.
pub(crate) const NOW: i64 = 1_700_000_000;

/// A host in Germany that is fine in every way.
pub(crate) fn host(id: i64) -> HostRow {
    let url = HostUrlRow {
        id: HostCategoryUrlId(id),
        url: format!("https://m{id}.example/fedora"),
        scheme: Scheme::Https,
        ipv4: Reach::Up,
        ipv6: Reach::Unknown,
    };
    HostRow {
        id: HostId(id),
        name: format!("m{id}"),
        site: SiteId(1),
        site_name: "University".to_owned(),
        country: "DE".parse().ok(),
        place: None,
        asn: None,
        asn_clients: true,
        peer_asns: Vec::new(),
        bandwidth: None,
        private: false,
        user_active: true,
        admin_active: true,
        auto_disabled: None,
        drained: false,
        netblocks: Vec::new(),
        countries_allowed: Vec::new(),
        countries_denied: Vec::new(),
        kind: HostKind::Static,
        client_share: 100,
        daily_bytes: None,
        max_file_size: None,
        clean_since: 0,
        kept: ALL,
        demoted: Vec::new(),
        categories: vec![HostCategoryRow {
            id: HostCategoryId(id),
            category: CategoryId(1),
            drained: false,
            urls: vec![url],
        }],
    }
}

/// Blob numbers as rows have them.
pub(crate) fn set(numbers: &[u32]) -> Vec<u8> {
    let mut bytes = Vec::new();
    numbers.iter().collect::<RoaringBitmap>().serialize_into(&mut bytes).unwrap();
    bytes
}
