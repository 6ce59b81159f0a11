//! Shows what a pull does: a bar for each file on a terminal, with the host that sends it; plain lines elsewhere.

use std::{
    collections::HashMap,
    io::{self, IsTerminal, Write},
    sync::{Mutex, PoisonError},
};

use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressStyle};

use crate::{
    oci::Digest,
    puller::{Observer, Transfer},
};

/// The look of one file, on 80 columns too; the prefix says which, the message is the host that sends it.
const BAR: &str =
    "{prefix:17!} {wide_bar} {percent:>3}% of {total_bytes:>10} {binary_bytes_per_sec:>12} {msg:20!}";

/// Writes to standard error, so that `--json` has standard output for itself.
pub(super) enum Bars {
    Bars { all: MultiProgress, running: Mutex<HashMap<Digest, ProgressBar>> },
    Lines,
}

impl Bars {
    pub(super) fn on_standard_error() -> Self {
        if io::stderr().is_terminal() {
            Self::Bars { all: MultiProgress::new(), running: Mutex::default() }
        } else {
            Self::Lines
        }
    }
}

fn name(transfer: &Transfer) -> String {
    format!("{} {}", transfer.kind, &transfer.digest.hex()[..8])
}

impl Observer for Bars {
    fn started(&self, transfer: &Transfer, there: u64) {
        let Self::Bars { all, running } = self else {
            let size = HumanBytes(transfer.size);
            let _ = writeln!(io::stderr(), "fetching {} ({size})", name(transfer));
            return;
        };
        let style = ProgressStyle::with_template(BAR).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = all.add(ProgressBar::new(transfer.size).with_style(style).with_position(there));
        bar.set_prefix(name(transfer));
        running.lock().unwrap_or_else(PoisonError::into_inner).insert(transfer.digest, bar);
    }

    fn advanced(&self, transfer: &Transfer, there: u64, hosts: &[&str]) {
        let Self::Bars { running, .. } = self else { return };
        let running = running.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(bar) = running.get(&transfer.digest) else { return };
        bar.set_position(there);
        let message = match hosts {
            [] => return,
            [host] => (*host).to_owned(),
            [first, others @ ..] => format!("{first} + {}", others.len()),
        };
        if bar.message() != message {
            bar.set_message(message);
        }
    }

    fn finished(&self, transfer: &Transfer) {
        let Self::Bars { running, .. } = self else { return };
        let bar = running.lock().unwrap_or_else(PoisonError::into_inner).remove(&transfer.digest);
        bar.inspect(ProgressBar::finish_and_clear);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_look_of_a_bar_is_understood() {
        assert!(ProgressStyle::with_template(BAR).is_ok());
    }
}
