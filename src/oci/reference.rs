use std::{borrow::Borrow, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::Digest;

/// A tag: `latest`, `42`, `sha256-….sig`.
///
/// Distribution specification: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Tag(String);

/// Why a text is not a tag.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a tag is 1 to 128 letters, digits, `_`, `.` or `-`, and does not begin with `.` or `-`")]
pub struct TagError;

/// How tags end that stand for what is said about a manifest: the specification's index of referrers, and
/// cosign's signatures, attestations and bills of material.
const ENDINGS: [&str; 4] = ["", ".sig", ".att", ".sbom"];

impl Tag {
    /// The tag as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The tags under which something may be said about a manifest; none unless its digest is a SHA-256.
    ///
    /// Distribution specification, "Referrers Tag Schema"; cosign, "Signature specification".
    pub fn attached_to(subject: &Digest) -> impl Iterator<Item = Self> {
        let stem = subject.sha256().map(|_| format!("sha256-{}", subject.hex()));
        stem.into_iter().flat_map(|stem| ENDINGS.map(|ending| Self(format!("{stem}{ending}"))))
    }

    /// The tag of the index that lists referrers, where a registry has no referrers API; none unless the digest is a
    /// SHA-256.
    pub fn of_referrers(subject: &Digest) -> Option<Self> {
        Self::attached_to(subject).find(|it| !it.0.contains('.'))
    }

    /// cosign's tag for the signatures of a manifest; none unless its digest is a SHA-256.
    pub fn of_signatures(subject: &Digest) -> Option<Self> {
        Self::attached_to(subject).find(|it| it.0.ends_with(".sig"))
    }

    /// What such a tag says something about; none if it is an ordinary tag.
    pub fn subject(&self) -> Option<Digest> {
        let rest = self.0.strip_prefix("sha256-")?;
        let hex = ENDINGS.iter().rev().find_map(|it| rest.strip_suffix(it))?;
        format!("sha256:{hex}").parse().ok()
    }
}

impl FromStr for Tag {
    type Err = TagError;

    fn from_str(text: &str) -> Result<Self, TagError> {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let is_inner = |byte: u8| is_word(byte) || byte == b'.' || byte == b'-';
        let valid = text.len() <= 128
            && text.as_bytes().first().is_some_and(|it| is_word(*it))
            && text.bytes().all(is_inner);
        if valid { Ok(Self(text.to_owned())) } else { Err(TagError) }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for Tag {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Tag {
    type Error = TagError;

    fn try_from(text: String) -> Result<Self, TagError> {
        text.parse()
    }
}

impl From<Tag> for String {
    fn from(tag: Tag) -> Self {
        tag.0
    }
}

/// What a manifest is asked by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reference {
    /// A name that may move.
    Tag(Tag),
    /// The content itself.
    Digest(Digest),
}

/// Why a text is neither tag nor digest.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ReferenceError {
    /// It has a `:`, so it was meant as a digest.
    #[error(transparent)]
    Digest(#[from] super::DigestError),
    /// It was meant as a tag.
    #[error(transparent)]
    Tag(#[from] TagError),
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        // No tag contains a colon, every digest does.
        if text.contains(':') { Ok(Self::Digest(text.parse()?)) } else { Ok(Self::Tag(text.parse()?)) }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_of_the_grammar_are_taken_and_others_refused() {
        for tag in ["latest", "_x", "A.b-C", "sha256-ab.sig", &"t".repeat(128)] {
            assert_eq!(tag.parse::<Tag>().unwrap().as_str(), tag);
        }
        for tag in ["", ".a", "-a", "a/b", "../../etc/passwd", "a b", "é", "a\0", &"t".repeat(129)] {
            assert_eq!(tag.parse::<Tag>(), Err(TagError), "{tag}");
        }
    }

    #[test]
    fn attached_tags_name_their_subject() {
        let subject = Digest::of(b"");
        let tags: Vec<_> = Tag::attached_to(&subject).collect();
        let hex = subject.hex();
        let texts = ["", ".sig", ".att", ".sbom"].map(|ending| format!("sha256-{hex}{ending}"));
        assert_eq!(tags.iter().map(Tag::as_str).collect::<Vec<_>>(), texts);
        assert!(tags.iter().all(|it| it.subject() == Some(subject)));
        assert_eq!(Tag::of_referrers(&subject), Some(tags[0].clone()));
        assert_eq!(Tag::of_signatures(&subject), Some(tags[1].clone()));
        assert_eq!(Tag::attached_to(&Digest::Sha512([0; 64])).count(), 0);
        for text in ["latest", "sha256-", "sha256-ab.sig", &format!("sha256-{hex}.new"), &format!("x-{hex}")]
        {
            assert_eq!(text.parse::<Tag>().unwrap().subject(), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn round_trip(tag in "[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}", bytes: [u8; 32]) {
            for text in [tag, Digest::Sha256(bytes).to_string()] {
                proptest::prop_assert_eq!(text.parse::<Reference>().unwrap().to_string(), text);
            }
        }
    }
}
