use std::io;

use jiff::fmt::rfc2822::DateTimePrinter;
use quick_xml::{
    Writer,
    events::{BytesDecl, BytesText, Event},
};

use super::{
    Document, GENERATOR, Resource, Version,
    element::{UrlElement, write_pieces},
};

pub(super) const NAMESPACE: &str = "http://www.metalinker.org/";

pub(super) const MIRRORMANAGER: &str = "http://fedorahosted.org/mirrormanager";

/// The best preference; the worst that we write is 1.
pub(super) const PREFERENCE_LIMIT: u32 = 100;

/// Writes the document as MirrorManager does: Metalink 3.0 and `mm0:timestamp`.
///
/// librepo takes element names as they are spelled, so that only `mm0:` has a prefix.
pub fn render_v3(document: &Document) -> Vec<u8> {
    let mut writer = Writer::new_with_indent(Vec::with_capacity(document.capacity()), b' ', 1);
    write_document(&mut writer, document).expect("writing to memory does not fail");
    writer.into_inner()
}

fn write_document(writer: &mut Writer<Vec<u8>>, document: &Document) -> io::Result<()> {
    let mut pubdate = String::new();
    // RFC 2822's form with GMT.
    DateTimePrinter::new()
        .print_timestamp_rfc9110(&document.published, &mut pubdate)
        .map_err(io::Error::other)?;
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let mut metalink = writer.create_element("metalink").with_attributes([
        ("version", "3.0"),
        ("xmlns", NAMESPACE),
        ("type", "dynamic"),
        ("pubdate", pubdate.as_str()),
        ("generator", GENERATOR),
        ("xmlns:mm0", MIRRORMANAGER),
    ]);
    if let Some(origin) = &document.origin {
        metalink = metalink.with_attribute(("origin", origin.as_str()));
    }
    metalink.write_inner_content(|writer| {
        writer.create_element("files").write_inner_content(|writer| write_file(writer, document))?;
        Ok(())
    })?;
    Ok(())
}

fn write_file(writer: &mut Writer<Vec<u8>>, document: &Document) -> io::Result<()> {
    let file = writer.create_element("file").with_attribute(("name", document.name.as_str()));
    file.write_inner_content(|writer| {
        let timestamp = document.timestamp().to_string();
        writer.create_element("mm0:timestamp").write_text_content(BytesText::new(&timestamp))?;
        writer.create_element("size").write_text_content(BytesText::new(&document.size.to_string()))?;
        writer.create_element("verification").write_inner_content(|writer| {
            let hash = writer.create_element("hash").with_attribute(("type", "sha256"));
            hash.write_text_content(BytesText::new(&document.digest.hex()))?;
            document.pieces.as_ref().map_or(Ok(()), |it| write_pieces(writer, it, Version::V3))
        })?;
        let resources = writer.create_element("resources").with_attribute(("maxconnections", "1"));
        resources.write_inner_content(|writer| write_urls(writer, &document.resources))?;
        Ok(())
    })?;
    Ok(())
}

fn write_urls(writer: &mut Writer<Vec<u8>>, resources: &[Resource]) -> io::Result<()> {
    let preferences = (1..=PREFERENCE_LIMIT).rev().chain(std::iter::repeat(1));
    for (resource, preference) in resources.iter().zip(preferences) {
        let mut element = UrlElement::begin(writer)?;
        let scheme = resource.url.scheme().as_str();
        element.push(" protocol=\"", scheme);
        element.push(" type=\"", scheme);
        element.push_location(resource.country);
        element.push_number(" preference=\"", preference);
        if resource.is_private {
            element.push(" mm0:private=\"", "True");
        }
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
            String::from_utf8(render_v3(&samples::document())).unwrap().replace(GENERATOR, "GENERATOR");
        insta::assert_snapshot!(text, @r##"
        <?xml version="1.0" encoding="UTF-8"?>
        <metalink version="3.0" xmlns="http://www.metalinker.org/" type="dynamic" pubdate="Wed, 01 Jan 2025 00:00:00 GMT" generator="GENERATOR" xmlns:mm0="http://fedorahosted.org/mirrormanager" origin="https://registry.example/metalink?repo=fedora&amp;tag=latest">
         <files>
          <file name="sha256-61aef21156ffca6a6927ced21ac6a805a0a30c14398012f15e68a25ae0c020e9">
           <mm0:timestamp>1735689600</mm0:timestamp>
           <size>3145851</size>
           <verification>
            <hash type="sha256">61aef21156ffca6a6927ced21ac6a805a0a30c14398012f15e68a25ae0c020e9</hash>
            <pieces length="2097152" type="sha256">
             <hash piece="0">abababababababababababababababababababababababababababababababab</hash>
             <hash piece="1">cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd</hash>
            </pieces>
           </verification>
           <resources maxconnections="1">
            <url protocol="https" type="https" location="de" preference="100">https://m1.example/fedora/blobs/sha256/ab/x?a=1&amp;b=&apos;2&apos;</url>
            <url protocol="http" type="http" location="fr" preference="99" mm0:private="True">http://m2.example/blob</url>
            <url protocol="https" type="https" preference="98">https://m3.example/blob</url>
           </resources>
          </file>
         </files>
        </metalink>
        "##);
    }

    #[test]
    fn preferences_never_fall_below_one() {
        let some = samples::document();
        let resources = vec![some.resources()[0].clone(); 120];
        let many = Document { resources, ..some };
        let text = String::from_utf8(render_v3(&many)).unwrap();
        assert_eq!(text.matches("preference=\"1\"").count(), 21);
        assert!(!text.contains("preference=\"0\""));
    }
}
