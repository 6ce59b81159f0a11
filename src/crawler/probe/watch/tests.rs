use super::*;

const PACE: Pace = Pace { in_use: Duration::from_secs(5), idle: Duration::from_secs(300) };

fn target(host: i64, ipv4: Reach, ipv6: Reach) -> ProbeTarget {
    ProbeTarget {
        id: HostCategoryUrlId(host),
        host: HostId(host),
        host_name: format!("m{host}").parse().unwrap(),
        country: None,
        url: format!("https://m{host}/fedora").parse().unwrap(),
        ipv4,
        ipv6,
    }
}

fn second(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn refused() -> Probed {
    Probed::Refused("refused".to_owned())
}

/// A watch, and a network in which the given hosts refuse by the given family.
struct Play {
    watch: Watch,
    now: f64,
    /// Host, family, and when it was asked.
    asked: Vec<(i64, Family, f64)>,
}

impl Play {
    fn new(targets: Vec<ProbeTarget>) -> Self {
        let mut watch = Watch::new(PACE, 1);
        watch.replace(targets, Duration::ZERO);
        Self { watch, now: 0.0, asked: Vec::new() }
    }

    /// Lets time go by; every question is answered at once.
    fn run(&mut self, until: f64, answer: impl Fn(i64, Family) -> Probed) -> Vec<(f64, Turn)> {
        let mut turns = Vec::new();
        while self.now < until {
            for question in self.watch.take_due(second(self.now), 1_000) {
                self.asked.push((question.id.0, question.family, self.now));
                let probed = answer(question.id.0, question.family);
                turns.extend(self.watch.note(&question, probed, second(self.now)).map(|it| (self.now, it)));
            }
            self.now += 0.1;
        }
        turns
    }

    fn use_only(&mut self, ids: &[i64]) {
        let ids = ids.iter().map(|it| HostCategoryUrlId(*it)).collect();
        self.watch.use_only(&ids, second(self.now));
    }

    fn times(&self, host: i64, family: Family) -> Vec<f64> {
        self.asked.iter().filter(|it| (it.0, it.1) == (host, family)).map(|it| it.2).collect()
    }
}

fn up(hosts: i64) -> Vec<ProbeTarget> {
    (1..=hosts).map(|it| target(it, Reach::Up, Reach::Unknown)).collect()
}

fn good_by_ipv4(_: i64, family: Family) -> Probed {
    if family == Family::Ipv4 { Probed::Good } else { Probed::NoRoute("none".to_owned()) }
}

#[test]
fn urls_in_use_are_asked_often_and_others_seldom() {
    let mut play = Play::new(up(2));
    play.run(20.0, good_by_ipv4);
    assert_eq!(play.times(2, Family::Ipv4).len(), 1, "within 10 s of the start");
    play.use_only(&[1]);
    play.run(80.0, good_by_ipv4);
    let gaps: Vec<f64> = play.times(1, Family::Ipv4).windows(2).map(|it| it[1] - it[0]).skip(1).collect();
    assert!(gaps.len() >= 11 && gaps.iter().all(|it| (2.7..3.8).contains(it)), "{gaps:?}");
    assert!(gaps.iter().any(|it| *it < 3.3), "not all at the same time: {gaps:?}");
    play.use_only(&[]);
    play.run(1_000.0, good_by_ipv4);
    assert!(play.times(1, Family::Ipv4).iter().filter(|it| **it > 85.0).count() <= 5);
    assert!((3..=6).contains(&play.times(2, Family::Ipv4).len()));
}

#[test]
fn a_dead_host_in_use_is_out_within_seconds_and_the_families_are_apart() {
    let mut targets = up(3);
    targets[0].ipv6 = Reach::Up;
    let mut play = Play::new(targets);
    play.use_only(&[1]);
    let both = |host: i64, family| if host == 1 { Probed::Good } else { good_by_ipv4(host, family) };
    assert_eq!(play.run(30.0, both), []);
    let six_is_dead = |_: i64, family| if family == Family::Ipv6 { refused() } else { Probed::Good };
    let turns = play.run(36.5, six_is_dead);
    let of_one: Vec<_> = turns.iter().filter(|it| it.1.host.as_str() == "m1").collect();
    assert_eq!(of_one.len(), 1, "{turns:?}");
    assert_eq!((of_one[0].1.reach, of_one[0].1.reason.as_deref()), (Reach::Down, Some("refused")));
    let changes = play.watch.take_changes();
    let change = changes.iter().find(|it| it.url.0 == 1).unwrap();
    assert_eq!((change.ipv4, change.ipv6), (Reach::Up, Reach::Down));
    assert_eq!(change.reason.as_deref(), Some("IPv6: refused"));
    assert!(!play.watch.has_changes());
    play.watch.put_back(&changes);
    assert!(play.watch.has_changes(), "they were not stored");
    let back = play.run(43.0, both);
    assert!(back.iter().any(|it| it.1.host.as_str() == "m1" && it.1.reach == Reach::Up), "{back:?}");
}

#[test]
fn nothing_goes_out_when_everything_does() {
    let mut play = Play::new(up(4));
    play.use_only(&[1, 2, 3, 4]);
    play.run(30.0, good_by_ipv4);
    let nothing = |_, _| Probed::NoRoute("no network".to_owned());
    assert_eq!(play.run(200.0, nothing), [], "our own network is gone");
    assert_eq!(play.run(400.0, |_, _| refused()).iter().filter(|it| it.1.reach == Reach::Down).count(), 0);
    // One of them answers again: the others are dead.
    let turns = play.run(460.0, |host, _| if host == 3 { Probed::Good } else { refused() });
    let down: BTreeSet<_> =
        turns.iter().filter(|it| it.1.reach == Reach::Down).map(|it| it.1.host.as_str()).collect();
    assert_eq!(down, ["m1", "m2", "m4"].into());
}

#[test]
fn two_hosts_are_believed_without_witnesses() {
    let mut play = Play::new(up(2));
    play.run(20.0, good_by_ipv4);
    play.use_only(&[1, 2]);
    let turns =
        play.run(40.0, |_, family| if family == Family::Ipv4 { refused() } else { good_by_ipv4(1, family) });
    assert_eq!(turns.iter().filter(|it| it.1.reach == Reach::Down).count(), 2);
}

#[test]
fn a_host_with_many_urls_is_asked_less_often() {
    let many = (1..=20).map(|it| ProbeTarget { host: HostId(1), ..target(it, Reach::Up, Reach::Up) });
    let mut play = Play::new(many.collect());
    play.run(2.4 * 3_600.0, |_, _| Probed::Good);
    let all = play.asked.len() * 10;
    assert!((1_000..2_000).contains(&all), "{all} in a day");
}

#[test]
fn what_the_database_says_counts_unless_ours_is_newer() {
    let mut play = Play::new(up(3));
    play.run(20.0, good_by_ipv4);
    let mut targets = up(3);
    targets[0].ipv4 = Reach::Down;
    play.watch.replace(targets.clone(), second(play.now));
    let turns = play.run(22.0, good_by_ipv4);
    assert_eq!(turns.len(), 1, "asked at once, and back after two good answers: {turns:?}");
    play.watch.replace(targets, second(play.now));
    let changes = play.watch.take_changes();
    assert_eq!((changes.len(), changes[0].ipv4), (1, Reach::Up), "what is not stored yet stays");
    play.watch.replace(Vec::new(), second(play.now));
    assert!(play.watch.take_due(second(play.now + 1_000.0), 10).is_empty());
}
