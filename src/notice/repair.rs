use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::mirror::{CategoryName, FileFault};

/// What the admin of a host has to repair of one category.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Repair {
    /// The category.
    pub category: CategoryName,
    /// The files, newest first.
    pub files: Vec<RepairFile>,
}

/// A file to be repaired.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RepairFile {
    /// Relative to the category's URL and folder.
    pub path: String,
    /// What is wrong.
    pub fault: FileFault,
    /// In words.
    pub reason: String,
}

/// What the capitals in [`Repair::lines`] stand for.
pub const REPAIR_HEAD: &str =
    "SOURCE is where the category is copied from by rsync, FOLDER where the host keeps it.";

impl Repair {
    /// Why, for the first `most` files, and a command to be copied into a shell as it stands but for two names. rsync
    /// leaves out a file whose size and time are right, whatever its bytes: hence the checksum.
    pub fn lines(&self, most: usize) -> Vec<String> {
        let files = || self.files.iter().take(most);
        let reason =
            |it: &RepairFile| format!("# {}: {}: {}: {}", self.category, it.path, it.fault, it.reason);
        let mut lines: Vec<String> = files().map(reason).collect();
        lines.push("rsync -c -lptH --files-from=- SOURCE/ FOLDER/ <<'END'".to_owned());
        lines.extend(files().map(|it| it.path.clone()));
        lines.push("END".to_owned());
        lines
    }
}
