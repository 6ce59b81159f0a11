use jiff::Timestamp;
use serde::Serialize;

use super::repair::{REPAIR_HEAD, Repair};
use crate::mirror::HostName;

/// How many lines of a crawl's log a mail repeats.
const LINES: usize = 50;

/// How many files of a category a mail lists for repair.
const FILES: usize = 100;

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
    /// A certificate of it ends soon.
    Certificate,
    /// It is new here.
    Added,
    /// It is no longer here.
    Gone,
    /// What it is, or what it carries, was changed by people.
    Changed,
    /// It carries a category no longer.
    OptedOut,
    /// Its admins or the operators switched it off, or its site.
    Disabled,
    /// They switched it on again.
    ReEnabled,
    /// A budget of bytes from CDNs and the fallback is spent, or nearly. It is about no host.
    Budget,
}

/// What to say of a certificate that lasts so many whole days; it is over when these are less than 0.
pub fn certificate_warning(days: i64) -> String {
    match days {
        ..0 => "its certificate has expired: renew it, for no client goes there".to_owned(),
        0 => "its certificate ends within a day: renew it, or no client can go there then".to_owned(),
        1 => "its certificate ends in 1 day: renew it, or no client can go there then".to_owned(),
        _ => format!("its certificate ends in {days} days: renew it, or no client can go there then"),
    }
}

/// What is to be told, mostly of a host. As JSON it is what the webhook gets.
#[derive(Clone, Debug, Serialize)]
pub struct Notice {
    /// What has happened.
    pub event: Event,
    /// To whom; `None` when it is about no host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<HostName>,
    /// When.
    pub at: Timestamp,
    /// Why, or what has changed; may be empty.
    pub reason: String,
    /// The log of the crawl that found it.
    pub log: Vec<String>,
    /// What has to be repaired there.
    pub repair: Vec<Repair>,
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
            Event::Certificate => "has a certificate that ends soon",
            Event::Added => "was added",
            Event::Gone => "was removed",
            Event::Changed => "was changed",
            Event::OptedOut => "carries less",
            Event::Disabled => "was disabled",
            Event::ReEnabled => "was enabled again",
            Event::Budget => "has spent its budget, or nearly",
        };
        format!("{} {what}", self.about())
    }

    /// Whom it is about, for mails and the log.
    pub fn about(&self) -> &str {
        self.host.as_ref().map_or("the fallback", HostName::as_str)
    }

    /// The mail. What mirrors sent is in it, so control characters go.
    pub(super) fn body(&self) -> String {
        let what = match self.event {
            Event::Off => {
                "No client is sent to it any more. The first crawl that reaches it switches it on again."
            }
            Event::On => "The crawler has reached it. Clients are sent to it for what it holds.",
            Event::Lying => "No client is sent to it for what it lacks; if bytes were wrong, for nothing.",
            Event::Certificate => "Clients are sent to it until then.",
            Event::Disabled | Event::Gone => "No client is sent to it any more.",
            Event::Added | Event::Changed | Event::OptedOut | Event::ReEnabled => {
                "Clients are sent to it for what the crawler finds there."
            }
            Event::Budget => "Clients are answered as before: nothing is switched off by it.",
        };
        let (article, why) = match self.host {
            Some(_) => ("The mirror ", "a contact of this mirror"),
            None => ("To the operators: ", "in `notice.operators`"),
        };
        let mut text = format!("{article}{} {}\n\n", self.subject(), self.at.strftime("(%F %T UTC)."));
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
        if !self.repair.is_empty() {
            text.push_str(&format!("\nThis repairs it. {REPAIR_HEAD}\n"));
        }
        for repair in &self.repair {
            text.push_str(&format!("\n{}\n", repair.lines(FILES).join("\n")));
            if repair.files.len() > FILES {
                text.push_str(&format!(
                    "… and {} more files; the operators can list them\n",
                    repair.files.len() - FILES
                ));
            }
        }
        text.push_str(&format!("\nYou get this because your address is {why}.\n"));
        text.replace(|it: char| it.is_control() && it != '\n', "\u{fffd}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{mirror::FileFault, notice::RepairFile};

    fn file(path: &str) -> RepairFile {
        let reason = "it has a file of 1 bytes instead of 2".to_owned();
        RepairFile { path: path.to_owned(), fault: FileFault::Damaged, reason }
    }

    #[test]
    fn a_mail_says_what_happened_and_why() {
        let notice = Notice {
            event: Event::Off,
            host: "m1.example.org".parse().ok(),
            at: "2026-11-21T12:00:00Z".parse().unwrap(),
            reason: "not reached by 4 crawls in a row; \x1b[2Jno answer".into(),
            log: (0..52).map(|it| format!("line {it}")).collect(),
            repair: vec![Repair {
                category: "fedora".parse().unwrap(),
                files: (0..101).map(|it| file(&format!("blobs/{it}"))).collect(),
            }],
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
        let repair = "# fedora: blobs/99: damaged: it has a file of 1 bytes instead of 2\n\
                      rsync -c -lptH --files-from=- SOURCE/ FOLDER/ <<'END'\nblobs/0\nblobs/1\n";
        assert!(body.contains(repair) && body.contains("blobs/99\nEND\n… and 1 more files"), "{body}");
        let json = serde_json::to_value(&notice).unwrap();
        assert_eq!((&json["event"], &json["host"]), (&"off".into(), &"m1.example.org".into()));
        assert!(json.get("contacts").is_none(), "addresses are nobody else's business");
    }

    #[test]
    fn a_budget_is_about_no_host() {
        let notice = Notice {
            event: Event::Budget,
            host: None,
            at: "2026-11-21T12:00:00Z".parse().unwrap(),
            reason: "80 % of the day's budget".into(),
            log: Vec::new(),
            repair: Vec::new(),
            contacts: Vec::new(),
        };
        insta::assert_snapshot!(notice.body(), @r"
        To the operators: the fallback has spent its budget, or nearly (2026-11-21 12:00:00 UTC).

        Clients are answered as before: nothing is switched off by it.

        Reason: 80 % of the day's budget

        You get this because your address is in `notice.operators`.
        ");
        let json = serde_json::to_value(&notice).unwrap();
        assert!(json["event"] == "budget" && json.get("host").is_none(), "{json}");
    }
}
