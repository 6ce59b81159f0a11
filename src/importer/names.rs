//! The addresses behind names that stand where networks should: MirrorManager takes both.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures_util::{StreamExt as _, stream};

use crate::{
    database::mirrormanager::Rows,
    mirror::{Netblock, is_invisible},
};

/// So many names are looked up in one import; more are skipped.
pub(super) const MOST_NAMES: usize = 500;

/// A name with more addresses than this is no machine's.
const MOST_ADDRESSES: usize = 16;

/// So many at once.
const AT_ONCE: usize = 16;

/// One look-up may take so long.
const LOOK_UP_TIME: Duration = Duration::from_secs(5);

/// Names, and their addresses or why there are none.
pub(super) type Names = BTreeMap<String, Result<Vec<Netblock>, String>>;

/// Looks up the names among the netblocks of these hosts, so many of them.
pub(super) async fn look_up_all(rows: &Rows, hosts: &BTreeSet<i64>, most: usize) -> Names {
    let named = rows.host_netblocks.iter().filter(|it| it.host_id.is_some_and(|it| hosts.contains(&it)));
    let names = named.filter_map(|it| it.netblock.as_deref().map(str::trim)).filter(|it| is_name(it));
    let names: BTreeSet<String> = names.map(str::to_owned).collect();
    let looked_up = stream::iter(names.into_iter().zip(0..)).map(|(name, place)| async move {
        let found = if place < most {
            look_up(&name).await
        } else {
            Err(format!("more than {most} names stand where networks should"))
        };
        (name, found)
    });
    looked_up.buffer_unordered(AT_ONCE).collect().await
}

/// A host's name with a dot in it, and not an address that went wrong: its last part has a letter.
pub(super) fn is_name(text: &str) -> bool {
    let is_plain = |it: &str| {
        let is_inner = |it: u8| it.is_ascii_alphanumeric() || it == b'-' || it == b'_';
        (1..=63).contains(&it.len()) && !it.starts_with('-') && it.bytes().all(is_inner)
    };
    let name = text.strip_suffix('.').unwrap_or(text);
    let last = name.rsplit('.').next().unwrap_or_default();
    name.len() <= 253
        && name.contains('.')
        && name.split('.').all(is_plain)
        && last.bytes().any(|it| it.is_ascii_alphabetic())
}

async fn look_up(name: &str) -> Result<Vec<Netblock>, String> {
    let found = tokio::time::timeout(LOOK_UP_TIME, tokio::net::lookup_host((name, 0))).await;
    let found = found.map_err(|_| format!("no answer within {} s", LOOK_UP_TIME.as_secs()))?;
    let found = found.map_err(|error| error.to_string().replace(is_invisible, " "))?;
    let addresses: BTreeSet<Netblock> = found.map(|it| it.ip().into()).collect();
    if addresses.len() > MOST_ADDRESSES {
        return Err(format!("it has more than {MOST_ADDRESSES} addresses"));
    }
    Ok(addresses.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::mirrormanager::HostNetblockRow;

    #[test]
    fn names_are_told_from_networks_that_went_wrong() {
        for name in ["proxy.example.org", "a.b.", "x_1.example"] {
            assert!(is_name(name), "{name}");
        }
        let long = format!("{}.org", "a".repeat(64));
        for text in
            ["", "localhost", "192.0.2.1", "192.0.2.300", "10.0.0.0/33", "a b.org", "a..b", "-a.org", &long]
        {
            assert!(!is_name(text), "{text}");
        }
    }

    #[tokio::test]
    async fn only_so_many_names_of_these_hosts_are_looked_up() {
        let row = |host, name: &str| HostNetblockRow {
            host_id: Some(host),
            netblock: Some(name.to_owned()),
            ..HostNetblockRow::default()
        };
        let rows =
            [row(1, "b.invalid"), row(1, "a.invalid"), row(1, "192.0.2.0/24"), row(2, "other.invalid")];
        let rows = Rows { host_netblocks: rows.into(), ..Rows::default() };
        let names = look_up_all(&rows, &BTreeSet::from([1]), 1).await;
        assert_eq!(names.keys().collect::<Vec<_>>(), ["a.invalid", "b.invalid"]);
        assert!(names["a.invalid"].is_err(), "nothing is called so");
        assert_eq!(names["b.invalid"], Err("more than 1 names stand where networks should".to_owned()));
    }
}
