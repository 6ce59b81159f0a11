//! Plays downloads from sources that misbehave, in a time of its own.

use super::*;
use crate::oci::Digest;

const MIB: u64 = 1024 * 1024;

/// One step of the play.
const STEP: Duration = Duration::from_millis(50);

/// So long no play may last.
const LIMIT: Duration = Duration::from_secs(120);

/// How a source behaves.
#[derive(Clone, Copy)]
enum Manner {
    /// Sends so many bytes a second.
    Good(u64),
    /// Answers 404.
    Absent,
    /// Refuses connections.
    Refuses,
    /// Each answer breaks off after so many bytes.
    Cuts(u64),
    /// Each answer stands still after so many bytes.
    Stalls(u64),
    /// This byte of the blob is wrong.
    Flips(u64),
    /// Sends the whole, whatever is asked for.
    IgnoresRange,
}
use Manner::{Absent, Cuts, Flips, Good, IgnoresRange, Refuses, Stalls};

/// What became of a play.
struct Played {
    download: Download,
    /// As it was written.
    written: Vec<u8>,
    took: Duration,
    /// Bytes that each source has sent, used or not.
    sent: Vec<u64>,
}

impl Played {
    #[track_caller]
    fn expect_good(self, blob: &[u8]) -> Self {
        assert!(self.download.is_done(), "{:?}", self.download.list_troubles().collect::<Vec<_>>());
        assert!(self.written == blob, "other bytes were written");
        self
    }

    fn taken(&self, source: usize) -> u64 {
        self.download.sources[source].taken
    }
}

fn blob(size: u64) -> Vec<u8> {
    (0..size).map(|it| (it * 31 % 251) as u8).collect()
}

fn plan(blob: &[u8], length: Option<u64>) -> Plan {
    let size = blob.len() as u64;
    match length {
        None => Plan::whole(size, Digest::of(blob)),
        Some(length) => {
            let digests = blob.chunks(length as usize).map(Digest::of).collect();
            Plan::pieces(size, length, digests).unwrap()
        }
    }
}

fn sources(count: usize, service: bool) -> Vec<Source> {
    let source = |number| Source {
        url: format!("https://m{number}.test/x"),
        is_service: service && number + 1 == count,
    };
    (0..count).map(source).collect()
}

fn play(blob: &[u8], length: Option<u64>, manners: &[Manner]) -> Played {
    play_from(Download::new(plan(blob, length), sources(manners.len(), false)), blob, manners)
}

/// Lets sources answer until the download is done or lost.
fn play_from(mut download: Download, blob: &[u8], manners: &[Manner]) -> Played {
    let begun = Instant::now();
    let (mut now, mut written) = (begun, vec![0; blob.len()]);
    let mut open: BTreeMap<u32, (Ask, u64)> = BTreeMap::new();
    let mut sent = vec![0; manners.len()];
    while !download.is_done() && !download.is_lost() && now - begun < LIMIT {
        while let Some(ask) = download.next(now) {
            let busy = open.values().any(|(other, _)| other.source == ask.source);
            assert!(!busy, "a second connection to {}", ask.url);
            let offset = if matches!(manners[ask.source], IgnoresRange) { 0 } else { ask.range.start };
            match manners[ask.source] {
                Absent => download.end(ask.id, Err(Trouble::Final("404".to_owned())), now),
                Refuses => download.end(ask.id, Err(Trouble::Passing("refused".to_owned())), now),
                _ if download.opened(ask.id, offset, now) => {
                    open.insert(ask.id, (ask, 0));
                }
                _ => {}
            }
        }
        now += STEP;
        for id in download.tick(now) {
            open.remove(&id);
        }
        for id in open.keys().copied().collect::<Vec<_>>() {
            let Some((ask, so_far)) = open.get_mut(&id) else { continue };
            let (manner, source, from) = (manners[ask.source], ask.source, ask.range.start + *so_far);
            let rate = if let Good(rate) = manner { rate } else { 50 * MIB };
            let mut count = (rate * STEP.as_millis() as u64 / 1000).min(ask.range.end - from);
            if let Cuts(after) | Stalls(after) = manner {
                count = count.min(after.saturating_sub(*so_far));
            }
            let mut bytes = blob[from as usize..(from + count) as usize].to_vec();
            if let Flips(at) = manner
                && (from..from + count).contains(&at)
            {
                bytes[(at - from) as usize] ^= 1;
            }
            *so_far += count;
            let ended = matches!(manner, Cuts(after) if *so_far >= after);
            sent[source] += count;
            if count > 0 {
                let delivered = download.deliver(id, &bytes, now);
                for (offset, range) in delivered.writes {
                    written[offset as usize..][..range.len()].copy_from_slice(&bytes[range]);
                }
                delivered.cancelled.iter().for_each(|id| {
                    open.remove(id);
                });
            }
            if ended || download.is_through(id) {
                download.end(id, Ok(()), now);
                open.remove(&id);
            }
        }
    }
    Played { download, written, took: now - begun, sent }
}

#[test]
fn a_good_mirror_sends_all_of_it() {
    let blob = blob(3 * MIB);
    let played = play(&blob, None, &[Good(10 * MIB), Good(10 * MIB)]).expect_good(&blob);
    assert_eq!(played.sent, [3 * MIB, 0]);
    assert_eq!((played.download.verified(), played.download.taken()), (3 * MIB, 3 * MIB));
}

#[test]
fn any_fault_costs_little_while_one_mirror_is_good() {
    #[track_caller]
    fn check(fault: Manner, longest: f64) {
        for length in [None, Some(MIB / 4)] {
            let blob = blob(5 * MIB + 77);
            let played = play(&blob, length, &[fault, Good(50 * MIB)]).expect_good(&blob);
            let took = played.took.as_secs_f64();
            assert!(took <= longest, "{length:?}: it took {took} s");
        }
    }
    check(Absent, 0.3);
    check(Refuses, 0.3);
    check(Cuts(1000), 0.3);
    check(Stalls(0), 1.5);
    check(Stalls(MIB), 1.5);
    check(Flips(2 * MIB + 5), 0.5);
    check(Flips(0), 0.5);
    check(IgnoresRange, 0.5);
    check(Good(1000), 5.0);
}

#[test]
fn nine_of_ten_may_fail() {
    let blob = blob(5 * MIB);
    let faults =
        [Absent, Refuses, Cuts(0), Cuts(70_000), Stalls(0), Stalls(MIB), Flips(9), Flips(MIB), Good(10_000)];
    for length in [None, Some(MIB)] {
        for shift in 0..faults.len() {
            let mut manners = faults.to_vec();
            manners.rotate_left(shift);
            manners.push(Good(20 * MIB));
            play(&blob, length, &manners).expect_good(&blob);
        }
    }
}

#[test]
fn the_next_mirror_goes_on_where_the_last_one_stopped() {
    let blob = blob(5 * MIB);
    let played = play(&blob, None, &[Cuts(2 * MIB), Good(10 * MIB)]).expect_good(&blob);
    assert_eq!((played.taken(0), played.taken(1)), (2 * MIB, 3 * MIB));
    assert_eq!(played.sent[1], 3 * MIB, "only what was missing");
}

#[test]
fn a_mirror_that_makes_progress_is_never_given_up() {
    let blob = blob(20 * MIB);
    play(&blob, None, &[Cuts(MIB)]).expect_good(&blob);
    assert!(play(&blob, None, &[Cuts(1000)]).download.is_lost());
}

#[test]
fn a_flipped_byte_costs_its_piece_only() {
    let blob = blob(20 * MIB);
    let played = play(&blob, Some(MIB), &[Flips(MIB), Good(10 * MIB)]).expect_good(&blob);
    assert!(played.sent.iter().sum::<u64>() <= 25 * MIB, "{:?}", played.sent);
    let mut troubles = played.download.list_troubles();
    assert!(troubles.any(|it| it.1.contains("wrong bytes")));
}

/// Pieces of 1 MiB, of which the fourth has a wrong hash.
fn wrong_plan(blob: &[u8]) -> Plan {
    let mut digests: Vec<Digest> = blob.chunks(MIB as usize).map(Digest::of).collect();
    digests[3] = Digest::of(b"wrong");
    Plan::pieces(blob.len() as u64, MIB, digests).unwrap()
}

#[test]
fn wrong_hashes_of_pieces_blame_nobody_for_good() {
    let blob = blob(20 * MIB);
    for (count, service) in [(3, false), (2, true), (1, true)] {
        let manners = vec![Good(10 * MIB); count];
        let download = Download::new(wrong_plan(&blob), sources(count, service));
        let Played { mut download, written, sent, .. } = play_from(download, &blob, &manners);
        assert!(download.is_lost() && download.doubts_pieces(), "{:?}", sent);
        assert_eq!(download.verified(), 3 * MIB);
        download.start_again(plan(&blob, None));
        download.resume(0, &written[..3 * MIB as usize]);
        let mut again = play_from(download, &blob, &manners);
        again.written[..3 * MIB as usize].copy_from_slice(&written[..3 * MIB as usize]);
        let again = again.expect_good(&blob);
        assert_eq!(again.sent.iter().sum::<u64>(), 17 * MIB);
        assert_eq!(again.download.list_troubles().count(), 0);
    }
}

#[test]
fn liars_do_not_make_pieces_doubted() {
    let blob = blob(5 * MIB);
    for manners in [&[Flips(MIB), Flips(MIB + 1), Flips(MIB + 2)][..], &[Absent, Refuses, Cuts(1000)]] {
        let played = play(&blob, Some(MIB), manners);
        assert!(played.download.is_lost() && !played.download.doubts_pieces());
    }
    // Two that lie alike do, but one that is good is enough to do without that.
    let played = play(&blob, Some(MIB), &[Flips(9), Flips(9), Good(MIB)]).expect_good(&blob);
    assert!(played.download.doubts_pieces());
}

#[test]
fn wrong_bytes_of_one_of_two_senders_are_found() {
    let blob = blob(4 * MIB);
    // The first breaks off; the second goes on with a wrong byte, or the first had one already.
    for manners in [[Cuts(MIB), Flips(3 * MIB), Good(10 * MIB)], [Flips(10), Cuts(MIB), Good(10 * MIB)]] {
        play(&blob, None, &manners).expect_good(&blob);
    }
}

#[test]
fn a_large_blob_comes_from_three_mirrors_at_once() {
    let blob = blob(96 * MIB);
    let rate = Good(8 * MIB);
    let one = play(&blob, Some(MIB), &[rate]).expect_good(&blob).took;
    let played = play(&blob, Some(MIB), &[rate, rate, rate, rate]).expect_good(&blob);
    let faster = one.as_secs_f64() / played.took.as_secs_f64();
    assert!(faster > 2.7, "only {faster} times faster: {:?}", played.sent);
    assert_eq!(played.sent[3], 0);
    // Requests that grow shorter: all end at about the same time.
    let ideal = one.as_secs_f64() / 3.0;
    assert!(played.took.as_secs_f64() < ideal + 0.6, "{:?} instead of {ideal} s", played.took);
}

#[test]
fn one_mirror_alone_is_asked_once() {
    let blob = blob(96 * MIB);
    for service in [false, true] {
        let mut download = Download::new(plan(&blob, Some(MIB)), sources(1 + usize::from(service), service));
        let now = Instant::now();
        assert_eq!(download.next(now).map(|it| it.range), Some(0..96 * MIB));
        assert_eq!(download.next(now), None);
    }
}

#[test]
fn a_fast_mirror_takes_over_from_a_slow_one() {
    let blob = blob(48 * MIB);
    let played = play(&blob, Some(MIB), &[Good(MIB / 4), Good(16 * MIB)]).expect_good(&blob);
    assert!(played.took < Duration::from_secs(7), "{:?} by {:?}", played.took, played.sent);
}

#[test]
fn nine_that_only_drip_do_not_keep_the_tenth_away() {
    let blob = blob(5 * MIB);
    for length in [None, Some(MIB)] {
        let mut manners = vec![Good(1_000); 9];
        manners.push(Good(10 * MIB));
        let played = play(&blob, length, &manners).expect_good(&blob);
        // Three seconds are spent on each.
        assert!(played.took <= Duration::from_secs(30), "{length:?}: it took {:?}", played.took);
        // Nobody but the service is left beside it.
        let service = Download::new(plan(&blob, length), sources(2, true));
        let played = play_from(service, &blob, &[Good(1_000), Good(10 * MIB)]).expect_good(&blob);
        assert!(played.took <= Duration::from_secs(5), "{length:?}: it took {:?}", played.took);
    }
}

#[test]
fn a_slow_line_is_no_fault_of_mirrors() {
    let blob = blob(MIB);
    let played = play(&blob, None, &[Good(20_000), Good(20_000), Good(20_000)]).expect_good(&blob);
    assert!(played.sent.iter().sum::<u64>() < MIB * 3 / 2, "{:?}", played.sent);
}

#[test]
fn the_service_is_asked_last() {
    let blob = blob(40 * MIB);
    let both = |manners: &[Manner]| {
        let download = Download::new(plan(&blob, Some(MIB)), sources(manners.len(), true));
        play_from(download, &blob, manners).expect_good(&blob)
    };
    assert_eq!(both(&[Good(8 * MIB), Good(8 * MIB)]).sent[1], 0, "no mirror needs help");
    assert_eq!(both(&[Absent, Good(8 * MIB)]).sent[1], 40 * MIB);
    both(&[IgnoresRange, Cuts(30 * MIB)]);
}

#[test]
fn what_an_earlier_run_left_is_not_fetched_again() {
    let blob = blob(8 * MIB);
    for length in [None, Some(MIB)] {
        let mut left = blob[..5 * MIB as usize + 1000].to_vec();
        let mut download = Download::new(plan(&blob, length), sources(1, false));
        left.chunks(100_000)
            .enumerate()
            .for_each(|(number, it)| download.resume(number as u64 * 100_000, it));
        let mut played = play_from(download, &blob, &[Good(10 * MIB)]);
        assert_eq!(played.sent, [3 * MIB - 1000]);
        played.written[..left.len()].copy_from_slice(&left);
        played.expect_good(&blob);

        left[3 * MIB as usize + 5] ^= 1;
        let mut download = Download::new(plan(&blob, length), sources(1, false));
        download.resume(0, &left);
        let played = play_from(download, &blob, &[Good(10 * MIB)]);
        assert!(played.download.is_done(), "{length:?}");
        let once_more = if length.is_some() { MIB } else { 8 * MIB };
        assert_eq!(played.sent, [3 * MIB - 1000 + once_more], "{length:?}");
    }
}

#[test]
fn nothing_is_sent_for_what_is_there() {
    let mut download = Download::new(Plan::whole(0, Digest::of(b"")), sources(1, false));
    assert!(download.is_done() && download.next(Instant::now()).is_none());
    let mut lost = Download::new(Plan::whole(1, Digest::of(b"x")), Vec::new());
    assert!(lost.is_lost() && lost.next(Instant::now()).is_none());
}
