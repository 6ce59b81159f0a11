use jiff::Timestamp;
use serde::Serialize;

use crate::mirror::HostName;

/// How many lines of a crawl's log a mail repeats.
const LINES: usize = 50;

/// What has happened to a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// The crawler has switched it off.
    Off,
    /// It is reached again, and switched on.
    On,
    /// It was caught lying: it claims what it lacks, or has other bytes.
    Lying,
}

/// What is to be told of a host. As JSON it is what the webhook gets.
#[derive(Clone, Debug, Serialize)]
pub struct Notice {
    /// What has happened.
    pub event: Event,
    /// To whom.
    pub host: HostName,
    /// When.
    pub at: Timestamp,
    /// Why, in one sentence; empty when the host is on again.
    pub reason: String,
    /// The log of the crawl that found it.
    pub log: Vec<String>,
    /// Whom to tell by mail.
    #[serde(skip)]
    pub contacts: Vec<String>,
}

impl Notice {
    pub(super) fn subject(&self) -> String {
        let what = match self.event {
            Event::Off => "is switched off",
            Event::On => "is on again",
            Event::Lying => "has wrong or missing files",
        };
        format!("{} {what}", self.host)
    }

    /// The mail. What mirrors sent is in it, so control characters go.
    pub(super) fn body(&self) -> String {
        let what = match self.event {
            Event::Off => {
                "No client is sent to it any more. The first crawl that reaches it switches it on again."
            }
            Event::On => "The crawler has reached it. Clients are sent to it for what it holds.",
            Event::Lying => "No client is sent to it for what it lacks; if bytes were wrong, for nothing.",
        };
        let mut text = format!("The mirror {} {}\n\n", self.subject(), self.at.strftime("(%F %T UTC)."));
        text.push_str(what);
        text.push('\n');
        if !self.reason.is_empty() {
            text.push_str(&format!("\nReason: {}\n", self.reason));
        }
        if !self.log.is_empty() {
            text.push_str("\nWhat the crawler saw:\n");
        }
        for line in self.log.iter().take(LINES) {
            text.push_str(&format!("  {line}\n"));
        }
        if self.log.len() > LINES {
            text.push_str(&format!("  … and {} more lines\n", self.log.len() - LINES));
        }
        text.push_str("\nYou get this because your address is a contact of this mirror.\n");
        text.replace(|it: char| it.is_control() && it != '\n', "\u{fffd}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_says_what_happened_and_why() {
        let notice = Notice {
            event: Event::Off,
            host: "m1.example.org".parse().unwrap(),
            at: "2026-11-21T12:00:00Z".parse().unwrap(),
            reason: "not reached by 4 crawls in a row; \x1b[2Jno answer".into(),
            log: (0..52).map(|it| format!("line {it}")).collect(),
            contacts: vec!["admin@example.org".into()],
        };
        assert_eq!(notice.subject(), "m1.example.org is switched off");
        let body = notice.body();
        let head: String = body.lines().take(7).map(|it| format!("{it}\n")).collect();
        insta::assert_snapshot!(head, @r"
        The mirror m1.example.org is switched off (2026-11-21 12:00:00 UTC).

        No client is sent to it any more. The first crawl that reaches it switches it on again.

        Reason: not reached by 4 crawls in a row; �[2Jno answer

        What the crawler saw:
        ");
        assert!(body.contains("line 49\n  … and 2 more lines\n"), "{body}");
        let json = serde_json::to_value(&notice).unwrap();
        assert_eq!((&json["event"], &json["host"]), (&"off".into(), &"m1.example.org".into()));
        assert!(json.get("contacts").is_none(), "addresses are nobody else's business");
    }
}
