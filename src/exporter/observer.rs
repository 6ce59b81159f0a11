use crate::oci::{Digest, RepositoryName};

/// A blob on its way from the origin.
#[derive(Clone, Debug)]
pub struct Transfer {
    /// Which blob.
    pub digest: Digest,
    /// In bytes, by the manifest.
    pub size: u64,
    /// Where it is fetched from.
    pub repository: RepositoryName,
}

/// Is told what the exporter does, to show it. Called from several tasks; must not block for long.
pub trait Observer: Send + Sync {
    /// A transfer begins.
    fn started(&self, transfer: &Transfer);
    /// So many bytes of it have arrived. Fewer than before if it had to begin anew.
    fn advanced(&self, transfer: &Transfer, position: u64);
    /// A transfer has ended, well or not; [`Observer::note`] tells what went wrong.
    fn finished(&self, transfer: &Transfer);
    /// So many bytes of the tree were read anew, of so many that are to be read as far as is known.
    fn verified(&self, bytes: u64, total: u64);
    /// Something to read.
    fn note(&self, text: &str);
}
