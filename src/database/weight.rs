//! What a category contains, and weighs.

use std::collections::HashSet;

use diesel::prelude::*;
use roaring::RoaringBitmap;
use serde::Serialize;

use super::{
    Connection,
    schema::{blob, category, category_repository, category_serial, manifest, tag},
    snapshot::read_set,
};
use crate::mirror::CategoryId;

/// What a category contains, at its newest state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Weight {
    /// Tags, of all its repositories.
    pub tags: i64,
    /// Manifests.
    pub manifests: u64,
    /// Layers, configurations and the like.
    pub blobs: u64,
    /// Bytes of manifests and blobs.
    pub bytes: u64,
    /// Bytes of those that another category has as well: a mirror that carries both stores them once.
    pub shared_bytes: u64,
}

/// Counts what a category contains; what is former counts, too, for mirrors carry it.
pub fn load(connection: &mut Connection, id: CategoryId) -> QueryResult<Weight> {
    let tags = tag::table
        .inner_join(category_repository::table)
        .filter(category_repository::category_id.eq(id))
        .count()
        .get_result(connection)?;
    let newest: Vec<(CategoryId, Vec<u8>)> = category_serial::table
        .inner_join(category::table)
        .filter(category_serial::serial.eq(category::serial).and(category::retired_at.is_null()))
        .select((category_serial::category_id, category_serial::blobs))
        .load(connection)?;
    let (mut own, mut others) = (RoaringBitmap::new(), RoaringBitmap::new());
    for (category, set) in newest {
        *(if category == id { &mut own } else { &mut others }) |= read_set(&set)?;
    }
    let manifests: HashSet<i64> =
        manifest::table.select(manifest::blob_id).load(connection)?.into_iter().collect();
    let all: Vec<(i64, i64)> = blob::table.select((blob::id, blob::size)).load(connection)?;
    let mut weight = Weight { tags, ..Weight::default() };
    for (number, size) in all {
        let (Ok(id), Ok(size)) = (u32::try_from(number), u64::try_from(size)) else { continue };
        if !own.contains(id) {
            continue;
        }
        if manifests.contains(&number) {
            weight.manifests += 1;
        } else {
            weight.blobs += 1;
        }
        weight.bytes += size;
        weight.shared_bytes += if others.contains(id) { size } else { 0 };
    }
    Ok(weight)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        database::{
            Part, Sha256,
            content::{ContentBlob, ContentManifest, replace_category},
            testing::*,
        },
        oci::MediaType,
    };

    #[test]
    fn a_category_weighs_what_it_has_and_shares() {
        on_both(|database| {
            let mut ids = Vec::new();
            for (name, numbers) in [("one", 1..=3), ("two", 3..=6)] {
                let mut content = new_category(name, 1);
                let blob = |it: u8| ContentBlob { digest: Sha256([it; 32]), size: 10 * u64::from(it) };
                content.blobs = numbers.clone().map(blob).collect();
                content.manifests = vec![ContentManifest {
                    digest: Sha256([*numbers.start(); 32]),
                    media_type: MediaType::OciManifest,
                    artifact_type: None,
                    children: Vec::new(),
                }];
                let tags = ["1", "2"].map(|it| (it.parse().unwrap(), Sha256([*numbers.start(); 32])));
                content.repositories = BTreeMap::from([("app".parse().unwrap(), tags.into())]);
                database.write(Part::Content, |it| replace_category(it, &content, now())).unwrap();
                let name = name.parse().unwrap();
                let found = database.read(|it| crate::database::category::find(it, &name)).unwrap();
                ids.push(found.unwrap().id);
            }
            let weight = |id| database.read(|it| load(it, id)).unwrap();
            let one = Weight { tags: 2, manifests: 2, blobs: 1, bytes: 60, shared_bytes: 30 };
            assert_eq!(weight(ids[0]), one);
            assert_eq!(weight(ids[1]), Weight { manifests: 1, blobs: 3, bytes: 180, ..one });
        });
    }
}
