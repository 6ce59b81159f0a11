//! Looks at exactly the blob that a client did not get from a URL. What it finds there counts, not the client's
//! word.

use std::{
    collections::{HashMap, hash_map::Entry},
    time::Duration,
};

use super::lines::Lines;
use crate::{
    connector::{Connector, Outcome},
    database::suspicion::{BlobFault, Settled, Suspicion},
    mirror::{FileFault, HostCategoryUrlId, HostName, blob_path},
    oci,
};

/// A blob that was found good is not looked at again for so long, however many clients come back: a crowd
/// behind one address looks like one client that fails.
const REST: Duration = Duration::from_secs(60);

/// So many looks at one URL begin within [`REST`]: clients must not make us a burden. Others wait.
const LOOKS_AT_URL: usize = 20;

/// Of each blob so many bytes are read: all of a small one, which is then compared with its digest.
const START: u64 = 1024 * 1024;

/// When bodies of so many hosts, and of more than half of all, do not come to their end within [`REST`], this
/// machine's network is the fault, and none is blamed.
const HOSTS_UNTIL_DOUBT: usize = 3;

/// Which suspicions are looked at, or were lately, and what is not stored yet.
#[derive(Default)]
pub(super) struct Suspects {
    /// By URL and blob: when the look began.
    looks: HashMap<(HostCategoryUrlId, u32), Duration>,
    /// When a body of each host did not come to its end.
    broken: HashMap<HostName, Duration>,
    settled: Vec<Settled>,
}

impl Suspects {
    /// Those of the list to look at now, at most `most`. What was looked at lately is settled by that.
    pub(super) fn take_new(&mut self, found: Vec<Suspicion>, now: Duration, most: usize) -> Vec<Suspicion> {
        self.looks.retain(|_, began| now.saturating_sub(*began) < REST);
        let mut at_url: HashMap<HostCategoryUrlId, usize> = HashMap::new();
        for (url, _) in self.looks.keys() {
            *at_url.entry(*url).or_default() += 1;
        }
        let mut new = Vec::new();
        for suspicion in found {
            let key = (suspicion.url_id, suspicion.number);
            let of_url = at_url.entry(key.0).or_default();
            match self.looks.entry(key) {
                // Its answer is on its way, or it was given within the last minute.
                Entry::Occupied(_) => self.settled.push(Settled { suspicion, fault: None }),
                Entry::Vacant(look) if new.len() < most && *of_url < LOOKS_AT_URL => {
                    *of_url += 1;
                    look.insert(now);
                    new.push(suspicion);
                }
                Entry::Vacant(_) => {}
            }
        }
        new
    }

    /// Takes what a look found into account, of so many hosts in all. False: it is not believed.
    pub(super) fn note(&mut self, mut settled: Settled, hosts: usize, now: Duration) -> bool {
        let is_broken = settled.fault.as_ref().is_some_and(|it| it.kind == FileFault::Broken);
        if is_broken {
            self.broken.insert(settled.suspicion.host_name.clone(), now);
            self.broken.retain(|_, at| now.saturating_sub(*at) < REST);
        }
        let is_ours = self.broken.len() >= HOSTS_UNTIL_DOUBT && self.broken.len() * 2 > hosts;
        if is_broken && is_ours {
            settled.fault = None;
        }
        self.settled.push(settled);
        !(is_broken && is_ours)
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

/// Looks at one: its size by HEAD, then its bytes or the first of them, as a client asks for them. A body that does not
/// come to its end is asked for a second time, on a new connection; meanwhile some others of the opt-in are looked at,
/// until one of them is bad, too. A URL that does not answer at all is the probe's business, not the blob's.
pub(super) async fn look(
    lines: &Lines,
    suspicion: Suspicion,
    others: impl Future<Output = Vec<Suspicion>>,
) -> Vec<Settled> {
    let path = blob_path(&oci::Digest::from(suspicion.digest));
    let head = lines.kept.head(&suspicion.url, &path, suspicion.size).await;
    let mut bad_others = Vec::new();
    let mut found = match head {
        Outcome::Present(()) => read(&lines.kept, &suspicion).await,
        outcome => fault(outcome),
    };
    if found.as_ref().is_some_and(|it| it.kind == FileFault::Broken) {
        let second = read(&lines.new, &suspicion);
        (found, bad_others) = tokio::join!(second, find_bad(&lines.new, others));
    }
    if found.is_none() {
        bad_others.clear();
    }
    let first = Settled { suspicion, fault: found };
    std::iter::once(first).chain(bad_others).collect()
}

/// The first of them that is bad, if any is: one after another, since two connections to a host are enough.
async fn find_bad(connector: &Connector, others: impl Future<Output = Vec<Suspicion>>) -> Vec<Settled> {
    for suspicion in others.await {
        let fault = read(connector, &suspicion).await;
        if fault.is_some() {
            return vec![Settled { suspicion, fault }];
        }
    }
    Vec::new()
}

/// What is wrong with the bytes.
async fn read(connector: &Connector, suspicion: &Suspicion) -> Option<BlobFault> {
    let Suspicion { url, size, digest, .. } = suspicion;
    let digest = oci::Digest::from(*digest);
    fault(match connector.read_start(url, &blob_path(&digest), digest, *size, START).await {
        Outcome::Unreachable(reason) => Outcome::Broken(format!("it does not answer GET: {reason}")),
        outcome => outcome,
    })
}

fn fault(outcome: Outcome) -> Option<BlobFault> {
    let (kind, reason) = match outcome {
        Outcome::Absent => (FileFault::Absent, "it is not there".to_owned()),
        Outcome::Damaged(reason) => (FileFault::Damaged, reason),
        Outcome::Broken(reason) => (FileFault::Broken, reason),
        Outcome::Wrong(reason) => (FileFault::Wrong, reason),
        Outcome::Present(()) | Outcome::Unreachable(_) | Outcome::NoRoute(_) => return None,
    };
    Some(BlobFault { kind, reason })
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, Mutex},
        time::Instant,
    };

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

    const BODY: &[u8] = &[7; 200_000];

    fn lines() -> Lines {
        let connector = || {
            let guard = Guard::new(["127.0.0.0/8".parse().unwrap()]);
            Connector::new(guard, Family::Any, "test", Duration::from_secs(3)).unwrap()
        };
        Lines { kept: connector(), new: connector(), timeout: Duration::from_secs(3) }
    }

    #[tokio::test]
    async fn what_is_there_decides() {
        let server = Server::start(|request| match (request.path.split('/').nth(1), &*request.method) {
            (Some("good"), _) => Answer::new(200, BODY),
            (Some("flipped"), _) => Answer::new(200, &[&BODY[1..], b"z"].concat()),
            (Some("longer"), _) => Answer::new(200, &[BODY, b"!"].concat()),
            (Some("cut"), _) => Answer::new(200, BODY).cut(100_000),
            (Some("stalls"), _) => Answer::new(200, BODY).stall(100_000),
            (Some("drips"), "GET") => Answer::new(200, BODY).drip(),
            (Some("drips"), _) => Answer::new(200, BODY),
            (Some("page"), _) => Answer::new(302, b"").header("location", "/login"),
            (Some("busy"), _) => Answer::new(503, b""),
            (Some("login"), _) => Answer::new(403, b""),
            _ => Answer::new(404, b""),
        })
        .await;
        let found = oci::Digest::of(&[&BODY[1..], b"z"].concat());
        for (path, kind, reason) in [
            ("good", None, ""),
            ("busy", None, ""),
            ("gone", Some(FileFault::Absent), "it is not there"),
            ("page", Some(FileFault::Wrong), "it forbids access (403), after a redirect"),
            ("longer", Some(FileFault::Damaged), "it has a file of 200001 bytes instead of 200000"),
            ("flipped", Some(FileFault::Damaged), &format!("its bytes have the digest {found}")),
            ("cut", Some(FileFault::Broken), "it breaks off after 100000 of 200000 bytes"),
            ("stalls", Some(FileFault::Broken), "it stalls after 100000 of 200000 bytes"),
            ("drips", Some(FileFault::Broken), "it does not answer GET: no answer in time"),
        ] {
            let suspicion = suspicion(&format!("{}/{path}", server.url()), 1, BODY);
            let began = std::time::Instant::now();
            let mut settled = look(&lines(), suspicion, async { Vec::new() }).await;
            assert_eq!(settled.len(), 1);
            let fault = settled.remove(0).fault;
            assert_eq!(fault.as_ref().map(|it| it.kind), kind, "{path}: {fault:?}");
            assert!(fault.is_none_or(|it| it.reason.starts_with(reason)), "{path}");
            assert!(began.elapsed() < Duration::from_secs(8), "{path}: {:?}", began.elapsed());
        }
    }

    #[tokio::test]
    async fn others_are_looked_at_beside_the_second_look() {
        let looks = Arc::new(Mutex::new(Vec::new()));
        let seen = looks.clone();
        let server = Server::start(move |request| {
            let word = request.path.split('/').nth(1).unwrap_or_default().to_owned();
            let is_get = request.method == "GET";
            let mut seen = seen.lock().unwrap();
            let before = seen.iter().filter(|it| **it == word).count();
            if is_get {
                seen.push(word.clone());
            }
            match &*word {
                "once" if is_get && before == 0 => Answer::new(200, BODY).cut(1),
                "good" | "once" => Answer::new(200, BODY),
                _ => Answer::new(200, BODY).stall(100_000),
            }
        })
        .await;
        for (first, others, bad, gets) in [
            ("stalls", vec![], vec![0], 2),
            ("stalls", vec!["good", "good"], vec![0], 4),
            ("stalls", vec!["good", "stalls"], vec![0, 2], 4),
            ("stalls", vec!["stalls", "stalls"], vec![0, 1], 3),
            ("once", vec!["stalls"], vec![], 3),
        ] {
            looks.lock().unwrap().clear();
            let one = |number, word: &str| suspicion(&format!("{}/{word}", server.url()), number, BODY);
            let list = others.iter().zip(1..).map(|(word, number)| one(number, word)).collect();
            let began = Instant::now();
            let settled = look(&lines(), one(0, first), async { list }).await;
            println!("{first} {others:?}: {:.1?}", began.elapsed());
            let with_fault = settled.iter().filter(|it| it.fault.is_some());
            assert_eq!(
                with_fault.map(|it| it.suspicion.number).collect::<Vec<_>>(),
                bad,
                "{first} {others:?}"
            );
            assert_eq!(looks.lock().unwrap().len(), gets, "{first} {others:?}");
        }
    }

    #[test]
    fn bodies_of_most_hosts_do_not_break_at_once() {
        let broken = |host: u32| {
            let fault = Some(BlobFault { kind: FileFault::Broken, reason: "it stalls".into() });
            let host_name = format!("m{host}").parse().unwrap();
            Settled { suspicion: Suspicion { host_name, ..suspicion("http://m1", 1, b"x") }, fault }
        };
        let second = Duration::from_secs;
        let mut suspects = Suspects::default();
        assert!(suspects.note(broken(1), 4, second(0)) && suspects.note(broken(2), 4, second(1)));
        assert!(!suspects.note(broken(3), 4, second(2)), "three of four");
        assert!(suspects.note(broken(3), 40, second(3)), "three of forty");
        assert!(suspects.note(broken(4), 4, second(70)), "long after");
        assert_eq!(suspects.take_settled().iter().filter(|it| it.fault.is_none()).count(), 1);
    }

    #[test]
    fn no_host_is_looked_at_all_the_time() {
        let mut suspects = Suspects::default();
        let many: Vec<_> = (0..30).map(|it| suspicion("http://m1", it, b"x")).collect();
        assert_eq!(suspects.take_new(many.clone(), Duration::ZERO, 99).len(), LOOKS_AT_URL);
        assert_eq!(suspects.take_new(many[20..].to_vec(), Duration::from_secs(1), 99), []);
        assert_eq!(suspects.take_new(many[20..].to_vec(), REST, 99).len(), 10);
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
