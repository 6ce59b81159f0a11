use jiff::SignedDuration;

use super::*;
use crate::{
    crawler::budget::{Budget, Limits, probes_per_day},
    crawler::probe::{life::FAILURES_UNTIL_DOWN, lines::LATE},
    database::{crawl::HostUse, testing::now},
};

const TIMEOUT: Duration = Duration::from_secs(3);

const PACE: Pace = Pace { in_use: Duration::from_secs(5), timeout: TIMEOUT, idle: Duration::from_secs(300) };

/// Within so many seconds it is known that a URL in use died, whatever way.
const BOUND: f64 = 5.0;

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

fn silent() -> Probed {
    Probed::Failed("no answer in time".to_owned())
}

/// A watch, and a network in which the given hosts refuse by the given family.
struct Play {
    watch: Watch,
    now: f64,
    /// Seconds from one look at what is due to the next.
    step: f64,
    /// Host, family, and when it was asked.
    asked: Vec<(i64, Family, f64)>,
    /// Questions without an answer, when they were put, and whether they are known to be late.
    waiting: Vec<(Question, f64, bool)>,
}

impl Play {
    fn new(targets: Vec<ProbeTarget>) -> Self {
        let mut watch = Watch::new(PACE, 1);
        watch.replace(targets, Duration::ZERO);
        Self { watch, now: 0.0, step: 0.1, asked: Vec::new(), waiting: Vec::new() }
    }

    /// Lets time go by; every question is answered at once, but by those who are silent.
    fn run(&mut self, until: f64, mut answer: impl FnMut(i64, Family) -> Probed) -> Vec<(f64, Turn)> {
        let mut turns = Vec::new();
        while self.now < until {
            turns.extend(self.give_up());
            for question in self.watch.take_due(second(self.now), 1_000) {
                self.asked.push((question.id.0, question.family, self.now));
                let probed = answer(question.id.0, question.family);
                if probed == silent() {
                    self.waiting.push((question, self.now, false));
                } else {
                    turns.extend(self.note(&question, probed, 1));
                }
            }
            self.now += self.step;
        }
        turns
    }

    /// As the prober does with a question that has no answer.
    fn give_up(&mut self) -> Vec<(f64, Turn)> {
        let now = second(self.now);
        let is_late = |it: &(Question, f64, bool)| it.0.in_use && !it.2 && now >= second(it.1) + LATE;
        for it in self.waiting.iter_mut().filter(|it| is_late(it)) {
            self.watch.note_late(&it.0, now);
            it.2 = true;
        }
        let is_over = |it: &(Question, f64, bool)| now >= second(it.1) + TIMEOUT;
        let (over, waiting) = std::mem::take(&mut self.waiting).into_iter().partition(is_over);
        self.waiting = waiting;
        let over: Vec<(Question, f64, bool)> = over;
        let weight = |late| if late { FAILURES_UNTIL_DOWN } else { 1 };
        over.iter().flat_map(|it| self.note(&it.0, silent(), weight(it.2))).collect()
    }

    fn note(&mut self, question: &Question, probed: Probed, weight: u32) -> Option<(f64, Turn)> {
        let turn = self.watch.note(question, Asked { probed, weight }, second(self.now))?;
        Some((self.now, turn))
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
    assert!(gaps.len() >= 11 && gaps.iter().all(|it| (1.3..2.0).contains(it)), "{gaps:?}");
    assert!(gaps.iter().any(|it| *it < 1.6), "not all at the same time: {gaps:?}");
    play.use_only(&[]);
    play.run(1_000.0, good_by_ipv4);
    assert!(play.times(1, Family::Ipv4).iter().filter(|it| **it > 85.0).count() <= 5);
    assert!((3..=6).contains(&play.times(2, Family::Ipv4).len()));
    play.use_only(&[2]);
    play.run(1_000.2, good_by_ipv4);
    assert!(play.times(2, Family::Ipv4).last() > Some(&999.9), "newly in use, it is asked at once");
}

/// Four hosts in use, and one of them dies at every moment between two questions: how long it takes until that is
/// known.
fn longest_death(answer: &dyn Fn() -> Probed) -> f64 {
    let mut longest: f64 = 0.0;
    for moment in 0..25 {
        let mut play = Play::new(up(4));
        play.use_only(&[1, 2, 3, 4]);
        let dies = 20.0 + f64::from(moment) / 10.0;
        assert_eq!(play.run(dies, good_by_ipv4), []);
        let is_dead = |host, family| host == 1 && family == Family::Ipv4;
        let dead = |host, family| if is_dead(host, family) { answer() } else { good_by_ipv4(host, family) };
        let turns = play.run(dies + 20.0, dead);
        let [(at, turn)] = &turns[..] else { panic!("{turns:?}") };
        assert_eq!((turn.host.as_str(), turn.reach), ("m1", Reach::Down));
        longest = longest.max(at - dies);
    }
    longest
}

#[test]
fn a_dead_host_in_use_is_known_within_the_bound_whatever_way() {
    let refused = longest_death(&refused);
    let failed = longest_death(&|| Probed::Failed("503".to_owned()));
    let silent = longest_death(&silent);
    eprintln!("refused: {refused:.1} s, 503: {failed:.1} s, silent: {silent:.1} s");
    assert!(refused <= BOUND && failed <= BOUND && silent <= BOUND);
}

#[test]
fn one_late_answer_is_no_death() {
    let mut play = Play::new(up(4));
    play.use_only(&[1, 2, 3, 4]);
    play.run(20.0, good_by_ipv4);
    // The second question, beside the first, is answered.
    let question = Question {
        id: HostCategoryUrlId(1),
        url: "https://m1/fedora".parse().unwrap(),
        family: Family::Ipv4,
        in_use: true,
    };
    play.watch.note_late(&question, second(20.0));
    assert_eq!(play.note(&question, Probed::Good, 2), None);
    // Nor is one that both answer badly, for these may be as many as a bad moment has.
    assert_eq!(play.note(&question, Probed::Failed("503".to_owned()), 2), None);
    assert_eq!(play.run(40.0, good_by_ipv4), []);
}

#[test]
fn silence_of_all_is_our_own() {
    let mut play = Play::new(up(4));
    play.use_only(&[1, 2, 3, 4]);
    play.run(30.0, good_by_ipv4);
    let nothing = |_, family| if family == Family::Ipv4 { silent() } else { good_by_ipv4(1, family) };
    assert_eq!(play.run(120.0, nothing), [], "our own network is gone");
    let turns = play
        .run(160.0, |host, family| if host == 3 { good_by_ipv4(3, family) } else { nothing(host, family) });
    let down: BTreeSet<_> =
        turns.iter().filter(|it| it.1.reach == Reach::Down).map(|it| it.1.host.as_str()).collect();
    assert_eq!(down, ["m1", "m2", "m4"].into());
}

#[test]
fn silence_without_witnesses_counts_twice() {
    let mut play = Play::new(up(2));
    play.use_only(&[1, 2]);
    play.run(20.0, good_by_ipv4);
    let nothing = |_, family| if family == Family::Ipv4 { silent() } else { good_by_ipv4(1, family) };
    assert_eq!(play.run(24.0, nothing), [], "a moment without a network");
    play.run(60.0, good_by_ipv4);
    let turns = play.run(72.0, nothing);
    assert_eq!(turns.iter().filter(|it| it.1.reach == Reach::Down).count(), 2, "{turns:?}");
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
    let turns = play.run(34.5, six_is_dead);
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
    play.step = 1.0;
    play.run(24.0 * 3_600.0, |_, _| Probed::Good);
    let all = play.asked.len();
    assert!((800..1_050).contains(&all), "{all} in a day");
}

/// What an idle host is asked in a day by the prober, however badly it and all others behave, and by crawls that
/// take all that they may.
#[test]
fn crawl_and_probe_together_stay_below_the_limit() {
    const MOST: usize = 3_000;
    for urls in [1, 2, 3, 4, 6, 12, 30] {
        let of_one = (1..=urls).map(|it| ProbeTarget { host: HostId(1), ..target(it, Reach::Up, Reach::Up) });
        let others = (101..=103).map(|it| target(it, Reach::Up, Reach::Up));
        let mut play = Play::new(of_one.chain(others).collect());
        play.step = 1.0;
        play.run(60.0, |_, _| Probed::Good);
        // What it answers changes all the time, and others in use call for witnesses all the time.
        play.use_only(&[101, 102, 103]);
        play.asked.clear();
        let mut count = 0;
        play.run(24.0 * 3_600.0 + 60.0, |host, _| {
            count += 1;
            if count % if host < 100 { 3 } else { 2 } == 0 { refused() } else { Probed::Good }
        });
        let probes = play.asked.iter().filter(|it| it.0 < 100).count();
        assert!(
            probes as u64 <= probes_per_day(urls as usize) + 2 * urls as u64,
            "{urls} URLs: {probes} probes"
        );
        let crawls = crawled_in_a_day(urls as usize);
        eprintln!("{urls} URLs: {probes} probes and {crawls} requests of crawls a day");
        assert!(probes + crawls <= MOST, "{urls} URLs: {probes} and {crawls}");
    }
}

/// So many requests 24 crawls make that find something in doubt each time.
fn crawled_in_a_day(urls: usize) -> usize {
    let hour = SignedDuration::from_hours(1);
    let limits = Limits { requests_per_day: 3_000, bytes_per_day: 200_000_000, interval: hour };
    let midnight = now().unix_seconds().div_euclid(86_400) * 86_400;
    let mut spent = 0;
    for hour in 0..24 {
        let at = jiff::Timestamp::from_second(midnight + hour * 3_600).unwrap().into();
        let used = HostUse { day: midnight / 86_400, requests: spent, bytes: 0 };
        let budget = Budget::new(&limits, Some(used), urls, at);
        let before = spent;
        for visit in 0..urls {
            spent += budget.allow(spent - before, 0, urls - visit).map_or(0, |it| it.doubt as u64);
        }
    }
    spent as usize
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
