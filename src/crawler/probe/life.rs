//! Whether one URL lives, by one address family: what one more answer makes of it. Pure; the time is an
//! argument, counted from any moment.

use std::time::Duration;

use crate::mirror::Reach;

/// Refused connections and failed TLS in a row that take a URL out.
const REFUSALS_UNTIL_DOWN: u32 = 2;

/// Failures of any kind in a row (no answer in time, 429, 5xx, other bytes, absent) that take a URL out.
pub(super) const FAILURES_UNTIL_DOWN: u32 = 3;

/// A URL that would go out, were this machine's network beyond doubt, is asked soon so many times; then at the
/// usual pace.
const DOUBTED: u32 = 10;

/// Good answers in a row that bring a URL back.
const SUCCESSES_UNTIL_UP: u32 = 2;

/// A URL that went out within so long is remembered for it.
const FLAP_WINDOW: Duration = Duration::from_secs(60 * 60);

/// So often a URL may go out within [`FLAP_WINDOW`] and come back as fast as any other. Each time more
/// doubles the good answers that it needs.
const FLAPS_FORGIVEN: usize = 2;

/// No URL needs more good answers than this to come back.
const MOST_SUCCESSES: u32 = 32;

/// What a URL answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The canary.
    Good,
    /// No connection, or no TLS: as sure as can be.
    Refused,
    /// Anything else.
    Failed,
    /// It has no address of the family, or this machine has no way to that family: nothing is known.
    NoRoute,
}

/// When to ask again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// At the usual pace.
    Usual,
    /// Soon: one answer more decides.
    Soon,
    /// Later than soon: it flaps, and has to prove itself for a while.
    Slowly,
}

/// The state.
#[derive(Clone, Debug, Default)]
pub(super) struct Life {
    reach: Reach,
    /// Answers in a row that speak against `reach`, and those of them that are [`Answer::Refused`].
    failures: u32,
    refusals: u32,
    successes: u32,
    /// When the first of them came.
    failing_since: Duration,
    /// When it went out, within [`FLAP_WINDOW`]; only as many as make a difference.
    outs: Vec<Duration>,
}

impl Life {
    pub(super) fn new(reach: Reach) -> Self {
        Self { reach, ..Self::default() }
    }

    pub(super) fn reach(&self) -> Reach {
        self.reach
    }

    /// Someone else has found out otherwise.
    pub(super) fn adopt(&mut self, reach: Reach) {
        *self = Self { reach, outs: std::mem::take(&mut self.outs), ..Self::default() };
    }

    /// Since when it fails though it counts as up.
    pub(super) fn failing_since(&self) -> Option<Duration> {
        (self.reach == Reach::Up && self.failures > 0).then_some(self.failing_since)
    }

    /// Takes one answer into account, which counts as `weight` of its kind in a row, and whose fault began to show
    /// at `since`. `is_believed(since)`: has the network of this machine proven itself since then? As long as it
    /// has not, what failed may be that, and nothing goes out.
    pub(super) fn note(
        &mut self,
        answer: Answer,
        weight: u32,
        since: Duration,
        now: Duration,
        is_believed: impl FnOnce(Duration) -> bool,
    ) -> Again {
        if answer == Answer::Good {
            return self.succeed(now);
        }
        self.successes = 0;
        self.failing_since = if self.failures == 0 { since } else { self.failing_since };
        self.failures = self.failures.saturating_add(weight);
        self.refusals = if answer == Answer::Refused { self.refusals.saturating_add(weight) } else { 0 };
        let verdict = if answer == Answer::NoRoute { Reach::Unknown } else { Reach::Down };
        if self.reach == verdict {
            (self.failures, self.refusals) = (0, 0);
            return Again::Usual;
        }
        if self.failures < FAILURES_UNTIL_DOWN && self.refusals < REFUSALS_UNTIL_DOWN {
            return Again::Soon;
        }
        if is_believed(self.failing_since) {
            self.go_out(verdict, now);
            return Again::Usual;
        }
        if self.failures < DOUBTED { Again::Soon } else { Again::Usual }
    }

    fn succeed(&mut self, now: Duration) -> Again {
        (self.failures, self.refusals) = (0, 0);
        if self.reach == Reach::Up {
            return Again::Usual;
        }
        self.outs.retain(|it| now.saturating_sub(*it) < FLAP_WINDOW);
        self.successes += 1;
        // What nothing was known of was not out.
        if self.reach == Reach::Unknown || self.successes >= self.needed() {
            self.reach = Reach::Up;
            self.successes = 0;
            return Again::Usual;
        }
        if self.outs.len() > FLAPS_FORGIVEN { Again::Slowly } else { Again::Soon }
    }

    fn go_out(&mut self, verdict: Reach, now: Duration) {
        if self.reach == Reach::Up {
            self.outs.retain(|it| now.saturating_sub(*it) < FLAP_WINDOW);
            if self.needed() >= MOST_SUCCESSES {
                self.outs.remove(0);
            }
            self.outs.push(now);
        }
        (self.failures, self.refusals) = (0, 0);
        self.reach = verdict;
    }

    /// Good answers in a row that bring it back.
    fn needed(&self) -> u32 {
        let more = self.outs.len().saturating_sub(FLAPS_FORGIVEN);
        (SUCCESSES_UNTIL_UP << more).min(MOST_SUCCESSES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays a story: one letter an answer (`g`ood, `r`efused, `f`ailed, `n`o route), one second apart. Gives for
    /// each the reach after it (`U`p, `D`own, `?`) and when to ask again (` ` usual, `!` soon, `.` slowly).
    fn play(life: &mut Life, start: u64, answers: &str) -> String {
        let mut told = String::new();
        for (second, letter) in (start..).zip(answers.chars()) {
            let answer = match letter {
                'g' => Answer::Good,
                'r' => Answer::Refused,
                'f' => Answer::Failed,
                _ => Answer::NoRoute,
            };
            let now = Duration::from_secs(second);
            let again = life.note(answer, 1, now, now, |_| true);
            told.push(match life.reach() {
                Reach::Up => 'U',
                Reach::Down => 'D',
                Reach::Unknown => '?',
            });
            told.push(match again {
                Again::Usual => ' ',
                Again::Soon => '!',
                Again::Slowly => '.',
            });
        }
        told
    }

    #[track_caller]
    fn check(reach: Reach, answers: &str, expected: &str) {
        assert_eq!(play(&mut Life::new(reach), 0, answers), expected, "{answers}");
    }

    #[test]
    fn answers_decide() {
        check(Reach::Up, "gg", "U U ");
        // Refused twice: out. Twice good: back.
        check(Reach::Up, "rrrgg", "U!D D D!U ");
        check(Reach::Up, "rgrg", "U!U U!U ");
        // Anything else three times.
        check(Reach::Up, "ffff", "U!U!D D ");
        check(Reach::Up, "ffgff", "U!U!U U!U!");
        check(Reach::Up, "frr", "U!U!D ");
        check(Reach::Up, "rfr", "U!U!D ");
        // Not twice in a row.
        check(Reach::Down, "gfgg", "D!D D!U ");
        // No way there says nothing of the host, but what is not seen for long is not known either.
        check(Reach::Up, "nnnn", "U!U!? ? ");
        check(Reach::Up, "nng", "U!U!U ");
        check(Reach::Down, "nnng", "D!D!? U ");
        // Of what was never seen, one good answer is enough.
        check(Reach::Unknown, "gg", "U U ");
        check(Reach::Unknown, "rr", "?!D ");
        check(Reach::Unknown, "nn", "? ? ");
    }

    #[test]
    fn what_flaps_needs_more_to_come_back() {
        let mut life = Life::new(Reach::Up);
        assert_eq!(play(&mut life, 0, "rrgg"), "U!D D!U ");
        assert_eq!(play(&mut life, 60, "rrgg"), "U!D D!U ");
        assert_eq!(play(&mut life, 120, "rrgggg"), "U!D D.D.D.U ");
        assert_eq!(play(&mut life, 180, "rrggggggg"), "U!D D.D.D.D.D.D.D.");
        assert_eq!(play(&mut life, 200, "g"), "U ");
        for round in 4..20 {
            play(&mut life, round * 100, "rr");
            let good = "g".repeat(40);
            let needed = play(&mut life, round * 100 + 10, &good).matches("D.").count() + 1;
            assert_eq!(needed, 1 << round.min(5), "round {round}");
        }
        // After an hour without a fault it is as any other.
        assert_eq!(play(&mut life, 10_000, "rrgg"), "U!D D!U ");
    }

    #[test]
    fn nothing_goes_out_while_this_machine_may_be_the_fault() {
        let mut life = Life::new(Reach::Up);
        let second = Duration::from_secs;
        let blind = |since| {
            move |it| {
                assert_eq!(it, since);
                false
            }
        };
        let mut refuse = |at: u64, is_believed: &dyn Fn(Duration) -> bool| {
            let again = life.note(Answer::Refused, 1, second(at), second(at), is_believed);
            (again, life.reach(), life.failing_since())
        };
        let doubted = |again| (again, Reach::Up, Some(second(7)));
        assert_eq!(refuse(7, &|_| unreachable!()), doubted(Again::Soon));
        for at in 8..16 {
            assert_eq!(refuse(at, &blind(second(7))), doubted(Again::Soon));
        }
        assert_eq!(refuse(16, &blind(second(7))), doubted(Again::Usual));
        assert_eq!(refuse(20, &|_| true), (Again::Usual, Reach::Down, None));
    }

    #[test]
    fn silence_on_two_connections_is_enough() {
        let (mut life, second) = (Life::new(Reach::Up), Duration::from_secs);
        let since_it_was_late = |it| it == second(1);
        let again = life.note(Answer::Failed, FAILURES_UNTIL_DOWN, second(1), second(3), since_it_was_late);
        assert_eq!((again, life.reach()), (Again::Usual, Reach::Down));
    }

    #[test]
    fn what_another_found_out_counts_from_the_start() {
        let mut life = Life::new(Reach::Up);
        play(&mut life, 0, "r");
        life.adopt(Reach::Down);
        assert_eq!(play(&mut life, 1, "gg"), "D!U ");
    }
}
