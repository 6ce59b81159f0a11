//! The category `all`: what is in any category, each file once, so that mirrors can carry several categories without
//! hard links. Beside its content it has, of each category NAME:
//!
//! * `categories/NAME/`: the category, with a link `blobs` to the content of `all`; its URL is a URL of the category;
//! * `lists/NAME`: the paths of all its files below the tree's folder, for `rsync --files-from`. From there, for some
//!   versions of rsync's daemon lose files that are named from a folder below their module.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use super::{
    Error, INVENTORY_LIMIT, State, Writer,
    disk::{create_folder, folder_of, read_file},
};
use crate::{
    mirror::{self, CategoryName, Serial},
    oci::Digest,
};

/// The folders of `all` that other categories do not have.
const CATEGORIES: &str = "categories";
const LISTS: &str = "lists";

/// From `categories/NAME` to the content of `all`.
const BLOBS_LINK: &str = "../../blobs";

/// The deepest folder in a category, below its own, beside those of its content.
const DEPTH_LIMIT: usize = 8;

impl Writer {
    /// Publishes the category `all`, unless it stands there already: what is in the categories of the tree now. To
    /// be called after all of them are published. Was anything new?
    pub fn publish_all(&self, all: &CategoryName, serial: Serial) -> Result<bool, Error> {
        let mut names = self.tree().category_names()?;
        // What was stopped in its middle counts when it is whole again.
        names.retain(|it| it != all && self.tree().read_category(it).is_ok());
        let states = names.iter().map(|it| self.tree().load_state(it)).collect::<Result<Vec<_>, _>>()?;
        let state = union(&names, &states);
        // Content first: what comes then says that it is there.
        self.link_content(all, state.entries.keys().copied().map(Digest::Sha256))?;
        let mut files = Files {
            writer: self,
            name: all,
            root: self.tree().category_path(all),
            serial,
            wanted: BTreeSet::new(),
            changed: false,
        };
        for (name, state) in names.iter().zip(&states) {
            files.place_category(name, state)?;
        }
        files.remove_others(CATEGORIES)?;
        files.remove_others(LISTS)?;
        if !files.changed && self.is_published(all, &state) {
            self.remove_strays(all, &state)?;
            return Ok(false);
        }
        self.publish(all, &state, serial)?;
        Ok(true)
    }
}

/// What is in any of these categories. Former is what no tag leads to in any of them.
fn union(names: &[CategoryName], states: &[State]) -> State {
    let names: Vec<_> = names.iter().map(CategoryName::as_str).collect();
    let selection = serde_json::json!({ "categories": names }).to_string();
    let mut all =
        State { selection, repositories: BTreeMap::new(), entries: BTreeMap::new(), former: BTreeMap::new() };
    let mut live = BTreeSet::new();
    for state in states {
        for (name, tags) in &state.repositories {
            all.repositories.entry(name.clone()).or_default().extend(tags.clone());
        }
        for (digest, (size, kind)) in &state.entries {
            let entry = all.entries.entry(*digest).or_insert((*size, *kind));
            entry.1 = entry.1.max(*kind);
            match state.former.get(&Digest::Sha256(*digest)) {
                None => {
                    live.insert(Digest::Sha256(*digest));
                }
                Some(since) => {
                    let known = all.former.entry(Digest::Sha256(*digest)).or_insert(*since);
                    *known = (*known).max(*since);
                }
            }
        }
    }
    all.former.retain(|it, _| !live.contains(it));
    all
}

/// The files of `all` that say what is in the other categories.
struct Files<'a> {
    writer: &'a Writer,
    /// `all`.
    name: &'a CategoryName,
    /// The folder of `all`.
    root: PathBuf,
    /// What is written has its time.
    serial: Serial,
    /// Below `root`.
    wanted: BTreeSet<PathBuf>,
    changed: bool,
}

impl Files<'_> {
    fn place_category(&mut self, name: &CategoryName, state: &State) -> Result<(), Error> {
        let (source, place) =
            (self.writer.tree().category_path(name), Path::new(CATEGORIES).join(name.as_str()));
        let mut found = Vec::new();
        list_files(&source, Path::new(""), 0, &mut found)?;
        // `zz` comes last, and in it the serial.
        found.sort();
        let mut list = String::new();
        let mut add = |path: &Path| {
            writeln!(list, "{}/{}", self.name, path.display()).expect("a String takes everything");
        };
        state.entries.keys().for_each(|it| add(Path::new(&mirror::blob_path(&Digest::Sha256(*it)))));
        add(&place.join("blobs"));
        found.iter().for_each(|it| add(&place.join(it)));
        self.link_blobs(&place.join("blobs"))?;
        for file in found {
            self.place(&source.join(&file), place.join(&file))?;
        }
        self.write(Path::new(LISTS).join(name.as_str()), &list)
    }

    fn link_blobs(&mut self, path: &Path) -> Result<(), Error> {
        let target = self.root.join(path);
        self.wanted.insert(path.to_owned());
        if fs::read_link(&target).is_ok_and(|it| it == Path::new(BLOBS_LINK)) {
            return Ok(());
        }
        create_folder(folder_of(&target))?;
        let temporary = self.writer.temporary_path();
        symlink(BLOBS_LINK, &temporary)
            .and_then(|()| fs::rename(&temporary, &target))
            .map_err(Error::at(&target))?;
        self.changed = true;
        Ok(())
    }

    fn place(&mut self, original: &Path, path: PathBuf) -> Result<(), Error> {
        let target = self.root.join(&path);
        self.wanted.insert(path);
        if self.is_placed(original, &target)? {
            return Ok(());
        }
        create_folder(folder_of(&target))?;
        self.writer.place(original, &target)?;
        self.changed = true;
        Ok(())
    }

    /// A copy's time may be that of another state, a second before. These files are small.
    fn is_placed(&self, original: &Path, target: &Path) -> Result<bool, Error> {
        let is_same = self.writer.is_same(original, target);
        if !is_same || self.writer.tree().hard_links {
            return Ok(is_same);
        }
        Ok(read_file(original, INVENTORY_LIMIT)? == read_file(target, INVENTORY_LIMIT)?)
    }

    fn write(&mut self, path: PathBuf, text: &str) -> Result<(), Error> {
        let target = self.root.join(&path);
        self.wanted.insert(path);
        if read_file(&target, INVENTORY_LIMIT)?.is_some_and(|it| it == text.as_bytes()) {
            return Ok(());
        }
        self.writer.replace_at(&target, text.as_bytes(), self.serial)?;
        self.changed = true;
        Ok(())
    }

    /// Removes what is of no category any more.
    fn remove_others(&mut self, folder: &str) -> Result<(), Error> {
        let mut found = Vec::new();
        list_files(&self.root, Path::new(folder), 0, &mut found)?;
        for path in found.into_iter().filter(|it| !self.wanted.contains(it)) {
            fs::remove_file(self.root.join(&path)).map_err(Error::at(self.root.join(&path)))?;
            self.changed = true;
            // Folders that are empty by now go as well; others say no.
            for above in path.ancestors().skip(1).take_while(|it| *it != Path::new(folder)) {
                if fs::remove_dir(self.root.join(above)).is_err() {
                    break;
                }
            }
        }
        Ok(())
    }
}

/// The files below a folder, by their paths from `root`; of a category without its content.
fn list_files(root: &Path, folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<(), Error> {
    let path = root.join(folder);
    let entries = match fs::read_dir(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(Error::at(&path))?,
    };
    for entry in entries {
        let entry = entry.map_err(Error::at(&path))?;
        let (name, kind) = (folder.join(entry.file_name()), entry.file_type().map_err(Error::at(&path))?);
        if name == Path::new("blobs") {
            continue;
        }
        if !kind.is_dir() {
            found.push(name);
        } else if depth < DEPTH_LIMIT {
            list_files(root, &name, depth + 1, found)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{CANARY, CANARY_DIGEST, Config, Kind, Tree};

    #[test]
    fn it_has_what_any_category_has_and_says_what_each_has() {
        [true, false].into_iter().for_each(check);
    }

    fn check(hard_links: bool) {
        let folder = tempfile::tempdir().unwrap();
        let tree = Tree::open(&Config { path: folder.path().to_owned(), hard_links, ..Config::default() });
        let writer = tree.lock().unwrap();
        let [one, two, all] = ["one", "two", "all"].map(|it| it.parse::<CategoryName>().unwrap());
        let canary = *CANARY_DIGEST.sha256().unwrap();
        let state = |texts: &[&str], former: &[&str]| {
            let mut state = State {
                selection: "{}".to_owned(),
                repositories: BTreeMap::new(),
                entries: [(canary, (CANARY.len() as u64, Kind::Blob))].into(),
                former: former.iter().map(|it| (Digest::of(it.as_bytes()), 5)).collect(),
            };
            for text in texts.iter().chain(former) {
                let digest = Digest::of(text.as_bytes());
                writer.store(&digest, text.as_bytes()).unwrap();
                state.entries.insert(*digest.sha256().unwrap(), (text.len() as u64, Kind::Blob));
            }
            state
        };
        writer.publish(&one, &state(&["a", "b"], &["x", "y"]), 7).unwrap();
        writer.publish(&two, &state(&["b", "c", "x"], &["y"]), 7).unwrap();
        assert!(writer.publish_all(&all, 7).unwrap());
        let read = tree.read_category(&all).unwrap();
        tree.verify(&read).unwrap();
        assert_eq!(read.inventory.entries.len(), 6, "a, b, c, x, y and the canary");
        let former = tree.load_state(&all).unwrap().former;
        assert_eq!(former.into_keys().collect::<Vec<_>>(), [Digest::of(b"y")], "a tag leads to x in two");
        let path = tree.category_path(&all);
        let list = fs::read_to_string(path.join("lists/one")).unwrap();
        assert!(list.lines().all(|it| tree.path().join(it).exists()), "{list}");
        assert!(list.contains(&mirror::blob_path(&Digest::of(b"a"))));
        assert!(!list.contains(&mirror::blob_path(&Digest::of(b"c"))));
        assert!(list.ends_with("all/categories/one/zz/inventory\nall/categories/one/zz/serial\n"), "{list}");
        let read = |it: &str| fs::read(tree.path().join(it)).unwrap();
        assert_eq!(read("all/categories/one/zz/serial"), read("one/zz/serial"));
        let through = Path::new("all/categories/one").join(mirror::blob_path(&Digest::of(b"a")));
        assert_eq!(read(through.to_str().unwrap()), b"a");

        assert!(!writer.publish_all(&all, 8).unwrap(), "nothing new");
        writer.publish(&one, &state(&["a"], &[]), 8).unwrap();
        assert!(writer.publish_all(&all, 8).unwrap());
        assert_eq!(read("all/categories/one/zz/serial"), read("one/zz/serial"));
        fs::remove_dir_all(tree.category_path(&one)).unwrap();
        assert!(writer.publish_all(&all, 9).unwrap());
        assert!(!path.join("lists/one").exists() && !path.join("categories/one").exists());
        assert!(!tree.blob_path(&all, &Digest::of(b"a")).unwrap().exists());
        tree.verify(&tree.read_category(&all).unwrap()).unwrap();
    }
}
