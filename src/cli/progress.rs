//! Shows what an export does: bars on a terminal, plain lines elsewhere.

use std::{
    collections::HashMap,
    io::{self, IsTerminal, Write},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressStyle};

use crate::{
    exporter::{Observer, Transfer},
    oci::Digest,
};

/// The look of one transfer; the message is its repository and the beginning of its digest.
const BAR: &str = "{msg:40!} {wide_bar} {bytes:>10} of {total_bytes:>10} {binary_bytes_per_sec:>12}";

/// The look of reading the tree anew.
const READING_BAR: &str =
    "reading the tree {wide_bar} {bytes:>10} of {total_bytes:>10} {binary_bytes_per_sec:>12}";

/// A line is written each time that one part more of so many was read anew.
const READING_LINES: u64 = 10;

/// Writes to standard error, so that `--json` has standard output for itself.
pub(super) struct Progress {
    output: Output,
}

enum Output {
    Bars {
        all: MultiProgress,
        running: Mutex<HashMap<Digest, ProgressBar>>,
        reading: Mutex<Option<ProgressBar>>,
    },
    /// And how many parts of the tree were read anew, of those that were told.
    Lines { to: Mutex<Box<dyn Write + Send>>, parts: AtomicU64 },
}

impl Progress {
    /// On standard error, by bars if that is a terminal.
    pub(super) fn on_standard_error() -> Self {
        if io::stderr().is_terminal() {
            Self::bars(MultiProgress::new())
        } else {
            Self::lines(Box::new(io::stderr()))
        }
    }

    fn bars(all: MultiProgress) -> Self {
        Self { output: Output::Bars { all, running: Mutex::default(), reading: Mutex::default() } }
    }

    fn lines(to: Box<dyn Write + Send>) -> Self {
        Self { output: Output::Lines { to: Mutex::new(to), parts: AtomicU64::new(0) } }
    }

    fn print(&self, line: &str) {
        // Nobody reads any more: no reason to stop the export.
        let _ = match &self.output {
            Output::Bars { all, .. } => all.println(line),
            Output::Lines { to, .. } => writeln!(to.lock().unwrap_or_else(PoisonError::into_inner), "{line}"),
        };
    }
}

impl Observer for Progress {
    fn started(&self, transfer: &Transfer) {
        let Output::Bars { all, running, .. } = &self.output else {
            let size = HumanBytes(transfer.size);
            return self.print(&format!("fetching {}@{} ({size})", transfer.repository, transfer.digest));
        };
        let hex = transfer.digest.hex();
        let bar = all.add(ProgressBar::new(transfer.size).with_style(style(BAR)));
        bar.set_message(format!("{} {}", &hex[..12], transfer.repository));
        running.lock().unwrap_or_else(PoisonError::into_inner).insert(transfer.digest, bar);
    }

    fn advanced(&self, transfer: &Transfer, position: u64) {
        if let Output::Bars { running, .. } = &self.output {
            let running = running.lock().unwrap_or_else(PoisonError::into_inner);
            running.get(&transfer.digest).inspect(|bar| bar.set_position(position));
        }
    }

    fn finished(&self, transfer: &Transfer) {
        if let Output::Bars { running, .. } = &self.output {
            let bar = running.lock().unwrap_or_else(PoisonError::into_inner).remove(&transfer.digest);
            bar.inspect(ProgressBar::finish_and_clear);
        }
    }

    fn verified(&self, bytes: u64, total: u64) {
        match &self.output {
            Output::Bars { all, reading, .. } => {
                let mut reading = reading.lock().unwrap_or_else(PoisonError::into_inner);
                let bar = reading
                    .get_or_insert_with(|| all.add(ProgressBar::new(total).with_style(style(READING_BAR))));
                bar.set_length(total);
                bar.set_position(bytes);
                if bytes >= total {
                    bar.finish_and_clear();
                }
            }
            Output::Lines { parts, .. } => {
                let part = bytes.saturating_mul(READING_LINES) / total.max(1);
                if parts.fetch_max(part, Ordering::Relaxed) < part {
                    let percent = part * 100 / READING_LINES;
                    self.print(&format!("reading the tree: {percent} % of {}", HumanBytes(total)));
                }
            }
        }
    }

    fn note(&self, text: &str) {
        self.print(text);
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use indicatif::ProgressDrawTarget;

    use super::*;

    /// Keeps what is written to it.
    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn run(progress: &Progress) {
        let transfer =
            Transfer { digest: Digest::of(b""), size: 2048, repository: "team/app".parse().unwrap() };
        progress.started(&transfer);
        progress.advanced(&transfer, 1024);
        progress.note("app:1: broken");
        progress.finished(&transfer);
        for bytes in [1, 100, 150, 1000] {
            progress.verified(bytes, 1000);
        }
    }

    #[test]
    fn lines_tell_what_happens() {
        let page = Page::default();
        run(&Progress::lines(Box::new(page.clone())));
        insta::assert_snapshot!(String::from_utf8(page.0.lock().unwrap().clone()).unwrap(), @r"
        fetching team/app@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 (2.00 KiB)
        app:1: broken
        reading the tree: 10 % of 1000 B
        reading the tree: 100 % of 1000 B
        ");
    }

    #[test]
    fn bars_go_when_their_transfer_ends() {
        assert!([BAR, READING_BAR].iter().all(|it| ProgressStyle::with_template(it).is_ok()));
        let progress = Progress::bars(MultiProgress::with_draw_target(ProgressDrawTarget::hidden()));
        run(&progress);
        let Output::Bars { running, reading, .. } = &progress.output else { panic!("it has bars") };
        assert!(running.lock().unwrap().is_empty());
        assert!(reading.lock().unwrap().as_ref().unwrap().is_finished());
    }
}
