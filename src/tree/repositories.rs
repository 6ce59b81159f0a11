use std::collections::BTreeMap;

use crate::oci::{Digest, RepositoryName, Tag};

/// What `repositories.json` holds: repository → tag → digest, sorted.
pub type Repositories = BTreeMap<RepositoryName, BTreeMap<Tag, Digest>>;

pub(super) fn render(repositories: &Repositories) -> Vec<u8> {
    let mut text = serde_json::to_vec(repositories).expect("names, tags and digests are texts");
    text.push(b'\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_prints_as_it_was_read() {
        let digest = Digest::of(b"");
        let text = format!("{{\"b/c\":{{\"1\":\"{digest}\",\"latest\":\"{digest}\"}},\"d\":{{}}}}\n");
        let repositories: Repositories = serde_json::from_str(&text).unwrap();
        assert_eq!(String::from_utf8(render(&repositories)).unwrap(), text);
        for bad in ["{\"..\":{}}", "{\"a\":{\"../x\":\"\"}}", "{\"a\":{\"b\":\"x\"}}", "[]"] {
            serde_json::from_str::<Repositories>(bad).expect_err(bad);
        }
    }
}
