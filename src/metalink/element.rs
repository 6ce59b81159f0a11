use std::{fmt::Write as _, io};

use quick_xml::{
    Writer,
    events::{BytesStart, BytesText, Event},
};

use super::{Pieces, Version, WebUrl};
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

/// Writes the element `pieces`. The versions spell the hash differently, and only version 3 counts the pieces.
pub(super) fn write_pieces(
    writer: &mut Writer<Vec<u8>>,
    pieces: &Pieces,
    version: Version,
) -> io::Result<()> {
    let algorithm = match version {
        Version::V3 => "sha256",
        Version::V4 => "sha-256",
    };
    let length = pieces.length().to_string();
    let element = writer.create_element("pieces");
    let element = element.with_attributes([("length", length.as_str()), ("type", algorithm)]);
    element.write_inner_content(|writer| {
        for (digest, number) in pieces.digests().zip(0u32..) {
            let mut hash = BytesStart::new("hash");
            if version == Version::V3 {
                hash.push_attribute(("piece", number.to_string().as_str()));
            }
            writer.write_event(Event::Start(hash.borrow()))?;
            writer.write_event(Event::Text(BytesText::new(&digest.hex())))?;
            writer.write_event(Event::End(hash.to_end()))?;
        }
        Ok(())
    })?;
    Ok(())
}
