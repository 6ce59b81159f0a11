//! Names that were mistyped.

use std::fmt::Display;

/// How many names are suggested.
const SUGGESTIONS: usize = 3;

/// The error for a name that no site, host or category has: the nearest names, and how to list them all.
pub(super) fn unknown<N: Display>(
    noun: &str,
    name: &impl Display,
    known: impl IntoIterator<Item = N>,
) -> anyhow::Error {
    let name = name.to_string();
    let near = near(&name, known);
    anyhow::anyhow!("there is no {noun} named {name}{near}; `portolan {noun} list` shows all")
}

/// ` (near: …)` for a name that is unknown, if one of those that are is near.
pub(super) fn near<N: Display>(name: &str, known: impl IntoIterator<Item = N>) -> String {
    let near = nearest(name, known.into_iter().map(|it| it.to_string()).collect());
    if near.is_empty() { String::new() } else { format!(" (near: {})", near.join(", ")) }
}

/// Those with a typing error in every third character at most, and those that go on where the name ends.
fn nearest(name: &str, known: Vec<String>) -> Vec<String> {
    let name = name.to_lowercase();
    let most = (name.chars().count() / 3).max(1);
    let errors = |it: String| (strsim::osa_distance(&name, &it.to_lowercase()), it);
    let is_near = |it: &(usize, String)| it.0 <= most || it.1.to_lowercase().starts_with(&name);
    let mut near: Vec<_> = known.into_iter().map(errors).filter(is_near).collect();
    near.sort();
    near.into_iter().take(SUGGESTIONS).map(|it| it.1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_names_are_told() {
        let known = ["fedora", "fedora-testing", "centos", "Fedorra"];
        let error = unknown("category", &"fedroa", known).to_string();
        assert_eq!(
            error,
            "there is no category named fedroa (near: fedora, Fedorra); `portolan category list` shows all"
        );
        let error = unknown("category", &"fedora-t", known).to_string();
        assert!(error.contains("(near: fedora, fedora-testing)"), "{error}");
        let error = unknown("host", &"m1", ["zebra"]).to_string();
        assert_eq!(error, "there is no host named m1; `portolan host list` shows all");
    }
}
