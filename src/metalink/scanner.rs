use quick_xml::{
    NsReader, XmlVersion,
    escape::resolve_predefined_entity,
    events::{BytesRef, BytesStart, Event},
    name::ResolveResult,
};

use super::{ReadError, v3, v4};

/// Goes through a document from element to child element; what the caller does not know, it skips.
pub(super) struct Scanner<'a> {
    reader: NsReader<&'a [u8]>,
    /// How many elements we are in.
    depth: usize,
}

/// The namespaces that a metalink's own elements are in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Namespace {
    V3,
    MirrorManager,
    V4,
    /// Everything else, none included.
    Foreign,
}

impl Namespace {
    fn of(result: &ResolveResult<'_>) -> Self {
        match result {
            ResolveResult::Bound(name) if name.0 == v3::NAMESPACE => Self::V3,
            ResolveResult::Bound(name) if name.0 == v3::MIRRORMANAGER => Self::MirrorManager,
            ResolveResult::Bound(name) if name.0 == v4::NAMESPACE => Self::V4,
            _ => Self::Foreign,
        }
    }
}

/// The start of an element. It must be left by [`Scanner::text`], by [`Scanner::skip`], or by taking its
/// children until there are no more.
pub(super) struct Element<'a> {
    pub(super) namespace: Namespace,
    start: BytesStart<'a>,
}

impl Element<'_> {
    pub(super) fn name(&self) -> &str {
        self.start.local_name().into_inner()
    }

    /// The attribute with this name and prefix.
    pub(super) fn attribute(&self, name: &str) -> Result<Option<String>, ReadError> {
        let found = self.start.try_get_attribute(name).map_err(quick_xml::Error::from)?;
        let value = found.map(|it| it.normalized_value(XmlVersion::Explicit1_0).map(|it| it.into_owned()));
        Ok(value.transpose()?)
    }
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let mut reader = NsReader::from_str(text);
        reader.config_mut().expand_empty_elements = true;
        Self { reader, depth: 0 }
    }

    /// The next child of the element that we are in, or `None` at its end or at the document's.
    pub(super) fn next_child(&mut self) -> Result<Option<Element<'a>>, ReadError> {
        loop {
            let (resolved, event) = self.reader.read_resolved_event()?;
            let namespace = Namespace::of(&resolved);
            match event {
                Event::Start(start) => {
                    self.depth += 1;
                    return Ok(Some(Element { namespace, start }));
                }
                Event::End(_) => {
                    self.depth -= 1;
                    return Ok(None);
                }
                Event::Eof if self.depth > 0 => return Err(ReadError::Truncated),
                Event::Eof => return Ok(None),
                Event::DocType(_) => return Err(ReadError::DocType),
                // Between elements other text means nothing.
                _ => {}
            }
        }
    }

    /// Goes past the end of an element that was just begun.
    pub(super) fn skip(&mut self, element: &Element<'_>) -> Result<(), ReadError> {
        self.reader.read_to_end(element.start.name())?;
        self.depth -= 1;
        Ok(())
    }

    /// The text of an element that was just begun, exactly; goes past its end.
    pub(super) fn text(&mut self) -> Result<String, ReadError> {
        let mut text = String::new();
        loop {
            match self.reader.read_event()? {
                Event::Text(more) => text.push_str(&more.xml10_content()),
                Event::CData(more) => text.push_str(&more.xml10_content()),
                Event::GeneralRef(name) => push_reference(&mut text, &name)?,
                Event::End(_) => {
                    self.depth -= 1;
                    return Ok(text);
                }
                Event::Start(_) => return Err(ReadError::Nested),
                Event::Eof => return Err(ReadError::Truncated),
                _ => {}
            }
        }
    }
}

fn push_reference(text: &mut String, name: &BytesRef<'_>) -> Result<(), ReadError> {
    match name.resolve_char_ref()? {
        Some(character) => text.push(character),
        None => text.push_str(resolve_predefined_entity(&name.xml10_content()).ok_or(ReadError::Entity)?),
    }
    Ok(())
}
