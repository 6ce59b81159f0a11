//! `.portolan/withdrawn`: the digests that exports leave out. Export reads no database; who withdraws content
//! writes it here, and so does every scan.

use std::{collections::BTreeSet, fs, io::Write as _};

use super::{
    Error, Tree,
    disk::{create_file, folder_of, read_file, sync_folder},
};
use crate::oci::Digest;

/// The longest such file that is read, in bytes: nearly a million digests.
const WITHDRAWN_LIMIT: u64 = 64 * 1024 * 1024;

impl Tree {
    /// The digests that exports leave out. A file that cannot be read is an error: no export may bring back
    /// what was withdrawn.
    pub fn list_withdrawn(&self) -> Result<BTreeSet<Digest>, Error> {
        let path = self.private_path("withdrawn");
        let bytes = read_file(&path, WITHDRAWN_LIMIT)?.unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let digests: Result<_, _> = text.lines().map(str::parse).collect();
        digests.map_err(|error| Error::at(&path)(std::io::Error::other(error)))
    }

    /// Tells the next export what to leave out; was that news? Only where a tree is: the folder `.portolan` has
    /// to be there.
    pub fn replace_withdrawn(&self, digests: &BTreeSet<Digest>) -> Result<bool, Error> {
        if self.list_withdrawn().is_ok_and(|it| it == *digests) {
            return Ok(false);
        }
        let (path, new) = (self.private_path("withdrawn"), self.private_path("withdrawn.new"));
        let text: String = digests.iter().map(|it| format!("{it}\n")).collect();
        let mut file = create_file(&new)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(Error::at(&new))?;
        fs::rename(&new, &path).map_err(Error::at(&path))?;
        sync_folder(folder_of(&path))?;
        Ok(true)
    }

    /// Is there a tree to tell?
    pub fn exists(&self) -> bool {
        self.private_path("").is_dir()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Config;

    #[test]
    fn digests_are_read_as_they_were_written_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let tree = Tree::open(&Config { path: folder.path().into(), ..Config::default() });
        assert!(!tree.exists() && tree.list_withdrawn().unwrap().is_empty());
        fs::create_dir(folder.path().join(".portolan")).unwrap();
        assert!(tree.exists());
        let digests: BTreeSet<_> = [Digest::of(b"a"), Digest::of(b"b")].into();
        assert!(tree.replace_withdrawn(&digests).unwrap());
        assert!(!tree.replace_withdrawn(&digests).unwrap(), "no news");
        assert_eq!(tree.list_withdrawn().unwrap(), digests);
        assert!(tree.replace_withdrawn(&BTreeSet::new()).unwrap());
        assert!(tree.list_withdrawn().unwrap().is_empty());
        fs::write(folder.path().join(".portolan/withdrawn"), "sha256:zz\n").unwrap();
        assert!(tree.list_withdrawn().unwrap_err().to_string().contains(".portolan/withdrawn"));
        assert!(tree.replace_withdrawn(&digests).unwrap(), "a broken file is replaced");
    }
}
