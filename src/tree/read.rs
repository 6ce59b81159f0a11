use std::{
    fs::{self, File},
    io,
};

use super::{
    Error, INVENTORY_LIMIT, Inventory, Repositories, Tree,
    disk::{open_file, read_file},
    layout::{CANARY_DIGEST, PRIVATE},
};
use crate::{
    mirror::{CategoryName, Serial},
    oci,
};

/// The longest `zz/serial` we read, in bytes.
pub(super) const SERIAL_LIMIT: u64 = 200;

/// What `zz/serial` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The state's number.
    pub serial: Serial,
    /// The SHA-256 of the inventory that belongs to it.
    pub inventory_digest: oci::Digest,
}

impl Head {
    /// One line: `SERIAL INVENTORY-SHA256-HEX`.
    pub fn render(&self) -> String {
        format!("{} {}\n", self.serial, self.inventory_digest.hex())
    }

    /// Reads what [`Head::render`] writes; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (serial, hex) = text.strip_suffix('\n')?.split_once(' ')?;
        let head =
            Self { serial: serial.parse().ok()?, inventory_digest: format!("sha256:{hex}").parse().ok()? };
        (head.render() == text).then_some(head)
    }
}

/// A category whose serial, inventory and repositories belong together.
#[derive(Clone, Debug)]
pub struct Category {
    /// All files.
    pub inventory: Inventory,
    /// All tags.
    pub repositories: Repositories,
    /// As it stands in `zz/serial`.
    pub inventory_digest: oci::Digest,
}

impl Tree {
    /// The categories of the tree, sorted, complete or not. Warns of folders that cannot be categories.
    pub fn category_names(&self) -> Result<Vec<CategoryName>, Error> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(Error::at(&self.path))? {
            let entry = entry.map_err(Error::at(&self.path))?;
            let name = entry.file_name();
            if name == PRIVATE || !entry.path().is_dir() {
                continue;
            }
            match name.to_string_lossy().parse() {
                Ok(name) => names.push(name),
                Err(reason) => tracing::warn!("{} is left out: {reason}", entry.path().display()),
            }
        }
        names.sort();
        Ok(names)
    }

    /// Reads a category, and refuses one whose files disagree. Whether the blobs are there is for
    /// [`Tree::verify`].
    pub fn read_category(&self, name: &CategoryName) -> Result<Category, Error> {
        let refused = |reason: &str| Error::HalfWritten { category: name.clone(), reason: reason.to_owned() };
        let missing = |file: &str| refused(&format!("it has no {file}"));
        let head = read_file(&self.serial_path(name), SERIAL_LIMIT)?.ok_or_else(|| missing("zz/serial"))?;
        let head = std::str::from_utf8(&head).ok().and_then(Head::parse);
        let head = head.ok_or_else(|| refused("zz/serial is not `SERIAL HEX`"))?;
        let inventory = read_file(&self.inventory_path(name), INVENTORY_LIMIT)?;
        let inventory = inventory.ok_or_else(|| missing("zz/inventory"))?;
        if oci::Digest::of(&inventory) != head.inventory_digest {
            return Err(refused("zz/inventory is not the one that zz/serial names"));
        }
        let inventory = String::from_utf8(inventory).map_err(|_| refused("zz/inventory is not text"))?;
        let inventory: Inventory =
            inventory.parse().map_err(|source| Error::Inventory { category: name.clone(), source })?;
        if inventory.serial != head.serial || inventory.category != *name {
            return Err(refused("zz/inventory is of another serial or category"));
        }
        let text = read_file(&self.repositories_path(name), INVENTORY_LIMIT)?;
        let text = text.ok_or_else(|| missing("repositories.json"))?;
        if oci::Digest::of(&text) != inventory.repositories_digest {
            return Err(refused("repositories.json is not the one that zz/inventory names"));
        }
        let repositories =
            serde_json::from_slice(&text).map_err(|error| refused(&format!("repositories.json: {error}")))?;
        let category = Category { inventory, repositories, inventory_digest: head.inventory_digest };
        check_tags(name, &category)?;
        Ok(category)
    }

    /// Is every file of the category there, with the right size?
    pub fn verify(&self, category: &Category) -> Result<(), Error> {
        let name = &category.inventory.category;
        if let Some(path) = self.find_registry_fault(category) {
            let reason = format!("{path} is missing, or is not what it has to be");
            return Err(Error::HalfWritten { category: name.clone(), reason });
        }
        for entry in &category.inventory.entries {
            let digest = entry.digest();
            let path = self.blob_path(name, &digest).expect("an inventory has sha256 only");
            match fs::metadata(&path) {
                Ok(metadata) if !metadata.is_file() => {
                    let reason = format!("{} is no regular file", path.display());
                    return Err(Error::HalfWritten { category: name.clone(), reason });
                }
                Ok(metadata) if metadata.len() == entry.size => {}
                Ok(metadata) => {
                    return Err(Error::WrongSize { digest, size: entry.size, found: metadata.len() });
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let reason = format!("{digest} is missing");
                    return Err(Error::HalfWritten { category: name.clone(), reason });
                }
                Err(error) => return Err(Error::at(path)(error)),
            }
        }
        Ok(())
    }

    /// Opens a blob or manifest; `None` if the category does not have it.
    pub fn open_blob(&self, category: &CategoryName, digest: &oci::Digest) -> Result<Option<File>, Error> {
        let Some(path) = self.blob_path(category, digest) else { return Ok(None) };
        open_file(&path)
    }
}

/// Every tag leads to a manifest of the inventory, and the canary is there.
fn check_tags(name: &CategoryName, category: &Category) -> Result<(), Error> {
    let refused = |reason: String| Error::HalfWritten { category: name.clone(), reason };
    if category.inventory.find(&CANARY_DIGEST).is_none() {
        return Err(refused("its inventory lacks the blob `{}`".to_owned()));
    }
    for (repository, tags) in &category.repositories {
        for (tag, digest) in tags {
            if category.inventory.find(digest).and_then(|it| it.kind.media_type()).is_none() {
                return Err(refused(format!("{repository}:{tag} leads to no manifest of its inventory")));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_print_as_they_were_read() {
        let head = Head { serial: 7, inventory_digest: oci::Digest::of(b"") };
        assert_eq!(Head::parse(&head.render()), Some(head));
        for text in ["", "7", "7 x\n", &head.render().replace('7', "+7"), head.render().trim_end()] {
            assert_eq!(Head::parse(text), None, "{text:?}");
        }
    }

    /// What is logged goes into a file.
    fn logged(work: impl FnOnce()) -> String {
        let log = tempfile::NamedTempFile::new().unwrap();
        let file = log.reopen().unwrap();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(std::sync::Mutex::new(file));
        tracing::subscriber::with_default(subscriber.finish(), work);
        fs::read_to_string(log.path()).unwrap()
    }

    #[test]
    fn folders_that_cannot_be_categories_are_told() {
        let folder = tempfile::tempdir().unwrap();
        for name in [".portolan", "fedora", "my containers", "lost+found", ".snapshot"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        fs::write(folder.path().join("a file"), "").unwrap();
        let tree = Tree::open(&crate::tree::Config { path: folder.path().into(), ..Default::default() });
        let log = logged(|| assert_eq!(tree.category_names().unwrap(), ["fedora".parse().unwrap()]));
        for name in ["my containers", "lost+found", ".snapshot"] {
            let line = log.lines().find(|it| it.contains(&format!("/{name} is left out: ")));
            assert!(line.is_some_and(|it| it.contains("WARN") && it.contains("1 to 64 letters")), "{log}");
        }
        assert_eq!(log.lines().count(), 3, "{log}");
    }
}
