use crate::mirrorlist::Start;

/// More ranges than this in one request are not looked at: the whole is sent (RFC 9110, 14.2).
const MOST_RANGES: usize = 16;

/// What a `Range` header asks for (RFC 9110, section 14).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ranges(Vec<Range>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Range {
    From(u64),
    Between(u64, u64),
    Last(u64),
}

/// What of some bytes is to be sent. First and last byte, both included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Selection {
    Whole,
    Parts(Vec<(u64, u64)>),
    Unsatisfiable,
}

impl Ranges {
    /// Reads the header's value. What cannot be read asks for the whole.
    pub(super) fn parse(value: &str) -> Self {
        let Some(list) = value.trim().strip_prefix("bytes=") else { return Self::default() };
        let ranges: Option<Vec<_>> =
            list.split(',').take(MOST_RANGES + 1).map(|it| range(it.trim())).collect();
        Self(ranges.filter(|it| it.len() <= MOST_RANGES).unwrap_or_default())
    }

    /// What it tells of a download.
    pub(super) fn start(&self) -> Start {
        match self.0[..] {
            [] | [Range::From(0)] => Start::Beginning,
            [Range::From(_)] => Start::Resume,
            _ => Start::Part,
        }
    }

    /// How many of so many bytes are asked for.
    pub(super) fn bytes(&self, length: u64) -> u64 {
        match self.select(length) {
            Selection::Whole => length,
            Selection::Parts(parts) => parts.iter().map(|it| it.1 - it.0 + 1).sum(),
            Selection::Unsatisfiable => 0,
        }
    }

    /// What it selects of so many bytes. Parts that overlap so much that they are more than the whole
    /// get the whole (RFC 9110, 14.2): a short request must not multiply a layer.
    pub(super) fn select(&self, length: u64) -> Selection {
        if self.0.is_empty() {
            return Selection::Whole;
        }
        let parts: Vec<_> = self.0.iter().filter_map(|it| it.within(length)).collect();
        let total = parts.iter().fold(0u64, |sum, it| sum.saturating_add(it.1 - it.0 + 1));
        match parts[..] {
            [] => Selection::Unsatisfiable,
            _ if total > length => Selection::Whole,
            _ => Selection::Parts(parts),
        }
    }
}

impl Range {
    fn within(self, length: u64) -> Option<(u64, u64)> {
        let last = length.checked_sub(1)?;
        match self {
            Self::From(first) => (first <= last).then_some((first, last)),
            Self::Between(first, end) => (first <= last).then_some((first, end.min(last))),
            Self::Last(count) => (count > 0).then_some((length.saturating_sub(count), last)),
        }
    }
}

fn range(text: &str) -> Option<Range> {
    // No blob is longer than the largest number, so that one stands for all above it.
    let number = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
        is_number.then(|| text.parse().unwrap_or(u64::MAX))
    };
    match text.split_once('-')? {
        ("", count) => Some(Range::Last(number(count)?)),
        (first, "") => Some(Range::From(number(first)?)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(Range::Between(first, last))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read() {
        #[track_caller]
        fn check(value: &str, start: Start, selection: Selection) {
            let ranges = Ranges::parse(value);
            assert_eq!((ranges.start(), ranges.select(10)), (start, selection), "{value}");
        }
        let parts = |parts: &[(u64, u64)]| Selection::Parts(parts.to_vec());
        check("bytes=0-", Start::Beginning, parts(&[(0, 9)]));
        check("bytes=4-", Start::Resume, parts(&[(4, 9)]));
        check("bytes=4-5", Start::Part, parts(&[(4, 5)]));
        check("bytes=0-99", Start::Part, parts(&[(0, 9)]));
        check("bytes=-3", Start::Part, parts(&[(7, 9)]));
        check("bytes=-99", Start::Part, parts(&[(0, 9)]));
        check("bytes=1-2, 5-6", Start::Part, parts(&[(1, 2), (5, 6)]));
        check("bytes=1-2,50-60", Start::Part, parts(&[(1, 2)]));
        check("bytes=10-", Start::Resume, Selection::Unsatisfiable);
        check("bytes=-0", Start::Part, Selection::Unsatisfiable);
        check("bytes=4-99999999999999999999999", Start::Part, parts(&[(4, 9)]));
        check("bytes=99999999999999999999999-", Start::Resume, Selection::Unsatisfiable);
        check("bytes=0-4,5-9", Start::Part, parts(&[(0, 4), (5, 9)]));
        check("bytes=0-4,4-9", Start::Part, Selection::Whole);
        check("bytes=0-,0-,0-", Start::Part, Selection::Whole);
    }

    #[test]
    fn what_cannot_be_read_asks_for_the_whole() {
        let many = format!("bytes={}", vec!["1-2"; MOST_RANGES + 1].join(","));
        for value in
            ["", "bytes", "bytes=", "bytes=-", "bytes=5-4", "bytes=a-", "bytes=+1-", "lines=1-2", &many]
        {
            assert_eq!(Ranges::parse(value), Ranges::default(), "{value}");
        }
        assert_eq!(Ranges::default().start(), Start::Beginning);
        assert_eq!(Ranges::default().select(0), Selection::Whole);
        assert_eq!(Ranges::parse("bytes=0-").select(0), Selection::Unsatisfiable);
    }

    proptest::proptest! {
        #[test]
        fn parts_are_inside(value in "bytes=[0-9,-]{0,20}", length in 0u64..100) {
            if let Selection::Parts(parts) = Ranges::parse(&value).select(length) {
                for (first, last) in parts {
                    proptest::prop_assert!(first <= last && last < length);
                }
            }
        }
    }
}
