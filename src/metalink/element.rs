use std::io;

use quick_xml::{
    Writer,
    escape::escape,
    events::{BytesStart, BytesText, Event},
};

use super::{Pieces, Version, WebUrl};
use crate::mirror::Country;

/// One `url` element. There may be hundreds, so each goes straight into the document: what its attributes can hold needs
/// no escape, and its text seldom does.
pub(super) struct UrlElement<'w>(&'w mut Vec<u8>);

impl<'w> UrlElement<'w> {
    /// Begins it on a line of its own.
    pub(super) fn begin(writer: &'w mut Writer<Vec<u8>>) -> io::Result<Self> {
        writer.write_indent()?;
        let text = writer.get_mut();
        text.extend_from_slice(b"<url");
        Ok(Self(text))
    }

    /// `opening` is ` name="`.
    pub(super) fn push(&mut self, opening: &'static str, value: &'static str) {
        self.0.extend_from_slice(opening.as_bytes());
        self.0.extend_from_slice(value.as_bytes());
        self.0.push(b'"');
    }

    pub(super) fn push_number(&mut self, opening: &'static str, mut value: u32) {
        let (mut digits, mut at) = ([0; 10], 10);
        while value > 0 || at == 10 {
            at -= 1;
            digits[at] = b'0' + (value % 10) as u8;
            value /= 10;
        }
        self.0.extend_from_slice(opening.as_bytes());
        self.0.extend_from_slice(&digits[at..]);
        self.0.push(b'"');
    }

    /// In lower case, for aria2 compares it with what its user typed by the manual.
    pub(super) fn push_location(&mut self, country: Option<Country>) {
        if let Some([first, second]) = country.map(Country::letters) {
            let [first, second] = [first, second].map(|it| it.to_ascii_lowercase());
            self.0.extend_from_slice(b" location=\"");
            self.0.extend_from_slice(&[first, second, b'"']);
        }
    }

    /// Writes the text and ends it.
    pub(super) fn end(self, url: &WebUrl) {
        self.0.push(b'>');
        if url.is_plain() {
            self.0.extend_from_slice(url.as_str().as_bytes());
        } else {
            self.0.extend_from_slice(escape(url.as_str()).as_bytes());
        }
        self.0.extend_from_slice(b"</url>");
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
