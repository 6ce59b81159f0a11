//! One blob on its way: which bytes to ask which source for, when to ask a second one, and when to give one up.
//! Pure: neither clock nor network.

mod request;
mod source;
mod view;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    ops::Range,
    time::{Duration, Instant},
};

use super::piece::{Piece, Plan, Wrong};
use request::Request;
use source::Standing;
pub(crate) use source::{Source, Trouble};

/// A request that brings nothing for so long gets company: the same bytes are asked of another source.
pub(crate) const HEDGE_AFTER: Duration = Duration::from_secs(1);

/// A request that brings nothing for so long is given up.
pub(crate) const STALL: Duration = Duration::from_secs(10);

/// After so long a request is fast, or slow, and is compared with another one.
pub(crate) const SPEED_WINDOW: Duration = Duration::from_secs(3);

/// A source that is slower than this is compared with another one, in bytes a second.
pub(crate) const SLOW: f64 = 1024.0 * 1024.0;

/// So many other sources are tried because a request is slow. If none is faster, it is the line that is slow.
const COMPARISONS: u32 = 3;

/// What is slower than this, in bytes a second, is as good as silent: every other source is tried, and the service.
pub(crate) const DRIP: f64 = 32.0 * 1024.0;

/// A source that is so many times faster than a running request takes over what that has left.
const MUCH_FASTER: f64 = 4.0;

/// From how many sources one blob is fetched at once; of each by one connection (RFC 6249, section 8).
pub(crate) const SOURCES_AT_ONCE: usize = 3;

/// One request asks for at least and at most so many bytes of a blob in pieces.
const REQUEST_LEAST: u64 = 4 * 1024 * 1024;
const REQUEST_MOST: u64 = 32 * 1024 * 1024;

/// So many requests each source gets of what is not asked for yet of a blob in pieces: the faster one takes more of
/// them, and as they grow shorter, all end at about the same time.
const REQUESTS_EACH: u64 = 2;

/// So many bytes are progress: a failure after them is the source's first.
const PROGRESS: u64 = 1024 * 1024;

/// The sender of what an earlier run left.
const EARLIER_RUN: usize = usize::MAX;

/// Where in the blob to write which of some bytes.
type Writes = Vec<(u64, Range<usize>)>;

/// Bytes to ask a source for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    /// Names the request.
    pub(crate) id: u32,
    /// Which source: its place in the list.
    pub(crate) source: usize,
    pub(crate) url: String,
    pub(crate) range: Range<u64>,
}

/// What some bytes led to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Delivered {
    /// What is to be written: where in the blob, and which of the bytes.
    pub(crate) writes: Writes,
    /// Requests that are of no use any more.
    pub(crate) cancelled: Vec<u32>,
}

/// A blob on its way.
pub(crate) struct Download {
    plan: Plan,
    pieces: Vec<Piece>,
    /// The first piece that is not done: all before it are.
    first_open: usize,
    sources: Vec<Standing>,
    running: BTreeMap<u32, Request>,
    next_id: u32,
    /// Several sources have sent the same bytes for a piece, and they were wrong.
    doubts_pieces: bool,
}

impl Download {
    /// `sources` are best first.
    pub(crate) fn new(plan: Plan, sources: Vec<Source>) -> Self {
        Self::with(plan, sources.into_iter().map(Standing::new).collect())
    }

    fn with(plan: Plan, sources: Vec<Standing>) -> Self {
        let piece = |number| Piece::new(plan.range(number), plan.digest(number));
        let pieces = (0..plan.count()).map(piece).collect();
        let running = BTreeMap::new();
        let mut download =
            Self { plan, pieces, first_open: 0, sources, running, next_id: 0, doubts_pieces: false };
        download.advance();
        download
    }

    /// Begins anew by another plan. What the sources did by the one before is forgiven.
    pub(crate) fn start_again(&mut self, plan: Plan) {
        let sources = self.sources.drain(..).map(Standing::forgive).collect();
        *self = Self::with(plan, sources);
    }

    /// Takes over bytes that an earlier run left at `offset`, in order from the blob's start on. Wrong pieces are
    /// fetched anew.
    pub(crate) fn resume(&mut self, offset: u64, bytes: &[u8]) {
        self.accept(offset, bytes, EARLIER_RUN);
    }

    /// Is no source left that could bring what is missing?
    pub(crate) fn is_lost(&self) -> bool {
        !self.is_done() && self.running.is_empty() && self.sources.iter().all(|it| it.out.is_some())
    }

    /// The next request to send now, if any. Call it until there is none.
    pub(crate) fn next(&mut self, now: Instant) -> Option<Ask> {
        if self.is_done() {
            return None;
        }
        self.next_open(now).or_else(|| self.next_hedge(now)).or_else(|| self.next_whole(now))
    }

    /// Asks for bytes that nobody was asked for yet.
    fn next_open(&mut self, now: Instant) -> Option<Ask> {
        let primary = self.running.values().filter(|it| it.overtakes.is_none()).count();
        if primary >= SOURCES_AT_ONCE {
            return None;
        }
        let range = self.find_open()?;
        // A large blob comes from several mirrors; the service helps only where there is no mirror.
        let source =
            self.find_source(now, |it| !it.ignores_range && (primary == 0 || !it.source.is_service))?;
        Some(self.ask(source, range, None, now))
    }

    /// Asks a second source for what a silent or slow request has left.
    fn next_hedge(&mut self, now: Instant) -> Option<Ask> {
        let is_open = self.find_open().is_some();
        let suits = |request: &Request| {
            self.find_source(now, |it| !it.ignores_range && request.wants_help_of(it, is_open, now))
        };
        let found = self.running.iter().find_map(|(id, it)| Some((*id, suits(it)?)));
        let (id, source) = found?;
        let request = self.running.get_mut(&id)?;
        let range = request.at..request.range.end;
        if range.is_empty() || self.pieces[self.plan.piece_at(request.at)].alone {
            return None;
        }
        request.hedged = true;
        Some(self.ask(source, range, Some(id), now))
    }

    /// Asks for the whole where only sources are left that cannot send a part.
    fn next_whole(&mut self, now: Instant) -> Option<Ask> {
        let ranged = self.sources.iter().any(|it| it.out.is_none() && !it.ignores_range);
        if ranged || !self.running.is_empty() {
            return None;
        }
        let source = self.find_source(now, |_| true)?;
        Some(self.ask(source, 0..self.plan.size(), None, now))
    }

    fn find_source(&self, now: Instant, suits: impl Fn(&Standing) -> bool) -> Option<usize> {
        let free = self.sources.iter().enumerate().filter(|(_, it)| it.is_free(now) && suits(it));
        free.min_by_key(|(number, it)| (it.order(), *number)).map(|(number, _)| number)
    }

    /// The first bytes that are neither there nor asked for, as many as one request asks for.
    fn find_open(&self) -> Option<Range<u64>> {
        let is_open = |it: &Piece| {
            let wanted = it.end()..it.range().end;
            !it.done && !self.running.values().any(|r| r.at < wanted.end && wanted.start < r.range.end)
        };
        let open = &self.pieces[self.first_open..];
        let first = open.iter().position(is_open)?;
        let start = open[first].end();
        let most = self.request_size();
        let run = open[first..].iter().take_while(|it| is_open(it));
        // Behind the first piece, only those that are empty: an answer is one stream of bytes.
        let run = run.enumerate().take_while(|(number, it)| *number == 0 || it.end() == it.range().start);
        let run = run.map(|(_, it)| it.range().end);
        let end = run.take_while(|end| end - start <= most).last();
        Some(start..end.unwrap_or(open[first].range().end))
    }

    /// How many bytes to ask for at most: all, where they come from one source.
    fn request_size(&self) -> u64 {
        let is_of_use = |it: &&Standing| it.out.is_none() && !it.ignores_range && !it.source.is_service;
        let sources = self.sources.iter().filter(is_of_use).count().min(SOURCES_AT_ONCE) as u64;
        if sources < 2 || !self.is_in_pieces() {
            return u64::MAX;
        }
        let asked: u64 = self.running.values().map(|it| it.range.end - it.at).sum();
        let open = (self.plan.size() - self.taken()).saturating_sub(asked);
        (open / (sources * REQUESTS_EACH)).clamp(REQUEST_LEAST, REQUEST_MOST)
    }

    fn ask(&mut self, source: usize, range: Range<u64>, overtakes: Option<u32>, now: Instant) -> Ask {
        let id = self.next_id;
        self.next_id += 1;
        self.sources[source].busy = true;
        let at = range.start;
        let request = Request {
            source,
            range: range.clone(),
            at,
            started: now,
            last: now,
            overtakes,
            hedged: false,
            compared: 0,
        };
        self.running.insert(id, request);
        Ask { id, source, url: self.sources[source].source.url.clone(), range }
    }

    /// An answer begins, at `offset` of the blob. Is it to be read? A source that sends the whole for a part only
    /// when no other is left.
    pub(crate) fn opened(&mut self, id: u32, offset: u64, now: Instant) -> bool {
        let Some(request) = self.running.get_mut(&id) else { return false };
        request.last = now;
        if offset == request.range.start {
            return true;
        }
        let source = request.source;
        self.sources[source].ignores_range = true;
        self.sources[source].last = Some("it ignores Range requests".to_owned());
        self.close(id, now);
        false
    }

    /// Takes bytes of a request, in their order.
    pub(crate) fn deliver(&mut self, id: u32, bytes: &[u8], now: Instant) -> Delivered {
        let mut delivered = Delivered::default();
        let Some(request) = self.running.get_mut(&id) else { return delivered };
        let (source, offset) = (request.source, request.at);
        let wanted = usize::try_from(request.range.end - offset).unwrap_or(usize::MAX).min(bytes.len());
        request.last = now;
        request.at += wanted as u64;
        let (writes, wrong) = self.accept(offset, &bytes[..wanted], source);
        let taken: usize = writes.iter().map(|it| it.1.len()).sum();
        self.sources[source].advance(taken as u64);
        delivered.writes = writes;
        for (number, wrong) in wrong {
            self.blame(number, &wrong, &mut delivered.cancelled, now);
        }
        self.drop_overtaken(id, &mut delivered.cancelled, now);
        delivered
    }

    /// Has the request brought all it was sent for?
    pub(crate) fn is_through(&self, id: u32) -> bool {
        self.running.get(&id).is_none_or(|it| it.at >= it.range.end)
    }

    /// Gives bytes to the pieces they belong to. Returns what was taken, and the pieces that turned out wrong.
    fn accept(&mut self, offset: u64, bytes: &[u8], sender: usize) -> (Writes, Vec<(usize, Wrong)>) {
        let (mut writes, mut wrong) = (Vec::new(), Vec::new());
        let last = offset + (bytes.len() as u64).saturating_sub(1);
        for number in self.plan.piece_at(offset)..=self.plan.piece_at(last) {
            let piece = &mut self.pieces[number];
            let (start, at) = (piece.range().start.max(offset), piece.end());
            let skip = usize::try_from(start - offset).unwrap_or(usize::MAX).min(bytes.len());
            let Some(taken) = piece.take(start, &bytes[skip..], sender) else { continue };
            writes.push((at, taken.start + skip..taken.end + skip));
            if let Some(Err(found)) = piece.judge() {
                wrong.push((number, found));
            }
        }
        self.advance();
        (writes, wrong)
    }

    /// A wrong piece. Of one sender: that one lies. Of several: nobody knows which, and all count as failed.
    fn blame(&mut self, piece: usize, wrong: &Wrong, cancelled: &mut Vec<u32>, now: Instant) {
        let Wrong { senders, again } = wrong;
        self.doubts_pieces |= *again && self.is_in_pieces();
        let range = self.pieces[piece].range();
        let reason = format!("it sent wrong bytes, in {}-{}", range.start, range.end);
        let of = |it: &Request| senders.contains(&it.source);
        let ids: Vec<u32> = self.running.iter().filter(|(_, it)| of(it)).map(|(id, _)| *id).collect();
        ids.iter().for_each(|id| self.close(*id, now));
        cancelled.extend(ids);
        for &sender in senders {
            let Some(source) = self.sources.get_mut(sender) else { continue }; // an earlier run
            let trouble = match senders[..] {
                [_] => Trouble::Final(reason.clone()),
                _ => Trouble::Passing(format!("{reason}, or another source did")),
            };
            source.strike(trouble, u64::MAX, now);
        }
        if let [liar] = senders[..] {
            let begun = |it: &&mut Piece| !it.done && it.senders.contains(&liar);
            self.pieces.iter_mut().filter(begun).for_each(Piece::restart);
        }
    }

    /// Once one of two requests for the same bytes is ahead for good, the other one ends.
    fn drop_overtaken(&mut self, id: u32, cancelled: &mut Vec<u32>, now: Instant) {
        let Some(request) = self.running.get(&id) else { return };
        let (at, end) = (request.at, request.range.end);
        let loser = match request.overtakes {
            Some(other) => self.running.get(&other).filter(|it| it.at < at).map(|_| other),
            None if at >= end => {
                self.running.iter().find(|(_, it)| it.overtakes == Some(id)).map(|(id, _)| *id)
            }
            None => None,
        };
        let Some(loser) = loser else { return };
        let was_slow = self.running.get(&id).is_some_and(|it| it.overtakes == Some(loser));
        let source = self.running.get(&loser).map(|it| it.source);
        self.close(loser, now);
        cancelled.push(loser);
        if let (true, Some(source)) = (was_slow, source) {
            self.sources[source].demote("another source was faster", now);
        }
        if let Some(winner) = self.running.get_mut(&id) {
            winner.overtakes = None;
        }
    }

    /// A request has ended, well or not.
    pub(crate) fn end(&mut self, id: u32, result: Result<(), Trouble>, now: Instant) {
        let Some(request) = self.running.get(&id) else { return };
        let (source, at, range) = (request.source, request.at, request.range.clone());
        let trouble = match result {
            Err(trouble) => Some(trouble),
            Ok(()) if at < range.end => {
                Some(Trouble::Passing(format!("its answer ended at byte {at} of {}", range.end)))
            }
            Ok(()) => None,
        };
        self.close(id, now);
        if let Some(trouble) = trouble {
            let piece = &mut self.pieces[self.plan.piece_at(at)];
            if piece.alone && !piece.done {
                piece.restart();
            }
            self.sources[source].strike(trouble, PROGRESS, now);
        }
    }

    /// Ends the requests that have stood still for too long, and those that were sent to overtake and do not.
    pub(crate) fn tick(&mut self, now: Instant) -> Vec<u32> {
        let is_still = |it: &Request| now.duration_since(it.last) >= STALL;
        let still: Vec<u32> = self.running.iter().filter(|(_, it)| is_still(it)).map(|(id, _)| *id).collect();
        for &id in &still {
            let reason = format!("it sent nothing for {} s", STALL.as_secs());
            self.end(id, Err(Trouble::Passing(reason)), now);
        }
        let is_behind = |it: &Request| {
            let other = it.overtakes.and_then(|id| self.running.get(&id));
            let old = now.duration_since(it.started) >= SPEED_WINDOW;
            old && other.is_some_and(|other| other.rate(now) >= it.rate(now))
        };
        let behind: Vec<u32> =
            self.running.iter().filter(|(_, it)| is_behind(it)).map(|(id, _)| *id).collect();
        for id in &behind {
            let other = self.running.get(id).and_then(|it| it.overtakes);
            self.close(*id, now);
            if let Some(slow) = other.and_then(|id| self.running.get_mut(&id)) {
                slow.compared += 1;
            }
        }
        still.into_iter().chain(behind).collect()
    }

    /// Forgets a request, and remembers how fast it was.
    fn close(&mut self, id: u32, now: Instant) {
        let Some(request) = self.running.remove(&id) else { return };
        let source = &mut self.sources[request.source];
        source.busy = false;
        if request.at > request.range.start {
            source.rate = Some(request.rate(now));
        }
        if let Some(slow) = request.overtakes.and_then(|id| self.running.get_mut(&id)) {
            slow.hedged = false;
        }
        // What was to overtake it goes on in its place.
        self.running.values_mut().filter(|it| it.overtakes == Some(id)).for_each(|it| it.overtakes = None);
    }

    fn advance(&mut self) {
        while self.pieces.get(self.first_open).is_some_and(|it| it.done) {
            self.first_open += 1;
        }
    }
}
