use std::collections::BTreeSet;

use serde::Deserialize;

use crate::oci::RepositoryName;

/// What docker-distribution calls a blob whose type it does not know: every blob that is pushed.
const BLOB: &str = "application/octet-stream";

/// A notification, `application/vnd.docker.distribution.events.v1+json`, as far as we read it.
#[derive(Deserialize)]
struct Envelope {
    events: Vec<Event>,
}

#[derive(Deserialize)]
struct Event {
    action: String,
    target: Target,
}

#[derive(Deserialize)]
struct Target {
    repository: Option<String>,
    /// None: of what was deleted it is not told.
    #[serde(rename = "mediaType")]
    media_type: Option<String>,
}

impl Event {
    /// May a tag lead elsewhere now? A blob alone changes nothing, before a manifest names it.
    fn is_change(&self) -> bool {
        match self.action.as_str() {
            "push" => self.target.media_type.as_deref() != Some(BLOB),
            "delete" => true,
            _ => false, // pull, mount
        }
    }
}

/// The repositories in which something was pushed or deleted. Names that break the grammar are left out: no
/// category has them.
pub(super) fn list_changed(body: &[u8]) -> Result<BTreeSet<RepositoryName>, serde_json::Error> {
    let envelope: Envelope = serde_json::from_slice(body)?;
    let changes = envelope.events.into_iter().filter(Event::is_change);
    Ok(changes.filter_map(|it| it.target.repository?.parse().ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pushes_of_manifests_and_deletions_are_changes() {
        #[track_caller]
        fn check(event: &str, changed: &[&str]) {
            let body = format!("{{\"events\":[{event}]}}");
            let names = list_changed(body.as_bytes()).unwrap();
            assert_eq!(names.iter().map(|it| it.as_str()).collect::<Vec<_>>(), changed, "{event}");
        }
        let event = |action: &str, media_type: &str| {
            format!(
                r#"{{"id":"x","action":"{action}","target":{{"mediaType":"{media_type}","size":5,
                "digest":"sha256:00","length":5,"repository":"a/b","url":"http://x","tag":"1"}},"request":{{}}}}"#
            )
        };
        let manifest = "application/vnd.oci.image.manifest.v1+json";
        check("", &[]);
        check(&event("push", manifest), &["a/b"]);
        check(&event("push", "application/example"), &["a/b"]);
        check(&event("pull", manifest), &[]);
        check(&event("mount", BLOB), &[]);
        check(&event("push", BLOB), &[]);
        check(r#"{"action":"delete","target":{"digest":"sha256:00","repository":"a"}}"#, &["a"]);
        check(r#"{"action":"delete","target":{"repository":null}}"#, &[]);
        check(r#"{"action":"push","target":{"repository":"../../etc"}}"#, &[]);
        check(r#"{"action":"push","target":{}}"#, &[]);
        let [one, other] =
            ["b", "a"].map(|it| format!(r#"{{"action":"push","target":{{"repository":"{it}"}}}}"#));
        check(&format!("{one},{other},{one}"), &["a", "b"]);
    }

    #[test]
    fn what_is_no_notification_is_an_error() {
        for body in ["", "{}", "[]", "{\"events\":{}}", "{\"events\":[{}]}", "{\"events\":[]} x", "\u{0}"] {
            assert!(list_changed(body.as_bytes()).is_err(), "{body}");
        }
        let nested = "[".repeat(100_000);
        assert!(list_changed(format!("{{\"events\":{nested}").as_bytes()).is_err());
    }
}
