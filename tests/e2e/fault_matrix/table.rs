//! What was seen, as a table for people.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use super::clients::Client;
use super::faults::{FAULTS, Fault};

/// What takes less is called at once: it says more about the machine than about the client.
pub(super) const AT_ONCE: Duration = Duration::from_secs(4);

/// One client and one fault.
pub(super) struct Cell {
    /// How long the first pull took.
    pub(super) took: Duration,
    /// Whether that had to be killed.
    pub(super) hung: bool,
    /// Which pull succeeded, counted from 1.
    pub(super) good: Option<u32>,
}

impl Cell {
    pub(super) fn render(&self) -> String {
        let seconds = self.took.as_secs_f64();
        let first = if self.hung { "hangs" } else { "✘" };
        match self.good {
            Some(1) if self.took < AT_ONCE => "✔".to_owned(),
            Some(1) => format!("✔ {seconds:.0} s"),
            Some(2) => format!("{first}, pull 2 ✔"),
            Some(_) => format!("{first}, later ✔"),
            None => format!("{first} for ever"),
        }
    }
}

/// All cells.
pub(super) struct Table {
    /// Name and word of each client.
    clients: Vec<(String, &'static str)>,
    modern: bool,
    /// By names of fault and client.
    cells: BTreeMap<(&'static str, String), Cell>,
    /// After what time of crawling nobody was sent to the mirror any more, by fault.
    out: BTreeMap<&'static str, Duration>,
}

impl Table {
    pub(super) fn new(clients: &[Client]) -> Table {
        let names = clients.iter().map(|it| (it.name.clone(), it.kind.word())).collect();
        let modern = clients.iter().any(|it| it.modern);
        Table { clients: names, modern, cells: BTreeMap::new(), out: BTreeMap::new() }
    }

    pub(super) fn insert(&mut self, fault: &Fault, client: &Client, cell: Cell) {
        self.cells.insert((fault.name, client.name.clone()), cell);
    }

    pub(super) fn insert_out(&mut self, fault: &Fault, after: Duration) {
        self.out.insert(fault.name, after);
    }

    /// The cells of faults that the crawler sees whose first pull failed: fault, and the client's name.
    pub(super) fn list_failed(&self) -> Vec<(&'static Fault, String)> {
        let failed = |fault: &'static Fault| {
            let has_failed = move |name: &&String| self.cells[&(fault.name, (*name).clone())].good != Some(1);
            let names = self.clients.iter().map(|(name, _)| name).filter(has_failed);
            names.map(move |name| (fault, name.clone()))
        };
        FAULTS.iter().filter(|fault| fault.visible).flat_map(failed).collect()
    }

    /// Names of the categories and words of the clients whose image never came.
    pub(super) fn list_lost(&self) -> Vec<(String, &'static str)> {
        let word = |name: &str| self.clients.iter().find(|it| it.0 == name).map_or("", |it| it.1);
        let lost = self.cells.iter().filter(|(_, cell)| cell.good.is_none());
        let fault = |name: &str| FAULTS.iter().find(|it| it.name == name).map(Fault::category);
        lost.map(|((of, client), _)| (fault(of).unwrap_or_default(), word(client))).collect()
    }

    /// In Markdown.
    pub(super) fn render(&self) -> String {
        let names: Vec<&str> = self.clients.iter().map(|(name, _)| name.as_str()).collect();
        let mut text = format!("| the near mirror | {} | out after |\n", names.join(" | "));
        text.push_str(&format!("|---|{}\n", "---|".repeat(names.len() + 1)));
        for fault in &FAULTS {
            let cells = names.iter().map(|name| self.cells[&(fault.name, (*name).to_owned())].render());
            let cells = cells.collect::<Vec<_>>().join(" | ");
            let out = self
                .out
                .get(fault.name)
                .map_or("never".to_owned(), |it| format!("{:.0} s", it.as_secs_f64()));
            text.push_str(&format!("| {} | {cells} | {out} |\n", fault.name));
        }
        text
    }

    /// In Markdown, with the seconds that each first pull took.
    pub(super) fn render_times(&self) -> String {
        let names: Vec<&str> = self.clients.iter().map(|(name, _)| name.as_str()).collect();
        let mut text =
            format!("| the near mirror | {} |\n|---|{}\n", names.join(" | "), "---|".repeat(names.len()));
        for fault in &FAULTS {
            let cell = |name: &&str| {
                let cell = &self.cells[&(fault.name, (*name).to_owned())];
                let mark = if cell.good == Some(1) { "✔" } else { "✘" };
                format!("{mark} {:.1} s", cell.took.as_secs_f64())
            };
            let cells = names.iter().map(cell).collect::<Vec<_>>().join(" | ");
            text.push_str(&format!("| {} | {cells} |\n", fault.name));
        }
        text
    }

    /// Everybody must have pulled at once, whatever the fault.
    #[track_caller]
    pub(super) fn check_all_good(&self) {
        for ((fault, client), cell) in &self.cells {
            assert_eq!(cell.good, Some(1), "`{fault}` was not healed for {client}");
        }
    }

    /// Into cargo's target folder.
    pub(super) fn write(file: &str, text: &str) {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("cargo's target folder");
        fs::write(target.join(file), text).expect("the table's file");
    }

    /// Whoever can heal a fault must have done it at once. All others must have succeeded by another pull, but who is
    /// known to be stuck.
    #[track_caller]
    pub(super) fn check(&self) {
        for fault in &FAULTS {
            let (healed, stuck) = match self.modern {
                true => (fault.healed_by_modern, ""),
                false => (fault.healed, fault.stuck),
            };
            for (name, word) in &self.clients {
                let is_in = |words: &str| words.split(' ').any(|it| it == *word);
                let good = self.cells[&(fault.name, name.clone())].good;
                assert!(!is_in(healed) || good == Some(1), "{name} did not heal `{}` at once", fault.name);
                assert!(is_in(stuck) || good.is_some(), "`{}` was final for {name}", fault.name);
            }
        }
    }
}
