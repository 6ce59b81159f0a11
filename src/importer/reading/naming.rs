//! Names as we have them. MirrorManager's are free words, and unique only within a site.

use crate::mirror::{HostName, SiteName};

/// How long a name may be before a number is put behind it.
const LONGEST: usize = 80;

/// The name of a site that nobody has: its own, else with its id behind it.
pub(super) fn site(text: &str, id: i64, is_taken: impl Fn(&SiteName) -> bool) -> Option<SiteName> {
    let line = text.replace('\n', " ");
    let short: String = line.chars().take(LONGEST).collect();
    let candidates = [line.clone(), format!("{} ({id})", short.trim()), format!("site {id}")];
    candidates.iter().filter_map(|it| it.parse().ok()).find(|it| !is_taken(it))
}

/// The name of a host that nobody has: its own with `-` for what our names cannot hold, else with its id behind it.
pub(super) fn host(text: &str, id: i64, is_taken: impl Fn(&HostName) -> bool) -> Option<HostName> {
    let is_inner = |it: char| it.is_ascii_alphanumeric() || matches!(it, '.' | '_' | '-');
    let plain: String = text.chars().map(|it| if is_inner(it) { it } else { '-' }).collect();
    let plain = plain.trim_start_matches(['.', '_', '-']);
    let short: String = plain.chars().take(LONGEST).collect();
    let candidates = [plain.to_owned(), format!("{short}-{id}"), format!("host-{id}")];
    candidates.iter().filter_map(|it| it.parse().ok()).find(|it| !is_taken(it))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kept_where_they_can_be() {
        let free = |text: &str| host(text, 7, |_| false).unwrap().to_string();
        assert_eq!(free("mirror.example.org"), "mirror.example.org");
        assert_eq!(free("Extra Mirror 1"), "Extra-Mirror-1");
        assert_eq!(free("山"), "host-7");
        assert_eq!(free(&"a".repeat(200)), format!("{}-7", "a".repeat(80)));
        assert_eq!(host("m1", 7, |it| it.as_str() == "m1").unwrap().as_str(), "m1-7");
        assert_eq!(host("m1", 7, |_| true), None);
        assert_eq!(site("Université\nX", 3, |_| false).unwrap().as_str(), "Université X");
        assert_eq!(site("X", 3, |it| it.as_str() == "X").unwrap().as_str(), "X (3)");
        assert_eq!(site("", 3, |_| false).unwrap().as_str(), "site 3");
    }
}
