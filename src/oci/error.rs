use serde::Serialize;

/// The error codes of the distribution specification, "Error codes", that a read-only registry uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ErrorCode {
    /// The blob is in no repository here.
    BlobUnknown,
    /// The manifest is in no repository here, or the tag does not exist.
    ManifestUnknown,
    /// There is no such repository.
    NameUnknown,
    /// The repository's name breaks the grammar.
    NameInvalid,
    /// The digest breaks the grammar.
    DigestInvalid,
    /// The tag breaks the grammar. From the older docker specification; the newer one has no code for it.
    TagInvalid,
    /// The operation or path is not offered.
    Unsupported,
    /// The operators do not allow it.
    Denied,
    /// Too many requests for now.
    #[serde(rename = "TOOMANYREQUESTS")]
    TooManyRequests,
    /// Something failed on our side; the log has it.
    Unknown,
}

/// The JSON body of every error: `{"errors":[{"code":…,"message":…}]}`.
#[derive(Debug, Serialize)]
pub struct ErrorBody {
    errors: [ErrorEntry; 1],
}

#[derive(Debug, Serialize)]
struct ErrorEntry {
    code: ErrorCode,
    message: String,
}

impl ErrorBody {
    /// A body with one error in it.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { errors: [ErrorEntry { code, message: message.into() }] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_spelled_as_the_specification_does() {
        let spelled = |code| serde_json::to_string(&ErrorBody::new(code, "m")).unwrap();
        assert_eq!(spelled(ErrorCode::BlobUnknown), r#"{"errors":[{"code":"BLOB_UNKNOWN","message":"m"}]}"#);
        assert_eq!(
            spelled(ErrorCode::TooManyRequests),
            r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"m"}]}"#
        );
    }
}
