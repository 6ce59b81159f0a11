//! What a command answers: tables for people, JSON for programs.

use std::{
    fmt::Display,
    io::{self, IsTerminal},
};

use comfy_table::{Cell, Color, ContentArrangement, Table, presets};
use serde::Serialize;

use super::print;
use crate::{database::Time, mirror::CrawlState};

/// A noun's command and how it answers: `portolan category list --json`.
#[derive(clap::Args)]
pub(super) struct Noun<C: clap::Subcommand> {
    #[command(subcommand)]
    pub(super) command: C,
    /// Print JSON, for programs
    #[arg(long, global = true)]
    pub(super) json: bool,
}

/// The answer of a command, in both forms.
pub(super) struct Answer {
    json: String,
    parts: Vec<Part>,
}

enum Part {
    Line(String),
    Table(Table),
}

impl Answer {
    /// This value for programs, nothing yet for people.
    pub(super) fn new(value: &impl Serialize) -> serde_json::Result<Self> {
        Ok(Self { json: serde_json::to_string_pretty(value)?, parts: Vec::new() })
    }

    /// One sentence: `{"message": …}` for programs.
    pub(super) fn message(text: &str) -> serde_json::Result<Self> {
        Ok(Self::new(&serde_json::json!({ "message": text }))?.line(text))
    }

    /// Shows people a line next.
    pub(super) fn line(mut self, text: impl Display) -> Self {
        self.parts.push(Part::Line(printable(&text.to_string())));
        self
    }

    /// Shows people a table next.
    pub(super) fn table(mut self, table: Table) -> Self {
        self.parts.push(Part::Table(table));
        self
    }

    /// Shows people a list next, or `empty` when nothing is in it.
    pub(super) fn list(self, rows: Table, empty: &str) -> Self {
        if rows.is_empty() { self.line(empty) } else { self.table(rows) }
    }

    /// Writes it to standard output.
    pub(super) fn print(&self, json: bool) -> anyhow::Result<()> {
        let people = || self.render_text(io::stdout().is_terminal());
        print(&if json { format!("{}\n", self.json) } else { people() })
    }

    fn render_text(&self, terminal: bool) -> String {
        let part = |it: &Part| match it {
            Part::Line(line) => format!("{line}\n"),
            Part::Table(table) if terminal => format!("{table}\n"),
            Part::Table(table) => format!("{}\n", table.clone().force_no_tty()),
        };
        self.parts.iter().map(part).collect()
    }

    /// What people see where there is no terminal.
    #[cfg(test)]
    pub(super) fn text(&self) -> String {
        self.render_text(false)
    }

    /// What programs see, as it is printed.
    #[cfg(test)]
    pub(super) fn json_text(&self) -> &str {
        &self.json
    }

    /// What programs see.
    #[cfg(test)]
    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.json).expect("serde_json has written it")
    }
}

/// A terminal with fewer columns gets its tables unbroken.
const NARROWEST: u16 = 40;

/// A table of many things of a kind: a row each.
pub(super) fn list(header: &[&str]) -> Table {
    let mut table = details();
    table.load_preset(presets::UTF8_FULL_CONDENSED).set_header(header);
    table
}

/// A table of one thing: a row for each of its fields, name and value.
pub(super) fn details() -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    // Some terminals tell 0.
    if table.width().is_some_and(|it| it >= NARROWEST) {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    table
}

/// A value in a table.
pub(super) fn cell(value: impl Display) -> Cell {
    Cell::new(printable(&value.to_string()))
}

/// Where a thing comes from, if it is not ours.
pub(super) fn origin(noun: &str, mirrormanager_id: Option<i64>) -> Option<String> {
    mirrormanager_id.map(|id| format!("MirrorManager ({noun} {id} there)"))
}

/// A value that may be missing.
pub(super) fn optional(value: Option<impl Display>) -> Cell {
    value.map_or_else(|| Cell::new("-"), cell)
}

/// A moment, to the second.
pub(super) fn time(time: Time) -> jiff::Timestamp {
    jiff::Timestamp::from_second(time.unix_seconds()).unwrap_or(time.into())
}

/// How many of a noun: `1 host`, `2 hosts`.
pub(super) fn count(number: impl Display, noun: &str) -> String {
    let number = number.to_string();
    let plural = if number == "1" { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// Many values, a line each.
pub(super) fn lines(values: impl IntoIterator<Item = impl Display>) -> Cell {
    let values: Vec<String> = values.into_iter().map(|it| it.to_string()).collect();
    optional((!values.is_empty()).then(|| values.join("\n")))
}

/// `yes` or `no`, as it may be.
pub(super) fn flag(value: bool) -> Cell {
    Cell::new(if value { "yes" } else { "no" })
}

/// `on` or `off`, where off is what one looks for.
pub(super) fn switch(on: bool) -> Cell {
    if on { Cell::new("on") } else { Cell::new("off").fg(Color::Red) }
}

/// What a crawl found, in the colour of its worth.
pub(super) fn state(state: Option<CrawlState>) -> Cell {
    let Some(state) = state else { return Cell::new("not crawled").fg(Color::Yellow) };
    Cell::new(state).fg(match state {
        CrawlState::UpToDate => Color::Green,
        CrawlState::Syncing | CrawlState::Behind => Color::Yellow,
        CrawlState::Lying | CrawlState::Unreachable => Color::Red,
    })
}

/// Reasons quote what mirrors send: no control character of theirs may reach a terminal.
pub(super) fn printable(text: &str) -> String {
    text.replace(|it: char| it.is_control() && it != '\n', "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_get_a_table_and_programs_json() {
        let mut table = list(&["NAME", "STATE"]);
        table.add_row([cell("m1"), state(Some(CrawlState::Lying))]);
        let answer = Answer::new(&["m1"]).unwrap().line("one host").table(table);
        insta::assert_snapshot!(answer.text(), @r"
        one host
        ┌──────┬───────┐
        │ NAME ┆ STATE │
        ╞══════╪═══════╡
        │ m1   ┆ lying │
        └──────┴───────┘
        ");
        assert_eq!(answer.json(), serde_json::json!(["m1"]));
    }

    #[test]
    fn a_mirror_cannot_write_to_the_terminal() {
        let mut table = details();
        table.add_row([cell("reason"), cell("\x1b]0;owned\x07")]);
        let text = Answer::message("\x1b[2J").unwrap().table(table).text();
        assert!(!text.contains(|it: char| it.is_control() && it != '\n'), "{text:?}");
    }
}
