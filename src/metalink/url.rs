use std::{fmt, str::FromStr};

use crate::mirror::Scheme;

/// The longest URL in a metalink, in bytes.
pub const URL_LIMIT: usize = 4096;

/// An absolute HTTP or HTTPS URL that can stand in XML and between the `<>` of a header as it is:
/// printable ASCII without blanks, `<` and `>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WebUrl {
    text: String,
    scheme: Scheme,
    is_plain: bool,
}

const WRONG: u8 = 1;
const SPECIAL: u8 = 2;

/// Of every byte: whether it cannot stand in a URL here, and whether XML must escape it.
static MARKS: [u8; 256] = {
    let (mut marks, mut byte) = ([0; 256], 0u8);
    loop {
        marks[byte as usize] = match byte {
            b'&' | b'\'' | b'"' => SPECIAL,
            b'<' | b'>' => WRONG,
            _ if byte.is_ascii_graphic() => 0,
            _ => WRONG,
        };
        if byte == u8::MAX {
            break marks;
        }
        byte += 1;
    }
};

/// Why a text cannot be a URL in a metalink.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum WebUrlError {
    /// Relative, or of another scheme.
    #[error("a metalink's URL begins with https:// or http:// and a host")]
    Scheme,
    /// A blank, a control character, `<`, `>` or something that is not ASCII.
    #[error("a metalink's URL holds printable ASCII only, without blanks, `<` and `>`")]
    Character,
    /// Longer than [`URL_LIMIT`].
    #[error("a metalink's URL has at most {URL_LIMIT} characters")]
    Length,
}

impl WebUrl {
    /// Of a file below a URL.
    pub fn below(base: &str, path: &str) -> Result<Self, WebUrlError> {
        let mut text = String::with_capacity(base.len() + 1 + path.len());
        [base, "/", path].iter().for_each(|it| text.push_str(it));
        text.try_into()
    }

    /// The URL as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Nothing in it needs an escape in XML.
    pub(super) fn is_plain(&self) -> bool {
        self.is_plain
    }

    /// HTTP or HTTPS.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }
}

impl TryFrom<String> for WebUrl {
    type Error = WebUrlError;

    fn try_from(text: String) -> Result<Self, WebUrlError> {
        if text.len() > URL_LIMIT {
            return Err(WebUrlError::Length);
        }
        let marks = text.bytes().fold(0, |all, byte| all | MARKS[usize::from(byte)]);
        if marks & WRONG != 0 {
            return Err(WebUrlError::Character);
        }
        let [https, http] = ["https://", "http://"].map(|it| text.strip_prefix(it));
        let (scheme, rest) = match (https, http) {
            (Some(rest), _) => (Scheme::Https, rest),
            (_, Some(rest)) => (Scheme::Http, rest),
            _ => return Err(WebUrlError::Scheme),
        };
        if rest.is_empty() || rest.starts_with(['/', '?', '#', ':']) {
            return Err(WebUrlError::Scheme);
        }
        Ok(Self { text, scheme, is_plain: marks & SPECIAL == 0 })
    }
}

impl FromStr for WebUrl {
    type Err = WebUrlError;

    fn from_str(text: &str) -> Result<Self, WebUrlError> {
        text.to_owned().try_into()
    }
}

impl fmt::Display for WebUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn what_is_plain_needs_no_escape(path in "[ -~é]{0,9}") {
            let text = format!("https://m.example/{path}");
            let is_taken = !path.contains([' ', '<', '>', 'é']);
            let url = text.parse::<WebUrl>();
            proptest::prop_assert_eq!(url.is_ok(), is_taken);
            proptest::prop_assert!(url.is_err() || url.unwrap().is_plain() == (quick_xml::escape::escape(&text) == text));
        }
    }

    #[test]
    fn only_what_fits_a_header_is_taken() {
        #[track_caller]
        fn check(text: &str, expected: Result<Scheme, WebUrlError>) {
            assert_eq!(text.parse::<WebUrl>().map(|it| it.scheme()), expected, "{text}");
        }
        check("https://m.example/a?b&c='d'\"", Ok(Scheme::Https));
        check("http://[2001:db8::1]:8080", Ok(Scheme::Http));
        for text in [
            "",
            "m.example/a",
            "//m.example/a",
            "rsync://m.example/a",
            "https://",
            "https:///a",
            "https://:1",
        ] {
            check(text, Err(WebUrlError::Scheme));
        }
        for text in
            ["https://m.example/a b", "https://m.example/\r\nx", "https://m.example/<", "https://é.example"]
        {
            check(text, Err(WebUrlError::Character));
        }
        check(&format!("https://m.example/{}", "a".repeat(URL_LIMIT)), Err(WebUrlError::Length));
    }
}
