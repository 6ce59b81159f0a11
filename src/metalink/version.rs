/// The media type of version 3 documents, as MirrorManager sends it.
pub const MEDIA_TYPE_V3: &str = "application/metalink+xml";

/// The media type of version 4 documents: RFC 5854 section 7.2.
pub const MEDIA_TYPE_V4: &str = "application/metalink4+xml";

/// The two versions of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// Metalink 3.0 with MirrorManager's additions: the only one that librepo (dnf) reads.
    V3,
    /// RFC 5854.
    V4,
}

impl Version {
    /// The media type of such a document.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::V3 => MEDIA_TYPE_V3,
            Self::V4 => MEDIA_TYPE_V4,
        }
    }

    /// The version that an `Accept` header (several joined by commas) asks for by name, version 4 before 3.
    ///
    /// Wildcards ask for nothing: container clients send them and want a manifest. `q=0` refuses
    /// (RFC 9110 section 12.4.2).
    pub fn from_accept(accept: &str) -> Option<Self> {
        [Self::V4, Self::V3].into_iter().find(|it| accept.split(',').any(|range| it.is_named_by(range)))
    }

    /// Whether one media range names this version with a weight above 0. What is no weight counts as 0.
    fn is_named_by(self, range: &str) -> bool {
        let mut parts = range.split(';').map(str::trim);
        let is_named = parts.next().is_some_and(|it| it.eq_ignore_ascii_case(self.media_type()));
        let weight = parts.find_map(|it| it.strip_prefix("q=").or_else(|| it.strip_prefix("Q=")));
        is_named && weight.is_none_or(|it| it.parse().is_ok_and(|it: f32| 0.0 < it && it <= 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_must_be_asked_for_by_name() {
        #[track_caller]
        fn check(accept: &str, expected: Option<Version>) {
            assert_eq!(Version::from_accept(accept), expected, "{accept}");
        }
        check("", None);
        check("*/*", None);
        check("application/*", None);
        check("application/xml", None);
        check("application/vnd.oci.image.manifest.v1+json, */*", None);
        check("application/metalink+xml", Some(Version::V3));
        check("application/metalink4+xml", Some(Version::V4));
        check("*/*,application/metalink4+xml,application/metalink+xml", Some(Version::V4));
        check("application/metalink+xml, application/metalink4+xml;q=0.1", Some(Version::V4));
        check("application/metalink+xml, application/metalink4+xml ; q=0", Some(Version::V3));
        check("application/metalink+xml;charset=utf-8;Q=0.000", None);
        check("application/metalink+xml;q=x", None);
        check("application/metalink+xml;q=-1", None);
        check("application/metalink+xml;q=2", None);
        check("application/metalink+xml;q=1.000", Some(Version::V3));
        check("Application/Metalink+XML; q=0.001", Some(Version::V3));
        check("application/metalink+xml2", None);
    }
}
