use crate::{
    database::{Connection, QueryResult, crawl, host_category},
    mirror::{HostCategoryId, HostId, blob_path},
    notice::{Repair, RepairFile},
    oci,
};

/// What the admin of a host has to repair, by category.
pub fn list_repairs(connection: &mut Connection, host: HostId) -> QueryResult<Vec<Repair>> {
    let mut repairs = Vec::new();
    for (opt_in, category) in host_category::list(connection, host)? {
        let files = list_repair_files(connection, opt_in.id)?;
        if !files.is_empty() {
            repairs.push(Repair { category, files });
        }
    }
    Ok(repairs)
}

/// The files of an opt-in that crawls found wrong, newest first.
pub fn list_repair_files(connection: &mut Connection, id: HostCategoryId) -> QueryResult<Vec<RepairFile>> {
    let file = |it: crawl::RepairFile| {
        let path = blob_path(&oci::Digest::from(it.digest));
        RepairFile { path, fault: it.fault, reason: it.reason }
    };
    Ok(crawl::list_repair(connection, id)?.into_iter().map(file).collect())
}
