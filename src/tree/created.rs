//! `.portolan/created`: when images were made, so that those which are too old for every category need not be
//! read again at each export. It is only a memory: without it, exports ask again.

use std::collections::BTreeMap;

use super::{Error, Tree, Writer, disk::read_file};
use crate::oci::Digest;

/// The longest such file that is read, in bytes: some 700,000 images.
const CREATED_LIMIT: u64 = 64 * 1024 * 1024;

/// By the digest that a tag names: when the image was made, in Unix seconds; none if it does not say.
pub type Created = BTreeMap<Digest, Option<i64>>;

impl Tree {
    /// What is remembered; nothing, if that cannot be read.
    pub fn load_created(&self) -> Created {
        let bytes =
            read_file(&self.private_path("created"), CREATED_LIMIT).ok().flatten().unwrap_or_default();
        String::from_utf8_lossy(&bytes).lines().filter_map(parse).collect()
    }
}

impl Writer {
    /// Remembers this and nothing else.
    pub fn store_created(&self, created: &Created) -> Result<(), Error> {
        if self.tree().load_created() == *created {
            return Ok(());
        }
        let line = |(digest, seconds): (&Digest, &Option<i64>)| match seconds {
            Some(seconds) => format!("{digest} {seconds}\n"),
            None => format!("{digest} -\n"),
        };
        let text: String = created.iter().map(line).collect();
        self.replace(&self.tree().private_path("created"), text.as_bytes())
    }
}

fn parse(line: &str) -> Option<(Digest, Option<i64>)> {
    let (digest, seconds) = line.split_once(' ')?;
    let seconds = if seconds == "-" { None } else { Some(seconds.parse().ok()?) };
    Some((digest.parse().ok()?, seconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Config;

    #[test]
    fn times_are_read_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let tree = Tree::open(&Config { path: folder.path().into(), ..Config::default() });
        assert!(tree.load_created().is_empty());
        let writer = tree.lock().unwrap();
        let created: Created = [(Digest::of(b"a"), Some(-5)), (Digest::of(b"b"), None)].into();
        writer.store_created(&created).unwrap();
        assert_eq!(tree.load_created(), created);
        std::fs::write(tree.private_path("created"), format!("x\n{} 7\n", Digest::of(b"c"))).unwrap();
        assert_eq!(tree.load_created(), [(Digest::of(b"c"), Some(7))].into());
    }
}
