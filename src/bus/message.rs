use std::collections::BTreeSet;

use serde_json::Value;

use crate::oci::RepositoryName;

/// The repositories that a message names at `pointer`; none if it is no JSON, or has no name there.
pub(super) fn list_repositories(body: &[u8], pointer: &str) -> BTreeSet<RepositoryName> {
    let Ok(message) = serde_json::from_slice::<Value>(body) else { return BTreeSet::new() };
    let texts: Vec<&str> = match message.pointer(pointer) {
        Some(Value::String(text)) => vec![text],
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    texts.into_iter().filter_map(|it| without_reference(it).parse().ok()).collect()
}

/// `a/b` of `a/b`, `a/b:42` and `a/b@sha256:…`.
fn without_reference(text: &str) -> &str {
    text.split(['@', ':']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_where_the_pointer_says() {
        #[track_caller]
        fn check(body: &str, pointer: &str, names: &[&str]) {
            let found = list_repositories(body.as_bytes(), pointer);
            assert_eq!(found.iter().map(RepositoryName::as_str).collect::<Vec<_>>(), names, "{body}");
        }
        let body =
            r#"{"repository": "fedora", "image": {"names": ["a:1", "b/c@sha256:00", 5, "../x", "a"]}}"#;
        check(body, "/repository", &["fedora"]);
        check(body, "/image/names", &["a", "b/c"]);
        check(body, "/image/names/1", &["b/c"]);
        check(body, "/image", &[]);
        check(body, "/nowhere", &[]);
        check(r#""fedora""#, "", &["fedora"]);
        for garbage in ["", "{", "null", "\u{0}", r#"{"repository": {}}"#, r#"{"repository": "A B"}"#] {
            check(garbage, "/repository", &[]);
        }
        check(&"[".repeat(200_000), "/repository", &[]);
    }
}
