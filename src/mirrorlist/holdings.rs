use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    sync::Arc,
};

use roaring::RoaringBitmap;

use super::{
    content::{RowsError, read_set},
    rows::HoldingRows,
};
use crate::mirror::HostCategoryId;

/// Who holds what, ready to be asked.
#[derive(Debug, Default)]
pub struct Holdings {
    rows: HoldingRows,
    holdings: HashMap<HostCategoryId, Holding, BuildHasherDefault<RowHasher>>,
}

/// Numbers of rows are not made by strangers, and nearly all different in their last bits: a multiplication is enough.
#[derive(Debug, Default)]
struct RowHasher(u64);

impl Hasher for RowHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|it| self.write_i64((*it).into()));
    }

    fn write_i64(&mut self, number: i64) {
        self.0 = (self.0 ^ number.cast_unsigned()).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 32
    }
}

/// What one host holds of one category.
#[derive(Clone, Debug)]
pub struct Holding {
    /// The numbers of its blobs; hosts that hold the same share one set.
    pub blobs: Arc<RoaringBitmap>,
    /// When the last crawl confirmed it, Unix seconds.
    pub crawled_at: i64,
}

impl Holdings {
    /// Reads the sets and builds the index.
    pub fn new(rows: HoldingRows) -> Result<Self, RowsError> {
        let read = |bytes: &Vec<u8>| read_set(bytes, || "a host".to_owned()).map(Arc::new);
        let sets = rows.sets.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let holding = |row: &super::rows::HoldingRow| {
            let blobs = sets.get(row.set as usize).ok_or(RowsError::Missing(row.set))?.clone();
            Ok((row.host_category, Holding { blobs, crawled_at: row.crawled_at }))
        };
        let holdings = rows.holdings.iter().map(holding).collect::<Result<_, _>>()?;
        Ok(Self { rows, holdings })
    }

    /// What it was built from.
    pub fn rows(&self) -> &HoldingRows {
        &self.rows
    }

    /// What a host holds of the category it opted in to; `None` when it was never crawled.
    pub fn find(&self, host_category: HostCategoryId) -> Option<&Holding> {
        self.holdings.get(&host_category)
    }
}
