use jiff::Timestamp;
use serde::Deserialize;

use super::Platform;

/// What we need to know of an image's configuration.
///
/// OCI image specification, "Image Configuration".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageConfig {
    /// When the image was made, if it says so.
    pub created: Option<Timestamp>,
    /// What it runs on, if it says so.
    pub platform: Option<Platform>,
}

#[derive(Deserialize)]
struct Wire {
    created: Option<String>,
    architecture: Option<String>,
    os: Option<String>,
    variant: Option<String>,
}

impl ImageConfig {
    /// The media types of images' configurations; others are of artifacts.
    pub const MEDIA_TYPES: [&str; 2] =
        ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];

    /// Reads a configuration; a time that is none is no reason to refuse it.
    pub fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let wire: Wire = serde_json::from_slice(bytes)?;
        let platform = |architecture, os| Platform {
            architecture,
            os,
            variant: wire.variant,
            os_version: None,
            os_features: Vec::new(),
        };
        Ok(Self {
            created: wire.created.and_then(|it| it.parse().ok()),
            platform: wire.architecture.zip(wire.os).map(|(architecture, os)| platform(architecture, os)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_are_read() {
        #[track_caller]
        fn check(text: &str, created: Option<i64>, platform: Option<&str>) {
            let config = ImageConfig::parse(text.as_bytes()).unwrap();
            assert_eq!(config.created.map(|it| it.as_second()), created);
            assert_eq!(config.platform.map(|it| it.to_string()).as_deref(), platform);
        }
        check(
            r#"{"created":"1970-01-01T00:00:05.5Z","os":"linux","architecture":"arm","variant":"v7"}"#,
            Some(5),
            Some("linux/arm/v7"),
        );
        check(r#"{"created":"1970-01-01T01:00:05+01:00","os":"linux"}"#, Some(5), None);
        check(r#"{"created":"yesterday"}"#, None, None);
        check("{}", None, None);
        ImageConfig::parse(b"<html>").unwrap_err();
    }
}
