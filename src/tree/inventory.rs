use std::{fmt::Write as _, str::FromStr};

use crate::{
    mirror::{CategoryName, Serial},
    oci::{Digest, MediaType},
};

/// The longest inventory we read, in bytes: some ten million entries.
pub const INVENTORY_LIMIT: u64 = 1024 * 1024 * 1024;

/// What a file of a category is. A manifest's media type may not stand in its bytes, so it is kept here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A layer, a configuration, or any other content.
    Blob,
    /// A manifest of this type.
    Manifest(MediaType),
}

impl Kind {
    /// The media type of a manifest.
    pub fn media_type(self) -> Option<MediaType> {
        match self {
            Self::Blob => None,
            Self::Manifest(media_type) => Some(media_type),
        }
    }

    /// As it stands in the inventory.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Blob => "blob",
            Self::Manifest(MediaType::OciManifest) => "oci-manifest",
            Self::Manifest(MediaType::OciIndex) => "oci-index",
            Self::Manifest(MediaType::DockerManifest) => "docker-manifest",
            Self::Manifest(MediaType::DockerList) => "docker-list",
        }
    }
}

impl FromStr for Kind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let manifests = MediaType::ALL.into_iter().map(Self::Manifest);
        std::iter::once(Self::Blob).chain(manifests).find(|it| it.as_str() == text).ok_or(())
    }
}

/// One file of a category.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The SHA-256 of its bytes.
    pub digest: [u8; 32],
    /// In bytes.
    pub size: u64,
    /// What it is.
    pub kind: Kind,
}

impl Entry {
    /// The digest as the other modules name it.
    pub fn digest(&self) -> Digest {
        Digest::Sha256(self.digest)
    }
}

/// All that a category holds at one serial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inventory {
    /// The category.
    pub category: CategoryName,
    /// The state's number.
    pub serial: Serial,
    /// The category's choice of repositories and tags, as one line of JSON.
    pub selection: String,
    /// Of the file `repositories.json` that belongs to this state.
    pub repositories_digest: Digest,
    /// Sorted by digest, each digest once.
    pub entries: Vec<Entry>,
}

/// Why a text is not an inventory.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("line {line}: {reason}")]
pub struct InventoryError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong there.
    pub reason: &'static str,
}

const FORM: &str = "portolan inventory 1";

impl Inventory {
    /// Finds a file of the category.
    pub fn find(&self, digest: &Digest) -> Option<&Entry> {
        let wanted = digest.sha256()?;
        let place = self.entries.binary_search_by(|it| it.digest.cmp(wanted)).ok()?;
        self.entries.get(place)
    }

    /// The text that the digest in `zz/serial` is of.
    pub fn render(&self) -> String {
        let mut text = format!(
            "# {FORM}\n# category {}\n# serial {}\n# selection {}\n# repositories.json {}\n",
            self.category, self.serial, self.selection, self.repositories_digest
        );
        for entry in &self.entries {
            let (hex, kind) = (entry.digest().hex(), entry.kind.as_str());
            writeln!(text, "{hex} {} {kind}", entry.size).expect("a String takes everything");
        }
        text
    }
}

impl FromStr for Inventory {
    type Err = InventoryError;

    /// Strict: exactly what [`Inventory::render`] writes.
    fn from_str(text: &str) -> Result<Self, InventoryError> {
        let Some(body) = text.strip_suffix('\n') else {
            return Err(InventoryError { line: text.lines().count(), reason: "the last line is cut off" });
        };
        let mut lines = body.split('\n').zip(1..);
        let mut head = |name: &str, reason: &'static str| {
            let (line, number) = lines.next().unwrap_or(("", 1));
            let value = line.strip_prefix("# ").and_then(|it| it.strip_prefix(name));
            value.map(|it| (it, number)).ok_or(InventoryError { line: number, reason })
        };
        let fault = |reason: &'static str| move |line: usize| InventoryError { line, reason };
        let (rest, line) = head(FORM, "not an inventory of form 1")?;
        if !rest.is_empty() {
            return Err(fault("not an inventory of form 1")(line));
        }
        let (category, line) = head("category ", "a line `# category NAME` belongs here")?;
        let category = category.parse().map_err(|_| fault("not a category's name")(line))?;
        let (serial, line) = head("serial ", "a line `# serial N` belongs here")?;
        let serial = parse_number(serial).ok_or_else(|| fault("not a serial")(line))?;
        let (selection, line) = head("selection ", "a line `# selection JSON` belongs here")?;
        serde_json::from_str::<&serde_json::value::RawValue>(selection)
            .map_err(|_| fault("the selection is not JSON")(line))?;
        let (digest, line) = head("repositories.json ", "a line `# repositories.json DIGEST` belongs here")?;
        let repositories_digest = digest.parse().map_err(|_| fault("not a digest")(line))?;
        let mut entries: Vec<Entry> = Vec::new();
        for (text, line) in lines {
            let entry = parse_entry(text).map_err(|reason| InventoryError { line, reason })?;
            if entries.last().is_some_and(|last| last.digest >= entry.digest) {
                return Err(fault("the lines are not sorted")(line));
            }
            entries.push(entry);
        }
        Ok(Self { category, serial, selection: selection.to_owned(), repositories_digest, entries })
    }
}

fn parse_entry(line: &str) -> Result<Entry, &'static str> {
    let mut words = line.split(' ');
    let (Some(hex), Some(size), Some(kind), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err("a line has the form `HEX SIZE KIND`");
    };
    let digest = format!("sha256:{hex}").parse::<Digest>().map_err(|_| "not a SHA-256 in lower-case hex")?;
    let size = parse_number(size).ok_or("not a size")?;
    let kind = kind.parse().map_err(|()| "not a kind we know")?;
    Ok(Entry { digest: *digest.sha256().expect("it was read as sha256"), size, kind })
}

/// Digits only, without zeros in front, so that a number has one spelling.
fn parse_number<T: FromStr + ToString>(text: &str) -> Option<T> {
    let number: T = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::btree_map, prelude::*};

    use super::*;

    fn sample() -> Inventory {
        let kinds = [Kind::Blob, Kind::Manifest(MediaType::OciIndex)];
        let entries = kinds.into_iter().zip(1u8..).map(|(kind, n)| Entry { digest: [n; 32], size: 7, kind });
        Inventory {
            category: "fedora".parse().unwrap(),
            serial: 42,
            selection: r#"{"repositories":["*"],"tags":["*"]}"#.to_owned(),
            repositories_digest: Digest::of(b"{}\n"),
            entries: entries.collect(),
        }
    }

    #[test]
    fn it_looks_as_the_layout_says() {
        insta::assert_snapshot!(sample().render(), @r#"
        # portolan inventory 1
        # category fedora
        # serial 42
        # selection {"repositories":["*"],"tags":["*"]}
        # repositories.json sha256:ca3d163bab055381827226140568f3bef7eaac187cebd76878e0b63e9e442356
        0101010101010101010101010101010101010101010101010101010101010101 7 blob
        0202020202020202020202020202020202020202020202020202020202020202 7 oci-index
        "#);
    }

    #[test]
    fn faults_name_their_line() {
        #[track_caller]
        fn check(from: &str, to: &str, line: usize, part: &str) {
            let text = sample().render();
            assert!(text.contains(from));
            let error = text.replacen(from, to, 1).parse::<Inventory>().unwrap_err();
            assert!(error.line == line && error.reason.contains(part), "{error}");
        }
        check("inventory 1", "inventory 2", 1, "form 1");
        check("inventory 1", "inventory 10", 1, "form 1");
        check("category fedora", "category ../x", 2, "category");
        check("serial 42", "serial 042", 3, "serial");
        check("serial 42", "serial x", 3, "serial");
        check("[\"*\"]", "[", 4, "JSON");
        check("# repositories.json", "# other", 5, "repositories.json");
        check("0101 7", "0101 +7", 6, "size");
        check("0101 7", "010g 7", 6, "SHA-256");
        check("7 blob", "7 blob x", 6, "form");
        check("7 oci-index", "7 thing", 7, "kind");
        check("0202020202", "0002020202", 7, "sorted");
        check("oci-index\n", "oci-index", 7, "cut off");
        assert_eq!("".parse::<Inventory>().unwrap_err().reason, "the last line is cut off");
    }

    proptest! {
        #[test]
        fn round_trip(entries in btree_map(any::<[u8; 32]>(), (any::<u64>(), 0usize..5), 0..20), serial: i64) {
            let kinds = ["blob", "oci-manifest", "oci-index", "docker-manifest", "docker-list"];
            let entries = entries.into_iter().map(|(digest, (size, kind))| Entry {
                digest, size, kind: kinds[kind].parse().unwrap(),
            });
            let inventory = Inventory { serial, entries: entries.collect(), ..sample() };
            prop_assert_eq!(inventory.render().parse::<Inventory>(), Ok(inventory));
        }
    }
}
