use std::sync::Arc;

use super::*;
use crate::{
    mirror::HostCategoryId,
    mirrorlist::{
        Content, Holdings, Hosts,
        rows::{
            BlobKind, BlobRow, CategoryRow, ContentRows, HoldingRow, HoldingRows, HostRows, RepositoryRow,
            WithdrawnRow,
        },
        testing::{NOW, host, set},
    },
};

const HOUR: i64 = 3600;

/// `fedora:latest` moved an hour ago from manifest 1 to manifest 2, which brought blob 3. Of as many hosts the
/// first `holders` hold that.
fn snapshot(hosts: i64, holders: i64, change: impl Fn(&mut HostRow), withdrawn: &[u8]) -> Snapshot {
    let manifest = |number: u8| BlobRow {
        digest: [number; 32],
        number: number.into(),
        size: 1,
        kind: BlobKind::OciManifest,
    };
    let content = ContentRows {
        blobs: vec![manifest(1), manifest(2)],
        repositories: vec![RepositoryRow {
            name: "fedora".to_owned(),
            tags: vec![("latest".to_owned(), [2; 32])],
        }],
        categories: vec![CategoryRow {
            id: CategoryId(1),
            name: "all".to_owned(),
            serial: 1,
            blobs: set(&[1, 2, 3]),
        }],
        moved_tags: vec![MovedTagRow {
            repository: "fedora".to_owned(),
            tag: "latest".to_owned(),
            former: [1; 32],
            moved_at: NOW - HOUR,
            category: CategoryId(1),
            new_blobs: set(&[2, 3]),
        }],
        ..ContentRows::default()
    };
    let holding = |id: i64| HoldingRow {
        host_category: HostCategoryId(id),
        set: u32::from(id > holders),
        crawled_at: NOW - 60,
    };
    let holdings = HoldingRows {
        generation: 0,
        sets: vec![set(&[1, 2, 3]), set(&[1, 2])],
        holdings: (1..=hosts).map(holding).collect(),
    };
    let mut rows: Vec<HostRow> = (1..=hosts).map(host).collect();
    rows.iter_mut().for_each(change);
    let withdrawn = withdrawn.iter().map(|it| WithdrawnRow { digest: [*it; 32], legal: false }).collect();
    Snapshot {
        content: Arc::new(Content::new(content).unwrap()),
        holdings: Arc::new(Holdings::new(holdings).unwrap()),
        hosts: Arc::new(Hosts::new(HostRows { hosts: rows, withdrawn, ..HostRows::default() })),
        ..Snapshot::default()
    }
}

fn rules(hosts: Option<usize>, share: Option<usize>) -> PublishRules {
    let after = SignedDuration::from_hours(2);
    PublishRules::from([("all".to_owned(), Publish { hosts, share, after })])
}

fn decide(rules: &PublishRules, snapshot: &Snapshot, at: i64) -> Option<HeldTag> {
    Gate::new(rules, snapshot, &Gate::default(), at).find("fedora", "latest").cloned()
}

#[test]
fn a_tag_waits_for_hosts_a_share_of_them_or_for_time() {
    #[track_caller]
    fn check(hosts: Option<usize>, share: Option<usize>, [all, holders]: [i64; 2], waits_for: Option<usize>) {
        let held = decide(&rules(hosts, share), &snapshot(all, holders, |_| {}, &[]), NOW);
        let waits = held.map(|it| (it.holders, it.needed.unwrap_or(0), it.former, it.until));
        assert_eq!(waits, waits_for.map(|it| (holders as usize, it, [1; 32], NOW + HOUR)));
    }
    check(Some(2), None, [5, 1], Some(2));
    check(Some(2), None, [5, 2], None);
    check(Some(9), None, [5, 4], Some(5));
    check(Some(9), None, [5, 5], None);
    check(None, Some(50), [5, 2], Some(3));
    check(None, Some(50), [5, 3], None);
    check(Some(2), Some(80), [5, 2], None);
    check(Some(4), Some(20), [5, 1], None);
    check(None, None, [5, 5], Some(0));
    check(Some(1), None, [0, 0], None);
}

#[test]
fn time_ends_it_and_no_rule_begins_none() {
    let waiting = snapshot(5, 0, |_| {}, &[]);
    assert!(decide(&rules(Some(2), None), &waiting, NOW + HOUR - 1).is_some());
    assert_eq!(decide(&rules(Some(2), None), &waiting, NOW + HOUR), None);
    assert_eq!(decide(&PublishRules::new(), &waiting, NOW), None);
}

#[test]
fn only_hosts_that_the_world_is_sent_to_count() {
    #[track_caller]
    fn check(change: impl Fn(&mut HostRow)) {
        let three = |it: &mut HostRow| {
            if it.id.0 <= 3 {
                change(it)
            }
        };
        let held = decide(&rules(Some(2), None), &snapshot(5, 4, three, &[]), NOW).unwrap();
        assert_eq!((held.holders, held.needed), (1, Some(2)));
    }
    check(|it| it.private = true);
    check(|it| it.drained = true);
    check(|it| it.categories[0].drained = true);
    check(|it| it.kind = HostKind::Cdn);
    check(|it| it.categories[0].urls[0].ipv4 = Reach::Down);
    check(|it| it.categories.clear());
}

#[test]
fn a_withdrawn_manifest_is_not_answered_and_not_waited_for() {
    for withdrawn in [1, 2] {
        assert_eq!(decide(&rules(Some(2), None), &snapshot(5, 0, |_| {}, &[withdrawn]), NOW), None);
    }
}

#[test]
fn what_was_let_through_stays_so() {
    let rules = rules(Some(2), None);
    let before = Gate::new(&rules, &snapshot(5, 2, |_| {}, &[]), &Gate::default(), NOW);
    let fewer = snapshot(5, 1, |_| {}, &[]);
    assert!(Gate::new(&rules, &fewer, &before, NOW).list().is_empty());
    assert_eq!(Gate::new(&rules, &fewer, &Gate::default(), NOW).list().len(), 1);
}

#[test]
fn the_snapshot_answers_the_former_manifest_by_tag_and_both_by_digest() {
    let mut snapshot = snapshot(5, 0, |_| {}, &[]);
    snapshot.gate = Arc::new(Gate::new(&rules(Some(2), None), &snapshot, &Gate::default(), NOW));
    let number = |reference: String| {
        snapshot.find_manifest(&"fedora".parse().unwrap(), &reference.parse().unwrap()).unwrap().number
    };
    assert_eq!(number("latest".to_owned()), 1);
    assert_eq!([1, 2].map(|it| number(Digest::Sha256([it; 32]).to_string())), [1, 2]);
}
