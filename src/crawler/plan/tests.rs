use proptest::prelude::*;

use super::*;
use crate::database::{Sha256, crawl::CategoryState};

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
    let plan = Plan::new(truth, &claim, 1);
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
    let plan = Plan::new(&truth, &claim, 1);
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
    let plan = Plan::new(&truth, &claim, 1);
    let findings = crawl(&plan, &host);
    assert_eq!(findings.heads.len(), CHECK_LIMIT);
    let verdict = plan.verdict(&findings);
    assert_eq!(verdict.state, CrawlState::Lying);
    assert_eq!(verdict.held.unwrap().len(), CHECK_LIMIT as u64 - 1);
    // Without a serial, only what was seen counts.
    check(&truth, nothing(), has(all.clone()), CrawlState::Syncing, set(4_501..=5_000));
}

#[test]
fn samples_are_small_spread_and_differ_by_seed() {
    let (truth, claim) = (truth(1..=5_000), Claim::Former(5, set(1..=4_990)));
    let sample = |seed| Plan::new(&truth, &claim, seed).first_files().iter().map(|it| it.number).collect();
    let (one, other): (Vec<u32>, Vec<u32>) = (sample(1), sample(2));
    assert_eq!(one.len(), 10 + SAMPLE_NEWEST + SAMPLE_SPREAD);
    assert!(one.is_sorted_by(|a, b| a > b));
    assert_ne!(one, other);
    assert_eq!(one, sample(1));
    let gaps = one.windows(2).map(|it| it[0] - it[1]);
    assert!(gaps.max().unwrap() < 2 * 5_000 / SAMPLE_SPREAD as u32);
}

#[test]
fn bodies_are_newest_first_and_within_the_budget() {
    let (truth, claim) = (truth(1..=150), Claim::Newest(9));
    let plan = Plan::new(&truth, &claim, 1);
    let mut findings = crawl(&plan, &has(set(1..=140)));
    let numbers = |files: Vec<CrawlBlob>| files.iter().map(|it| it.number).collect::<Vec<_>>();
    let all = numbers(plan.bodies(&findings, u64::MAX));
    assert_eq!(all.len(), BODY_LIMIT);
    assert_eq!(all[..3], [140, 139, 138]);
    assert_eq!(numbers(plan.bodies(&findings, 1_000))[..2], [140, 139]);
    assert!(plan.bodies(&findings, 1_000).iter().map(|it| it.size).sum::<u64>() <= 1_000);
    assert!(plan.bodies(&findings, 100).is_empty());
    let others = numbers(Plan::new(&truth, &claim, 2).bodies(&findings, u64::MAX));
    assert_ne!(all, others);
    assert_eq!(plan.range(&findings).map(|(file, range)| (file.number, range)), Some((140, 1..17)));
    findings.heads.clear();
    assert_eq!(plan.range(&findings), None);
}

#[test]
fn small_files_are_all_read() {
    let (truth, claim) = (truth(1..=20), Claim::Newest(9));
    let plan = Plan::new(&truth, &claim, 1);
    let findings = crawl(&plan, &has(set(1..=20)));
    let total = truth.blobs.iter().map(|it| it.size).sum();
    assert_eq!(plan.bodies(&findings, total).len(), 20);
}

#[test]
fn bodies_and_ranges_decide() {
    let (truth, claim) = (truth(1..=10), Claim::Newest(9));
    let plan = Plan::new(&truth, &claim, 1);
    let heads = crawl(&plan, &has(set(1..=10)));
    let body = |number, outcome| Findings {
        bodies: [(number, outcome), (1, Outcome::Present(()))].into(),
        ..heads.clone()
    };
    let verdict = plan.verdict(&body(3, wrong()));
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
        let plan = Plan::new(&truth, &claim, seed);
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
        let plan = Plan::new(&truth, &claim, seed);
        let findings = crawl(&plan, &has(set(present.clone())));
        prop_assert_eq!(plan.verdict(&findings).held, Some(set(present)));
    }
}
