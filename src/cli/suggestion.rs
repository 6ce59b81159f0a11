//! Names that were mistyped.

use std::fmt::Display;

/// How many names are suggested.
const SUGGESTIONS: usize = 3;

/// How alike two names must be to be suggested, from 0 to 1 (Jaro-Winkler).
const LIKENESS: f64 = 0.75;

/// The error for a name that no site, host or category has: the nearest names, and how to list them all.
pub(super) fn unknown<N: Display>(
    noun: &str,
    name: &impl Display,
    known: impl IntoIterator<Item = N>,
) -> anyhow::Error {
    let name = name.to_string();
    let near = nearest(&name, known.into_iter().map(|it| it.to_string()).collect());
    let question = if near.is_empty() { String::new() } else { format!(" (near: {})", near.join(", ")) };
    anyhow::anyhow!("there is no {noun} named {name}{question}; `portolan {noun} list` shows all")
}

fn nearest(name: &str, known: Vec<String>) -> Vec<String> {
    let name = name.to_lowercase();
    let likeness = |it: String| (strsim::jaro_winkler(&name, &it.to_lowercase()), it);
    let mut near: Vec<_> = known.into_iter().map(likeness).filter(|it| it.0 >= LIKENESS).collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
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
            "there is no category named fedroa (near: Fedorra, fedora, fedora-testing); \
             `portolan category list` shows all"
        );
        let error = unknown("host", &"m1", ["zebra"]).to_string();
        assert_eq!(error, "there is no host named m1; `portolan host list` shows all");
    }
}
