//! What pages of the desk are made of.

use std::borrow::Cow;

use super::{Desk, form::Form};
use crate::server::api::Paging;

/// A page of the desk.
pub(super) struct Page {
    pub(super) title: String,
    /// It looks anew after so many seconds: something is going on.
    pub(super) again: Option<u32>,
    /// Why the form that was sent is refused.
    pub(super) refused: Option<String>,
    pub(super) blocks: Vec<Block>,
}

pub(super) enum Block {
    Heading(String),
    Text(String),
    Code(String),
    Facts(Vec<(&'static str, String)>),
    Table(Table),
    Form(Blank),
    /// Where to, and the words.
    Link(String, String),
    /// What can be searched here, the path, and what is sought now.
    Search(&'static str, String, String),
}

pub(super) struct Table {
    pub(super) label: &'static str,
    pub(super) header: &'static [&'static str],
    pub(super) rows: Vec<Vec<Cell>>,
}

pub(super) enum Cell {
    Text(String),
    Link(String, String),
    Links(Vec<(String, String)>),
    Lines(Vec<String>),
    /// One of the words that have a colour.
    State(String),
    /// A form that has nothing but a button.
    Button(Blank),
}

/// A form to be filled in.
pub(super) struct Blank {
    pub(super) action: String,
    pub(super) button: Cow<'static, str>,
    /// What the button is about, for those who hear the page.
    pub(super) about: String,
    /// What it does cannot be undone.
    pub(super) grave: bool,
    pub(super) fields: Vec<Field>,
}

pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    pub(super) hint: &'static str,
    pub(super) value: String,
    pub(super) kind: Kind,
}

pub(super) enum Kind {
    Text,
    Mail,
    /// One that is known already.
    Password,
    NewPassword,
    Area,
    Check,
    Hidden,
    /// Values, and what people read.
    Choice(Vec<(String, String)>),
}

impl Page {
    pub(super) fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), again: None, refused: None, blocks: Vec::new() }
    }

    pub(super) fn add(&mut self, block: Block) -> &mut Self {
        self.blocks.push(block);
        self
    }

    pub(super) fn heading(&mut self, text: impl Into<String>) -> &mut Self {
        self.add(Block::Heading(text.into()))
    }

    pub(super) fn text(&mut self, text: impl Into<String>) -> &mut Self {
        self.add(Block::Text(text.into()))
    }

    /// A table, or these words when it has no rows.
    pub(super) fn table(&mut self, table: Table, empty: &str) -> &mut Self {
        if table.rows.is_empty() { self.text(empty) } else { self.add(Block::Table(table)) }
    }

    /// A part of a long table, and where the others are.
    pub(super) fn part(
        &mut self,
        paging: &Paging<'_>,
        table: Table,
        next: Option<String>,
        empty: &str,
    ) -> &mut Self {
        self.table(table, empty);
        for (path, words) in [(paging.first(), "From the beginning"), (next, "More")] {
            if let Some(path) = path {
                self.add(Block::Link(path, words.to_owned()));
            }
        }
        self
    }

    /// A line to search this list by.
    pub(super) fn search(&mut self, desk: &Desk<'_>, label: &'static str) -> &mut Self {
        self.add(Block::Search(label, desk.visitor.path.clone(), desk.visitor.asked("q").to_owned()))
    }

    pub(super) fn form(&mut self, form: Blank) -> &mut Self {
        self.add(Block::Form(form))
    }
}

impl Blank {
    pub(super) fn new(action: impl Into<String>, button: impl Into<Cow<'static, str>>) -> Self {
        Self {
            action: action.into(),
            button: button.into(),
            about: String::new(),
            grave: false,
            fields: Vec::new(),
        }
    }

    pub(super) fn about(mut self, about: impl Into<String>) -> Self {
        self.about = about.into();
        self
    }

    pub(super) fn grave(mut self) -> Self {
        self.grave = true;
        self
    }

    pub(super) fn field(
        mut self,
        kind: Kind,
        name: &'static str,
        label: &'static str,
        value: impl ToString,
        hint: &'static str,
    ) -> Self {
        self.fields.push(Field { name, label, hint, value: value.to_string(), kind });
        self
    }

    /// With what was typed, if it is the form that was refused. Passwords are typed anew.
    pub(super) fn again(mut self, desk: &Desk<'_>) -> Self {
        if desk.refused && desk.visitor.path == self.action {
            self.refill(desk.form);
        }
        self
    }

    pub(super) fn refill(&mut self, form: &Form) {
        for field in &mut self.fields {
            let typed = form.text(field.name);
            match field.kind {
                Kind::Password | Kind::NewPassword => {}
                Kind::Check => field.value = if typed.is_empty() { String::new() } else { "on".to_owned() },
                _ => field.value = typed.to_owned(),
            }
        }
    }
}

impl Field {
    /// What the browser has to know of a line to fill in.
    pub(super) fn attributes(&self) -> &'static str {
        match (&self.kind, self.name) {
            (Kind::Mail, _) => "type=\"email\" autocomplete=\"email\"",
            (Kind::Password, _) => "type=\"password\" autocomplete=\"current-password\"",
            (Kind::NewPassword, _) => "type=\"password\" autocomplete=\"new-password\"",
            (_, "url") => "type=\"url\" autocomplete=\"off\"",
            _ => "type=\"text\" autocomplete=\"off\" spellcheck=\"false\"",
        }
    }
}

/// Of a box that is ticked or not.
pub(super) fn tick(on: bool) -> &'static str {
    if on { "on" } else { "" }
}

/// `Some` as text, or nothing.
pub(super) fn optional(value: Option<impl ToString>) -> String {
    value.map(|it| it.to_string()).unwrap_or_default()
}

pub(super) fn text(value: impl ToString) -> Cell {
    Cell::Text(value.to_string())
}

pub(super) fn link(path: impl Into<String>, words: impl ToString) -> Cell {
    Cell::Link(path.into(), words.to_string())
}
