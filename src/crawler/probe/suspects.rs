//! Looks at exactly the blob that a client did not get from a URL. What it finds there counts, not the client's
//! word.

use std::{
    collections::{HashMap, hash_map::Entry},
    time::Duration,
};

use crate::{
    connector::{Connector, Outcome},
    database::suspicion::{Settled, Suspicion},
    mirror::{HostCategoryUrlId, blob_path},
    oci,
};

/// A blob that was found good is not looked at again for so long, however many clients come back: a crowd
/// behind one address looks like one client that fails.
const REST: Duration = Duration::from_secs(60);

/// Blobs up to this size, in bytes, are read whole and compared with their digest.
const WHOLE: u64 = 256 * 1024;

/// Of larger ones so many bytes are asked for by range.
const PIECE: u64 = 1024;

/// Which suspicions are looked at, or were lately, and what is not stored yet.
#[derive(Default)]
pub(super) struct Suspects {
    /// By URL and blob: when the look began.
    looks: HashMap<(HostCategoryUrlId, u32), Duration>,
    settled: Vec<Settled>,
}

impl Suspects {
    /// Those of the list to look at now, at most `most`. What was looked at lately is settled by that.
    pub(super) fn take_new(&mut self, found: Vec<Suspicion>, now: Duration, most: usize) -> Vec<Suspicion> {
        self.looks.retain(|_, began| now.saturating_sub(*began) < REST);
        let mut new = Vec::new();
        for suspicion in found {
            let key = (suspicion.url_id, suspicion.number);
            match self.looks.entry(key) {
                // Its answer is on its way, or it was given within the last minute.
                Entry::Occupied(_) => self.settled.push(Settled { suspicion, fault: None }),
                Entry::Vacant(look) if new.len() < most => {
                    look.insert(now);
                    new.push(suspicion);
                }
                Entry::Vacant(_) => {}
            }
        }
        new
    }

    pub(super) fn note(&mut self, settled: Settled) {
        self.settled.push(settled);
    }

    pub(super) fn take_settled(&mut self) -> Vec<Settled> {
        std::mem::take(&mut self.settled)
    }

    /// They could not be stored.
    pub(super) fn put_back(&mut self, settled: Vec<Settled>) {
        self.settled.extend(settled);
    }

    pub(super) fn has_settled(&self) -> bool {
        !self.settled.is_empty()
    }
}

/// Looks at one: its size by HEAD, then its bytes or some of them. A URL that does not answer at all is the
/// probe's business, not the blob's.
pub(super) async fn look(connector: &Connector, suspicion: Suspicion) -> Settled {
    let Suspicion { url, size, digest, .. } = &suspicion;
    let digest = oci::Digest::from(*digest);
    let path = blob_path(&digest);
    let mut fault = fault(connector.head(url, &path, *size).await);
    if fault.is_none() {
        fault = match *size {
            size if size <= WHOLE => self::fault(connector.hash(url, &path, digest, size).await),
            size => self::fault(connector.fetch_range(url, &path, 0..PIECE, size).await),
        };
    }
    Settled { fault, suspicion }
}

fn fault<T>(outcome: Outcome<T>) -> Option<String> {
    match outcome {
        Outcome::Absent => Some("it is not there".to_owned()),
        Outcome::Damaged(reason) | Outcome::Wrong(reason) => Some(reason),
        Outcome::Present(_) | Outcome::Unreachable(_) | Outcome::NoRoute(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        connector::{
            Family, Guard,
            testing::{Answer, Server},
        },
        database::Sha256,
        mirror::{HostCategoryId, Reach},
    };

    fn suspicion(url: &str, number: u32, bytes: &[u8]) -> Suspicion {
        Suspicion {
            url_id: HostCategoryUrlId(1),
            url: url.parse().unwrap(),
            ipv4: Reach::Up,
            host_name: "m1".parse().unwrap(),
            host_category: HostCategoryId(1),
            number,
            digest: Sha256(*oci::Digest::of(bytes).sha256().unwrap()),
            size: bytes.len() as u64,
        }
    }

    #[tokio::test]
    async fn what_is_there_decides() {
        let server = Server::start(|request| match request.path.split('/').nth(1) {
            Some("good") => Answer::new(200, b"bytes"),
            Some("flipped") => Answer::new(200, b"bytez"),
            Some("longer") => Answer::new(200, b"bytes!"),
            Some("busy") => Answer::new(503, b""),
            _ => Answer::new(404, b""),
        })
        .await;
        let guard = Guard::new(["127.0.0.0/8".parse().unwrap()]);
        let connector = Connector::new(guard, Family::Any, "test", Duration::from_secs(5)).unwrap();
        let found = oci::Digest::of(b"bytez");
        for (path, fault) in [
            ("good", None),
            ("busy", None),
            ("gone", Some("it is not there".to_owned())),
            ("longer", Some("it has a file of 6 bytes instead of 5".to_owned())),
            ("flipped", Some(format!("its bytes have the digest {found}"))),
        ] {
            let suspicion = suspicion(&format!("{}/{path}", server.url()), 1, b"bytes");
            assert_eq!(look(&connector, suspicion).await.fault, fault, "{path}");
        }
    }

    #[test]
    fn what_was_looked_at_rests() {
        let mut suspects = Suspects::default();
        let list =
            |numbers: &[u32]| numbers.iter().map(|it| suspicion("http://m1", *it, b"x")).collect::<Vec<_>>();
        let second = Duration::from_secs;
        assert_eq!(suspects.take_new(list(&[1, 2, 3]), second(0), 2), list(&[1, 2]));
        assert_eq!(suspects.take_new(list(&[1, 3]), second(59), 2), list(&[3]));
        let settled = suspects.take_settled();
        assert_eq!(settled, [Settled { suspicion: list(&[1]).remove(0), fault: None }]);
        suspects.put_back(settled);
        assert!(suspects.has_settled());
        assert_eq!(suspects.take_new(list(&[1]), second(60), 2), list(&[1]));
    }
}
