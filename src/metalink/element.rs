use std::{fmt::Write as _, io};

use quick_xml::{
    Writer,
    events::{BytesStart, BytesText, Event},
};

use super::WebUrl;
use crate::mirror::Country;

/// Writes one `url` element after the other with the same memory, so that a URL costs no allocation.
pub(super) struct UrlElement {
    start: BytesStart<'static>,
    scratch: String,
}

impl UrlElement {
    pub(super) fn new() -> Self {
        Self { start: BytesStart::new("url"), scratch: String::new() }
    }

    pub(super) fn push(&mut self, name: &str, value: &str) {
        self.start.push_attribute((name, value));
    }

    pub(super) fn push_number(&mut self, name: &str, value: u32) -> io::Result<()> {
        self.scratch.clear();
        write!(self.scratch, "{value}").map_err(io::Error::other)?;
        self.start.push_attribute((name, self.scratch.as_str()));
        Ok(())
    }

    /// In lower case, for aria2 compares it with what its user typed by the manual.
    pub(super) fn push_location(&mut self, country: Option<Country>) {
        if let Some(country) = country {
            self.scratch.clear();
            self.scratch.push_str(country.as_str());
            self.scratch.make_ascii_lowercase();
            self.start.push_attribute(("location", self.scratch.as_str()));
        }
    }

    /// Writes the element and forgets its attributes.
    pub(super) fn write(&mut self, writer: &mut Writer<Vec<u8>>, url: &WebUrl) -> io::Result<()> {
        writer.write_event(Event::Start(self.start.borrow()))?;
        writer.write_event(Event::Text(BytesText::new(url.as_str())))?;
        writer.write_event(Event::End(self.start.to_end()))?;
        self.start.clear_attributes();
        Ok(())
    }
}
