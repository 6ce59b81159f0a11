//! Numbers and ages as people read them.

/// `1.2 GB`, in powers of 1,000.
pub(in crate::server) fn bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "kB", "MB", "GB", "TB"] {
        if value < 999.5 {
            let digits = usize::from(value < 10.0 && unit != "B");
            return format!("{value:.digits$} {unit}");
        }
        value /= 1000.0;
    }
    format!("{value:.1} PB")
}

/// `1,234,567`
pub(in crate::server) fn count(number: impl TryInto<u64>) -> String {
    let digits = number.try_into().unwrap_or(u64::MAX).to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `3 hours ago`
pub(in crate::server) fn ago(seconds: i64, now: i64) -> String {
    let passed = (now - seconds).max(0);
    let (number, unit) = match passed {
        ..120 => return "just now".to_owned(),
        120..7_200 => (passed / 60, "minutes"),
        7_200..172_800 => (passed / 3_600, "hours"),
        _ => (passed / 86_400, "days"),
    };
    format!("{number} {unit} ago")
}

/// `3 hours`
pub(in crate::server) fn duration(seconds: i64) -> String {
    let (number, unit) = match seconds {
        ..60 => (seconds, "second"),
        60..7_200 => (seconds / 60, "minute"),
        7_200..172_800 => (seconds / 3_600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {unit}{plural}")
}

/// `2026-11-30 14:05 UTC`, of Unix seconds.
pub(in crate::server) fn time(seconds: i64) -> String {
    let time = jiff::Timestamp::from_second(seconds);
    time.map_or_else(|_| seconds.to_string(), |it| it.strftime("%Y-%m-%d %H:%M UTC").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_can_read_it() {
        let read = [0, 999, 1_000, 9_949, 999_499, 999_500, 1_500_000_000, u64::MAX].map(bytes);
        assert_eq!(read, ["0 B", "999 B", "1.0 kB", "9.9 kB", "999 kB", "1.0 MB", "1.5 GB", "18446.7 PB"]);
        assert_eq!([0u64, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        let read = [10, 119, 120, 7_199, 7_200, 172_800].map(|it| ago(1_000_000 - it, 1_000_000));
        let expected =
            ["just now", "just now", "2 minutes ago", "119 minutes ago", "2 hours ago", "2 days ago"];
        assert_eq!(read, expected);
        assert_eq!(ago(10, 0), "just now", "clocks differ");
        let read = [0, 1, 59, 60, 7_199, 7_200, 172_800].map(duration);
        let expected =
            ["0 seconds", "1 second", "59 seconds", "1 minute", "119 minutes", "2 hours", "2 days"];
        assert_eq!(read, expected);
        assert_eq!(time(86_399), "1970-01-01 23:59 UTC");
    }
}
