use std::str::FromStr;

use jiff::Timestamp;

use super::{
    Document, DocumentError, Pieces, RESOURCES_LIMIT, Resource, WebUrl, WebUrlError,
    scanner::{Element, Namespace, Scanner},
    v3::PREFERENCE_LIMIT,
    v4::PRIORITY_LIMIT,
};
use crate::oci::Digest;

/// The largest document that is read, in bytes.
pub const DOCUMENT_LIMIT: usize = 4 * 1024 * 1024;

/// Why bytes are no metalink that we can use.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Larger than [`DOCUMENT_LIMIT`].
    #[error("the metalink is larger than {DOCUMENT_LIMIT} bytes")]
    TooLarge,
    /// Not text.
    #[error("the metalink is not UTF-8")]
    Encoding(#[from] std::str::Utf8Error),
    /// Not XML.
    #[error("the metalink is not well-formed XML: {0}")]
    Xml(#[from] quick_xml::Error),
    /// XML that ends too early.
    #[error("the metalink is truncated")]
    Truncated,
    /// Could define entities, which no metalink needs.
    #[error("the metalink has a document type declaration")]
    DocType,
    /// An entity that XML does not define.
    #[error("the metalink uses an entity that XML does not define")]
    Entity,
    /// An element where text belongs.
    #[error("the metalink has an element where text belongs")]
    Nested,
    /// The outermost element is not `metalink` in the namespace of version 3 or 4.
    #[error("the document is no metalink of version 3 or 4")]
    Root,
    /// A part that every metalink must have, or that we need.
    #[error("the metalink has no {0}")]
    Missing(&'static str),
    /// A part that may be there once.
    #[error("the metalink has more than one {0}")]
    Repeated(&'static str),
    /// A part that breaks its grammar; blanks around a value count (RFC 5854 section 4).
    #[error("the metalink has a malformed {0}")]
    Malformed(&'static str),
    /// More URLs than [`RESOURCES_LIMIT`], whatever their schemes.
    #[error("the metalink has more than {RESOURCES_LIMIT} URLs")]
    TooManyUrls,
    /// A URL of the right scheme that breaks the rules of [`WebUrl`].
    #[error(transparent)]
    Url(#[from] WebUrlError),
    /// What [`Document::new`] refuses.
    #[error(transparent)]
    Document(#[from] DocumentError),
}

/// Reads a document of either version that names exactly one file. URLs that are neither HTTP nor HTTPS are left
/// out, the others are sorted best first; hashes other than SHA-256 and unknown elements are passed over.
pub fn read(bytes: &[u8]) -> Result<Document, ReadError> {
    if bytes.len() > DOCUMENT_LIMIT {
        return Err(ReadError::TooLarge);
    }
    let mut scanner = Scanner::new(std::str::from_utf8(bytes)?);
    let root = scanner.next_child()?.filter(|it| it.name() == "metalink").ok_or(ReadError::Root)?;
    let mut parts = Parts::default();
    match root.namespace {
        Namespace::V3 => parts.read_v3(&mut scanner, &root)?,
        Namespace::V4 => parts.read_v4(&mut scanner)?,
        Namespace::MirrorManager | Namespace::Foreign => return Err(ReadError::Root),
    }
    match scanner.next_child()? {
        Some(_) => Err(ReadError::Repeated("outermost element")),
        None => parts.finish(),
    }
}

/// What was found so far.
#[derive(Default)]
struct Parts {
    name: Option<String>,
    size: Option<u64>,
    digest: Option<Digest>,
    /// Their length and hashes.
    pieces: Option<(u64, Vec<[u8; 32]>)>,
    timestamp: Option<i64>,
    origin: Option<WebUrl>,
    /// With the rank that the document gives it, lowest first.
    resources: Vec<(u32, Resource)>,
    urls: usize,
}

impl Parts {
    fn read_v4(&mut self, scanner: &mut Scanner<'_>) -> Result<(), ReadError> {
        while let Some(element) = scanner.next_child()? {
            match (element.namespace, element.name()) {
                (Namespace::V4, "published") => {
                    let time: Timestamp = parsed("published", &scanner.text()?)?;
                    set(&mut self.timestamp, "published", time.as_second())?;
                }
                (Namespace::V4, "origin") => {
                    set(&mut self.origin, "origin", scanner.text()?.try_into()?)?;
                }
                (Namespace::V4, "file") => {
                    set(&mut self.name, "file", required(&element, "name")?)?;
                    self.read_v4_file(scanner)?;
                }
                _ => scanner.skip(&element)?,
            }
        }
        Ok(())
    }

    fn read_v4_file(&mut self, scanner: &mut Scanner<'_>) -> Result<(), ReadError> {
        while let Some(element) = scanner.next_child()? {
            match (element.namespace, element.name()) {
                (Namespace::V4, "size") => set(&mut self.size, "size", integer("size", &scanner.text()?)?)?,
                (Namespace::V4, "hash") => self.read_hash("sha-256", scanner, &element)?,
                (Namespace::V4, "pieces") => self.read_pieces("sha-256", scanner, &element)?,
                (Namespace::V4, "url") => {
                    let priority = optional(&element, "priority")?.unwrap_or(PRIORITY_LIMIT);
                    if !(1..=PRIORITY_LIMIT).contains(&priority) {
                        return Err(ReadError::Malformed("priority"));
                    }
                    self.read_url(priority, scanner, &element)?;
                }
                _ => scanner.skip(&element)?,
            }
        }
        Ok(())
    }

    fn read_v3(&mut self, scanner: &mut Scanner<'_>, root: &Element<'_>) -> Result<(), ReadError> {
        self.origin = root.attribute("origin")?.map(WebUrl::try_from).transpose()?;
        while let Some(element) = scanner.next_child()? {
            match (element.namespace, element.name()) {
                (Namespace::V3, "files") => self.read_v3_files(scanner)?,
                _ => scanner.skip(&element)?,
            }
        }
        Ok(())
    }

    fn read_v3_files(&mut self, scanner: &mut Scanner<'_>) -> Result<(), ReadError> {
        while let Some(element) = scanner.next_child()? {
            match (element.namespace, element.name()) {
                (Namespace::V3, "file") => {
                    set(&mut self.name, "file", required(&element, "name")?)?;
                    self.read_v3_file(scanner)?;
                }
                _ => scanner.skip(&element)?,
            }
        }
        Ok(())
    }

    /// The parts of `file` and of what only groups them: `verification` and `resources`.
    fn read_v3_file(&mut self, scanner: &mut Scanner<'_>) -> Result<(), ReadError> {
        let mut groups = 0;
        loop {
            let Some(element) = scanner.next_child()? else {
                if groups == 0 {
                    return Ok(());
                }
                groups -= 1;
                continue;
            };
            match (element.namespace, element.name()) {
                (Namespace::MirrorManager, "timestamp") => {
                    set(&mut self.timestamp, "mm0:timestamp", integer("mm0:timestamp", &scanner.text()?)?)?;
                }
                (Namespace::V3, "size") => set(&mut self.size, "size", integer("size", &scanner.text()?)?)?,
                (Namespace::V3, "verification" | "resources") => groups += 1,
                (Namespace::V3, "hash") => self.read_hash("sha256", scanner, &element)?,
                (Namespace::V3, "pieces") => self.read_pieces("sha256", scanner, &element)?,
                (Namespace::V3, "url") => {
                    let preference = optional(&element, "preference")?.unwrap_or(0);
                    let rank = PREFERENCE_LIMIT.checked_sub(preference);
                    self.read_url(rank.ok_or(ReadError::Malformed("preference"))?, scanner, &element)?;
                }
                _ => scanner.skip(&element)?,
            }
        }
    }

    /// Takes a hash of the algorithm that is spelled like this; passes over others.
    fn read_hash(
        &mut self,
        sha256: &str,
        scanner: &mut Scanner<'_>,
        element: &Element<'_>,
    ) -> Result<(), ReadError> {
        if element.attribute("type")?.as_deref() != Some(sha256) {
            return scanner.skip(element);
        }
        set(&mut self.digest, "SHA-256", read_sha256(scanner)?)
    }

    /// Takes pieces with hashes of the algorithm that is spelled like this; passes over others.
    fn read_pieces(
        &mut self,
        sha256: &str,
        scanner: &mut Scanner<'_>,
        pieces: &Element<'_>,
    ) -> Result<(), ReadError> {
        if pieces.attribute("type")?.as_deref() != Some(sha256) {
            return scanner.skip(pieces);
        }
        let length = integer("length", &required(pieces, "length")?)?;
        let mut hashes = Vec::new();
        while let Some(element) = scanner.next_child()? {
            if (element.namespace, element.name()) != (pieces.namespace, "hash") {
                scanner.skip(&element)?;
                continue;
            }
            // Version 3 counts them.
            let number = element.attribute("piece")?;
            if number.is_some_and(|it| it != hashes.len().to_string()) {
                return Err(ReadError::Malformed("piece"));
            }
            hashes.extend(read_sha256(scanner)?.sha256());
        }
        set(&mut self.pieces, "pieces", (length, hashes))
    }

    fn read_url(
        &mut self,
        rank: u32,
        scanner: &mut Scanner<'_>,
        element: &Element<'_>,
    ) -> Result<(), ReadError> {
        self.urls += 1;
        if self.urls > RESOURCES_LIMIT {
            return Err(ReadError::TooManyUrls);
        }
        let country = optional(element, "location")?;
        let is_private = element.attribute("mm0:private")?.as_deref() == Some("True");
        match WebUrl::try_from(scanner.text()?) {
            Ok(url) => self.resources.push((rank, Resource { url, country, is_private })),
            // rsync, ftp: for other programs.
            Err(WebUrlError::Scheme) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Document, ReadError> {
        // Stable: what has the same rank stays in the document's order.
        self.resources.sort_by_key(|it| it.0);
        let size = self.size.ok_or(ReadError::Missing("size"))?;
        let pieces = self.pieces.map(|(length, hashes)| {
            Pieces::new(size, length, hashes).ok_or(ReadError::Document(DocumentError::Pieces))
        });
        let document = Document::new(
            self.name.ok_or(ReadError::Missing("file"))?,
            size,
            self.digest.ok_or(ReadError::Missing("SHA-256"))?,
            self.timestamp.ok_or(ReadError::Missing("timestamp"))?,
            self.origin,
            self.resources.into_iter().map(|it| it.1).collect(),
        )?;
        Ok(document.with_pieces(pieces.transpose()?)?)
    }
}

fn read_sha256(scanner: &mut Scanner<'_>) -> Result<Digest, ReadError> {
    parsed("hash", &format!("sha256:{}", scanner.text()?))
}

fn set<T>(part: &mut Option<T>, name: &'static str, value: T) -> Result<(), ReadError> {
    match part.replace(value) {
        Some(_) => Err(ReadError::Repeated(name)),
        None => Ok(()),
    }
}

fn parsed<T: FromStr>(name: &'static str, text: &str) -> Result<T, ReadError> {
    text.parse().map_err(|_| ReadError::Malformed(name))
}

/// Digits only: no sign.
fn integer<T: FromStr>(name: &'static str, text: &str) -> Result<T, ReadError> {
    if text.bytes().all(|it| it.is_ascii_digit()) {
        parsed(name, text)
    } else {
        Err(ReadError::Malformed(name))
    }
}

fn required(element: &Element<'_>, name: &'static str) -> Result<String, ReadError> {
    element.attribute(name)?.ok_or(ReadError::Missing(name))
}

fn optional<T: FromStr>(element: &Element<'_>, name: &'static str) -> Result<Option<T>, ReadError> {
    element.attribute(name)?.map(|it| parsed(name, &it)).transpose()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::metalink::{render_v3, render_v4, samples};

    #[test]
    fn both_versions_are_read_back() {
        let mut document = samples::document();
        assert_eq!(read(&render_v3(&document)).unwrap(), document);
        // Version 4 cannot say that a host is private.
        document.resources[1].is_private = false;
        assert_eq!(read(&render_v4(&document)).unwrap(), document);
    }

    #[test]
    fn others_documents_are_read_too() {
        let hex = Digest::of(b"").hex();
        let v3 = format!(
            r#"<?xml version="1.0" encoding="utf-8"?>
            <!-- as MirrorManager writes it -->
            <metalink version="3.0" xmlns="http://www.metalinker.org/" xmlns:mm0="http://fedorahosted.org/mirrormanager">
             <files><file name="repomd.xml">
               <mm0:timestamp>1700000200</mm0:timestamp><size>0</size>
               <verification><hash type="md5">d4</hash><hash type="sha256">{hex}</hash></verification>
               <mm0:alternates><mm0:alternate><mm0:timestamp>1</mm0:timestamp><size>9</size>
                 <verification><hash type="sha256">00</hash></verification></mm0:alternate></mm0:alternates>
               <resources maxconnections="1">
                <url protocol="rsync" type="rsync" location="SE" preference="100">rsync://m1.example/x</url>
                <url protocol="http" type="http" location="SE" preference="98">http://m2.example/x</url>
                <url protocol="http" type="http" preference="99"><![CDATA[http://m3.example/x?a&b]]></url>
               </resources></file></files></metalink>"#
        );
        let document = read(v3.as_bytes()).unwrap();
        assert_eq!(
            (document.name(), document.size(), document.timestamp()),
            ("repomd.xml", 0, 1_700_000_200)
        );
        let expected = [
            samples::resource("http://m3.example/x?a&b", ""),
            samples::resource("http://m2.example/x", "se"),
        ];
        assert_eq!(document.resources(), expected);

        let v4 = format!(
            r#"<m:metalink xmlns:m="urn:ietf:params:xml:ns:metalink" xmlns:o="urn:other">
               <m:published>2025-01-01T01:00:00+01:00</m:published><o:size>x</o:size>
               <m:file name="a"><m:url>https://m2.example/x</m:url><m:size>1</m:size><o:size>2</o:size>
               <m:hash type="sha-256">{hex}</m:hash><m:hash type="sha-1">0</m:hash>
               <m:pieces length="1" type="sha-1"><m:hash>0</m:hash></m:pieces>
               <m:pieces length="1" type="sha-256"><m:hash>{hex}</m:hash></m:pieces>
               <m:url priority="7" location="FR">https&#x3a;//m1.example/x</m:url></m:file></m:metalink>"#
        );
        let document = read(v4.as_bytes()).unwrap();
        assert_eq!((document.size(), document.timestamp()), (1, samples::NEW_YEAR));
        assert_eq!(document.pieces(), Pieces::new(1, 1, vec![*Digest::of(b"").sha256().unwrap()]).as_ref());
        let expected =
            [samples::resource("https://m1.example/x", "fr"), samples::resource("https://m2.example/x", "")];
        assert_eq!(document.resources(), expected);
    }

    #[test]
    fn faults_are_named() {
        let (v3, v4) = (render_v3(&samples::document()), render_v4(&samples::document()));
        let (v3, v4) = (String::from_utf8(v3).unwrap(), String::from_utf8(v4).unwrap());
        #[track_caller]
        fn check(original: &str, from: &str, to: &str, error: &str) {
            assert!(original.contains(from), "{from} is not in the document");
            let found = read(original.replacen(from, to, 1).as_bytes()).unwrap_err().to_string();
            assert!(found.contains(error), "{from} → {to}: {found}");
        }
        check(&v4, "urn:ietf:params:xml:ns:metalink", "urn:x", "no metalink of version 3 or 4");
        check(
            &v3,
            "http://www.metalinker.org/",
            "https://www.metalinker.org/",
            "no metalink of version 3 or 4",
        );
        check(&v3, "type=\"sha256\"", "type=\"sha-256\"", "no SHA-256");
        check(&v4, "type=\"sha-256\"", "type=\"sha256\"", "no SHA-256");
        check(&v4, "<size>", "<size> ", "malformed size");
        check(&v4, "<size>", "<size>+", "malformed size");
        check(&v4, "<size>3145851</size>", "", "no size");
        check(&v4, "<size>3145851</size>", "<size>1</size><size>1</size>", "more than one size");
        check(&v4, "</hash>", " </hash>", "malformed hash");
        check(&v4, "length=\"2097152\"", "", "no length");
        check(&v4, "length=\"2097152\"", "length=\"0\"", "as many as its file's size needs");
        check(&v4, "length=\"2097152\"", "length=\"1048576\"", "as many as its file's size needs");
        check(&v3, "<size>3145851<", "<size>4194305<", "as many as its file's size needs");
        check(&v3, "piece=\"1\"", "piece=\"2\"", "malformed piece");
        check(&v4, "<pieces", "<pieces length=\"1\" type=\"sha-256\"/><pieces", "more than one pieces");
        check(&v4, "priority=\"1\"", "priority=\"0\"", "malformed priority");
        check(&v4, "priority=\"1\"", "priority=\"1000000\"", "malformed priority");
        check(&v4, "location=\"de\"", "location=\"deu\"", "malformed location");
        check(&v3, "preference=\"100\"", "preference=\"101\"", "malformed preference");
        check(&v3, "&amp;", "&", "well-formed");
        check(&v3, "&amp;", "&mirror;", "entity");
        check(&v3, ">https://m1", "> https://m1", "blanks");
        check(&v3, ">https://m1", "><b/>https://m1", "an element where text belongs");
        check(&v3, "name=\"sha256-", "name=\"../sha256-", "file name");
        check(&v3, "<metalink", "<!DOCTYPE metalink [<!ENTITY a \"b\">]><metalink", "document type");
        check(&v4, "</metalink>", "</metalink><metalink/>", "more than one outermost element");
        check(&v4, "</file>", "</file><file name=\"b\"/>", "more than one file");
        check(&v4.replace("https://m", "rsync://m"), "http://m", "ftp://m", "1 to 1000 URLs, not 0");
    }

    #[test]
    fn what_is_cut_or_too_large_is_refused() {
        for document in [render_v3(&samples::document()), render_v4(&samples::document())] {
            for length in 0..document.len() {
                let cut = &document[..length];
                assert!(read(cut).is_err() || document[length..].trim_ascii().is_empty(), "{length}");
            }
        }
        assert!(matches!(read(&vec![b' '; DOCUMENT_LIMIT + 1]), Err(ReadError::TooLarge)));
        assert!(matches!(read(b"\xff"), Err(ReadError::Encoding(_))));
        let v4 = String::from_utf8(render_v4(&samples::document())).unwrap();
        let urls = "<url>rsync://m.example/x</url>".repeat(RESOURCES_LIMIT + 1);
        let many = v4.replace("</size>", &format!("</size>{urls}"));
        assert!(matches!(read(many.as_bytes()), Err(ReadError::TooManyUrls)));
        // Nothing recurses.
        let deep = format!("{}<verification>", v4.split_once("<file").unwrap().0)
            .replace("<verification>", &"<verification>".repeat(100_000));
        assert!(read(deep.as_bytes()).is_err());
    }

    prop_compose! {
        fn any_resource()(
            url in "https?://[a-z0-9.]{1,20}(:[0-9]{1,4})?/[!-;=?-~]{0,60}",
            country in proptest::option::of("[A-Z]{2}"),
            is_private: bool,
        ) -> Resource {
            Resource { url: url.parse().unwrap(), country: country.map(|it| it.parse().unwrap()), is_private }
        }
    }

    prop_compose! {
        fn any_document()(
            name in "[^\\p{C}/\\\\.][^\\p{C}/\\\\]{0,40}",
            size: u64,
            content: [u8; 8],
            timestamp in 0..253_402_000_000_i64,
            origin in proptest::option::of("https://[a-z]{1,9}/[&'\"=?a-z]{0,20}"),
            resources in proptest::collection::vec(any_resource(), 1..130),
            pieces in 0..9_u64,
        ) -> Document {
            let origin = origin.map(|it| it.parse().unwrap());
            let length = size.checked_div(pieces).unwrap_or_default();
            let hashes = (0..size.checked_div(length).map_or(0, |_| size.div_ceil(length))).map(|it| [it as u8; 32]);
            let pieces = Pieces::new(size, length, hashes.collect());
            let document = Document::new(name, size, Digest::of(&content), timestamp, origin, resources).unwrap();
            document.with_pieces(pieces).unwrap()
        }
    }

    proptest! {
        #[test]
        fn round_trip(mut document in any_document()) {
            prop_assert_eq!(&read(&render_v3(&document)).unwrap(), &document);
            document.resources.iter_mut().for_each(|it| it.is_private = false);
            prop_assert_eq!(&read(&render_v4(&document)).unwrap(), &document);
        }

        #[test]
        fn no_input_panics(text in "(<(metalink|file|url|!DOCTYPE|&|/)?[ =\"a-z:]*/?>|&[a-z#0-9]*;|\\PC){0,40}") {
            let _ = read(text.as_bytes());
        }
    }
}
