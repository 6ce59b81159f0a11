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
}

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
        let is_wrong = |byte| (byte <= b' ') | (byte > b'~') | (byte == b'<') | (byte == b'>');
        if any_byte(&text, is_wrong) {
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
        Ok(Self { text, scheme })
    }
}

/// Is there such a byte? Looks at all of them, and so at many at once: to stop at the first would take longer.
pub(super) fn any_byte(text: &str, is_it: impl Fn(u8) -> bool) -> bool {
    text.as_bytes().iter().fold(0, |any, byte| any | u8::from(is_it(*byte))) != 0
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
