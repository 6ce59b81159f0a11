use proptest::prelude::*;

use super::*;
use crate::{
    crawler::budget::Allowance,
    database::{
        Sha256,
        crawl::{CategoryState, Cycle},
        testing::now,
    },
    mirror::CrawlState,
    oci,
    tree::CANARY_DIGEST,
};

/// More than any test needs.
const PLENTY: Allowance = Allowance {
    calm: 4_000,
    doubt: 4_000,
    bytes: 1 << 40,
    again: 0,
    left: 1 << 41,
    largest: 1 << 41,
    is_fresh: false,
    interval: 3_600,
};

fn occasion(seed: u64) -> Occasion {
    Occasion { allowance: PLENTY, seed, is_asked_for: false, now: now() }
}

fn later(hours: i64) -> Time {
    (jiff::Timestamp::from(now()) + jiff::SignedDuration::from_hours(hours)).into()
}

/// A host that was crawled before, and all was well.
fn known(serial: Option<i64>, held: RoaringBitmap, looked: RoaringBitmap) -> Known {
    let cycle = Cycle {
        started_at: now(),
        looked,
        bodies_since: now(),
        bodies: held.clone(),
        serial,
        caught_at: None,
    };
    Known { held, cycle: Some(cycle), repair: Vec::new(), demanded: RoaringBitmap::new() }
}

/// Newest first; the digest and the size tell the number.
fn blobs(numbers: impl IntoIterator<Item = u32>) -> Vec<CrawlBlob> {
    let blob = |number: u32| {
        let mut digest = [7; 32];
        digest[..4].copy_from_slice(&number.to_be_bytes());
        CrawlBlob { number, digest: Sha256(digest), size: 100 + u64::from(number) }
    };
    let mut blobs: Vec<_> = numbers.into_iter().map(blob).collect();
    blobs.sort_by_key(|it| std::cmp::Reverse(it.number));
    blobs
}

fn truth(numbers: impl IntoIterator<Item = u32>) -> CategoryTruth {
    let blobs = blobs(numbers);
    let set = blobs.iter().map(|it| it.number).collect();
    let state = CategoryState { serial: 9, inventory_digest: Sha256([9; 32]), blobs: set };
    CategoryTruth { states: vec![state], blobs }
}

fn set(numbers: impl IntoIterator<Item = u32>) -> RoaringBitmap {
    numbers.into_iter().collect()
}

fn nothing() -> Claim {
    Claim::Nothing(None, "it has no zz/serial".into())
}

fn absent(_: u32) -> Outcome {
    Outcome::Absent
}

fn wrong() -> Outcome {
    Outcome::Wrong("it has a file of 1 bytes instead of 2".into())
}

fn failed() -> Outcome {
    Outcome::Unreachable("503".into())
}

/// A host that answers as `host` says; all HEADs of all rounds.
fn crawl(plan: &Plan, host: &impl Fn(u32) -> Outcome) -> Findings {
    let mut findings = Findings::default();
    let mut files = plan.first_files();
    while !files.is_empty() {
        findings.heads.extend(files.iter().map(|it| (it.number, host(it.number))));
        files = plan.further_files(&findings);
    }
    findings
}

/// A host that has `present` and answers `Absent` to all else.
fn has(present: RoaringBitmap) -> impl Fn(u32) -> Outcome {
    move |number| if present.contains(number) { Outcome::Present(()) } else { Outcome::Absent }
}

#[track_caller]
fn check(
    truth: &CategoryTruth,
    claim: Claim,
    host: impl Fn(u32) -> Outcome,
    state: CrawlState,
    held: RoaringBitmap,
) -> Verdict {
    let new = Known::default();
    let plan = Plan::new(truth, &claim, &new, occasion(1));
    let verdict = plan.verdict(&crawl(&plan, &host));
    assert_eq!((verdict.state, verdict.held.as_ref()), (state, Some(&held)), "{:#?}", verdict.reasons);
    verdict
}

#[test]
fn small_trees_hold_what_was_seen() {
    let truth = truth(1..=10);
    let all = set(1..=10);
    let former = || Claim::Former(5, set(0..=6));
    check(&truth, Claim::Newest(9), has(all.clone()), CrawlState::UpToDate, all.clone());
    check(&truth, former(), has(set(1..=6)), CrawlState::Behind, set(1..=6));
    check(&truth, former(), has(set(1..=8)), CrawlState::Syncing, set(1..=8));
    check(&truth, former(), has(all.clone()), CrawlState::Syncing, all.clone());
    check(&truth, nothing(), has(set(3..=5)), CrawlState::Syncing, set(3..=5));
    check(&truth, nothing(), absent, CrawlState::Behind, set([]));
    let one_lacks = check(&truth, Claim::Newest(9), has(set(2..=10)), CrawlState::Lying, set(2..=10));
    assert!(one_lacks.reasons.iter().any(|it| it.ends_with("it claims to have it, and has not")));
    check(&truth, former(), has(set(1..=5)), CrawlState::Lying, set(1..=5));
    check(&truth, Claim::Broken("x".into()), has(set(1..=5)), CrawlState::Lying, set(1..=5));
}

#[test]
fn what_clients_asked_for_is_looked_for_first() {
    let (truth, claim) = (truth(1..=5_000), nothing());
    let demanded = set([7, 700, 4_000].into_iter().chain(1_000..1_300));
    let known = Known { demanded, ..known(None, set([700]), set([])) };
    let few = Occasion { allowance: Allowance { calm: 300, doubt: 700, ..PLENTY }, ..occasion(1) };
    let plan = Plan::new(&truth, &claim, &known, few);
    let first: RoaringBitmap = plan.first_files().iter().map(|it| it.number).collect();
    assert!(set([4_000]).is_subset(&first) && set(1_201..1_300).is_subset(&first), "the newest of them");
    assert!(!first.contains(1_100) && first.len() <= DEMAND_LIMIT as u64 + 36);
    // Some are there: the others, and then the newest of all.
    let all = plan_heads(&plan, &has(set(1..=5_000)));
    assert!(set([7, 4_000]).is_subset(&all) && set(1_000..1_300).is_subset(&all));
    assert!(set([5_000, 4_999]).is_subset(&all) && !all.contains(4_000 - 1), "then the newest");
    // A host that shows its serial tells what it has.
    let newest = Claim::Newest(9);
    let calm = Plan::new(&truth, &newest, &known, few).first_files();
    assert!(calm.iter().filter(|it| (1_000..1_300).contains(&it.number)).count() < 100);
}

/// The numbers of all files that are asked for.
fn plan_heads(plan: &Plan, host: &impl Fn(u32) -> Outcome) -> RoaringBitmap {
    crawl(plan, host).heads.keys().copied().collect()
}

#[test]
fn what_the_newest_serial_dropped_is_no_lie() {
    let truth = truth(5..=10);
    check(&truth, Claim::Former(5, set(1..=7)), has(set(5..=7)), CrawlState::Behind, set(5..=7));
}

#[test]
fn the_canary_alone_is_no_sign_of_syncing() {
    let mut truth = truth(1..=3);
    truth.blobs[2].digest = Sha256(*CANARY_DIGEST.sha256().unwrap());
    check(&truth, nothing(), has(set([1])), CrawlState::Behind, set([1]));
    check(&truth, nothing(), has(set([1, 2])), CrawlState::Syncing, set([1, 2]));
}

#[test]
fn wrong_files_are_lies_even_when_unclaimed() {
    let truth = truth(1..=10);
    let host = |number| if number == 3 { wrong() } else { Outcome::Present(()) };
    let verdict = check(&truth, nothing(), host, CrawlState::Lying, set(1..=10) - set([3]));
    assert!(verdict.reasons.iter().any(|it| it.contains("it has a file of 1 bytes instead of 2")));
}

#[test]
fn one_failed_request_drops_one_file() {
    let truth = truth(1..=10);
    let host = |number| if number == 3 { failed() } else { Outcome::Present(()) };
    check(&truth, Claim::Newest(9), host, CrawlState::Syncing, set(1..=10) - set([3]));
}

#[test]
fn a_host_that_mostly_fails_is_unreachable() {
    let (truth, claim) = (truth(1..=10), Claim::Newest(9));
    let new = Known::default();
    let plan = Plan::new(&truth, &claim, &new, occasion(1));
    let host = |number| if number > 4 { failed() } else { Outcome::Present(()) };
    let verdict = plan.verdict(&crawl(&plan, &host));
    assert_eq!(verdict, Verdict::unreachable("6 of 10 requests failed: 503"));
    let lies = Findings {
        heads: [(3, Outcome::Absent), (4, failed()), (5, failed())].into(),
        ..Findings::default()
    };
    let verdict = plan.verdict(&lies);
    assert_eq!((verdict.state, verdict.held), (CrawlState::Lying, Some(set([]))), "a liar is not let off");
    let stopped = Findings { stopped: Some("enough".into()), ..Findings::default() };
    assert_eq!(plan.verdict(&stopped), Verdict::unreachable("enough"));
}

#[test]
fn large_trees_are_believed_as_far_as_the_sample_confirms() {
    let truth = truth(1..=5_000);
    let all = set(1..=5_000);
    check(&truth, Claim::Newest(9), has(all.clone()), CrawlState::UpToDate, all.clone());
    check(&truth, Claim::Former(5, set(1..=4_900)), has(set(1..=4_900)), CrawlState::Behind, set(1..=4_900));
    check(&truth, Claim::Former(5, set(1..=4_900)), has(set(1..=4_950)), CrawlState::Syncing, set(1..=4_950));
    // Lacks all that is old: every seed finds that out, and then only what was seen counts.
    check(&truth, Claim::Newest(9), has(set(4_000..=5_000)), CrawlState::Lying, set(4_000..=5_000));
    // Holds more than is looked at once it has lied: the newest that were seen.
    let (claim, host) = (Claim::Newest(9), has(&all - set([4_999])));
    let new = Known::default();
    let plan = Plan::new(&truth, &claim, &new, occasion(1));
    let findings = crawl(&plan, &host);
    assert_eq!(findings.heads.len(), rooms(PLENTY.doubt));
    let verdict = plan.verdict(&findings);
    assert_eq!(verdict.state, CrawlState::Lying);
    assert_eq!(verdict.held.unwrap().len(), rooms(PLENTY.doubt) as u64 - 1);
    // Without a serial, only what was seen counts.
    let verdict = {
        let (claim, new) = (nothing(), Known::default());
        let plan = Plan::new(&truth, &claim, &new, occasion(1));
        plan.verdict(&crawl(&plan, &has(all.clone())))
    };
    assert_eq!((verdict.state, verdict.held.unwrap().len()), (CrawlState::Syncing, ADDED_LIMIT as u64));
}

#[test]
fn samples_are_small_spread_and_differ_by_seed() {
    let (truth, claim) = (truth(1..=5_000), Claim::Former(5, set(1..=4_990)));
    let numbers = |known: &Known, seed| -> Vec<u32> {
        let plan = Plan::new(&truth, &claim, known, occasion(seed));
        plan.first_files().iter().map(|it| it.number).collect()
    };
    let new = Known::default();
    let (one, other) = (numbers(&new, 1), numbers(&new, 2));
    assert_eq!(one.len(), PROGRESS_SAMPLE + 2 * SAMPLE_NEWEST + 2 * SAMPLE_SPREAD);
    assert!(one.is_sorted_by(|a, b| a > b));
    assert_ne!(one, other);
    assert_eq!(one, numbers(&new, 1));
    let gaps = one.windows(2).map(|it| it[0] - it[1]);
    assert!(gaps.max().unwrap() < 2 * 5_000 / SAMPLE_SPREAD as u32);
    // The same host with another serial than before, and with the same.
    let changed = known(Some(4), set(1..=4_900), set(1..=4_900));
    let sample = PROGRESS_SAMPLE + SAMPLE_NEWEST + SAMPLE_SPREAD;
    assert!((sample..sample + SHARE_LEAST).contains(&numbers(&changed, 1).len()));
    let calm = known(Some(5), set(1..=4_990), set(1..=4_000));
    let found = numbers(&calm, 1);
    assert_eq!(found.len(), PROGRESS_SAMPLE + SHARE_LEAST);
    assert!(found[PROGRESS_SAMPLE..].iter().all(|it| (4_001..=4_990).contains(it)), "what was not looked at");
    let asked_for = Occasion { is_asked_for: true, ..occasion(1) };
    let plan = Plan::new(&truth, &claim, &calm, asked_for);
    assert!(plan.first_files().len() > 2 * SAMPLE_NEWEST, "somebody wants to know");
}

#[test]
fn a_share_grows_with_what_is_left_of_the_cycle() {
    let (truth, claim) = (truth(1..=60_000), Claim::Newest(9));
    let known = self::known(Some(9), set(1..=60_000), set(1..=10_000));
    let count = |hours: i64, calm: usize| {
        let allowance = Allowance { calm, ..PLENTY };
        let occasion = Occasion { now: later(hours), allowance, ..occasion(1) };
        Plan::new(&truth, &claim, &known, occasion).first_files().len()
    };
    assert_eq!(count(0, 4_000), 50_000usize.div_ceil(29 * 12));
    assert_eq!(count(27 * 12, 4_000), 50_000usize.div_ceil(24));
    assert_eq!(count(40 * 24, 4_000), rooms(4_000), "late: as much as may be");
    assert_eq!(count(27 * 12, 100), rooms(100), "never more than may be");
}

#[test]
fn known_trees_cost_their_share_only() {
    let (truth, claim) = (truth(1..=200), Claim::Newest(9));
    let all = set(1..=200);
    let known = self::known(Some(9), all.clone(), set([]));
    let plan = Plan::new(&truth, &claim, &known, occasion(1));
    let findings = crawl(&plan, &has(all.clone()));
    assert_eq!(findings.heads.len(), SHARE_LEAST);
    let verdict = plan.verdict(&findings);
    assert_eq!((verdict.state, verdict.held.as_ref()), (CrawlState::UpToDate, Some(&all)));
    let memory = plan.memory(&findings, &verdict).unwrap();
    assert_eq!(memory.cycle.looked.len(), SHARE_LEAST as u64);
    // One of its share is gone: all others are looked at at once.
    let gone = *findings.heads.keys().next().unwrap();
    let findings = crawl(&plan, &has(&all - set([gone])));
    assert_eq!(findings.heads.len(), 200);
    let verdict = plan.verdict(&findings);
    assert_eq!((verdict.state, verdict.held.clone().unwrap()), (CrawlState::Lying, &all - set([gone])));
    let memory = plan.memory(&findings, &verdict).unwrap();
    assert_eq!(memory.cycle.caught_at, Some(now()));
    assert_eq!(memory.repair.len(), 1);
    assert_eq!((memory.repair[0].number, memory.repair[0].fault), (gone, FileFault::Absent));
}

/// The next crawl of a host after this one.
fn next(known: &Known, plan: &Plan, findings: &Findings) -> Known {
    let verdict = plan.verdict(findings);
    let Some(memory) = plan.memory(findings, &verdict) else { return known.clone() };
    let demanded = plan.known.demanded.clone();
    Known { held: verdict.held.unwrap(), cycle: Some(memory.cycle), repair: memory.repair, demanded }
}

#[test]
fn a_large_liar_is_looked_at_file_by_file() {
    let (truth, claim) = (truth(1..=5_000), Claim::Newest(9));
    let few = Occasion { allowance: Allowance { calm: 400, doubt: 400, ..PLENTY }, ..occasion(1) };
    let all = set(1..=5_000);
    let new = Known::default();
    let plan = Plan::new(&truth, &claim, &new, few);
    let lacking = &all - set([4_990]);
    let mut known = next(&new, &plan, &crawl(&plan, &has(lacking)));
    assert_eq!(known.held.len(), rooms(400) as u64 - 1);
    assert_eq!(known.repair[0].number, 4_990);
    let mut crawls = 1;
    while known.cycle.as_ref().unwrap().caught_at.is_some() {
        let plan = Plan::new(&truth, &claim, &known, few);
        let findings = crawl(&plan, &has(all.clone()));
        let verdict = plan.verdict(&findings);
        let seen = set(findings.heads.keys().copied()) | &known.held;
        assert_eq!(verdict.held, Some(seen), "only what was seen counts");
        let is_complete = verdict.held.as_ref() == Some(&all);
        assert_eq!(verdict.state == CrawlState::UpToDate, is_complete);
        known = next(&known, &plan, &findings);
        crawls += 1;
    }
    assert_eq!(known.held, all);
    assert_eq!(known.repair, []);
    assert_eq!(crawls, 5_001usize.div_ceil(rooms(400)));
}

#[test]
fn damaged_files_keep_a_host_out_until_they_were_read_again() {
    let (truth, claim) = (truth(1..=10), Claim::Newest(9));
    let all = set(1..=10);
    let good = known(Some(9), all.clone(), set([]));
    let plan = Plan::new(&truth, &claim, &good, occasion(1));
    let mut findings = crawl(&plan, &has(all.clone()));
    findings.bodies.insert(3, Outcome::Damaged("its bytes have the digest x".into()));
    let caught = next(&good, &plan, &findings);
    assert_eq!((caught.held.clone(), caught.repair[0].fault), (set([]), FileFault::Damaged));
    // The next crawl reads it first. As long as it cannot, the host is not believed.
    let plan = Plan::new(&truth, &claim, &caught, occasion(2));
    let mut findings = crawl(&plan, &has(all.clone()));
    assert_eq!(plan.bodies(&findings)[0].number, 3);
    let verdict = plan.verdict(&findings);
    assert_eq!((verdict.state, verdict.held), (CrawlState::Lying, Some(set([]))));
    assert!(
        verdict.reasons[0].ends_with("it was damaged or broke off, and was not read to its end since"),
        "{:?}",
        verdict.reasons
    );
    assert_eq!(next(&caught, &plan, &findings).repair, caught.repair);
    findings.bodies.insert(3, Outcome::Present(()));
    assert_eq!(plan.verdict(&findings).state, CrawlState::UpToDate);
    let mended = next(&caught, &plan, &findings);
    assert_eq!((mended.held, mended.repair, mended.cycle.unwrap().caught_at), (all, vec![], None));
}

#[test]
fn for_a_file_that_is_too_large_to_be_read_others_speak() {
    let (truth, claim) = (truth(1..=10), Claim::Newest(9));
    let broken = Repair { number: 3, fault: FileFault::Broken, reason: "it stalls".into() };
    let known = Known { repair: vec![broken], ..known(Some(9), set(1..=10), set([])) };
    let check = |largest, others: &[u32], expected: CrawlState| {
        let occasion = Occasion { allowance: Allowance { largest, ..PLENTY }, ..occasion(1) };
        let plan = Plan::new(&truth, &claim, &known, occasion);
        let mut findings = crawl(&plan, &has(set(1..=10)));
        findings.bodies = others.iter().map(|it| (*it, Outcome::Present(()))).collect();
        let verdict = plan.verdict(&findings);
        assert_eq!(verdict.state, expected, "{:?}", verdict.reasons);
        let left = plan.memory(&findings, &verdict).unwrap().repair.len();
        assert_eq!(left, usize::from(expected == CrawlState::Lying));
    };
    check(102, &[5, 6, 7], CrawlState::UpToDate);
    check(102, &[5, 6], CrawlState::Lying);
    check(103, &[5, 6, 7], CrawlState::Lying);
    check(103, &[3], CrawlState::UpToDate);
}

#[test]
fn wrong_sizes_drop_the_host_and_name_the_file() {
    let (truth, claim) = (truth(1..=10), Claim::Newest(9));
    let host = |number| match number {
        3 => Outcome::Damaged("it has a file of 1 bytes instead of 2".into()),
        _ => Outcome::Present(()),
    };
    let new = Known::default();
    let plan = Plan::new(&truth, &claim, &new, occasion(1));
    let verdict = plan.verdict(&crawl(&plan, &host));
    assert_eq!((verdict.state, verdict.held), (CrawlState::Lying, Some(set([]))));
    assert!(verdict.reasons[0].starts_with(&plan.digest(3)), "{:?}", verdict.reasons);
}

#[test]
fn arrivals_are_followed_when_some_came() {
    let truth = truth(1..=1_000);
    let claim = Claim::Former(5, set(1..=400));
    let known = self::known(Some(5), set(1..=400), set(1..=400));
    let plan = Plan::new(&truth, &claim, &known, occasion(1));
    let nothing_came = crawl(&plan, &has(set(1..=400)));
    assert_eq!(nothing_came.heads.len(), PROGRESS_SAMPLE);
    assert_eq!(plan.verdict(&nothing_came).state, CrawlState::Behind);
    let findings = crawl(&plan, &has(set(1..=1_000)));
    assert_eq!(findings.heads.len(), ADDED_LIMIT);
    let verdict = plan.verdict(&findings);
    assert_eq!((verdict.state, verdict.held.unwrap().len()), (CrawlState::Syncing, 400 + ADDED_LIMIT as u64));
}

#[test]
fn what_came_stays_while_the_serial_does_not_go_back() {
    let truth = truth(1..=1_000);
    let known = self::known(Some(5), set(1..=700), set(1..=700));
    #[track_caller]
    fn check(truth: &CategoryTruth, known: &Known, claim: Claim, held: RoaringBitmap) {
        let plan = Plan::new(truth, &claim, known, occasion(1));
        let answered = crawl(&plan, &has(held.clone()));
        assert_eq!(plan.verdict(&answered).held, Some(held));
    }
    let unknown = Claim::Nothing(Some(10), "its serial 10 is not scanned yet".into());
    check(&truth, &known, Claim::Former(5, set(1..=400)), set(1..=700));
    check(&truth, &known, unknown, set(1..=700));
    check(&truth, &known, Claim::Former(4, set(1..=300)), set(1..=300));
    check(&truth, &known, nothing(), set([]));
}

#[test]
fn listings_are_claims() {
    let truth = truth(1..=1_000);
    let listed =
        |numbers: RoaringBitmap| Claim::Listed(Some(12), numbers, "serial 12 is not scanned yet".into());
    let half = set(1..=500);
    let verdict = check(&truth, listed(half.clone()), has(half.clone()), CrawlState::Syncing, half);
    assert!(verdict.reasons[0].ends_with("rsync lists 500 files"), "{:?}", verdict.reasons);
    check(&truth, listed(set(1..=1_000)), has(set(1..=990)), CrawlState::Lying, set(1..=990));
    let known = self::known(None, set(1..=500), set(1..=500));
    let claim = listed(set(1..=900));
    let plan = Plan::new(&truth, &claim, &known, occasion(1));
    assert!(plan.first_files().iter().any(|it| it.number == 900), "what is new is looked at");
}

#[test]
fn bodies_have_an_order_and_a_budget() {
    let (truth, claim) = (truth(1..=150), Claim::Newest(9));
    let new = Known::default();
    let numbers = |allowance: Allowance, known: &Known, seed| {
        let plan = Plan::new(&truth, &claim, known, Occasion { allowance, ..occasion(seed) });
        let findings = crawl(&plan, &has(set(1..=140)));
        plan.bodies(&findings).iter().map(|it| it.number).collect::<Vec<_>>()
    };
    let bytes = |numbers: &[u32]| numbers.iter().map(|it| 100 + u64::from(*it)).sum::<u64>();
    let few = |bytes| Allowance { bytes, left: 2 * bytes, ..PLENTY };
    let all = numbers(PLENTY, &new, 1);
    assert_eq!(all.len(), BODY_LIMIT);
    assert_eq!(all[..3], [140, 139, 138]);
    let some = numbers(few(1_000), &new, 1);
    assert_eq!(some[..2], [140, 139]);
    assert!(bytes(&some) <= 1_000);
    assert_eq!(numbers(few(100), &new, 1), [0; 0]);
    // A file that is larger than an hour's share has its turn in the day's first hour, the newest of them.
    let small = numbers(few(130), &new, 1);
    assert!(small.len() == 1 && bytes(&small) <= 130, "{small:?}");
    let first = Allowance { is_fresh: true, ..few(130) };
    assert_eq!(numbers(first, &new, 1), [140]);
    // What was read in these 30 days comes last, for fewer bytes.
    let read = known(Some(9), set(1..=150), set(1..=150));
    let again = Allowance { again: 500, ..PLENTY };
    let (one, other) = (numbers(again, &read, 1), numbers(again, &read, 2));
    assert!(
        bytes(&one) <= 500 && one.len() >= 2 && one.len() <= AGAIN_LIMIT && one != other,
        "{one:?} {other:?}"
    );
}

#[test]
fn ranges_are_small_unless_the_speed_is_measured() {
    let mut truth = truth(1..=20);
    truth.blobs[3].size = 1 << 20;
    let claim = Claim::Newest(9);
    let new = Known::default();
    let plan = Plan::new(&truth, &claim, &new, occasion(1));
    let mut findings = crawl(&plan, &has(set(1..=20)));
    assert_eq!(plan.range(&findings, false).map(|(file, range)| (file.number, range)), Some((17, 1..17)));
    assert_eq!(plan.range(&findings, true).map(|it| it.1), Some(1..1 + SPEED_BYTES));
    findings.heads.clear();
    assert_eq!(plan.range(&findings, true), None);
}

#[test]
fn bodies_and_ranges_decide() {
    let (truth, claim) = (truth(1..=10), Claim::Newest(9));
    let new = Known::default();
    let plan = Plan::new(&truth, &claim, &new, occasion(1));
    let heads = crawl(&plan, &has(set(1..=10)));
    let body = |number, outcome| Findings {
        bodies: [(number, outcome), (1, Outcome::Present(()))].into(),
        ..heads.clone()
    };
    let verdict = plan.verdict(&body(3, Outcome::Damaged("its bytes have the digest x".into())));
    assert_eq!((verdict.state, verdict.held), (CrawlState::Lying, Some(set([]))));
    let digest = oci::Digest::from(truth.blobs[7].digest).to_string();
    assert!(verdict.reasons[0].starts_with(&digest), "{:?}", verdict.reasons);
    let verdict = plan.verdict(&body(3, Outcome::Absent));
    assert_eq!((verdict.state, verdict.held), (CrawlState::Lying, Some(set(1..=10) - set([3]))));
    let verdict = plan.verdict(&body(3, failed()));
    assert_eq!((verdict.state, verdict.held), (CrawlState::Syncing, Some(set(1..=10) - set([3]))));
    let cut = Findings {
        bodies: [(3, failed()), (4, failed()), (1, Outcome::Present(()))].into(),
        ..heads.clone()
    };
    let verdict = plan.verdict(&cut);
    assert_eq!(
        (verdict.state, verdict.held),
        (CrawlState::Unreachable, Some(set([]))),
        "nobody is sent there"
    );
    let range = |outcome| plan.verdict(&Findings { range: Some(outcome), ..heads.clone() });
    assert_eq!(range(wrong()), Verdict::lying("it has a file of 1 bytes instead of 2"));
    assert_eq!(range(failed()).held, None);
    assert_eq!(range(Outcome::Present(())).state, CrawlState::UpToDate);
}

#[test]
fn reasons_have_an_end() {
    let truth = truth(1..=100);
    let verdict = check(&truth, Claim::Newest(9), absent, CrawlState::Lying, set([]));
    assert_eq!(verdict.reasons.len(), 2 + REASON_LIMIT + 1);
    assert_eq!(verdict.reasons.last().unwrap(), "and 80 files more");
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![8 => Just(Outcome::Present(())), 1 => Just(Outcome::Absent), 1 => Just(wrong()), 1 => Just(failed())]
}

fn claim() -> impl Strategy<Value = Claim> {
    let former = proptest::collection::btree_set(1u32..600, 0..600);
    prop_oneof![
        Just(Claim::Newest(9)),
        former.prop_map(|it| Claim::Former(5, set(it))),
        Just(nothing()),
        Just(Claim::Broken("x".into()))
    ]
}

proptest! {
    #[test]
    fn held_is_confirmed_or_claimed_and_sampled(
        numbers in proptest::collection::btree_set(1u32..600, 0..600),
        claim in claim(),
        fault in outcome(),
        faulty in proptest::collection::btree_set(1u32..600, 0..10),
        seed: u64,
    ) {
        let truth = truth(numbers);
        let new = Known::default();
        let plan = Plan::new(&truth, &claim, &new, occasion(seed));
        let host = |number| if faulty.contains(&number) { fault.clone() } else { Outcome::Present(()) };
        let findings = crawl(&plan, &host);
        let verdict = plan.verdict(&findings);
        let Some(held) = verdict.held else {
            prop_assert_eq!(verdict.state, CrawlState::Unreachable);
            return Ok(());
        };
        let confirmed = set(findings.heads.iter().filter(|it| *it.1 == Outcome::Present(())).map(|it| *it.0));
        let may_be_believed = verdict.state != CrawlState::Lying && truth.blobs.len() > SMALL_TREE;
        let believed = if may_be_believed { plan.claimed.clone() } else { set([]) };
        prop_assert!(held.is_subset(&(&confirmed | believed)));
        prop_assert!(confirmed.is_subset(&held));
        prop_assert!(held.is_subset(&plan.newest));
        let asked_in_vain = findings.heads.keys().filter(|it| !confirmed.contains(**it));
        prop_assert!(held.is_disjoint(&set(asked_in_vain.copied())));
        prop_assert_eq!(verdict.state == CrawlState::UpToDate, claim == Claim::Newest(9) && held == plan.newest && findings.heads.values().all(|it| *it == Outcome::Present(())));
    }

    #[test]
    fn small_trees_never_hold_what_is_not_there(present in proptest::collection::btree_set(1u32..=50, 0..50), claim in claim(), seed: u64) {
        let truth = truth(1..=50);
        let new = Known::default();
        let plan = Plan::new(&truth, &claim, &new, occasion(seed));
        let findings = crawl(&plan, &has(set(present.clone())));
        prop_assert_eq!(plan.verdict(&findings).held, Some(set(present)));
    }
}
