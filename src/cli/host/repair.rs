//! What a host's admin has to repair: `portolan host show HOST --repair`.

use serde::Serialize;

use super::Answer;
use crate::{
    database::{
        Connection, Database, QueryResult,
        crawl::{self, RepairFile},
        host::Host,
        host_category,
    },
    mirror::{CategoryName, FileFault, HostCategoryId, blob_path},
    oci,
};

/// A file to be repaired.
#[derive(Serialize)]
pub(super) struct RepairView {
    /// Relative to the category's URL and folder.
    path: String,
    fault: FileFault,
    reason: String,
}

impl From<RepairFile> for RepairView {
    fn from(file: RepairFile) -> Self {
        let path = blob_path(&oci::Digest::from(file.digest));
        Self { path, fault: file.fault, reason: file.reason }
    }
}

/// The files of an opt-in, newest first.
pub(super) fn list(connection: &mut Connection, id: HostCategoryId) -> QueryResult<Vec<RepairView>> {
    Ok(crawl::list_repair(connection, id)?.into_iter().map(RepairView::from).collect())
}

#[derive(Serialize)]
struct CategoryRepair {
    category: CategoryName,
    files: Vec<RepairView>,
}

/// For each category why, and a command to be copied into a shell as it stands but for two names. rsync leaves
/// out a file whose size and time are right, whatever its bytes: hence the checksum.
pub(super) fn show(database: &Database, host: &Host) -> anyhow::Result<Answer> {
    let repairs = database.read(|it| {
        let mut repairs = Vec::new();
        for (opt_in, category) in host_category::list(it, host.id)? {
            let files = list(it, opt_in.id)?;
            if !files.is_empty() {
                repairs.push(CategoryRepair { category, files });
            }
        }
        Ok(repairs)
    })?;
    let mut answer = Answer::new(&repairs)?;
    if repairs.is_empty() {
        return Ok(answer.line(format_args!("the crawls of {} found nothing to repair", host.name)));
    }
    answer =
        answer.line("SOURCE is where the category is copied from by rsync, FOLDER where the host keeps it.");
    for CategoryRepair { category, files } in &repairs {
        answer = answer.line("");
        for file in files {
            answer =
                answer.line(format_args!("# {category}: {}: {}: {}", file.path, file.fault, file.reason));
        }
        answer = answer.line("rsync -c -lptH --files-from=- SOURCE/ FOLDER/ <<'END'");
        answer = files.iter().fold(answer, |answer, it| answer.line(&it.path));
        answer = answer.line("END");
    }
    Ok(answer)
}
