use std::io;

use jiff::fmt::temporal::DateTimePrinter;
use quick_xml::{
    Writer,
    events::{BytesDecl, BytesText, Event},
};

use super::{
    Document, GENERATOR, Resource, Version,
    element::{UrlElement, write_pieces},
};

pub(super) const NAMESPACE: &str = "urn:ietf:params:xml:ns:metalink";

/// The least urgent priority: RFC 5854 section 4.2.16.1.
pub(super) const PRIORITY_LIMIT: u32 = 999_999;

/// Writes the document as RFC 5854 has it.
pub fn render_v4(document: &Document) -> Vec<u8> {
    let mut writer = Writer::new_with_indent(Vec::with_capacity(document.capacity()), b' ', 1);
    write_document(&mut writer, document).expect("writing to memory does not fail");
    writer.into_inner()
}

fn write_document(writer: &mut Writer<Vec<u8>>, document: &Document) -> io::Result<()> {
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    writer.create_element("metalink").with_attribute(("xmlns", NAMESPACE)).write_inner_content(|writer| {
        let mut published = String::new();
        // Whole seconds of a year with four digits: always `YYYY-MM-DDThh:mm:ssZ`.
        DateTimePrinter::new()
            .print_timestamp(&document.published, &mut published)
            .map_err(io::Error::other)?;
        writer.create_element("published").write_text_content(BytesText::new(&published))?;
        writer.create_element("generator").write_text_content(BytesText::new(GENERATOR))?;
        if let Some(origin) = &document.origin {
            let element = writer.create_element("origin").with_attribute(("dynamic", "true"));
            element.write_text_content(BytesText::new(origin.as_str()))?;
        }
        write_file(writer, document)
    })?;
    Ok(())
}

fn write_file(writer: &mut Writer<Vec<u8>>, document: &Document) -> io::Result<()> {
    let file = writer.create_element("file").with_attribute(("name", document.name.as_str()));
    file.write_inner_content(|writer| {
        writer.create_element("size").write_text_content(BytesText::new(&document.size.to_string()))?;
        let hash = writer.create_element("hash").with_attribute(("type", "sha-256"));
        hash.write_text_content(BytesText::new(&document.digest.hex()))?;
        if let Some(pieces) = &document.pieces {
            write_pieces(writer, pieces, Version::V4)?;
        }
        write_urls(writer, &document.resources)
    })?;
    Ok(())
}

fn write_urls(writer: &mut Writer<Vec<u8>>, resources: &[Resource]) -> io::Result<()> {
    for (resource, priority) in resources.iter().zip(1..) {
        let mut element = UrlElement::begin(writer)?;
        element.push_location(resource.country);
        element.push_number(" priority=\"", priority);
        element.end(&resource.url);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metalink::samples;

    #[test]
    fn the_whole_document() {
        let text =
            String::from_utf8(render_v4(&samples::document())).unwrap().replace(GENERATOR, "GENERATOR");
        insta::assert_snapshot!(text, @r##"
        <?xml version="1.0" encoding="UTF-8"?>
        <metalink xmlns="urn:ietf:params:xml:ns:metalink">
         <published>2025-01-01T00:00:00Z</published>
         <generator>GENERATOR</generator>
         <origin dynamic="true">https://registry.example/metalink?repo=fedora&amp;tag=latest</origin>
         <file name="sha256-61aef21156ffca6a6927ced21ac6a805a0a30c14398012f15e68a25ae0c020e9">
          <size>3145851</size>
          <hash type="sha-256">61aef21156ffca6a6927ced21ac6a805a0a30c14398012f15e68a25ae0c020e9</hash>
          <pieces length="2097152" type="sha-256">
           <hash>abababababababababababababababababababababababababababababababab</hash>
           <hash>cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd</hash>
          </pieces>
          <url location="de" priority="1">https://m1.example/fedora/blobs/sha256/ab/x?a=1&amp;b=&apos;2&apos;</url>
          <url location="fr" priority="2">http://m2.example/blob</url>
          <url priority="3">https://m3.example/blob</url>
         </file>
        </metalink>
        "##);
    }
}
